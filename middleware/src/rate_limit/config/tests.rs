use crate::config::Config;
use crate::model::{Quota, Segment};

#[test]
fn a_quota_can_depend_on_the_segment_within_the_policys_own_window() {
    let text = "[rate_limit.policies.user]\nquota = '60/1m'\n[rate_limit.policies.user.by_segment]\n\
                vip = '120/1m'\nat_risk = '1/1m'";
    let config = Config::from_toml(text).unwrap();
    let user = &config.rate_limit.policies[1];
    let quotas: Vec<_> = user.get_segment_quotas().iter().collect();
    let quota = |text: &str| text.parse::<Quota>().unwrap();
    assert_eq!(
        quotas,
        [
            &(Segment::AtRisk, quota("1/1m")),
            &(Segment::Vip, quota("120/1m"))
        ]
    );
    for (line, expected) in [
        (
            "vip = '120/2m'",
            "`rate_limit.policies.user.by_segment.vip` cannot be `120/2m`: allowed is a quota with the policy's own \
             window, 1m",
        ),
        (
            "vip = '0/1m'",
            "`rate_limit.policies.user.by_segment.vip` cannot be `0/1m`",
        ),
        ("vips = '120/1m'", "unknown variant `vips`"),
    ] {
        let text = format!("[rate_limit.policies.user.by_segment]\n{line}");
        let error = Config::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}
