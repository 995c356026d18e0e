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

/// Watches a response's body until its end.
///
/// It is dropped after `end`, and without `end` when the body is dropped midway.
pub(crate) trait Watch {
    /// The body is about to be polled, or was. Should it unwind in between, it is dropped later, and was not cancelled.
    fn polling(&mut self, _is_polling: bool) {}

    /// So many bytes were read; whether the server reads no further.
    fn read(&mut self, _bytes: u64) -> bool {
        false
    }

    /// The body ended; said at most once.
    fn end(&mut self, end: End);
}

impl<W: Watch> Watch for Option<W> {
    fn polling(&mut self, is_polling: bool) {
        if let Some(watch) = self {
            watch.polling(is_polling);
        }
    }

    fn read(&mut self, bytes: u64) -> bool {
        self.as_mut().is_some_and(|watch| watch.read(bytes))
    }

    fn end(&mut self, end: End) {
        if let Some(watch) = self {
            watch.end(end);
        }
    }
}

impl Watch for Infallible {
    fn end(&mut self, _: End) {
        match *self {}
    }
}

/// All who wait for the status of one gRPC call.
#[derive(Default)]
pub(super) struct Watches(Vec<Box<dyn Watch + Send + Sync>>);

impl Watches {
    pub(super) fn push(&mut self, watch: Box<dyn Watch + Send + Sync>) {
        self.0.push(watch);
    }
}

impl Watch for Box<Watches> {
    fn polling(&mut self, is_polling: bool) {
        for watch in &mut self.0 {
            watch.polling(is_polling);
        }
    }

    fn end(&mut self, end: End) {
        for watch in &mut self.0 {
            watch.end(end);
        }
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watches").field(&self.0.len()).finish()
    }
}
