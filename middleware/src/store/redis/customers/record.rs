//! The server's answers about customers.

use redis::Value;

use crate::segment::store::Applied;
use crate::segment::{Export, OrderKey, Record, Timestamp};
use crate::store::MOST_COUNTED;
use crate::store::redis::answer::{Answer, Elements, MalformedReply};

/// Reads the fields of a customer's hash that make a record, and no others.
pub(super) fn record(reply: Value) -> Result<Answer<Option<Record>>, MalformedReply> {
    let mut fields = Elements::of(reply)?;
    let answer = known(&mut fields)?;
    if !fields.is_empty() {
        return Err(MalformedReply);
    }
    Ok(answer)
}

/// Reads last and first activity, spend, orders. A missing field is read as `lua/customer.lua` says; a hash that holds
/// what no script of ours wrote is broken, and as good as none.
fn known(fields: &mut Elements) -> Result<Answer<Option<Record>>, MalformedReply> {
    let fields = [
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    ];
    if fields.iter().all(|field| *field == Value::Nil) {
        return Ok(None.into());
    }
    let [last, first, spend, orders] = &fields;
    let moment = |field: &Value| whole(field).map(Timestamp::from_millis);
    let record = (|| {
        let last_activity = moment(last)?;
        Some(Record {
            first_activity: or(first, last_activity, moment)?,
            last_activity,
            spend: or(spend, 0, integer)?,
            orders: or(orders, 0, whole)?,
        })
    })();
    Ok(Answer {
        broken: u64::from(record.is_none()),
        answer: record,
    })
}

/// Reads all fields of a hash.
pub(super) fn export(reply: Value) -> Result<Answer<Option<Export>>, MalformedReply> {
    let mut fields = Elements::of(reply)?;
    let Answer { broken, answer } = known(&mut fields)?;
    let counted = fields.next()?;
    if !fields.is_empty() {
        return Err(MalformedReply);
    }
    let Some(record) = answer else {
        return Ok(Answer {
            broken,
            answer: None,
        });
    };
    let counted = match &counted {
        Value::Nil => Some(Vec::new()),
        Value::BulkString(bytes) if bytes.len() <= MOST_COUNTED * 12 => {
            let (keys, rest) = bytes.as_chunks::<12>();
            let keys = keys.iter().map(|key| OrderKey::from(*key));
            rest.is_empty().then(|| keys.collect())
        }
        _ => None,
    };
    let broken = u64::from(counted.is_none());
    let counted = counted.unwrap_or_default();
    Ok(Answer {
        broken,
        answer: Some(Export { record, counted }),
    })
}

/// Reads the reply of `apply_change`: one answer for each of this many changes.
pub(super) fn applied(
    reply: Value,
    changes: usize,
) -> Result<Answer<Vec<Applied>>, MalformedReply> {
    Answer::read(reply, |elements| {
        let one = |_| {
            let fresh = elements.flag()?;
            let (first, last) = (elements.next()?, elements.next()?);
            let (orders, spend) = (elements.number()?, elements.next()?);
            let moment = |value| match value {
                Value::Int(millis) => Ok(Timestamp::from_millis(u64::try_from(millis)?)),
                _ => Err(MalformedReply),
            };
            let record = match last {
                Value::Int(-1) => None,
                last => Some(Record {
                    first_activity: moment(first)?,
                    last_activity: moment(last)?,
                    spend: integer(&spend).ok_or(MalformedReply)?,
                    orders,
                }),
            };
            Ok(Applied { record, fresh })
        };
        (0..changes).map(one).collect()
    })
}

fn or<T>(field: &Value, absent: T, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    match field {
        Value::Nil => Some(absent),
        field => read(field),
    }
}

/// A count or a moment below 2^53, as the scripts read it.
fn whole(field: &Value) -> Option<u64> {
    let digits = digits(field)?;
    let plain = digits.len() <= 16 && digits.bytes().all(|b| b.is_ascii_digit());
    let number = plain.then(|| digits.parse().ok()).flatten()?;
    (number < 1 << 53).then_some(number)
}

/// An amount as the scripts read it: no sign but `-`, no leading zero.
fn integer(field: &Value) -> Option<i64> {
    let text = digits(field)?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn digits(field: &Value) -> Option<&str> {
    match field {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn reads_customers_whose_spend_no_double_holds() {
        let spend = (1 << 53) + 1;
        let numbers = [0, 1, 5, 7, 2].map(Value::Int);
        let dropped = [0, -1, -1, 0].map(Value::Int);
        let reply = [
            &numbers[..],
            &[text("9007199254740993")],
            &dropped,
            &[text("0")],
        ];
        let record = Record {
            first_activity: Timestamp::from_millis(5),
            last_activity: Timestamp::from_millis(7),
            spend,
            orders: 2,
        };
        let expected = vec![
            Applied {
                record: Some(record),
                fresh: true,
            },
            Applied {
                record: None,
                fresh: false,
            },
        ];
        let found = applied(Value::Array(reply.concat()), 2);
        assert_eq!(found, Ok(expected.into()));
    }

    pub(crate) fn ints(numbers: &[i64]) -> Value {
        let values = numbers.iter().copied().map(Value::Int);
        Value::Array(values.collect())
    }

    /// What no script of the customers answers.
    pub(crate) fn never_answered() -> [Value; 6] {
        [
            Value::Okay,
            ints(&[]),
            ints(&[-1]),
            ints(&[0, 1, 5, 7]),
            ints(&[0, 2, -1, -1, 0, 0]),
            ints(&[0, 0, 1, 2, 3, 4, 5]),
        ]
    }

    #[test]
    fn refuses_what_the_scripts_never_answer() {
        // Spend is text: Lua's numbers end at 53 bits.
        let no_text = ints(&[0, 1, 5, 7, 2, 9]);
        assert_eq!(applied(no_text, 1), Err(MalformedReply));
        for reply in never_answered().into_iter().chain([Value::Nil]) {
            assert_eq!(applied(reply.clone(), 1), Err(MalformedReply), "{reply:?}");
            assert_eq!(export(reply.clone()), Err(MalformedReply), "{reply:?}");
        }
        for fields in [&[5; 3][..], &[5; 5]] {
            assert_eq!(record(ints(fields)), Err(MalformedReply), "{fields:?}");
        }
        // Fields that no script of ours wrote are a broken key, not a malformed reply.
        let broken = Answer {
            broken: 1,
            answer: None,
        };
        assert_eq!(record(ints(&[5; 4])), Ok(broken));
    }
}
