//! The token: what it is made of, and the proof that this service made it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, iter};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

use super::SessionId;
use super::store::Origin;
use crate::model::{Network, Secret, UserId};
use crate::sync::cache::{Cache, put};

/// The text that opens a session. Hand it to the client once; nothing keeps it.
///
/// `pls_<user>.<id>.<secret>`, each part base64url without padding: the user's key form, the 16 bytes of the id, and 32 bytes
/// of secret followed by 16 bytes of HMAC over user, id and secret. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// What a token claims, once its HMAC has shown that this service made it. Whether the session lives, the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose session it is.
    pub user: UserId,
    /// The session's id.
    pub id: SessionId,
    /// The hash of the token's secret, which the store compares with its own.
    pub proof: Proof,
}

/// SHA-256 of a token's secret: all that a store keeps of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof([u8; 32]);

/// Why a text is no token of this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Invalid {
    /// It does not begin with `pls_`: somebody else's credentials.
    NotOurs,
    /// It is malformed, or this service did not make it.
    Forged,
}

/// The secrets that make and check tokens: the service's own, and the previous one while it is accepted.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    current: Secret,
    previous: Option<Secret>,
    is_lasting: bool,
    checked: Arc<Checked>,
}

/// The claims of tokens whose HMAC held: it costs more than all else of a request whose session is known.
///
/// A token is remembered by 128 bits of keyed hashes of its secret, so that memory has no more of it than the store has.
struct Checked {
    claims: Cache<(Marks, Claim)>,
    hashers: [RandomState; 2],
    start: Instant,
}

/// Of a token's text and of its secret; and when it was checked.
#[derive(Debug, Clone, Copy)]
struct Marks {
    text: u64,
    secret: u64,
    at: Duration,
}

const MARK: &str = "pls_";
const SECRET: usize = 32;
const MAC: usize = 16;
/// Base64 of the longest user (64 bytes), of the id and of secret and HMAC, with the mark and two dots.
const LONGEST: usize = MARK.len() + 86 + 1 + 22 + 1 + 64;

/// Tokens that are remembered, at some 120 bytes each.
const REMEMBERED: usize = 16_384;

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checked(…)")
    }
}

impl Token {
    /// The text, for the answer to the client and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Proof {
    /// The proof of a secret.
    #[must_use]
    pub fn of(secret: &[u8; 32]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// The hash, as a store keeps it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether a kept hash is this one. It takes as long for any other.
    #[must_use]
    pub fn equals(&self, kept: &[u8; 32]) -> bool {
        is_equal(&self.0, kept)
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(…)")
    }
}

impl Keyring {
    pub(crate) fn new(current: Secret, previous: Option<Secret>) -> Self {
        Self {
            current,
            previous,
            is_lasting: true,
            checked: Arc::new(Checked {
                claims: Cache::new(REMEMBERED),
                hashers: [RandomState::new(), RandomState::new()],
                start: Instant::now(),
            }),
        }
    }

    /// A secret that this process drew: what it did not make, an earlier process may have made.
    pub(crate) fn of_this_process(mut self) -> Self {
        self.is_lasting = false;
        self
    }

    /// Whether every process of the service makes and checks tokens by this secret.
    pub(super) fn is_lasting(&self) -> bool {
        self.is_lasting
    }

    /// The service's own secret.
    pub(super) fn current(&self) -> &Secret {
        &self.current
    }

    /// Where a session comes from, as a store keeps it: by the service's own secret first, then by the previous one.
    pub(super) fn origins(&self, client: Network) -> impl Iterator<Item = Origin> {
        let network = client.to_string();
        let secrets = iter::once(&self.current).chain(&self.previous);
        secrets.map(move |secret| Origin(secret.digest(b"session-origin", network.as_bytes())))
    }

