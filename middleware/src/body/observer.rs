use std::convert::Infallible;
use std::fmt;

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was read to its end, with the status of a gRPC call if its trailers have one.
    Complete(Option<u8>),
    /// It failed midway.
    Failed,
}

/// Observes a response's body until its end.
///
/// It is dropped after `end`, and without `end` when the body is dropped midway.
pub(crate) trait ObserveBody {
    /// The body is about to be polled, or was. Should it unwind in between, it is dropped later, and was not cancelled.
    fn polling(&mut self, _is_polling: bool) {}

    /// So many bytes were read; whether the server reads no further.
    fn read(&mut self, _bytes: u64) -> bool {
        false
    }

    /// The body ended; said at most once.
    fn end(&mut self, end: End);
}

impl<W: ObserveBody> ObserveBody for Option<W> {
    fn polling(&mut self, is_polling: bool) {
        if let Some(observer) = self {
            observer.polling(is_polling);
        }
    }

    fn read(&mut self, bytes: u64) -> bool {
        self.as_mut().is_some_and(|observer| observer.read(bytes))
    }

    fn end(&mut self, end: End) {
        if let Some(observer) = self {
            observer.end(end);
        }
    }
}

impl ObserveBody for Infallible {
    fn end(&mut self, _: End) {
        match *self {}
    }
}

/// All who wait for the status of one gRPC call.
#[derive(Default)]
pub(super) struct Observers(Vec<Box<dyn ObserveBody + Send + Sync>>);

impl Observers {
    pub(super) fn push(&mut self, observer: Box<dyn ObserveBody + Send + Sync>) {
        self.0.push(observer);
    }
}

impl ObserveBody for Box<Observers> {
    fn polling(&mut self, is_polling: bool) {
        for observer in &mut self.0 {
            observer.polling(is_polling);
        }
    }

    fn end(&mut self, end: End) {
        for observer in &mut self.0 {
            observer.end(end);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0.len()).finish()
    }
}
