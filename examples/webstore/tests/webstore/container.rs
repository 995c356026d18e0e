//! What a container needs of the program: a health check without curl, and a log that another container reads.

use crate::support::{Webstore, run};

#[test]
fn the_health_check_tells_ready_from_draining_and_from_gone() {
    let store = Webstore::start(&[]);
    let url = |path: &str| format!("http://{}{path}", store.admin);
    let health = |url: &str| {
        let output = run(&["--health", url]);
        assert_eq!(output.stdout, b"");
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(health(&url("/readyz")), (Some(0), String::new()));
    let by_name = format!("http://localhost:{}/readyz", store.admin.port());
    assert_eq!(health(&by_name), (Some(0), String::new()));

    let (status, said) = health(&url("/nothing"));
    assert_eq!(status, Some(1));
    assert!(said.contains("/nothing: HTTP/1.1 404"), "{said}");

    let gone = url("/readyz");
    drop(store);
    let (status, said) = health(&gone);
    assert_eq!(status, Some(1));
    assert!(said.contains("refused"), "{said}");

    for wrong in ["https://127.0.0.1:1/", "/readyz"] {
        let (status, said) = health(wrong);
        assert_eq!(status, Some(1));
        assert!(said.contains("not an absolute http URL"), "{said}");
    }
}

#[test]
fn the_log_file_gets_the_lines_that_stderr_gets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("webstore.log");
    let mut store = Webstore::start(&["--log-file", path.to_str().unwrap()]);
    store.signal("TERM");
    let draining = store.wait_for_log("draining");
    assert_eq!(store.wait().0, Some(0));
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.contains(&draining), "{lines:?}");
}

#[test]
fn a_log_file_that_cannot_be_written_is_named_and_exits_1() {
    let output = run(&["--log-file", "/nowhere/webstore.log"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("/nowhere/webstore.log") && said.contains("--log-file"),
        "{said}"
    );
}
