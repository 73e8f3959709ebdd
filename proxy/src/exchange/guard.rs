//! The step between route and tier that may say no: who asks (403), how often (429), how much body (413).
//!
//! Decides by what the request says, the lists and tables of its route and site, and the time at which it began. A route
//! without a guard has none of this; one that has it pays for what it asks for.

mod body; // a body that is cut off when it turns out too large
pub mod rate; // the decision how often, and the table of keys

use std::net::IpAddr;
use std::sync::Arc;

use cache::policy::key::cookie;
use common::http::body::{Body, BodyError};
use common::http::forwarded::{ForwardedSettings, client_address};
use common::http::head::Head;
use common::net::address_list::Access;
use common::serve::service::ConnInfo;
use common::serve::source::SourcePrefixes;
use common::telemetry::metrics::Counter;
use common::time::MonoTime;
use config::guard::RateKey;

use super::refusal::Refusal;
use body::Capped;
use rate::{RateTable, Verdict};

/// What a route's requests have to pass: the route's own level, then its site's.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The levels, in the order in which they are asked.
    pub levels: Vec<Arc<Level>>,
    /// What tells one client from another.
    pub prefixes: SourcePrefixes,
}

/// What one table of the configuration asks for.
#[derive(Debug, Default)]
pub struct Level {
    /// Who may ask.
    pub access: Access,
    /// How often, by which key.
    pub rates: Vec<(RateKey, RateTable)>,
    /// Bytes of a request body.
    pub body_bytes_max: Option<u64>,
}

impl Guard {
    /// Lets a request pass that began at `began`, or says why not; its body is cut off where it turns out too large later.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn pass(
        &self,
        head: &Head,
        body: Body,
        conn: &ConnInfo,
        forwarded: &ForwardedSettings,
        began: MonoTime,
    ) -> Result<Body, Refusal> {
        let client = client_address(forwarded, conn.client.map(|client| client.ip()), &head.headers);
        // Nothing is counted of a request that may not be made at all.
        if let Some(client) = client
            && self.levels.iter().any(|level| !level.access.admits(client))
        {
            return Err(Refusal::Denied);
        }
        for (key, table) in self.levels.iter().flat_map(|level| &level.rates) {
            match self.ask(table, key, head, client, began) {
                Verdict::Pass => {}
                Verdict::PassAndForget => conn.worker.metrics.count(Counter::RateKeysForgotten),
                Verdict::Wait(wait) => return Err(Refusal::TooManyRequests(wait)),
            }
        }
        let max = self.levels.iter().filter_map(|level| level.body_bytes_max).min();
        match max {
            Some(max) => capped(body, max),
            None => Ok(body),
        }
    }

    /// What a request that nobody has sent would have to pass, as far as that depends on who sends it, and how often.
    pub fn conditions(&self) -> Vec<&'static str> {
        let is_listed = self.levels.iter().any(|level| !level.access.is_open());
        let is_counted = self.levels.iter().any(|level| !level.rates.is_empty());
        let listed = is_listed.then_some("its client has to be one that allow and deny admit, else 403");
        let counted =
            is_counted.then_some("its client must not have asked too often for a limit of the site or route, else 429");
        listed.into_iter().chain(counted).collect()
    }

    fn ask(&self, table: &RateTable, key: &RateKey, head: &Head, client: Option<IpAddr>, now: MonoTime) -> Verdict {
        let named = match key {
            RateKey::Address => None,
            RateKey::Site => Some(&b""[..]),
            RateKey::Header(name) => head.headers.get(name).map(|value| value.as_bytes()),
            RateKey::Cookie(name) => cookie(&head.headers, name),
        };
        match (named, client) {
            // The first byte keeps values and addresses apart.
            (Some(value), _) => table.ask(&[b"=", value].concat(), now),
            (None, Some(client)) => table.ask(&[b"@", &self.prefixes.source(client).octets()[..]].concat(), now),
            // A process of this machine, on a unix socket.
            (None, None) => table.ask(b"unix", now),
        }
    }
}

