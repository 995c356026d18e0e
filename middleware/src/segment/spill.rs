//! What the store did not take by the end of the process: a file that the next start reads.
//!
//! A first line that says what the file is, then a line for each change:
//!
//! ```text
//! palisade-changes 1 USD
//! order 1767225600000 1999 5f0c8e1a2b3c4d5e6f708192 ada
//! refund 1767225660000 500 0102030405060708090a0b0c ada
//! activity 1767225660000 bob
//! ```
//!
//! Each file has a name of its own, the configured one and a random number, so that no process writes over another's, nor
//! removes one that it has not read.
//!
//! Invariants: a file stands under its name whole or not at all; it goes once the store has all that was read of it, or once a
//! newer file has it. A change carries its own moment and an order counts once by its key, so a file that is read twice does
//! no harm.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::registry::Registry;
use super::{Change, Currency, Event, OrderKey, Timestamp};
use crate::ConfigError;
use crate::model::UserId;

/// Most changes of a file: some 100 MB.
const MOST: usize = 1 << 20;
/// The longest file that is read: each of the most changes with the longest line.
const LONGEST: u64 = MOST as u64 * 160;
/// How many broken lines of a file are told one by one.
const TOLD: usize = 10;

pub(super) struct Spill {
    path: PathBuf,
    currency: Currency,
    /// The files whose changes wait in this process.
    read: Mutex<Vec<PathBuf>>,
}

impl Spill {
    /// Sees to it that a file can be written there, long before it must be.
    pub(super) fn new(path: PathBuf, currency: Currency) -> Result<Self, ConfigError> {
        let spill = Self {
            path,
            currency,
            read: Mutex::default(),
        };
        let why = if spill.path.is_dir() {
            "it is a folder".to_owned()
        } else {
            let tried = spill
                .temporary()
                .and_then(|(place, _)| fs::remove_file(place));
            match tried {
                Ok(()) => return Ok(spill),
                Err(error) => error.to_string(),
            }
        };
        let allowed = format!("a file in a folder that exists and can be written to ({why})");
        let value = spill.path.display();
        Err(ConfigError::new("spill_file", value, allowed))
    }

