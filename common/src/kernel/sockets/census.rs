//! Sockets counted: half-open ones per listener, all of them by state, listener and backend server.
//!
//! Fed by `diag.rs` (or `proc_tcp.rs`) one entry at a time, so that nothing is kept but the counts. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::entry::{Entry, State};

/// Counts by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts([u32; 12]);

impl StateCounts {
    /// How many are in `state`.
    pub fn get(&self, state: State) -> u32 {
        self.0[state as usize]
    }

    /// All of them, but for listeners.
    pub fn connections(&self) -> u32 {
        State::ALL
            .iter()
            .filter(|&&state| state != State::Listen)
            .map(|&state| self.get(state))
            .sum()
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own = own.saturating_add(more);
        }
    }

    fn count(&mut self, state: State) {
        self.0[state as usize] = self.0[state as usize].saturating_add(1);
    }
}

/// Connections in one half-open state, and how many of them had to repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// All.
    pub total: u32,
    /// Those whose SYN or SYN-ACK has been repeated at least once.
    pub repeated: u32,
}

impl Half {
    fn count(&mut self, entry: &Entry) {
        self.total = self.total.saturating_add(1);
        self.repeated = self.repeated.saturating_add(u32::from(entry.retransmits > 0));
    }
}

/// Half-open connections of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HalfOpen {
    /// `SYN_RECV`: the SYN queues.
    pub incoming: Half,
    /// `SYN_SENT` but for loopback, whose other end is seen here too: `connect()` under way, of every program here.
    pub outgoing: Half,
    /// `SYN_RECV` by local port; the kernel keeps no link to the member of an `SO_REUSEPORT` group.
    pub by_port: BTreeMap<u16, Half>,
    /// Whether all of them were counted, or a limit cut the count off.
    pub complete: bool,
}

impl HalfOpen {
    /// Counts one socket; others than half-open ones are passed over.
    pub fn count(&mut self, entry: &Entry) {
        match entry.state {
            State::SynRecv => {
                self.incoming.count(entry);
                self.by_port.entry(entry.local.port()).or_default().count(entry);
            }
            State::SynSent if !canonical(entry.remote.ip()).is_loopback() => self.outgoing.count(entry),
            _ => {}
        }
    }
}

/// All TCP sockets of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// By state.
    pub total: StateCounts,
    /// By the port of each listener, the listener itself included.
    pub by_listener: BTreeMap<u16, StateCounts>,
    /// By remote address and port, of the servers that were asked for; each also stands for local ports that are taken.
    pub by_server: BTreeMap<SocketAddr, StateCounts>,
    /// Whether all of them were counted, or a limit cut the count off.
    pub complete: bool,
}

impl Census {
    /// An empty count that will tell `servers` apart.
    pub fn watching(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            by_server: servers
                .into_iter()
                .map(|server| (server, StateCounts::default()))
                .collect(),
            ..Self::default()
        }
    }

    /// Counts one socket; listeners have to come before their connections, as `sock_diag` gives them.
    pub fn count(&mut self, entry: &Entry) {
        self.total.count(entry.state);
        let port = entry.local.port();
        if entry.state == State::Listen {
            self.by_listener.entry(port).or_default();
        }
        if let Some(counts) = self.by_listener.get_mut(&port) {
            counts.count(entry.state);
        }
        // A connection of a dual-stack socket shows the IPv4 address in IPv6 form.
        let remote = SocketAddr::new(canonical(entry.remote.ip()), entry.remote.port());
        if let Some(counts) = self.by_server.get_mut(&remote) {
            counts.count(entry.state);
        }
    }
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: State, local: &str, remote: &str, retransmits: u8) -> Entry {
        Entry {
            retransmits,
            ..Entry::of(state, local, remote)
        }
    }

    #[test]
    fn sockets_are_counted_by_listener_and_by_server() {
        let server: SocketAddr = "10.9.0.7:8080".parse().expect("an address");
        let mut census = Census::watching([server]);
        let mut half_open = HalfOpen::default();
        for entry in [
            entry(State::Listen, "0.0.0.0:80", "0.0.0.0:0", 0),
            entry(State::Established, "10.0.0.1:80", "192.0.2.1:5000", 0),
            entry(State::SynRecv, "10.0.0.1:80", "192.0.2.2:5000", 0),
            entry(State::SynRecv, "10.0.0.1:80", "192.0.2.3:5000", 2),
            entry(State::TimeWait, "10.0.0.1:40000", "10.9.0.7:8080", 0),
            entry(State::SynSent, "127.0.0.1:40002", "127.0.0.1:80", 1),
            entry(State::SynSent, "[::ffff:10.0.0.1]:40001", "[::ffff:10.9.0.7]:8080", 1),
        ] {
            census.count(&entry);
            half_open.count(&entry);
        }
        assert_eq!(census.total.connections(), 6);
        assert_eq!(census.by_listener[&80].get(State::SynRecv), 2);
        assert_eq!(census.by_server[&server].get(State::TimeWait), 1);
        assert_eq!(census.by_server[&server].connections(), 2);
        assert!(!census.by_listener.contains_key(&40000));
        assert_eq!(half_open.by_port[&80], Half { total: 2, repeated: 1 });
        assert_eq!(half_open.outgoing, Half { total: 1, repeated: 1 });
    }
}
