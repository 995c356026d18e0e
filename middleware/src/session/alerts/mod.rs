//! Security events of sessions: noticed by requests and logins, and told by a task beside them.

mod convicted;
mod listeners;
mod seen;
mod told;
mod travel;

use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;
use http::HeaderMap;
use http::header::USER_AGENT;
use tokio::sync::Semaphore;

pub use self::listeners::{Listeners, Notice, Notify};
pub(super) use self::seen::{Change, Move, Seen, Use};
use self::told::Told;
use super::core::Core;
use super::{Session, agent};
use crate::log::{Losses, Sampler, now};
use crate::model::{Alert, AlertKind, Client, Network, SessionId, UserId};
use crate::task::queue::{Queue, Work, leave};
use crate::task::shielded;

/// Lines in a second, of each kind.
const LINES: u16 = 20;
/// What waits to be told.
const WAITING: usize = 1_024;

/// What one layer needs to tell of security events.
pub(super) struct Alerts {
    pub(super) listeners: Listeners,
    told: Told,
    queue: Queue<Noticed>,
    losses: Losses,
    /// Places for convictions.
    convicting: Arc<Semaphore>,
    /// By kind.
    lines: [Sampler; AlertKind::ALL.len()],
}

/// What a request or a login leaves to be told.
pub(super) enum Noticed {
    Alert(Alert, Option<Network>),
    Travel {
        user: UserId,
        session: SessionId,
        client: Network,
        moved: Move,
    },
    Created(Session),
}

impl Alerts {
    pub(super) fn new(listeners: Listeners) -> Self {
        Self {
            listeners,
            told: Told::new(),
            queue: Queue::new(WAITING),
            losses: Losses::default(),
            convicting: Arc::new(Semaphore::new(convicted::AT_A_TIME)),
            lines: AlertKind::ALL.map(|_| Sampler::new(LINES)),
        }
    }

    /// The number of the newest alert.
    #[cfg(feature = "session-api")]
    pub(super) fn newest(&self) -> u64 {
        self.told.newest()
    }

    /// The alerts of a user after this number, which becomes that of the newest.
    #[cfg(feature = "session-api")]
    pub(super) fn after(&self, number: &mut u64, user: &UserId) -> Vec<Alert> {
        self.told.after(number, user)
    }
}

impl Core {
    /// Looks whether a session is used as before. Of a request like the one before it, this is all.
    #[inline]
    pub(super) fn heed_use(
        self: &Arc<Self>,
        session: &Session,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) {
        let client = extensions.get::<Client>();
        let agent = headers.get(USER_AGENT);
        let used = Use::new(
            client.map(|client| client.address),
            agent.map_or(&[], |agent| agent.as_bytes()),
        );
        if let Some(change) = self.known.heed(session.id, &used) {
            let client = client.map(|client| client.network);
            let agent = agent.and_then(|agent| agent.to_str().ok());
            self.heed_change(session, &change, client, agent.unwrap_or_default());
        }
    }

    #[cold]
    fn heed_change(
        self: &Arc<Self>,
        session: &Session,
        change: &Change,
        client: Option<Network>,
        agent: &str,
    ) {
        let Session { user, id, .. } = session;
        if change.agent
            && let Some(first) = &session.details.user_agent
            && agent::summary(agent).as_ref() != Some(first)
        {
            self.alert(AlertKind::UserAgentChanged, user, Some(*id), client);
        }
        if change.in_turns {
            self.alert(AlertKind::ConcurrentNetworks, user, Some(*id), client);
        }
        if let (Some(moved), Some(client)) = (change.moved, client)
            && self.alerts.listeners.locate.is_some()
        {
            self.leave(Noticed::Travel {
                user: user.clone(),
                session: *id,
                client,
                moved,
            });
        }
    }

    /// Tells of something, unless the same was told within an hour. It never waits.
    pub(super) fn alert(
        self: &Arc<Self>,
        kind: AlertKind,
        user: &UserId,
        session: Option<SessionId>,
        client: Option<Network>,
    ) {
        let alert = Alert::new(kind, user.clone(), session);
        if self.alerts.told.is_news(&alert, self.now()) {
            self.leave(Noticed::Alert(alert, client));
        }
    }

