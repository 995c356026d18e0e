//! tonic: `Server::builder().layer(stack)`, and a real client.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use palisade::client::Peer;
use palisade::config::Config;
use palisade::observe::{End, Exchange};
use palisade::stack::Stack;
use palisade::suspicion::{BanReason, IncidentKind};
use palisade::telemetry::Telemetry;
use palisade_tests::time::until;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tower::{Service, ServiceBuilder, service_fn};

use super::{ended, measured, until_ended};

/// Messages are text: no code generator is needed.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let text = from.copy_to_bytes(from.remaining()).to_vec();
        String::from_utf8(text)
            .map(Some)
            .map_err(|_| Status::invalid_argument("text is UTF-8"))
    }
}

/// Greets; a number instead of a name is the status to fail with.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "test.Greeter";
}

fn greet(name: &str) -> Result<String, Status> {
    match name.parse() {
        Ok(status) => Err(Status::new(Code::from_i32(status), "as you wish")),
        Err(_) => Ok(format!("hello, {name}")),
    }
}

/// A greeting for each name, until one fails; `forever` never ends.
async fn greet_all(
    request: Request<String>,
) -> Result<Response<ReceiverStream<Result<String, Status>>>, Status> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for name in request.into_inner().split(' ') {
            if name == "forever" {
                return sender.closed().await;
            }
            let greeting = greet(name);
            let failed = greeting.is_err();
            if sender.send(greeting).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(Response::new(ReceiverStream::new(receiver)))
}

impl Service<http::Request<tonic::body::Body>> for Greeter {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Text);
            Ok(match request.uri().path() {
                "/test.Greeter/Greet" => {
                    let greet = service_fn(async |request: Request<String>| {
                        greet(request.get_ref()).map(Response::new)
                    });
                    grpc.unary(greet, request).await
                }
                "/test.Greeter/GreetAll" => {
                    grpc.server_streaming(service_fn(greet_all), request).await
                }
                _ => Status::unimplemented("there is no such method").into_http(),
            })
        })
    }
}

/// What the observers were told of each call.
type Told = Arc<Mutex<Vec<(End, Option<u8>)>>>;

struct Served {
    address: SocketAddr,
    telemetry: Telemetry,
    told: Told,
    incidents: Arc<palisade::suspicion::SuspicionTally>,
}

/// A greeter behind a stack that finds each client where tonic leaves it.
async fn serve(config: &str) -> Served {
    let told = Told::default();
    let seen = Arc::clone(&told);
    let builder = Stack::builder()
        .config(Config::from_toml(config).unwrap())
        .observe(move |exchange: &Exchange<'_>| {
            let told = (exchange.end, exchange.grpc_status);
            seen.lock().unwrap().push(told);
        });
    let (telemetry, stack) = measured(builder);
    let incidents = stack.suspicion_tally();
    let layers = ServiceBuilder::new()
        .map_request(|mut request: http::Request<tonic::body::Body>| {
            let connection = request.extensions().get::<TcpConnectInfo>();
            if let Some(peer) = connection.and_then(TcpConnectInfo::remote_addr) {
                request.extensions_mut().insert(Peer(peer));
            }
            request
        })
        .layer(stack);
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = Server::builder().layer(layers).add_service(Greeter);
    tokio::spawn(server.serve_with_incoming(incoming));
    Served {
        address,
        telemetry,
        told,
        incidents,
    }
}

type Client = tonic::client::Grpc<Channel>;

impl Served {
    async fn client(&self) -> Client {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        tonic::client::Grpc::new(channel.connect().await.unwrap())
    }

    /// What was told so far, once so many calls have ended.
    async fn told(&self, calls: usize) -> Vec<(End, Option<u8>)> {
        let ended = async || self.told.lock().unwrap().len() >= calls;
        until("so many calls have ended", ended).await;
        self.told.lock().unwrap().clone()
    }

    async fn until_incident(&self, kind: IncidentKind) {
        let found = async || self.incidents.incidents(kind) > 0;
        until(&format!("an incident of {kind}"), found).await;
    }
}

async fn unary(client: &mut Client, method: &'static str, name: &str) -> Result<String, Status> {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(method);
    let response = client
        .unary(Request::new(name.to_owned()), path, Text)
        .await?;
    Ok(response.into_inner())
}