    /// A token with a random secret, and what a store keeps of it.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub(super) fn draw(
        &self,
        user: &UserId,
        id: SessionId,
    ) -> Result<(Token, Proof), getrandom::Error> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret)?;
        Ok(self.token(user, id, &secret))
    }

    /// The token of an idempotent login: whoever knows user, id and key but not the service's secret cannot make it.
    pub(super) fn derive(&self, user: &UserId, id: SessionId, key: &[u8]) -> (Token, Proof) {
        let text = bound(user, id, key);
        let mut secret = [0; SECRET];
        secret[..16].copy_from_slice(&self.current.digest(b"session-secret-1", &text));
        secret[16..].copy_from_slice(&self.current.digest(b"session-secret-2", &text));
        self.token(user, id, &secret)
    }

    fn token(&self, user: &UserId, id: SessionId, secret: &[u8; SECRET]) -> (Token, Proof) {
        let mut tail = [0; SECRET + MAC];
        tail[..SECRET].copy_from_slice(secret);
        tail[SECRET..].copy_from_slice(&mac(&self.current, user, id, secret));
        let mut text = String::with_capacity(LONGEST);
        text.push_str(MARK);
        BASE64.encode_string(user.as_str(), &mut text);
        text.push('.');
        BASE64.encode_string(id.as_bytes(), &mut text);
        text.push('.');
        BASE64.encode_string(tail, &mut text);
        (Token(text), Proof::of(secret))
    }

    /// What a token claims.
    pub(super) fn read(&self, text: &str) -> Result<Claim, Invalid> {
        let parts = text.strip_prefix(MARK).ok_or(Invalid::NotOurs)?;
        if parts.len() > LONGEST - MARK.len() {
            return Err(Invalid::Forged);
        }
        let (_, secret) = parts.rsplit_once('.').ok_or(Invalid::Forged)?;
        let [of_text, of_secret] = &self.checked.hashers;
        let (text, secret) = (of_text.hash_one(parts), of_secret.hash_one(secret));
        let is_it = |(marks, _): &(Marks, Claim)| marks.text == text && marks.secret == secret;
        if let Some((_, claim)) = self.checked.claims.set(text).iter().find(|it| is_it(it)) {
            return Ok(claim.clone());
        }
        let claim = self.claimed(parts).ok_or(Invalid::Forged)?;
        let at = self.checked.start.elapsed();
        let entry = (Marks { text, secret, at }, claim.clone());
        put(
            &mut self.checked.claims.set(text),
            entry,
            is_it,
            |(marks, _)| marks.at,
        );
        Ok(claim)
    }

    fn claimed(&self, parts: &str) -> Option<Claim> {
        let mut parts = parts.split('.');
        let (user, id, tail) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let mut name = [0; 66];
        let length = BASE64.decode_slice(user, &mut name).ok()?;
        let mut id_bytes = [0; 18];
        let id_length = BASE64.decode_slice(id, &mut id_bytes).ok()?;
        let mut tail_bytes = [0; SECRET + MAC];
        if BASE64.decode_slice(tail, &mut tail_bytes).ok()? != SECRET + MAC {
            return None;
        }
        let user = UserId::kept(str::from_utf8(&name[..length]).ok()?)?;
        let id = SessionId::kept(&id_bytes[..id_length])?;
        let secret: &[u8; SECRET] = tail_bytes.first_chunk()?;
        let given: &[u8; MAC] = tail_bytes.last_chunk()?;
        let made_by = |key: &Secret| is_equal(&mac(key, &user, id, secret), given);
        (made_by(&self.current) || self.previous.as_ref().is_some_and(made_by)).then(|| Claim {
            user,
            id,
            proof: Proof::of(secret),
        })
    }
}

fn mac(key: &Secret, user: &UserId, id: SessionId, secret: &[u8; SECRET]) -> [u8; MAC] {
    key.digest(b"session", &bound(user, id, secret))
}

/// The parts in one text. The user's key form has no zero byte, so no two triples make one text.
fn bound(user: &UserId, id: SessionId, rest: &[u8]) -> Vec<u8> {
    [user.as_str().as_bytes(), &[0], id.as_bytes(), rest].concat()
}

