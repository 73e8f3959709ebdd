//! Every cause of a lost handshake that the diagnosis can name: its word, what clients see, what to do.
//!
//! A table: the word stands in /health, logs, metrics and tests; docs/tcp-health.md explains each.

/// What a finding means for handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Impact {
    /// Nothing is wrong: an explanation of a counter that looks as if.
    Harmless,
    /// Nothing is lost yet, or what is lost is no handshake.
    Risk,
    /// Handshakes fail, or are delayed by a second or more.
    Lost,
}

impl Impact {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Harmless => "harmless",
            Self::Risk => "risk",
            Self::Lost => "lost",
        }
    }
}

macro_rules! causes {
    ($($id:ident $word:literal $impact:ident $title:literal $symptom:literal $remedy:literal;)*) => {
        /// Why handshakes are lost.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause {
            $(#[doc = concat!("`", $word, "`")] $id,)*
        }

        impl Cause {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// One word, the same everywhere.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$id => $word,)* }
            }

            /// One line that says what happens.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$id => $title,)* }
            }

            /// What it means for handshakes.
            pub const fn impact(self) -> Impact {
                match self { $(Self::$id => Impact::$impact,)* }
            }

            /// What the connecting side sees.
            pub const fn symptom(self) -> &'static str {
                match self { $(Self::$id => $symptom,)* }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$id => $remedy,)* }
            }
        }
    };
}

