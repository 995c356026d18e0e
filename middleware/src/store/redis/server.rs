//! What a server says of itself when a connection begins.

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};

use super::error::{Cause, Refusal};
use super::words::{CLUSTER, REPLICA, SENTINEL};

/// The answer to `HELLO`; what it leaves out is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    /// Such as `7.0.15`.
    pub(super) version: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub(super) mode: String,
    /// `master` or `replica`.
    pub(super) role: String,
}

impl Server {
    /// Asks on a connection that has authenticated: no argument here is secret.
    pub(super) async fn greet(connection: &mut MultiplexedConnection) -> Result<Self, RedisError> {
        let reply = redis::cmd("HELLO").arg(3).query_async(connection).await?;
        Ok(Self::read(reply))
    }

    fn read(reply: Value) -> Self {
        let mut server = Self::default();
        let Value::Map(fields) = reply else {
            return server;
        };
        for (name, value) in fields {
            let (Some(name), Some(value)) = (text(name), text(value)) else {
                continue;
            };
            match &*name {
                "version" => server.version = value,
                "mode" => server.mode = value,
                "role" => server.role = value,
                _ => {}
            }
        }
        server
    }

    /// # Errors
    /// A server that no call is for. A replica still answers what only reads.
    pub(super) fn usable(&self) -> Result<(), Refusal> {
        match self.unfit() {
            Some(words) if words != REPLICA => Err(Refusal::new(Cause::Unfit, words)),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// A server on which no decision can be made, however it answers.
    pub(super) fn fit(&self) -> Result<(), Refusal> {
        match self.unfit() {
            Some(words) => Err(Refusal::new(Cause::Unfit, words)),
            None => Ok(()),
        }
    }

    pub(super) fn unfit(&self) -> Option<&'static str> {
        match (&*self.mode, &*self.role) {
            ("cluster", _) => Some(CLUSTER),
            ("sentinel", _) => Some(SENTINEL),
            (_, "replica" | "slave") => Some(REPLICA),
            _ => None,
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(mode: &str, role: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        Value::Map(vec![
            (text("version"), text("7.0.15")),
            (text("proto"), Value::Int(3)),
            (text("mode"), text(mode)),
            (text("role"), text(role)),
            (text("modules"), Value::Array(Vec::new())),
        ])
    }

    #[test]
    fn names_the_servers_that_cannot_decide() {
        for (mode, role, unfit) in [
            ("standalone", "master", None),
            // Of an active replica of KeyDB, and of what is to come.
            ("standalone", "active-replica", None),
            ("standalone", "replica", Some(REPLICA)),
            ("standalone", "slave", Some(REPLICA)),
            ("cluster", "master", Some(CLUSTER)),
            ("cluster", "replica", Some(CLUSTER)),
            ("sentinel", "sentinel", Some(SENTINEL)),
        ] {
            let server = Server::read(reply(mode, role));
            assert_eq!(server.version, "7.0.15");
            assert_eq!(server.unfit(), unfit, "{mode} {role}");
        }
        assert_eq!(Server::read(Value::Okay), Server::default());
        assert_eq!(Server::default().unfit(), None);
    }
}
