//! What must hold: of each answer, of the fetches under way, of the store, and at the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;

use super::client::{Asked, Clients, Seen};
use super::origin::resolve;
use super::world::{Act, Event, Shape, State, World, content};
use crate::purge::Strength;
use crate::serve::Local;

/// Judges one client's answer, whole or not.
pub(super) fn answer(world: &World, asked: &Asked, seen: &Seen) {
    let Some((status, fields, when)) = &seen.head else {
        return;
    };
    let field = |name: &str| {
        fields
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let Ok(number) = field("x-fetch").parse::<usize>() else {
        return;
    };
    let mut state = world.state();
    state.events[number].clients += 1;
    let event = state.events[number].clone();
    let about = format!("{asked:?}\n{status} {fields:?}\n{event:?}");
    assert_eq!(event.path, asked.path, "a response for another key: {about}");
    if event.kind.has_variants() {
        assert_eq!(event.variant, asked.variant, "a response for another variant: {about}");
    }
    bytes(asked, seen, status.as_u16(), &event, &field("content-range"), &about);
    if event.kind.is_private && matches!(event.status, 200 | 206) {
        assert!(event.clients <= 1, "shared although it must not be: {about}");
    }
    let cache_status = field("cache-status");
    let words: Vec<_> = cache_status.split("; ").collect();
    let detail = words
        .iter()
        .find_map(|word| word.strip_prefix("detail=\"")?.strip_suffix('"'))
        .unwrap_or_default();
    // What begins with a stored slice is told by that one, whatever else has to be asked for.
    let is_hit = words.contains(&"hit") || state.shape == Shape::Slices && words.contains(&"fwd=partial");
    let age = when.saturating_since(event.asked).as_secs();
    if is_hit {
        assert_eq!(field("age"), age.to_string(), "the age is wrong: {about}");
    }
    let is_stale = [
        "stale_while_revalidate",
        "max_stale",
        "stale_if_error",
        "origin_unreachable",
        "origin_error",
    ]
    .contains(&detail);
    if is_stale {
        stale(detail, age, asked, &event, &about);
    } else if is_hit {
        assert!(
            age < event.kind.lifetime && !event.kind.no_cache,
            "stale, and nothing allows it: {about}"
        );
    } else {
        let is_current = event.ended_at.is_none_or(|ended| ended >= asked.at);
        assert!(is_current, "neither from store nor from a fetch of its time: {about}");
    }
    purged(&state, asked, &event, is_hit && !is_stale, &about);
}

/// Nothing but bytes of the one version, from their beginning or the range's.
fn bytes(asked: &Asked, seen: &Seen, status: u16, event: &Event, content_range: &str, about: &str) {
    let whole = content(event.path, &event.variant, event.version).into_bytes();
    let expected = match (status, &asked.field) {
        // The transport leaves it out.
        _ if asked.method == Method::HEAD => return,
        (200, _) => &whole[..],
        (206, Some((_, range))) => {
            let (first, last) = resolve(range, whole.len()).unwrap_or_else(|| panic!("no such range: {about}"));
            let expected = format!("bytes {first}-{last}/{}", whole.len());
            assert_eq!(content_range, expected, "another range: {about}");
            &whole[first..=last]
        }
        (503, _) => b"no",
        _ => &[],
    };
    let got = &seen.content[..];
    match seen.end {
        Some(Ok(())) => assert!(got == expected, "not the bytes of this version: {about}"),
        Some(Err(_)) | None => assert!(expected.starts_with(got), "bytes of something else: {about}"),
    }
}

fn stale(detail: &str, age: u64, asked: &Asked, event: &Event, about: &str) {
    let over = age.saturating_sub(event.kind.lifetime);
    let is_over = age >= event.kind.lifetime;
    assert!(
        !(event.kind.no_cache || is_over && event.kind.forbids_stale),
        "stale against a directive: {about}"
    );
    let window = match detail {
        "stale_while_revalidate" => event.kind.while_revalidate,
        "max_stale" => {
            assert!(
                asked.field.as_ref().is_some_and(|(_, value)| value == "max-stale=3"),
                "not asked for: {about}"
            );
            3
        }
        _ => event.kind.if_error.unwrap_or(86_400),
    };
    assert!(over <= window, "stale by {over} s, {window} are allowed: {about}");
}

/// Nothing that was purged or invalidated before the request answers it.
fn purged(state: &State, asked: &Asked, event: &Event, is_plain_hit: bool, about: &str) {
    for (at, act) in state
        .acts
        .iter()
        .filter(|(at, _)| *at < asked.at && *at > event.asked_at)
    {
        let (path, is_gone) = match act {
            Act::Purge(path, Strength::Hard) => (*path, true),
            Act::Purge(path, Strength::Soft) => (*path, is_plain_hit),
            Act::Invalidate(path) => (Some(*path), true),
        };
        let is_covered = path.is_none_or(|path| path == event.path);
        assert!(
            !(is_covered && is_gone),
            "{act:?} at {at} should have taken it: {about}"
        );
    }
}

/// At most one fetch of the first resource (and slice) at a time. There may be another after a purge, when what is still
/// coming of the first is stale already, or when a further slice has shown that the representation has changed.
pub(super) fn fetches(world: &World) {
    let state = world.state();
    if let Some((earlier, later)) = needless(&state) {
        panic!("two fetches of a key at a time: {earlier:?}\n{later:?}");
    }
}

/// Two fetches under way where one would do.
fn needless(state: &State) -> Option<(&Event, &Event)> {
    if state.was_not_shared {
        return None;
    }
    let under_way: Vec<_> = state
        .events
        .iter()
        .filter(|event| event.path == 0 && event.ended_at.is_none())
        .collect();
    // A second try is the fetch of before, of which nobody knows that it was sent again: it joins nobody who came after an
    // act of an operator, nobody who came after that joins it, and the store takes what it brings for as old as the first.
    let epoch = |event: &Event| {
        let began = first_try(state, event).unwrap_or(event).asked_at;
        state.acts.iter().filter(|(at, _)| *at < began).count()
    };
    under_way.iter().enumerate().find_map(|(place, later)| {
        let has_shown = |between: &Event, earlier: &Event| {
            let is_between = (earlier.asked_at..later.asked_at).contains(&between.asked_at);
            state.shape == Shape::Slices && is_between && between.path == 0 && between.range != earlier.range
        };
        // It was begun because what was still coming then had become stale. That broke off, so it is not stored, and nobody
        // who comes later knows what this one follows on.
        let follows_on_nothing = |earlier: &Event| {
            let followed = |before: &Event| before.path == 0 && before.broke_off && before.asked_at < earlier.asked_at;
            let ended_since = |before: &Event| before.ended_at.is_some_and(|ended| ended > earlier.asked_at);
            let was_stale =
                |before: &Event| earlier.asked.saturating_since(before.asked).as_secs() >= before.kind.lifetime;
            state
                .events
                .iter()
                .any(|before| followed(before) && ended_since(before) && was_stale(before))
        };
        let joinable = |earlier: &&&Event| {
            epoch(earlier) == epoch(later)
                && !follows_on_nothing(earlier)
                && earlier.range == later.range
                && !state.events.iter().any(|between| has_shown(between, earlier))
                && later.asked.saturating_since(earlier.asked).as_secs() < earlier.kind.lifetime
        };
        let earlier = under_way[..place].iter().find(joinable)?;
        Some((*earlier, *later))
    })
}

/// What the origin broke off on a connection that was used before is asked for once more on a fresh one, for the same request.
fn first_try<'a>(state: &'a State, second: &Event) -> Option<&'a Event> {
    let is_same = |first: &&Event| first.request == second.request && first.range == second.range;
    let broke_before = |first: &&Event| first.broke_off && first.ended_at.is_some_and(|ended| ended < second.asked_at);
    state.events.iter().filter(is_same).find(broke_before)
}

