//! The login of a user whom the service has verified otherwise.

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body;
use serde::Serialize;

use super::act::finished;
use super::answer::{Refused, View, json};
use super::read;
use crate::model::{Client, Reason};
use crate::session::{Begun, CreateError, NewSession, Session, Sessions};

#[derive(Serialize)]
struct LoggedIn<'a> {
    token: &'a str,
    session: View<'a>,
}

pub(super) async fn login<B: Body>(
    sessions: &Sessions,
    request: &Parts,
    body: B,
) -> Result<Response<Bytes>, Refused> {
    let sets_cookie = sessions.sets_cookie(request);
    let sets_cookie = sets_cookie.ok_or(Refused::Reason(Reason::CROSS_SITE))?;
    let extensions = &request.extensions;
    let client = extensions.get::<Client>();
    let begun = match extensions.get::<Begun>() {
        Some(begun) => Ok(begun.clone()),
        None if extensions.get::<Session>().is_some() => {
            return Err(Refused::conflict(
                "the request has a session already: log out first",
            ));
        }
        None => Err(client
            .and_then(|client| client.user.clone())
            .ok_or(Refused::Nobody(
                "the service has verified nobody who could log in",
            ))?),
    };
    let key = read::idempotency_key(&request.headers)?;
    let said: read::Login = read::object(request, body).await?;
    let mut new = extensions.get::<NewSession>().cloned().unwrap_or_default();
    if let Some(kind) = said.kind()? {
        new = new.kind(kind);
    }
    if let Some(device) = said.device()? {
        new.details.device = Some(device);
    }
    if let Some(remember) = said.remember {
        new.remember = remember;
    }
    if new.details.user_agent.is_none() {
        let header = request.headers.get(http::header::USER_AGENT);
        new = new.user_agent(header);
    }
    if new.client.is_none() {
        new.client = client.cloned();
    }
    if let Some(key) = key {
        new = new.idempotency_key(key);
    }
    let handle = sessions.clone();
    let issued = finished(async move {
        let begun = match begun {
            Ok(begun) => begun,
            Err(user) => handle.begin(&user).await?,
        };
        handle.create(begun, new).await.map_err(Refused::from)
    });
    let issued = issued.await?;
    let status = if issued.repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let mut response = json(
        status,
        &LoggedIn {
            token: issued.token.expose(),
            session: View::new(&issued.session, Some(issued.session.id)),
        },
    );
    if let Some(cookie) = issued.cookie.filter(|_| sets_cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

impl From<CreateError> for Refused {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Overtaken => Self::conflict(
                "all sessions of the user were ended since the login began: log in again",
            ),
            CreateError::AtMax => {
                Self::conflict("the user has as many sessions as may live: end one")
            }
            CreateError::Ended => Self::conflict(
                "the session of this `Idempotency-Key` has ended: log in with another key",
            ),
            CreateError::Rotated => Self::conflict(
                "the session of this `Idempotency-Key` has another token by now: log in with another key",
            ),
            CreateError::Full => Self::Unavailable("as many sessions live as may"),
            CreateError::Random => Self::Unavailable("no session can be made now"),
            CreateError::Store(error) => error.into(),
        }
    }
}
