//! The action of the limits' panel: it needs the bans too, so the stack puts it there.

use std::future::ready;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde::Deserialize;

use super::{Unblock, Unblocked};
use crate::model::StoreError;
use crate::model::panel::{Acted, Acting, Action, Fields, Panel, shown};

/// For the store to forget: longer than any deadline that it can be given.
const STORE: Duration = Duration::from_secs(15);
/// Characters of a user's id.
const LONGEST: usize = 256;

/// A panel with this action.
pub(super) struct Unblocking {
    panel: Box<dyn Panel>,
    unblock: Unblock,
}

impl Unblocking {
    pub(super) fn new(panel: Box<dyn Panel>, unblock: Unblock) -> Self {
        Self { panel, unblock }
    }
}

impl Panel for Unblocking {
    fn name(&self) -> &'static str {
        self.panel.name()
    }

    fn script(&self) -> &'static str {
        self.panel.script()
    }

    fn hello(&self, fields: &mut Fields) {
        self.panel.hello(fields);
    }

    fn sample(&self, fields: &mut Fields) {
        self.panel.sample(fields);
    }

    fn now(&self, fields: &mut Fields) {
        self.panel.now(fields);
    }

    fn refresh(&self) {
        self.panel.refresh();
    }

    fn action(&self) -> Option<&dyn Action> {
        Some(self)
    }
}

/// Lets a client or a user in: `{"client": "192.0.2.1"}` or `{"user": "ada"}`.
impl Action for Unblocking {
    fn path(&self) -> &'static str {
        "limits/unblock"
    }

    fn act(&self, body: &[u8]) -> Acting {
        let whom = match Whom::read(body) {
            Ok(whom) => whom,
            Err(detail) => return Box::pin(ready(Acted::Invalid(detail))),
        };
        let unblock = self.unblock.clone();
        Box::pin(async move {
            let unblocking = async {
                match &whom {
                    Whom::Client(address) => unblock.client(*address).await,
                    Whom::User(id) => unblock.user(id).await,
                }
            };
            match tokio::time::timeout(STORE, unblocking).await {
                Ok(unblocked) => done(unblocked),
                Err(_) => unavailable(),
            }
        })
    }
}

fn done(unblocked: Result<Unblocked, StoreError>) -> Acted {
    let Ok(Unblocked {
        was_banned,
        was_limited,
    }) = unblocked
    else {
        return unavailable();
    };
    Acted::Done(match (was_banned, was_limited) {
        (false, false) => r#"{"was_banned":false,"was_limited":false}"#,
        (false, true) => r#"{"was_banned":false,"was_limited":true}"#,
        (true, false) => r#"{"was_banned":true,"was_limited":false}"#,
        (true, true) => r#"{"was_banned":true,"was_limited":true}"#,
    })
}

fn unavailable() -> Acted {
    let detail = "the store did not take it: this process alone forgot a part; try again once the store answers";
    Acted::Unavailable(detail.to_owned())
}

#[derive(Debug, PartialEq, Eq)]
enum Whom {
    Client(IpAddr),
    User(String),
}

impl Whom {
    /// Whom a body names, or what is wrong with the body.
    fn read(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "lowercase")]
        enum Body {
            Client(String),
            User(String),
        }
        match serde_json::from_slice(body) {
            Ok(Body::Client(client)) => match address(&client) {
                Some(address) => Ok(Self::Client(address)),
                None => Err(format!(
                    "`client` cannot be `{}`: allowed is an address such as `192.0.2.1` or `2001:db8::1`, whose whole \
                     network is meant, or an IPv6 network as the page shows it",
                    shown(&client)
                )),
            },
            Ok(Body::User(user)) if (1..=LONGEST).contains(&user.chars().count()) => {
                Ok(Self::User(user))
            }
            Ok(Body::User(user)) => Err(format!(
                "`user` cannot be `{}`: allowed is an id of 1 to {LONGEST} characters",
                shown(&user)
            )),
            Err(_) => Err(r#"the body is not `{"client": "..."}` or `{"user": "..."}`"#.to_owned()),
        }
    }
}

/// An address; an IPv6 network is named by its first one.
fn address(client: &str) -> Option<IpAddr> {
    client.parse().ok().or_else(|| {
        let (first, prefix) = client.split_once('/')?;
        let prefix: u8 = prefix.parse().ok()?;
        let first: Ipv6Addr = first.parse().ok()?;
        (prefix <= 128).then_some(first.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_a_client_or_a_user_and_what_is_wrong_is_named() {
        let read = |body: &str| Whom::read(body.as_bytes());
        for text in ["2001:db8::1", "2001:db8::1/64"] {
            let client = read(&format!(r#"{{"client": "{text}"}}"#));
            assert_eq!(client, Ok(Whom::Client("2001:db8::1".parse().unwrap())));
        }
        assert_eq!(read(r#"{"user": "ä b"}"#), Ok(Whom::User("ä b".into())));
        for (body, said) in [
            ("", "the body is not"),
            ("{}", "the body is not"),
            (
                r#"{"client": "192.0.2.1", "user": "ada"}"#,
                "the body is not",
            ),
            (r#"{"client": "ada\n"}"#, "`client` cannot be `ada\\n`"),
            (
                r#"{"client": "10.0.0.0/8"}"#,
                "`client` cannot be `10.0.0.0/8`",
            ),
            (
                r#"{"client": "2001:db8::1/129"}"#,
                "`client` cannot be `2001:db8::1/129`",
            ),
            (r#"{"user": ""}"#, "`user` cannot be ``"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
