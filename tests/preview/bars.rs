//! Bars that compare a few values.

use crate::number::show;
use crate::panel::Panel;
use crate::picture::{Area, FAINT, Picture, TEXT, fitting};

pub(crate) fn draw(picture: &mut Picture, area: Area, panel: &Panel<'_>) {
    let values: Vec<_> = panel
        .series
        .iter()
        .filter_map(|series| Some((&series.name, series.last()?)))
        .collect();
    if values.is_empty() {
        picture.text((area.x, area.y + 30.0), 14.0, FAINT, "no data");
        return;
    }
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let most = panel.defaults()["max"].as_f64().unwrap_or(most).max(1e-9);
    let height = (area.height / values.len() as f64).min(56.0);
    let room = area.width - 84.0;
    for (at, (name, value)) in values.iter().enumerate() {
        let top = area.y + at as f64 * height;
        picture.text(
            (area.x, top + 12.0),
            12.0,
            TEXT,
            &fitting(name, 12.0, area.width),
        );
        let colour = panel.judged(*value);
        let bar = Area {
            x: area.x,
            y: top + 18.0,
            width: room,
            height: height - 28.0,
        };
        picture.rectangle(bar, "#26292f", 1.0);
        let width = room * (value / most).clamp(0.0, 1.0);
        picture.rectangle(Area { width, ..bar }, colour, 0.85);
        let shown = show(*value, &panel.unit(), panel.decimals());
        let end = (
            area.x + area.width,
            top + 18.0 + (height - 28.0) / 2.0 + 5.0,
        );
        picture.text_to(end, 14.0, colour, &shown);
    }
}
