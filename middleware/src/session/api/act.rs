//! The calls of a user that has a session.

use std::future::Future;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body;
use serde::Serialize;

use super::answer::{Refused, View, json, no_content, number, rfc_3339, views};
use super::call::Call;
use super::read::{self, Logout, Nothing, TerminateAll};
use crate::session::{Session, SessionId, Sessions, Statistics};

#[derive(Serialize)]
struct Counts {
    total_sessions: u64,
    active_sessions: u64,
    expired_sessions: u64,
    terminated_sessions: u64,
    recent_sessions_24h: u64,
    timestamp: String,
}

impl Counts {
    fn new(statistics: &Statistics) -> Self {
        Self {
            total_sessions: statistics.total,
            active_sessions: statistics.active,
            expired_sessions: statistics.expired,
            terminated_sessions: statistics.terminated,
            recent_sessions_24h: statistics.recent_24h,
            timestamp: rfc_3339(SystemTime::now()),
        }
    }
}

/// Carries a change through, also if the client leaves meanwhile: this process must hear of an end that the store has taken.
pub(super) async fn finished<T: Send + 'static>(
    change: impl Future<Output = Result<T, Refused>> + Send + 'static,
) -> Result<T, Refused> {
    let broken = Refused::Unavailable("the call broke off");
    tokio::spawn(change).await.unwrap_or(Err(broken))
}

pub(super) async fn act<B: Body>(
    sessions: &Sessions,
    call: Call,
    session: &Session,
    request: &Parts,
    body: B,
) -> Result<Response<Bytes>, Refused> {
    let user = &session.user;
    let current = session.id;
    match call {
        Call::List => {
            let listed = sessions.list(user).await?;
            Ok(json(StatusCode::OK, &views(&listed, Some(current))))
        }
        Call::Current => Ok(json(StatusCode::OK, &View::new(session, Some(current)))),
        Call::Statistics => {
            let counts = Counts::new(&sessions.statistics(user).await?);
            Ok(json(StatusCode::OK, &counts))
        }
        Call::CleanUp => {
            let Nothing {} = read::object(request, body).await?;
            Ok(number("removed", sessions.clean(user).await?))
        }
        Call::One(None) => Err(Refused::NO_SESSION),
        Call::One(Some(id)) => {
            if !end(sessions, session, id).await? {
                return Err(Refused::NO_SESSION);
            }
            Ok(cleared(no_content(), sessions, id == current))
        }
        Call::TerminateAll => {
            let said: TerminateAll = read::object(request, body).await?;
            let keeps = said.checked()?.keeps();
            let ended = end_all(sessions, session, keeps.then_some(current)).await?;
            Ok(cleared(number("terminated", ended), sessions, !keeps))
        }
        Call::Logout => {
            let said: Logout = read::object(request, body).await?;
            let ended = if said.ends_all() {
                end_all(sessions, session, None).await?
            } else {
                end(sessions, session, current).await?.into()
            };
            Ok(cleared(number("ended", ended), sessions, true))
        }
        // Sorted out before.
        Call::Events | Call::Login => Err(Refused::NO_PATH),
    }
}

async fn end(sessions: &Sessions, session: &Session, id: SessionId) -> Result<bool, Refused> {
    let (sessions, user) = (sessions.clone(), session.user.clone());
    finished(async move { Ok(sessions.end(&user, id).await?) }).await
}

async fn end_all(
    sessions: &Sessions,
    session: &Session,
    keep: Option<SessionId>,
) -> Result<u64, Refused> {
    let (sessions, user) = (sessions.clone(), session.user.clone());
    finished(async move { Ok(sessions.end_all(&user, keep).await?) }).await
}

/// Takes the cookie from a browser whose session has ended.
fn cleared(mut response: Response<Bytes>, sessions: &Sessions, ended: bool) -> Response<Bytes> {
    if let Some(cookie) = sessions.clear_cookie().filter(|_| ended) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
