//! Bodies that end in every way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// What a poll of a body gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Pending,
    Data(&'static [u8]),
    Trailers(Vec<(&'static str, &'static str)>),
    Error(&'static str),
    End,
    Panic,
}

/// A body that follows its steps, then waits for ever.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) steps: VecDeque<Step>,
    /// Whether it says that it ended once no step is left.
    pub(crate) tells_its_end: bool,
    pub(crate) hint: (u64, Option<u64>),
}

impl Script {
    pub(crate) fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => return Poll::Pending,
            Some(Step::Data(data)) => Some(Ok(Frame::data(Bytes::from_static(data)))),
            Some(Step::Trailers(fields)) => {
                let mut trailers = HeaderMap::new();
                for (name, value) in fields {
                    trailers.append(name, value.parse().unwrap());
                }
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(Step::Error(error)) => Some(Err(error)),
            Some(Step::End) => None,
            Some(Step::Panic) => panic!("the body's own"),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.tells_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.hint.0);
        if let Some(upper) = self.hint.1 {
            hint.set_upper(upper);
        }
        hint
    }
}
