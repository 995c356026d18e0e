//! Palisade around a plain hyper service: no axum, no framework.
//!
//! ```text
//! cargo run -p hyper_service [CONFIG.toml]
//! curl -i http://127.0.0.1:8080/hello/ada       limited to 200 a minute, as the headers of the answer say
//! curl -i http://127.0.0.1:8080/hello/ada -H 'Authorization: Bearer user-token-ada'     and to 60 for the user
//! curl http://127.0.0.1:9465/metrics
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use palisade::client::{Client, Route};
use palisade::config::Config;
use palisade::server::Server;
use palisade::stack::Stack;
use palisade::telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::{Layer, service_fn};

const ROUTES: [&str; 2] = ["/", "/hello/{name}"];

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyper_service: {error}");
            // A setting that cannot be used is the operator's to mend; anything else may pass.
            ExitCode::from(if error.is::<palisade::ConfigError>() {
                2
            } else {
                1
            })
        }
    }
}

#[tokio::main]
async fn serve() -> Result<(), Box<dyn Error>> {
    let config = match std::env::args_os().nth(1) {
        Some(file) => Config::from_file(Path::new(&file))?,
        None => Config::default(),
    };
    let router = Arc::new(router()?);
    // The template, never the path, which the client chooses: it becomes a metric label.
    let route = move |_: &Method, uri: &Uri, _: &Extensions| {
        router
            .at(uri.path())
            .ok()
            .map(|found| Route::from(*found.value))
    };

    let telemetry = Telemetry::builder("hello").build()?;
    let server = Server::new().exempt(&config.client.trusted_proxies)?;
    telemetry.watch(&server.counts());
    let stack = Stack::builder()
        .config(config)
        .user(demo_user)
        .route(route)
        .routes(ROUTES)
        .build_measured(&telemetry)?;
    let service = stack.layer(service_fn(hello));

    let listener = TcpListener::bind(address("LISTEN", "127.0.0.1:8080")?).await?;
    let admin = TcpListener::bind(address("ADMIN", "127.0.0.1:9465")?).await?;
    println!(
        "hyper_service listening on http://{}, admin on http://{}",
        listener.local_addr()?,
        admin.local_addr()?
    );
    tokio::spawn(telemetry.admin().serve(admin, std::future::pending()));

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    // The client layer finds the peer that the server leaves in each request.
    match server.serve(listener, service, stop).await.cut {
        0 => Ok(()),
        cut => Err(format!("{cut} connections were cut: their answers took too long").into()),
    }
}

fn router() -> Result<matchit::Router<&'static str>, matchit::InsertError> {
    let mut router = matchit::Router::new();
    for template in ROUTES {
        router.insert(template, template)?;
    }
    Ok(router)
}

/// The service itself: what a client is told is what the layers found out.
async fn hello<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.extensions().get::<Client>() {
        Some(client) if client.route != Route::UNMATCHED => {
            let who = client
                .user
                .as_ref()
                .map_or("stranger", |user| user.as_str());
            let from = client.network;
            (StatusCode::OK, format!("hello, {who} from {from}\n"))
        }
        _ => (StatusCode::NOT_FOUND, "nothing is here\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    Ok(response)
}

/// **A stand-in**: a real service verifies its token here (a signature, a session) before it believes it.
fn demo_user(request: &Parts) -> Option<String> {
    let credentials = request.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    credentials
        .strip_prefix("Bearer user-token-")
        .map(String::from)
}

fn address(variable: &str, default: &str) -> Result<SocketAddr, String> {
    let text = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    text.parse().map_err(|_| {
        format!(
            "`{variable}` cannot be `{text}`: allowed is an address and a port, such as {default}"
        )
    })
}
