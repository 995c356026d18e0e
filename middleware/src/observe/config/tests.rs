use crate::config::Config;

#[test]
fn the_access_log_has_its_lines_a_second_or_is_off() {
    let read = |text: &str| Config::from_toml(text).map(|config| config.log.access);
    assert_eq!(read(""), Ok(None));
    assert_eq!(read("[log]"), Ok(None));
    assert_eq!(read("log.access = 'off'"), Ok(Some(0)));
    for lines in [0, 10, 1000] {
        assert_eq!(read(&format!("log.access = {lines}")), Ok(Some(lines)));
    }
    for (written, shown) in [
        ("1001", "1001"),
        ("-1", "-1"),
        ("'on'", "on"),
        ("'10'", "10"),
        ("1.5", "1.5"),
        ("true", "true"),
        ("{}", "table"),
    ] {
        let error = read(&format!("log.access = {written}")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`log.access` cannot be `{shown}`: allowed is a whole number from 0 to 1000 lines in a second, or `off`"
            )
        );
    }
    let error = read("log.acces = 10").unwrap_err();
    assert!(error.to_string().contains("acces"), "{error}");
}
