//! Access logs: read, line by line, into what a replay needs, in the order of time.
mod forwarding;
mod intern;
mod line;
mod request;
mod timestamp;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Method, StatusCode, Uri};

pub(crate) use self::forwarding::Forwarding;
use self::intern::Interner;
pub(crate) use self::line::Unreadable;
use crate::failure::Failure;
use crate::replay::progress::Progress;
use crate::replay::source::{self, Line};

/// The lines of all files in the order of time. Values that repeat are held once and referred to by number.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    /// Of the clients, behind any trusted proxies.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) users: Vec<Arc<str>>,
    pub(crate) requests: Vec<(Method, Uri)>,
    /// How many lines there were, readable or not.
    pub(crate) lines: u64,
    pub(crate) unreadable: BTreeMap<Unreadable, u64>,
    /// Where the first line that cannot be read stands, and why it cannot.
    pub(crate) first_unreadable: Option<String>,
    /// How many lines say, by the forwarding header, for whom a peer asked that is no trusted proxy.
    pub(crate) forwarded_ignored: u64,
}

/// One request: 24 bytes, so that a long log fits in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// An index in [`Log::addresses`].
    pub(crate) address: u32,
    /// An index in [`Log::requests`].
    pub(crate) request: u32,
    /// An index in [`Log::users`], or [`Entry::ANONYMOUS`].
    user: u32,
    pub(crate) status: StatusCode,
}

const _: () = assert!(size_of::<Entry>() == 24);

impl Entry {
    const ANONYMOUS: u32 = u32::MAX;

    pub(crate) fn user(&self) -> Option<usize> {
        (self.user != Self::ANONYMOUS).then_some(self.user as usize)
    }
}

impl Log {
    /// More lines than this would overflow the numbers of [`Entry`].
    const MOST_LINES: usize = u32::MAX as usize;

    /// Reads the files, `-` being the standard input.
    pub(crate) fn read(files: &[PathBuf], forwarding: &Forwarding) -> Result<Self, Failure> {
        let progress = Progress::of_bytes(source::total_size(files.iter().map(PathBuf::as_path)));
        let mut reading = Reading::new(forwarding);
        for file in files {
            let name = file.display();
            let failed = |error| Failure::Input(format!("{name}: {error}"));
            let source = source::open(file).map_err(failed)?;
            let mut number = 0_u64;
            source::for_each_line(progress.reading(source), |line| {
                number += 1;
                reading.line(file, number, line);
                Ok(())
            })
            .map_err(failed)?;
        }
        let mut log = reading.log;
        if log.entries.len() > Self::MOST_LINES {
            return Err(Failure::Input(format!(
                "the logs hold more than {} lines: replay them in parts",
                Self::MOST_LINES
            )));
        }
        if log.entries.is_empty() {
            return Err(Failure::Input(match log.first_unreadable {
                Some(first) => format!("none of the {} lines can be read; {first}", log.lines),
                None => "the logs hold no lines".to_owned(),
            }));
        }
        log.entries.sort_by_key(|entry| entry.at);
        Ok(log)
    }
}

struct Reading<'a> {
    forwarding: &'a Forwarding,
    log: Log,
    addresses: Interner<IpAddr>,
    users: Interner<Vec<u8>>,
    requests: Interner<Vec<u8>>,
}

impl<'a> Reading<'a> {
    fn new(forwarding: &'a Forwarding) -> Self {
        Self {
            forwarding,
            log: Log::default(),
            addresses: Interner::new(),
            users: Interner::new(),
            requests: Interner::new(),
        }
    }

    fn line(&mut self, file: &Path, number: u64, line: Line<'_>) {
        self.log.lines += 1;
        let (text, parsed) = match line {
            Line::Whole(text) => (text, line::parse(text)),
            Line::TooLong => (&b""[..], Err(Unreadable::TooLong)),
        };
        let entered = parsed.and_then(|line| {
            let client = self.forwarding.client(&line)?;
            self.entry(&line, client);
            Ok(())
        });
        match entered {
            Ok(()) => {}
            Err(why) => {
                *self.log.unreadable.entry(why).or_default() += 1;
                self.log
                    .first_unreadable
                    .get_or_insert_with(|| describe(file, number, text, why));
            }
        }
    }

    fn entry(&mut self, line: &line::Line<'_>, client: IpAddr) {
        self.log.forwarded_ignored += u64::from(self.forwarding.is_ignored(line));
        let log = &mut self.log;
        let address = self
            .addresses
            .number(&client, |address| log.addresses.push(*address));
        let user = line.user.map(|user| {
            let remember = |user: &[u8]| log.users.push(String::from_utf8_lossy(user).into());
            self.users.number(user, remember)
        });
        let request = self.requests.number(request::head(line.request), |head| {
            log.requests.push(request::parse(head));
        });
        log.entries.push(Entry {
            at: line.at,
            address,
            request,
            user: user.unwrap_or(Entry::ANONYMOUS),
            status: line.status,
        });
    }
}

fn describe(file: &Path, number: u64, text: &[u8], why: Unreadable) -> String {
    const SHOWN: usize = 60;
    let start = text.get(..SHOWN).unwrap_or(text).escape_ascii();
    let more = if text.len() > SHOWN { "…" } else { "" };
    let shown = if text.is_empty() {
        String::new()
    } else {
        format!(": {start}{more}")
    };
    format!("{}:{number}: {why}{shown}", file.display())
}
