//! The server's answers, read element by element.

use std::error::Error;
use std::fmt;

use redis::Value;

/// A reply's content, and how many keys held something that no script of ours wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<T> {
    pub(super) broken: u64,
    pub(super) answer: T,
}

impl<T> Answer<T> {
    /// Reads an array that begins with the number of broken keys, to its end.
    ///
    /// # Errors
    /// Any other reply than the scripts' headers promise.
    pub(super) fn read(
        reply: Value,
        of: impl FnOnce(&mut Elements) -> Result<T, MalformedReply>,
    ) -> Result<Self, MalformedReply> {
        let mut elements = Elements::of(reply)?;
        let broken = elements.number()?;
        let answer = of(&mut elements)?;
        if !elements.is_empty() {
            return Err(MalformedReply);
        }
        Ok(Self { broken, answer })
    }

    pub(super) fn map<U>(self, of: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            broken: self.broken,
            answer: of(self.answer),
        }
    }
}

impl<T> From<T> for Answer<T> {
    /// An answer that met no broken key.
    fn from(answer: T) -> Self {
        Self { broken: 0, answer }
    }
}

/// The elements of an array that are still to be read.
pub(super) struct Elements(std::vec::IntoIter<Value>);

impl Elements {
    pub(super) fn of(reply: Value) -> Result<Self, MalformedReply> {
        match reply {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(MalformedReply),
        }
    }

    /// One element.
    pub(super) fn one(element: Value) -> Self {
        Self(vec![element].into_iter())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    pub(super) fn next(&mut self) -> Result<Value, MalformedReply> {
        self.0.next().ok_or(MalformedReply)
    }

    /// An integer that is not negative.
    pub(super) fn number(&mut self) -> Result<u64, MalformedReply> {
        match self.next()? {
            Value::Int(number) => Ok(u64::try_from(number)?),
            _ => Err(MalformedReply),
        }
    }

    /// 0 or 1.
    pub(super) fn flag(&mut self) -> Result<bool, MalformedReply> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(MalformedReply),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, MalformedReply> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(bytes),
            _ => Err(MalformedReply),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, MalformedReply> {
        String::from_utf8(self.bytes()?).map_err(|_| MalformedReply)
    }
}

/// The server answered something that the script never answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedReply;

impl fmt::Display for MalformedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script's reply is malformed")
    }
}

impl Error for MalformedReply {}

impl From<std::num::TryFromIntError> for MalformedReply {
    fn from(_: std::num::TryFromIntError) -> Self {
        Self
    }
}
