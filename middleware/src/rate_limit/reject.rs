//! A refusal becomes a response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use smallvec::SmallVec;

use super::decide::Violated;
use super::policy::{Policy, window_phrase};
use crate::http::grpc::{self, Violation};
use crate::http::refusal;
use crate::model::{Code, PolicyResult, Quota, Reason, Rejected};

impl Reason {
    /// A quota is used up: 429.
    pub const QUOTA_EXCEEDED: Self = Self::new(
        "quota_exceeded",
        StatusCode::TOO_MANY_REQUESTS,
        Code::ResourceExhausted,
        (
            "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
        ),
        PolicyResult::Denied,
    );
    /// The store does not answer, and a policy says to close: 503.
    pub const STORE_UNAVAILABLE: Self = Self::new(
        "store_unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        Code::Unavailable,
        (
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "Request cannot be satisfied due to temporary server capacity constraints",
        ),
        PolicyResult::FallbackDenied,
    );
}

/// Why a request was refused, for a service that writes its own answer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rejection<'a> {
    /// The reason.
    pub reason: Reason,
    /// The names of the policies that are violated, or that cannot be checked.
    pub policies: &'a [&'a str],
    /// How long until a retry can pass; `None` for a cost that never fits. Without the store it is a guess of one second.
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
                let exceeded_body = body(Reason::QUOTA_EXCEEDED, &exceeded, &[&policy.name]).into();
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
        let exceeded = violated.first().and_then(|first| self.texts(*first));
        let (retry, detail) = match exceeded {
            Some(texts) if reason == Reason::QUOTA_EXCEEDED => (retry, &*texts.exceeded),
            _ => (Some(UNAVAILABLE_RETRY), UNAVAILABLE),
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
        } else if let Some(content_type) = grpc::content_type(&request.method, &request.headers) {
            self.grpc(policies, reason, violated, retry, detail, content_type)
        } else {
            self.problem(policies, reason, violated, detail)
        };
        refusal::retry_after(&mut response, retry);
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
            [alone] if reason == Reason::QUOTA_EXCEEDED => self.texts(alone),
            _ => None,
        };
        let body = match alone {
            Some(texts) => texts.exceeded_body.clone(),
            None => body(reason, detail, &names(policies, violated)).into(),
        };
        refusal::problem(reason, body)
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
        let violations: SmallVec<[_; 2]> = violated
            .iter()
            .filter(|_| reason == Reason::QUOTA_EXCEEDED)
            .filter_map(|&violated| {
                Some(Violation {
                    subject: &policies[violated.policy].name,
                    description: &self.texts(violated)?.exceeded,
                })
            })
            .collect();
        grpc::response(content_type, reason.code, detail, retry, &violations)
    }
}

fn names<'a>(policies: &'a [Policy], violated: &[Violated]) -> SmallVec<[&'a str; 2]> {
    violated
        .iter()
        .map(|violated| &*policies[violated.policy].name)
        .collect()
}

/// A body that names policies. Names are `a-z0-9_-` and details our own sentences, so nothing needs escaping.
fn body(reason: Reason, detail: &str, violated: &[&str]) -> String {
    let members = format!(r#","violated-policies":["{}"]"#, violated.join("\",\""));
    refusal::body(reason, detail, &members)
}
