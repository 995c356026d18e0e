//! What the server answers about customers.

use redis::Value;

use super::scripts::MalformedReply;
use crate::segment::{Applied, Export, OrderKey, Population, Record, Timestamp};
use crate::store::MOST_COUNTED;

/// A customer's hash, as far as it can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Absent,
    /// It holds what no script of ours wrote.
    Broken,
    Known(Record),
}

impl Hash {
    /// Reads the fields of a hash: last and first activity, spend, orders. What is missing is read as
    /// `lua/customer.lua` says.
    ///
    /// # Errors
    /// Another number of fields.
    pub(super) fn decode(fields: &[Value]) -> Result<Self, MalformedReply> {
        let [last, first, spend, orders] = fields else {
            return Err(MalformedReply);
        };
        if [last, first, spend, orders].map(|field| *field == Value::Nil) == [true; 4] {
            return Ok(Self::Absent);
        }
        let moment = |field: &Value| whole(field).map(Timestamp::from_millis);
        let known = (|| {
            let last_activity = moment(last)?;
            Some(Record {
                first_activity: or(first, last_activity, moment)?,
                last_activity,
                spend: or(spend, 0, integer)?,
                orders: or(orders, 0, whole)?,
            })
        })();
        Ok(known.map_or(Self::Broken, Self::Known))
    }
}

/// Reads all fields of a hash: the export, and how many of them were broken.
///
/// # Errors
/// Another number of fields.
pub(super) fn export(reply: Value) -> Result<(Option<Export>, u64), MalformedReply> {
    let Value::Array(fields) = reply else {
        return Err(MalformedReply);
    };
    let Some((counted, fields)) = fields.split_last() else {
        return Err(MalformedReply);
    };
    let record = match Hash::decode(fields)? {
        Hash::Absent => return Ok((None, 0)),
        Hash::Broken => return Ok((None, 1)),
        Hash::Known(record) => record,
    };
    let counted = match counted {
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
    Ok((Some(Export { record, counted }), broken))
}

/// Reads the reply of `apply_change`: one answer for each of so many changes, and how many keys were broken.
///
/// # Errors
/// Anything but what the script's header promises.
pub(super) fn applied(reply: Value, changes: usize) -> Result<(Vec<Applied>, u64), MalformedReply> {
    const ANSWER: usize = 5;
    let Value::Array(values) = reply else {
        return Err(MalformedReply);
    };
    let Some((broken, answers)) = values.split_first() else {
        return Err(MalformedReply);
    };
    if answers.len() != changes * ANSWER {
        return Err(MalformedReply);
    }
    let answers = answers.chunks_exact(ANSWER).map(|answer| {
        let [fresh, first, last, orders, spend] = answer else {
            return Err(MalformedReply);
        };
        let record = match last {
            Value::Int(-1) => None,
            _ => Some(Record {
                first_activity: Timestamp::from_millis(number(first)?),
                last_activity: Timestamp::from_millis(number(last)?),
                spend: integer(spend).ok_or(MalformedReply)?,
                orders: number(orders)?,
            }),
        };
        let fresh = match fresh {
            Value::Int(0) => false,
            Value::Int(1) => true,
            _ => return Err(MalformedReply),
        };
        Ok(Applied { record, fresh })
    });
    Ok((answers.collect::<Result<_, _>>()?, number(broken)?))
}

/// A member of an index: a customer's id, unless another program wrote there.
pub(super) type Member = Vec<u8>;

/// What `begin_sweep` found for the next step.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) cursor: String,
    pub(super) walked: Vec<Member>,
    pub(super) quiet: [Vec<Member>; 2],
}

