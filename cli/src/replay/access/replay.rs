use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{Extensions, Method, Request, Response, StatusCode, Uri};
use palisade::ConfigError;
use palisade::client::{Client, Peer, Secret, UserId};
use palisade::config::Config;
use palisade::rate_limit::{Exemptions, PolicyCounts, Rejected};
use palisade::stack::Stack;
use palisade::store::memory::{Clock, MemoryStore};
use palisade::suspicion::Subject;
use palisade::suspicion::store::{LocalBanStore, LocalFailureStore};
use tower::{Layer, Service, ServiceExt};

use super::limits::{Banning, Routes};
use crate::replay::log::{Entry, Log};
use crate::replay::progress::Progress;

/// The layers of a service, on the clock of a log.
pub(super) struct Replay {
    stack: Stack,
    memory: MemoryStore,
    clock: LogClock,
    screen: Option<Screen>,
}

/// Finds out whether a request is banned, before it meets the limits.
struct Screen {
    memory: MemoryStore,
    exempt: Exemptions,
    routes: Routes,
    ipv6_prefix: u8,
    secret: Secret,
    enforced: bool,
}

/// What the layers made of one request.
pub(super) struct Outcome<'a> {
    pub(super) entry: &'a Entry,
    pub(super) admitted: bool,
    /// Whose ban it met, its client's or its user's; the request was refused for it unless bans are in dry run.
    pub(super) banned: Option<Subject>,
    /// Who the layers found the client of a request to be that reached the service.
    pub(super) client: Option<&'a Client>,
    /// By policy, in the order of the configuration.
    pub(super) policies: &'a [PolicyOutcome],
}

/// What one policy made of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PolicyOutcome {
    /// It did not apply, or had room while another one denied the request.
    Silent,
    Admitted,
    /// No room; the request passed nevertheless where the policy is in dry run.
    Denied,
}

impl Replay {
    /// More clients than a log can name, so that none is ever forgotten; room is taken only as they come.
    const MOST_KEYS: usize = 1_000_000_000;

    pub(super) fn new(
        mut config: Config,
        routes: &Routes,
        bans: Option<&Banning>,
    ) -> Result<Self, ConfigError> {
        // The layer counts off the request's path, in a task of its own; a replay counts each failure at its time.
        config.suspicion.watches.clear();
        // The log's addresses are those of the clients already.
        config.client.trusted_proxies.clear();
        let clock = LogClock::default();
        let memory = MemoryStore::builder()
            .clock(clock.clone())
            .max_keys(Self::MOST_KEYS)
            .build()?;
        let routes = routes.clone();
        let screen = Screen {
            memory: memory.clone(),
            exempt: config.suspicion.exempt.clone(),
            routes: routes.clone(),
            ipv6_prefix: config.client.ipv6_prefix,
            secret: match config.secret()? {
                Some(secret) => secret,
                None => Secret::random()?,
            },
            enforced: bans.is_some_and(|bans| !bans.dry_run),
        };
        let stack = Stack::builder()
            .config(config)
            .user(|request: &Parts| Some(request.extensions.get::<LoggedUser>()?.0.to_string()))
            .route(move |_: &Method, uri: &Uri, _: &Extensions| routes.resolve(uri.path()))
            .memory(memory.clone())
            .build()?;
        Ok(Self {
            stack,
            memory,
            clock,
            screen: bans.map(|_| screen),
        })
    }

    /// What counts failures and bans clients at the time of the request that is being replayed.
    pub(super) fn store(&self) -> impl LocalFailureStore + LocalBanStore {
        self.memory.clone()
    }

