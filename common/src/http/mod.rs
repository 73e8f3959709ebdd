//! HTTP messages and the hygiene that every intermediary owes them (RFC 9110 §7, RFC 9112 §6).

pub mod tunnel; // what follows a 101
pub mod body; // what a message carries
pub mod field_lines; // field lines kept rendered
pub mod head; // a request's head, its fields a map only where that is wanted
pub mod request; // a request as a service gets it
pub mod response; // a response on its way out
pub mod known; // field names that have a number
pub mod list; // comma-separated lists in field values
pub mod hop_by_hop; // fields that end at this hop
pub mod via; // Via and loop detection (CDN-Loop)
pub mod forwarded; // who asked: X-Forwarded-*, Forwarded
pub mod host; // Host and absolute-form
pub mod upgrade; // which protocols a client may change to
pub mod websocket; // the opening handshake of WebSocket, where we are its client
pub mod time_left; // how long the hop before still waits
pub mod interim; // 1xx on their way to the client
pub mod outgoing; // what every request that goes on is given
pub mod origin_error; // what went wrong towards a server, in RFC 9209's words
