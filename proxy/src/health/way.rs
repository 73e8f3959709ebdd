//! The four steps of the way from clients to origins, each with the verdict of who stands there: this process, or the cache
//! servers whose health is folded in. Pure.
//!
//! A request that is lost is lost on one of them: clients → front; front → cache server, as client; the same, as server;
//! cache server → origins.

use common::kernel::diagnosis::context::Roles;
use common::kernel::diagnosis::legs::LegReport;
use common::kernel::sample::{Leg, Side};

use super::fold::Snapshot;

/// One step.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// 1 to 4.
    pub number: u8,
    /// Who to whom, and as what.
    pub what: &'static str,
    /// The leg.
    pub leg: Leg,
    /// Which end of it.
    pub side: Side,
    /// The worst verdict of those who stand there; `absent` when nobody does.
    pub verdict: String,
    /// Whose verdict that is: a cache server's admin listener; `None` when it is this process's own.
    pub at: Option<String>,
    /// Why it is unknown.
    pub because: Option<String>,
}

/// The verdicts, from the best to the worst.
const VERDICTS: [&str; 6] = ["absent", "healthy", "at-risk", "unknown", "suspect", "lossy"];

/// The four steps, as far as anybody told.
pub fn steps(roles: &Roles, own: &[LegReport], servers: &[Snapshot]) -> [Step; 4] {
    let step = |number, what, leg, side| {
        let ends = match side {
            Side::Server => &roles.serves,
            Side::Client => &roles.connects,
        };
        let mut step = Step {
            number,
            what,
            leg,
            side,
            verdict: "absent".to_owned(),
            at: None,
            because: None,
        };
        if ends.contains(&leg)
            && let Some(report) = own.iter().find(|report| report.leg == leg)
        {
            report.verdict.word().clone_into(&mut step.verdict);
        }
        // The cache servers' ends; of a process without any there are only its own.
        if number > 2 && roles.connects.contains(&Leg::FrontCache) {
            step.heed(servers);
        }
        step
    };
    [
        step(1, "clients to front, as server", Leg::ClientFront, Side::Server),
        step(2, "front to cache servers, as client", Leg::FrontCache, Side::Client),
        step(3, "fronts to cache server, as server", Leg::FrontCache, Side::Server),
        step(4, "cache to origins, as client", Leg::CacheOrigin, Side::Client),
    ]
}

impl Step {
    fn heed(&mut self, servers: &[Snapshot]) {
        if servers.is_empty() {
            let why = "the cache servers are not asked: cache.servers_health is not configured";
            self.worsen("unknown", None, Some(why.to_owned()));
        }
        for server in servers {
            let said = server
                .report
                .as_ref()
                .and_then(|(report, _)| report.verdict(self.leg.word()));
            match (&server.unavailable, said) {
                (None, Some(verdict)) => self.worsen(verdict, Some(&server.admin), None),
                (None, None) => self.worsen("unknown", Some(&server.admin), Some("it says nothing of it".to_owned())),
                (Some(why), _) => self.worsen("unknown", Some(&server.admin), Some(format!("unavailable: {why}"))),
            }
        }
    }

    fn worsen(&mut self, verdict: &str, at: Option<&String>, because: Option<String>) {
        let rank = |word: &str| VERDICTS.iter().position(|known| *known == word);
        // A word from another version says nothing that we know.
        let verdict = rank(verdict).map_or("unknown", |place| VERDICTS[place]);
        if rank(verdict) > rank(&self.verdict) {
            verdict.clone_into(&mut self.verdict);
            (self.at, self.because) = (at.cloned(), because);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use common::kernel::diagnosis::legs::Verdict;

    use super::super::fold::report::Report;
    use super::*;

    fn own(leg: Leg, verdict: Verdict) -> LegReport {
        LegReport {
            leg,
            verdict,
            server: None,
            client: None,
        }
    }

    fn server(admin: &str, verdict: &str) -> Snapshot {
        let json = format!(
            r#"{{"schema":1,"status":"ok","legs":[{{"leg":"front-cache","verdict":"healthy"}},
                {{"leg":"cache-origin","verdict":"{verdict}"}}]}}"#
        );
        Snapshot {
            admin: admin.to_owned(),
            report: Some((Arc::new(Report::read(json.as_bytes()).unwrap()), Duration::ZERO)),
            unavailable: None,
        }
    }

    fn told(steps: &[Step]) -> Vec<(&str, Option<&str>)> {
        steps.iter().map(|step| (&*step.verdict, step.at.as_deref())).collect()
    }

    #[test]
    fn a_front_has_two_steps_of_its_own_and_two_of_its_cache_servers() {
        let roles = Roles {
            serves: vec![Leg::ClientFront],
            connects: vec![Leg::FrontCache],
        };
        let legs = [
            own(Leg::ClientFront, Verdict::Lossy),
            own(Leg::FrontCache, Verdict::Healthy),
        ];
        let own_steps = [("lossy", None), ("healthy", None)];
        let expect = |servers: &[Snapshot], rest: [(&str, Option<&str>); 2]| {
            let steps = steps(&roles, &legs, servers);
            assert_eq!(told(&steps)[..2], own_steps);
            assert_eq!(told(&steps)[2..], rest);
        };
        let (a, b) = (server("a", "healthy"), server("b", "lossy"));
        expect(&[a, b], [("healthy", Some("a")), ("lossy", Some("b"))]);
        expect(
            &[server("a", "from-the-future")],
            [("healthy", Some("a")), ("unknown", Some("a"))],
        );
        expect(&[], [("unknown", None), ("unknown", None)]);
        let silent = Snapshot {
            unavailable: Some("no answer within 1s".to_owned()),
            ..server("c", "healthy")
        };
        let steps = steps(&roles, &legs, &[server("a", "healthy"), silent]);
        assert_eq!(told(&steps)[2..], [("unknown", Some("c")), ("unknown", Some("c"))]);
        assert_eq!(steps[3].because.as_deref(), Some("unavailable: no answer within 1s"));
    }

    #[test]
    fn a_process_with_the_cache_in_it_has_its_own_steps_only() {
        let roles = Roles {
            serves: vec![Leg::ClientFront],
            connects: vec![Leg::CacheOrigin],
        };
        let legs = [
            own(Leg::ClientFront, Verdict::Healthy),
            own(Leg::CacheOrigin, Verdict::AtRisk),
        ];
        let steps = steps(&roles, &legs, &[]);
        let expected = [("healthy", None), ("absent", None), ("absent", None), ("at-risk", None)];
        assert_eq!(told(&steps), expected);
    }
}
