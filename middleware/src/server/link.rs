use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::counts::Reason;

/// A wait for a request is worth keeping that long where the place is needed.
const FRESH: u64 = 250;
/// How long a peer that does nothing is waited for once the server ends.
const LAST: Duration = Duration::from_secs(3);

/// What bounds a connection.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Without a request under way.
    pub(super) head: Duration,
    /// With one, while the peer neither takes nor sends.
    pub(super) stall: Duration,
    /// As a whole, unless an answer [lasts](super::Lasting).
    pub(super) lifetime: Option<Duration>,
}

/// Something that is waited for, maybe by several at once, and when it last moved.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    waiting: AtomicU32,
    moved: AtomicU64,
}

impl Awaited {
    pub(super) fn begin(&self, now: u64) {
        // First, so that whoever sees the wait sees no moment of an older one.
        self.moved.store(now, Ordering::Release);
        self.waiting.fetch_add(1, Ordering::Release);
    }

    pub(super) fn end(&self, now: u64) {
        self.moved.store(now, Ordering::Release);
        self.waiting.fetch_sub(1, Ordering::Release);
    }

    fn since(&self) -> Option<u64> {
        (self.waiting.load(Ordering::Acquire) > 0).then(|| self.moved.load(Ordering::Acquire))
    }
}

/// A connection as the server watches it: whether it waits for its peer, for what, and since when.
///
/// The socket, the bodies and the service tell; the connection's own task asks, and the places ask for whom to close. Moments
/// are milliseconds of a clock that all connections of a server share.
#[derive(Debug)]
pub(super) struct Link {
    clock: Instant,
    opened: u64,
    requests: AtomicU32,
    /// The end of the last request, or of the last wait of the socket.
    idle: AtomicU64,
    /// The peer's window of TCP.
    pub(super) socket: Awaited,
    /// The peer's windows of HTTP/2.
    pub(super) answers: Awaited,
    /// Bodies of requests.
    pub(super) bodies: Awaited,
    pub(super) lasting: AtomicBool,
    pub(super) http2: AtomicBool,
    upgraded: AtomicBool,
    yielded: Notify,
}

/// What became of a look at a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Over(Reason),
    /// To be looked at again at this moment.
    Again(u64),
}

impl Link {
    pub(super) fn new(clock: Instant) -> Arc<Self> {
        let opened = elapsed(clock);
        Arc::new(Self {
            clock,
            opened,
            requests: AtomicU32::new(0),
            idle: AtomicU64::new(opened),
            socket: Awaited::default(),
            answers: Awaited::default(),
            bodies: Awaited::default(),
            lasting: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            yielded: Notify::new(),
        })
    }

    pub(super) fn now(&self) -> u64 {
        elapsed(self.clock)
    }

    pub(super) fn at(&self, moment: u64) -> Instant {
        self.clock + Duration::from_millis(moment)
    }

    /// A request is under way until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.requests.fetch_add(1, Ordering::Release);
        UnderWay(Arc::clone(self))
    }

    /// The peer took something after a time in which it took nothing.
    pub(super) fn taken(&self) {
        let now = self.now();
        self.idle.store(now, Ordering::Release);
        self.socket.end(now);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waits().is_some_and(|(why, _)| why == Reason::Silent)
    }

    /// From here on the connection is the service's own.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Acquire)
    }

    fn waits(&self) -> Option<(Reason, u64)> {
        if self.is_upgraded() {
            return None;
        }
        let answer = self.socket.since().or_else(|| self.answers.since());
        if let Some(since) = answer {
            return Some((Reason::Stalled, since));
        }
        if self.requests.load(Ordering::Acquire) == 0 {
            return Some((Reason::Silent, self.idle.load(Ordering::Acquire)));
        }
        let body = self.bodies.since();
        body.map(|since| (Reason::Stalled, since))
    }

    /// Whether the peer has been waited for too long; `stopped` is when the server was told to end.
    pub(super) fn look(&self, limits: &Limits, stopped: Option<u64>) -> Look {
        let now = self.now();
        let limit = |limit: Duration| {
            millis(if stopped.is_some() {
                limit.min(LAST)
            } else {
                limit
            })
        };
        let mut again = now + limit(limits.head.min(limits.stall));
        if let Some((why, since)) = self.waits() {
            let limit = limit(match why {
                Reason::Silent => limits.head,
                _ => limits.stall,
            });
            let due = since.max(stopped.unwrap_or(0)) + limit;
            if now >= due {
                return Look::Over(why);
            }
            again = again.min(due);
        }
        if let Some(lifetime) = limits.lifetime
            && !self.lasting.load(Ordering::Relaxed)
        {
            let due = self.opened + millis(lifetime);
            if now >= due {
                return Look::Over(Reason::Stalled);
            }
            again = again.min(due);
        }
        Look::Again(again)
    }

    /// Since when its peer has been waited for, if that is long enough to take its place.
    pub(super) fn may_yield(&self, limits: &Limits, now: u64) -> Option<u64> {
        let (why, since) = self.waits()?;
        let kept = match why {
            Reason::Silent => FRESH.min(millis(limits.head)),
            _ => millis(limits.stall / 6),
        };
        (now >= since + kept).then_some(since)
    }

    /// Has the connection's task close it.
    pub(super) fn give_way(&self) {
        self.yielded.notify_one();
    }

    pub(super) async fn yielded(&self) {
        self.yielded.notified().await;
    }
}

/// A request is under way, from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Link>);

impl UnderWay {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idle.store(self.0.now(), Ordering::Release);
        self.0.requests.fetch_sub(1, Ordering::Release);
    }
}

fn elapsed(clock: Instant) -> u64 {
    millis(clock.elapsed())
}

fn millis(duration: Duration) -> u64 {
    // A year, so that sums of moments and limits stay within bounds.
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .min(31_536_000_000)
}
