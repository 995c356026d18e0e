use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
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

#[derive(Serialize)]
pub(super) struct Token {
    token: String,
}

/// `POST /login`: 200 with a token, 401 for a wrong password, 400 for a user that cannot be one.
///
/// Palisade is told how it went, and asked whether the account is under attack: then the answer takes longer. Nobody is
/// locked out, since anybody could have others locked out.
pub(super) async fn login(
    suspicions: Option<Extension<Suspicions>>,
    JsonBody(credentials): JsonBody<Credentials>,
) -> Result<Response, Problem> {
    let user = &credentials.user;
    if !identifier::is_valid(user) {
        let detail = format!("`user` must be {}.", identifier::FORM);
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
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
    let token = auth::token(user);
    Ok((Extension(Login::succeeded(user)), Json(Token { token })).into_response())
}
