//! What is stored, what goes for room, and that every byte is counted once.

use std::collections::HashMap;

use bytes::Bytes;
use common::http::response::SharedFields;

use super::*;
use crate::policy::rules::Rules;
use crate::policy::testing;
use crate::store::Purging;
use crate::store::kept::Kept;

/// A store, and what requests for it share.
struct Fixture {
    memory: Memory,
    none: HeaderMap,
    rules: Rules,
}

impl Fixture {
    fn new(bytes: u64) -> Self {
        Self {
            memory: Memory::new(bytes),
            none: HeaderMap::new(),
            rules: Rules::default(),
        }
    }

    fn with<T>(&self, path: &str, then: impl FnOnce(KeyHash, &Key<'_>) -> T) -> T {
        let url = format!("http://a.test/{path}");
        let key = Key::new(TargetUri::parse(&url).unwrap(), &self.none, &self.rules.key);
        then(self.memory.hash(&key), &key)
    }

    fn made(&self, path: &str, language: &str, length: usize) -> Arc<Stored> {
        let mut meta = testing::stored(200, &[("cache-control", "max-age=9"), ("vary", "accept-language")]);
        let request = testing::fields(&[("accept-language", language)]);
        meta.vary_key = meta.vary.key(&request, &self.none, &self.rules.vary);
        let fields = Arc::new(SharedFields::new(&self.none));
        let content = Kept::whole(Bytes::from(vec![b'.'; length]));
        let key = self.with(path, |_, key| key.render());
        Stored::new(key, meta, fields, content, Purging::default())
    }

    fn put(&self, path: &str, language: &str, length: usize) {
        let stored = self.made(path, language, length);
        self.with(path, |hash, _| self.memory.put(hash, &stored, None, 2));
    }

    fn get(&self, path: &str) -> usize {
        let entry = self.with(path, |hash, key| self.memory.get(hash, key));
        entry.map_or(0, |entry| {
            entry.variants()[0].count_hit();
            entry.variants().len()
        })
    }

    fn remove(&self, path: &str) -> bool {
        self.with(path, |hash, key| self.memory.remove(hash, key))
    }

    /// Entries; their bytes are counted exactly, and there is room for them.
    fn entries(&self) -> u64 {
        let (counted, held, max) = self.memory.balance();
        assert_eq!(counted, held, "the store counts other bytes than it holds");
        assert!(held <= max, "{held} bytes in room for {max}");
        let (entries, bytes) = self.memory.level();
        assert_eq!((entries, bytes), (self.memory.index.entries().count() as u64, held));
        entries
    }
}

#[test]
fn variants_come_go_and_are_replaced_and_no_weight_is_left_behind() {
    let store = Fixture::new(1 << 20);
    for round in 1..=3 {
        store.put("b", "en", 5);
        assert_eq!((store.get("b"), store.entries()), (1, 1));
        store.put("b", "de", 7_000);
        assert_eq!((store.get("b"), store.entries()), (2, 1));
        store.put("b", "en", 900);
        assert_eq!((store.get("b"), store.entries()), (2, 1));
        store.put("b", "fr", 1);
        assert_eq!(
            (store.get("b"), store.entries()),
            (2, 1),
            "the oldest makes way for the newest"
        );
        assert!(store.remove("b") && !store.remove("b"));
        assert_eq!((store.get("b"), store.entries()), (0, 0));
        assert_eq!((store.memory.removed(), store.memory.level().1), (round, 0));
    }
    assert_eq!(store.memory.evicted(), 0);
}

#[test]
fn what_is_asked_for_stays_while_others_come_and_go() {
    let store = Fixture::new(100_000);
    store.put("asked", "en", 1_000);
    for number in 0..500 {
        assert_eq!(store.get("asked"), 1, "after {number}");
        store.put(&number.to_string(), "en", 1_000);
        store.entries();
    }
    assert_eq!(store.memory.evicted(), 501 - store.entries());
}

#[test]
fn what_takes_the_place_of_something_popular_is_popular() {
    let store = Fixture::new(100_000);
    store.put("asked", "en", 1_000);
    assert!((0..9).all(|_| store.get("asked") == 1));
    store.put("asked", "en", 1_100);
    for number in 0..500 {
        store.put(&number.to_string(), "en", 1_000);
    }
    assert_eq!(store.get("asked"), 1);
    let entry = store
        .with("asked", |hash, key| store.memory.inspect(hash, key))
        .unwrap();
    assert_eq!(entry.hits(), 10, "it has answered what its predecessor had");
}

#[test]
fn what_outgrows_the_store_takes_its_predecessor_with_it() {
    let store = Fixture::new(20_000);
    for number in 0..5 {
        store.put(&number.to_string(), "en", 1_000);
    }
    store.put("3", "en", 30_000);
    assert_eq!((store.get("3"), store.entries(), store.memory.evicted()), (0, 4, 1));
    store.put("2", "en", 14_000);
    assert_eq!(
        (store.get("2"), store.entries()),
        (1, 3),
        "others make way for what is known"
    );
    assert_eq!(store.memory.evicted(), 2);
}

#[test]
fn looking_at_something_touches_nothing() {
    let store = Fixture::new(100_000);
    store.put("seen", "en", 1_000);
    for number in 0..500 {
        store.with("seen", |hash, key| drop(store.memory.inspect(hash, key)));
        store.put(&number.to_string(), "en", 1_000);
    }
    assert_eq!(store.get("seen"), 0);
}

#[test]
fn random_stories_agree_with_a_plain_map() {
    let store = Fixture::new(1 << 30);
    let mut plain: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
    let mut state = 1_u64;
    let mut roll = |sides: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % sides
    };
    let languages = ["en", "de", "fr"];
    for _ in 0..5_000 {
        let number = roll(200) as u64;
        let path = number.to_string();
        match roll(4) {
            0 => assert_eq!(store.remove(&path), plain.remove(&number).is_some()),
            1 => assert_eq!(store.get(&path), plain.get(&number).map_or(0, Vec::len)),
            _ => {
                let (language, length) = (roll(3), roll(5_000));
                store.put(&path, languages[language], length);
                let variants = plain.entry(number).or_default();
                variants.retain(|(other, _)| *other != language);
                variants.insert(0, (language, length));
                variants.truncate(2);
            }
        }
    }
    assert_eq!(store.entries(), plain.len() as u64);
    let weigh = |number: &u64, variants: &Vec<(usize, usize)>| -> u64 {
        let path = number.to_string();
        let made = variants
            .iter()
            .map(|(language, length)| store.made(&path, languages[*language], *length));
        made.map(|stored| stored.weight()).sum()
    };
    let bytes: u64 = plain.iter().map(|(number, variants)| weigh(number, variants)).sum();
    assert_eq!(store.memory.level().1, bytes);
}

#[test]
fn threads_that_store_ask_purge_and_remove_at_once_leave_an_exact_count() {
    let store = Fixture::new(150_000);
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let store = &store;
            scope.spawn(move || {
                for turn in 0..3_000_usize {
                    let number = turn.wrapping_mul(7 + thread * 2) % 300;
                    let path = number.to_string();
                    match (turn + thread) % 8 {
                        0 => {
                            store.remove(&path);
                        }
                        1 if turn.is_multiple_of(97) => {
                            let target = TargetUri::parse("http://a.test/5").unwrap();
                            store.memory.purge_url(target, &store.rules.key, Strength::Hard, true);
                        }
                        2..5 => assert!(store.get(&path) <= 2),
                        5 => store.put(&path, "de", number * 17),
                        _ => store.put(&path, "en", number * 11),
                    }
                }
            });
        }
    });
    assert!(store.entries() > 10);
    for number in 0..300 {
        store.remove(&number.to_string());
    }
    assert_eq!((store.entries(), store.memory.level().1), (0, 0));
}
