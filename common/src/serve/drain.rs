//! Stop taking, finish what runs.

/// Tells everybody that the process is draining.
#[derive(Clone, Debug, Default)]
pub struct Drain {}

impl Drain {
    /// Whether it has begun.
    pub fn is_draining(&self) -> bool {
        false
    }

    /// Ready when it has begun.
    pub async fn draining(&self) {
        std::future::pending::<()>().await;
    }
}
