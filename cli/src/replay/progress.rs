use std::io::{self, Read};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How far a long step is: drawn on the standard error where that is a terminal, else not at all.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of a known number of bytes, or of however many come.
    pub(crate) fn of_bytes(total: Option<u64>) -> Self {
        match total {
            Some(total) => Self::styled(
                Some(total),
                "reading   {wide_bar} {bytes} of {total_bytes}, {eta} left",
            ),
            None => Self::styled(None, "reading   {spinner} {bytes} at {bytes_per_sec}"),
        }
    }

    pub(crate) fn of_requests(total: u64) -> Self {
        Self::styled(
            Some(total),
            "replaying {wide_bar} {human_pos} of {human_len}, {eta} left",
        )
    }

    pub(crate) fn of_customers(total: u64) -> Self {
        Self::styled(
            Some(total),
            "reporting {wide_bar} {human_pos} of {human_len}, {eta} left",
        )
    }

    fn styled(total: Option<u64>, template: &str) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub(crate) fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    /// Counts what is read from `inner`.
    pub(crate) fn reading<R: Read>(&self, inner: R) -> impl Read {
        Counted {
            inner,
            bar: self.0.clone(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct Counted<R> {
    inner: R,
    bar: ProgressBar,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}