impl Begun {
    /// Reads the reply; `None` while another holds the lease.
    ///
    /// # Errors
    /// Anything but what the script's header promises.
    pub(super) fn decode(reply: Value) -> Result<Option<Self>, MalformedReply> {
        let values = match reply {
            Value::Nil => return Ok(None),
            Value::Array(values) => values,
            _ => return Err(MalformedReply),
        };
        let [cursor, walked, vips, others] =
            <[Value; 4]>::try_from(values).map_err(|_| MalformedReply)?;
        let Value::BulkString(cursor) = cursor else {
            return Err(MalformedReply);
        };
        Ok(Some(Self {
            cursor: String::from_utf8(cursor).map_err(|_| MalformedReply)?,
            walked: ids(walked)?,
            quiet: [ids(vips)?, ids(others)?],
        }))
    }
}

fn ids(value: Value) -> Result<Vec<Member>, MalformedReply> {
    let Value::Array(values) = value else {
        return Err(MalformedReply);
    };
    let ids = values.into_iter().map(|value| match value {
        Value::BulkString(id) => Ok(id),
        _ => Err(MalformedReply),
    });
    ids.collect()
}

/// What `check_customers` found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) broken: u64,
    pub(super) mended: u64,
    pub(super) population: Population,
}

impl Checked {
    /// Reads the reply.
    ///
    /// # Errors
    /// Anything but what the script's header promises.
    pub(super) fn decode(reply: Value) -> Result<Self, MalformedReply> {
        let Value::Array(values) = reply else {
            return Err(MalformedReply);
        };
        let numbers = values.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        let [broken, mended, vip, others, churned, quiet] = numbers[..] else {
            return Err(MalformedReply);
        };
        // Who has churned is not at risk any more, whichever threshold comes first.
        let quiet = quiet.max(churned);
        Ok(Self {
            broken,
            mended,
            population: Population {
                returning: others.saturating_sub(quiet),
                at_risk: quiet - churned,
                churned,
                vip,
            },
        })
    }
}

fn number(value: &Value) -> Result<u64, MalformedReply> {
    match value {
        Value::Int(number) => Ok(u64::try_from(*number)?),
        _ => Err(MalformedReply),
    }
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
mod tests {
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
        assert_eq!(applied(Value::Array(reply.concat()), 2), Ok((expected, 0)));
    }

    #[test]
    fn who_has_churned_is_not_at_risk_whichever_threshold_comes_first() {
        for (counts, at_risk, returning) in [([3, 5], 2, 5), ([5, 3], 0, 5), ([0, 0], 0, 10)] {
            let numbers = [0, 4, 1, 10, counts[0], counts[1]].map(Value::Int);
            let checked = Checked::decode(Value::Array(numbers.to_vec())).unwrap();
            let expected = Population {
                returning,
                at_risk,
                churned: counts[0] as u64,
                vip: 1,
            };
            assert_eq!((checked.mended, checked.population), (4, expected));
        }
    }

    #[test]
    fn refuses_what_the_scripts_never_answer() {
        let ints = |numbers: &[i64]| {
            let values = numbers.iter().copied().map(Value::Int);
            Value::Array(values.collect())
        };
        // Spend is text: Lua's numbers end at 53 bits.
        let no_text = ints(&[0, 1, 5, 7, 2, 9]);
        assert_eq!(applied(no_text, 1), Err(MalformedReply));
        for reply in [
            Value::Nil,
            Value::Okay,
            ints(&[]),
            ints(&[-1]),
            ints(&[0, 1, 5, 7]),
            ints(&[0, 2, -1, -1, 0, 0]),
            ints(&[0, 0, 1, 2, 3, 4, 5]),
        ] {
            assert_eq!(applied(reply.clone(), 1), Err(MalformedReply), "{reply:?}");
            assert_eq!(
                Checked::decode(reply.clone()),
                Err(MalformedReply),
                "{reply:?}"
            );
            assert_eq!(export(reply.clone()), Err(MalformedReply), "{reply:?}");
            if reply != Value::Nil {
                let begun = Begun::decode(reply.clone());
                assert_eq!(begun, Err(MalformedReply), "{reply:?}");
            }
        }
    }
}
