use crate::config::Config;

#[test]
fn never_prints_the_redis_url() {
    let config = Config::from_toml("store.redis_url = 'redis://:hunter2@localhost'").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
