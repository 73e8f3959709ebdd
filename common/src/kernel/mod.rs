//! What Linux says about handshakes: settings, counters, sockets, and the diagnosis drawn from them.
