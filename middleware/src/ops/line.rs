//! The readers: a fixed number of streams, each told the newest frame and never more than one behind.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Streams at once.
pub(super) const STREAMS: usize = 8;
/// Frames, one a second, after which a stream that takes none loses its place to others.
const PATIENCE: u64 = 30;

/// The newest frame, and the streams that wait for the next.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Of the newest frame.
    number: u64,
    /// `None` while nobody has watched long enough for one.
    frame: Option<Bytes>,
    places: [Option<Place>; STREAMS],
    /// Streams that ever joined.
    joined: u64,
}

#[derive(Debug)]
struct Place {
    /// Kept while the stream is not waiting, since it must learn that it is to end.
    waker: Option<Waker>,
    /// The newest frame when it last took one.
    taken: u64,
    holder: u64,
}

/// One stream's place on the line; dropped, it is free.
#[derive(Debug)]
pub(super) struct Ticket {
    place: usize,
    seen: u64,
    holder: u64,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if there is one.
    pub(super) fn join(&self) -> Option<Ticket> {
        let mut state = self.lock();
        let place = state.places.iter().position(Option::is_none)?;
        state.joined += 1;
        let holder = state.joined;
        state.places[place] = Some(Place {
            waker: None,
            taken: state.number,
            holder,
        });
        Some(Ticket {
            place,
            seen: 0,
            holder,
        })
    }

    pub(super) fn leave(&self, ticket: &Ticket) {
        let mut state = self.lock();
        if state.place(ticket).is_some() {
            state.places[ticket.place] = None;
        }
        if state.places.iter().all(Option::is_none) {
            // The next reader must not be told an old frame.
            state.frame = None;
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.lock().places.iter().any(Option::is_some)
    }

    /// The task to wake for a new frame.
    pub(super) fn attend(&self, ticket: &Ticket, cx: &Context<'_>) {
        if let Some(place) = self.lock().place(ticket)
            && !place
                .waker
                .as_ref()
                .is_some_and(|it| it.will_wake(cx.waker()))
        {
            place.waker = Some(cx.waker().clone());
        }
    }

    /// The next frame, unless the ticket's holder has the newest; `None` for one that lost its place.
    pub(super) fn poll(&self, ticket: &mut Ticket) -> Poll<Option<Bytes>> {
        let mut state = self.lock();
        let number = state.number;
        let Some(place) = state.place(ticket) else {
            return Poll::Ready(None);
        };
        place.taken = number;
        let State { number, frame, .. } = &*state;
        match frame {
            Some(frame) if ticket.seen < *number => {
                ticket.seen = *number;
                Poll::Ready(Some(frame.clone()))
            }
            _ => Poll::Pending,
        }
    }

    /// The number of the frame to be published next.
    pub(super) fn next(&self) -> u64 {
        self.lock().number + 1
    }

    /// Replaces the newest frame and wakes everybody. Streams that took none for long are dismissed.
    pub(super) fn publish(&self, number: u64, frame: Bytes) {
        let mut wakers = Vec::with_capacity(STREAMS);
        {
            let mut state = self.lock();
            state.number = number;
            state.frame = Some(frame);
            for place in &mut state.places {
                let Some(holder) = place else { continue };
                wakers.extend(holder.waker.clone());
                if number - holder.taken.min(number) > PATIENCE {
                    *place = None;
                }
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Has every stream look again whether it should end.
    pub(super) fn wake(&self) {
        let wakers: Vec<_> = {
            let state = self.lock();
            let holders = state.places.iter().flatten();
            holders.filter_map(|holder| holder.waker.clone()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// The ticket's place, unless it is lost.
    fn place(&mut self, ticket: &Ticket) -> Option<&mut Place> {
        let place = self.places.get_mut(ticket.place)?.as_mut();
        place.filter(|it| it.holder == ticket.holder)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(line: &Line, ticket: &mut Ticket) -> Poll<Option<Bytes>> {
        line.attend(ticket, &Context::from_waker(Waker::noop()));
        line.poll(ticket)
    }

    fn publish(line: &Line, frame: &'static str) {
        line.publish(line.next(), Bytes::from_static(frame.as_bytes()));
    }

    fn frame(text: &'static str) -> Poll<Option<Bytes>> {
        Poll::Ready(Some(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn who_was_slow_is_told_the_newest_frame_alone() {
        let line = Line::default();
        let mut ticket = line.join().unwrap();
        assert_eq!(poll(&line, &mut ticket), Poll::Pending);
        publish(&line, "a");
        publish(&line, "b");
        assert_eq!(poll(&line, &mut ticket), frame("b"));
        assert_eq!(poll(&line, &mut ticket), Poll::Pending);
    }

    #[test]
    fn places_are_few_and_free_again_when_left() {
        let line = Line::default();
        let tickets: Vec<_> = (0..STREAMS).map(|_| line.join().unwrap()).collect();
        assert!(line.join().is_none());
        line.leave(&tickets[3]);
        assert!(line.join().is_some());
        assert!(line.join().is_none());
        // A place that is another's by now is not left twice.
        line.leave(&tickets[3]);
        assert!(line.join().is_none());
    }

    #[test]
    fn who_comes_later_is_not_told_what_was_so_before_anybody_watched() {
        let line = Line::default();
        let ticket = line.join().unwrap();
        publish(&line, "old");
        let mut second = line.join().unwrap();
        assert_eq!(poll(&line, &mut second), frame("old"));
        line.leave(&ticket);
        assert!(line.is_watched());
        line.leave(&second);
        assert!(!line.is_watched());
        let mut third = line.join().unwrap();
        assert_eq!(poll(&line, &mut third), Poll::Pending);
    }

    #[test]
    fn who_takes_nothing_for_long_loses_the_place() {
        let line = Line::default();
        let (mut idle, mut reader) = (line.join().unwrap(), line.join().unwrap());
        for _ in 0..PATIENCE {
            publish(&line, "x");
            assert_eq!(poll(&line, &mut reader), frame("x"));
        }
        assert!(line.lock().place(&idle).is_some());
        publish(&line, "y");
        assert!(line.lock().place(&idle).is_none());
        assert_eq!(poll(&line, &mut idle), Poll::Ready(None));
        assert_eq!(poll(&line, &mut reader), frame("y"));
        assert!(line.lock().place(&reader).is_some());
    }
}
