use std::time::Duration;

use super::*;
use crate::config::Config;

#[test]
fn visitors_are_counted_within_a_window_or_not_at_all_or_as_the_service_says() {
    let read = |text: &str| Config::from_toml(text).map(|config| config.funnel.visitors);
    let within = |seconds| CountVisitors::Within(Duration::from_secs(seconds));
    for (text, visitors) in [
        ("", CountVisitors::Unsaid),
        ("[funnel]", CountVisitors::Unsaid),
        ("funnel.visitors = 'off'", CountVisitors::Off),
        ("funnel.visitors = '1m'", within(60)),
        ("funnel.visitors = '24h'", within(86_400)),
        ("funnel.visitors = '30d'", within(30 * 86_400)),
    ] {
        assert_eq!(read(text).unwrap(), visitors, "{text}");
    }
    for value in ["", "59s", "30d 1s", "on", "24", "Off"] {
        let error = read(&format!("funnel.visitors = '{value}'")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`funnel.visitors` cannot be `{value}`: allowed is a duration of `1m` to `30d`, or `off`"
            )
        );
    }
    let error = read("funnel.visitor = 'off'").unwrap_err();
    assert!(error.to_string().contains("visitor"), "{error}");
}
