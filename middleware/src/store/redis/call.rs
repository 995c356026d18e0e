//! The one path of a call to the server.
//!
//! An open breaker refuses the call at once. Otherwise it leaves on the requests' connection, and has until the deadline.
//! A script runs by its hash, or once by its text where the server does not know it. The observer is told of every call,
//! and the breaker of every success, and of every failure that any other call would have met too.
//!
//! A decision shares its call with others, each with a deadline of its own, so [`dispatch`](super::dispatch) has its own
//! timer around [`Core::ask`]. Sweeps, loads and probes hold up no request and use a connection of their own:
//! [`Core::ask_apart`].

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Arg, Cmd, ErrorKind, RedisResult, ServerErrorKind, ToRedisArgs, Value};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::Core;
use super::answer::{Answer, MalformedReply};
use super::breaker::Failed;
use super::error::Failure;
use super::keys::Keys;
use crate::model::{Operation, Outcome, Reply, StoreError, StoreErrorKind};
use crate::task::shielded;

/// A Lua script, and the hash by which the server knows it.
pub(super) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: OnceLock::new(),
        }
    }

    /// A call with this many keys, which are its first arguments.
    pub(super) fn call(&'static self, keys: usize) -> Call {
        let hash = || redis::Script::new(self.text).get_hash().to_owned();
        let mut call = Call::of("EVALSHA", Some(self), keys);
        call.arg(self.hash.get_or_init(hash)).arg(keys);
        call
    }

    /// A call with these keys.
    pub(super) fn on(&'static self, keys: &Keys) -> Call {
        let mut call = self.call(keys.len());
        call.keys(keys);
        call
    }
}

/// A command, and the script that it runs.
pub(super) struct Call {
    command: Cmd,
    script: Option<&'static Script>,
}

impl Call {
    /// A command of the server's own.
    pub(super) fn command(name: &str) -> Self {
        Self::of(name, None, 1)
    }

    fn of(name: &str, script: Option<&'static Script>, keys: usize) -> Self {
        // Room for most calls, so that no buffer grows on a request's path.
        let mut command = Cmd::with_capacity(keys + 6, (keys + 1) * Keys::TYPICAL);
        command.arg(name);
        Self { command, script }
    }

    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    pub(super) fn keys(&mut self, keys: &Keys) {
        for key in keys.iter() {
            self.command.arg(key);
        }
    }

    /// Recovers inside the call from a server that does not know the script (a restart, `SCRIPT FLUSH`): one more round
    /// trip then, none otherwise.
    pub(super) async fn run(&self, mut connection: MultiplexedConnection) -> RedisResult<Value> {
        match (query(&self.command, &mut connection).await, self.script) {
            (Err(error), Some(script))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                query(&self.by_text(script), &mut connection).await
            }
            (result, _) => result,
        }
    }

    /// The same call with the script's text, after which the server knows it.
    fn by_text(&self, script: &Script) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script.text);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }

    /// The text of the script that it runs.
    pub(super) fn text(&self) -> Option<&'static str> {
        self.script.map(|script| script.text)
    }

    #[cfg(test)]
    pub(super) fn packed(&self) -> Vec<u8> {
        self.command.get_packed_command()
    }
}

fn query<'a>(
    command: &'a Cmd,
    connection: &'a mut MultiplexedConnection,
) -> impl Future<Output = RedisResult<Value>> + Send + 'a {
    command.query_async(connection)
}

