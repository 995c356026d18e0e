use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

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

/// What files begin with that are compressed otherwise, and what makes text of them.
const OTHERS: [(&[u8], &str); 3] = [
    (b"\x28\xb5\x2f\xfd", "zstdcat"),
    (b"\xfd7zXZ\0", "xzcat"),
    (b"BZh", "bzcat"),
];

/// Hands each line to `visit`, however long, until that fails; what is no UTF-8 is no matter. What gzip made is read
/// through, all members of it.
pub(crate) fn for_each_line<E: From<io::Error>>(
    source: impl Read,
    visit: impl FnMut(Line<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    let start = source.fill_buf()?;
    if let Some((_, tool)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        let why =
            format!("it is compressed; hand over what `{tool}` makes of it, with `-` for the file");
        return Err(io::Error::other(why).into());
    }
    if start.starts_with(GZIP) {
        let text = Gunzip(MultiGzDecoder::new(source));
        return lines(BufReader::with_capacity(BUFFER, text), visit);
    }
    lines(source, visit)
}

/// The text of compressed data, which says what is wrong with that.
struct Gunzip<R>(MultiGzDecoder<R>);

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::other("the compressed data breaks off: the file is not whole")
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                io::Error::other(format!("the compressed data is damaged ({error})"))
            }
            _ => error,
        })
    }
}

fn lines<E: From<io::Error>>(
    mut source: impl BufRead,
    mut visit: impl FnMut(Line<'_>) -> Result<(), E>,
) -> Result<(), E> {
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
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

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

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn read(source: &[u8]) -> (Vec<String>, Option<String>) {
        let mut read = Vec::new();
        let visit = |line: Line<'_>| {
            let Line::Whole(line) = line else {
                panic!("too long");
            };
            read.push(String::from_utf8_lossy(line).into_owned());
            Ok::<_, io::Error>(())
        };
        let end = for_each_line(source, visit);
        (read, end.err().map(|error| error.to_string()))
    }

    #[test]
    fn reads_what_gzip_made_all_of_its_members() {
        let whole = [gzip(b"ab\nc"), gzip(b"d\n"), gzip(b""), gzip(b"e")].concat();
        let expected = ["ab", "cd", "e"].map(str::to_owned).to_vec();
        assert_eq!(read(&whole), (expected, None));
    }

    #[test]
    fn says_what_is_wrong_with_compressed_data() {
        let text: String = (0..50_000).map(|n| format!("{n}\n")).collect();
        let whole = gzip(text.as_bytes());
        for cut in [3, 11, whole.len() / 2, whole.len() - 1] {
            let (read, error) = read(&whole[..cut]);
            assert_eq!(
                error.unwrap(),
                "the compressed data breaks off: the file is not whole"
            );
            assert!(text.starts_with(&read.join("\n")));
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0xff;
        let check = whole.len() - 6;
        let mut unequal = whole.clone();
        unequal[check] ^= 1;
        let followed = [&whole[..], b"192.0.2.1 - - "].concat();
        for source in [damaged, unequal, followed] {
            let (_, error) = read(&source);
            let error = error.unwrap();
            assert!(
                error.starts_with("the compressed data is damaged"),
                "{error}"
            );
        }
    }

    #[test]
    fn refuses_what_is_compressed() {
        for (start, tool) in [
            (&b"BZh91AY&SY"[..], "`bzcat`"),
            (b"\xfd7zXZ\0\0", "`xzcat`"),
            (b"\x28\xb5\x2f\xfd\x24", "`zstdcat`"),
        ] {
            let (lines, error) = read(start);
            assert!(lines.is_empty() && error.unwrap().contains(tool));
        }
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
