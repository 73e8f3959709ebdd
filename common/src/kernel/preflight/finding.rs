//! One finding of the preflight: how bad, what was read and where, why it matters, what to do.

use std::fmt;
use std::path::PathBuf;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; no client is lost by it.
    Note,
    /// Clients will be lost under load, or it cannot be told whether they are.
    Warn,
    /// Clients are lost: the process does not start.
    Refuse,
}

impl Severity {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        }
    }
}

macro_rules! checks {
    ($($id:ident $word:literal;)*) => {
        /// What was judged.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $(#[doc = concat!("`", $word, "`")] $id,)*
        }

        impl Check {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// One word, the same everywhere.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$id => $word,)* }
            }
        }
    };
}

checks! {
    TwRecycle "tcp_tw_recycle";
    Timestamps "tcp_timestamps";
    Backlog "backlog";
    Somaxconn "somaxconn";
    Syncookies "tcp_syncookies";
    MaxSynBacklog "tcp_max_syn_backlog";
    AbortOnOverflow "tcp_abort_on_overflow";
    MigrateReq "tcp_migrate_req";
    RpFilter "rp_filter";
    PortRange "ip_local_port_range";
    TwReuse "tcp_tw_reuse";
    MaxTwBuckets "tcp_max_tw_buckets";
    FinTimeout "tcp_fin_timeout";
    OpenFiles "nofile";
    FileMax "file_max";
    CacheMemory "cache_memory";
    TcpMem "tcp_mem";
    Conntrack "nf_conntrack_max";
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What was judged.
    pub check: Check,
    /// What was read: `net.ipv4.tcp_tw_recycle = 1`.
    pub read: String,
    /// Where: a path, or what was asked.
    pub from: PathBuf,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub remedy: Remedy,
}

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Set a sysctl.
    Sysctl {
        /// Such as `net.ipv4.tcp_tw_recycle`.
        key: &'static str,
        /// Its new value.
        value: String,
    },
    /// Something else, in words.
    Advice(String),
}

impl Remedy {
    /// A sysctl to set.
    pub(super) fn sysctl(key: &'static str, value: impl fmt::Display) -> Self {
        Self::Sysctl {
            key,
            value: value.to_string(),
        }
    }

    /// The command that helps until the next boot: `sysctl -w net.ipv4.tcp_tw_recycle=0`.
    pub fn command(&self) -> Option<String> {
        match self {
            Self::Sysctl { key, value } if value.contains(char::is_whitespace) => {
                Some(format!("sysctl -w {key}=\"{value}\""))
            }
            Self::Sysctl { key, value } => Some(format!("sysctl -w {key}={value}")),
            Self::Advice(_) => None,
        }
    }

    /// The line for a file in `/etc/sysctl.d`: `net.ipv4.tcp_tw_recycle = 0`.
    pub fn file_line(&self) -> Option<String> {
        match self {
            Self::Sysctl { key, value } => Some(format!("{key} = {value}")),
            Self::Advice(_) => None,
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.command(), self.file_line()) {
            (Self::Advice(text), ..) => f.write_str(text),
            (_, Some(command), Some(line)) => write!(f, "{command}; and in /etc/sysctl.d: {line}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            read,
            from,
            why,
            remedy,
            ..
        } = self;
        write!(
            f,
            "{}: {read} ({}): {why} Remedy: {remedy}",
            severity.word(),
            from.display()
        )
    }
}
