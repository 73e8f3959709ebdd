//! What a scripted origin does with a connection or a request, step by step.

use std::time::Duration;

use crate::wait::Gate;

/// Steps, in order. After the last one the origin keeps the connection open and reads the next request.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Send these bytes unless the request is a HEAD.
    Content(Vec<u8>),
    /// Send each of these bytes by a write of its own.
    Drip(Vec<u8>),
    /// Send these bytes so many times.
    Repeat(Vec<u8>, u64),
    /// Send these bytes again and again, a pause in between, until the peer is gone.
    Forever(Vec<u8>, Duration),
    /// Read the request's body to its end.
    ReadBody,
    /// Read until so many more bytes of the body (framing included) have come.
    ReadSome(usize),
    /// Wait at a gate.
    Wait(Gate),
    /// Open a gate.
    Open(Gate),
    /// Send back whatever comes, until the peer ends its side.
    Echo,
    /// Do nothing until the peer ends the connection.
    Hold,
    /// Close in order.
    Close,
    /// Close with a reset.
    Reset,
}

impl Script {
    /// No steps yet.
    pub const fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// A plain 200 with this content, not to be stored.
    pub fn ok(content: impl AsRef<[u8]>) -> Self {
        Self::answer(200, "Cache-Control: no-store\r\n", content)
    }

    /// A whole response with more field lines, each ended by CRLF, and a Content-Length; to a HEAD without its content.
    pub fn answer(status: u16, lines: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n{lines}\r\n",
            content.len()
        );
        Self::new().send(head).then(Step::Content(content.to_vec()))
    }

    /// A 200 that may be stored for a minute.
    pub fn cacheable(content: impl AsRef<[u8]>) -> Self {
        Self::answer(200, "Cache-Control: max-age=60\r\n", content)
    }

    /// Only sends these bytes.
    pub fn says(bytes: impl AsRef<[u8]>) -> Self {
        Self::new().send(bytes)
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Then sends exactly these bytes.
    #[must_use]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Then sends these bytes one by one.
    #[must_use]
    pub fn drip(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Drip(bytes.as_ref().to_vec()))
    }

    /// Then sends these bytes `times` times.
    #[must_use]
    pub fn repeat(self, bytes: impl AsRef<[u8]>, times: u64) -> Self {
        self.then(Step::Repeat(bytes.as_ref().to_vec(), times))
    }

    /// Then sends these bytes again and again until the peer is gone.
    #[must_use]
    pub fn forever(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Forever(bytes.as_ref().to_vec(), Duration::ZERO))
    }

    /// Then sends these bytes again and again, `pause` apart, until the peer is gone.
    #[must_use]
    pub fn trickle(self, bytes: impl AsRef<[u8]>, pause: Duration) -> Self {
        self.then(Step::Forever(bytes.as_ref().to_vec(), pause))
    }

    /// Then reads the request's body to its end (for [`crate::origin::Origin::at_head`]).
    #[must_use]
    pub fn read_body(self) -> Self {
        self.then(Step::ReadBody)
    }

    /// Then waits for so many more bytes of the request's body, framing included, and leaves them unread.
    #[must_use]
    pub fn read_some(self, bytes: usize) -> Self {
        self.then(Step::ReadSome(bytes))
    }

    /// Then waits at `gate`.
    #[must_use]
    pub fn wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Then opens `gate`.
    #[must_use]
    pub fn open(self, gate: &Gate) -> Self {
        self.then(Step::Open(gate.clone()))
    }

    /// Then sends back whatever comes, until the peer ends its side.
    #[must_use]
    pub fn echo(self) -> Self {
        self.then(Step::Echo)
    }

    /// Then does nothing until the peer ends the connection.
    #[must_use]
    pub fn hold(self) -> Self {
        self.then(Step::Hold)
    }

    /// Then closes in order.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Then closes with a reset.
    #[must_use]
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }
}
