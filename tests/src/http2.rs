//! An HTTP/2 client made of exact frames (RFC 9113 §4, §6), without TLS; heads are HPACK without tables.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::wait::Deadline;

/// A connection; frames are sent and read one by one.
pub struct Http2(TcpStream);

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What follows its head.
    pub content: Vec<u8>,
}

pub use words::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PADDED, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

/// Types of frames, their flags, a setting.
#[expect(missing_docs, reason = "the words of RFC 9113 §6")]
mod words {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;

    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;

    pub const INITIAL_WINDOW_SIZE: u16 = 4;
}

impl Http2 {
    /// Connects, and sends the preface with these settings.
    #[track_caller]
    pub fn connect(address: &str, settings: &[(u16, u32)]) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Deadline::soon().left())).unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut client = Self(socket);
        let settings = settings.iter().flat_map(|(key, value)| {
            let mut setting = key.to_be_bytes().to_vec();
            setting.extend(value.to_be_bytes());
            setting
        });
        client.send(SETTINGS, 0, 0, &settings.collect::<Vec<_>>());
        client
    }

    /// Sends a frame; false when the peer has closed.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) -> bool {
        self.send_raw(&frame(kind, flags, stream, content))
    }

    /// Sends octets, be they a frame or a part of one; false when the peer has closed.
    pub fn send_raw(&mut self, octets: &[u8]) -> bool {
        self.0.write_all(octets).is_ok()
    }

    /// Sends a request head.
    pub fn request(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &head(fields));
    }

    /// Sends a GET for a path.
    pub fn get(&mut self, stream: u32, path: &str) {
        let host = "www.example.com";
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", host),
            (":path", path),
        ];
        self.request(stream, &fields, true);
    }

    /// The next frame that is not about settings or windows; `None` at the end of the connection.
    pub fn read(&mut self) -> Option<Frame> {
        loop {
            let frame = self.read_any()?;
            match (frame.kind, frame.flags) {
                (SETTINGS, 0) => {
                    self.send(SETTINGS, ACK, 0, &[]);
                }
                (PING, 0) => {
                    self.send(PING, ACK, 0, &frame.content);
                }
                (SETTINGS | PING | WINDOW_UPDATE, _) => {}
                _ => return Some(frame),
            }
        }
    }

    /// The next frame, whatever it is; `None` when nothing more comes.
    pub fn read_raw(&mut self) -> Option<Frame> {
        self.read_any()
    }

    /// Reads to the end of the connection; false when it does not end.
    pub fn ends(&mut self) -> bool {
        match self.0.read_to_end(&mut Vec::new()) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Reads until a frame of this type and gives it.
    #[track_caller]
    pub fn read_until(&mut self, kind: u8) -> Frame {
        while let Some(frame) = self.read() {
            if frame.kind == kind {
                return frame;
            }
        }
        panic!("the connection ended before a frame of type {kind}");
    }

    /// Reads a response on a stream: the first octets of its head, and its content.
    #[track_caller]
    pub fn response(&mut self, stream: u32) -> (Vec<u8>, String) {
        let (mut head, mut content) = (Vec::new(), Vec::new());
        while let Some(frame) = self.read() {
            assert!(frame.stream == stream || frame.stream == 0, "{frame:?}");
            match frame.kind {
                HEADERS if head.is_empty() => head.clone_from(&frame.content),
                DATA => content.extend_from_slice(&frame.content),
                HEADERS | GOAWAY => {}
                _ => panic!("{frame:?}"),
            }
            if frame.stream == stream && frame.flags & END_STREAM != 0 {
                return (head, String::from_utf8(content).unwrap());
            }
        }
        panic!("the connection ended before the response");
    }

    fn read_any(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut content = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut content).ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            content,
        })
    }
}

/// A frame as it is sent.
pub fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// The error code of a GOAWAY or `RST_STREAM` frame (RFC 9113 §7).
pub fn code(frame: &Frame) -> u32 {
    let at = if frame.kind == GOAWAY { 4 } else { 0 };
    u32::from_be_bytes(frame.content[at..at + 4].try_into().unwrap())
}

/// `:status: 200` in HPACK's static table.
pub const STATUS_200: u8 = 0x88;
/// `:status: 400`.
pub const STATUS_400: u8 = 0x8c;

/// Fields as literals without indexing (RFC 7541 §6.2.2).
pub fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Lengths of 127 and more would take another octet.
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
