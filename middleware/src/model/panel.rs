//! A room's part of the live page: a [`Panel`] is a JavaScript module, and the figures that the module draws.
//!
//! A room has its panel in `panel.rs` and the module in `panel.js`; the stack hands the panels to the page, which knows no
//! room. The head of `ops/page/main.js` says what a module may export. A panel of one figure is:
//!
//! ```ignore
//! struct QueuePanel(Arc<Queue>);
//!
//! impl Panel for QueuePanel {
//!     fn name(&self) -> &'static str {
//!         "queue"
//!     }
//!
//!     fn script(&self) -> &'static str {
//!         include_str!("panel.js")
//!     }
//!
//!     fn now(&self, fields: &mut Fields) {
//!         fields.add("waiting", &self.0.len());
//!     }
//! }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use serde::Serialize;

/// Characters of a client's text that an answer repeats.
const SHOWN: usize = 64;

/// A room's part of the live page.
///
/// The methods that add fields are called on a task of the page's own and must not block. All panels share one object, so
/// a field's name must be the panel's alone.
pub(crate) trait Panel: Send + Sync {
    /// The room's name. The module is served as `panels/<name>.js`, and the page says this name if the panel fails.
    fn name(&self) -> &'static str;

    /// The source of the module.
    fn script(&self) -> &'static str;

    /// Adds the values that do not change, to the first frame of a stream.
    fn hello(&self, fields: &mut Fields) {
        let _ = fields;
    }

    /// Adds totals since start, to the sample of each second; samples are kept for five minutes.
    fn sample(&self, fields: &mut Fields) {
        let _ = fields;
    }

    /// Adds the current values, to the frame of each second in which somebody watches.
    fn now(&self, fields: &mut Fields) {
        let _ = fields;
    }

    /// Starts slow queries on a task of their own, for a later frame. Called when a stream opens, and before each
    /// [`now`](Self::now).
    fn refresh(&self) {}

    /// The actions that an operator has here.
    fn action(&self) -> Option<&dyn Action> {
        None
    }
}

/// Something that an operator can do on the page, with `POST` and a body of JSON.
///
/// The page has checked who asks, and the body's type, size and time.
pub(crate) trait Action: Send + Sync {
    /// Two names below the page's own path, such as `bans/lift`.
    fn path(&self) -> &'static str;

    /// Does it. The future runs on a task of its own, to its end, even if the operator leaves.
    fn act(&self, body: &[u8]) -> Acting;
}

/// An action under way.
pub(crate) type Acting = Pin<Box<dyn Future<Output = Acted> + Send>>;

/// The result of an action.
#[derive(Debug)]
pub(crate) enum Acted {
    /// 200, with this JSON.
    Done(&'static str),
    /// 400: what the body is, and what is allowed.
    Invalid(String),
    /// 503: why it cannot be done now.
    Unavailable(String),
}

/// The fields of a JSON object.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    /// Adds a field. A value that is no JSON is left out, and the others stay.
    pub(crate) fn add(&mut self, name: &'static str, value: &impl Serialize) {
        let end = self.0.len();
        self.begin(name);
        if let Err(error) = serde_json::to_writer(&mut self.0, value) {
            tracing::debug!(name, %error, "a field of the live page could not be written");
            self.0.truncate(end);
        }
    }

    /// Adds a field that is JSON already.
    pub(crate) fn add_json(&mut self, name: &'static str, json: &[u8]) {
        self.begin(name);
        self.0.extend_from_slice(json);
    }

    /// The object.
    pub(crate) fn into_json(mut self) -> Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        self.0
    }

    fn begin(&mut self, name: &'static str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

/// In milliseconds since 1970; 0 before.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// A client's text for an answer: escaped and cut.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Series added up by name, in the order in which names first come. There are few names.
pub(crate) fn summed<'a>(series: impl Iterator<Item = (&'a str, u64)>) -> Vec<(&'a str, u64)> {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for (name, count) in series {
        match sums.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => sums.push((name, count)),
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use serde::Serializer;
    use serde::ser::Error;

    use super::*;

    /// A value that is no JSON, after a part of it was written.
    struct Broken;

    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("broken"))
        }
    }

    #[test]
    fn a_field_that_cannot_be_written_is_left_out_and_the_others_stay() {
        let mut fields = Fields::default();
        fields.add("first", &(Broken, 1));
        fields.add("one", &1);
        fields.add("broken", &(2, Broken));
        fields.add_json("list", b"[1,2]");
        assert_eq!(fields.into_json(), br#"{"one":1,"list":[1,2]}"#);
        assert_eq!(Fields::default().into_json(), b"{}");
    }

    #[test]
    fn a_clients_text_is_shown_escaped_and_cut() {
        assert_eq!(shown("a\n\"\u{202e}b"), r#"a\n\"\u{202e}b"#);
        assert_eq!(shown(&"é".repeat(64)), "é".repeat(64));
        assert_eq!(shown(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }
}
