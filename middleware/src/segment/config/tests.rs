use crate::config::Config;

#[test]
fn segments_are_on_with_their_section_unless_it_says_otherwise() {
    assert!(Config::from_toml("").unwrap().segments.is_none());
    let is_on = |text: &str| Config::from_toml(text).unwrap().segments.unwrap().enabled;
    assert!(is_on("[segments]"));
    assert!(!is_on("segments.enabled = false"));
}
