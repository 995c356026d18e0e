use std::time::Duration;

use super::*;
use crate::config::Config;

#[test]
fn the_kinds_of_logins_are_off_until_they_are_set() {
    let thresholds = |toml: &str| {
        let config = Config::from_toml(toml).unwrap();
        let thresholds = config.suspicion.watches.into_iter();
        thresholds
            .filter(|(kind, _)| kind.is_of_logins())
            .map(|(kind, watch)| format!("{kind} {}", watch.threshold))
            .collect::<Vec<_>>()
    };
    assert!(thresholds("").is_empty());
    let off = "suspicion.password_spraying = 'off'\nsuspicion.success_after_failures = 'off'";
    assert!(thresholds(off).is_empty());
    let on = "[suspicion]\npassword_spraying = '6/10m'\ndistributed_stuffing = '64/24h'\nsuccess_after_failures = ";
    for (written, read) in [("'on'", "1/1h"), ("'30m'", "1/30m")] {
        let expected = [
            "password_spraying 6/10m",
            "distributed_stuffing 64/1d",
            &format!("success_after_failures {read}"),
        ];
        assert_eq!(thresholds(&format!("{on}{written}")), expected);
    }
}

#[test]
fn bans_are_off_without_their_section_and_its_defaults_are_the_documented_ones() {
    let read = |text: &str| Config::from_toml(text).unwrap().suspicion.bans;
    assert!(read("").is_none() && read("[suspicion]").is_none());
    let bans = read("[suspicion.bans]").unwrap();
    assert_eq!(bans.sentence, Sentence::default());
    let counted = SuspicionConfig::default().watches.into_iter();
    assert!(counted.map(|(kind, _)| kind).eq(bans.kinds));
    assert_eq!(bans.response, BanResponse::TooManyRequests);
    assert!(!bans.dry_run);
    let bans = read(
        "[suspicion]\nabuse = 'off'\n[suspicion.bans]\nfor = '1h'\nlongest = '7d'\njitter = 0\n\
         kinds = ['endpoint_scanning']\nresponse = 'forbidden'\nmode = 'dry_run'",
    );
    let bans = bans.unwrap();
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let sentence = Sentence::new(hours(1), hours(7 * 24)).unwrap();
    assert_eq!(bans.sentence, sentence.jitter(0).unwrap());
    assert_eq!(bans.kinds, [IncidentKind::EndpointScanning]);
    assert_eq!(bans.response, BanResponse::Forbidden);
    assert!(bans.dry_run);
    // What is off cannot be banned for, and a first ban that is not written is no longer than the longest.
    let bans = read("[suspicion]\nabuse = 'off'\n[suspicion.bans]\nlongest = '1m'").unwrap();
    assert!(bans.kinds.len() == 3 && !bans.kinds.contains(&IncidentKind::Abuse));
    assert_eq!(bans.sentence.first(), Duration::from_secs(60));
}

