//! What the checks found, as a table or as JSON.

use std::fmt::Write;
use std::io::IsTerminal;

use serde::Serialize;

use super::settings::Row;

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    checks: Vec<Check>,
    pub(super) settings: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do.
    advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }

    /// Green, yellow, bold red, grey.
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Fail => "\x1b[1;31m",
            Self::Skipped => "\x1b[90m",
        }
    }
}

impl Report {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Verdict::Ok, found.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, Verdict::Warn, found.into(), Some(advice.into()));
    }

    pub(super) fn fail(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, Verdict::Fail, found.into(), Some(advice.into()));
    }

    /// The reason takes the place of what was found.
    pub(super) fn skip(&mut self, check: &'static str, reason: impl Into<String>) {
        self.add(check, Verdict::Skipped, reason.into(), None);
    }

    fn add(
        &mut self,
        check: &'static str,
        verdict: Verdict,
        found: String,
        advice: Option<String>,
    ) {
        self.checks.push(Check {
            check,
            verdict,
            found,
            advice,
        });
    }

    pub(super) fn is_ok(&self) -> bool {
        self.checks.iter().all(|it| it.verdict != Verdict::Fail)
    }

    pub(super) fn json(&self) -> String {
        let report = serde_json::json!({
            "ok": self.is_ok(),
            "checks": self.checks,
            "settings": self.settings,
        });
        format!("{report:#}\n")
    }

    pub(super) fn table(&self, colourful: bool) -> String {
        let mut text = String::new();
        let width = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
        let names = width(&mut self.checks.iter().map(|it| it.check.len()));
        let verdicts = "skipped".len();
        for it in &self.checks {
            let (on, off) = if colourful {
                (it.verdict.colour(), "\x1b[0m")
            } else {
                ("", "")
            };
            let word = it.verdict.word();
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(
                text,
                "{on}{word:<verdicts$}{off}  {:<names$}  {}",
                it.check, it.found
            );
            if let Some(advice) = &it.advice {
                let _ = writeln!(text, "{:verdicts$}  {:names$}  → {advice}", "", "");
            }
        }
        let keys = width(&mut self.settings.iter().map(|row| row.key.chars().count()));
        let sources = "environment".len();
        text.push('\n');
        for row in &self.settings {
            let source = row.source.word();
            let _ = writeln!(
                text,
                "{source:<sources$}  {:<keys$}  {}",
                row.key, row.value
            );
        }
        text
    }
}

/// Whether the table may have colours: it goes to a terminal, and nobody said otherwise.
pub(super) fn is_colourful() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_alone_fails_the_report_and_the_advice_stands_below() {
        let mut report = Report::new();
        report.ok("a", "fine");
        report.warn("b.c", "odd", "look");
        report.skip("d", "no Redis");
        assert!(report.is_ok());
        report.fail("e", "broken", "mend it");
        assert!(!report.is_ok());
        let table = "ok       a    fine\n\
                     warn     b.c  odd\n\
                     \u{20}             → look\n\
                     skipped  d    no Redis\n\
                     fail     e    broken\n\
                     \u{20}             → mend it\n\n";
        assert_eq!(report.table(false), table);
        assert!(report.table(true).contains("\x1b[1;31mfail   \x1b[0m  e"));
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["checks"][3]["verdict"], "fail");
        assert_eq!(json["checks"][3]["advice"], "mend it");
    }
}
