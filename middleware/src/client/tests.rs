use std::convert::Infallible;

use http::request::Parts;
use http::{Extensions, Method, Request, Response, Uri};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::log::Warnings;

static_assertions::assert_impl_all!(IdentifyLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(Identify<()>: Send, Sync, Clone);

async fn identify(layer: &IdentifyLayer, request: Request<()>) -> Client {
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        let client = request.extensions().get::<Client>().cloned();
        Ok::<_, Infallible>(Response::new(client))
    }));
    let response = service.oneshot(request).await.unwrap();
    response.into_body().unwrap()
}

fn from(peer: &str) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(Peer(peer.parse().unwrap()));
    request
}

fn with(mut request: Request<()>, name: &'static str, value: &str) -> Request<()> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

fn behind_proxies() -> IdentifyLayerBuilder {
    IdentifyLayer::builder().trusted_proxies(TrustedProxies::parse(["10.0.0.0/8"]).unwrap())
}

#[tokio::test]
async fn a_bare_layer_knows_the_peer_and_nothing_else() {
    let layer = IdentifyLayer::builder().build().unwrap();
    let request = with(
        from("[::ffff:192.0.2.1]:5000"),
        "x-forwarded-for",
        "203.0.113.9",
    );
    let client = identify(&layer, request).await;
    assert_eq!(client.address.to_string(), "192.0.2.1");
    assert_eq!(client.network.to_string(), "192.0.2.1");
    assert_eq!(client.user, None);
    assert_eq!(client.country, Country::OTHER);
    assert_eq!(client.route, Route::UNMATCHED);
}

#[tokio::test]
async fn only_the_configured_header_of_a_trusted_peer_names_the_client() {
    let request = |peer| {
        let request = with(from(peer), "x-forwarded-for", "203.0.113.1");
        with(request, "forwarded", "for=203.0.113.2")
    };
    let default = behind_proxies().build().unwrap();
    let forwarded = behind_proxies()
        .forwarded_header(ForwardedHeader::Forwarded)
        .build()
        .unwrap();
    for (layer, peer, client) in [
        (&default, "10.0.0.1:1", "203.0.113.1"),
        (&forwarded, "10.0.0.1:1", "203.0.113.2"),
        (&default, "192.0.2.1:1", "192.0.2.1"),
        (&forwarded, "192.0.2.1:1", "192.0.2.1"),
    ] {
        assert_eq!(
            identify(layer, request(peer)).await.address.to_string(),
            client
        );
    }
}

#[tokio::test]
async fn ipv6_clients_share_the_configured_prefix() {
    let layer = IdentifyLayer::builder().ipv6_prefix(56).build().unwrap();
    let client = identify(&layer, from("[2001:db8:1:2ff::1]:1")).await;
    assert_eq!(client.network.to_string(), "2001:db8:1:200::/56");
}

/// The walk, the trusted networks, the client's key: all see the IPv4 address behind a translator.
#[tokio::test]
async fn a_client_behind_a_translator_is_its_ipv4_address() {
    let layer = behind_proxies()
        .nat64_prefixes(Nat64Prefixes::parse(["2001:db8:64::/96"]).unwrap())
        .build()
        .unwrap();
    let found = async |peer: &str, forwarded: &str| {
        let request = with(from(peer), "x-forwarded-for", forwarded);
        let client = identify(&layer, request).await;
        (client.address.to_string(), client.network.to_string())
    };
    let both = |text: &str| (text.to_owned(), text.to_owned());
    let (stranger, client) = (both("203.0.113.7"), both("192.0.2.1"));
    for peer in [
        "[64:ff9b::203.0.113.7]:1",
        "[2001:db8:64::203.0.113.7]:1",
        "203.0.113.7:1",
    ] {
        assert_eq!(found(peer, "192.0.2.1").await, stranger, "{peer}");
    }
    // A proxy of ours, 10.0.0.1, behind our own translator.
    for forwarded in [
        "192.0.2.1",
        "64:ff9b::192.0.2.1",
        "[2001:db8:64::192.0.2.1]:443",
        "198.51.100.1, 2001:db8:64::192.0.2.1, 2001:db8:64::10.0.0.2",
    ] {
        assert_eq!(
            found("[2001:db8:64::10.0.0.1]:1", forwarded).await,
            client,
            "{forwarded}"
        );
    }
    // Nobody becomes a proxy of ours by the well-known prefix, nor anybody's IPv4 address by 6to4.
    let inner = ("64:ff9b::a00:1".to_owned(), "64:ff9b::/64".to_owned());
    assert_eq!(found("[64:ff9b::10.0.0.1]:1", "192.0.2.1").await, inner);
    let (_, network) = found("[2002:cb00:7107:5::1]:1", "192.0.2.1").await;
    assert_eq!(network, "2002:cb00:7107::/48");
}

#[test]
fn an_ipv6_prefix_is_1_to_128_bits() {
    for bits in [1, 64, 128] {
        assert!(IdentifyLayer::builder().ipv6_prefix(bits).build().is_ok());
    }
    for bits in [0, 129] {
        let message = IdentifyLayer::builder()
            .ipv6_prefix(bits)
            .build()
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            format!("`ipv6_prefix` cannot be `{bits}`: allowed is 1 to 128 bits")
        );
    }
}

