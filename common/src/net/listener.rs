//! Listening sockets, built with socket2: backlog, SO_REUSEPORT, defer-accept, v6only, unix files.
