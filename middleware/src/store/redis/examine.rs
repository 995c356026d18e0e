//! What a server is, and whether it lets palisade do what it must: asked at start, and by operators.

use std::fmt;
use std::time::{Duration, SystemTime};

use redis::Value;
use redis::aio::MultiplexedConnection;

use super::answer::{Answer, MalformedReply};
use super::call::{Call, Script};
use super::commands::{COMMANDS, Command};
use super::connection::Connections;
use super::error::{Cause, Failure, Refusal};
use super::words::Reason;
use super::{Core, RedisStore};
use crate::model::StoreError;

static TRY_COMMANDS: Script = Script::new(include_str!("lua/try_commands.lua"));

/// How long the examination may take at least, on a server that answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// What [`RedisStore::examine`] found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Examination {
    /// Where the server is, such as `127.0.0.1:6379` or the path of a socket; no part of it is secret.
    pub address: String,
    /// Such as `7.0.15`; empty where the server does not say, as in the next two.
    pub version: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// `master` or `replica`.
    pub role: String,
    /// Why no decision can be made on this server, whatever its commands: it is a node of a Cluster, a Sentinel or a replica.
    pub unfit: Option<&'static str>,
    /// The commands that palisade needs and may not run. Each was tried, on a key of its own; nothing is said of them on a
    /// server that is unfit.
    pub denied: Vec<DeniedCommand>,
    /// What the server does when its memory is full, such as `noeviction`; `None` where the user may not ask (`CONFIG GET`).
    pub eviction: Option<String>,
    /// The server's `maxmemory` in bytes, 0 for none; `None` as for the eviction.
    pub memory: Option<u64>,
    /// By how many milliseconds the server's clock is ahead of this machine's, behind it if negative. It is exact to half of
    /// the `round_trip`. `None` where the server's time cannot be asked.
    pub clock_ahead: Option<i64>,
    /// How long the question for the time took.
    pub round_trip: Duration,
    /// Whether the connection goes through TLS.
    pub tls: bool,
}

impl Examination {
    /// Whether this is a node of a Redis Cluster, which is not supported yet: no service should start on one.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.mode == "cluster"
    }

    /// Whether the limits hold on this server: it is fit, and may run every command of a decision.
    #[must_use]
    pub fn can_decide(&self) -> bool {
        self.unfit.is_none() && !self.denied.iter().any(|denied| denied.decides)
    }

    /// All that keeps palisade from using the server, each as a sentence without a full stop.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let unfit = self.unfit.map(str::to_owned);
        unfit
            .into_iter()
            .chain(self.denied.iter().map(ToString::to_string))
    }
}

/// A command that palisade needs and may not run; displayed, it says why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeniedCommand {
    /// In capitals.
    pub command: &'static str,
    /// Whether decisions of the limits need it: without it they are made in each process alone. Otherwise suspicion, bans,
    /// customers or visitors need it.
    pub decides: bool,
    reason: Reason,
}

impl DeniedCommand {
    fn of(command: &Command, reason: Reason) -> Self {
        Self {
            command: command.name,
            decides: command.decides,
            reason,
        }
    }
}

impl fmt::Display for DeniedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason.says(Some(self.command)))
    }
}

