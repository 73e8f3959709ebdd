//! What is there at once, or is coming: so that an answer from store costs no future, no box and no await.

use std::future::Future;
use std::pin::Pin;

/// A value that is there, or that will be.
pub enum Soon<'a, T> {
    /// It is there.
    Ready(T),
    /// It is coming.
    Coming(Coming<'a, T>),
}

/// A value that is coming. Dropping it means that nobody wants it any more.
pub type Coming<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl<'a, T: 'a> Soon<'a, T> {
    /// What will be.
    pub fn coming(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self::Coming(Box::pin(future))
    }

    /// What `change` makes of it: now, or when it comes.
    pub fn map<U: 'a>(self, change: impl FnOnce(T) -> U + Send + 'a) -> Soon<'a, U> {
        match self {
            Self::Ready(value) => Soon::Ready(change(value)),
            Self::Coming(coming) => Soon::coming(async move { change(coming.await) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_there_is_changed_at_once_and_what_is_coming_when_it_comes() {
        let Soon::Ready(3) = Soon::Ready(2).map(|two| two + 1) else {
            panic!("it was there");
        };
        let (tell, told) = tokio::sync::oneshot::channel();
        let Soon::Coming(mut coming) = Soon::coming(told).map(|two: Result<i32, _>| two.unwrap() + 1) else {
            panic!("it was not there");
        };
        assert!(futures_pending(&mut coming));
        tell.send(2).unwrap();
        assert_eq!(coming.await, 3);
    }

    fn futures_pending<T>(coming: &mut Coming<'_, T>) -> bool {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        coming.as_mut().poll(&mut cx).is_pending()
    }
}
