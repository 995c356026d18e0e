//! A client or a customer that an operator lets in again.

use std::fmt;
use std::net::IpAddr;

use super::setup::Setup;
use crate::model::{Network, Secret, StoreError, UserId};
use crate::rate_limit::RateLimitLayer;
use crate::suspicion::{Subject, Suspicions};

/// Lets a client or a customer in again: ends the ban, and forgets what the limits hold against it, in every process within
/// a second. It is one event of the security log, `client_unblocked`.
///
/// ```
/// use palisade::stack::Stack;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let unblock = Stack::builder().build()?.unblock();
/// let unblocked = unblock.client("2001:db8::1".parse()?).await?;
/// assert!(!unblocked.was_banned && !unblocked.was_limited);
/// unblock.user("ada@example.org").await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// Every policy forgets the client's network or the user's id, whatever the policy counts by. A policy whose key is another
/// text keeps its logs; [`RateLimitLayer::forget`] takes such a key. A policy that counts by itself while Redis fails does so
/// in each process: there only this process forgets.
#[derive(Clone)]
pub struct Unblock {
    limits: RateLimitLayer,
    suspicions: Suspicions,
    naming: Naming,
}

/// What there was to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unblocked {
    /// Whether a ban was lifted.
    pub was_banned: bool,
    /// Whether a policy had counted anything, within its window.
    pub was_limited: bool,
}

/// How the stack names clients and users in its keys.
#[derive(Clone)]
pub(super) struct Naming {
    ipv6_prefix: u8,
    secret: Secret,
}

impl Naming {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            ipv6_prefix: setup.said.config.client.ipv6_prefix,
            secret: setup.secret.clone(),
        }
    }
}

impl Unblock {
    pub(super) fn new(limits: RateLimitLayer, suspicions: Suspicions, naming: Naming) -> Self {
        Self {
            limits,
            suspicions,
            naming,
        }
    }

    /// Lets the client of an address in: its whole network, as the client layer counts it.
    ///
    /// # Errors
    /// The store's failure. It may have forgotten a part; to do it again does no harm.
    pub async fn client(&self, address: IpAddr) -> Result<Unblocked, StoreError> {
        self.subject(Network::of(address, self.naming.ipv6_prefix).into())
            .await
    }

    /// Lets a user in, by the id that the service's extractor returns. A ban of an address that the user comes from stays.
    ///
    /// # Errors
    /// As of [`client`](Self::client).
    pub async fn user(&self, id: &str) -> Result<Unblocked, StoreError> {
        // An id as the security log has it, hashed already, is taken too.
        let user = UserId::kept(id).unwrap_or_else(|| UserId::new(id, &self.naming.secret));
        self.subject(user.into()).await
    }

    async fn subject(&self, subject: Subject) -> Result<Unblocked, StoreError> {
        // The limits first: who is let in is not to meet them.
        let was_limited = self.limits.forget(&subject.clone().into()).await?;
        let was_banned = self.suspicions.lift(subject.clone()).await?;
        self.suspicions.report_unblock(&subject);
        Ok(Unblocked {
            was_banned,
            was_limited,
        })
    }
}

impl fmt::Debug for Unblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unblock").finish_non_exhaustive()
    }
}
