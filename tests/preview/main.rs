//! Draws the previews of the dashboards: `scripts/preview-dashboards` saves what Prometheus answered, and calls this.
//!
//! Not Grafana, and not a copy of it: enough of each panel to see what it shows, where it stands and how it reads.

mod bars;
mod graph;
mod number;
mod panel;
mod picture;
mod stat;
mod table;
mod timeline;

use palisade_tests::dashboard::{Dashboard, list, text};
use palisade_tests::repository::path;
use serde_json::Value;

use panel::Panel;
use picture::{Area, Picture};

/// What stands above each picture.
const LABEL: &str = "Preview drawn from Prometheus data, not Grafana";
/// One of the grid's 24 columns and one of its rows, in pixels.
const COLUMN: f64 = 60.0;
const ROW: f64 = 34.0;
/// Between two panels.
const GAP: f64 = 8.0;
const HEAD: f64 = 64.0;

fn main() {
    for dashboard in Dashboard::all() {
        let saved = path(&format!("target/dashboards/{}.json", dashboard.name));
        let saved = std::fs::read_to_string(&saved)
            .unwrap_or_else(|error| panic!("{}: {error}", saved.display()));
        let saved: Value = serde_json::from_str(&saved).expect("JSON");
        if list(&saved["answers"]).is_empty() {
            // Loki's.
            continue;
        }
        let file = path(&format!("docs/images/preview-{}.svg", dashboard.name));
        std::fs::write(&file, draw(&dashboard, &saved)).expect("the picture is written");
        println!("{}", file.display());
    }
}

fn draw(dashboard: &Dashboard, saved: &Value) -> String {
    let side = |panel: &Value, name: &str| panel["gridPos"][name].as_f64().unwrap_or_default();
    let rows = dashboard
        .panels()
        .iter()
        .map(|panel| side(panel, "y") + side(panel, "h"))
        .fold(0.0, f64::max);
    let mut picture = Picture::new(24.0 * COLUMN + 2.0 * GAP, HEAD + rows * ROW + GAP);
    let title = text(&dashboard.json["title"]);
    picture.text((GAP * 2.0, 28.0), 20.0, "#e6e6ee", &title);
    picture.text((GAP * 2.0, 50.0), 13.0, "#9a9aa8", LABEL);
    let window = (
        saved["window"][0].as_f64().expect("a start"),
        saved["window"][1].as_f64().expect("an end"),
    );
    for json in dashboard.panels() {
        let area = Area {
            x: GAP + side(json, "x") * COLUMN + GAP / 2.0,
            y: HEAD + side(json, "y") * ROW + GAP / 2.0,
            width: side(json, "w") * COLUMN - GAP,
            height: side(json, "h") * ROW - GAP,
        };
        if json["type"] == "row" {
            let at = (area.x + 2.0, area.y + 20.0);
            picture.text(at, 15.0, "#e6e6ee", &text(&json["title"]));
            continue;
        }
        let panel = Panel::new(json, list(&saved["answers"]), window);
        let inside = picture.frame(area, &panel.title);
        match json["type"].as_str() {
            Some("stat") => stat::draw(&mut picture, inside, &panel),
            Some("timeseries") => graph::draw(&mut picture, inside, &panel),
            Some("bargauge") => bars::draw(&mut picture, inside, &panel),
            Some("table") => table::draw(&mut picture, inside, &panel),
            Some("state-timeline") => timeline::draw(&mut picture, inside, &panel),
            other => panic!("{}: no way to draw {other:?}", panel.title),
        }
    }
    picture.end()
}