/// The store weighs what it holds, and holds no more than it may.
pub(super) fn store(local: &Local) {
    let (counted, held, max) = local.memory().unwrap().balance();
    assert_eq!(counted, held, "the store counts other bytes than it holds");
    assert!(held <= max, "{held} bytes in room for {max}");
}

/// Nobody waits, nothing is under way, nothing is held.
pub(super) fn end(local: &Local, clients: &Clients) {
    assert_eq!(clients.waiting(), 0, "clients wait for ever");
    assert_eq!(local.waiting(), 0, "requests wait for a fetch that is over");
    assert_eq!(local.flights.len(), 0, "fetches without an end");
    assert_eq!(
        local.budget.held.load(Ordering::Relaxed),
        0,
        "bytes of fills that are over"
    );
}

/// A fetch: by whose request, when it was sent, when it broke off.
type Sent = (&'static str, u64, Option<u64>);

#[test]
fn two_fetches_are_seen_where_one_would_do() {
    // What was sent, when there was a purge, and whether two are seen.
    let cases: [(&str, &[Sent], Option<u64>, bool); 8] = [
        ("one", &[("a", 1, None)], None, false),
        ("two", &[("a", 1, None), ("b", 2, None)], None, true),
        (
            "a purge between them",
            &[("a", 1, None), ("b", 3, None)],
            Some(2),
            false,
        ),
        ("two after a purge", &[("a", 3, None), ("b", 4, None)], Some(2), true),
        (
            "a second try of what began before a purge, and one that came after it",
            &[("a", 1, Some(3)), ("a", 4, None), ("b", 5, None)],
            Some(2),
            false,
        ),
        (
            "a second try that comes later than who came after the purge",
            &[("a", 1, Some(4)), ("b", 3, None), ("a", 5, None)],
            Some(2),
            false,
        ),
        (
            "a second try without a purge",
            &[("a", 1, Some(2)), ("a", 3, None), ("b", 4, None)],
            None,
            true,
        ),
        (
            "what broke off before the purge was another request's",
            &[("a", 1, Some(3)), ("b", 4, None), ("c", 5, None)],
            Some(2),
            true,
        ),
    ];
    for (name, sent, purge, expected) in cases {
        assert_eq!(is_needless(sent, purge, Duration::ZERO), expected, "{name}");
    }
}

/// Who came when the first was stale began a fetch of his own, and nobody can join that once the first has broken off.
#[test]
fn a_fetch_that_followed_on_what_broke_off_is_joined_by_nobody() {
    let sent: [Sent; 3] = [("a", 1, Some(3)), ("b", 2, None), ("c", 4, None)];
    assert!(is_needless(&sent, None, Duration::ZERO));
    assert!(!is_needless(&sent, None, Duration::from_secs(60)));
    let [first, ..] = sent;
    let ended_before = [first, ("b", 4, None), ("c", 5, None)];
    assert!(is_needless(&ended_before, None, Duration::from_secs(60)));
}

/// Whether one of the fetches was needless; all but the first were sent so long `after` it.
fn is_needless(sent: &[Sent], purge: Option<u64>, after: Duration) -> bool {
    let world = World::new(&mut super::Dice(1), false);
    let mut state = world.state();
    state.shape = Shape::Whole;
    let purge = purge.map(|at| (at, Act::Purge(None, Strength::Hard)));
    state.acts.extend(purge);
    let (kind, asked) = (state.kinds[0], world.clock().wall());
    let event = |(place, (request, asked_at, ended_at)): (usize, &Sent)| Event {
        path: 0,
        variant: String::new(),
        version: 1,
        kind,
        status: 200,
        range: String::new(),
        request: (*request).to_owned(),
        asked: if place == 0 { asked } else { asked.plus(after) },
        asked_at: *asked_at,
        ended_at: *ended_at,
        broke_off: ended_at.is_some(),
        clients: 0,
    };
    state.events.extend(sent.iter().enumerate().map(event));
    needless(&state).is_some()
}
