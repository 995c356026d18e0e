//! The secret that keys the hashes.

use std::path::Path;

use palisade::config::Config;

use super::report::Report;

pub(super) const CHECK: &str = "secret";
const MAKE: &str = "make one (`head -c 32 /dev/urandom | base64`) and give it to every process that shares the Redis, by \
                    store.secret_file or PALISADE_SECRET";

pub(super) fn check(config: &Config, report: &mut Report) {
    let by_environment =
        std::env::var_os("PALISADE_SECRET").is_some_and(|secret| !secret.is_empty());
    match config.secret() {
        // Its words name the key and the file, never the content.
        Err(error) => report.fail(CHECK, error.to_string(), MAKE),
        Ok(Some(_)) if by_environment => {
            report.ok(CHECK, "set by PALISADE_SECRET, of 16 bytes or more");
        }
        Ok(Some(_)) => match &config.store.secret_file {
            Some(path) => of_file(path, report),
            None => report.ok(CHECK, "set"),
        },
        Ok(None) if config.store.redis_url.is_some() && config.sessions.is_some() => report.fail(
            CHECK,
            "none: with [sessions] on Redis a service does not start, since each process would refuse the others' sessions",
            MAKE,
        ),
        Ok(None) if config.store.redis_url.is_some() => report.warn(
            CHECK,
            "none: each process draws its own, so odd user ids and accounts are other keys in each",
            MAKE,
        ),
        Ok(None) => report.ok(CHECK, "none, and none is needed: nothing is shared"),
    }
}

fn of_file(path: &Path, report: &mut Report) {
    let shown = path.display();
    match open_to(path) {
        Some(mode) if mode & 0o077 != 0 => report.warn(
            CHECK,
            format!(
                "{shown} holds one, and other users of the machine may open it (mode {mode:03o})"
            ),
            format!("chmod 400 {shown}"),
        ),
        _ => report.ok(CHECK, format!("{shown} holds one of 16 bytes or more")),
    }
}

/// The permissions of a file, where there are any.
fn open_to(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(path).ok()?;
        Some(metadata.permissions().mode() & 0o777)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}