    fn read_files(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files that wait.
    fn waiting(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder(&self.path))? {
            let name = entry?.file_name();
            let number = self.path.file_name().and_then(|file| {
                let rest = name.as_encoded_bytes();
                rest.strip_prefix(file.as_encoded_bytes())?
                    .strip_prefix(b".")
            });
            if number.is_some_and(is_number) {
                found.push(folder(&self.path).join(name));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The changes that earlier processes left.
    pub(super) fn read(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let waiting = self.waiting().unwrap_or_else(|error| {
            unreadable(&self.path, &error);
            Vec::new()
        });
        for path in waiting {
            let text = match read_bounded(&path) {
                Ok(text) => text,
                // Another process has just removed it: its store has it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    unreadable(&path, &error);
                    continue;
                }
            };
            let mut lines = text.split_inclusive(|byte| *byte == b'\n');
            if lines.next() != Some(self.title().as_bytes()) {
                let title = format!("its first line is not `{}`", self.title().trim_end());
                unreadable(&path, &io::Error::other(title));
                continue;
            }
            let (before, mut broken) = (changes.len(), 0);
            for (index, line) in lines.enumerate() {
                match parse(line) {
                    Ok(change) => changes.push(change),
                    Err(why) => {
                        broken += 1;
                        if broken <= TOLD {
                            tracing::error!(
                                target: "palisade::segment",
                                event = "spill_line_broken",
                                file = %path.display(),
                                line = index + 2,
                                error = why,
                                "a line of the file of unwritten changes is lost"
                            );
                        }
                    }
                }
            }
            tracing::info!(
                target: "palisade::segment",
                event = "spill_read",
                file = %path.display(),
                changes = changes.len() - before,
                broken,
                "an earlier process left changes to customers' records: they are written now"
            );
            self.read_files().push(path);
        }
        changes
    }

    /// Keeps these changes in a file, in place of the files that were read; returns how many it holds.
    fn write(&self, changes: &[Change]) -> io::Result<usize> {
        let changes = &changes[..changes.len().min(MOST)];
        let mut text = self.title();
        for change in changes {
            push_line(&mut text, change);
        }
        let (temporary, mut file) = self.temporary()?;
        let place = temporary.with_extension("");
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, &place))
            .and_then(|()| File::open(folder(&self.path))?.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        let read = std::mem::replace(&mut *self.read_files(), vec![place]);
        for old in read {
            remove(&old);
        }
        Ok(changes.len())
    }

    /// The store has all that was read.
    pub(super) fn settle(&self) {
        let read = std::mem::take(&mut *self.read_files());
        for path in read {
            if remove(&path) {
                tracing::info!(
                    target: "palisade::segment",
                    event = "spill_applied",
                    file = %path.display(),
                    "the store has the changes that an earlier process left, and their file is removed"
                );
            }
        }
    }

    fn title(&self) -> String {
        format!("palisade-changes 1 {}\n", self.currency)
    }

    /// A new file in the same folder, for its owner alone.
    fn temporary(&self) -> io::Result<(PathBuf, File)> {
        let Some(name) = self.path.file_name() else {
            return Err(io::Error::other("no name of a file"));
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let mut temporary = name.to_owned();
        temporary.push(format!(".{:016x}.tmp", u64::from_le_bytes(random)));
        let path = folder(&self.path).join(temporary);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok((path, file))
    }
}

impl Registry {
    /// Takes what earlier processes left; this process writes it as its own.
    pub(super) fn take_over(&self) {
        let Some(spill) = &self.spill else { return };
        let changes = spill.read();
        if changes.is_empty() {
            spill.settle();
        }
        for change in changes {
            self.restore(change);
        }
    }

    /// Keeps what waits in the file, if there is one; how many changes it holds, and how many are left out.
    pub(super) async fn spill(self: &Arc<Self>) -> (usize, usize) {
        let left = self.writer.left();
        if self.spill.is_none() || left == 0 {
            return (0, left);
        }
        let registry = Arc::clone(self);
        let writing = tokio::task::spawn_blocking(move || registry.spill_here());
        // It ends badly only with its runtime.
        writing.await.unwrap_or((0, left))
    }

    fn spill_here(&self) -> (usize, usize) {
        let left = self.writer.left();
        let Some(spill) = &self.spill else {
            return (0, left);
        };
        let changes = self.gather(self.writer.unwritten());
        match spill.write(&changes) {
            Ok(spilled) => {
                tracing::warn!(
                    target: "palisade::segment",
                    event = "customers_spilled",
                    file = %spill.path.display(),
                    changes = spilled,
                    "changes to customers' records wait in a file for the next start"
                );
                (spilled, changes.len() - spilled)
            }
            Err(error) => {
                tracing::error!(
                    target: "palisade::segment",
                    event = "spill_failed",
                    file = %spill.path.display(),
                    %error,
                    "changes to customers' records cannot be kept in the file"
                );
                (0, left)
            }
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn unreadable(path: &Path, error: &io::Error) {
    tracing::error!(
        target: "palisade::segment",
        event = "spill_unreadable",
        file = %path.display(),
        %error,
        "the changes that an earlier process left cannot be read: they stay in their file"
    );
}

/// Whether the file is gone by this call. Another process may have been first.
fn remove(path: &Path) -> bool {
    match fs::remove_file(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::error!(
                target: "palisade::segment",
                event = "spill_failed",
                file = %path.display(),
                %error,
                "a file of changes that are written cannot be removed: the next start writes them again, which does no harm"
            );
            false
        }
    }
}

/// Whether this is the random number of a file.
fn is_number(text: &[u8]) -> bool {
    text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit)
}

/// The bytes of a file. What is none (a pipe, a device), or is longer than any that was written, is not read.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if metadata.len() > LONGEST {
        let why = format!("it has more than {LONGEST} bytes");
        return Err(io::Error::other(why));
    }
    fs::read(path)
}

pub(super) fn push_line(text: &mut String, change: &Change) {
    let (at, customer) = (change.at.as_millis(), &change.customer);
    let _ = match change.event {
        Event::Activity => writeln!(text, "activity {at} {customer}"),
        Event::Order { key, amount } => writeln!(text, "order {at} {amount} {key} {customer}"),
        Event::Refund { key, amount } => writeln!(text, "refund {at} {amount} {key} {customer}"),
    };
}

/// A change, or why the line is none. The text of the line is not repeated.
pub(super) fn parse(line: &[u8]) -> Result<Change, &'static str> {
    let line = line.strip_suffix(b"\n").ok_or("it has no end")?;
    let line = std::str::from_utf8(line).map_err(|_| "it is no text")?;
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or("it is too short");
    let kind = word()?;
    let at = word()?.parse().map_err(|_| "its moment is no number")?;
    let event = match kind {
        "activity" => Event::Activity,
        "order" | "refund" => {
            let amount: i64 = word()?.parse().map_err(|_| "its amount is no number")?;
            if !(0..=Registry::MOST).contains(&amount) {
                return Err("its amount is below zero or beyond 2^53 - 1");
            }
            let key = key(word()?).ok_or("its key is not 24 hexadecimal digits")?;
            if kind == "order" {
                Event::Order { key, amount }
            } else {
                Event::Refund { key, amount }
            }
        }
        _ => return Err("its kind is unknown"),
    };
    let customer = UserId::kept(word()?).ok_or("its customer is no id")?;
    if words.next().is_some() {
        return Err("it is too long");
    }
    Ok(Change {
        customer,
        at: Timestamp::from_millis(at),
        event,
    })
}

fn key(digits: &str) -> Option<OrderKey> {
    let mut key = [0; 12];
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(key.into())
}
