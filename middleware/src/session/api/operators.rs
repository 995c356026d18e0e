//! The calls of operators, on the admin listener: with a token of their own, for the sessions of any user.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;

use super::act::finished;
use super::answer::{Refused, json, no_content, number, views};
use super::read::{self, Reasoned};
use crate::http::sole;
use crate::model::UserId;
use crate::session::{EndReason, SessionId, Sessions};

/// The paths below `/sessions`, of a service whose operators have a token.
#[cfg_attr(not(feature = "otel"), allow(dead_code))]
#[derive(Clone)]
pub(crate) struct Operators {
    sessions: Sessions,
}

enum Call {
    List(UserId),
    End(UserId, Option<SessionId>),
    EndAll(UserId),
}

#[cfg_attr(not(feature = "otel"), allow(dead_code))]
impl Operators {
    /// `None` without `operator_token_file`: then there are no such calls.
    pub(crate) fn new(sessions: &Sessions) -> Option<Self> {
        let is_on = sessions.core().operator.is_some();
        let sessions = sessions.clone();
        is_on.then_some(Self { sessions })
    }

    pub(crate) fn answers(path: &str) -> bool {
        path.strip_prefix("/sessions")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(crate) async fn answer<B: Body>(&self, request: Request<B>) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        let answer = self.try_answer(&parts, body).await;
        let mut response = answer.unwrap_or_else(|refused| refused.response(&parts));
        if parts.method == Method::HEAD {
            // With the length of the answer to a GET.
            *response.body_mut() = Bytes::new();
        }
        response
    }

    async fn try_answer<B: Body>(
        &self,
        request: &Parts,
        body: B,
    ) -> Result<Response<Bytes>, Refused> {
        self.check_token(request)?;
        let sessions = self.sessions.clone();
        match self.call(request)? {
            Call::List(user) => {
                let listed = sessions.list(&user).await?;
                Ok(json(StatusCode::OK, &views(&listed, None)))
            }
            Call::End(user, id) => {
                let id = id.ok_or(Refused::NO_SESSION)?;
                let ended = finished(async move {
                    let ended = sessions.end_for(&user, id, EndReason::Admin).await?;
                    told(&user, ended.into());
                    Ok(ended)
                });
                let ended = ended.await?;
                ended.then(no_content).ok_or(Refused::NO_SESSION)
            }
            Call::EndAll(user) => {
                let said: Reasoned = read::object(request, body).await?;
                said.checked()?;
                let ended = finished(async move {
                    let ended = sessions.end_all_for(&user, None, EndReason::Admin).await?;
                    told(&user, ended);
                    Ok(ended)
                });
                Ok(number("terminated", ended.await?))
            }
        }
    }

    fn check_token(&self, request: &Parts) -> Result<(), Refused> {
        let sent = sole(&request.headers, AUTHORIZATION.as_str());
        let sent = sent.ok().flatten().and_then(|value| value.split_once(' '));
        let bearer = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let core = self.sessions.core();
        match (bearer, &core.operator) {
            (Some((_, token)), Some(operator)) if operator.is(token.trim_matches(' ')) => Ok(()),
            _ => Err(Refused::Nobody(
                "operators need `Authorization: Bearer` with the token of `sessions.operator_token_file`",
            )),
        }
    }

    fn call(&self, request: &Parts) -> Result<Call, Refused> {
        let path = request.uri.path();
        let rest = path.strip_prefix("/sessions").ok_or(Refused::NO_PATH)?;
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        let (call, is_allowed, methods) =
            match rest.strip_prefix('/').and_then(|it| it.split_once('/')) {
                None if rest.is_empty() => {
                    let user = self.asked_for(request.uri.query().unwrap_or_default());
                    return match is_read {
                        true => Ok(Call::List(user?)),
                        false => Err(Refused::Method("GET, HEAD")),
                    };
                }
                None => return Err(Refused::NO_PATH),
                Some((user, "terminate-all")) => (
                    Call::EndAll(self.user(user)?),
                    request.method == Method::POST,
                    "POST",
                ),
                Some((user, id)) => {
                    let call = Call::End(self.user(user)?, id.parse().ok());
                    (call, request.method == Method::DELETE, "DELETE")
                }
            };
        is_allowed.then_some(call).ok_or(Refused::Method(methods))
    }

    /// The user of a query: `user=` once, and nothing else.
    fn asked_for(&self, query: &str) -> Result<UserId, Refused> {
        let user = query.strip_prefix("user=").filter(|it| !it.contains('&'));
        let user = user.ok_or(Refused::invalid(
            "the query cannot be used: allowed is `user=`",
        ))?;
        self.user(&user.replace('+', " "))
    }

    /// A user by its id, or by the form of it that logs and keys have.
    fn user(&self, encoded: &str) -> Result<UserId, Refused> {
        let invalid = Refused::invalid("`user` cannot be used: allowed is the id of a user");
        let subject = decoded(encoded)
            .filter(|it| !it.is_empty())
            .ok_or(invalid)?;
        let secret = self.sessions.core().keys.current();
        Ok(UserId::kept(&subject).unwrap_or_else(|| UserId::new(&subject, secret)))
    }
}

/// A text without its percent-encoding; `None` if that is broken.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part
            .get(..2)
            .filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

fn told(user: &UserId, ended: u64) {
    if ended > 0 {
        tracing::warn!(
            target: "palisade::security",
            event = "sessions_ended_by_operator",
            %user,
            ended,
            "an operator ended sessions of a user"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_decoded_or_refused() {
        for (text, wanted) in [
            ("ada", Some("ada")),
            ("ada%40example.org", Some("ada@example.org")),
            ("%c3%A4", Some("ä")),
            ("", Some("")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
            ("%ä1", None),
        ] {
            assert_eq!(decoded(text).as_deref(), wanted, "{text:?}");
        }
    }
}
