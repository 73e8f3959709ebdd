//! A TCP connection that was just accepted, and that no reactor watches yet.
//!
//! Most clients have sent their request when their connection is accepted, and the answer fits into the socket: then a
//! connection for one request begins and ends without `epoll_ctl`, twice 0.4 µs and as much bookkeeping. One read and one
//! write are done so; then [`super::stream`] gives it to the reactor, which sees to it that a client who sends without end
//! leaves the worker to others.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream as Socket;
use std::os::fd::{AsFd as _, BorrowedFd};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// Bytes of one read: more than most heads have.
const READ: usize = 4 * 1024;

thread_local! {
    /// Where a worker reads to: copying the few hundred bytes of a head costs less than setting 4 KiB to zero.
    static SCRATCH: RefCell<[u8; READ]> = const { RefCell::new([0; READ]) };
}

/// A connected socket, non-blocking.
#[derive(Debug)]
pub struct Fresh {
    /// `None` when the reactor did not take it: it is closed.
    socket: Option<Socket>,
    was_read: bool,
    was_written: bool,
}

impl Fresh {
    pub(super) const fn new(socket: Socket) -> Self {
        Self {
            socket: Some(socket),
            was_read: false,
            was_written: false,
        }
    }

    /// Reads what is there, once; `WouldBlock` when there is nothing, and after that.
    pub(super) fn read(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        if std::mem::replace(&mut self.was_read, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        SCRATCH.with_borrow_mut(|scratch| {
            let room = buf.remaining().min(READ);
            let read = socket.read(&mut scratch[..room])?;
            buf.put_slice(&scratch[..read]);
            Ok(())
        })
    }

    /// Writes what fits, once; `WouldBlock` when that is nothing, and after that.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if std::mem::replace(&mut self.was_written, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        match slices {
            [one] => socket.write(one),
            _ => socket.write_vectored(slices),
        }
    }

    /// The socket, watched by the reactor of the worker that calls this.
    ///
    /// # Errors
    /// The reactor's; the connection is closed then.
    pub(super) fn watched(&mut self) -> io::Result<TcpStream> {
        let socket = self.socket.take().ok_or(io::ErrorKind::NotConnected)?;
        TcpStream::from_std(socket)
    }

    /// The socket, while there is one.
    pub(super) const fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|socket| socket.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener};

    use bytes::BytesMut;

    use super::*;
    use crate::net::stream::Stream;

    /// A fresh connection, and its client.
    fn pair() -> (Stream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Socket::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        (Stream::Fresh(Fresh::new(socket)), client)
    }

    async fn read(stream: &mut Stream) -> io::Result<Vec<u8>> {
        let mut buf = BytesMut::new();
        poll_fn(|cx| stream.poll_read_buf(cx, &mut buf)).await?;
        Ok(buf.to_vec())
    }

    async fn write(stream: &mut Stream, text: &[u8]) -> usize {
        poll_fn(|cx| stream.poll_write_vectored(cx, &[IoSlice::new(text)]))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn what_is_there_is_answered_without_a_reactor_and_what_comes_later_with_it() {
        let (mut stream, mut client) = pair();
        client.write_all(b"first").unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), b"first");
        assert_eq!(write(&mut stream, b"answer").await, 6);
        assert!(matches!(stream, Stream::Fresh(_)));
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        // The reader is waiting when this comes.
        let later = std::thread::spawn(move || {
            client.write_all(b"second").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client
        });
        assert_eq!(read(&mut stream).await.unwrap(), b"second");
        assert!(matches!(stream, Stream::Tcp(_)));
        assert_eq!(read(&mut stream).await.unwrap(), b"", "the end of the stream");
        later.join().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_said_nothing_yet_is_waited_for_and_one_that_left_is_gone() {
        let (mut stream, mut client) = pair();
        let later = std::thread::spawn(move || client.write_all(b"late").unwrap());
        assert_eq!(read(&mut stream).await.unwrap(), b"late");
        later.join().unwrap();
        let (mut stream, client) = pair();
        drop(client);
        assert_eq!(read(&mut stream).await.unwrap(), b"");
        assert!(matches!(stream, Stream::Fresh(_)));
    }

    #[tokio::test]
    async fn a_client_that_sends_or_takes_without_end_is_the_reactors_after_one_read_and_one_write() {
        let (mut stream, mut client) = pair();
        client.write_all(&[b'x'; 3 * READ]).unwrap();
        assert_eq!(read(&mut stream).await.unwrap().len(), READ);
        assert!(matches!(stream, Stream::Fresh(_)));
        assert!(!read(&mut stream).await.unwrap().is_empty());
        assert!(matches!(stream, Stream::Tcp(_)));
        let (mut stream, _client) = pair();
        for is_watched in [false, true] {
            assert_eq!(write(&mut stream, b"piece").await, 5);
            assert_eq!(matches!(stream, Stream::Tcp(_)), is_watched);
        }
    }
}
