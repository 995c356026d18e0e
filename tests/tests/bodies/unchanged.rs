//! A body passes every layer as it is.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use palisade::body::Body as Passed;
use palisade::client::Peer;
use palisade::config::Config;
use palisade::observe::Exchange;
use palisade::stack::Stack;
use palisade::telemetry::Measure;
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};

use super::measured;
use super::script::{Script, Step};

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Pending),
        4 => prop_oneof![Just(&b""[..]), Just(&b"a"[..]), Just(&b"hello"[..])].prop_map(Step::Data),
        1 => Just(Step::Trailers(vec![("grpc-status", "5"), ("x-more", "a"), ("x-more", "b")])),
        1 => Just(Step::Error("disk full")),
        1 => Just(Step::End),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let steps = prop::collection::vec(step(), 0..8);
    let hint = (0..20_u64, prop::option::of(0..20_u64));
    (steps, any::<bool>(), hint).prop_map(|(steps, tells_its_end, (lower, more))| Script {
        steps: steps.into(),
        tells_its_end,
        hint: (lower, more.map(|more| lower + more)),
    })
}

type Polled = Poll<Option<Result<Frame<Bytes>, &'static str>>>;

/// All that can be seen of a body, poll by poll.
fn seen<B>(mut body: B) -> Vec<String>
where
    B: Body<Data = Bytes, Error = &'static str> + Unpin,
{
    let mut context = Context::from_waker(Waker::noop());
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(format!("{} {:?}", body.is_end_stream(), body.size_hint()));
        let polled: Polled = Pin::new(&mut body).poll_frame(&mut context);
        seen.push(format!("{polled:?}"));
    }
    seen
}

fn request(content_type: &str) -> Request<()> {
    let request = Request::builder().method(Method::POST);
    let mut request = request
        .header("content-type", content_type)
        .body(())
        .unwrap();
    let peer = Peer(([192, 0, 2, 1], 5000).into());
    request.extensions_mut().insert(peer);
    request
}

/// The body of this script after all layers of a stack.
macro_rules! through {
    ($stack:expr, $script:expr, $content_type:expr) => {{
        let script = $script.clone();
        let service = service_fn(move |_: Request<()>| {
            ready(Ok::<_, Infallible>(Response::new(script.clone())))
        });
        let response = pin!($stack.layer(service).oneshot(request($content_type)));
        match response.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) => response.into_body(),
            Poll::Pending => panic!("in memory nothing waits"),
        }
    }};
}

proptest! {
    #[test]
    fn frames_trailers_errors_and_hints_pass_unchanged(script in script()) {
        let expected = seen(script.clone());
        for content_type in ["text/plain", "application/grpc"] {
            let observed = || Stack::builder().observe(|_: &Exchange<'_>| {});
            let plain = observed().build().unwrap();
            prop_assert_eq!(&seen(through!(plain, script, content_type)), &expected);
            let (_telemetry, measured) = measured(observed());
            prop_assert_eq!(&seen(through!(measured, script, content_type)), &expected);
        }
    }
}

#[tokio::test]
async fn a_refusal_is_one_frame_of_exactly_its_length() {
    let config = Config::from_toml("rate_limit.ip = '1/1h'").unwrap();
    let stack = Stack::builder().config(config).build().unwrap();
    let service = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let service = stack.layer(service);
    let answers = async || {
        let service = service.clone();
        service.oneshot(request("text/plain")).await.unwrap()
    };
    assert_eq!(answers().await.status(), 200);
    let refused = answers().await;
    assert_eq!(refused.status(), 429);
    let mut body = refused.into_body();
    let length = body.size_hint().exact().unwrap();
    assert!(!body.is_end_stream());
    let text = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(text.len() as u64, length);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
}

#[test]
fn a_body_is_as_free_to_move_as_the_one_inside() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    fn unpin<T: Unpin>() {}
    // `Send` alone, as many boxed bodies are.
    send::<Passed<Cell<u8>>>();
    send::<Passed<Cell<u8>, Measure>>();
    sync::<Passed<Vec<u8>>>();
    sync::<Passed<Vec<u8>, Measure>>();
    unpin::<Passed<Vec<u8>>>();
    unpin::<Passed<Vec<u8>, Measure>>();
}