#[tokio::test]
async fn extractors_see_the_request_and_only_configured_countries_become_labels() {
    let layer = behind_proxies()
        .user(|request: &Parts| Some(request.headers.get("subject")?.to_str().ok()?.to_owned()))
        .country(
            ["GB"].iter().map(|code| code.parse().unwrap()).collect(),
            |request: &Parts, origin: &Origin| {
                let header = request
                    .headers
                    .get("country")
                    .filter(|_| origin.via_trusted_proxy)?;
                header.to_str().ok()?.parse().ok()
            },
        )
        .route(|method: &Method, uri: &Uri, _: &Extensions| {
            (method == Method::GET && uri.path() == "/").then(|| Route::from("/"))
        })
        .secret(Secret::from_bytes(b"shared between processes"))
        .build()
        .unwrap();
    for (peer, country, label) in [
        ("10.0.0.1:1", "uk", "GB"),
        ("10.0.0.1:1", "DE", "other"),
        ("10.0.0.1:1", "a\"}", "other"),
        ("192.0.2.1:1", "GB", "other"),
    ] {
        let request = with(with(from(peer), "country", country), "subject", "ada");
        let client = identify(&layer, request).await;
        assert_eq!(client.country.as_str(), label, "{peer} {country}");
        assert_eq!(client.user.unwrap().as_str(), "ada");
        assert_eq!(client.route.as_str(), "/");
    }
    let client = identify(&layer, with(from("10.0.0.1:1"), "subject", "Ada Lovelace")).await;
    let expected = UserId::new(
        "Ada Lovelace",
        &Secret::from_bytes(b"shared between processes"),
    );
    assert_eq!(client.user, Some(expected));
    assert_eq!(identify(&layer, from("10.0.0.1:1")).await.user, None);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_connect_info_is_the_peer_and_an_explicit_peer_beats_it() {
    let layer = IdentifyLayer::builder().build().unwrap();
    let info = axum::extract::ConnectInfo::<std::net::SocketAddr>("192.0.2.1:1".parse().unwrap());
    let mut request = Request::new(());
    request.extensions_mut().insert(info);
    assert_eq!(
        identify(&layer, request).await.address.to_string(),
        "192.0.2.1"
    );
    let mut request = from("192.0.2.2:1");
    request.extensions_mut().insert(info);
    assert_eq!(
        identify(&layer, request).await.address.to_string(),
        "192.0.2.2"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn requests_without_a_peer_are_one_client_and_warned_of_once() {
    let warnings = Warnings::count_from_now();
    let layer = behind_proxies().build().unwrap();
    identify(&layer, from("192.0.2.1:1")).await;
    assert_eq!(warnings.so_far(), 0);
    for _ in 0..3 {
        let request = with(Request::new(()), "x-forwarded-for", "203.0.113.9");
        assert_eq!(
            identify(&layer, request).await.address.to_string(),
            "0.0.0.0"
        );
    }
    assert_eq!(warnings.so_far(), 1);
}
