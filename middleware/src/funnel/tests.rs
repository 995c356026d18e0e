//! The layer around real services, without a network.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Barrier;
use std::task::{Context, Waker};

use http::{Method, Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::log::Warnings;
use crate::model::{Client, Countries, Country, Reason, Rejected, Route};
use crate::stack::Stack;

static_assertions::assert_impl_all!(FunnelLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(Funnel<()>: Send, Sync, Clone);
static_assertions::assert_impl_all!(ResponseFuture<Ready<()>>: Send);

const PAYMENT_METHODS: [&str; 2] = ["credit_card", "paypal"];

fn countries<const N: usize>(codes: [&str; N]) -> Countries {
    codes
        .into_iter()
        .map(|code| code.parse().unwrap())
        .collect()
}

/// View a product, by either of two routes, and check out.
fn shop() -> FunnelLayer {
    let view = Stage::new("view")
        .on(Method::GET, "/products/{id}")
        .on(Method::GET, "/p/{slug}");
    let checkout = Stage::new("checkout")
        .on(Method::POST, "/orders")
        .payment_methods(PAYMENT_METHODS);
    FunnelLayer::builder()
        .stage(view)
        .stage(checkout)
        .countries(countries(["US", "GB"]))
        .build()
        .unwrap()
}

fn request(method: Method, route: &'static str, country: &str) -> Request<()> {
    let mut client = Client::new([192, 0, 2, 1].into(), 64);
    client.route = Route::from(route);
    client.country = country.parse().unwrap_or(Country::OTHER);
    let mut request = Request::builder().method(method).body(()).unwrap();
    request.extensions_mut().insert(client);
    request
}

/// Sends a request that is answered with this status, and with what the handler says, if anything.
async fn answer(
    layer: &FunnelLayer,
    request: Request<()>,
    status: StatusCode,
    said: Option<Reached>,
) {
    let service = layer.layer(service_fn(move |_: Request<()>| {
        let mut response = Response::new("the inner service's");
        *response.status_mut() = status;
        if let Some(reached) = said.clone() {
            response.extensions_mut().insert(reached);
        }
        ready(Ok::<_, Infallible>(response))
    }));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(
        (response.status(), *response.body()),
        (status, "the inner service's")
    );
}

#[tokio::test]
async fn a_refusal_of_a_layer_further_in_reaches_no_stage_though_its_status_be_of_success() {
    let layer = shop();
    let service = layer.layer(service_fn(|_: Request<()>| {
        let mut refusal = Response::new(());
        let rejected = Rejected {
            reason: Reason::QUOTA_EXCEEDED,
            policies: Default::default(),
        };
        refusal.extensions_mut().insert(rejected);
        ready(Ok::<_, Infallible>(refusal))
    }));
    let view = request(Method::GET, "/products/{id}", "US");
    service.oneshot(view).await.unwrap();
    assert!(counted(&layer).is_empty());
}

async fn say(layer: &FunnelLayer, said: Reached) {
    let request = request(Method::POST, "/orders", "US");
    answer(layer, request, StatusCode::CREATED, Some(said)).await;
}

/// What was counted, without the series at 0: `stage country payment_method`.
fn counted(layer: &FunnelLayer) -> BTreeMap<String, u64> {
    let tally = layer.tally();
    let reached = tally.counts().filter(|series| series.count > 0);
    reached
        .map(|it| {
            let series = format!("{} {} {}", it.stage, it.country, it.payment_method);
            (series.trim_end().to_owned(), it.count)
        })
        .collect()
}

fn only<const N: usize>(series: [(&str, u64); N]) -> BTreeMap<String, u64> {
    series.map(|(name, count)| (name.to_owned(), count)).into()
}

#[test]
fn all_series_exist_at_0_from_the_start() {
    let layer = shop();
    let tally = layer.tally();
    let series: Vec<_> = tally
        .counts()
        .map(|it| {
            (
                it.stage,
                it.country.to_string(),
                it.payment_method,
                it.count,
            )
        })
        .collect();
    let expected: Vec<_> = ["GB", "US", "other"]
        .map(|country| ("view", country.to_owned(), "", 0))
        .into_iter()
        .chain(["GB", "US", "other"].into_iter().flat_map(|country| {
            ["credit_card", "paypal", "other"]
                .map(|method| ("checkout", country.to_owned(), method, 0))
        }))
        .collect();
    assert_eq!(series, expected);
}

#[tokio::test]
async fn a_response_is_counted_by_its_stage_and_country() {
    let layer = shop();
    for (route, country) in [
        ("/products/{id}", "US"),
        ("/p/{slug}", "US"),
        ("/products/{id}", "GB"),
        ("/products/{id}", "FR"),
        ("/products/{id}", "none at all"),
    ] {
        let request = request(Method::GET, route, country);
        answer(&layer, request, StatusCode::OK, None).await;
    }
    assert_eq!(
        counted(&layer),
        only([("view US", 2), ("view GB", 1), ("view other", 2)])
    );
}

#[tokio::test]
async fn another_method_or_route_reaches_nothing() {
    let layer = shop();
    for (method, route) in [
        (Method::HEAD, "/products/{id}"),
        (Method::OPTIONS, "/products/{id}"),
        (Method::POST, "/products/{id}"),
        (Method::GET, "/orders"),
        (Method::GET, "/products"),
        (Method::GET, "/products/{id}/"),
        (Method::GET, "unmatched"),
    ] {
        let request = request(method, route, "US");
        answer(&layer, request, StatusCode::OK, None).await;
    }
    assert_eq!(counted(&layer), only([]));
}

#[tokio::test]
async fn only_2xx_counts_unless_the_stage_says_otherwise() {
    let layer = FunnelLayer::builder()
        .stage(Stage::new("paid").on(Method::POST, "/pay"))
        .stage(
            Stage::new("sent_on")
                .on(Method::POST, "/pay")
                .status(StatusClass::Redirection),
        )
        .stage(
            Stage::new("refused")
                .on(Method::POST, "/pay")
                .status(StatusClass::ClientError),
        )
        .build()
        .unwrap();
    for status in [
        200, 201, 204, 299, 300, 303, 304, 399, 400, 402, 429, 499, 500, 503, 599, 600, 999,
    ] {
        let request = request(Method::POST, "/pay", "US");
        let status = StatusCode::from_u16(status).unwrap();
        answer(&layer, request, status, None).await;
    }
    assert_eq!(
        counted(&layer),
        only([
            ("paid other", 4),
            ("sent_on other", 4),
            ("refused other", 4)
        ])
    );
}

#[tokio::test]
async fn a_handler_says_what_was_paid_with_and_any_other_text_is_other() {
    let layer = shop();
    say(&layer, Reached::payment("checkout", "paypal")).await;
    say(&layer, Reached::payment("checkout", String::from("paypal"))).await;
    for evil in ["", "PayPal", "paypal ", "other", "\"}", &"x".repeat(9_999)] {
        say(&layer, Reached::payment("checkout", evil.to_owned())).await;
    }
    say(&layer, Reached::stage("checkout")).await;
    let silent = request(Method::POST, "/orders", "US");
    answer(&layer, silent, StatusCode::CREATED, None).await;
    assert_eq!(
        counted(&layer),
        only([("checkout US paypal", 2), ("checkout US other", 8)])
    );
}

#[tokio::test]
async fn a_payment_method_on_a_stage_without_any_is_the_empty_string() {
    let layer = shop();
    say(&layer, Reached::payment("view", "paypal")).await;
    assert_eq!(counted(&layer), only([("view US", 1)]));
}

#[tokio::test]
async fn what_a_handler_says_beats_the_route_and_nothing_is_nothing() {
    let layer = shop();
    say(&layer, Reached::stage("view")).await;
    say(&layer, Reached::nothing()).await;
    let elsewhere = request(Method::GET, "/anywhere", "GB");
    let said = Reached::payment("checkout", "credit_card");
    answer(&layer, elsewhere, StatusCode::OK, Some(said)).await;
    assert_eq!(
        counted(&layer),
        only([("view US", 1), ("checkout GB credit_card", 1)])
    );
}

#[tokio::test]
async fn a_stage_that_a_handler_names_needs_its_status_class_too() {
    let layer = shop();
    for status in [StatusCode::CONFLICT, StatusCode::SEE_OTHER] {
        let request = request(Method::POST, "/orders", "US");
        let said = Reached::payment("checkout", "paypal");
        answer(&layer, request, status, Some(said)).await;
    }
    assert_eq!(counted(&layer), only([]));
}

#[tokio::test(flavor = "current_thread")]
async fn an_unknown_stage_counts_nothing_and_is_warned_of_once() {
    let warnings = Warnings::count_from_now();
    let layer = shop();
    say(&layer, Reached::stage("view")).await;
    assert_eq!(warnings.so_far(), 0);
    for _ in 0..3 {
        say(&layer, Reached::stage("chekcout")).await;
    }
    assert_eq!(warnings.so_far(), 1);
    assert_eq!(counted(&layer), only([("view US", 1)]));
}

#[tokio::test]
async fn an_error_of_the_service_passes_and_counts_nothing() {
    let layer = shop();
    let service = layer.layer(service_fn(|_: Request<()>| {
        ready(Err::<Response<()>, _>("broken"))
    }));
    let request = request(Method::GET, "/products/{id}", "US");
    assert_eq!(service.oneshot(request).await.unwrap_err(), "broken");
    assert_eq!(counted(&layer), only([]));
}

#[tokio::test]
async fn a_request_whose_client_left_counts_nothing() {
    let layer = shop();
    let service = layer.layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<()>, Infallible>>()
    }));
    let request = request(Method::GET, "/products/{id}", "US");
    let mut response = Box::pin(service.oneshot(request));
    assert!(
        response
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    drop(response);
    assert_eq!(counted(&layer), only([]));
}

