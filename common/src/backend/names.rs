//! Names of servers, resolved again when their TTL is over; on the control thread.
//!
//! The last good addresses stay when that fails. Asking is `dns`'s; the first look-up is boot's: see `resolve`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::dns::Found;
use super::resolve::SocketAddrOrUnix;
use super::send::Backend;
use super::settings::ServerAddress;
use crate::time::mono_now;

/// A TTL of zero means "do not keep", and not "ask without a pause".
const TTL_MIN: Duration = Duration::from_secs(1);
/// A long TTL does not keep a server away that has moved.
const TTL_MAX: Duration = Duration::from_secs(300);
/// The pause after a look-up that failed; doubled with each further one, up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Keeps the addresses of a server fresh for as long as it is polled; does nothing where it has no name.
pub(super) async fn watch<F: Future<Output = Result<Found, String>>>(
    backend: Arc<Backend>,
    number: usize,
    look_up: impl Fn(String) -> F,
) {
    let line = backend.servers[number].line;
    let ServerAddress::Name { host, port } = backend.settings.servers[line].address.clone() else {
        return;
    };
    let mut failures = 0;
    loop {
        let started = mono_now();
        let answer = look_up(host.clone()).await;
        backend.servers[number].stats.looked_up(mono_now() - started);
        let pause = match answer {
            Ok((found, ttl)) if !found.is_empty() => {
                failures = 0;
                backend.note_addresses(number, in_order(found, port));
                pause_after(ttl)
            }
            Ok(_) => failed(&backend, number, "the answer is empty".to_owned(), &mut failures),
            Err(why) => failed(&backend, number, why, &mut failures),
        };
        tokio::time::sleep(pause).await;
    }
}

fn failed(backend: &Backend, number: usize, why: String, failures: &mut u32) -> Duration {
    backend.note_unresolved(number, why);
    retry_after(failures)
}

/// How long an answer is good, within bounds.
pub(super) fn pause_after(ttl: Duration) -> Duration {
    ttl.clamp(TTL_MIN, TTL_MAX)
}

/// When a look-up that failed is tried again: later each time.
pub(super) fn retry_after(failures: &mut u32) -> Duration {
    let pause = RETRY.saturating_mul(1_u32.checked_shl(*failures).unwrap_or(u32::MAX));
    *failures = failures.saturating_add(1);
    pause.min(RETRY_MAX)
}

/// Name servers turn the order with each answer, which is no change: IPv4 first, then by number.
pub(super) fn in_order(mut found: Vec<IpAddr>, port: u16) -> Vec<SocketAddrOrUnix> {
    found.sort_unstable();
    found.dedup();
    let found = found.into_iter();
    found
        .map(|ip| SocketAddrOrUnix::Tcp(SocketAddr::new(ip, port)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use parking_lot::Mutex;

    use super::*;
    use crate::backend::testing;

    fn backend() -> Arc<Backend> {
        let host = "app.test".to_owned();
        let settings = testing::settings(vec![ServerAddress::Name { host, port: 80 }.into()]);
        let first = SocketAddrOrUnix::Tcp("10.0.0.1:80".parse().unwrap());
        Arc::new(Backend::new(settings, vec![vec![first]].into(), 1))
    }

    fn shown(backend: &Backend) -> String {
        let server = backend.snapshot().remove(0);
        let addresses: Vec<_> = server.addresses.iter().map(ToString::to_string).collect();
        addresses.join(" ")
    }

    /// What is known after each look-up of a script, and how long after the start it was made, in seconds.
    async fn watched(script: &[Result<(&str, u64), &str>]) -> Vec<(u64, String, Option<String>, u64)> {
        let backend = backend();
        let script: VecDeque<_> = script
            .iter()
            .map(|answer| match answer {
                Ok((ips, ttl)) => {
                    let ips = ips.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
                    Ok((ips, Duration::from_secs(*ttl)))
                }
                Err(why) => Err((*why).to_owned()),
            })
            .collect();
        let (script, seen, started) = (Mutex::new(script), Mutex::new(Vec::new()), mono_now());
        let asked = Mutex::new(Vec::new());
        let note = || {
            let server = backend.snapshot().remove(0);
            seen.lock()
                .push((shown(&backend), server.resolve_error, server.unresolved));
        };
        let look_up = |host: String| {
            assert_eq!(host, "app.test");
            if !asked.lock().is_empty() {
                note();
            }
            asked.lock().push((mono_now() - started).as_secs());
            testing::next_of(&script)
        };
        drop(tokio::time::timeout(Duration::from_secs(100_000), watch(Arc::clone(&backend), 0, look_up)).await);
        let rows = asked.into_inner().into_iter().zip(seen.into_inner());
        rows.map(|(at, (addresses, error, unresolved))| (at, addresses, error, unresolved))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_again_when_its_ttl_is_over_within_bounds() {
        let seen = watched(&[
            Ok(("10.0.0.1", 60)),
            Ok(("10.0.0.3 10.0.0.2", 0)),
            Ok(("10.0.0.2 ::1 10.0.0.3 10.0.0.3", 86_400)),
            Ok(("10.0.0.9", 10)),
        ])
        .await;
        let none = |at, addresses: &str| (at, addresses.to_owned(), None, 0);
        assert_eq!(
            seen,
            [
                none(0, "10.0.0.1:80"),
                none(60, "10.0.0.2:80 10.0.0.3:80"),
                none(61, "10.0.0.2:80 10.0.0.3:80 [::1]:80"),
                none(361, "10.0.0.9:80"),
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_addresses_stay_while_the_resolver_fails_and_it_says_so() {
        let seen = watched(&[
            Ok(("10.0.0.7", 30)),
            Err("timed out"),
            Ok(("", 5)),
            Err("timed out"),
            Ok(("10.0.0.8", 30)),
        ])
        .await;
        let row = |at, addresses: &str, error: Option<&str>, unresolved| {
            (at, addresses.to_owned(), error.map(str::to_owned), unresolved)
        };
        assert_eq!(
            seen,
            [
                row(0, "10.0.0.7:80", None, 0),
                row(30, "10.0.0.7:80", Some("timed out"), 1),
                row(31, "10.0.0.7:80", Some("the answer is empty"), 2),
                row(33, "10.0.0.7:80", Some("timed out"), 3),
                row(37, "10.0.0.8:80", None, 3),
            ]
        );
    }
}
