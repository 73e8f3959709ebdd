//! Ten servers in virtual time, of which one turns a hundred times slower: the backend itself picks, judges and ejects,
//! only the servers are made up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::backend::pool::Lease;
use crate::backend::settings::{BackendSettings, Balance, EjectionSettings, ServerAddress, ServerSettings};
use crate::backend::standing::mix;
use crate::backend::testing;
use crate::http::origin_error::OriginError;
use crate::time::{MonoTime, mono_now};

const SERVERS: usize = 10;
const SLOW: usize = 3;
const FAST: Duration = Duration::from_millis(10);
const HUNDRED_TIMES: Duration = Duration::from_secs(1);
/// When it turns slow, and when all is over.
const TURNS: Duration = Duration::from_secs(10);
const ENDS: Duration = Duration::from_secs(60);
const REQUESTS_PER_SECOND: u32 = 1000;

/// What became of one request.
#[derive(Clone, Copy, Debug)]
struct Ended {
    began: Duration,
    took: Duration,
    is_failed: bool,
}

struct Flight {
    server: usize,
    started: MonoTime,
    ended: Ended,
    _lease: Lease,
}

fn backend(change: impl FnOnce(&mut BackendSettings)) -> Arc<Backend> {
    let named = |i| ServerSettings::from(ServerAddress::Unix(format!("/{i}").into()));
    let mut settings = testing::settings((0..SERVERS).map(named).collect());
    settings.connections_max = 10_000;
    settings.slow_start = Duration::from_secs(10);
    // As they are by default.
    settings.ejection = EjectionSettings {
        failures: 5,
        error_percent: 50,
        window: Duration::from_secs(10),
        time: Duration::from_secs(10),
        time_max: Duration::from_secs(300),
        ejected_percent_max: 50,
        ..settings.ejection
    };
    change(&mut settings);
    Arc::new(Backend::new(settings, Vec::new().into(), 1))
}

/// Sends requests at random moments, a thousand in each second; `patience` is the response timeout.
async fn simulate(backend: &Arc<Backend>, seed: u64, patience: Duration) -> Vec<Ended> {
    let worker = testing::worker(0);
    let start = mono_now();
    let mut flights: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut flying: Vec<Option<Flight>> = Vec::new();
    let mut ended = Vec::new();
    let mut next_tick = Duration::ZERO;
    let gap = Duration::from_secs(1) / REQUESTS_PER_SECOND;
    for i in 0..u32::try_from(ENDS.as_millis()).unwrap() {
        let jitter = u32::try_from(mix(seed ^ u64::from(i)) % 1000).unwrap();
        let now = gap * i + gap * jitter / 1000;
        while let Some(Reverse((end, number))) = flights.peek().copied()
            && end <= now
        {
            flights.pop();
            travel(start + end).await;
            let flight = flying[number].take().unwrap();
            land(backend, &flight);
            ended.push(flight.ended);
        }
        travel(start + now).await;
        if next_tick <= now {
            backend.tick(mono_now());
            next_tick += Duration::from_millis(500);
        }
        let server = backend.pick(0, &[], &worker, mono_now()).unwrap();
        backend.servers[server].stats.attempt();
        let latency = if server == SLOW && now >= TURNS {
            HUNDRED_TIMES
        } else {
            FAST
        };
        let took = latency.min(patience);
        let flight = Flight {
            server,
            started: mono_now(),
            ended: Ended {
                began: now,
                took,
                is_failed: latency > patience,
            },
            _lease: backend.servers[server].pool.lease(0, 3).await.0.unwrap(),
        };
        flights.push(Reverse((now + took, flying.len())));
        flying.push(Some(flight));
    }
    ended
}

/// What `send` does at the end of an exchange.
fn land(backend: &Arc<Backend>, flight: &Flight) {
    if flight.ended.is_failed {
        backend.servers[flight.server]
            .stats
            .failed(OriginError::HttpResponseTimeout);
        backend.note_failed_try(
            flight.server,
            OriginError::HttpResponseTimeout,
            flight.started,
            mono_now(),
        );
    } else {
        backend.note_answered(flight.server, flight.ended.took, mono_now());
        backend.note_success(flight.server);
    }
}

async fn travel(to: MonoTime) {
    tokio::time::advance(to.saturating_duration_since(mono_now())).await;
}

/// The 99th percentile of the requests that began within these seconds.
fn p99(ended: &[Ended], from: u64, to: u64) -> Duration {
    let within = |ended: &&Ended| (from..to).contains(&ended.began.as_secs());
    let mut took: Vec<Duration> = ended.iter().filter(within).map(|ended| ended.took).collect();
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(start_paused = true)]
async fn when_one_of_ten_servers_turns_slow_the_99th_percentile_recovers_within_five_seconds() {
    for (balance, latency_factor, window) in [
        // As it is by default.
        (Balance::LeastLoaded, 0, 10),
        // Where only ejection helps, it must not wait longer.
        (Balance::LeastLoaded, 5, 3),
        (Balance::LeastConnections, 5, 3),
        (Balance::RoundRobin, 5, 3),
    ] {
        for seed in 0..3 {
            let backend = backend(|settings| {
                settings.balance = balance;
                settings.ejection.latency_factor = latency_factor;
                settings.ejection.window = Duration::from_secs(window);
                settings.ejection.latency_min = Duration::from_millis(50);
            });
            let ended = simulate(&backend, seed, testing::LONG).await;
            let what = format!("{balance:?}, latency_factor {latency_factor}, seed {seed}");
            assert_eq!(p99(&ended, 0, 10), FAST, "{what}");
            for second in 15..19 {
                assert_eq!(p99(&ended, second, second + 1), FAST, "{what}, second {second}");
            }
            // Each time it comes back and is slow still, that is found again.
            assert_eq!(p99(&ended, 15, 58), FAST, "{what}");
            let ejections = backend.snapshot()[SLOW].changes[2].1;
            // The others give it so few requests that there is nothing to judge it by.
            assert!(balance != Balance::RoundRobin || ejections > 0, "{what}");
            let others: u64 = backend.snapshot().iter().map(|server| server.changes[2].1).sum();
            assert_eq!(others, ejections, "{what}: nobody else is ejected");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn when_one_of_ten_servers_answers_too_late_at_most_one_request_of_a_hundred_fails() {
    for balance in [Balance::LeastLoaded, Balance::LeastConnections, Balance::RoundRobin] {
        for seed in 0..3 {
            let backend = backend(|settings| settings.balance = balance);
            let ended = simulate(&backend, seed, Duration::from_millis(500)).await;
            let failed = ended.iter().filter(|ended| ended.is_failed).count();
            let after = ended.iter().filter(|ended| ended.began >= TURNS).count();
            assert!(
                failed * 100 <= after,
                "{balance:?}, seed {seed}: {failed} of {after} failed"
            );
            for second in 15..19 {
                assert_eq!(
                    p99(&ended, second, second + 1),
                    FAST,
                    "{balance:?}, seed {seed}, second {second}"
                );
            }
        }
    }
}
