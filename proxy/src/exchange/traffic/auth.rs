//! Basic authentication (RFC 7617): what a request's credentials are, and what is asked of those who have none.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::telemetry::metrics::{Counter, Metrics};
use common::time::MonoTime;
use config::traffic::Auth;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};

use super::super::refusal::Refusal;
use super::users::{Users, Verdict};
use super::verifier::{Claim, Verifier};

/// What keeps those out who are not among the users.
pub struct Lock {
    users: Arc<Users>,
    verifier: Verifier,
    challenge: HeaderValue,
    pass_on: bool,
}

/// What a request shows.
pub enum Shown {
    /// Credentials that were right lately.
    Known,
    /// Others, to be verified.
    Claim(Box<Claim>),
}

/// Bytes of the longest credentials that are looked at: hashing takes longer for longer passwords.
const CREDENTIALS_MAX: usize = 1024;

impl Lock {
    /// The lock of a route, where it has one.
    pub fn new(auth: Option<&Auth>, verifier: &Verifier) -> Option<Self> {
        let auth = auth.filter(|auth| auth.on)?;
        let users = auth.file.as_deref().and_then(|file| verifier.users(file));
        let users = users.expect("invariant: `check` wants a file, and every file was read before");
        // "The only allowed value is 'UTF-8'" (RFC 7617 §2.1)
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
        Some(Self {
            users: Arc::clone(users),
            verifier: verifier.clone(),
            challenge: HeaderValue::try_from(challenge).expect("invariant: a realm is visible ASCII"),
            pass_on: auth.pass_on,
        })
    }

    /// Looks at what a request shows; counted, unless it has to be verified first.
    ///
    /// # Errors
    /// There are no credentials in it.
    pub fn look(&self, fields: &HeaderMap, now: MonoTime, metrics: &Metrics) -> Result<Shown, Refusal> {
        let mut lines = fields.get_all(AUTHORIZATION).iter();
        if let (Some(line), None) = (lines.next(), lines.next()) {
            let digest = self.users.digest(line.as_bytes());
            if self.users.knows(&digest, now) {
                metrics.count(Counter::AuthOk);
                return Ok(Shown::Known);
            }
            if let Some((name, password)) = credentials(line) {
                return Ok(Shown::Claim(Box::new(Claim { name, password, digest })));
            }
        }
        metrics.count(Counter::AuthNone);
        Err(Refusal::Unauthorized)
    }

    /// Has a claim verified.
    ///
    /// # Errors
    /// It is wrong, or too many are being verified.
    pub async fn open(&self, claim: Claim, metrics: &Metrics) -> Result<(), Refusal> {
        let verdict = self.verifier.verify(&self.users, claim).await;
        let (counter, result) = match verdict {
            Some(Verdict::Right) => (Counter::AuthOk, Ok(())),
            Some(Verdict::Wrong) => (Counter::AuthFailed, Err(Refusal::Unauthorized)),
            Some(Verdict::Unknown) => (Counter::AuthUnknown, Err(Refusal::Unauthorized)),
            None => (Counter::AuthBusy, Err(Refusal::AuthBusy)),
        };
        metrics.count(counter);
        result
    }

    /// What is asked of those who did not say who they are.
    pub fn challenge(&self) -> &HeaderValue {
        &self.challenge
    }

    /// Keeps the credentials from whoever comes behind, unless the origin is to have them.
    pub fn withhold(&self, fields: &mut HeaderMap) {
        if !self.pass_on {
            fields.remove(AUTHORIZATION);
        }
    }
}

/// Name and password: "`user-pass = user-id ":" password`", in Base64 (RFC 7617 §2).
fn credentials(line: &HeaderValue) -> Option<(String, String)> {
    if line.len() > CREDENTIALS_MAX {
        return None;
    }
    let (scheme, encoded) = line.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim_matches(' ')).ok()?).ok()?;
    // "a user-id containing a colon character is invalid, as the first colon in a user-pass string separates user-id and
    // password from one another" (RFC 7617 §2)
    let (name, password) = text.split_once(':')?;
    // "The user-id and password MUST NOT contain any control characters" (RFC 7617 §2)
    (!text.contains(char::is_control)).then(|| (name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_name_and_a_password_in_base64() {
        let long = format!("Basic {}", STANDARD.encode("a:".repeat(500)));
        for (line, expected) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame"))),
            ("basic   dGVzdDoxMjPCow==", Some(("test", "123£"))),
            ("BASIC YTpiOmM=", Some(("a", "b:c"))),
            ("Basic Og==", Some(("", ""))),
            ("Basic YQ==", None),
            ("Basic YTpi!", None),
            ("Basic", None),
            ("Basic ", None),
            ("Basic YToKYg==", None),
            ("Basic YTr/", None),
            ("Bearer YTpi", None),
            (&long, None),
        ] {
            let line = HeaderValue::from_str(line).unwrap();
            let read = credentials(&line);
            let read = read.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
            assert_eq!(read, expected, "{line:?}");
        }
    }
}
