//! A seeded simulation: the real engine on one thread, a clock moved by hand, a scripted origin on a unix socket, and many
//! clients, purges and failures in random order. After each step everything that has come of it is judged (`judge.rs`).
//!
//! `TIDEGATE_SIM_SEEDS` says how many seeds are run, `TIDEGATE_SIM_SEED` which single one, with its story on stderr.
//! A seed tells the same story every time, but for the order in which the kernel reports sockets.

mod client; // requests, and what came of them
mod judge; // what must hold
mod origin; // the scripted origin
mod world; // what is true: versions, events, purges

use std::time::Duration;

use client::Clients;
use http::Method;
use world::{Act, World};

use super::Local;
use crate::purge::Strength;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 1_000;
/// Rounds at the end, in which everything is let go: a response of slices takes one for some of them.
const ROUNDS_MAX: u64 = 12;
/// Steps of one story.
const STEPS: u64 = 40;

#[test]
fn random_interleavings_break_no_rule() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("TIDEGATE_SIM_SEED") {
        return run(seed, true);
    }
    let seeds = number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        run(seed, false);
    }
}

/// Numbers that only the seed decides (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `sides` - 1.
    fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }

    /// True in `percent` of all cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let length = u64::try_from(from.len()).unwrap();
        from[usize::try_from(self.below(length)).unwrap()]
    }
}

/// Tells the seed of a story that ends in a panic.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0}: run again with TIDEGATE_SIM_SEED={0}", self.0);
        }
    }
}

fn run(seed: u64, is_told: bool) {
    let teller = Seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(story(seed, is_told));
    drop(teller);
}

async fn story(seed: u64, is_told: bool) {
    let mut dice = Dice(seed);
    let world = World::new(&mut dice, is_told);
    let is_small = dice.chance(30);
    let local = Local::new(if is_small { 12 << 10 } else { 1 << 20 });
    // A small store soon has no room for another fill: what comes is passed on, to each on its own.
    world.state().was_not_shared = is_small;
    let origin = origin::Origin::start(&world, seed);
    let mut clients = Clients::new(&world, &local, &origin.address());
    for _ in 0..STEPS {
        step(&mut dice, &world, &local, &mut clients).await;
        settle().await;
        clients.judge();
        judge::store(&local);
    }
    // Those who waited may have to wait once more, for themselves.
    for _ in 0..ROUNDS_MAX {
        world.release_all();
        settle().await;
        clients.judge();
    }
    clients.judge();
    judge::end(&local, &clients);
}

async fn step(dice: &mut Dice, world: &World, local: &Local, clients: &mut Clients) {
    match dice.below(100) {
        0..45 => clients.ask(dice),
        45..62 => world.release(dice),
        62..72 => world.pass(Duration::from_secs(1 + dice.below(4))).await,
        72..80 => world.change(dice),
        80..88 => {
            let strength = dice.pick(&[Strength::Hard, Strength::Hard, Strength::Soft]);
            let memory = local.memory().unwrap();
            let path = dice.chance(80).then(|| world.path(dice));
            match path {
                Some(path) => {
                    let url = format!("http://sim.test/{path}");
                    let target = crate::policy::target::TargetUri::parse(&url).unwrap();
                    memory.purge_url(target, &client::rules(world.state().shape).key, strength, false);
                }
                None => drop(memory.purges().apply(&crate::purge::Target::Everything, strength)),
            }
            world.act(Act::Purge(path, strength));
        }
        88..94 => clients.leave(dice),
        _ => clients.burst(dice, &Method::GET),
    }
}

/// Lets everything happen that can. With the clock paused, sleeping takes no time; each round lets sockets be heard once.
async fn settle() {
    for _ in 0..16 {
        tokio::time::sleep(Duration::from_micros(1)).await;
    }
}
