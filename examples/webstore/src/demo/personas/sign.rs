//! Who visits, and what they are signed in by.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};
use serde::Deserialize;

use super::journey::country;
use super::world::World;
use super::{Ask, Chance, LOGOUT};

pub(super) const LAPTOP: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const OFFICE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/140.0.0.0 Safari/537.36";
pub(super) const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 \
                                (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1";
/// Their agents, and whether their token comes as a cookie: the phone has the shop's app.
const DEVICES: [((&str, bool), u64); 3] = [
    ((LAPTOP, true), 40),
    ((OFFICE, true), 25),
    ((PHONE, false), 35),
];

/// What a request is signed in by.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// A token in `Authorization`.
    Bearer(String),
    /// A cookie, as `name=value`.
    Cookie(String),
}

impl Credentials {
    pub(super) fn header(&self) -> (HeaderName, String) {
        match self {
            Self::Bearer(token) => (header::AUTHORIZATION, format!("Bearer {token}")),
            Self::Cookie(pair) => (header::COOKIE, pair.clone()),
        }
    }
}

/// What a login is answered with.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Issued {
    /// The token.
    pub token: String,
    /// The id of the session; `None` in a shop without sessions.
    #[serde(default)]
    pub session_id: Option<String>,
    /// The cookie that was set, as `name=value`.
    #[serde(skip)]
    pub cookie: Option<String>,
}

impl Issued {
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let mut issued: Self = serde_json::from_slice(body).ok()?;
        let cookie = headers.get(header::SET_COOKIE);
        let cookie = cookie.and_then(|cookie| cookie.to_str().ok()?.split(';').next());
        issued.cookie = cookie.map(str::to_owned);
        Some(issued)
    }

    fn credentials(&self) -> Credentials {
        match &self.cookie {
            Some(cookie) => Credentials::Cookie(cookie.clone()),
            None => Credentials::Bearer(self.token.clone()),
        }
    }
}

/// Who visits, where, and with which device.
pub(super) struct Visitor {
    pub(super) client: IpAddr,
    pub(super) user: Option<String>,
    pub(super) country: &'static str,
    agent: &'static str,
    is_browser: bool,
    issued: Option<Issued>,
}

impl Visitor {
    /// Somebody at an honest address, with any device.
    pub(super) fn new(world: &World, chance: &mut Chance, user: Option<String>) -> Self {
        let (agent, is_browser) = chance.weighted((LAPTOP, true), &DEVICES);
        Self {
            client: world.honest(),
            user,
            country: country(chance),
            agent,
            is_browser,
            issued: None,
        }
    }

    /// Somebody whom the shop has never seen; two of five log in.
    pub(super) fn stranger(world: &World, chance: &mut Chance) -> Self {
        let user = chance.percent(40).then(|| world.name("shopper"));
        Self::new(world, chance, user)
    }

    /// Somebody's browser.
    pub(super) fn browser(client: IpAddr, agent: &'static str, user: String) -> Self {
        Self {
            is_browser: true,
            ..Self::program(client, agent, user)
        }
    }

    /// Somebody's program, or the app of a phone.
    pub(super) fn program(client: IpAddr, agent: &'static str, user: String) -> Self {
        Self {
            client,
            user: Some(user),
            country: "US",
            agent,
            is_browser: false,
            issued: None,
        }
    }

    /// Signs in, with this password.
    pub(super) fn login(&self, password: &str) -> Ask {
        let user = self.user.as_deref().unwrap_or_default();
        Ask {
            is_page: self.is_browser,
            ..Ask::login(self.client, user, password).agent(self.agent)
        }
    }

    /// The request as this visitor makes it, signed in or not.
    pub(super) fn sign(&self, ask: Ask) -> Ask {
        let credentials = self.issued.as_ref().map(Issued::credentials);
        Ask {
            user: credentials.as_ref().and(self.user.clone()),
            credentials,
            is_page: self.is_browser,
            ..ask.agent(self.agent)
        }
    }

    pub(super) fn is_signed_in(&self) -> bool {
        self.issued.is_some()
    }

    /// The session, in a shop that has some.
    pub(super) fn session(&self) -> Option<&str> {
        self.issued.as_ref()?.session_id.as_deref()
    }

    /// Signs out, in a shop that has sessions: of this session (`current`) or of `all`.
    pub(super) fn logout(&self, scope: &str) -> Option<Ask> {
        self.session()?;
        let json = format!(r#"{{"scope":"{scope}"}}"#);
        Some(self.sign(Ask::post(LOGOUT, LOGOUT, self.client, json)))
    }

    /// Keeps what a login got, and forgets it once it opens nothing any more.
    pub(super) fn hear(&mut self, answer: super::Answer) {
        if answer.issued.is_some() || answer.status == 401 {
            self.issued = answer.issued;
        }
    }

    /// Forgets what it was signed in by.
    pub(super) fn leave(&mut self) {
        self.issued = None;
    }

    /// What a thief takes: the token alone.
    pub(super) fn stolen(&self) -> Option<Credentials> {
        let token = self.issued.as_ref()?.token.clone();
        Some(Credentials::Bearer(token))
    }
}