#[tokio::test]
async fn without_stages_it_is_as_if_it_were_not_there() {
    let layer = FunnelLayer::default();
    say(&layer, Reached::stage("view")).await;
    assert_eq!(layer.tally().counts().count(), 0);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn without_a_client_layer_the_route_is_axums_and_the_country_other() {
    use axum::body::Body;
    use axum::routing::get;

    let layer = shop();
    let router = axum::Router::new()
        .route("/products/{id}", get(async || "a teapot"))
        .layer(layer.clone());
    for path in ["/products/1", "/products/2", "/products", "/products/1/x"] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(counted(&layer), only([("view other", 2)]));
}

#[test]
fn clones_and_threads_share_one_table_and_lose_nothing() {
    let layer = shop();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (layer, start) = (layer.clone(), &start);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                start.wait();
                runtime.unwrap().block_on(async {
                    for _ in 0..1_000 {
                        say(&layer, Reached::payment("checkout", "paypal")).await;
                    }
                });
            });
        }
    });
    assert_eq!(counted(&layer), only([("checkout US paypal", 4_000)]));
}

#[track_caller]
fn refusal(builder: FunnelLayerBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn a_name_that_cannot_be_a_label_is_refused() {
    for name in [
        "",
        "View",
        "a b",
        "é",
        "a\"b",
        "a\nb",
        "a.b",
        &"x".repeat(65),
    ] {
        let error = FunnelLayer::builder().stage(Stage::new(name)).build();
        assert_eq!(error.unwrap_err().key(), "stages", "{name:?}");
        let stage = Stage::new("checkout").payment_methods([name]);
        let error = FunnelLayer::builder().stage(stage).build().unwrap_err();
        assert_eq!(error.key(), "stages.checkout.payment_methods", "{name:?}");
    }
    let long = "x".repeat(64);
    let stage = Stage::new(&*long).payment_methods([&*long]);
    assert!(FunnelLayer::builder().stage(stage).build().is_ok());
    assert_eq!(
        refusal(FunnelLayer::builder().stage(Stage::new("View"))),
        "`stages` cannot be `View`: allowed is 1 to 64 characters of `a-z0-9_-`"
    );
}

#[test]
fn the_stack_says_that_it_is_the_funnel_whose_setting_cannot_be_used() {
    let stack = Stack::builder().funnel([Stage::new("View")]).build();
    assert_eq!(stack.unwrap_err().key(), "funnel.stages");
}

#[test]
fn other_and_repeated_payment_methods_are_refused() {
    let with = |methods: [&'static str; 2]| {
        FunnelLayer::builder().stage(Stage::new("checkout").payment_methods(methods))
    };
    let error = refusal(with(["paypal", "other"]));
    assert!(
        error.starts_with("`stages.checkout.payment_methods` cannot be `other`"),
        "{error}"
    );
    let error = refusal(with(["paypal", "paypal"]));
    assert!(error.ends_with("each payment method once"), "{error}");
}

#[test]
fn a_route_that_is_no_template_is_refused() {
    for template in ["", "products", "unmatched"] {
        let error =
            refusal(FunnelLayer::builder().stage(Stage::new("view").on(Method::GET, template)));
        let start = format!("`stages.view.routes` cannot be `GET {template}`: allowed is ");
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn two_stages_of_one_name_or_of_one_route_and_class_are_refused() {
    let view = || Stage::new("view").on(Method::GET, "/products");
    let error = refusal(FunnelLayer::builder().stage(view()).stage(view()));
    assert!(error.starts_with("`stages` cannot be `view`"), "{error}");
    let look = Stage::new("look").on(Method::GET, "/products");
    let error = refusal(FunnelLayer::builder().stage(view()).stage(look.clone()));
    assert!(
        error.starts_with("`stages.look.routes` cannot be `GET /products`")
            && error.contains("`view`"),
        "{error}"
    );
    let missed = look.status(StatusClass::ClientError);
    let both = FunnelLayer::builder().stage(view()).stage(missed);
    assert!(both.build().is_ok());
}

#[test]
fn more_than_16_stages_are_refused() {
    let with = |stages: usize| {
        let stages = (0..stages).map(|n| Stage::new(format!("stage_{n}")));
        stages.fold(FunnelLayer::builder(), FunnelLayerBuilder::stage)
    };
    assert!(with(16).build().is_ok());
    assert_eq!(
        refusal(with(17)),
        "`stages` cannot be `17`: allowed is at most 16 stages"
    );
}

#[test]
fn more_than_2000_series_are_refused_with_the_numbers() {
    let with = |methods: usize| {
        let methods = (0..methods).map(|n| format!("method_{n}"));
        FunnelLayer::builder()
            .countries(countries(["US", "GB", "DE"]))
            .stage(Stage::new("view"))
            .stage(Stage::new("checkout").payment_methods(methods))
    };
    // (1 + 498 + 1) stages and methods in 3 + 1 countries.
    let fits = with(498).build().unwrap();
    assert_eq!(fits.tally().counts().count(), 2_000);
    let error = refusal(with(499));
    assert!(
        error.contains("501 (") && error.contains("times 4 (") && error.contains("2000 series"),
        "{error}"
    );
}
