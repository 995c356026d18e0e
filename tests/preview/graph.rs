//! Lines over time, stacked or not, with axes and a legend.

use palisade_tests::dashboard::list;

use crate::number::{mark, show};
use crate::panel::{Panel, Series};
use crate::picture::{Area, FAINT, Picture, TEXT, fitting, named, width};

const SIZE: f64 = 11.0;
const LEGEND_ROW: f64 = 17.0;

pub(crate) fn draw(picture: &mut Picture, area: Area, panel: &Panel<'_>) {
    let legend = legend(panel, area.width);
    let left = 48.0;
    let plot = Area {
        x: area.x + left,
        y: area.y + 4.0,
        width: area.width - left - 4.0,
        height: area.height - 22.0 - LEGEND_ROW * rows(&legend),
    };
    let is_stacked = panel.custom()["stacking"]["mode"] == "normal";
    let lines = heights(panel, is_stacked);
    let highest = lines
        .iter()
        .flatten()
        .map(|(_, _, top)| *top)
        .filter(|top| top.is_finite())
        .fold(0.0, f64::max);
    let most = panel.defaults()["max"].as_f64();
    let step = step(most.unwrap_or(highest));
    let most = most.unwrap_or_else(|| ((highest / step).ceil() * step).max(step));
    let y = |value: f64| plot.y + plot.height * (1.0 - (value / most).clamp(0.0, 1.0));
    let (start, end) = panel.window;
    let x = |time: f64| plot.x + plot.width * ((time - start) / (end - start)).clamp(0.0, 1.0);

    let mut value = 0.0;
    while value <= most * 1.001 {
        picture.rule((plot.x, y(value)), (plot.x + plot.width, y(value)));
        let at = (plot.x - 6.0, y(value) + 4.0);
        picture.text_to(at, SIZE, FAINT, &mark(value, &panel.unit()));
        value += step;
    }
    for part in 0..=4 {
        let time = start + (end - start) * f64::from(part) / 4.0;
        let seconds = time - start;
        let shown = format!("{:.0}:{:02.0}", (seconds / 60.0).floor(), seconds % 60.0);
        let at = (x(time), plot.y + plot.height + 15.0);
        match part {
            0 => picture.text(at, SIZE, FAINT, &shown),
            4 => picture.text_to(at, SIZE, FAINT, &shown),
            _ => picture.text_around(at, SIZE, FAINT, &shown),
        }
    }
    let opacity = panel.custom()["fillOpacity"].as_f64().unwrap_or_default() / 100.0;
    // The lowest of a stack last, so that no area hides the line below it.
    for (series, line) in panel.series.iter().zip(&lines).rev() {
        line_of(picture, series, line, opacity, (&x, &y));
    }
    if panel.custom()["thresholdsStyle"]["mode"] == "dashed" {
        for step in list(&panel.defaults()["thresholds"]["steps"]) {
            if let (Some(value), Some(colour)) = (step["value"].as_f64(), step["color"].as_str())
                && value > 0.0
                && value <= most
            {
                let path = format!("M{:.1} {:.1}h{:.1}", plot.x, y(value), plot.width);
                let colour = named(colour);
                let style =
                    format!("stroke=\"{colour}\" stroke-dasharray=\"6 5\" stroke-opacity=\"0.8\"");
                picture.path(&path, &style);
            }
        }
    }
    if panel.series.is_empty() {
        let at = (plot.x + plot.width / 2.0, plot.y + plot.height / 2.0);
        picture.text_around(at, 13.0, FAINT, "no data");
    }
    for (column, row, series, shown) in legend {
        let at = (
            area.x + column,
            plot.y + plot.height + 20.0 + LEGEND_ROW * (row + 0.75),
        );
        let swatch = Area {
            x: at.0,
            y: at.1 - 5.0,
            width: 12.0,
            height: 3.0,
        };
        if let Some(series) = series {
            picture.rectangle(swatch, &series.colour, 1.0);
        }
        picture.text((at.0 + 17.0, at.1), SIZE, TEXT, &shown);
    }
}

/// Time, bottom and top of each point.
type Line = Vec<(f64, f64, f64)>;

fn heights(panel: &Panel<'_>, is_stacked: bool) -> Vec<Line> {
    let mut floor = std::collections::BTreeMap::new();
    let mut lines = Vec::new();
    for series in &panel.series {
        let mut line = Vec::new();
        for (time, value) in &series.points {
            let moment = time.to_bits();
            let bottom = if is_stacked {
                floor.get(&moment).copied().unwrap_or_default()
            } else {
                0.0
            };
            if is_stacked && value.is_finite() {
                floor.insert(moment, bottom + value);
            }
            line.push((*time, bottom, bottom + value));
        }
        lines.push(line);
    }
    lines
}

fn line_of(
    picture: &mut Picture,
    series: &Series,
    line: &Line,
    opacity: f64,
    (x, y): (&dyn Fn(f64) -> f64, &dyn Fn(f64) -> f64),
) {
    let dash = if series.is_dashed {
        " stroke-dasharray=\"7 5\""
    } else {
        ""
    };
    let stroke = format!(
        "stroke=\"{}\" stroke-width=\"1.6\" stroke-linejoin=\"round\"{dash}",
        series.colour
    );
    // Where a value is none, or was not asked for, the line has a gap.
    for part in line.split(|(_, _, top)| !top.is_finite()) {
        let (mut path, mut back) = (String::new(), String::new());
        for (time, bottom, top) in part {
            let first = if path.is_empty() { 'M' } else { 'L' };
            path += &format!("{first}{:.1} {:.1}", x(*time), y(*top));
            back = format!("L{:.1} {:.1}{back}", x(*time), y(*bottom));
        }
        if part.len() == 1 {
            path += "h1";
        }
        if opacity > 0.0 && !path.is_empty() {
            let fill = format!("fill=\"{}\" fill-opacity=\"{opacity}\"", series.colour);
            picture.path(&format!("{path}{back}Z"), &fill);
        }
        if !path.is_empty() {
            picture.path(&path, &stroke);
        }
    }
}

/// A round number of which the highest value has four or less.
fn step(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let rough = highest / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

type Entry<'a> = (f64, f64, Option<&'a Series>, String);

/// Column, row, series and text of each entry, in three rows at most.
fn legend<'a>(panel: &'a Panel<'_>, room: f64) -> Vec<Entry<'a>> {
    let (mut entries, mut column, mut row) = (Vec::new(), 0.0, 0.0);
    for series in &panel.series {
        let last = series.last().map_or_else(
            || "–".to_owned(),
            |value| show(value, &panel.unit(), panel.decimals()),
        );
        let name = fitting(&series.name, SIZE, room * 0.6);
        let shown = format!("{name}  {last}");
        let needed = width(&shown, SIZE) + 32.0;
        if column > 0.0 && column + needed > room {
            column = 0.0;
            row += 1.0;
        }
        if row > 2.0 {
            break;
        }
        entries.push((column, row, Some(series), shown));
        column += needed;
    }
    if entries.len() < panel.series.len() {
        // In the place of the last one that had room.
        if let Some((column, row, ..)) = entries.pop() {
            let left = panel.series.len() - entries.len();
            entries.push((column, row, None, format!("and {left} more")));
        }
    }
    entries
}

fn rows(legend: &[Entry<'_>]) -> f64 {
    legend.last().map_or(0.0, |(_, row, ..)| row + 1.0)
}
