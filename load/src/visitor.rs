//! A persona as a scenario of goose.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use goose::prelude::*;
use tokio::time::Instant;
use webstore::demo::personas::{Answer, Ask, Kind, Persona, World};

use crate::send::{Sent, send};
use crate::tally::Tally;

/// What the visitors of a run share.
pub(crate) struct Run {
    pub(crate) world: Arc<World>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) expects_outage: bool,
    pub(crate) client: reqwest::Client,
}

/// Connections that wait longer than this are closed by the client: the webstore closes them after 15 seconds, and a
/// request that is on its way then would be lost.
pub(crate) const IDLE: Duration = Duration::from_secs(8);
/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The longest that one transaction waits: between two, goose learns that the run is over.
const NAP: Duration = Duration::from_millis(200);

/// One transaction: the visitor's next request, or a while of waiting for it.
pub(crate) fn steps(kind: Kind, run: &Arc<Run>) -> TransactionFunction {
    let run = Arc::clone(run);
    Arc::new(move |user| Box::pin(step(user, kind, Arc::clone(&run))))
}

/// A visitor, kept by goose from one transaction to the next.
#[derive(Clone)]
struct Visitor(Arc<Mutex<State>>);

struct State {
    persona: Box<dyn Persona>,
    next: Option<(Instant, Ask)>,
}

enum Next {
    In(Duration),
    Now(Ask),
}

impl Visitor {
    fn of(user: &mut GooseUser, kind: Kind, run: &Run) -> Self {
        if let Some(visitor) = user.get_session_data::<Self>() {
            return visitor.clone();
        }
        let state = State {
            persona: kind.visit(&run.world),
            next: None,
        };
        let visitor = Self(Arc::new(Mutex::new(state)));
        user.set_session_data(visitor.clone());
        user.client = run.client.clone();
        visitor
    }

    fn next(&self) -> Next {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (due, ask) = state.next.take().unwrap_or_else(|| {
            let ask = state.persona.next();
            (now + ask.pause, ask)
        });
        if due <= now {
            return Next::Now(ask);
        }
        state.next = Some((due, ask));
        Next::In(due - now)
    }

    fn hear(&self, answer: Answer) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.persona.hear(answer);
    }
}

async fn step(user: &mut GooseUser, kind: Kind, run: Arc<Run>) -> TransactionResult {
    let visitor = Visitor::of(user, kind, &run);
    let ask = match visitor.next() {
        Next::Now(ask) => ask,
        Next::In(wait) => {
            tokio::time::sleep(wait.min(NAP)).await;
            return Ok(());
        }
    };
    let mut expected = ask.expected.to_vec();
    if run.expects_outage {
        expected.extend(in_an_outage(&ask));
    }
    match send(user, kind, &ask, &expected).await? {
        Sent::Answered(answer, took) => {
            run.tally.count(kind, &ask, &expected, answer.status);
            if answer.status == 200 {
                run.tally.time(kind, &ask, took);
            }
            visitor.hear(answer);
        }
        Sent::Failed(why) => {
            run.tally.count_failure(kind, &ask, &why);
            // A server that is gone is not asked again at once.
            tokio::time::sleep(NAP).await;
        }
    }
    Ok(())
}

/// What else a request may be answered while the webstore's Redis is away, and after it has come back with nothing.
fn in_an_outage(ask: &Ask) -> &'static [u16] {
    match ask {
        // A cart that could not be filled is empty.
        _ if ask.is_checkout => &[401, 409, 503],
        // A session that nobody can prove, or that is forgotten.
        _ if ask.credentials.is_some() => &[401, 503],
        _ if ask.is_login() => &[503],
        _ => &[],
    }
}
