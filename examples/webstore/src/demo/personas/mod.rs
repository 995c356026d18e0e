//! Who visits the shop: what each kind of visitor asks for next, and which answers it should get.
//!
//! A persona decides and sends nothing. The demo drives them inside the webstore's process, and the load test (`load/`)
//! from outside.

mod addresses;
mod chance;
mod crawler;
mod customer;
mod flood;
mod guesser;
mod journey;
mod paths;
mod probe;
mod reseller;
mod shopper;
mod sign;
mod thief;
mod two_devices;
mod world;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Method, header};

pub use chance::Chance;
pub use sign::{Credentials, Issued};
pub use world::{Regulars, Tempo, World};

/// One request that a persona makes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ask {
    /// How long the persona waits before it asks.
    pub pause: Duration,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// What the request is called in reports: a template, of which there are few.
    pub name: &'static str,
    /// The client's address, for the forwarding header.
    pub client: IpAddr,
    /// The user whose credentials the request carries.
    pub user: Option<String>,
    /// What the request is signed in by.
    pub credentials: Option<Credentials>,
    /// Whether a page of the shop asks, in a browser.
    pub is_page: bool,
    /// The body, JSON or what pretends to be.
    pub json: Option<String>,
    /// The `User-Agent`.
    pub agent: &'static str,
    /// The statuses that are right answers.
    pub expected: &'static [u16],
    /// Whether the request buys something: what an outage may refuse with 503, if a policy says so.
    pub is_checkout: bool,
}

impl Ask {
    fn get(name: &'static str, path: impl Into<String>, client: IpAddr) -> Self {
        Self {
            pause: Duration::ZERO,
            method: Method::GET,
            path: path.into(),
            name,
            client,
            user: None,
            credentials: None,
            is_page: false,
            json: None,
            agent: sign::LAPTOP,
            expected: &[200],
            is_checkout: false,
        }
    }

    fn post(
        name: &'static str,
        path: impl Into<String>,
        client: IpAddr,
        json: impl Into<String>,
    ) -> Self {
        Self {
            method: Method::POST,
            json: Some(json.into()),
            ..Self::get(name, path, client)
        }
    }