causes! {
    TwRecycle "tw_recycle" Lost "tcp_tw_recycle rejects SYNs whose timestamp is older than the last one from the same address" "some clients behind one NAT address get no answer and time out, others are fine; with Linux clients of 2026 single ones too" "sysctl -w net.ipv4.tcp_tw_recycle=0 in the host's namespace, and take it out of /etc/sysctl.d; raise net.ipv4.tcp_max_tw_buckets, because TIME_WAIT lasts 60 s again; leave tcp_timestamps alone: switching it off locks out every client of the last 60 s";
    CookieAckOverflow "cookie_ack_overflow" Lost "ACKs that bring back a SYN cookie meet a full accept queue" "clients believe to be connected and hang without an answer" "the program must accept faster: look for a stalled event loop, a file-descriptor limit (EMFILE) or a worker that hangs; then raise the backlog and net.core.somaxconn";
    OverflowReset "overflow_reset" Lost "a full accept queue answers finished handshakes with RST (tcp_abort_on_overflow=1)" "clients get \"connection reset by peer\" right after connecting" "sysctl -w net.ipv4.tcp_abort_on_overflow=0, so that clients try again; and let the program accept faster";
    StuckShard "stuck_shard" Lost "one member of an SO_REUSEPORT group does not accept, the others do" "a fixed part of the clients times out or waits, by the hash of their address and port" "find the worker that belongs to the named socket: it hangs, or is out of file descriptors";
    AcceptQueue "accept_queue_overflow" Lost "the accept queue is full: the program does not accept fast enough" "connects take 1, 3, 7 s or time out; before 4.10 clients believe to be connected" "look for a stalled or overloaded event loop, a file-descriptor limit (EMFILE) or one worker that hangs; only then raise the backlog and net.core.somaxconn";
    Burst "backlog_too_small" Lost "a burst of connections was larger than the backlog" "some connects take 1 or 3 s during bursts" "raise the listener's backlog and net.core.somaxconn, and listen again: the limit is fixed at listen()";
    SynQueue "syn_queue_full" Lost "the SYN queue is full and SYN cookies are off" "connects take 1, 3, 7 s or time out" "sysctl -w net.ipv4.tcp_syncookies=1; a larger backlog";
    SynBacklogReserve "syn_backlog_reserve" Lost "with SYN cookies off the last quarter of tcp_max_syn_backlog is kept for known peers" "new clients take 1, 3, 7 s or time out, returning ones do not" "sysctl -w net.ipv4.tcp_syncookies=1, or raise net.ipv4.tcp_max_syn_backlog";
    NoRoute "no_route_back" Lost "there is no route for the SYN-ACK back to the client" "clients of some networks time out" "look at the routes, policy routing and rp_filter for the clients' networks";
    IcmpUnreachable "icmp_unreachable" Lost "SYN-ACKs are answered by ICMP unreachable" "clients of some networks time out; or nobody, if the SYNs were forged" "check the return path; many different sources point to a SYN flood with forged addresses";
    Memory "memory_pressure" Lost "the kernel has no memory for new connections" "connects take 1, 3, 7 s or time out" "look at net.ipv4.tcp_mem against sockstat, and at free memory; lower process.connections_max or add memory";
    Unexplained "unexplained" Lost "SYNs were dropped for a reason that no counter names" "connects take 1, 3, 7 s or time out" "look for a security module or BPF program that refuses connections, SYNs to broadcast addresses, and memory shortage; eBPF on tcp_conn_request gives the reason";
    TimestampEcho "timestamp_echo" Lost "final ACKs echo a timestamp that was never sent" "clients behind one middlebox hang" "find the middlebox that rewrites TCP timestamps: compare the clients concerned";
    TimeWaitPaws "time_wait_paws" Lost "SYNs with an older clock meet a TIME_WAIT of the same address and port" "some connects from behind a NAT take 1 s longer" "let the client close first, and keep connections alive longer; tcp_tw_recycle is not a remedy";
    ReversePath "reverse_path_filter" Lost "packets were dropped by the strict reverse path filter" "clients of some networks time out" "sysctl -w net.ipv4.conf.all.rp_filter=2, or make the routes symmetric";
    ConntrackFull "conntrack_full" Lost "the connection-tracking table is full: SYNs are dropped before TCP" "connects of new clients time out; dmesg says \"table full, dropping packet\"" "raise net.netfilter.nf_conntrack_max, or do not track these ports (nft notrack)";
    ConntrackNearlyFull "conntrack_nearly_full" Risk "the connection-tracking table is nearly full" "nothing yet; new clients will time out" "raise net.netfilter.nf_conntrack_max, or do not track these ports (nft notrack)";
    CpuBacklog "cpu_backlog" Lost "packets were dropped at a CPU's input queue, before TCP" "connects take 1 or 3 s, transfers stall" "raise net.core.netdev_max_backlog and spread the load over CPUs (RSS, RPS)";
    SynAckLoss "syn_ack_loss" Lost "SYN-ACKs, or the ACKs that answer them, are lost between here and the clients" "connects take 1 or 3 s; some clients hang" "look at the way back to the clients: asymmetric routes, firewalls, packet loss; or they are scans with forged addresses";
    ListenerClosed "listener_closed" Lost "a listener was closed while connections waited in its queue" "clients get \"connection reset by peer\" during a reload" "sysctl -w net.ipv4.tcp_migrate_req=1 (≥ 5.14), or empty the queue before closing";
    TimeWaitOverflow "time_wait_overflow" Risk "TIME_WAIT is full (tcp_max_tw_buckets): sockets are closed without it" "no handshake is lost; late segments may hit a new connection" "raise net.ipv4.tcp_max_tw_buckets";
    Syncookies "syncookies" Risk "the SYN queue is full and SYN cookies answer: nothing is dropped" "none; connections made by cookie may lack window scaling and SACK" "if few cookies come back it is a flood: nothing to do; otherwise raise the backlog and net.core.somaxconn";
    HalfOpenReset "half_open_reset" Risk "many half-open connections are ended by RST" "none that is known: scanners, probes, impatient clients" "nothing, if these are probes; look at who sends them";
    DeferAccept "defer_accept" Harmless "bare final ACKs are set aside by TCP_DEFER_ACCEPT until data comes" "none" "nothing";
    FastOpenQueue "fast_open_queue" Harmless "the TCP Fast Open queue is full: these clients use the three-way handshake" "none" "nothing, or a longer queue";
    ConnectLoss "connect_loss" Lost "SYNs to this server or its SYN-ACKs are lost" "requests that need a new connection take 1, 2, 3 s longer or fail" "look at that server for the causes of its own listeners (tcp_tw_recycle, full queues), then at the network between";
    ConnectTimeout "connect_timeout" Lost "no connect to this server is answered" "requests fail with connection_timeout or go to another server" "the server is down, or a firewall drops: check that it answers, then its own listeners (tcp_tw_recycle, full queues)";
    ConnectRefused "connect_refused" Lost "this server refuses connections: nobody listens there" "requests fail with connection_refused or go to another server" "start the program on that server, or take it out of the configuration";
    ConnectReset "connect_reset" Lost "this server resets connections while they are being made" "requests fail or are sent again" "its accept queue is full and tcp_abort_on_overflow=1 there, or a firewall rejects";
    ConnectUnreachable "connect_unreachable" Lost "there is no route to this server" "requests fail with destination_ip_unroutable or go to another server" "look at the routes and at the server's network";
    LocalPorts "local_ports_exhausted" Lost "no local port is left towards this server" "requests that need a new connection fail at once" "keep more connections alive; sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" and net.ipv4.tcp_tw_reuse=1; more server addresses";
    LocalPortsNearly "local_ports_nearly_exhausted" Risk "nearly all local ports towards this server are taken" "nothing yet; new connections will fail" "keep more connections alive; sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" and net.ipv4.tcp_tw_reuse=1; more server addresses";
}

impl Cause {
    /// Causes that are readings of the same drops: only the first of them in this order is reported.
    pub const fn family(self) -> Self {
        match self {
            Self::CookieAckOverflow | Self::OverflowReset | Self::StuckShard | Self::Burst => Self::AcceptQueue,
            Self::LocalPortsNearly => Self::LocalPorts,
            Self::ConntrackNearlyFull => Self::ConntrackFull,
            other => other,
        }
    }
}

impl Cause {
    /// Whether one finding per listener or server is kept; otherwise there is one per leg, and the listener that it names
    /// is what sockets show at the moment.
    pub const fn is_per_subject(self) -> bool {
        matches!(
            self.family(),
            Self::AcceptQueue
                | Self::ListenerClosed
                | Self::ConnectLoss
                | Self::ConnectTimeout
                | Self::ConnectRefused
                | Self::ConnectReset
                | Self::ConnectUnreachable
                | Self::LocalPorts
        )
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// One possibility among several.
    Low,
    /// Likely.
    Medium,
    /// Other explanations would be odd.
    High,
    /// There is no other way to this picture.
    Certain,
}

impl Certainty {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Certain => "certain",
        }
    }
}
