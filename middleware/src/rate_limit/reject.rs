//! A refusal becomes a response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use smallvec::SmallVec;

use super::decide::Violated;
use super::policy::{Policy, window_phrase};
use crate::http::grpc::{self, Code, Violation};
use crate::http::problem::{self, PROBLEM_JSON, seconds_up};
use crate::model::{Quota, Reason, Rejected, problem_type};

/// Why a request was refused, for a service that writes its own answer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rejection<'a> {
    /// The reason.
    pub reason: Reason,
    /// The names of the policies that are violated, or that cannot be checked.
    pub policies: &'a [&'a str],
    /// When the earliest retry can pass; `None` where none ever can.
    pub retry_after: Option<Duration>,
    /// One sentence for people: `Rate limit exceeded for IP. Maximum 200 requests per minute.`
    pub detail: &'a str,
    /// The request, without its body.
    pub request: &'a Parts,
}

pub(super) type RejectWith = Arc<dyn Fn(&Rejection<'_>) -> Response<Bytes> + Send + Sync>;

/// Writes refusals; texts that depend on a policy alone are made once.
pub(super) struct Rejecter {
    replaced: Option<RejectWith>,
    /// By policy, then by quota.
    texts: Box<[Box<[Texts]>]>,
}

struct Texts {
    quota: Quota,
    exceeded: String,
    /// The whole body of a denial by this policy alone.
    exceeded_body: Bytes,
}

const UNAVAILABLE: &str = "Rate limits cannot be checked at the moment. Try again shortly.";
/// The breaker probes twice a second, so a second from now is worth a try.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

impl Rejecter {
    pub(super) fn new(policies: &[Policy], replaced: Option<RejectWith>) -> Self {
        let texts = |policy: &Policy| {
            let of_quota = policy.quotas().map(|quota| {
                let exceeded = format!(
                    "Rate limit exceeded for {}. Maximum {} requests per {}.",
                    policy.subject(),
                    quota.limit(),
                    window_phrase(quota.window()),
                );
                let exceeded_body =
                    problem(Reason::QuotaExceeded, &exceeded, &[&policy.name]).into();
                Texts {
                    quota,
                    exceeded,
                    exceeded_body,
                }
            });
            of_quota.collect()
        };
        Self {
            texts: policies.iter().map(texts).collect(),
            replaced,
        }
    }

    fn texts(&self, violated: Violated) -> Option<&Texts> {
        let mut of_policy = self.texts.get(violated.policy)?.iter();
        of_policy.find(|texts| texts.quota == violated.quota)
    }

    /// The response, without the rate-limit headers.
    pub(super) fn respond(
        &self,
        policies: &[Policy],
        reason: Reason,
        violated: &[Violated],
        retry: Option<Duration>,
        request: &Parts,
    ) -> Response<Bytes> {
        let retry = match reason {
            Reason::QuotaExceeded | Reason::Banned => retry,
            Reason::StoreUnavailable => Some(UNAVAILABLE_RETRY),
        };
        let exceeded = violated.first().and_then(|first| self.texts(*first));
        let detail = match (reason, exceeded) {
            (Reason::QuotaExceeded, Some(texts)) => &*texts.exceeded,
            _ => UNAVAILABLE,
        };
        let mut response = if let Some(replaced) = &self.replaced {
            let names = names(policies, violated);
            replaced(&Rejection {
                reason,
                policies: &names,
                retry_after: retry,
                detail,
                request,
            })
        } else if let Some(content_type) = grpc::content_type(&request.headers) {
            self.grpc(policies, reason, violated, retry, detail, content_type)
        } else {
            self.problem(policies, reason, violated, detail)
        };
        if let Some(retry) = retry
            && !response.headers().contains_key(RETRY_AFTER)
        {
            // At least a second: `0` would ask for a retry that comes too early.
            response
                .headers_mut()
                .insert(RETRY_AFTER, seconds_up(retry).max(1).into());
        }
        let policies = violated
            .iter()
            .map(|violated| Arc::clone(&policies[violated.policy].name))
            .collect();
        response
            .extensions_mut()
            .insert(Rejected { reason, policies });
        response
    }

    fn problem(
        &self,
        policies: &[Policy],
        reason: Reason,
        violated: &[Violated],
        detail: &str,
    ) -> Response<Bytes> {
        let alone = match *violated {
            [alone] => self.texts(alone),
            _ => None,
        };
        let body = match (reason, alone) {
            (Reason::QuotaExceeded, Some(texts)) => texts.exceeded_body.clone(),
            _ => problem(reason, detail, &names(policies, violated)).into(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status(reason);
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        response
    }

    fn grpc(
        &self,
        policies: &[Policy],
        reason: Reason,
        violated: &[Violated],
        retry: Option<Duration>,
        detail: &str,
        content_type: HeaderValue,
    ) -> Response<Bytes> {
        let (code, violated) = match reason {
            Reason::QuotaExceeded | Reason::Banned => (Code::ResourceExhausted, violated),
            Reason::StoreUnavailable => (Code::Unavailable, &[][..]),
        };
        let violations: SmallVec<[_; 2]> = violated
            .iter()
            .filter_map(|&violated| {
                Some(Violation {
                    subject: &policies[violated.policy].name,
                    description: &self.texts(violated)?.exceeded,
                })
            })
            .collect();
        grpc::response(content_type, code, detail, retry, &violations)
    }
}

fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::QuotaExceeded | Reason::Banned => StatusCode::TOO_MANY_REQUESTS,
        Reason::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn names<'a>(policies: &'a [Policy], violated: &[Violated]) -> SmallVec<[&'a str; 2]> {
    violated
        .iter()
        .map(|violated| &*policies[violated.policy].name)
        .collect()
}

/// A body that names policies. Names are `a-z0-9_-` and details our own sentences, so nothing needs escaping.
fn problem(reason: Reason, detail: &str, violated: &[&str]) -> String {
    let (kind, title) = problem_type(reason);
    let members = format!(r#","violated-policies":["{}"]"#, violated.join("\",\""));
    problem::body(kind, title, status(reason), detail, &members)
}
