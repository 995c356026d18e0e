//! Requests that claim a session: proved in the call that decides them, together with those that claim none.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::Value;
use smallvec::SmallVec;

use super::Core;
use super::answer::{Answer, Elements, MalformedReply};
use super::call::{Call, Script};
use super::error::{Cause, Failure, Refusal};
use super::keys::{Keys, digits};
use super::limits::{self, Ask, MOST_CHARGES};
use super::words::REPLICA;
use crate::model::{StoreError, StoreErrorKind};
use crate::rate_limit::store::{Barred, Found, Reply, SessionGate, Shown, Verdict};

/// Whole scripts, each as a function, so that neither has a second implementation.
static ADMIT_CLAIMS: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    "local function prove_session(KEYS, ARGV)\n",
    include_str!("lua/session.lua"),
    include_str!("lua/prove_session.lua"),
    "end\nlocal function admit_request(KEYS, ARGV)\n",
    include_str!("lua/admit_request.lua"),
    "end\n",
    include_str!("lua/admit_claims.lua")
));

/// A session that a request claims, and what it meets if the session is proved.
#[derive(Debug)]
pub(super) struct Claim {
    keys: Keys,
    /// The first arguments of `prove_session.lua`.
    arguments: [Vec<u8>; 5],
    proved: Ask,
    /// What the call found; its asker reads it after the verdict.
    found: Arc<OnceLock<Result<Found, Failure>>>,
}

impl Claim {
    pub(super) fn proved(&self) -> &Ask {
        &self.proved
    }

    /// How many keys it adds to a call.
    pub(super) fn weight(&self) -> usize {
        self.keys.len() + self.proved.charges()
    }
}

impl Core {
    /// Queues a request that claims a session.
    pub(super) fn decide_either_way(
        self: &Arc<Self>,
        gate: &SessionGate,
        proved: Ask,
        otherwise: Ask,
    ) -> Reply<Shown> {
        let prefix = &self.prefix;
        let touch_every = gate.touch_every.map(|every| every.as_micros().to_string());
        let found = Arc::new(OnceLock::new());
        let claim = Claim {
            keys: prefix.sessions(&gate.user),
            arguments: [
                prefix.of_sessions(&gate.user).into(),
                prefix.of_live_sessions().into(),
                digits(&gate.id).into(),
                gate.proof.to_vec(),
                touch_every.unwrap_or_default().into(),
            ],
            proved,
            found: Arc::clone(&found),
        };
        let verdict = self.decide(otherwise.claiming(claim));
        Reply::pending(async move {
            let verdict = verdict.await;
            match (found.get().cloned(), verdict) {
                // The call failed.
                (None, Err(error)) | (Some(Err(_)), Err(error)) => Err(error),
                (None, Ok(_)) => Err(StoreError::new(StoreErrorKind::Failed)),
                (Some(Ok(found)), verdict) => Ok(Shown {
                    session: Ok(found),
                    verdict: Some(verdict),
                }),
                (Some(Err(failure)), Ok(_)) => Ok(Shown {
                    session: Err(failure.into()),
                    verdict: None,
                }),
            }
        })
    }

    /// Sends a call about these requests, of which some claim a session.
    pub(super) async fn prove_and_decide(&self, asks: &[Ask]) -> Result<Vec<Verdict>, Failure> {
        let call = call(asks);
        let reply = self.connections.call(&call).await?;
        let mut elements = Elements::of(reply)?;
        let failure = elements.text()?;
        let verdicts = elements.next()?;
        let mut shapes = Vec::with_capacity(asks.len());
        for ask in asks {
            let Some(claim) = ask.claim() else {
                shapes.push(Some(ask.shape()));
                continue;
            };
            let found = match elements.next()? {
                Value::BulkString(words) => Err(self.said(&words, &call)),
                proof => Ok(self.counted(found(proof)?)),
            };
            let way = match &found {
                Ok(Found::Lives { .. }) => Some(claim.proved().shape()),
                Ok(_) => Some(ask.shape()),
                Err(_) => None,
            };
            shapes.push(way.filter(|way| way.charges() > 0));
            // Nobody else sets it.
            let _ = claim.found.set(found);
        }
        if !elements.is_empty() {
            return Err(MalformedReply.into());
        }
        if !failure.is_empty() {
            return Err(self.said(failure.as_bytes(), &call));
        }
        let decided = shapes.iter().copied().flatten().collect::<Vec<_>>();
        let mut decided = if decided.is_empty() {
            Vec::new()
        } else {
            self.counted(limits::verdicts(verdicts, decided.into_iter())?)
        }
        .into_iter();
        let verdict = |shape: &Option<_>| match shape {
            Some(_) => decided.next().ok_or(MalformedReply.into()),
            None => Ok(free()),
        };
        shapes.iter().map(verdict).collect()
    }

    /// The failure that words within a reply tell of.
    fn said(&self, words: &[u8], call: &Call) -> Failure {
        let words = String::from_utf8_lossy(words);
        let (code, detail) = words.split_once(' ').unwrap_or(("", &words));
        if code == "READONLY" {
            // As where it is the whole reply: another connection may lead to the master.
            self.connections.forget();
            return Refusal::new(Cause::Denied, REPLICA).into();
        }
        let error = redis::make_extension_error(code.to_owned(), Some(detail.to_owned()));
        self.connections.failure(&error, call)
    }
}

/// The verdict on a request that meets nothing.
fn free() -> Verdict {
    Verdict {
        admitted: true,
        banned: Barred::default(),
        tiers: SmallVec::new(),
    }
}

fn call(asks: &[Ask]) -> Call {
    let keys = asks.iter().map(Ask::weight).sum();
    let mut call = ADMIT_CLAIMS.call(keys);
    let (mut requests, mut plan) = (Vec::new(), Vec::new());
    for ask in asks {
        let ways = match ask.claim() {
            None => [Some(ask), None],
            Some(claim) => {
                call.keys(&claim.keys);
                [Some(&claim.proved), Some(ask)]
            }
        };
        requests.push(u8::from(ask.claim().is_some()));
        for way in ways {
            // At most 1,000.
            let charges = way.map_or(0, Ask::charges).min(MOST_CHARGES) as u16;
            requests.extend(charges.to_be_bytes());
            if let Some(way) = way {
                call.keys(way.keys());
                plan.extend_from_slice(way.plan());
            }
        }
    }
    call.arg(requests).arg(plan);
    for claim in asks.iter().filter_map(Ask::claim) {
        for argument in &claim.arguments {
            call.arg(argument);
        }
    }
    call
}

/// Reads a reply of `prove_session.lua`, with the record as it is.
fn found(proof: Value) -> Result<Answer<Found>, MalformedReply> {
    Answer::read(proof, |elements| {
        Ok(match elements.number()? {
            0 => Found::Gone,
            1 => Found::Rotated,
            2 => {
                let left = Duration::from_micros(elements.number()?);
                let (_name, record) = (elements.bytes()?, elements.bytes()?);
                Found::Lives { left, record }
            }
            _ => return Err(MalformedReply),
        })
    })
}
