use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The longest line that is read, in bytes; of a longer one this much is held and the rest skipped.
const LONGEST_LINE: u64 = 64 * 1024;
const BUFFER: usize = 256 * 1024;

/// One line, without its line feed.
pub(crate) enum Line<'a> {
    Whole(&'a [u8]),
    TooLong,
}

/// The file, or the standard input for `-`.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path)?))
}

/// The bytes of all the files together; `None` where one is no plain file.
pub(crate) fn total_size<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Option<u64> {
    paths
        .into_iter()
        .map(|path| {
            let metadata = path.metadata().ok()?;
            metadata.is_file().then_some(metadata.len())
        })
        .sum()
}

/// What a file begins with that gzip made, as logrotate has it do.
const GZIP: &[u8] = b"\x1f\x8b";

/// Hands each line to `visit`, however long, until that fails; what is no UTF-8 is no matter.
pub(crate) fn for_each_line<E: From<io::Error>>(
    source: impl Read,
    mut visit: impl FnMut(Line<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    if source.fill_buf()?.starts_with(GZIP) {
        let why = "it is compressed; hand over what `zcat` makes of it, with `-` for the file";
        return Err(io::Error::other(why).into());
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = source
            .by_ref()
            .take(LONGEST_LINE + 1)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if read as u64 > LONGEST_LINE {
            source.skip_until(b'\n')?;
            visit(Line::TooLong)?;
            continue;
        }
        visit(Line::Whole(&line))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(source: &[u8]) -> Vec<Option<usize>> {
        let mut lengths = Vec::new();
        let visit = |line: Line<'_>| {
            lengths.push(match line {
                Line::Whole(line) => Some(line.len()),
                Line::TooLong => None,
            });
            Ok::<_, io::Error>(())
        };
        for_each_line(source, visit).unwrap();
        lengths
    }

    #[test]
    fn splits_at_line_feeds() {
        assert_eq!(lengths(b""), []);
        assert_eq!(lengths(b"ab\n\n\xffc"), [Some(2), Some(0), Some(2)]);
        assert_eq!(lengths(b"ab\n"), [Some(2)]);
    }

    #[test]
    fn refuses_what_is_compressed() {
        let visit = |_: Line<'_>| Ok::<_, io::Error>(());
        let error = for_each_line(&b"\x1f\x8b\x08\n"[..], visit).unwrap_err();
        assert!(error.to_string().contains("zcat"), "{error}");
    }

    #[test]
    fn ends_where_the_visit_fails() {
        let mut visited = 0;
        let visit = |_: Line<'_>| {
            visited += 1;
            Err(io::Error::other("enough"))
        };
        assert!(for_each_line(&b"a\nb\n"[..], visit).is_err());
        assert_eq!(visited, 1);
    }

    #[test]
    fn skips_what_is_too_long_and_goes_on() {
        let longest = vec![b'x'; 64 * 1024];
        let source = [
            &longest[..],
            b"\n",
            &longest,
            b"x\n",
            &longest,
            &longest,
            b"\nab\n",
            &longest,
            b"x",
        ]
        .concat();
        assert_eq!(lengths(&source), [Some(65_536), None, None, Some(2), None]);
    }
}
