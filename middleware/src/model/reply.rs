use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{StoreError, StoreErrorKind};

/// The answer of a store: at once from memory, later from a server. It is a future.
///
/// ```
/// use palisade::rate_limit::store::Reply;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let known = Reply::Ready(Ok(1));
/// let asked = Reply::pending(async { Ok(2) });
/// assert_eq!(known.await? + asked.await?, 3);
/// # Ok::<(), palisade::rate_limit::StoreError>(())
/// # }).unwrap();
/// ```
#[must_use = "a call may leave only when its reply is polled"]
pub enum Reply<T> {
    /// Answered, without an allocation.
    Ready(Result<T, StoreError>),
    /// Under way. The future times out by itself.
    Pending(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>),
}

/// A reply under way.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

impl<T> Reply<T> {
    /// A reply that this future brings.
    pub fn pending(asked: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(asked))
    }
}

impl<T: Unpin> Future for Reply<T> {
    type Output = Result<T, StoreError>;

    /// An answer that was there at once is given once; then there is none.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(result) => {
                let taken = Err(StoreError::new(StoreErrorKind::Failed));
                Poll::Ready(mem::replace(result, taken))
            }
            Self::Pending(asked) => asked.as_mut().poll(cx),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
