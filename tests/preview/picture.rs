//! SVG, and the colours.

use std::fmt::Write;

/// Where something is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Area {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

pub(crate) const TEXT: &str = "#d5d5df";
pub(crate) const FAINT: &str = "#9a9aa8";
const LINE: &str = "#2f343c";

/// What series are drawn in, one after the other.
pub(crate) const PALETTE: [&str; 12] = [
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#b0a0e0",
    "#37a2a0", "#fade2a", "#e0a3c5", "#c1a05c",
];

/// The colour of a name that Grafana knows.
pub(crate) fn named(colour: &str) -> &str {
    match colour {
        "green" => "#73bf69",
        "yellow" => "#f2cc0c",
        "orange" => "#ff9830",
        "red" => "#f2495c",
        "blue" => "#5794f2",
        "purple" => "#b877d9",
        "text" => TEXT,
        other => other,
    }
}

/// How wide a text is, roughly.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let of = |c| match c {
        'i' | 'l' | 'j' | '.' | ',' | ':' | '\'' | '|' | ' ' | '/' | '(' | ')' | 't' | 'f' => 0.32,
        'm' | 'w' | 'M' | 'W' | '%' | '→' => 0.88,
        c if c.is_uppercase() => 0.68,
        _ => 0.57,
    };
    text.chars().map(of).sum::<f64>() * size
}

/// The text, or as much of it as has room.
pub(crate) fn fitting(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while short.pop().is_some() {
        let candidate = format!("{}…", short.trim_end());
        if width(&candidate, size) <= room {
            return candidate;
        }
    }
    short
}

pub(crate) struct Picture {
    svg: String,
}

impl Picture {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"Inter, 'DejaVu Sans', 'Liberation Sans', sans-serif\">\n"
        );
        let _ = writeln!(
            svg,
            "<rect width=\"{width}\" height=\"{height}\" fill=\"#111217\"/>"
        );
        Self { svg }
    }

    pub(crate) fn end(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }

    /// A panel's box and title; what is left inside.
    pub(crate) fn frame(&mut self, area: Area, title: &str) -> Area {
        let Area {
            x,
            y,
            width,
            height,
        } = area;
        let _ = writeln!(
            self.svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"3\" fill=\"#181b1f\" stroke=\"{LINE}\"/>"
        );
        let title = fitting(title, 13.0, width - 20.0);
        self.text((x + 10.0, y + 20.0), 13.0, TEXT, &title);
        Area {
            x: x + 10.0,
            y: y + 30.0,
            width: width - 20.0,
            height: height - 38.0,
        }
    }

    pub(crate) fn text(&mut self, at: (f64, f64), size: f64, colour: &str, text: &str) {
        self.anchored(at, size, colour, text, "start");
    }

    pub(crate) fn text_to(&mut self, at: (f64, f64), size: f64, colour: &str, text: &str) {
        self.anchored(at, size, colour, text, "end");
    }

    pub(crate) fn text_around(&mut self, at: (f64, f64), size: f64, colour: &str, text: &str) {
        self.anchored(at, size, colour, text, "middle");
    }

    fn anchored(&mut self, (x, y): (f64, f64), size: f64, colour: &str, text: &str, anchor: &str) {
        let escaped = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let _ = writeln!(
            self.svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"{anchor}\">{escaped}</text>"
        );
    }

    pub(crate) fn rectangle(&mut self, area: Area, colour: &str, opacity: f64) {
        let Area {
            x,
            y,
            width,
            height,
        } = area;
        let _ = writeln!(
            self.svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>"
        );
    }

    pub(crate) fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        let line = format!("M{:.1} {:.1}L{:.1} {:.1}", from.0, from.1, to.0, to.1);
        self.path(&line, &format!("stroke=\"{LINE}\""));
    }

    /// A path of SVG's own language, without a fill unless its style has one.
    pub(crate) fn path(&mut self, path: &str, style: &str) {
        let fill = if style.contains("fill=") {
            ""
        } else {
            "fill=\"none\" "
        };
        let _ = writeln!(self.svg, "<path d=\"{path}\" {fill}{style}/>");
    }
}