impl Core {
    /// One call from its beginning to its end; it is made only if the breaker lets it through.
    pub(super) fn request<T: Send + 'static>(
        self: &Arc<Self>,
        operation: Operation,
        call: impl FnOnce() -> Call,
        read: impl FnOnce(Value) -> Result<Answer<T>, MalformedReply> + Send + 'static,
    ) -> Reply<T> {
        if let Some(rejected) = self.reject(operation) {
            return Reply::Ready(Err(rejected));
        }
        let (core, call) = (Arc::clone(self), call());
        Reply::pending(async move { core.attempt(operation, core.ask(&call, read)).await })
    }

    /// The error of a call that is not made, since the breaker is open.
    pub(super) fn reject(&self, operation: Operation) -> Option<StoreError> {
        self.health.breaker.is_open().then(|| {
            self.observe(operation, Outcome::Rejected, Duration::ZERO);
            StoreError::new(StoreErrorKind::Rejected)
        })
    }

    /// Waits until the deadline for a call on the requests' connection.
    pub(super) async fn attempt<T>(
        self: &Arc<Self>,
        operation: Operation,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        if Handle::try_current().is_err() {
            return Err(outside_a_runtime());
        }
        let asked = Instant::now();
        let result = timeout(self.deadline, asking).await.unwrap_or_else(|_| {
            // A connection that does not answer may never: the next call starts on another one.
            self.connections.forget();
            Err(Failure::Timeout)
        });
        self.note(operation, asked, &result);
        match &result {
            Ok(_) => self.health.breaker.answered(),
            // An error of only this call (an ACL that does not cover its keys, say) must not turn the limits local.
            Err(failure) if failure.is_of_the_connection() => {
                self.note_failure(failure, Failed::Other);
            }
            Err(_) => {}
        }
        Ok(result?)
    }

    /// Sends a call on the requests' connection, and reads the reply.
    pub(super) async fn ask<T>(
        &self,
        call: &Call,
        read: impl FnOnce(Value) -> Result<Answer<T>, MalformedReply>,
    ) -> Result<T, Failure> {
        let reply = self.connections.call(call).await?;
        self.read(reply, read)
    }

    /// Sends a call on a connection of its own, and reads the reply.
    pub(super) async fn ask_apart<T>(
        &self,
        call: &Call,
        deadline: Duration,
        read: impl FnOnce(Value) -> Result<Answer<T>, MalformedReply>,
    ) -> Result<T, Failure> {
        let reply = self.connections.call_exclusively(call, deadline).await?;
        self.read(reply, read)
    }

    fn read<T>(
        &self,
        reply: Value,
        read: impl FnOnce(Value) -> Result<Answer<T>, MalformedReply>,
    ) -> Result<T, Failure> {
        Ok(self.counted(read(reply)?))
    }

    /// An answer, whose broken keys are counted.
    pub(super) fn counted<T>(&self, Answer { broken, answer }: Answer<T>) -> T {
        if broken > 0 {
            self.health.count_broken_logs(broken);
        }
        answer
    }

    /// Waits for a call on another connection than the requests'. The breaker is not told of it.
    pub(super) async fn apart<T>(
        &self,
        operation: Operation,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let asked = Instant::now();
        let result = asking.await;
        self.note(operation, asked, &result);
        result
    }

    /// Tells the observer how a call ended.
    fn note<T>(&self, operation: Operation, asked: Instant, result: &Result<T, Failure>) {
        let outcome = result
            .as_ref()
            .map_or_else(Failure::outcome, |_| Outcome::Ok);
        self.observe(operation, outcome, asked.elapsed());
    }

    pub(super) fn observe(&self, operation: Operation, outcome: Outcome, took: Duration) {
        for observer in self.observer.iter().chain(self.watcher.get()) {
            shielded("store", || observer(operation, outcome, took));
        }
    }
}

/// The error of a call that is not sent to the server.
pub(super) fn refused(why: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Failed).with_source(why)
}

pub(super) fn outside_a_runtime() -> StoreError {
    refused("called outside a tokio runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_goes_by_its_text_with_the_same_keys_and_arguments() {
        static SCRIPT: Script = Script::new("return 1");
        let mut call = SCRIPT.call(1);
        call.arg("a key").arg(7).arg(b"\x00\r\n".as_slice()).arg("");
        let rest = "$1\r\n1\r\n$5\r\na key\r\n$1\r\n7\r\n$3\r\n\0\r\n\r\n$0\r\n\r\n";
        let by_hash = "*7\r\n$7\r\nEVALSHA\r\n$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n";
        let by_text = "*7\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n";
        assert_eq!(call.packed(), [by_hash, rest].concat().as_bytes());
        let packed = call.by_text(&SCRIPT).get_packed_command();
        assert_eq!(packed, [by_text, rest].concat().as_bytes());
    }
}
