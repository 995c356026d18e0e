//! What handlers take from a request, each part checked as it is read.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use http_body_util::BodyExt;
use palisade::client::{Client, Country, Network, Peer};
use serde::de::DeserializeOwned;

use super::Problem;
use crate::shop::Owner;
use crate::{auth, country};

/// The largest body that is read as JSON.
const MAX_BODY: usize = 16 * 1024;
/// What is read beyond that and thrown away, so that a client that sends before it reads finds the answer 413
/// instead of a reset connection.
const MAX_DISCARDED: usize = 1024 * 1024;
/// A body that takes longer is given up.
const BODY_DEADLINE: Duration = Duration::from_secs(20);
/// The part of an IPv6 address that one anonymous client is known by, where palisade has not said.
const IPV6_PREFIX: u8 = 64;

/// The served country that the path begins with; 404 for any other.
pub(crate) struct Shopfront(pub(crate) Country);

impl<S: Sync> FromRequestParts<S> for Shopfront {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        country::of(parts).map(Self).ok_or_else(|| {
            let served: Vec<_> = country::served().iter().map(|c| c.to_string()).collect();
            let detail = format!(
                "The shop is not in this country. It serves {}.",
                served.join(", ")
            );
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if let Ok(Some(user)) = auth::verified(&parts.extensions, &parts.headers) {
            return Ok(Self::User(user.into()));
        }
        // The client as palisade knows it, behind any trusted proxy; in the bare shop, the connected peer.
        let network = match parts.extensions.get::<Client>() {
            Some(client) => client.network,
            None => match parts.extensions.get::<Peer>() {
                Some(Peer(peer)) => Network::of(peer.ip(), IPV6_PREFIX),
                None => {
                    tracing::error!(
                        target: "webstore",
                        event = "no_peer_address",
                        "no peer address: serve the shop with a `Peer` in each request"
                    );
                    return Err(Problem::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "The server does not know where the request came from.",
                    ));
                }
            },
        };
        Ok(Self::Client(network))
    }
}

/// A JSON body, whatever its `Content-Type` says: 400 when it is malformed, 413 above 16 KiB, 408 when it does not
/// arrive.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let read = tokio::time::timeout(BODY_DEADLINE, read(request.into_body()));
        let bytes = read.await.unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "The body did not arrive in time.",
            ))
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let detail = format!("The body is not the JSON that is expected here: {error}.");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })
    }
}

async fn read(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "The body ended before it was complete.",
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        total += data.len();
        if total <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else if total > MAX_DISCARDED {
            break;
        }
    }
    if total > MAX_BODY {
        let detail = format!("The body is larger than {MAX_BODY} bytes.");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(bytes)
}
