//! A login as its handler reports it, and as stores keep it.

use std::fmt;

use http::Extensions;

use super::store::Rule;
use crate::model::{Network, Secret, UserId};

/// How a login went: a response extension that the handler sets, for the [kinds of
/// logins](super::IncidentKind::is_of_logins).
///
/// The account is whatever text the client named, known or not. It is trimmed, put into lower case and cut to 512 bytes,
/// so that `Ada ` and `ada` are one account; nothing of it is stored or logged but a keyed hash ([`AccountHash`]).
///
/// With axum, a handler answers `(Extension(Login::failed(&name)), StatusCode::UNAUTHORIZED)`. A failure counts whatever
/// the response's status, and a success only where [`SuccessAfterFailures`](super::IncidentKind::SuccessAfterFailures) is on.
///
/// ```
/// use palisade::suspicion::Login;
///
/// let mut response = http::Response::new("the password is wrong");
/// response.extensions_mut().insert(Login::failed("ada@example.org"));
/// ```
#[derive(Clone)]
pub struct Login {
    account: Box<str>,
    succeeded: bool,
    /// Boxed, since most say nothing of it.
    user: Option<Box<UserId>>,
}

impl Login {
    /// Longer than any address of mail (RFC 5321, section 4.5.3.1: 320 bytes).
    const MOST: usize = 512;

    /// A login that failed.
    #[must_use]
    pub fn failed(account: &str) -> Self {
        Self {
            account: normal(account),
            succeeded: false,
            user: None,
        }
    }

    /// A login that succeeded: with every factor that it takes.
    #[must_use]
    pub fn succeeded(account: &str) -> Self {
        Self {
            account: normal(account),
            succeeded: true,
            user: None,
        }
    }

    /// Whose account it is: with sessions, a login that succeeds after failures is an
    /// [alert](crate::session::AlertKind::SuccessAfterFailures) of this user. Of a login that failed it says nothing.
    #[must_use]
    pub fn of(mut self, user: &UserId) -> Self {
        self.user = self.succeeded.then(|| Box::new(user.clone()));
        self
    }

    /// The user that logged in, if the handler said so.
    pub(super) fn user(&self) -> Option<&UserId> {
        self.user.as_deref()
    }
}

/// The part of an account's name that counts.
fn normal(account: &str) -> Box<str> {
    let mut text = String::new();
    for c in account.trim().chars().flat_map(char::to_lowercase) {
        if text.len() + c.len_utf8() > Login::MOST {
            break;
        }
        text.push(c);
    }
    text.into()
}

impl fmt::Debug for Login {
    /// Without the account, since people type passwords into the wrong field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("succeeded", &self.succeeded)
            .finish_non_exhaustive()
    }
}

/// 128 bits of a keyed hash of an account's name: all that is kept of it. It is written `~` and 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountHash([u8; 16]);

impl AccountHash {
    /// The hash of a name, trimmed and in lower case as [`Login`] says.
    ///
    /// ```
    /// use palisade::client::Secret;
    /// use palisade::suspicion::AccountHash;
    ///
    /// let secret = Secret::from_bytes(b"at least sixteen bytes, from a file");
    /// let hash = AccountHash::of("ada@example.org", &secret);
    /// assert_eq!(hash, AccountHash::of(" Ada@Example.org", &secret));
    /// assert_eq!(hash.to_string().len(), 33);
    /// ```
    #[must_use]
    pub fn of(account: &str, secret: &Secret) -> Self {
        Self::of_normal(&normal(account), secret)
    }

    fn of_normal(account: &str, secret: &Secret) -> Self {
        Self(secret.digest(b"account", account.as_bytes()))
    }

    /// The account as one of several distinct ones: 64 bits of the hash.
    #[must_use]
    pub fn item(self) -> u64 {
        first_half(self.0)
    }
}

fn first_half(digest: [u8; 16]) -> u64 {
    (u128::from_be_bytes(digest) >> 64) as u64
}

impl fmt::Display for AccountHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for AccountHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A login as stores count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginAttempt {
    /// The account.
    pub account: AccountHash,
    /// The client's network, as 64 bits of a keyed hash.
    pub network: u64,
    /// Whether it succeeded.
    pub succeeded: bool,
}

impl LoginAttempt {
    /// The attempt that a handler reported, from a client.
    #[must_use]
    pub fn of(login: &Login, client: Network, secret: &Secret) -> Self {
        let network = client.to_string();
        Self {
            account: AccountHash::of_normal(&login.account, secret),
            network: first_half(secret.digest(b"network", network.as_bytes())),
            succeeded: login.succeeded,
        }
    }
}

/// The logins that the kinds of a layer count, and the secret of their hashes.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) secret: Secret,
    failures: bool,
    successes: bool,
}

impl Logins {
    pub(super) fn new(rules: &[Rule], secret: Secret) -> Self {
        let of_logins = || rules.iter().filter(|rule| rule.kind.is_of_logins());
        let successes =
            of_logins().any(|rule| rule.kind == super::IncidentKind::SuccessAfterFailures);
        Self {
            secret,
            failures: of_logins().count() > usize::from(successes),
            successes,
        }
    }

    /// The login that a response reports, if any kind counts it.
    pub(super) fn told<'a>(&self, response: &'a Extensions) -> Option<&'a Login> {
        if !self.failures && !self.successes {
            return None;
        }
        response.get::<Login>().filter(|login| {
            if login.succeeded {
                self.successes
            } else {
                self.failures
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::from_bytes(b"test")
    }

    #[test]
    fn names_differ_by_neither_case_nor_surrounding_space() {
        let hash = |name| AccountHash::of(name, &secret());
        for name in ["ada", "Ada", "\tADA\n", "ada\u{a0}"] {
            assert_eq!(hash(name), hash("ada"), "{name:?}");
        }
        for name in ["", "ad", "a da", "adä", "ada\0"] {
            assert_ne!(hash(name), hash("ada"), "{name:?}");
        }
        assert_ne!(
            hash("ada"),
            AccountHash::of("ada", &Secret::from_bytes(b"other"))
        );
    }

    #[test]
    fn hostile_names_are_bounded_and_never_shown() {
        for name in ["İ".repeat(1_000_000), "x".repeat(600), "a\u{202e}\n".into()] {
            let login = Login::failed(&name);
            assert!(login.account.len() <= Login::MOST);
            assert_eq!(format!("{login:?}"), "Login { succeeded: false, .. }");
            let client = Network::of("192.0.2.1".parse().unwrap(), 64);
            let attempt = LoginAttempt::of(&login, client, &secret());
            assert_eq!(attempt.account, AccountHash::of(&name, &secret()));
            let digits = attempt.account.to_string();
            assert!(
                digits[1..].bytes().all(|b| b.is_ascii_hexdigit()),
                "{digits}"
            );
        }
    }

    #[test]
    fn the_hash_is_written_as_every_keyed_hash_is() {
        let hash = AccountHash::of("ada", &secret()).to_string();
        assert_eq!(hash, secret().hash(b"account", b"ada"));
    }
}
