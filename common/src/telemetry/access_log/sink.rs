//! Where lines end up: whole lines only, and one message per burst of failures.

use std::io::{self, Write};

/// Where lines end up.
pub(super) struct Sink<W> {
    out: W,
    /// The last write ended within a line.
    torn: bool,
    /// The last write failed, and that was told.
    failing: bool,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            torn: false,
            failing: false,
        }
    }

    /// Writes whole lines; false when they are not all written.
    pub(super) fn write(&mut self, lines: &[u8]) -> bool {
        let result = self.try_write(lines);
        match &result {
            Ok(()) if self.failing => tracing::info!("the access log can be written again"),
            Err(error) if !self.failing => tracing::error!(%error, "the access log cannot be written; lines are lost"),
            Ok(()) | Err(_) => {}
        }
        self.failing = result.is_err();
        result.is_ok()
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.out.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails until `fails` is over.
    struct Flaky {
        taken: Vec<u8>,
        room: usize,
        fails: usize,
    }

    impl Write for Flaky {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 && self.fails > 0 {
                self.fails -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let fits = if self.fails > 0 {
                bytes.len().min(self.room)
            } else {
                bytes.len()
            };
            self.room -= fits.min(self.room);
            self.taken.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_does_not_spoil_the_next() {
        for (room, expected) in [(5, "one\nt\nfour\n"), (4, "one\nfour\n"), (0, "four\n")] {
            let mut sink = Sink::new(Flaky {
                taken: Vec::new(),
                room,
                fails: 2,
            });
            assert!(!sink.write(b"one\ntwo\n"), "cut");
            assert!(!sink.write(b"three\n"), "still failing");
            assert!(sink.write(b"four\n"), "again");
            assert_eq!(String::from_utf8_lossy(&sink.out.taken), expected);
        }
    }
}