/// Commands, each of which is called to see whether it may be.
pub(super) struct Trial(Vec<&'static Command>);

impl Trial {
    pub(super) fn of_decisions() -> Self {
        let decide = |command: &&Command| command.decides && command.trial.is_some();
        Self(COMMANDS.iter().filter(decide).collect())
    }

    fn of_all() -> Self {
        let tried = |command: &&Command| command.trial.is_some();
        Self(COMMANDS.iter().filter(tried).collect())
    }

    fn call(&self, key: &str) -> Call {
        let mut call = TRY_COMMANDS.call(1);
        call.arg(key);
        for command in &self.0 {
            let trial = command.trial.unwrap_or_default();
            call.arg(format!("{} {trial}", command.name));
        }
        call
    }

    /// Those that may not be called. What else a trial answers is no matter: the key holds what it holds.
    fn read(&self, reply: Value) -> Result<Answer<Vec<DeniedCommand>>, MalformedReply> {
        Answer::read(reply, |elements| {
            let mut denied = Vec::new();
            while !elements.is_empty() {
                let place = usize::try_from(elements.number()?)?;
                let command = self.0.get(place).ok_or(MalformedReply)?;
                let Some(reason) = Reason::of_words(&elements.text()?) else {
                    continue;
                };
                // Without the keys, every command that takes one is refused.
                let is_told = |it: &DeniedCommand| it.reason == Reason::Key;
                if reason != Reason::Key || !denied.iter().any(is_told) {
                    denied.push(DeniedCommand::of(command, reason));
                }
            }
            Ok(denied)
        })
    }

    pub(super) async fn run(
        &self,
        core: &Core,
        deadline: Duration,
    ) -> Result<Vec<DeniedCommand>, Failure> {
        let [.., key] = core.prefix.probes();
        let read = |reply| self.read(reply);
        core.ask_apart(&self.call(&key), deadline, read).await
    }
}

impl RedisStore {
    /// Looks at the server: what it is, whether palisade may run every command that it needs, and what an operator should
    /// know. To be asked once at start; it asks on a connection of its own, and leaves nothing behind.
    ///
    /// Whether a command may be run is found out by running it, since the commands that would tell (`ACL DRYRUN`,
    /// `COMMAND INFO`) need permissions of their own, and do not know of a script.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use palisade::store::redis::RedisStore;
    ///
    /// let store = RedisStore::builder("redis://127.0.0.1:6379").build()?;
    /// match store.examine().await {
    ///     Ok(found) if found.is_cluster() => return Err("a Redis Cluster".into()),
    ///     Ok(found) => found.problems().for_each(|problem| eprintln!("{problem}")),
    ///     // Requests do as the layers say for the time that the store is away.
    ///     Err(away) => eprintln!("{away}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A server that does not answer, or refuses the connection.
    pub async fn examine(&self) -> Result<Examination, StoreError> {
        let core = &self.0;
        let deadline = core.deadline.max(PATIENCE);
        let connections = &core.connections;
        let look = async |connection: &mut MultiplexedConnection| {
            let server = connections.greet(connection).await?;
            let mut found = Examination {
                address: connections.address(),
                unfit: server.unfit(),
                version: server.version,
                mode: server.mode,
                role: server.role,
                denied: Vec::new(),
                eviction: config(connection, "maxmemory-policy").await,
                memory: config(connection, "maxmemory")
                    .await
                    .and_then(|bytes| bytes.parse().ok()),
                clock_ahead: None,
                round_trip: Duration::ZERO,
                tls: connections.is_tls(),
            };
            found.ask_time(connection).await;
            found.denied = direct(connections, connection).await?;
            Ok(found)
        };
        let mut found = connections.exclusively(deadline, look).await?;
        let may_run_scripts = !found.denied.iter().any(|it| it.command.starts_with("EVAL"));
        if found.unfit.is_none() && may_run_scripts {
            let denied = match Trial::of_all().run(core, deadline).await {
                // The script itself may be run: what is refused is its key.
                Err(Failure::Refused(refusal)) if refusal.cause == Cause::Denied => {
                    let script = COMMANDS.iter().find(|it| it.name == "EVALSHA");
                    let denied = script.map(|it| DeniedCommand::of(it, Reason::Key));
                    denied.into_iter().collect()
                }
                tried => tried?,
            };
            found.denied.splice(..0, denied);
        }
        Ok(found)
    }
}

impl Examination {
    async fn ask_time(&mut self, connection: &mut MultiplexedConnection) {
        let (before, asked) = (SystemTime::now(), tokio::time::Instant::now());
        let time = redis::cmd("TIME")
            .query_async::<(u64, u64)>(connection)
            .await;
        self.round_trip = asked.elapsed();
        let Ok((seconds, micros)) = time else {
            return;
        };
        let since_epoch = before.duration_since(SystemTime::UNIX_EPOCH);
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let here = millis(since_epoch.unwrap_or_default() + self.round_trip / 2);
        let there = millis(Duration::from_secs(seconds) + Duration::from_micros(micros));
        self.clock_ahead = Some(there.saturating_sub(here));
    }
}

/// The commands that no script may call and that are refused.
async fn direct(
    connections: &Connections,
    connection: &mut MultiplexedConnection,
) -> Result<Vec<DeniedCommand>, Failure> {
    let mut denied = Vec::new();
    for command in COMMANDS.iter().filter(|command| command.trial.is_none()) {
        let mut call = Call::command(command.name);
        match command.name {
            "EVAL" => call.arg("return 1").arg(0),
            // Of no script: the answer is that there is none.
            "EVALSHA" => call.arg("0".repeat(40)).arg(0),
            _ => &mut call,
        };
        let Err(error) = call.run(connection.clone()).await else {
            continue;
        };
        match connections.failure(&error, &call) {
            Failure::Refused(Refusal {
                cause: Cause::Denied,
                ..
            }) => {
                let reason = Reason::of(&error).unwrap_or(Reason::Denied);
                denied.push(DeniedCommand::of(command, reason));
            }
            failure if failure.is_of_the_connection() => return Err(failure),
            _ => {}
        }
    }
    Ok(denied)
}

/// A setting of the server, if the user may ask for it.
async fn config(connection: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg(name);
    let settings: std::collections::HashMap<String, String> =
        ask.query_async(connection).await.ok()?;
    settings
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_trial_that_fails_for_another_reason_is_no_denial() {
        let trial = Trial::of_all();
        let place = |name: &str| {
            let place = trial.0.iter().position(|it| it.name == name).unwrap();
            Value::Int(place as i64)
        };
        let reply = Value::Array(vec![
            Value::Int(0),
            place("HSET"),
            text("WRONGTYPE Operation against a key holding the wrong kind of value"),
            place("TIME"),
            text("ERR The user executing the script can't run this command or subcommand"),
            place("UNLINK"),
            text("ERR Unknown Redis command called from script"),
        ]);
        let denied = trial.read(reply).unwrap().answer;
        let denied: Vec<_> = denied.iter().map(ToString::to_string).collect();
        assert_eq!(
            denied,
            [
                "the user may not run the command `TIME`: its ACL wants `+time`",
                "the server does not know the command `UNLINK`: it is renamed, or the server too old"
            ]
        );
    }

    #[test]
    fn a_key_is_made_first_and_removed_last() {
        for trial in [Trial::of_decisions(), Trial::of_all()] {
            assert_eq!(trial.0.first().unwrap().name, "SET");
            assert_eq!(trial.0.last().unwrap().name, "UNLINK");
        }
    }
}
