//! What docs/logs.md says of the events and their fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The events of the log, as they are documented or written in the sources.
pub(crate) type Events = BTreeMap<String, Event>;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) levels: BTreeSet<String>,
    pub(crate) targets: BTreeSet<String>,
    pub(crate) fields: BTreeSet<String>,
}

pub(crate) struct Documented {
    pub(crate) events: Events,
    /// By name: `string`, `integer` or another of JSON's types.
    pub(crate) fields: BTreeMap<String, String>,
}

/// What every line has, whatever its event.
pub(crate) const ALWAYS: [&str; 5] = ["timestamp", "level", "target", "message", "event"];

impl Documented {
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/logs.md");
        let text = fs::read_to_string(path).unwrap();
        let mut events = Events::new();
        for [event, levels, target, fields, bound] in rows(&text, "## Events") {
            assert!(!bound.is_empty(), "what bounds {event}?");
            let event = names(&event).pop_first().unwrap();
            let described = Event {
                levels: levels.split(", ").map(str::to_owned).collect(),
                targets: names(&target),
                fields: names(&fields),
            };
            assert!(events.insert(event, described).is_none(), "twice");
        }
        let mut fields = BTreeMap::new();
        for [name, kind, meaning] in rows(&text, "## Fields") {
            assert!(!meaning.is_empty(), "what is {name}?");
            let name = names(&name).pop_first().unwrap();
            assert!(fields.insert(name, kind).is_none(), "twice");
        }
        Self { events, fields }
    }

    /// Holds a line to what is documented, and returns its event.
    pub(crate) fn check(&self, line: &Value) -> String {
        let fields = line.as_object().unwrap();
        let text = |name: &str| fields[name].as_str().unwrap_or_else(|| panic!("{line}"));
        for always in ALWAYS {
            assert!(!text(always).is_empty(), "{line}");
        }
        let event = text("event");
        let described = self.events.get(event);
        let described = described.unwrap_or_else(|| panic!("not documented: {line}"));
        assert!(described.levels.contains(text("level")), "{line}");
        assert!(described.targets.contains(text("target")), "{line}");
        for (name, value) in fields {
            let is_known = ALWAYS.contains(&&**name) || described.fields.contains(name);
            assert!(is_known, "`{name}` of {line}");
            let kind = &self.fields[name];
            let fits = match &**kind {
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                "boolean" => value.is_boolean(),
                other => panic!("no type of JSON: {other}"),
            };
            assert!(fits, "`{name}` is no {kind} in {line}");
        }
        event.to_owned()
    }
}

/// The rows of the first table under a heading, without its head.
fn rows<const COLUMNS: usize>(text: &str, heading: &str) -> Vec<[String; COLUMNS]> {
    let (_, section) = text.split_once(&format!("{heading}\n")).expect(heading);
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    let rows = rows.map(|row| {
        let cells = row.trim_matches('|').split('|').map(str::trim);
        let cells: Vec<_> = cells.map(str::to_owned).collect();
        cells.try_into().unwrap_or_else(|_| panic!("{row}"))
    });
    rows.collect()
}

/// The names in a cell, each in backquotes.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}
