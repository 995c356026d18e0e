//! A request on the wire, measured by goose.

use std::time::{Duration, Instant};

use goose::prelude::*;
use reqwest::{RequestBuilder, Response};
use webstore::demo::personas::{Answer, Ask, Kind};

pub(crate) enum Sent {
    /// The answer, and how long it took until its head was there.
    Answered(Answer, Duration),
    /// There was no answer, or not a whole one.
    Failed(String),
}

/// Sends a request and reads its answer to the end. In goose's reports it is called after its persona and its route.
pub(crate) async fn send(
    user: &mut GooseUser,
    kind: Kind,
    ask: &Ask,
    expected: &[u16],
) -> Result<Sent, Box<TransactionError>> {
    let name = format!("{} {}", kind.as_str(), ask.name);
    let method = goose::goose::goose_method_from_method(ask.method.clone())?;
    let request = with_headers(user.get_request_builder(&method, &ask.path)?, ask);
    let started = Instant::now();
    let response = match expected {
        [only] => {
            let request = GooseRequest::builder()
                .method(method)
                .path(ask.path.as_str())
                .name(name.as_str())
                .expect_status_code(*only)
                .set_request_builder(request)
                .build();
            user.request(request).await?.response
        }
        // Goose expects one status at most, and lists any other as an error even if it is set right afterwards.
        several => {
            let response = request.send().await;
            let took = started.elapsed();
            let status = response
                .as_ref()
                .ok()
                .map(|response| response.status().as_u16());
            let is_right = status.is_some_and(|status| several.contains(&status));
            let error =
                status.map_or_else(|| "no answer".into(), |status| format!("{status}: {name}"));
            user.record_custom_request_duration(
                ask.method.as_str(),
                &name,
                took,
                is_right,
                status,
                Some(&error),
            )
            .await?;
            response
        }
    };
    let took = started.elapsed();
    Ok(match response {
        Ok(response) => read(ask, response, took).await,
        Err(error) => Sent::Failed(chain(&error)),
    })
}

fn with_headers(mut request: RequestBuilder, ask: &Ask) -> RequestBuilder {
    request = request.header("x-forwarded-for", ask.x_forwarded_for());
    for (name, value) in ask.headers() {
        request = request.header(name, value);
    }
    match &ask.json {
        Some(json) => request.body(json.clone()),
        None => request,
    }
}

async fn read(ask: &Ask, response: Response, took: Duration) -> Sent {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    // A body that is read to its end leaves the connection for the next request.
    match response.bytes().await {
        Ok(body) => Sent::Answered(ask.answered(status, &headers, &body), took),
        Err(error) => Sent::Failed(chain(&error)),
    }
}

/// An error and what it was caused by, without addresses and paths, of which there are many.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    if text.is_empty() {
        error.to_string()
    } else {
        text
    }
}
