//! Windows of flow control (RFC 9113 §5.2, §6.9), of connections and of streams alike. Pure.
//!
//! What we may send is a count that SETTINGS can make negative; what the client may send is opened again as it is read, in
//! steps of half a window.

/// The window of a connection, and of streams until SETTINGS say otherwise (RFC 9113 §6.9.2).
pub(super) const WINDOW_DEFAULT: u32 = 65_535;

/// "A sender MUST NOT allow a flow-control window to exceed 2^31-1 octets." (RFC 9113 §6.9.1)
const WINDOW_MAX: i64 = (1 << 31) - 1;

/// A window was made larger than it can be, or more was sent than it had room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// What we may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i64);

impl SendWindow {
    pub(super) const fn new(size: u32) -> Self {
        Self(size as i64)
    }

    /// Bytes that may be sent now.
    pub(super) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Bytes were sent: no more than there was room for.
    pub(super) fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.room(), "more than the window has room for");
        self.0 -= bytes as i64;
    }

    /// The client opens it, or changes it by SETTINGS, which may make it negative (RFC 9113 §6.9.2).
    pub(super) fn change(&mut self, by: i64) -> Result<(), Overflow> {
        let changed = self.0 + by;
        if changed > WINDOW_MAX {
            return Err(Overflow);
        }
        self.0 = changed;
        Ok(())
    }
}

/// What the client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    /// Bytes that it may send.
    open: i64,
    /// Bytes that it may be given besides: they were read, or the window is to grow.
    free: i64,
    /// What both and all that waits unread come to.
    target: i64,
}

impl ReceiveWindow {
    /// A window that is `open` as far as the client knows, and that is to be as large as `target`.
    pub(super) const fn new(open: u32, target: u32) -> Self {
        Self {
            open: open as i64,
            free: target as i64 - open as i64,
            target: target as i64,
        }
    }

    /// Bytes came.
    pub(super) fn receive(&mut self, bytes: usize) -> Result<(), Overflow> {
        self.open -= bytes as i64;
        if self.open < 0 { Err(Overflow) } else { Ok(()) }
    }

    /// Bytes that came were read.
    pub(super) fn release(&mut self, bytes: usize) {
        self.free += bytes as i64;
    }

    /// What the client is to be told, once it is worth a frame.
    pub(super) fn update(&mut self) -> Option<u32> {
        if self.free <= 0 || self.free * 2 < self.target {
            return None;
        }
        self.all()
    }

    /// What the client may be told now, however little.
    pub(super) fn all(&mut self) -> Option<u32> {
        let free = u32::try_from(self.free).ok().filter(|free| *free > 0)?;
        self.open += self.free;
        self.free = 0;
        Some(free)
    }

    /// The client has heard of our SETTINGS: its windows are what they say.
    pub(super) fn resize(&mut self, by: i64) {
        self.open += by;
        self.target += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_to_send_into_may_be_negative_and_never_too_large() {
        let mut window = SendWindow::new(10);
        window.take(8);
        assert_eq!(window.change(-5), Ok(()));
        assert_eq!(window.room(), 0);
        assert_eq!(window.change(4), Ok(()));
        assert_eq!(window.room(), 1);
        assert_eq!(window.change(WINDOW_MAX), Err(Overflow));
        assert_eq!(window.change(WINDOW_MAX - 1), Ok(()));
        assert_eq!(window.room(), (1 << 31) - 1);
    }

    #[test]
    fn what_was_read_is_given_back_by_halves() {
        let mut window = ReceiveWindow::new(100, 100);
        assert_eq!(window.receive(100), Ok(()));
        window.release(49);
        assert_eq!(window.update(), None);
        window.release(1);
        assert_eq!((window.update(), window.update()), (Some(50), None));
        assert_eq!(window.receive(51), Err(Overflow));
    }

    #[test]
    fn a_window_grows_or_shrinks_to_its_target() {
        let mut wide = ReceiveWindow::new(WINDOW_DEFAULT, 1 << 20);
        assert_eq!(wide.all(), Some((1 << 20) - WINDOW_DEFAULT));
        let mut narrow = ReceiveWindow::new(WINDOW_DEFAULT, 1000);
        assert_eq!(narrow.all(), None);
        assert_eq!(narrow.receive(65_100), Ok(()));
        narrow.release(65_100);
        assert_eq!(narrow.update(), Some(565), "so that it is 1000 again");
        let mut stream = ReceiveWindow::new(WINDOW_DEFAULT, WINDOW_DEFAULT);
        stream.resize(10 - i64::from(WINDOW_DEFAULT));
        assert_eq!(stream.receive(11), Err(Overflow));
    }
}
