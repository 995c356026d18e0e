use std::collections::HashMap;
use std::net::IpAddr;

use palisade::client::Network;

use crate::replay::log::{Entry, Log};

/// Who the clients of a log are: addresses of one IPv6 prefix are one client.
pub(super) struct Clients<'a> {
    log: &'a Log,
    networks: Vec<Network>,
    /// By address, an index in `networks`.
    of_address: Vec<usize>,
}

impl<'a> Clients<'a> {
    pub(super) fn new(log: &'a Log, ipv6_prefix: u8) -> Self {
        let mut networks = Vec::new();
        let mut known = HashMap::new();
        let number = |address: &IpAddr| {
            let network = Network::of(*address, ipv6_prefix);
            *known.entry(network).or_insert_with(|| {
                networks.push(network);
                networks.len() - 1
            })
        };
        let of_address = log.addresses.iter().map(number).collect();
        Self {
            log,
            networks,
            of_address,
        }
    }

    pub(super) fn networks(&self) -> usize {
        self.networks.len()
    }

    /// How many clients there are for a policy that counts by user, or by network.
    pub(super) fn known(&self, by_user: bool) -> usize {
        if by_user {
            self.log.users.len()
        } else {
            self.networks.len()
        }
    }

    /// The number of the client that sent a request; anonymous ones have none among the users.
    pub(super) fn number(&self, entry: &Entry, by_user: bool) -> Option<usize> {
        if by_user {
            entry.user()
        } else {
            Some(self.of_address[entry.address as usize])
        }
    }

    pub(super) fn name(&self, number: usize, by_user: bool) -> String {
        if by_user {
            self.log.users[number].to_string()
        } else {
            self.networks[number].to_string()
        }
    }
}
