use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Problem;
use super::input::JsonBody;
use crate::{auth, identifier};

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
pub(super) async fn login(
    JsonBody(credentials): JsonBody<Credentials>,
) -> Result<Json<Token>, Problem> {
    if !identifier::is_valid(&credentials.user) {
        let detail = format!("`user` must be {}.", identifier::FORM);
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    if credentials.password != auth::PASSWORD {
        return Err(Problem::unauthorized(
            r#"Bearer realm="webstore""#,
            "The password is wrong.",
        ));
    }
    Ok(Json(Token {
        token: auth::token(&credentials.user),
    }))
}