    fn login(client: IpAddr, user: &str, password: &str) -> Self {
        let json = format!(r#"{{"user":"{user}","password":"{password}"}}"#);
        Self::post(LOGIN, LOGIN, client, json)
    }

    fn after(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    fn agent(mut self, agent: &'static str) -> Self {
        self.agent = agent;
        self
    }

    fn expect(mut self, expected: &'static [u16]) -> Self {
        self.expected = expected;
        self
    }

    /// The value of an `X-Forwarded-For` header.
    #[must_use]
    pub fn x_forwarded_for(&self) -> String {
        self.client.to_string()
    }

    /// The value of a `Forwarded` header (RFC 7239, section 6: an IPv6 address is in brackets and quoted).
    #[must_use]
    pub fn forwarded(&self) -> String {
        match self.client {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!(r#"for="[{address}]""#),
        }
    }

    /// Every other header.
    #[must_use]
    pub fn headers(&self) -> Vec<(HeaderName, String)> {
        let mut headers = vec![(header::USER_AGENT, self.agent.to_owned())];
        headers.extend(self.credentials.as_ref().map(Credentials::header));
        if self.is_page {
            // Browsers say so with whatever their pages send.
            let name = HeaderName::from_static("sec-fetch-site");
            headers.push((name, "same-origin".to_owned()));
        }
        if self.json.is_some() {
            headers.push((header::CONTENT_TYPE, "application/json".to_owned()));
        }
        headers
    }

    /// Whether the request signs in.
    #[must_use]
    pub fn is_login(&self) -> bool {
        self.name == LOGIN
    }

    /// Whether the request signs out.
    #[must_use]
    pub fn is_logout(&self) -> bool {
        self.name == LOGOUT
    }

    /// What the persona hears of an answer to this.
    #[must_use]
    pub fn answered(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Answer {
        let retry_after = headers.get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        Answer {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            issued: (self.is_login() && status == 200)
                .then(|| Issued::read(headers, body))
                .flatten(),
        }
    }
}

const LOGIN: &str = "/login";
const LOGOUT: &str = "/profiles/me/logout";

/// What came back.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Retry-After`, where the response has it.
    pub retry_after: Option<Duration>,
    /// What a login got.
    pub issued: Option<Issued>,
}

impl Answer {
    fn is_denied(&self) -> bool {
        self.status == 429
    }
}

/// A visitor, who goes on for ever: when a visit or an attack is over, the next begins.
pub trait Persona: Send {
    /// What it asks for next.
    fn next(&mut self) -> Ask;

    /// Learns how its last request was answered; not called when there was no answer.
    fn hear(&mut self, answer: Answer);
}

/// The kinds of visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Looks around, and now and then buys.
    Shopper,
    /// A customer who comes back, sooner or later.
    Returning,
    /// A customer who spends more than others.
    Vip,
    /// Signs in on a laptop and on a phone, ends one from the other, and signs out.
    TwoDevices,
    /// Reads product pages, one a second.
    Crawler,
    /// Reads product pages as fast as it is let, and waits when it is told to.
    FastCrawler,
    /// Guesses the password of one account from one address.
    CredentialStuffer,
    /// Guesses the password of one account, each time from another network, and finds it in the end.
    DistributedStuffer,
    /// Tries one password on many accounts from one address.
    PasswordSprayer,
    /// Asks for what careless servers leave open.
    Scanner,
    /// Makes up tokens of sessions.
    TokenForger,
    /// Uses a token of somebody else's phone, until its owner ends that session.
    TokenThief,
    /// Sends requests that cannot be served.
    BrokenClient,
    /// Sends more than one address may.
    Flood,
    /// Buys and asks more than one user may.
    Reseller,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Shopper,
        Self::Returning,
        Self::Vip,
        Self::TwoDevices,
        Self::Crawler,
        Self::FastCrawler,
        Self::CredentialStuffer,
        Self::DistributedStuffer,
        Self::PasswordSprayer,
        Self::TokenForger,
        Self::TokenThief,
        Self::Scanner,
        Self::BrokenClient,
        Self::Flood,
        Self::Reseller,
    ];

    /// The name, as on a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shopper => "shopper",
            Self::Returning => "returning",
            Self::Vip => "vip",
            Self::TwoDevices => "two-devices",
            Self::Crawler => "crawler",
            Self::FastCrawler => "fast-crawler",
            Self::CredentialStuffer => "credential-stuffer",
            Self::DistributedStuffer => "distributed-stuffer",
            Self::PasswordSprayer => "password-sprayer",
            Self::TokenForger => "token-forger",
            Self::TokenThief => "token-thief",
            Self::Scanner => "scanner",
            Self::BrokenClient => "broken-client",
            Self::Flood => "flood",
            Self::Reseller => "reseller",
        }
    }

    /// Whether the visitor means well.
    #[must_use]
    pub const fn is_honest(self) -> bool {
        matches!(
            self,
            Self::Shopper | Self::Returning | Self::Vip | Self::TwoDevices | Self::Crawler
        )
    }

    /// How many of them there are for one of the rarest.
    #[must_use]
    pub const fn weight(self) -> usize {
        match self {
            Self::Shopper => 12,
            Self::Returning => 4,
            Self::Vip => 2,
            _ => 1,
        }
    }

    /// A visitor of this kind.
    #[must_use]
    pub fn visit(self, world: &Arc<World>) -> Box<dyn Persona> {
        match self {
            Self::Shopper => Box::new(shopper::Shopper::new(world)),
            Self::Returning => Box::new(customer::Customer::returning(world)),
            Self::Vip => Box::new(customer::Customer::vip(world)),
            Self::TwoDevices => Box::new(two_devices::TwoDevices::new(world)),
            Self::Crawler => Box::new(crawler::Crawler::polite(world)),
            Self::FastCrawler => Box::new(crawler::Crawler::fast(world)),
            Self::CredentialStuffer => Box::new(guesser::Stuffer::new(world)),
            Self::DistributedStuffer => Box::new(guesser::Distributed::new(world)),
            Self::PasswordSprayer => Box::new(guesser::Sprayer::new(world)),
            Self::TokenForger => Box::new(guesser::Forger::new(world)),
            Self::TokenThief => Box::new(thief::Thief::new(world)),
            Self::Scanner => Box::new(probe::Probe::scanner(world)),
            Self::BrokenClient => Box::new(probe::Probe::broken(world)),
            Self::Flood => Box::new(flood::Flood::new(world)),
            Self::Reseller => Box::new(reseller::Reseller::new(world)),
        }
    }
}

#[cfg(test)]
mod tests;
