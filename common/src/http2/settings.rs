//! Plain settings of HTTP/2, filled in by `config`. Times, head and body limits are those of `serve::settings`.

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
}
