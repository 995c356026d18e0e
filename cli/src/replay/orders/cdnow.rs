//! The format of the CDNOW data set: customer, date, number of CDs and dollars, set apart by spaces.

use super::moment;
use super::order::{Order, Wrong, amount, id};

/// Reads a line, whose order has its number as the id; `None` for a blank one, and for the header on line 1.
///
/// The lines are numbered as in the file, the header included: the first order below a header is the order `2`.
pub(super) fn parse<'a>(
    line: &'a [u8],
    number: u64,
    number_text: &'a str,
) -> Result<Option<Order<'a>>, Wrong> {
    let mut fields = line
        .split(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        .filter(|field| !field.is_empty());
    let Some(customer) = fields.next() else {
        return Ok(None);
    };
    if number == 1 && customer == b"customer_id" {
        return Ok(None);
    }
    let (Some(date), Some(items), Some(dollars), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        let allowed = "four fields, a customer's id, a date, a number of items and an amount, as in \
                       `00001 19970101 1 11.77`";
        return Err(Wrong::line(line.trim_ascii(), allowed));
    };
    if items.len() > 9 || !items.iter().all(u8::is_ascii_digit) {
        return Err(Wrong::field(
            "number_of_cds",
            items,
            "a number up to 999999999",
        ));
    }
    let at = moment::of_digits(date).ok_or_else(|| {
        let allowed = "a date such as `19980701`, from 1970 on";
        Wrong::field("date", date, allowed)
    })?;
    Ok(Some(Order {
        id: number_text,
        customer: id("customer_id", customer)?,
        at,
        amount: amount("dollar_value", dollars)?,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrong(line: &str) -> String {
        parse(line.as_bytes(), 2, "2").unwrap_err().to_string()
    }

    #[test]
    fn reads_an_order_and_skips_the_header_and_blank_lines() {
        let order = parse(b" 00001 19970101  1   11.77\r", 7, "7")
            .unwrap()
            .unwrap();
        assert_eq!(
            (order.id, order.customer, order.amount),
            ("7", "00001", 1_177)
        );
        assert_eq!(order.at.as_millis(), 852_076_800_000);
        let header = b" customer_id  date number_of_cds  dollar_value\r";
        assert_eq!(parse(header, 1, "1"), Ok(None));
        assert!(parse(header, 2, "2").is_err());
        assert_eq!(parse(b" \r", 2, "2"), Ok(None));
        assert!(parse(b"1 19970101 1 1", 1, "1").unwrap().is_some());
    }

    #[test]
    fn says_which_field_is_wrong() {
        for (line, says) in [
            (
                "1 19970101 1",
                "the line cannot be `1 19970101 1`: allowed is four fields",
            ),
            ("1 19970101 1 1.00 x", "four fields"),
            (
                "1 19970230 1 1.00",
                "`date` cannot be `19970230`: allowed is a date such as",
            ),
            ("1 19691231 1 1.00", "from 1970 on"),
            ("1 19970101 -1 1.00", "`number_of_cds` cannot be `-1`"),
            (
                "1 19970101 1 -1.00",
                "`dollar_value` cannot be `-1.00`: allowed is an amount from 0.00",
            ),
            ("1\0 19970101 1 1.00", r"`customer_id` cannot be `1\x00`"),
        ] {
            assert!(wrong(line).contains(says), "{}", wrong(line));
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..60), number in 1_u64..3) {
            let _ = parse(&line, number, "1");
        }
    }
}
