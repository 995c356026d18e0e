//! One large number, over the line that it took.

use crate::number::show;
use crate::panel::Panel;
use crate::picture::{Area, FAINT, Picture, TEXT, width};

pub(crate) fn draw(picture: &mut Picture, area: Area, panel: &Panel<'_>) {
    let Some(series) = panel.series.first() else {
        picture.text((area.x, area.y + 30.0), 14.0, FAINT, "no data");
        return;
    };
    let value = series.last().unwrap_or(f64::NAN);
    let colour = panel.judged(value);
    let fills = panel.json["options"]["colorMode"] == "background";
    if fills {
        let whole = Area {
            x: area.x - 9.5,
            y: area.y - 4.0,
            width: area.width + 19.0,
            height: area.height + 11.5,
        };
        picture.rectangle(whole, colour, 0.25);
    }
    sparkline(picture, area, &series.points, colour);
    let shown = if value.is_finite() {
        show(value, &panel.unit(), panel.decimals())
    } else {
        "—".to_owned()
    };
    let size = (30.0 * area.width / width(&shown, 30.0)).clamp(16.0, 30.0);
    let at = (area.x, area.y + area.height * 0.45 + size / 3.0);
    picture.text(at, size, if fills { TEXT } else { colour }, &shown);
}

fn sparkline(picture: &mut Picture, area: Area, points: &[(f64, f64)], colour: &str) {
    let numbers: Vec<_> = points.iter().filter(|point| point.1.is_finite()).collect();
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return;
    };
    let most = numbers.iter().map(|point| point.1).fold(0.0, f64::max);
    let span = last.0 - first.0;
    if span <= 0.0 || most <= 0.0 {
        return;
    }
    let (bottom, room) = (area.y + area.height + 4.0, area.height * 0.3);
    let mut path = String::new();
    for point in &numbers {
        let x = area.x + (point.0 - first.0) / span * area.width;
        let y = bottom - point.1.max(0.0) / most * room;
        path += &format!("{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
    }
    let stroke = format!("stroke=\"{colour}\" stroke-width=\"1.2\" stroke-opacity=\"0.7\"");
    picture.path(&path, &stroke);
    let filled = format!(
        "{path}L{:.1} {bottom:.1}L{:.1} {bottom:.1}Z",
        area.x + area.width,
        area.x
    );
    let fill = format!("fill=\"{colour}\" fill-opacity=\"0.12\"");
    picture.path(&filled, &fill);
}
