//! Orders as CSV (RFC 4180) with the header `order_id,customer_id,at,amount,currency`.

use palisade::segment::Currency;

use super::moment::{self, Moment};
use super::order::{Order, Wrong, amount, id};

/// The names of the fields, in their order.
const HEADER: [&str; 5] = ["order_id", "customer_id", "at", "amount", "currency"];

/// The longest record, in bytes, with the line breaks in its quotes.
const LONGEST_RECORD: usize = 64 * 1024;

/// A record that is put together from lines, since a quoted field may hold line breaks.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// What came before a line break within quotes.
    open: Vec<u8>,
    first_line: u64,
    quotes: usize,
    fields: Vec<Vec<u8>>,
    header_seen: bool,
}

impl Records {
    /// The line on which the record begins that the next line, of this number, is part of.
    pub(super) fn begins(&self, number: u64) -> u64 {
        match self.open.is_empty() {
            true => number,
            false => self.first_line,
        }
    }

    /// Takes the next line; the order that ends with it, if one does. `None` too for the header and blank lines.
    pub(super) fn line(
        &mut self,
        line: &[u8],
        number: u64,
        currency: Currency,
    ) -> Result<Option<Order<'_>>, Wrong> {
        let is_open = !self.open.is_empty();
        if !is_open {
            self.first_line = number;
            self.quotes = 0;
        }
        self.quotes += line.iter().filter(|&&byte| byte == b'"').count();
        if is_open {
            if self.open.len() + line.len() > LONGEST_RECORD {
                return Err(Wrong::line(
                    &self.open,
                    "a quoted field that closes within 64 KiB",
                ));
            }
            self.open.extend_from_slice(line);
            // Within a record that is well formed so far, an odd number of quotes leaves one open.
            if self.quotes % 2 == 1 {
                self.open.push(b'\n');
                return Ok(None);
            }
            let record = std::mem::take(&mut self.open);
            return match self.split(&record)? {
                Split::Whole => self.order(&record, currency),
                Split::Open => Err(Wrong::line(&record, "quotes that close")),
            };
        }
        let line = match self.header_seen {
            true => line,
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        };
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        match self.split(line)? {
            Split::Whole => self.order(line, currency),
            Split::Open => {
                self.open.extend_from_slice(line);
                self.open.push(b'\n');
                Ok(None)
            }
        }
    }

    /// To be asked after the last line.
    pub(super) fn end(&self) -> Result<(), Wrong> {
        if !self.open.is_empty() {
            return Err(Wrong::line(
                &self.open,
                "a quoted field that closes before the file ends",
            ));
        }
        if !self.header_seen {
            return Err(Wrong::line(b"", Self::HEADER_ALLOWED));
        }
        Ok(())
    }

    const HEADER_ALLOWED: &str = "the header `order_id,customer_id,at,amount,currency`";

    fn order(&mut self, record: &[u8], currency: Currency) -> Result<Option<Order<'_>>, Wrong> {
        if !self.header_seen {
            let is_header = self
                .fields
                .iter()
                .map(Vec::as_slice)
                .eq(HEADER.map(str::as_bytes));
            self.header_seen = is_header;
            let refused = || Wrong::line(record, Self::HEADER_ALLOWED);
            return is_header.then_some(None).ok_or_else(refused);
        }
        let [order, customer, at, paid, paid_in] = self.fields.as_slice() else {
            let allowed = "five fields, `order_id,customer_id,at,amount,currency`";
            return Err(Wrong::line(record, allowed));
        };
        let moment = str::from_utf8(at)
            .ok()
            .and_then(|text| text.parse::<Moment>().ok());
        let moment = moment.and_then(Moment::timestamp);
        let known = str::from_utf8(paid_in)
            .ok()
            .and_then(|text| text.parse::<Currency>().ok());
        if known != Some(currency) {
            return Err(Wrong::field("currency", paid_in, "`USD`"));
        }
        Ok(Some(Order {
            id: id("order_id", order)?,
            customer: id("customer_id", customer)?,
            at: moment.ok_or_else(|| Wrong::field("at", at, moment::ALLOWED))?,
            amount: amount("amount", paid)?,
        }))
    }

    /// Splits a record into its fields, which keep their room from record to record.
    fn split(&mut self, record: &[u8]) -> Result<Split, Wrong> {
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        let mut count = 0;
        let mut rest = record;
        loop {
            if count == self.fields.len() {
                self.fields.push(Vec::new());
            }
            let field = &mut self.fields[count];
            count += 1;
            field.clear();
            let after = match rest.strip_prefix(b"\"") {
                Some(quoted) => match unquote(quoted, field) {
                    Some(after) => after,
                    None => return Ok(Split::Open),
                },
                None => {
                    let end = rest
                        .iter()
                        .position(|&byte| byte == b',')
                        .unwrap_or(rest.len());
                    field.extend_from_slice(&rest[..end]);
                    &rest[end..]
                }
            };
            let is_bare = !rest.starts_with(b"\"");
            if is_bare && field.contains(&b'"') {
                let allowed = "quotes only around a whole field, and doubled within it";
                return Err(Wrong::line(record, allowed));
            }
            rest = match after.split_first() {
                None => break,
                Some((b',', after)) => after,
                Some(_) => return Err(Wrong::line(record, "a comma after the closing quote")),
            };
            if count > HEADER.len() {
                break;
            }
        }
        self.fields.truncate(count);
        Ok(Split::Whole)
    }
}

enum Split {
    Whole,
    /// The record ends within quotes.
    Open,
}

/// Reads up to the closing quote; what follows it.
fn unquote<'a>(mut text: &'a [u8], field: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let quote = text.iter().position(|&byte| byte == b'"')?;
        field.extend_from_slice(&text[..quote]);
        text = &text[quote + 1..];
        match text.strip_prefix(b"\"") {
            Some(after) => {
                field.push(b'"');
                text = after;
            }
            None => return Some(text),
        }
    }
}

#[cfg(test)]
mod tests;
