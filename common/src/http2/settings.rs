//! Plain settings of HTTP/2, filled in by `config`. Times, head and body limits are those of `serve::settings`.

use std::time::Duration;

/// What a client may do on one HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Settings {
    /// Streams that are open at the same time (`SETTINGS_MAX_CONCURRENT_STREAMS`).
    pub streams_max: u32,
    /// Bytes of a request body that may be on their way unread, per stream (`SETTINGS_INITIAL_WINDOW_SIZE`).
    pub stream_window: u32,
    /// Bytes of all request bodies that may be on their way unread.
    pub connection_window: u32,
    /// Bytes of a response that may wait for the connection, per stream.
    pub send_buffer_max: u32,
    /// Clients may open tunnels on a stream (`SETTINGS_ENABLE_CONNECT_PROTOCOL`, RFC 8441).
    pub extended_connect: bool,
}

/// How HTTP/2 is spoken to the servers of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHttp2Settings {
    /// Requests at the same time on one connection; fewer where the server says so.
    pub streams_max: usize,
    /// Bytes of one response body that a server may send before they are read.
    pub stream_window: u32,
    /// Bytes of all response bodies on a connection that a server may send before they are read.
    pub connection_window: u32,
    /// Bytes of one request body that may wait for the connection.
    pub send_buffer_max: u32,
    /// Silence without any request after which a connection is asked whether it still is one; zero: never.
    pub ping_after: Duration,
    /// How long the answer may take.
    pub ping_timeout: Duration,
}
