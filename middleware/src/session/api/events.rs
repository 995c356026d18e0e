//! The stream of a user's sessions: looked at once a second, and told where they differ.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::answer::{Refused, View, rfc_3339};
use crate::model::Alert;
use crate::session::core::Core;
use crate::session::store::{Claim, Proved};
use crate::session::{EndReason, OnStoreFailure, Session, SessionId};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks without an event after which a comment comes.
const BEAT: u32 = 15;
/// How long a browser waits before it opens a stream that was cut again.
const HEAD: Bytes = Bytes::from_static(b"retry: 3000\n\n");
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Streams of one session at once.
const OF_A_SESSION: u8 = 4;
/// Streams of this process at once: each asks the store twice a second.
const OF_ALL: usize = 1_024;

/// The streams that are open in this process.
#[derive(Debug, Default)]
pub(in crate::session) struct Streams(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<SessionId, u8>,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place; dropped, it is free.
struct Place {
    core: Arc<Core>,
    id: SessionId,
}

impl Place {
    fn take(core: &Arc<Core>, id: SessionId) -> Result<Self, Refused> {
        let mut open = core.streams.lock();
        if open.all >= OF_ALL {
            return Err(Refused::Unavailable(
                "as many streams are open as may be: close one",
            ));
        }
        let of = open.of.entry(id).or_default();
        if *of >= OF_A_SESSION {
            let detail = "the session has four streams open, which is all there may be: close one";
            return Err(Refused::Problem(
                http::StatusCode::TOO_MANY_REQUESTS,
                detail.into(),
            ));
        }
        *of += 1;
        open.all += 1;
        Ok(Self {
            core: Arc::clone(core),
            id,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.core.streams.lock();
        open.all -= 1;
        if let Some(of) = open.of.get_mut(&self.id) {
            *of -= 1;
            if *of == 0 {
                open.of.remove(&self.id);
            }
        }
    }
}

/// The next text of a stream, and the stream, unless it has ended.
pub(super) type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Option<Watch>)>> + Send>>;

/// One stream.
pub(super) struct Watch {
    place: Place,
    claim: Claim,
    /// Those that were told, or lived at the beginning.
    told: Vec<SessionId>,
    /// The number of the last alert that was told.
    alerts: u64,
    /// When the session was proved last.
    proved: Instant,
    ticks: Interval,
    /// Looks since a text.
    silent: u32,
    closed: watch::Receiver<bool>,
    begun: bool,
}

/// What a look comes to.
enum Look {
    Lives(Vec<Session>),
    Ended,
    Rotated,
    Unknown,
}

impl Watch {
    /// Begins with the sessions that live now.
    pub(super) async fn begin(
        core: &Arc<Core>,
        claim: Claim,
        closed: watch::Receiver<bool>,
    ) -> Result<Self, Refused> {
        let place = Place::take(core, claim.id)?;
        let alerts = core.alerts.newest();
        let listed = core.store.list(&claim.user).await;
        core.heed(listed.as_ref().err());
        let told = ids(&listed?);
        let now = Instant::now();
        let mut ticks = interval_at(now + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            place,
            claim,
            told,
            alerts,
            proved: now,
            ticks,
            silent: 0,
            closed,
            begun: false,
        })
    }

    /// Waits for something to tell.
    pub(super) async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        if !self.begun {
            self.begun = true;
            return Some((HEAD, Some(self)));
        }
        loop {
            tokio::select! {
                biased;
                _ = self.closed.wait_for(|closed| *closed) => return None,
                _ = self.ticks.tick() => {}
            }
            let look = self.look().await;
            let user = &self.claim.user;
            let alerts = self.place.core.alerts.after(&mut self.alerts, user);
            let mut told: String = alerts.iter().map(alert).collect();
            match look {
                Look::Lives(sessions) => told.push_str(&self.differences(&sessions)),
                Look::Ended => {
                    told.push_str(&self.ended(&[self.claim.id]));
                    return Some((told.into(), None));
                }
                Look::Unknown if self.may_go_on() => {}
                Look::Rotated | Look::Unknown => return None,
            }
            self.silent += 1;
            let text = match told {
                told if !told.is_empty() => told.into(),
                _ if self.silent >= BEAT => COMMENT,
                _ => continue,
            };
            self.silent = 0;
            return Some((text, Some(self)));
        }
    }

    /// Asks whether the session lives, which is no activity, and which others do.
    async fn look(&mut self) -> Look {
        let core = &self.place.core;
        let asked = Instant::now();
        let (proof, list) = (
            core.store.prove(&self.claim, false),
            core.store.list(&self.claim.user),
        );
        let (proof, list) = tokio::join!(proof, list);
        core.heed(proof.as_ref().err().or(list.as_ref().err()));
        match (proof, list) {
            (Ok(Proved::Gone), _) => Look::Ended,
            (Ok(Proved::Rotated), _) => Look::Rotated,
            (Ok(Proved::Lives(..)), list) => {
                self.proved = asked;
                list.map_or(Look::Unknown, Look::Lives)
            }
            (Err(_), _) => Look::Unknown,
        }
    }

    /// Whether the stream goes on although the store did not answer.
    fn may_go_on(&self) -> bool {
        let settings = &self.place.core.settings;
        let for_now = match settings.on_store_failure {
            OnStoreFailure::Known => settings.known_for,
            OnStoreFailure::Closed | OnStoreFailure::Anonymous => Duration::ZERO,
        };
        self.proved.elapsed() < for_now
    }

    fn ended(&self, ids: &[SessionId]) -> String {
        #[derive(Serialize)]
        struct Ended {
            session_id: String,
            reason: Option<&'static str>,
        }
        let events = ids.iter().map(|id| {
            let reason = self.place.core.ends.reason(*id);
            let ended = Ended {
                session_id: id.to_string(),
                reason: reason.map(EndReason::as_str),
            };
            event("ended", &ended)
        });
        events.collect()
    }

    fn differences(&mut self, sessions: &[Session]) -> String {
        let live = ids(sessions);
        let gone: Vec<_> = self
            .told
            .iter()
            .copied()
            .filter(|id| !live.contains(id))
            .collect();
        let mut text = self.ended(&gone);
        // The earliest first.
        for session in sessions.iter().rev() {
            if !self.told.contains(&session.id) {
                text.push_str(&event("created", &View::new(session, Some(self.claim.id))));
            }
        }
        self.told = live;
        text
    }
}

fn ids(sessions: &[Session]) -> Vec<SessionId> {
    sessions.iter().map(|session| session.id).collect()
}

fn alert(alert: &Alert) -> String {
    #[derive(Serialize)]
    struct Told {
        r#type: &'static str,
        session_id: Option<String>,
        at: String,
    }
    let told = Told {
        r#type: alert.kind.as_str(),
        session_id: alert.session.map(|id| id.to_string()),
        at: rfc_3339(alert.at),
    };
    event("alert", &told)
}

fn event(name: &str, data: &impl Serialize) -> String {
    // One line: JSON escapes those in texts.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}
