//! Once a second: a sample for the history, and while somebody watches, a frame.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::hub::{Hub, millis};
use super::stream::{Hello, Now, Sample, StoreNow, Top, TopBounds, TopClient};
use super::top::{COUNTERS, MINUTES, Ranking};
use crate::model::Network;
use crate::task::ticker::{Tick, Ticker};

/// Samples that are kept, one a second.
const HISTORY: usize = 300;
/// Clients of each list.
const LISTED: usize = 10;
/// How soon a page whose stream broke asks again, in milliseconds.
const RETRY: u64 = 2_000;

impl Tick for Hub {
    fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    async fn tick(self: Arc<Self>) {
        let sample = self.sample();
        {
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            while history.len() >= HISTORY {
                history.pop_front();
            }
            history.push_back(sample.clone());
        }
        if !self.line.is_watched() {
            return;
        }
        self.ask_for_bans();
        let number = self.line.next();
        if let Some(frame) = frame("now", Some(number), &self.now(sample)) {
            self.line.publish(number, frame);
        }
    }
}

impl Hub {
    fn sample(&self) -> Sample {
        let sums = self.feed.sums();
        let sources = self.sources.get();
        let stages = sources.map(|it| it.stages()).unwrap_or_default();
        Sample {
            at: millis(SystemTime::now()),
            uptime: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            requests: sums.requests,
            active: sums.active,
            seconds: sums.seconds,
            decisions: sources.map(|it| it.decisions()).unwrap_or_default(),
            stages: stages.into_iter().map(|(_, count)| count).collect(),
            visitors: sources.map(|it| it.visitors()).unwrap_or_default(),
        }
    }

    fn now(&self, sample: Sample) -> Now {
        let sources = self.sources.get();
        let state = sources.map(|it| it.state()).unwrap_or_default();
        let (calls, failed, seconds) = self.feed.calls();
        let (bans, banned) = self.bans.now();
        let minute = self.feed.minute();
        let top = |top: &super::top::Top| {
            let is_banned = |client: &Network| banned.contains(client);
            listed(top.ranking(minute, LISTED), is_banned)
        };
        Now {
            sample,
            store: StoreNow {
                state: if state.breaker_open { "failing" } else { "ok" },
                last_error: state.last_error,
                corrupt_keys: state.corrupt_keys,
                calls,
                failed,
                seconds,
            },
            population: sources.and_then(|it| it.population()),
            segments: sources.map(|it| it.actions()).unwrap_or_default(),
            limited: top(&self.feed.limited),
            suspicious: top(&self.feed.suspicious),
            events: self.events.newest_first(),
            bans: self.has_bans().then_some(bans),
            incidents: sources.map(|it| it.incidents()).unwrap_or_default(),
        }
    }

    /// The first frame of a stream.
    pub(super) fn hello(&self) -> Option<Bytes> {
        let sources = self.sources.get();
        let stages = sources.map(|it| it.stages()).unwrap_or_default();
        let history: VecDeque<Sample> = {
            let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.clone()
        };
        let hello = Hello {
            service: self.service.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started: millis(self.started),
            fed: sources.is_some(),
            store: sources.map_or("memory", |it| it.store),
            policies: sources.map(|it| it.limits()).unwrap_or_default(),
            watches: sources.map(|it| it.watches()).unwrap_or_default(),
            bans: sources.and_then(|it| it.ban_setting()),
            stages: stages
                .into_iter()
                .map(|(name, _)| name.to_owned())
                .collect(),
            visitors: sources.is_some_and(|it| it.visitors.is_some()),
            segments: sources.is_some_and(|it| it.segments.is_some()),
            actions: self.may_act(),
            top: TopBounds {
                counters: COUNTERS,
                seconds: 60 * MINUTES as u64,
            },
            history: history.into(),
        };
        let mut bytes = BytesMut::new();
        bytes.put_slice(format!("retry: {RETRY}\n").as_bytes());
        bytes.put(frame("hello", None, &hello)?);
        Some(bytes.freeze())
    }
}

fn listed(ranking: Ranking, is_banned: impl Fn(&Network) -> bool) -> Top {
    let clients = ranking.clients.into_iter().map(|it| TopClient {
        banned: is_banned(&it.client),
        client: it.client.to_string(),
        count: it.count,
        error: it.error,
    });
    Top {
        clients: clients.collect(),
        total: ranking.total,
        error: ranking.error,
        missing: ranking.missing,
    }
}

/// One server-sent event (HTML, section 9.2). JSON without white space has no line breaks to escape.
fn frame(event: &str, id: Option<u64>, data: &impl Serialize) -> Option<Bytes> {
    let mut text = match id {
        Some(id) => format!("id: {id}\nevent: {event}\ndata: ").into_bytes(),
        None => format!("event: {event}\ndata: ").into_bytes(),
    };
    match serde_json::to_writer(&mut text, data) {
        Ok(()) => {
            text.extend_from_slice(b"\n\n");
            Some(text.into())
        }
        // Numbers, texts and lists of them can always be written.
        Err(error) => {
            tracing::debug!(%error, "the live page's stream could not be written");
            None
        }
    }
}
