//! The lines that the sources write are those that are documented: read from the sources, so that it stays true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::documented::{ALWAYS, Documented, Event, Events};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}

/// The arguments of a macro whose brackets open at the start of `text`, as they are separated by commas.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut argument, mut depth) = (Vec::new(), String::new(), 0);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            found.push(argument.trim().to_owned());
            argument.clear();
        } else if !(depth == 1 && argument.is_empty() && c == '(') {
            argument.push(c);
        }
        if depth == 0 {
            break;
        }
        if c == '"' {
            while let Some(c) = characters.next() {
                argument.push(c);
                match c {
                    '\\' => argument.extend(characters.next()),
                    '"' => break,
                    _ => {}
                }
            }
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

fn literal(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.to_owned())
}

/// Every line of INFO or above that a source writes; what is wrong with those that are not as they should be.
fn written(source: &str, events: &mut Events) -> Vec<String> {
    let mut wrong = Vec::new();
    for (macro_name, levels) in [
        ("info!", &["INFO"][..]),
        ("warn!", &["WARN"]),
        ("error!", &["ERROR"]),
        // The level is the parameter of a macro that writes the line.
        ("$level!", &["INFO", "WARN"]),
        ("event!", &[]),
    ] {
        for (at, _) in source.match_indices(macro_name) {
            let before = source[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let arguments = arguments(&source[at + macro_name.len()..]);
            let shown = format!("{macro_name}{arguments:?}");
            if !source[..at].ends_with("tracing::") || levels.is_empty() {
                wrong.push(format!("not `tracing::info!` and its like: {shown}"));
                continue;
            }
            let (mut target, mut event, mut fields) = (None, None, BTreeSet::new());
            for argument in &arguments {
                if literal(argument).is_some() {
                    // The message.
                } else if let Some(text) = argument.strip_prefix("target:") {
                    target = literal(text);
                } else if let Some((name, value)) = argument.split_once(" = ") {
                    if name == "event" {
                        event = literal(value);
                    } else {
                        fields.insert(name.trim_start_matches("r#").to_owned());
                    }
                } else {
                    fields.insert(argument.trim_start_matches(['%', '?']).to_owned());
                }
            }
            let (Some(target), Some(event)) = (target, event) else {
                wrong.push(format!("without a target or an event: {shown}"));
                continue;
            };
            let entry = events.entry(event).or_default();
            entry.targets.insert(target);
            entry.levels.extend(levels.iter().map(ToString::to_string));
            entry.fields.extend(fields);
        }
    }
    wrong
}

#[test]
fn every_line_has_its_event_and_the_documentation_lists_exactly_these() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut events, mut wrong) = (Events::new(), Vec::new());
    for folder in ["middleware/src", "examples/webstore/src"] {
        for path in sources(&root.join(folder)) {
            let found = written(&fs::read_to_string(&path).unwrap(), &mut events);
            wrong.extend(
                found
                    .iter()
                    .map(|what| format!("{}: {what}", path.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(events.len() > 30, "hardly any lines: {events:?}");

    let documented = Documented::read();
    let mut differences = BTreeMap::new();
    for name in events.keys().chain(documented.events.keys()) {
        let (source, docs) = (events.get(name), documented.events.get(name));
        if source != docs {
            differences.insert(name, (source, docs));
        }
    }
    assert!(differences.is_empty(), "source, docs: {differences:#?}");

    let used = events
        .values()
        .flat_map(|event| event.fields.iter().cloned());
    let mut used: BTreeSet<_> = used.collect();
    used.extend(ALWAYS.map(str::to_owned));
    let described: BTreeSet<_> = documented.fields.keys().cloned().collect();
    assert_eq!(used, described);
}

#[test]
fn the_reader_finds_levels_targets_events_and_fields() {
    let mut events = Events::new();
    let source = r#"
        tracing::warn!(target: "a::b", event = "one", %error, r#for = f(x, "),"), ?who, plain, "a \"text\", with = all");
        tracing::info!(target: "a::b", event = "one", error = 1, "other");
        tracing::$level!(target: "a", event = "two", "text");"#;
    assert_eq!(written(source, &mut events), Vec::<String>::new());
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let one = Event {
        levels: set(&["INFO", "WARN"]),
        targets: set(&["a::b"]),
        fields: set(&["error", "for", "who", "plain"]),
    };
    let two = Event {
        levels: set(&["INFO", "WARN"]),
        targets: set(&["a"]),
        fields: set(&[]),
    };
    let expected = [("one".to_owned(), one), ("two".to_owned(), two)];
    assert_eq!(events, Events::from(expected));
}

#[test]
fn the_reader_refuses_what_has_no_event_or_could_hide_it() {
    for source in [
        r#"tracing::warn!(target: "a", "no event");"#,
        r#"tracing::warn!(event = "no_target", "text");"#,
        r#"tracing::warn!(target: "a", event = name, "no literal");"#,
        r#"warn!(target: "a", event = "one", "imported");"#,
        r#"tracing::event!(target: "a", Level::WARN, event = "one", "text");"#,
    ] {
        let mut events = Events::new();
        assert_eq!(written(source, &mut events).len(), 1, "{source}");
        assert!(events.is_empty(), "{source}");
    }
    let mut none = Events::new();
    let source = r#"tracing::debug!("below"); my_warn!("another"); tracing::trace!(x);"#;
    assert_eq!(written(source, &mut none), Vec::<String>::new());
    assert!(none.is_empty());
}
