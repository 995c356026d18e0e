//! What this process takes of the machine's memory.

/// Resident bytes of this process.
///
/// # Panics
/// This is not Linux, which tells them in `/proc`.
#[must_use]
pub fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm")
        .expect("Linux tells a process's memory in /proc");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number is the resident pages") * 4096
}