/// The greetings of a stream, and how it ended.
async fn stream(client: &mut Client, names: &str) -> (Vec<String>, Result<(), Status>) {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.Greeter/GreetAll");
    let request = Request::new(names.to_owned());
    let mut greetings = Vec::new();
    let mut stream = match client.server_streaming(request, path, Text).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (greetings, Err(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(greeting)) => greetings.push(greeting),
            Ok(None) => return (greetings, Ok(())),
            Err(status) => return (greetings, Err(status)),
        }
    }
}

const GREET: &str = "/test.Greeter/Greet";

#[tokio::test]
async fn calls_and_streams_pass_and_are_told_with_their_status() {
    let served = serve("").await;
    let mut client = served.client().await;
    assert_eq!(
        unary(&mut client, GREET, "ada").await.unwrap(),
        "hello, ada"
    );
    let (greetings, end) = stream(&mut client, "ada grace").await;
    assert_eq!(greetings, ["hello, ada", "hello, grace"]);
    assert!(end.is_ok());
    let told = served.told(2).await;
    assert_eq!(told, [(End::Responded, Some(0)); 2]);
    until_ended(&served.telemetry, 2.0, &[("rpc_grpc_status_code", "0")]).await;
}

/// The fields of a protobuf message that are bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, Bytes)> {
    fn varint(from: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = from.get_u8();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while message.has_remaining() {
        let key = varint(&mut message);
        let value = varint(&mut message);
        match key & 7 {
            0 => fields.push((key >> 3, Bytes::from(value.to_string()))),
            2 => fields.push((key >> 3, message.copy_to_bytes(value as usize))),
            other => panic!("wire type {other}"),
        }
    }
    fields
}

#[tokio::test]
async fn a_denial_tells_a_client_why_and_until_when() {
    let served = serve("rate_limit.ip = '1/1m'").await;
    let mut client = served.client().await;
    unary(&mut client, GREET, "ada").await.unwrap();
    for denied in [
        unary(&mut client, GREET, "ada").await.unwrap_err(),
        stream(&mut client, "ada").await.1.unwrap_err(),
    ] {
        assert_eq!(denied.code(), Code::ResourceExhausted);
        let sentence = "Rate limit exceeded for IP. Maximum 1 requests per minute.";
        assert_eq!(denied.message(), sentence);
        let status = fields(denied.details());
        assert_eq!(status[0], (1, Bytes::from("8")));
        assert_eq!(status[1], (2, Bytes::from(sentence)));
        let details: Vec<_> = status[2..].iter().map(|(_, any)| fields(any)).collect();
        let names = ["google.rpc.RetryInfo", "google.rpc.QuotaFailure"];
        assert_eq!(details.len(), names.len());
        for (detail, name) in details.iter().zip(names) {
            assert_eq!(detail[0].1, format!("type.googleapis.com/{name}"));
        }
        let delay = fields(&fields(&details[0][1].1)[0].1);
        let seconds: u64 = str::from_utf8(&delay[0].1).unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        let violation = fields(&fields(&details[1][1].1)[0].1);
        assert_eq!(
            violation,
            [(1, Bytes::from("ip")), (2, Bytes::from(sentence))]
        );
    }
    let told = served.told(3).await;
    assert_eq!(told[1..], [(End::Responded, Some(8)); 2]);
    until_ended(&served.telemetry, 2.0, &[("rpc_grpc_status_code", "8")]).await;
}

#[tokio::test]
async fn calls_that_fail_in_their_head_or_in_their_trailers_add_up_to_an_incident() {
    let served = serve("").await;
    let mut client = served.client().await;
    // 16 counts as 401, of which five are tried passwords; told in the head, and after a greeting in the trailers.
    for _ in 0..2 {
        let failed = unary(&mut client, GREET, "16").await.unwrap_err();
        assert_eq!(failed.code(), Code::Unauthenticated);
    }
    for _ in 0..3 {
        assert_eq!(
            served.incidents.incidents(IncidentKind::CredentialStuffing),
            0
        );
        let (greetings, end) = stream(&mut client, "ada 16 grace").await;
        assert_eq!(greetings, ["hello, ada"]);
        assert_eq!(end.unwrap_err().code(), Code::Unauthenticated);
    }
    served
        .until_incident(IncidentKind::CredentialStuffing)
        .await;
    // 5 and 12 count as 404: things and methods that are tried.
    for _ in 0..5 {
        let unknown = unary(&mut client, "/test.Greeter/Guess", "ada").await;
        assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
        let (_, end) = stream(&mut client, "ada 5").await;
        assert_eq!(end.unwrap_err().code(), Code::NotFound);
    }
    served.until_incident(IncidentKind::EndpointScanning).await;
    for (status, calls) in [("16", 5.0), ("12", 5.0), ("5", 5.0)] {
        until_ended(
            &served.telemetry,
            calls,
            &[("rpc_grpc_status_code", status)],
        )
        .await;
    }
    assert_eq!(ended(&served.telemetry, &[]).await, 15.0);
}

