//! The bodies and headers of calls.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Refused;
use crate::http::{json, sole};
use crate::model::ConfigError;
use crate::session::{SessionType, Text};

/// Of a body, in bytes.
const MOST: usize = 4_096;

/// The body of a call that takes no members.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The body of `terminate-all`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TerminateAll {
    reason: Option<String>,
    keep_current: Option<bool>,
}

impl TerminateAll {
    /// Whether the request's session is kept.
    pub(super) fn keeps(&self) -> bool {
        self.keep_current.unwrap_or(true)
    }

    pub(super) fn checked(self) -> Result<Self, Refused> {
        if let Some(reason) = &self.reason {
            named::<64>("reason", reason)?;
        }
        Ok(self)
    }
}

/// The body of an operator's `terminate-all`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reasoned {
    reason: Option<String>,
}

impl Reasoned {
    pub(super) fn checked(self) -> Result<Self, Refused> {
        if let Some(reason) = &self.reason {
            named::<64>("reason", reason)?;
        }
        Ok(self)
    }
}

/// The body of a logout.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Logout {
    scope: Option<Scope>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Current,
    All,
}

impl Logout {
    pub(super) fn ends_all(&self) -> bool {
        self.scope == Some(Scope::All)
    }
}

/// The body of a login.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Login {
    pub(super) remember: Option<bool>,
    session_type: Option<String>,
    device_id: Option<String>,
}

impl Login {
    pub(super) fn kind(&self) -> Result<Option<SessionType>, Refused> {
        let Some(said) = &self.session_type else {
            return Ok(None);
        };
        let kind = SessionType::ALL.into_iter().find(|it| it.as_str() == said);
        let detail = "`session_type` cannot be used: allowed is `web`, `mobile`, `api`";
        kind.map(Some).ok_or(Refused::invalid(detail))
    }

    pub(super) fn device(&self) -> Result<Option<Text<64>>, Refused> {
        let device = self.device_id.as_deref();
        device.map(|text| named("device_id", text)).transpose()
    }
}

fn named<const LONGEST: usize>(key: &str, text: &str) -> Result<Text<LONGEST>, Refused> {
    let invalid = |error: ConfigError| Refused::invalid(error.to_string());
    Text::new(key, text).map_err(invalid)
}

/// Reads an object; without a body, what it is then.
pub(super) async fn object<T, B>(request: &Parts, body: B) -> Result<T, Refused>
where
    T: DeserializeOwned + Default,
    B: Body,
{
    let headers = &request.headers;
    // Forms say their type even where they are empty.
    let says = headers.contains_key(CONTENT_TYPE);
    let is_json = json::check_type(headers).is_ok();
    let unsupported = || {
        let detail = "the body's type cannot be used: allowed is `application/json`";
        Refused::Problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail.into())
    };
    if says && !is_json {
        return Err(unsupported());
    }
    json::check_length(headers, MOST)?;
    let read = json::read(body, MOST).await?;
    let read = read.trim_ascii();
    match read.first() {
        None => Ok(T::default()),
        Some(_) if !is_json => Err(unsupported()),
        // A list would be read as the members in their order.
        Some(b'{') => serde_json::from_slice(read).map_err(|error| {
            let error = Text::<256>::cut(&error.to_string());
            let error = error.as_ref().map_or("invalid", Text::as_str);
            Refused::invalid(format!("the body cannot be read: {error}"))
        }),
        Some(_) => Err(Refused::invalid(
            "the body cannot be read: allowed is an object",
        )),
    }
}

/// The `Idempotency-Key`, if there is one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let refused = Refused::invalid(
        "`Idempotency-Key` cannot be used: allowed is one of 1 to 255 visible characters",
    );
    match sole(headers, "idempotency-key") {
        Ok(None) => Ok(None),
        Ok(Some(key))
            if (1..=255).contains(&key.len()) && key.bytes().all(|it| it.is_ascii_graphic()) =>
        {
            Ok(Some(key))
        }
        _ => Err(refused),
    }
}
