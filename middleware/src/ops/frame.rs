//! The frames of the stream: the page's own part, and the parts of the panels.
//!
//! Names of fields are a contract with the page alone, which comes from the same build.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::hub::Hub;
use crate::model::panel::{Fields, millis};
use crate::task::ticker::{Tick, Ticker};

/// Samples that are kept, one a second.
const HISTORY: usize = 300;
/// How soon a page whose stream broke asks again, in milliseconds.
const RETRY: u64 = 2_000;

impl Tick for Hub {
    fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    /// Takes a sample, and while somebody watches, publishes a frame.
    async fn tick(self: Arc<Self>) {
        let sample = self.sample();
        {
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            while history.len() >= HISTORY {
                history.pop_front();
            }
            history.push_back(sample.clone());
        }
        if !self.line.is_watched() {
            return;
        }
        let mut now = Fields::default();
        now.add_json("sample", &sample);
        for panel in self.panels() {
            panel.refresh();
            panel.now(&mut now);
        }
        let number = self.line.next();
        let head = format!("id: {number}\nevent: now\n");
        self.line.publish(number, event(&head, now));
    }
}

impl Hub {
    /// A moment: totals since start, and its time in milliseconds since 1970. `uptime` is in milliseconds since start, on a
    /// clock that is never set; rates divide by its differences.
    fn sample(&self) -> Box<[u8]> {
        let mut sample = Fields::default();
        let uptime = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        sample.add("at", &millis(SystemTime::now()));
        sample.add("uptime", &uptime);
        for panel in self.panels() {
            panel.sample(&mut sample);
        }
        sample.into_json().into()
    }

    /// The first frame of a stream: the values that do not change, and the last minutes.
    pub(super) fn hello(&self) -> Bytes {
        let mut hello = Fields::default();
        hello.add("service", &self.service);
        hello.add("version", &env!("CARGO_PKG_VERSION"));
        // When the process began to watch.
        hello.add("started", &millis(self.started));
        hello.add("fed", &self.is_fed());
        hello.add("actions", &self.may_act());
        for panel in self.panels() {
            panel.hello(&mut hello);
        }
        hello.add_json("history", &self.history());
        event(&format!("retry: {RETRY}\nevent: hello\n"), hello)
    }

    /// The samples as a list, the oldest first.
    fn history(&self) -> Vec<u8> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = vec![b'['];
        for sample in &*history {
            if list.len() > 1 {
                list.push(b',');
            }
            list.extend_from_slice(sample);
        }
        list.push(b']');
        list
    }
}

/// One server-sent event (HTML, section 9.2). JSON without white space has no line breaks to escape.
fn event(head: &str, data: Fields) -> Bytes {
    let mut text = format!("{head}data: ").into_bytes();
    text.extend(data.into_json());
    text.extend_from_slice(b"\n\n");
    text.into()
}
