//! What a process takes of the machine's memory.

use std::process::Command;

/// Set in a process that has one test to run.
const ALONE: &str = "PALISADE_TESTS_ALONE";

/// Whether this process runs `test`, which calls this, and no other test.
///
/// If not, it first starts such a process, waits for it and prints what it printed:
///
/// ```ignore
/// #[test]
/// fn a_store_stays_small() {
///     if !is_alone(a_store_stays_small) {
///         return;
///     }
///     let before = resident();
/// }
/// ```
///
/// # Panics
/// The test fails in that process, or is not found there.
#[must_use]
pub fn is_alone<T: Fn()>(_test: T) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let (_, name) = std::any::type_name::<T>()
        .split_once("::")
        .expect("a path that starts with its crate");
    // Of two threads, so that the test has one of its own: the main thread's memory is managed in another way.
    let output = Command::new(std::env::current_exe().expect("the path of this program"))
        .args([name, "--exact", "--nocapture", "--test-threads=2"])
        .env(ALONE, "")
        .output()
        .expect("this program starts again");
    let printed = String::from_utf8_lossy(&output.stdout);
    println!("{printed}");
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{name} failed alone: {}",
        output.status
    );
    false
}

/// Resident bytes of this process, but for those of its program, which are more the more of it ran.
///
/// # Panics
/// This is not Linux, which tells them in `/proc`.
#[must_use]
pub fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm")
        .expect("Linux tells a process's memory in /proc");
    let mut pages = statm.split(' ').skip(1).map(|pages| pages.parse::<usize>());
    let (Some(Ok(resident)), Some(Ok(of_files))) = (pages.next(), pages.next()) else {
        panic!("the second number is the resident pages, and the third those of files");
    };
    (resident - of_files) * 4096
}
