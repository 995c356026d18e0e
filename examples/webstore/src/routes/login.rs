use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use palisade::client::Client;
use palisade::rate_limit::{Reason, StoreError};
use palisade::session::{Begun, CreateError, Issued, NewSession, Session, Sessions};
use palisade::suspicion::{Login, Suspicions};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Problem;
use super::input::JsonBody;
use crate::{auth, identifier};

/// How much later a login to an account under attack is answered, whether its password is right or wrong: the shop has no
/// second factor to ask for.
const LOGIN_DELAY: Duration = Duration::from_secs(1);
/// Most logins that wait so at a time, so that an attack on many accounts does not hold every connection; further
/// ones are answered at once.
static DELAYED: Semaphore = Semaphore::const_new(256);

#[derive(Deserialize)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

/// What a login is answered with; of a session its id, which opens nothing, and when it ends unless it is used.
#[derive(Serialize, Default)]
pub(super) struct Token {
    token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// `POST /login`: 200 with a token, 401 for a wrong password, 400 for a user that cannot be one. Where the shop has sessions
/// it creates one, and sets its cookie if a page of the shop asks; 403 if another site's page does, 409 if no session can be
/// created, 503 if the store does not answer.
///
/// No answer may be stored. The 403 is a refusal, as those of the layers are, and no failure of the client: it is another site's
/// doing.
///
/// Palisade is told how it went, and asked whether the account is under attack: then the answer takes longer. Nobody is
/// locked out, since anybody could have others locked out.
pub(super) async fn login(
    suspicions: Option<Extension<Suspicions>>,
    sessions: Option<Extension<Sessions>>,
    request: Parts,
    credentials: Result<JsonBody<Credentials>, Problem>,
) -> Response {
    let answered = match credentials {
        Ok(JsonBody(credentials)) => log_in(suspicions, sessions, &request, credentials).await,
        Err(problem) => Err(problem),
    };
    let mut response = answered.into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

async fn log_in(
    suspicions: Option<Extension<Suspicions>>,
    sessions: Option<Extension<Sessions>>,
    request: &Parts,
    credentials: Credentials,
) -> Result<Response, Problem> {
    let user = &credentials.user;
    if !identifier::is_valid(user) {
        let detail = format!("`user` must be {}.", identifier::FORM);
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    // Before the password is checked: should all of the user's sessions be ended meanwhile, this login creates none.
    let begun = match &sessions {
        Some(Extension(sessions)) => Some(begin(sessions, request, user).await?),
        None => None,
    };
    if let Some(Extension(suspicions)) = suspicions
        && suspicions.account(user).await.under_attack
        && let Ok(_permit) = DELAYED.try_acquire()
    {
        tokio::time::sleep(LOGIN_DELAY).await;
    }
    if credentials.password != auth::PASSWORD {
        let problem = Problem::unauthorized(r#"Bearer realm="webstore""#, "The password is wrong.");
        return Ok((Extension(Login::failed(user)), problem).into_response());
    }
    let login = Login::succeeded(user);
    let Some((Extension(sessions), (begun, sets_cookie))) = sessions.zip(begun) else {
        let token = auth::token(user);
        let answer = Token {
            token,
            ..Token::default()
        };
        return Ok((Extension(login), Json(answer)).into_response());
    };
    let begun = begun.map_err(|_| unavailable())?;
    let issued = create(&sessions, request, begun).await?;
    // The browser holds one token: a session that the new one takes the place of ends.
    if let Some(replaced) = request.extensions.get::<Session>() {
        let _ = sessions.end(&replaced.user, replaced.id).await;
    }
    let cookie = issued.cookie.clone().filter(|_| sets_cookie);
    let cookie = cookie.map(|cookie| [(header::SET_COOKIE, cookie)]);
    let expires = humantime::format_rfc3339_millis(issued.session.expires());
    let answer = Token {
        token: issued.token.expose().to_owned(),
        session_id: Some(issued.session.id.to_string()),
        expires_at: Some(expires.to_string()),
    };
    // Who logs in after failures is told so.
    let login = Extension(login.of(&issued.session.user));
    Ok((login, cookie, Json(answer)).into_response())
}

/// Begins the login of a user; whether its answer sets the cookie. Without the store, a wrong password is still told and counted.
async fn begin(
    sessions: &Sessions,
    request: &Parts,
    user: &str,
) -> Result<(Result<Begun, StoreError>, bool), Problem> {
    let Some(sets_cookie) = sessions.sets_cookie(request) else {
        let detail = "The request comes from a page of another site.";
        return Err(Problem::refused(Reason::CROSS_SITE, detail));
    };
    Ok((sessions.begin(&sessions.user(user)).await, sets_cookie))
}

async fn create(sessions: &Sessions, request: &Parts, begun: Begun) -> Result<Issued, Problem> {
    let new = NewSession::new().user_agent(request.headers.get(header::USER_AGENT));
    let new = match request.extensions.get::<Client>() {
        Some(client) => new.from(client),
        None => new,
    };
    let new = new.method("password").unwrap_or_default();
    sessions
        .create(begun, new)
        .await
        .map_err(|error| match error {
            CreateError::Overtaken | CreateError::AtMax | CreateError::Ended => {
                Problem::new(StatusCode::CONFLICT, format!("No session: {error}."))
            }
            _ => unavailable(),
        })
}

fn unavailable() -> Problem {
    let detail = "Sessions cannot be created now. Try again later.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}
