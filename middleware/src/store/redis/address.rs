//! The URL of the server: what is read of it, and what is refused by name.

use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use super::connection::KEEPALIVE;
use super::secrets::Secrets;
use crate::ConfigError;
use crate::model::masked;

const ALLOWED: &str = "redis://[<user>[:<password>]@]<host>[:<port>][/<database>], rediss://… or unix://<path>, with user and \
                       password percent-encoded (`@` as `%40`, `/` as `%2F`, `#` as `%23`, `?` as `%3F`, `%` as `%25`)";

/// Reads the URL, and which credentials it holds.
///
/// # Errors
/// A URL that cannot be read, or a part of it that would have no effect.
pub(super) fn read(url: &str) -> Result<(ConnectionInfo, Secrets), ConfigError> {
    let refused = |allowed: &str| ConfigError::new("redis_url", masked(url), allowed);
    if url.starts_with("rediss:") && cfg!(not(feature = "redis-tls")) {
        return Err(refused(
            "a `rediss://` URL only with the feature `redis-tls`",
        ));
    }
    // The parser's own message could repeat the password.
    let parsed = redis::parse_redis_url(url).ok_or_else(|| refused(ALLOWED))?;
    if let Some(fragment) = parsed.fragment() {
        return Err(refused(&if fragment == "insecure" {
            "no `#insecure`: palisade proves every server by its certificate; add an authority of your own by the environment \
             variable SSL_CERT_FILE"
                .to_owned()
        } else {
            format!("no fragment, which has no effect: {ALLOWED}")
        }));
    }
    let is_socket = !matches!(parsed.scheme(), "redis" | "rediss" | "valkey" | "valkeys");
    for (name, value) in parsed.query_pairs() {
        match (&*name, &*value) {
            ("protocol", "3" | "resp3") => {}
            ("protocol", _) => {
                return Err(refused(
                    "no `?protocol=` but `resp3`: palisade speaks RESP3 alone, which tells it when an idle connection ends",
                ));
            }
            ("db" | "user" | "pass", _) if is_socket => {}
            _ => {
                let allowed = if is_socket {
                    "no query but `db`, `user` and `pass`"
                } else {
                    "no query: user, password and database stand before it"
                };
                return Err(refused(&format!("{allowed}; {ALLOWED}")));
            }
        }
    }
    if !is_socket && !parsed.username().is_empty() && parsed.password().is_none() {
        return Err(refused(
            "a user only with a password, `<user>:<password>@`; a password alone is `:<password>@`",
        ));
    }
    let query = parsed.query().unwrap_or_default().split('&');
    let written = query
        .filter_map(|pair| pair.strip_prefix("pass="))
        .chain(parsed.password());
    let written: Vec<_> = written.map(str::to_owned).collect();
    let info = parsed
        .into_connection_info()
        .map_err(|_| refused(ALLOWED))?;
    let decoded = info.redis_settings().password().map(str::to_owned);
    let secrets = Secrets::of(written.into_iter().chain(decoded));
    Ok((with_settings(info), secrets))
}

/// Whether the server is asked through TLS.
pub(super) fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn with_settings(info: ConnectionInfo) -> ConnectionInfo {
    // RESP3, because the client reports the end of an idle connection only there.
    let redis = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(
        TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE),
    );
    info.set_redis_settings(redis).set_tcp_settings(tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match read(url) {
            Ok(_) => panic!("{url} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn accepts_what_has_an_effect() {
        for url in [
            "redis://127.0.0.1:1",
            "redis://u:p@host/3",
            "redis://:p%40ss@host",
            "redis://host?protocol=resp3",
            "unix:///run/redis.sock",
            "unix:///run/redis.sock?db=1&user=u&pass=p",
        ] {
            assert!(read(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn names_the_url_without_its_password() {
        for url in [
            "http://ada:hunter2@host",
            "redis://ada:hunter2@host:port",
            "redis://ada:hunter2@host/not-a-number",
            "ada:hunter2@host",
            "redis://ada:hun@ter2@host:port",
            "unix:?pass=hunter2",
            "redis://ada:hun?ter2@host:6379",
            "redis://:hunter2",
            "redis://ada:hunter2:host:6379",
            "redis://host#hunter2",
            "redis://host?password=hunter2",
            "redis://hunter2@host",
        ] {
            let text = refusal(url);
            assert!(text.contains("redis_url"), "{text}");
            assert!(!text.contains("hun") && !text.contains("ter2"), "{text}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_told_how_to_be() {
        for url in [
            "redis://ada:hun/ter2@host",
            "redis://ada:hun#ter2@host",
            "redis://ada:hun?ter2@host",
            // These would be a host `ada` with a port.
            "redis://ada:12#ter2@host",
            "redis://ada:12?ter2@host",
            "redis://ada:12/ter2@host",
        ] {
            let text = refusal(url);
            assert!(text.contains("percent-encoded"), "{text}");
            assert!(!text.contains("ter2"), "{text}");
        }
    }

    #[test]
    fn refuses_by_name_what_would_have_no_effect() {
        for (url, said) in [
            ("redis://host?protocol=resp2", "RESP3 alone"),
            ("redis://host?protocol=4", "RESP3 alone"),
            ("redis://host?db=3", "no query"),
            ("redis://host?timeout=5s", "no query"),
            ("unix:///run/redis.sock?timeout=5s", "no query but `db`"),
            ("redis://host#insecure", "#insecure"),
            ("redis://host#other", "no fragment"),
            ("redis://ada@host", "only with a password"),
        ] {
            let text = refusal(url);
            assert!(text.contains(said), "{text}");
        }
    }

    #[cfg(feature = "redis-tls")]
    #[test]
    fn refuses_to_trust_everybody() {
        let text = refusal("rediss://host/#insecure");
        assert!(text.contains("SSL_CERT_FILE"), "{text}");
    }

    #[cfg(not(feature = "redis-tls"))]
    #[test]
    fn names_the_feature_that_tls_needs() {
        assert!(refusal("rediss://host").contains("redis-tls"));
    }
}
