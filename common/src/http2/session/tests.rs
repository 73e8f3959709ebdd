//! Content and windows: turns, what is held back, what is given back.

use std::task::Waker;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::http2::frame::flag::{END_HEADERS, END_STREAM};
use crate::http2::inbound::tests::{Client, OWN};

const DATA: u8 = kind::DATA;
const HEADERS: u8 = kind::HEADERS;

fn answering(said: &[(u16, u32)], ids: &[u32]) -> Client {
    let mut client = Client::new(said);
    for id in ids {
        client.get(*id);
        assert!(client.session.take_accepted().is_ready());
    }
    client
}

fn content(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

fn increment(by: u32) -> [u8; 4] {
    by.to_be_bytes()
}

#[test]
fn large_contents_take_turns_and_small_ones_do_not_wait_for_their_end() {
    let mut client = answering(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)], &[1, 3]);
    assert_eq!(client.session.send_content(1, content(40_000), true), Ok(()));
    assert_eq!(client.session.send_content(3, content(20_000), true), Ok(()));
    assert!(client.sent().is_empty(), "they wait for their turns");
    client.session.take_turns();
    let expected = [
        (DATA, 0, 1, 16_384),
        (DATA, 0, 3, 16_384),
        (DATA, 0, 1, 16_384),
        (DATA, END_STREAM, 3, 3_616),
        (DATA, END_STREAM, 1, 7_232),
    ];
    assert_eq!(client.sent(), expected);
    assert!(client.session.has_sent_all(1) && client.session.has_sent_all(3));
}

#[test]
fn nothing_is_sent_that_a_window_has_no_room_for() {
    let mut client = answering(&[(setting::INITIAL_WINDOW_SIZE, 10)], &[1]);
    assert_eq!(client.session.send_content(1, content(25), true), Ok(()));
    client.session.take_turns();
    assert_eq!(client.sent(), [(DATA, 0, 1, 10)]);
    // SETTINGS make it negative, and a WINDOW_UPDATE does not make up for it (RFC 9113 §6.9.2).
    assert_eq!(client.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 4]), Ok(()));
    assert_eq!(client.frame(kind::WINDOW_UPDATE, 0, 1, &increment(6)), Ok(()));
    client.session.take_turns();
    assert_eq!(client.sent(), [(kind::SETTINGS, 1, 0, 0)]);
    assert_eq!(client.frame(kind::WINDOW_UPDATE, 0, 1, &increment(1)), Ok(()));
    client.session.take_turns();
    assert_eq!(client.sent(), [(DATA, 0, 1, 1)]);
    assert_eq!(client.frame(kind::WINDOW_UPDATE, 0, 1, &increment(100)), Ok(()));
    client.session.take_turns();
    assert_eq!(client.sent(), [(DATA, END_STREAM, 1, 14)]);
}

#[test]
fn all_streams_together_obey_the_window_of_the_connection() {
    let mut client = answering(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)], &[1, 3]);
    for id in [1, 3] {
        assert_eq!(client.session.send_content(id, content(60_000), true), Ok(()));
    }
    for _ in 0..3 {
        client.session.take_turns();
    }
    let sent: usize = client.sent().iter().map(|frame| frame.3).sum();
    assert_eq!(sent, 65_535);
    assert!(!client.session.has_turns());
    assert_eq!(client.frame(kind::WINDOW_UPDATE, 0, 0, &increment(1 << 20)), Ok(()));
    for _ in 0..3 {
        client.session.take_turns();
    }
    let sent: usize = client.sent().iter().map(|frame| frame.3).sum();
    assert_eq!(sent, 120_000 - 65_535);
}

#[test]
fn a_stream_is_given_no_more_than_it_may_hold_and_the_client_asked_for() {
    let mut client = answering(&[(setting::INITIAL_WINDOW_SIZE, 0)], &[1]);
    assert!(client.session.wants_content(1), "one piece, whatever the window");
    assert_eq!(client.session.send_content(1, content(100), false), Ok(()));
    assert!(!client.session.wants_content(1));
    assert_eq!(client.frame(kind::WINDOW_UPDATE, 0, 1, &increment(1 << 20)), Ok(()));
    assert!(client.session.wants_content(1));
    let max = OWN.send_buffer_max as usize;
    assert_eq!(client.session.send_content(1, content(max), false), Ok(()));
    assert!(!client.session.wants_content(1));
}

