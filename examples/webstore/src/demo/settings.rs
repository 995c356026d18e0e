//! What the demo sets where the file is silent.

use std::net::SocketAddr;
use std::path::Path;

use palisade::ConfigError;
use palisade::client::{Secret, TrustedProxies};
use palisade::config::Config;
use toml::Table;
use toml::map::Entry;

const DEMO: &str = include_str!("demo.toml");

/// Sections that are the file's alone, if it has them: a part of the demo's could contradict the rest.
const WHOLE: [&str; 3] = ["suspicion.bans", "rate_limit.policies.user", "sessions"];

/// The settings of a file, and those of `demo.toml` for what it does not say.
///
/// # Errors
/// A file that cannot be used, with the demo or without.
pub fn settings(file: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(path) = file else {
        return Config::from_toml(DEMO);
    };
    // As it is written first, so that a mistake is told at its place.
    let alone = Config::from_file(path)?;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    match with_demo(&text) {
        Some(text) => Config::from_toml(&text).map_err(|error| error.in_file(path)),
        None => Ok(alone),
    }
}

/// The text of a file that can be used, completed; `None` for what is no TOML.
fn with_demo(text: &str) -> Option<String> {
    let mut file: Table = text.parse().ok()?;
    let mut demo: Table = DEMO.parse().ok()?;
    // `rate_limit.user` is short for the quota of `rate_limit.policies.user`.
    let limits = file.get("rate_limit").and_then(toml::Value::as_table);
    if limits.is_some_and(|limits| limits.contains_key("user")) {
        demo.remove("rate_limit");
    }
    complete(&mut file, demo, "");
    toml::to_string(&file).ok()
}

fn complete(file: &mut Table, demo: Table, at: &str) {
    for (key, value) in demo {
        let path = if at.is_empty() {
            key.clone()
        } else {
            format!("{at}.{key}")
        };
        match (file.entry(key), value) {
            (Entry::Vacant(vacant), value) => {
                vacant.insert(value);
            }
            (Entry::Occupied(mut found), toml::Value::Table(demo))
                if !WHOLE.contains(&path.as_str()) =>
            {
                if let Some(found) = found.get_mut().as_table_mut() {
                    complete(found, demo, &path);
                }
            }
            (Entry::Occupied(_), _) => {}
        }
    }
}

/// A secret for a demo for which none is configured: with it, tokens that the shop did not make count as guesses, and on Redis
/// there can be sessions.
///
/// # Errors
/// A secret that cannot be used, or a system without random bytes.
pub fn secret(config: &Config) -> Result<Option<Secret>, ConfigError> {
    match config.secret()? {
        Some(_) => Ok(None),
        None => Secret::random().map(Some),
    }
}

/// Why the demo cannot run on these listeners with these settings: it claims addresses, so whoever can connect must be
/// allowed to.
pub fn obstacle(listen: SocketAddr, admin: SocketAddr, config: &Config) -> Option<String> {
    for (option, address) in [("--listen", listen), ("--admin", admin)] {
        if !address.ip().is_loopback() {
            return Some(format!(
                "{option} cannot be {address} with --demo: allowed is a loopback address, such as 127.0.0.1:{}, since \
                 the demo lets whoever connects claim any client address",
                address.port()
            ));
        }
    }
    let trusted = config.client.trusted_proxies.iter().map(String::as_str);
    let is_trusted =
        TrustedProxies::parse(trusted).is_ok_and(|trusted| trusted.contains(listen.ip()));
    (!is_trusted).then(|| {
        format!(
            "`client.trusted_proxies` does not contain {} and must with --demo, whose visitors come from there: leave the \
             setting out, or add 127.0.0.0/8 to it",
            listen.ip()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use palisade::config::CountVisitors;
    use palisade::suspicion::IncidentKind;

    use super::*;

    fn with(text: &str) -> Result<Config, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        settings(Some(file.path()))
    }

    #[test]
    fn without_a_file_every_kind_of_suspicion_and_bans_are_on_and_loopback_is_trusted() {
        for config in [settings(None).unwrap(), with("").unwrap()] {
            assert_eq!(config.suspicion.watches.len(), IncidentKind::ALL.len());
            let bans = config.suspicion.bans.as_ref().unwrap();
            assert_eq!(bans.sentence.first(), Duration::from_secs(20));
            assert_eq!(bans.kinds.len(), 5, "those that name their client");
            assert!(config.segments.is_some());
            assert_eq!(config.funnel.visitors, CountVisitors::Unsaid);
            let local = "127.0.0.1:8000".parse().unwrap();
            assert_eq!(obstacle(local, local, &config), None);
        }
    }

    #[test]
    fn what_the_file_says_holds() {
        let config = with(
            "[suspicion]\npassword_spraying = 'off'\nabuse = '7/1m'\n[suspicion.bans]\nlongest = '5s'\n\
             [rate_limit]\nuser = '30/2m'\n[segments]\nenabled = false\n[funnel]\nvisitors = 'off'\n",
        );
        let config = config.unwrap();
        assert_eq!(config.suspicion.watches.len(), IncidentKind::ALL.len() - 1);
        let bans = config.suspicion.bans.unwrap();
        assert_eq!(bans.sentence.first(), Duration::from_secs(5));
        assert_eq!(config.rate_limit.policies.len(), 2);
        assert!(!config.segments.unwrap().enabled);
        assert_eq!(config.funnel.visitors, CountVisitors::Off);
    }

    #[test]
    fn a_mistake_is_told_as_without_the_demo() {
        let error = with("[suspicion]\nabuse = 'often'\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`suspicion.abuse` cannot be `often`"),
            "{error}"
        );
    }

    #[test]
    fn only_trusted_loopback_will_do() {
        let config = settings(None).unwrap();
        let [local, other, any, public] =
            ["127.0.0.1:8000", "[::1]:1", "0.0.0.0:8000", "192.0.2.1:80"]
                .map(|text| text.parse().unwrap());
        assert_eq!(obstacle(other, local, &config), None);
        assert!(
            obstacle(any, local, &config)
                .unwrap()
                .starts_with("--listen cannot be 0.0.0.0:8000")
        );
        assert!(
            obstacle(local, public, &config)
                .unwrap()
                .starts_with("--admin")
        );
        let config = with("[client]\ntrusted_proxies = ['10.0.0.0/8']\n").unwrap();
        assert!(
            obstacle(local, local, &config)
                .unwrap()
                .contains("`client.trusted_proxies`")
        );
    }
}