    /// Of a login.
    pub(super) fn heed_login(self: &Arc<Self>, session: &Session) {
        if self.alerts.listeners.notify.is_some() {
            self.leave(Noticed::Created(session.clone()));
        }
    }

    fn leave(self: &Arc<Self>, noticed: Noticed) {
        if leave(self, noticed).is_err() {
            self.lose();
        }
    }

    fn lose(&self) {
        if let Some(dropped) = self.alerts.losses.count(now()) {
            tracing::warn!(
                target: "palisade::session",
                event = "session_alerts_dropped",
                dropped,
                "security events of sessions come faster than they can be told: so many were dropped since this was last said"
            );
        }
    }

    fn tell(&self, alert: &Alert, client: Option<Network>) {
        let Alerts {
            listeners,
            told,
            lines,
            ..
        } = &self.alerts;
        self.tally.alert(alert.kind);
        told.leave(alert);
        let named = |domain: &[u8], name: String| match &listeners.hash_clients {
            Some(secret) => secret.hash(domain, name.as_bytes()),
            None => name,
        };
        let user = named(b"user", alert.user.to_string());
        if let Some(represents) = lines[alert.kind as usize].offer(self.now().as_secs()) {
            tracing::warn!(
                target: "palisade::security",
                event = "session_alert",
                kind = alert.kind.as_str(),
                user,
                session_id = alert.session.map(tracing::field::display),
                client = client.map(|client| named(b"client", client.to_string())),
                represents,
                "a security event of a user's sessions"
            );
        }
        for observer in &listeners.observers {
            shielded("security", || observer(alert, client, &user));
        }
        self.notify(&Notice::Alert(alert));
    }

    fn notify(&self, notice: &Notice<'_>) {
        if let Some(notify) = &self.alerts.listeners.notify {
            shielded("notify", || notify.notify(notice));
        }
    }

    fn is_impossible(&self, moved: Move) -> bool {
        let Some(locate) = &self.alerts.listeners.locate else {
            return false;
        };
        let place = |address: IpAddr| shielded("locate", || locate(address)).flatten();
        let places = place(moved.from).zip(place(moved.to));
        places.is_some_and(|(from, to)| travel::is_impossible(from, to, moved.took))
    }

    fn finish_one(&self, noticed: Noticed) -> Option<Session> {
        match noticed {
            Noticed::Alert(alert, client) => self.tell(&alert, client),
            Noticed::Travel {
                user,
                session,
                client,
                moved,
            } => {
                let alert = Alert::new(AlertKind::ImpossibleTravel, user, Some(session));
                if self.is_impossible(moved) && self.alerts.told.is_news(&alert, self.now()) {
                    self.tell(&alert, Some(client));
                }
            }
            Noticed::Created(session) => return Some(session),
        }
        None
    }

    /// Tells of a login if its device is new.
    fn compare(&self, session: &Session, of_user: &[Session]) {
        let others = || of_user.iter().filter(|it| it.id != session.id);
        let is_earlier = |it: &&Session| (it.created, it.id) < (session.created, session.id);
        let is_same = |it: &Session| match (&session.details.device, &it.details.device) {
            (None, None) => {
                it.details.kind == session.details.kind
                    && it.details.user_agent == session.details.user_agent
            }
            (device, other) => device == other,
        };
        if !others().filter(is_earlier).any(is_same) {
            let others = others().count();
            self.notify(&Notice::NewDevice { session, others });
        }
    }
}

impl Work for Core {
    type Item = Noticed;

    fn queue(&self) -> &Queue<Noticed> {
        &self.alerts.queue
    }

    /// Logins are many, and a flood of them is to hide no alert.
    fn is_precious(noticed: &Noticed) -> bool {
        matches!(noticed, Noticed::Alert(..))
    }

    async fn finish(&self, batch: Vec<Noticed>) {
        for noticed in batch {
            let Some(session) = self.finish_one(noticed) else {
                continue;
            };
            match self.store.list(&session.user).await {
                Ok(of_user) => self.compare(&session, &of_user),
                // Rather one notice too many than none of a thief's login.
                Err(_) => self.compare(&session, &[]),
            }
        }
    }

    fn finish_here(&self, batch: Vec<Noticed>) {
        for noticed in batch {
            if let Some(session) = self.finish_one(noticed) {
                self.compare(&session, &[]);
            }
        }
    }
}
