use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::counts::{Reason, ServerCounts};
use super::link::{Limits, Link};
use crate::model::{Cidrs, Network};

/// Of an IPv6 address, what counts as one peer.
const IPV6_PREFIX: u8 = 64;
/// While all places are taken, how often it is looked whether one may be taken over.
const AGAIN: Duration = Duration::from_millis(50);

/// The connections that there may be, and who has them.
///
/// Invariant: no more than `all` are on the list, nor more than `each` of one network that is not exempt. A connection that
/// gives way leaves the list at once, and its socket a moment later.
#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    each: usize,
    exempt: Cidrs,
    limits: Limits,
    taken: Mutex<Taken>,
    freed: Notify,
    counts: Arc<ServerCounts>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    links: HashMap<u64, (Option<Network>, Arc<Link>)>,
    networks: HashMap<Network, usize>,
}

/// What a client finds.
#[derive(Debug)]
pub(super) enum Offer {
    Place(Place),
    /// No place now, and none that could be taken over.
    Full,
    /// Its address has as many as it may.
    Refused,
}

/// One connection's place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    places: Arc<Places>,
}

impl Places {
    pub(super) fn new(
        all: usize,
        each: usize,
        exempt: Cidrs,
        limits: Limits,
        counts: Arc<ServerCounts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            exempt,
            limits,
            taken: Mutex::default(),
            freed: Notify::new(),
            counts,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a client, that of another if need be.
    pub(super) fn offer(self: &Arc<Self>, address: IpAddr, link: &Arc<Link>) -> Offer {
        let is_bounded = self.each < self.all && !self.exempt.contains(address);
        let network = is_bounded.then(|| Network::of(address, IPV6_PREFIX));
        let mut taken = self.lock();
        let is_crowded =
            network.is_some_and(|it| taken.networks.get(&it).is_some_and(|n| *n >= self.each));
        let scope = if is_crowded { network } else { None };
        if (is_crowded || taken.links.len() >= self.all)
            && !taken.take_over(scope, &self.limits, link.now())
        {
            return if is_crowded {
                self.counts.give_up(Reason::Address);
                Offer::Refused
            } else {
                Offer::Full
            };
        }
        let number = taken.next;
        taken.next += 1;
        taken.links.insert(number, (network, Arc::clone(link)));
        if let Some(network) = network {
            *taken.networks.entry(network).or_default() += 1;
        }
        self.counts.opened();
        Offer::Place(Place {
            number,
            places: Arc::clone(self),
        })
    }

    /// Waits until it is worth asking again.
    pub(super) async fn change(&self) {
        // Time too makes places that may be taken over.
        let _ = tokio::time::timeout(AGAIN, self.freed.notified()).await;
    }

    /// Has one connection close, if one waits for its peer.
    pub(super) fn make_room(&self, now: u64) {
        self.lock().take_over(None, &self.limits, now);
    }
}

impl Taken {
    /// Closes the connection that has waited longest for its peer, of a network or of all; false if none may be closed.
    fn take_over(&mut self, of: Option<Network>, limits: &Limits, now: u64) -> bool {
        let waits = |(number, (network, link)): (&u64, &(Option<Network>, Arc<Link>))| {
            let is_candidate = of.is_none() || of == *network;
            let since = link.may_yield(limits, now).filter(|_| is_candidate)?;
            Some((since, *number))
        };
        let Some((_, number)) = self.links.iter().filter_map(waits).min() else {
            return false;
        };
        if let Some(link) = self.remove(number) {
            link.give_way();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Link>> {
        let (network, link) = self.links.remove(&number)?;
        if let Some(network) = network
            && let Some(held) = self.networks.get_mut(&network)
        {
            *held -= 1;
            if *held == 0 {
                self.networks.remove(&network);
            }
        }
        Some(link)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.number);
        self.places.counts.closed();
        self.places.freed.notify_one();
    }
}
