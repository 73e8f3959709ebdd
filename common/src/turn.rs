//! A turn: what is ready to be sent waits until everything that is ready to be read was read.
//!
//! A worker that was told of fifty readable sockets, of clients and of servers, passes one message on after another. Where
//! they are on this machine, each that leaves at once wakes somebody who has run out of work, and falls asleep again before
//! the next. After a turn they leave close behind each other, and who was woken by the first stays awake: 1 to 2 µs of
//! system time per request passed through. Answers from store gain nothing by it, and have none. Alone on its worker, a
//! connection waits for nobody: the turn is one more poll of its task.

use std::future::poll_fn;
use std::task::Poll;

/// Lets the tasks that are ready go first.
///
/// Unlike tokio's `yield_now`, which also looks for new events first, this goes to the end of the line that there is.
pub async fn turn() {
    let mut had_it = false;
    poll_fn(|cx| {
        if had_it {
            return Poll::Ready(());
        }
        had_it = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn all_read_before_the_first_writes() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        for name in ["a", "b", "c"] {
            let told = Rc::clone(&told);
            local.spawn_local(async move {
                told.borrow_mut().push(format!("{name} reads"));
                turn().await;
                told.borrow_mut().push(format!("{name} writes"));
            });
        }
        local.await;
        let expected = ["a reads", "b reads", "c reads", "a writes", "b writes", "c writes"];
        assert_eq!(*told.borrow(), expected);
    }
}