    /// Sends every line of the log through the layers, and tells `visit` what came of it.
    pub(super) async fn run(&self, log: &Log, mut visit: impl FnMut(Outcome<'_>)) {
        const STEP: usize = 4096;
        let progress = Progress::of_requests(log.entries.len() as u64);
        let tally = self.stack.tally();
        let mut service = self.stack.layer(tower::service_fn(answer));
        let mut before: Vec<PolicyCounts> = tally.policies().map(|(_, counts)| counts).collect();
        let mut outcomes = vec![PolicyOutcome::Silent; before.len()];
        let silent = outcomes.clone();
        let start = log.entries.first().map_or(0, |entry| entry.at);
        for entries in log.entries.chunks(STEP) {
            for entry in entries {
                self.clock.set(entry.at.abs_diff(start));
                let screen = self.screen.as_ref();
                let banned = screen.and_then(|screen| screen.banned(log, entry));
                if banned.is_some() && screen.is_some_and(|screen| screen.enforced) {
                    visit(Outcome {
                        entry,
                        admitted: false,
                        banned,
                        client: None,
                        policies: &silent,
                    });
                    continue;
                }
                let Ok(service) = service.ready().await;
                let Ok(response) = service.call(request(log, entry)).await;
                let counts = tally.policies().map(|(_, counts)| counts);
                for ((before, after), outcome) in before.iter_mut().zip(counts).zip(&mut outcomes) {
                    *outcome = PolicyOutcome::between(before, &after);
                    *before = after;
                }
                visit(Outcome {
                    entry,
                    admitted: response.extensions().get::<Rejected>().is_none(),
                    banned,
                    client: response.extensions().get(),
                    policies: &outcomes,
                });
            }
            progress.advance(entries.len() as u64);
        }
    }
}

impl Screen {
    fn banned(&self, log: &Log, entry: &Entry) -> Option<Subject> {
        let mut client = Client::new(log.addresses[entry.address as usize], self.ipv6_prefix);
        client.user = entry
            .user()
            .map(|user| UserId::new(&log.users[user], &self.secret));
        let subjects = [
            Some(client.network.into()),
            client.user.clone().map(Subject::User),
        ];
        let mut subjects = subjects.into_iter().flatten();
        let subject = subjects.find(|subject| self.memory.banned_for_now(subject).is_some())?;
        let (method, uri) = &log.requests[entry.request as usize];
        if let Some(route) = self.routes.resolve(uri.path()) {
            client.route = route;
        }
        (!self.exempt.covers(method, uri, &client)).then_some(subject)
    }
}

impl PolicyOutcome {
    fn between(before: &PolicyCounts, after: &PolicyCounts) -> Self {
        let denials = |counts: &PolicyCounts| counts.denied + counts.dry_run_denied;
        if denials(after) > denials(before) {
            Self::Denied
        } else if after.admitted > before.admitted {
            Self::Admitted
        } else {
            Self::Silent
        }
    }
}

/// The user that the log names.
#[derive(Clone)]
struct LoggedUser(Arc<str>);

/// The status that the service answered with at the time.
#[derive(Clone, Copy)]
struct LoggedStatus(StatusCode);

fn request(log: &Log, entry: &Entry) -> Request<()> {
    let (method, uri) = &log.requests[entry.request as usize];
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    let extensions = request.extensions_mut();
    // Logs have no port; the layers need none.
    let peer = SocketAddr::new(log.addresses[entry.address as usize], 0);
    extensions.insert(Peer(peer));
    extensions.insert(LoggedStatus(entry.status));
    if let Some(user) = entry.user() {
        extensions.insert(LoggedUser(Arc::clone(&log.users[user])));
    }
    request
}

/// The service itself: it does again what it did.
async fn answer(request: Request<()>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new(String::new());
    if let Some(LoggedStatus(status)) = request.extensions().get() {
        *response.status_mut() = *status;
    }
    if let Some(client) = request.extensions().get::<Client>() {
        response.extensions_mut().insert(client.clone());
    }
    Ok(response)
}

/// The time of the request that is being replayed, in seconds since the first; requests of one second share it.
#[derive(Clone, Default)]
struct LogClock(Arc<AtomicU64>);

impl LogClock {
    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for LogClock {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}
