//! A thread that looks at files of certificates and address lists now and then, since neither workers nor the control
//! thread may wait for a disk.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use common::net::address_list::AddressList;
use common::net::tls::connector::{self, TlsConnector};
use common::net::tls::context::TlsContext;
use common::time::Clock;

use crate::exit::{Code, Failure};

/// The thread; dropped, it ends.
pub struct FileWatch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    /// Starts it, where there are such files; lists are looked at as often as `lists_every` says.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(
        contexts: &[Arc<TlsContext>],
        connectors: &[Arc<TlsConnector>],
        lists: &[Arc<AddressList>],
        lists_every: Duration,
    ) -> Result<Option<Self>, Failure> {
        let of_listeners = contexts.iter().map(|context| context.settings().reload_every);
        let of_backends = connectors.iter().map(|_| connector::RELOAD_EVERY);
        let of_lists = lists.iter().map(|_| lists_every);
        let Some(every) = of_listeners.chain(of_backends).chain(of_lists).min() else {
            return Ok(None);
        };
        let (contexts, connectors, lists) = (contexts.to_vec(), connectors.to_vec(), lists.to_vec());
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let now = Clock::System.wall();
                contexts.iter().for_each(|context| context.reload_if_changed(now));
                connectors.iter().for_each(|connector| connector.reload_if_changed(now));
                lists.iter().for_each(|list| list.reload_if_changed());
            }
        };
        let thread = std::thread::Builder::new()
            .name("tidegate-files".to_owned())
            .spawn(watch);
        let thread = thread.map_err(|error| Failure::new(Code::System, format_args!("thread: {error}")))?;
        Ok(Some(Self {
            stop: Some(stop),
            thread: Some(thread),
        }))
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that looks after files panicked");
        }
    }
}