/// Compares in a time that does not depend on what differs.
pub(super) fn is_equal<const N: usize>(one: &[u8; N], other: &[u8; N]) -> bool {
    let differs = one.iter().zip(other).fold(0, |bits, (a, b)| bits | (a ^ b));
    std::hint::black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keyring(current: &[u8]) -> Keyring {
        Keyring::new(Secret::from_bytes(current), None)
    }

    fn user(subject: &str) -> UserId {
        UserId::new(subject, &Secret::from_bytes(b"users"))
    }

    fn id() -> SessionId {
        SessionId::of([7; 16])
    }

    #[test]
    fn a_token_reads_as_what_it_was_made_of_and_shows_nothing_in_debug() {
        let keys = keyring(b"a secret");
        for subject in ["a", "ada@example.org", &"x".repeat(64), "Ada Lovelace"] {
            let (token, proof) = keys.draw(&user(subject), id()).unwrap();
            assert!(token.expose().len() <= LONGEST);
            let claim = Claim {
                user: user(subject),
                id: id(),
                proof,
            };
            assert_eq!(keys.read(token.expose()), Ok(claim));
            assert_eq!(format!("{token:?} {proof:?}"), "Token(…) Proof(…)");
        }
    }

    #[test]
    fn two_tokens_differ_and_an_idempotent_one_does_not() {
        let keys = keyring(b"a secret");
        let ada = user("ada");
        let drawn = [(); 2].map(|()| keys.draw(&ada, id()).unwrap().0);
        assert_ne!(drawn[0], drawn[1]);
        let derived = keys.derive(&ada, id(), b"key");
        assert_eq!(derived, keys.derive(&ada, id(), b"key"));
        assert_ne!(derived.0, keys.derive(&ada, id(), b"other").0);
        assert_ne!(derived.0, keyring(b"another").derive(&ada, id(), b"key").0);
        assert_eq!(keys.read(derived.0.expose()).unwrap().proof, derived.1);
    }

    #[test]
    fn a_token_of_the_previous_secret_is_accepted_while_it_is_configured() {
        let (old, new) = (Secret::from_bytes(b"old"), Secret::from_bytes(b"new"));
        let (token, _) = keyring(b"old").draw(&user("ada"), id()).unwrap();
        let both = Keyring::new(new, Some(old));
        assert!(both.read(token.expose()).is_ok());
        assert_eq!(keyring(b"new").read(token.expose()), Err(Invalid::Forged));
    }

    #[test]
    fn what_is_no_token_is_somebody_elses_or_forged() {
        let keys = keyring(b"a secret");
        for text in ["", "eyJhbGciOi", "Pls_a.b.c", " pls_", "user-token-1"] {
            assert_eq!(keys.read(text), Err(Invalid::NotOurs), "{text:?}");
        }
        let long = format!("pls_{}", "A".repeat(100_000));
        for text in [
            "pls_",
            "pls_..",
            "pls_a.b.c",
            "pls_ü.ü.ü",
            "pls_a.b.c.d",
            &long,
        ] {
            assert_eq!(keys.read(text), Err(Invalid::Forged), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_token_with_any_one_character_changed_is_forged(at in 4_usize..180, to in "[A-Za-z0-9_.=-]") {
            let keys = keyring(b"a secret");
            let (token, _) = keys.derive(&user("ada@example.org"), id(), b"key");
            // From now on it is remembered.
            prop_assert!(keys.read(token.expose()).is_ok());
            let mut text = token.expose().to_owned();
            prop_assume!(at < text.len() && text[at..=at] != to);
            text.replace_range(at..=at, &to);
            prop_assert_eq!(keys.read(&text), Err(Invalid::Forged));
        }

        #[test]
        fn nothing_makes_the_reader_panic(text in "\\PC*") {
            let _ = keyring(b"a secret").read(&format!("pls_{text}"));
        }
    }
}