/// How a client looks for what there is not.
#[derive(Debug, Clone, Copy)]
enum Search {
    /// Things of one method, answered in the head.
    Things,
    /// The same, answered in the trailers of a stream.
    Streamed,
    /// Methods of a service.
    Methods,
    /// Services, of which only tonic's router hears.
    Services,
}

impl Search {
    /// Looks once; the answer is that there is none.
    async fn look(self, client: &mut Client, n: usize) {
        let failed = match self {
            Self::Things => unary(client, GREET, "5").await.unwrap_err(),
            Self::Streamed => stream(client, "ada 5").await.1.unwrap_err(),
            Self::Methods | Self::Services => {
                let path = match self {
                    Self::Methods => format!("/test.Greeter/Guess{n}"),
                    _ => format!("/test.Guess{n}/Greet"),
                };
                client.ready().await.unwrap();
                let request = Request::new("ada".to_owned());
                let path = PathAndQuery::try_from(path).unwrap();
                if n.is_multiple_of(2) {
                    client.unary(request, path, Text).await.unwrap_err()
                } else {
                    client
                        .server_streaming(request, path, Text)
                        .await
                        .unwrap_err()
                }
            }
        };
        let unknown = matches!(self, Self::Methods | Self::Services);
        let expected = if unknown {
            Code::Unimplemented
        } else {
            Code::NotFound
        };
        assert_eq!(failed.code(), expected);
    }
}

#[tokio::test]
async fn twelve_calls_for_what_there_is_not_are_scanning_and_ban_by_the_methods_that_were_tried() {
    const EACH: &str = "suspicion.endpoint_scanning = { threshold = '10/5m', distinct = false }\n";
    let scanning = IncidentKind::EndpointScanning;
    for search in [
        Search::Things,
        Search::Streamed,
        Search::Methods,
        Search::Services,
    ] {
        for counts_each in [false, true] {
            let each = if counts_each { EACH } else { "" };
            let served = serve(&format!("{each}[suspicion.bans]\n")).await;
            let mut client = served.client().await;
            for n in 0..9 {
                search.look(&mut client, n).await;
            }
            assert_eq!(served.incidents.incidents(scanning), 0, "{search:?}");
            let distinct = matches!(search, Search::Methods | Search::Services);
            let is_banned = counts_each || distinct;
            // The one that bans, or two more.
            for n in 9..if is_banned { 10 } else { 12 } {
                search.look(&mut client, n).await;
            }
            served.until_incident(scanning).await;
            let bans = || served.incidents.bans(BanReason::Incident(scanning));
            let told = async || !is_banned || bans() > 0;
            until(&format!("a ban for {search:?}"), told).await;
            let greeted = unary(&mut client, GREET, "ada").await;
            assert_eq!(greeted.is_err(), is_banned, "{search:?}: {greeted:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_has_cancelled_it() {
    let served = serve("").await;
    let mut client = served.client().await;
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.Greeter/GreetAll");
    let request = Request::new("ada forever".to_owned());
    let response = client.server_streaming(request, path, Text).await.unwrap();
    let mut greetings = response.into_inner();
    assert_eq!(greetings.next().await.unwrap().unwrap(), "hello, ada");
    assert!(served.told.lock().unwrap().is_empty());
    drop(greetings);
    assert_eq!(served.told(1).await, [(End::Cancelled, Some(1))]);
    let labels = [("rpc_grpc_status_code", "1"), ("error_type", "cancelled")];
    until_ended(&served.telemetry, 1.0, &labels).await;
}
