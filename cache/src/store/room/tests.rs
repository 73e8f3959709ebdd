//! The room against a plain model of the entries that have a place in it.

use std::collections::HashMap;

use super::{NEWCOMERS, Place, Room};
use crate::policy::key::KeyHash;

/// A room with what an index would hold: places, weights, and how often each was asked for.
struct Model {
    room: Room,
    there: HashMap<u64, (Place, u64, u32)>,
}

impl Model {
    fn new(max: u64) -> Self {
        Self {
            room: Room::new(max),
            there: HashMap::new(),
        }
    }

    /// A request: what is there counts as asked for, what is not is put; tells whether it was there.
    fn ask(&mut self, number: u64, weight: u64) -> bool {
        if let Some((_, _, asked)) = self.there.get_mut(&number) {
            *asked = (*asked + 1).min(3);
            return true;
        }
        if self.room.admits(hash(number), weight, None) {
            self.make_room(weight);
            let place = self.room.enter(hash(number), weight);
            self.there.insert(number, (place, weight, 0));
        }
        self.check();
        false
    }

    fn make_room(&mut self, weight: u64) {
        while !self.room.fits(weight, None) {
            let there = &mut self.there;
            let victim = self.room.turn(|whose, price| {
                let (_, _, asked) = there.get_mut(&number(whose)).expect("it is there");
                let is_asked_for = *asked >= price;
                *asked = asked.saturating_sub(price);
                is_asked_for
            });
            if let Some(victim) = victim {
                assert!(self.there.remove(&number(victim)).is_some(), "it goes once");
            }
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some((place, ..)) = self.there.remove(&number) {
            self.room.leave(place);
        }
        self.check();
    }

    fn check(&self) {
        let bytes = self.there.values().map(|(_, weight, _)| weight).sum();
        assert_eq!(
            (self.room.entries(), self.room.bytes()),
            (self.there.len() as u64, bytes)
        );
        assert!(
            bytes <= self.room.max(),
            "{bytes} bytes in room for {}",
            self.room.max()
        );
    }
}

/// A hash that looks like one, of which the number can be told.
fn hash(number: u64) -> KeyHash {
    KeyHash(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn number(hash: KeyHash) -> u64 {
    // The inverse of the factor, modulo 2^64.
    hash.0.wrapping_mul(0xf1de_83e1_9937_733d)
}

#[test]
fn a_scan_of_what_is_asked_for_once_leaves_what_is_popular() {
    let mut model = Model::new(100_000);
    for round in 0..3 {
        (0..50).for_each(|popular| assert_eq!(model.ask(popular, 1000), round > 0));
    }
    for scanned in 1_000..20_000 {
        model.ask(scanned, 1000);
    }
    assert!((0..50).all(|popular| model.ask(popular, 1000)));
}

#[test]
fn what_is_heavy_comes_at_once_where_there_is_room_and_otherwise_with_its_second_request() {
    let heavy = 100_000 / NEWCOMERS + 1;
    let mut model = Model::new(100_000);
    model.ask(1, heavy);
    assert!(model.ask(1, heavy), "there was room");
    for other in 100..1_000 {
        model.ask(other, 1000);
    }
    assert!(!model.ask(2, heavy));
    assert!(!model.ask(2, heavy), "others would have had to go");
    assert!(model.ask(2, heavy), "it has come twice");
    for too_heavy in [100_001, u64::MAX >> 2] {
        assert!(!model.ask(3, too_heavy) && !model.ask(3, too_heavy) && !model.ask(3, too_heavy));
    }
}

#[test]
fn who_comes_again_soon_after_it_went_stays_though_nobody_asks_for_it() {
    let mut model = Model::new(100_000);
    for other in 100..220 {
        model.ask(other, 1000);
    }
    let first = (100..220).find(|number| !model.there.contains_key(number)).unwrap();
    model.ask(first, 1000);
    for other in 1_000..1_080 {
        model.ask(other, 1000);
    }
    assert!(model.ask(first, 1000));
}

#[test]
fn what_takes_the_room_of_many_has_to_be_asked_for_more_often() {
    let (mut room, mut prices) = (Room::new(100_000), Vec::new());
    for number in 0..100 {
        room.enter(hash(number), if number % 50 == 0 { 600 } else { 100 });
    }
    room.enter(hash(100), 15_000);
    let heavy = [0, 1, 50, 100].map(hash);
    for _ in 0..101 {
        room.turn(|whose, price| {
            if heavy.contains(&whose) {
                prices.push(price);
            }
            true
        });
    }
    // The average is 257.
    assert_eq!(prices, [1, 1, 1, 3]);
}

#[test]
fn a_change_of_weight_is_counted_where_the_entry_stands() {
    let mut room = Room::new(1_000);
    let places = [1, 2, 3].map(|number| room.enter(hash(number), 100));
    room.reweigh(places[1], 700);
    assert_eq!((room.entries(), room.bytes()), (3, 900));
    assert!(room.fits(800, Some(places[1])) && !room.fits(801, Some(places[1])));
    room.leave(places[1]);
    assert_eq!((room.entries(), room.bytes()), (2, 200));
    assert_eq!(room.turn(|_, _| true), None, "the first goes to the main queue");
    room.reweigh(places[0], 50);
    room.reweigh(places[2], 101);
    assert_eq!(
        room.turn(|_, _| false),
        Some(hash(3)),
        "newcomers weigh a tenth at the most"
    );
    assert_eq!((room.entries(), room.bytes()), (1, 50));
}

#[test]
fn random_requests_and_removals_keep_the_count_of_bytes_and_give_places_back() {
    let mut state = 7_u64;
    let mut roll = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut model = Model::new(200_000);
    for _ in 0..60_000 {
        let number = roll() % 600;
        match roll() % 10 {
            0..4 => model.remove(number),
            _ => {
                model.ask(number, 100 + roll() % 3_000);
            }
        }
    }
    assert!(model.there.len() > 50, "{}", model.there.len());
    let places = model.there.values().map(|(place, ..)| place.number()).max();
    assert!(places < Some(1024), "places are used again: {places:?}");
    for number in 0..600 {
        model.remove(number);
    }
    assert_eq!((model.room.entries(), model.room.bytes()), (0, 0));
}
