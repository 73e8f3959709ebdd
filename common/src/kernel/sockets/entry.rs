//! One TCP socket as `sock_diag` or `/proc/net/tcp` shows it.

use std::net::SocketAddr;

macro_rules! states {
    ($($id:ident $number:literal $word:literal;)*) => {
        /// A TCP state (`include/net/tcp_states.h`). `TCP_NEW_SYN_RECV` is shown as [`State::SynRecv`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum State {
            $(#[doc = concat!("`", $word, "`")] $id = $number,)*
        }

        impl State {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// Its name as Linux spells it.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$id => $word,)* }
            }

            /// The state of this number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$id),)* 12 => Some(Self::SynRecv), _ => None }
            }
        }
    };
}

states! {
    Established 1 "ESTABLISHED";
    SynSent 2 "SYN_SENT";
    SynRecv 3 "SYN_RECV";
    FinWait1 4 "FIN_WAIT1";
    FinWait2 5 "FIN_WAIT2";
    TimeWait 6 "TIME_WAIT";
    Close 7 "CLOSE";
    CloseWait 8 "CLOSE_WAIT";
    LastAck 9 "LAST_ACK";
    Listen 10 "LISTEN";
    Closing 11 "CLOSING";
}

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its state.
    pub state: State,
    /// Our side; of a half-open connection the address that the client used.
    pub local: SocketAddr,
    /// The peer; the unspecified address of a listener.
    pub remote: SocketAddr,
    /// Repetitions of the segment that is not acknowledged: of the SYN-ACK in `SYN_RECV`, of the SYN in `SYN_SENT`.
    pub retransmits: u8,
    /// Bytes not yet read; of a listener the connections that wait for `accept()`.
    pub receive_queue: u32,
    /// Bytes not yet acknowledged; of a listener the limit of its accept queue (0 where `/proc/net/tcp` was read).
    pub send_queue: u32,
    /// The socket's inode, by which `/proc/PID/fd` names it; 0 when it belongs to no process.
    pub inode: u32,
    /// What names the socket for its whole life; 0 where `/proc/net/tcp` was read.
    pub cookie: u64,
    /// `sk_drops`, where it was asked for and the kernel gives it.
    pub drops: Option<u32>,
}

/// A set of states, as the bits that `sock_diag` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every state.
    pub const ALL: Self = Self(0xfff);

    /// These states.
    pub const fn of(states: &[State]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < states.len() {
            bits |= 1 << (states[index] as u32);
            index += 1;
        }
        Self(bits)
    }

    /// The bits, 1 << state.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether `state` is one of them.
    pub const fn contains(self, state: State) -> bool {
        self.0 & (1 << (state as u32)) != 0
    }
}

#[cfg(test)]
impl Entry {
    /// A socket of which nothing else is known.
    pub(crate) fn of(state: State, local: &str, remote: &str) -> Self {
        Self {
            state,
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            retransmits: 0,
            receive_queue: 0,
            send_queue: 0,
            inode: 0,
            cookie: 0,
            drops: None,
        }
    }
}
