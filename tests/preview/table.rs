//! Tables: of one query by two labels, or of several queries by one.

use std::collections::{BTreeMap, BTreeSet};

use palisade_tests::dashboard::{list, text};
use serde_json::Value;

use crate::number::show;
use crate::panel::Panel;
use crate::picture::{Area, FAINT, Picture, TEXT};

pub(crate) fn draw(picture: &mut Picture, area: Area, panel: &Panel<'_>) {
    let (head, columns, cells) = cells(panel);
    let rows: BTreeSet<_> = cells.keys().map(|(row, _)| row.clone()).collect();
    let width = area.width / (columns.len() + 1) as f64;
    let height = (area.height / (rows.len() + 1) as f64).min(26.0);
    picture.text((area.x, area.y + 14.0), 12.0, FAINT, &head);
    let right = |column: usize| area.x + width * (column as f64 + 2.0);
    for (at, column) in columns.iter().enumerate() {
        picture.text_to((right(at), area.y + 14.0), 12.0, FAINT, column);
    }
    for (at, row) in rows.iter().enumerate() {
        let line = area.y + height * (at as f64 + 1.0);
        picture.rule((area.x, line), (area.x + area.width, line));
        let base = line + height * 0.7;
        picture.text((area.x, base), 12.0, TEXT, row);
        for (at, column) in columns.iter().enumerate() {
            let value = cells.get(&(row.clone(), at)).copied();
            let (unit, decimals) = (unit(panel, column), decimals(panel, column));
            let shown = match value {
                Some(value) if value.is_finite() => show(value, &unit, decimals),
                Some(_) => "–".to_owned(),
                None => "0".to_owned(),
            };
            picture.text_to((right(at), base), 12.0, TEXT, &shown);
        }
    }
}

fn unit(panel: &Panel<'_>, column: &str) -> String {
    panel
        .overridden(column, "unit")
        .map_or_else(|| panel.unit(), text)
}

fn decimals(panel: &Panel<'_>, column: &str) -> Option<usize> {
    let own = panel.overridden(column, "decimals").and_then(Value::as_u64);
    own.and_then(|own| usize::try_from(own).ok())
        .or_else(|| panel.decimals())
}

type Cells = BTreeMap<(String, usize), f64>;

/// The first column's head, the other columns, and the values by row and column.
fn cells(panel: &Panel<'_>) -> (String, Vec<String>, Cells) {
    let transformations = list(&panel.json["transformations"]);
    let option = |id: &str| {
        let found = transformations.iter().find(|change| change["id"] == id);
        found.map(|change| &change["options"])
    };
    let mut cells = Cells::new();
    if let Some(matrix) = option("groupingToMatrix") {
        let (row, column) = (text(&matrix["rowField"]), text(&matrix["columnField"]));
        let columns: BTreeSet<_> = panel
            .series
            .iter()
            .map(|series| text(&series.labels[&column]))
            .collect();
        let columns: Vec<_> = columns.into_iter().collect();
        for series in &panel.series {
            let name = text(&series.labels[&column]);
            let at = columns.iter().position(|column| *column == name);
            let key = (text(&series.labels[&row]), at.unwrap_or_default());
            cells.insert(key, series.last().unwrap_or(f64::NAN));
        }
        return (row, columns, cells);
    }
    let names = option("organize").map_or(&Value::Null, |organize| &organize["renameByName"]);
    let queries = list(&panel.json["targets"]).len();
    let columns = (0..queries).map(|query| {
        let letter = text(&panel.json["targets"][query]["refId"]);
        text(&names[format!("Value #{letter}")])
    });
    let mut head = String::new();
    for series in &panel.series {
        let labels = series.labels.as_object().into_iter().flatten();
        let (label, row) = labels
            .map(|(label, value)| (label.clone(), text(value)))
            .next()
            .unwrap_or_default();
        head = names[&label].as_str().map_or(label, str::to_owned);
        cells.insert((row, series.query), series.last().unwrap_or(f64::NAN));
    }
    (head, columns.collect(), cells)
}