#[test]
fn who_sprays_can_be_banned_for_it_and_nobody_for_what_an_account_met() {
    let logins = "[suspicion]\npassword_spraying = '5/5m'\ndistributed_stuffing = '4/1h'\nsuccess_after_failures = 'on'\n";
    let read = |bans: &str| Config::from_toml(&format!("{logins}[suspicion.bans]\n{bans}"));
    let kinds = |bans: &str| read(bans).unwrap().suspicion.bans.unwrap().kinds;
    let expected = IncidentKind::BY_STATUS
        .into_iter()
        .chain([IncidentKind::PasswordSpraying]);
    assert!(kinds("").into_iter().eq(expected));
    let named = kinds("kinds = ['password_spraying']");
    assert_eq!(named, [IncidentKind::PasswordSpraying]);
    for kind in ["distributed_stuffing", "success_after_failures"] {
        let error = read(&format!("kinds = ['{kind}']"))
            .unwrap_err()
            .to_string();
        let expected = format!("`suspicion.bans.kinds` cannot be `{kind}`: allowed is a kind");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn refuses_bans_with_the_key_the_value_and_what_is_allowed() {
    for (line, expected) in [
        (
            "for = '0s'",
            "`suspicion.bans.for` cannot be `0s`: allowed is a duration of 1s to 30d",
        ),
        (
            "for = 'long'",
            "`suspicion.bans.for` cannot be `long`: allowed is a duration such as",
        ),
        (
            "for = '25h'",
            "`suspicion.bans.for` cannot be `25h`: allowed is a duration of 1s to 30d",
        ),
        (
            "longest = '31d'",
            "`suspicion.bans.longest` cannot be `31d`",
        ),
        (
            "jitter = 101",
            "`suspicion.bans.jitter` cannot be `101`: allowed is a whole number from 0 to 100 percent",
        ),
        (
            "kinds = ['scanning']",
            "`suspicion.bans.kinds` cannot be `scanning`: allowed is a kind that is not `off` and says something of its \
             client: credential_stuffing, endpoint_scanning, credential_stuffing_slow",
        ),
        (
            "kinds = ['abuse']",
            "`suspicion.bans.kinds` cannot be `abuse`",
        ),
        (
            "response = 'teapot'",
            "line 4, column 12, `suspicion.bans.response`: unknown variant `teapot`, expected `too_many_requests` or \
             `forbidden`",
        ),
        ("until = '1h'", "unknown field `until`"),
    ] {
        let text = format!("[suspicion]\nabuse = 'off'\n[suspicion.bans]\n{line}\n");
        let error = Config::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn a_kind_is_a_threshold_or_a_table_with_what_is_told_apart_and_on_which_routes() {
    let watch = |line: &str| {
        let config = Config::from_toml(&format!("[suspicion]\n{line}")).unwrap();
        let mut watches = config.suspicion.watches.into_iter();
        let scanning = watches.find(|(kind, _)| *kind == IncidentKind::EndpointScanning);
        scanning.unwrap().1
    };
    let ten = || Watch::new("10/5m".parse().unwrap());
    assert_eq!(watch("endpoint_scanning = '10/5m'"), ten());
    assert_eq!(watch("endpoint_scanning = { threshold = '10/5m' }"), ten());
    let table = "[suspicion.endpoint_scanning]\nthreshold = '10/5m'\ndistinct = true\nroutes = ['POST /login']";
    let login = "POST /login".parse().unwrap();
    assert_eq!(watch(table), ten().distinct(true).routes([login]));
    let plain = "endpoint_scanning = { threshold = '1000/5m', distinct = false }";
    assert_eq!(watch(plain).distinct, Some(false));
}

#[test]
fn refuses_a_watch_and_a_preset_with_the_key_the_value_and_what_is_allowed() {
    for (text, expected) in [
        (
            "[suspicion]\nendpoint_scanning = { threshold = '65/5m', distinct = true }",
            "`suspicion.endpoint_scanning` cannot be `65/5m`: allowed is a count of at most 64",
        ),
        (
            "[suspicion]\nendpoint_scanning = { threshold = '10/5m', only = true }",
            "unknown field `only`, expected one of `threshold`, `distinct`, `routes`",
        ),
        (
            "[suspicion]\nabuse = { distinct = true }",
            "missing field `threshold`",
        ),
        (
            "[suspicion]\nabuse = 5",
            "expected a threshold such as `10/5m`",
        ),
        (
            "[suspicion]\nabuse = { threshold = '10/5m', routes = ['logn'] }",
            "`suspicion.abuse.routes` cannot be `logn`",
        ),
        (
            "[suspicion]\npassword_spraying = { threshold = '5/5m', distinct = false }",
            "`suspicion.password_spraying.distinct`",
        ),
        (
            "[suspicion]\npassword_spraying = { threshold = '5/5m', routes = ['/login'] }",
            "`suspicion.password_spraying.routes`",
        ),
        (
            "[suspicion]\nexempt = { preset = 'icons' }",
            "unknown variant `icons`, expected `assets`",
        ),
        (
            "[rate_limit]\nexempt = { preset = 'assets' }",
            "`rate_limit.exempt.preset` cannot be `assets`: allowed is nothing here",
        ),
        (
            "[maintenance]\nexempt = { preset = 'assets' }",
            "`maintenance.exempt.preset` cannot be `assets`: allowed is nothing here",
        ),
    ] {
        let error = Config::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(Config::from_toml("suspicion.exempt.preset = 'assets'").is_ok());
}
