//! One coding as a writer whose output is taken away piece by piece.

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use common::http::body::BodyError;
use config::traffic::Coding;
use flate2::write::GzEncoder;

/// Content that is being compressed. What it holds of it is bounded by the windows below, whatever the content's length.
pub(super) enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

/// 512 KiB of history, each: more costs memory per response and gains little on pages.
const WINDOW_LOG: u32 = 19;
/// Bytes that brotli collects before it hands them on.
const BROTLI_BUFFER: usize = 4096;

impl Encoder {
    pub(super) fn new(coding: Coding, level: u32) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => {
                let level = i32::try_from(level).unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.window_log(WINDOW_LOG)?;
                Self::Zstd(encoder)
            }
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                level,
                WINDOW_LOG,
            ))),
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level))),
        })
    }

    /// Takes in some content.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let written = match self {
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        };
        written.map_err(failed)
    }

    /// Lets out all that was taken in, so that whoever reads can decode it.
    pub(super) fn flush(&mut self) -> Result<(), BodyError> {
        let flushed = match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        };
        flushed.map_err(failed)
    }

    /// What has come out so far.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        })
        .into()
    }

    /// The end of it, with all that has not been taken.
    pub(super) fn finish(self) -> Result<Bytes, BodyError> {
        let last = match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Gzip(encoder) => encoder.finish(),
        };
        last.map(Bytes::from).map_err(failed)
    }
}

/// Writing into memory does not fail; a coding's own library may, when there is no memory for it.
fn failed(_: io::Error) -> BodyError {
    BodyError::Internal("the content could not be compressed")
}
