//! The parts of the page, by their names below wherever it is mounted.

use super::hub::Hub;
use crate::model::panel::Action;

pub(super) const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The page's own files: the frame, and the helpers that panels import as `../<name>`.
const FILES: [(&str, &str, &str); 9] = [
    ("ops.css", STYLE, include_str!("page/ops.css")),
    ("theme.js", SCRIPT, include_str!("page/theme.js")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("act.js", SCRIPT, include_str!("page/act.js")),
    ("chart.js", SCRIPT, include_str!("page/chart.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("live.js", SCRIPT, include_str!("page/live.js")),
    ("text.js", SCRIPT, include_str!("page/text.js")),
    ("tile.js", SCRIPT, include_str!("page/tile.js")),
];

/// A part of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The page itself.
    Page,
    /// The stream.
    Events,
    /// A text of this type.
    File(&'static str, &'static str),
    /// The action of the panel that has this place in the list.
    Action(usize),
}

impl Hub {
    /// The part with this name.
    pub(super) fn part(&self, name: &str) -> Option<Part> {
        match name {
            "" => return Some(Part::Page),
            "events" => return Some(Part::Events),
            _ => {}
        }
        if let Some(&(_, kind, text)) = FILES.iter().find(|(file, ..)| *file == name) {
            return Some(Part::File(kind, text));
        }
        let mut panels = self.panels().iter();
        let panel = name.strip_prefix("panels/");
        if let Some(panel) = panel.and_then(|it| it.strip_suffix(".js")) {
            let panel = panels.find(|it| it.name() == panel)?;
            return Some(Part::File(SCRIPT, panel.script()));
        }
        let is_named = |action: &dyn Action| action.path() == name;
        let action = panels.position(|panel| panel.action().is_some_and(is_named));
        action.map(Part::Action)
    }

    /// The page, with its token and the list of its panels.
    pub(super) fn page(&self) -> String {
        let token = self.token.as_ref().map_or("", |token| token.as_str());
        let panels = self.panels().iter().map(|panel| {
            let name = panel.name();
            format!(
                "<script type=\"module\" src=\"panels/{name}.js\" data-panel=\"{name}\"></script>\n"
            )
        });
        include_str!("page/index.html")
            .replace("{{token}}", token)
            .replace("{{panels}}", &panels.collect::<String>())
    }
}