#[test]
fn trailers_and_ends_come_after_what_waits() {
    let mut client = answering(&[(setting::INITIAL_WINDOW_SIZE, 5)], &[1, 3]);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    assert_eq!(client.session.send_content(1, content(8), false), Ok(()));
    assert_eq!(client.session.send_trailers(1, trailers), Ok(()));
    assert_eq!(client.session.send_content(3, content(8), false), Ok(()));
    assert_eq!(client.session.send_content(3, Bytes::new(), true), Ok(()));
    client.session.take_turns();
    assert_eq!(client.sent(), [(DATA, 0, 1, 5), (DATA, 0, 3, 5)]);
    for id in [1, 3] {
        assert_eq!(client.frame(kind::WINDOW_UPDATE, 0, id, &increment(9)), Ok(()));
    }
    client.session.take_turns();
    let sent = client.sent();
    assert_eq!((sent[0], sent[2]), ((DATA, 0, 1, 3), (DATA, END_STREAM, 3, 3)));
    assert_eq!(
        (sent[1].0, sent[1].1, sent[1].2),
        (HEADERS, END_HEADERS | END_STREAM, 1)
    );
    assert_eq!(
        client.session.send_content(1, content(1), true),
        Err(sending::Gone),
        "it has ended"
    );
}

#[test]
fn windows_are_opened_as_bodies_are_read_and_when_nobody_reads_them() {
    let mut client = Client::new(&[]);
    assert_eq!(client.frame(kind::SETTINGS, 1, 0, &[]), Ok(()), "it knows our windows");
    let cx = Context::from_waker(Waker::noop());
    let head = |id| crate::http2::inbound::tests::framed(HEADERS, END_HEADERS, id, &[0x83, 0x86, 0x84, 0x41, 1, b'a']);
    for id in [1, 3] {
        assert_eq!(client.send(&head(id)), Ok(()));
        assert!(client.session.take_accepted().is_ready());
        assert_eq!(client.frame(DATA, 0, id, &[b'x'; 1000]), Ok(()));
    }
    assert!(client.sent().is_empty(), "nothing was read");
    let Poll::Ready(Some(Ok(frame))) = client.session.poll_body(1, &cx) else {
        panic!("it is there")
    };
    assert_eq!(frame.into_data().unwrap().len(), 1000);
    client.session.release_held(1);
    assert_eq!(client.sent(), [(kind::WINDOW_UPDATE, 0, 1, 4)]);
    assert!(client.session.poll_body(1, &cx).is_pending());
    // One octet beyond its window.
    assert_eq!(client.frame(DATA, 0, 3, b"x"), Ok(()));
    assert_eq!(client.sent(), [(kind::RST_STREAM, 0, 3, 4)]);
    // Bodies that nobody reads do not take the connection's window for ever.
    client.session.leave(3);
    for id in (5..).step_by(2).take(100) {
        assert_eq!(client.send(&head(id)), Ok(()));
        assert!(client.session.take_accepted().is_ready());
        client.session.forget_body(id);
        assert_eq!(client.frame(DATA, 0, id, &[b'x'; 1000]), Ok(()));
        client.session.leave(id);
    }
    let updates = client
        .sent()
        .iter()
        .filter(|frame| frame.0 == kind::WINDOW_UPDATE && frame.2 == 0)
        .count();
    assert!(updates >= 1, "{updates}");
}

#[test]
fn a_farewell_takes_a_round_trip_and_what_begins_after_it_is_ignored() {
    let mut client = answering(&[], &[1]);
    client.session.announce_end();
    let expected = [(kind::GOAWAY, 0, 0, 8), (kind::PING, 0, 0, 8)];
    assert_eq!(client.sent(), expected);
    client.get(3);
    assert_eq!(client.session.accepted.len(), 1, "it was on its way");
    assert_eq!(client.frame(kind::PING, 1, 0, &FAREWELL), Ok(()));
    assert_eq!(client.sent(), [(kind::GOAWAY, 0, 0, 8)]);
    client.get(5);
    assert_eq!((client.session.accepted.len(), client.sent().len()), (1, 0));
    assert!(!client.session.is_over());
    for id in [1, 3] {
        client.session.leave(id);
    }
    assert!(client.session.is_over());
}

#[test]
fn a_client_whose_table_is_smaller_is_told_once_that_ours_is_empty() {
    let mut client = answering(&[(setting::HEADER_TABLE_SIZE, 100)], &[1, 3]);
    let mut blocks = Vec::new();
    for id in [1, 3] {
        assert_eq!(client.session.send_head(id, true, |out| out.push(0x88)), Ok(()));
        blocks.push(client.sent()[0].3);
    }
    assert_eq!(blocks, [2, 1]);
}

#[test]
fn what_tls_has_taken_and_not_sent_is_not_forgotten() {
    let mut client = Client::new(&[]);
    for is_blocked in [true, false] {
        client.session.out.is_blocked = is_blocked;
        client.session.end_poll(&Context::from_waker(Waker::noop()));
        assert_eq!(client.session.out.is_blocked, is_blocked);
    }
}
