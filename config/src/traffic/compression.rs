//! Which responses are compressed, and how.

/// A content coding that responses are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Its name in Accept-Encoding and Content-Encoding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// What is compressed, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Compression {
    /// The codings, the best first: it decides where a client likes several alike.
    pub codings: Vec<Coding>,
    /// Media types; `text/*` is all below `text`.
    pub types: Vec<String>,
    /// Bytes of the shortest content that is compressed.
    pub length_min: u64,
    /// 1 to 9.
    pub gzip_level: u32,
    /// 0 to 11.
    pub brotli_level: u32,
    /// 1 to 19.
    pub zstd_level: u32,
    /// Responses that are compressed at the same time; further ones go as they are.
    pub streams_max: usize,
}

impl Compression {
    /// Whether nothing is compressed.
    pub fn is_off(&self) -> bool {
        self.codings.is_empty()
    }
}
