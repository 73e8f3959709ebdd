//! Hashed passwords of the kinds that resist guessing: bcrypt, SHA-crypt, Argon2. Pure; verifying one takes long.

use argon2::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;

/// A hashed password.
pub enum Hash {
    /// `htpasswd -B`.
    Bcrypt(String),
    /// `htpasswd -5`, `mkpasswd -m sha-512`, `openssl passwd -6`; `$5$` is its shorter brother.
    ShaCrypt(String),
    /// `argon2 … -e`.
    Argon2(String),
}

impl Hash {
    /// Reads a hash; the error goes on from "the hash of x".
    ///
    /// # Errors
    /// It is of another kind, or no whole one.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (hash, is_whole) = match text.split('$').nth(1) {
            Some("2a" | "2b" | "2y") => (Self::Bcrypt(text.to_owned()), text.parse::<bcrypt::HashParts>().is_ok()),
            Some("5") => (Self::ShaCrypt(text.to_owned()), is_sha_crypt(text, 43)),
            Some("6") => (Self::ShaCrypt(text.to_owned()), is_sha_crypt(text, 86)),
            Some("argon2id" | "argon2i" | "argon2d") => (Self::Argon2(text.to_owned()), is_argon2(text)),
            _ => {
                return Err(
                    "is of no kind that is taken: bcrypt ($2y$, as htpasswd -B makes it), SHA-crypt ($5$, $6$), Argon2",
                );
            }
        };
        is_whole.then_some(hash).ok_or("is cut short or damaged")
    }

    /// Whether it is the hash of this password.
    pub fn is_of(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => sha_crypt::ShaCrypt::default()
                .verify_password(password.as_bytes(), hash.as_str())
                .is_ok(),
            Self::Argon2(hash) => argon2::Argon2::default()
                .verify_password(password.as_bytes(), hash.as_str())
                .is_ok(),
        }
    }
}

/// `$6$salt$digest` or `$6$rounds=5000$salt$digest`.
fn is_sha_crypt(text: &str, digest_length: usize) -> bool {
    let parts: Vec<&str> = text.split('$').skip(2).collect();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    let (settings, digest) = match parts[..] {
        [_, digest] => (None, digest),
        [settings, _, digest] => (Some(settings), digest),
        _ => return false,
    };
    let rounds = settings.map(|settings| settings.strip_prefix("rounds=").map(str::parse::<u32>));
    rounds.is_none_or(|rounds| matches!(rounds, Some(Ok(_))))
        && digest.len() == digest_length
        && digest.bytes().all(is_plain)
}

fn is_argon2(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.hash.is_some() && argon2::Params::try_from(&hash).is_ok())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Of `secret`, by crypt(3).
    pub const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    /// Of `secret`, by openssl.
    pub const SHA512: &str =
        "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.";
    /// Of `password`, by the reference implementation.
    pub const ARGON2: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn hashes_of_other_programs_are_verified() {
        for (hash, password) in [(BCRYPT, "secret"), (SHA512, "secret"), (ARGON2, "password")] {
            let hash = Hash::parse(hash).unwrap();
            assert!(hash.is_of(password));
            assert!(!hash.is_of("another") && !hash.is_of(""));
        }
    }

    #[test]
    fn what_is_weak_plain_or_cut_short_is_refused() {
        let cut = |hash: &'static str| &hash[..hash.len() - 5];
        for text in [
            "",
            "secret",
            "$",
            "$1$abc$def",
            "$apr1$abc$def",
            "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
            "$6$",
            "$6$rounds=x$abcdefgh$ltjg",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
            cut(BCRYPT),
            cut(SHA512),
        ] {
            assert!(Hash::parse(text).is_err(), "{text}");
        }
    }
}
