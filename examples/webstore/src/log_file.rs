//! `--log-file`: the log in a file of bounded size, for a collector that shares a volume with the process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How much one file holds, in bytes; there are two of them at most.
pub(crate) const LIMIT: u64 = 16 * 1024 * 1024;

/// A file that is moved aside, over the one before, when it is full.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
}

impl LogFile {
    /// Opens the file to append to it, and makes it if it is absent.
    pub(crate) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            written: file.metadata()?.len(),
            path: path.to_owned(),
            file,
            limit,
        })
    }

    /// Where the file before this one is: the same name with `.1`.
    fn before(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        name.into()
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        // A directory that does not let its files be renamed must not let this one grow without end.
        if fs::rename(&self.path, self.before()).is_err() {
            self.file.set_len(0)?;
        }
        *self = Self::open(&self.path, self.limit)?;
        Ok(())
    }
}

impl Write for LogFile {
    /// Takes a whole line at a time, as the subscriber hands them out, so that no line is parted between two files.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.written > 0 && self.written + line.len() as u64 > self.limit {
            self.begin_anew()?;
        }
        self.file.write_all(line)?;
        self.written += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_lines_whole_in_two_files_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path, 100).unwrap();
        for n in 0..1000 {
            writeln!(&mut log, "line {n:04}").unwrap();
        }
        drop(log);
        let mut log = LogFile::open(&path, 100).unwrap();
        log.write_all(b"line 1000\n").unwrap();

        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let (before, now) = (read("log.1"), read("log"));
        assert!(before.len() <= 100 && now.len() <= 100);
        let lines: Vec<_> = before.lines().chain(now.lines()).collect();
        assert!(lines.len() > 10, "{lines:?}");
        for (line, n) in lines.iter().rev().zip((0..=1000).rev()) {
            assert_eq!(*line, format!("line {n:04}"));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn stays_bounded_where_it_cannot_be_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        // What is not an empty folder can be replaced by no file.
        fs::create_dir_all(folder.path().join("log.1").join("taken")).unwrap();
        let mut log = LogFile::open(&path, 100).unwrap();
        for _ in 0..1000 {
            log.write_all(b"ten bytes\n").unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() <= 100);
    }
}
