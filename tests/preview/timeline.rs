//! States over time.

use palisade_tests::dashboard::{list, text};

use crate::panel::Panel;
use crate::picture::{Area, FAINT, Picture, TEXT, fitting, named};

pub(crate) fn draw(picture: &mut Picture, area: Area, panel: &Panel<'_>) {
    let (start, end) = panel.window;
    let left = 110.0;
    let room = area.width - left;
    let height = ((area.height - 44.0) / panel.series.len().max(1) as f64).min(46.0);
    for (at, series) in panel.series.iter().enumerate() {
        let top = area.y + 10.0 + at as f64 * height;
        let name = fitting(&series.name, 12.0, left - 8.0);
        picture.text((area.x, top + height / 2.0 + 4.0), 12.0, TEXT, &name);
        for pair in series.points.windows(2) {
            let state = Area {
                x: area.x + left + (pair[0].0 - start) / (end - start) * room,
                y: top + 4.0,
                width: (pair[1].0 - pair[0].0) / (end - start) * room + 0.3,
                height: height - 8.0,
            };
            picture.rectangle(state, state_of(panel, pair[0].1).0, 0.8);
        }
    }
    let mut column = area.x;
    for value in [0.0, 1.0] {
        let (colour, name) = state_of(panel, value);
        let swatch = Area {
            x: column,
            y: area.y + area.height - 14.0,
            width: 12.0,
            height: 12.0,
        };
        picture.rectangle(swatch, colour, 0.8);
        let at = (column + 18.0, area.y + area.height - 4.0);
        picture.text(at, 11.0, FAINT, &name);
        column += 90.0;
    }
}

/// The colour and the name of a state.
fn state_of<'a>(panel: &Panel<'a>, value: f64) -> (&'a str, String) {
    let json: &'a serde_json::Value = panel.json;
    let mappings = list(&json["fieldConfig"]["defaults"]["mappings"]);
    let state = mappings
        .iter()
        .map(|mapping| &mapping["options"][format!("{value}")])
        .find(|state| state.is_object());
    state.map_or((panel.judged(value), value.to_string()), |state| {
        (
            named(state["color"].as_str().unwrap_or_default()),
            text(&state["text"]),
        )
    })
}
