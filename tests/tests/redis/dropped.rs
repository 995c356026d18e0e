//! A stack that is dropped while Redis is away leaves nothing behind.

use std::convert::Infallible;
use std::time::Duration;

use http::{Extensions, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use palisade::client::Peer;
use palisade::config::{Config, CountVisitors};
use palisade::funnel::Stage;
use palisade::ops::Ops;
use palisade::stack::Stack;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use tower::{Layer, ServiceExt, service_fn};

/// Every layer that has a task.
fn stack(redis: &RedisServer) -> Stack {
    let text = format!(
        "[store]\nredis_url = '{}'\ndeadline = '20ms'\n[suspicion.bans]\n[segments]\nsweep_every = '1h'\n",
        redis.url()
    );
    let ops = Ops::builder("shop").build().unwrap();
    Stack::builder()
        .config(Config::from_toml(&text).unwrap())
        .user(|_: &http::request::Parts| Some("ada".to_owned()))
        .funnel([Stage::new("view").on(Method::GET, "/")])
        .visitors(CountVisitors::Within(Duration::from_secs(60)))
        .route(|_: &Method, _: &Uri, _: &Extensions| Some("/".into()))
        .ops(&ops)
        .build()
        .unwrap()
}

/// Meets all of them: a success, and failures enough for an incident and an open breaker.
async fn use_it(stack: &Stack) {
    let service = stack.layer(service_fn(|request: Request<()>| async move {
        let mut response = Response::new(Full::<bytes::Bytes>::from("hello"));
        if request.uri().path() != "/" {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        Ok::<_, Infallible>(response)
    }));
    for n in 0..30 {
        let path = if n % 3 == 0 { "/" } else { "/missing" };
        let mut request = Request::builder().uri(path).body(()).unwrap();
        let peer = Peer("192.0.2.1:5000".parse().unwrap());
        request.extensions_mut().insert(peer);
        service.clone().oneshot(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_stack_that_is_dropped_in_an_outage_keeps_no_task() {
    let tasks = tokio::runtime::Handle::current().metrics();
    let (stopped, hanging) = (RedisServer::stopped(), RedisServer::start());
    let back = RedisServer::start();
    hanging.pause();
    for redis in [&stopped, &hanging, &back] {
        let stack = stack(redis);
        let customers = stack.customers();
        use_it(&stack).await;
        assert!(tasks.num_alive_tasks() > 0);
        drop((stack, customers));
        until("no task is left", async || tasks.num_alive_tasks() == 0).await;
    }
}