fn capped(body: Body, max: u64) -> Result<Body, Refusal> {
    match body.len() {
        Some(length) if length > max => Err(Refusal::Body(BodyError::ClientTooLarge)),
        Some(_) => Ok(body),
        None => Ok(Body::stream(Capped::new(body, max))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::http::forwarded::IpNetwork;
    use common::net::address_block;
    use common::net::address_list::{AddressList, ListItem};
    use common::time::mono_now;
    use rate::Quota;

    use super::*;
    use crate::exchange::testing;

    fn conn(client: &str) -> ConnInfo {
        ConnInfo {
            client: Some(format!("{client}:1000").parse().unwrap()),
            ..testing::conn()
        }
    }

    fn head(fields: &[(&str, &str)]) -> Head {
        let mut request = http::Request::builder().uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0.into()
    }

    fn guard(level: Level) -> Guard {
        Guard {
            levels: vec![Arc::new(level)],
            prefixes: SourcePrefixes { v4: 32, v6: 64 },
        }
    }

    fn rated(key: RateKey) -> Guard {
        let table = RateTable::new(Quota::new(1, Duration::from_secs(60), 1), 1024, mono_now());
        guard(Level {
            rates: vec![(key, table)],
            ..Level::default()
        })
    }

    fn trusting_nobody() -> ForwardedSettings {
        ForwardedSettings {
            x_forwarded: true,
            forwarded: false,
            trusted: Vec::new(),
        }
    }

    fn passes(guard: &Guard, client: &str, fields: &[(&str, &str)]) -> bool {
        let passed = guard.pass(
            &head(fields),
            Body::Empty,
            &conn(client),
            &trusting_nobody(),
            mono_now(),
        );
        match passed {
            Ok(_) => true,
            Err(Refusal::TooManyRequests(wait)) => {
                assert!(wait <= Duration::from_secs(60) && wait > Duration::ZERO);
                false
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_key_counts_apart_what_it_names_and_falls_back_to_the_address() {
        const NONE: &[(&str, &str)] = &[];
        let by_address = rated(RateKey::Address);
        assert!(passes(&by_address, "192.0.2.1", NONE));
        assert!(
            !passes(&by_address, "192.0.2.1", &[("x-forwarded-for", "192.0.2.9")]),
            "nobody is believed"
        );
        assert!(passes(&by_address, "192.0.2.2", NONE));
        let all = rated(RateKey::Site);
        assert!(passes(&all, "192.0.2.1", NONE) && !passes(&all, "192.0.2.2", NONE));
        let by_field = rated(RateKey::Header("x-key".parse().unwrap()));
        let by_cookie = rated(RateKey::Cookie("k".to_owned()));
        for (guard, one, other) in [
            (by_field, ("x-key", "a"), ("x-key", "b")),
            (by_cookie, ("cookie", "j=1; k=a"), ("cookie", "k=b; j=1")),
        ] {
            assert!(passes(&guard, "192.0.2.1", &[one]) && !passes(&guard, "192.0.2.2", &[one]));
            assert!(passes(&guard, "192.0.2.1", &[other]));
            assert!(passes(&guard, "192.0.2.1", NONE) && !passes(&guard, "192.0.2.1", NONE));
            assert!(
                passes(&guard, "192.0.2.2", NONE),
                "without one it is counted by address"
            );
        }
    }

    #[test]
    fn who_is_denied_is_not_counted() {
        let list = |text| AddressList::load(vec![ListItem::Block(address_block::parse(text).unwrap())]).unwrap();
        let table = RateTable::new(Quota::new(1, Duration::from_secs(60), 1), 8, mono_now());
        let guard = guard(Level {
            access: Access {
                allow: Some(list("192.0.2.0/24")),
                deny: Some(list("192.0.2.66")),
            },
            rates: vec![(RateKey::Site, table)],
            body_bytes_max: None,
        });
        let believing = ForwardedSettings {
            trusted: vec![IpNetwork {
                address: [10, 0, 0, 0].into(),
                prefix: 8,
            }],
            ..trusting_nobody()
        };
        for (peer, told, denied) in [
            ("192.0.2.66", None, true),
            ("198.51.100.1", None, true),
            ("198.51.100.1", Some("192.0.2.1"), true),
            ("10.0.0.1", Some("192.0.2.66"), true),
            ("10.0.0.1", Some("192.0.2.1"), false),
        ] {
            let fields: Vec<_> = told.map(|told| ("x-forwarded-for", told)).into_iter().collect();
            let passed = guard.pass(&head(&fields), Body::Empty, &conn(peer), &believing, mono_now());
            assert_eq!(
                matches!(passed, Err(Refusal::Denied)),
                denied,
                "{peer} {told:?} {passed:?}"
            );
        }
    }

    #[test]
    fn a_body_of_known_length_is_refused_before_it_is_read() {
        let guard = guard(Level {
            body_bytes_max: Some(3),
            ..Level::default()
        });
        for (text, passes) in [("abc", true), ("abcd", false)] {
            let passed = guard.pass(
                &head(&[]),
                Body::Full(text.into()),
                &conn("192.0.2.1"),
                &trusting_nobody(),
                mono_now(),
            );
            assert_eq!(passed.is_ok(), passes, "{text}");
        }
    }
}
