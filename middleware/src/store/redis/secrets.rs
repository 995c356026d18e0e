//! Keeps the credentials of the URL out of what the server, or a proxy before it, answers.

/// The most that is repeated of a foreign text, in characters.
const LONGEST: usize = 300;
/// A run of a password that is as long as this tells something of it.
const RUN: usize = 6;

/// The texts that no output may hold.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(secrets: impl IntoIterator<Item = String>) -> Self {
        Self(
            secrets
                .into_iter()
                .filter(|secret| !secret.is_empty())
                .collect(),
        )
    }

    /// A foreign text as it may be repeated: on one line, not long, and not at all where it holds a secret or a part of one.
    /// An echo may be cut, escaped or in another case, so letters and digits alone are compared.
    pub(super) fn guard(&self, text: &str) -> String {
        if self.0.iter().any(|secret| is_told(secret, text)) {
            return "(its words are withheld, for they repeat a part of the password)".to_owned();
        }
        let printed = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(LONGEST);
        printed.collect()
    }
}

fn is_told(secret: &str, text: &str) -> bool {
    if text.contains(secret) {
        return true;
    }
    let (secret, text) = (letters(secret), letters(text));
    let run = secret.len().min(RUN);
    // What is left of a password of punctuation tells nothing.
    let text: String = text.into_iter().collect();
    run >= 3
        && secret
            .windows(run)
            .any(|run| text.contains(&run.iter().collect::<String>()))
}

fn letters(text: &str) -> Vec<char> {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_no_text_that_holds_a_part_of_a_secret() {
        let secrets = Secrets::of(["correct\"horse %1".to_owned(), "?!".to_owned()]);
        for told in [
            "ERR unknown command 'HELLO', with args beginning with: 'AUTH' 'default' 'correct\"horse %1'",
            "args: 'corr ect'",
            "CORRECT\\\"HORSE",
            "echo: ?!",
            "recthor",
        ] {
            let guarded = secrets.guard(told);
            assert!(guarded.starts_with("(its words are withheld"), "{guarded}");
        }
        assert_eq!(secrets.guard("OOM\r\nnot\x1b allowed"), "OOM  not  allowed");
        assert_eq!(secrets.guard("corre"), "corre", "five letters are chance");
    }

    #[test]
    fn a_short_secret_is_whole_or_not_there() {
        let secrets = Secrets::of(["abc".to_owned(), String::new()]);
        assert!(secrets.guard("x a-b-c x").starts_with("(its words"));
        assert_eq!(secrets.guard("ab"), "ab");
        assert_eq!(secrets.guard(&"x".repeat(1_000)).len(), LONGEST);
    }
}
