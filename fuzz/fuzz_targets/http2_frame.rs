//! RFC 9113 §4, §6: a frame's head and what follows it. Heads are written as they were read, and parts lie within the payload.
#![no_main]

use common::http2::frame::{self, Frame, HEAD, Head, STREAM_MAX};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((octets, rest)) = data.split_first_chunk::<HEAD>() else {
        return;
    };
    let head = Head::parse(*octets);
    assert!(head.stream <= STREAM_MAX && head.length < 1 << 24);
    assert_eq!(Head::parse(head.octets()), head);
    let payload = &rest[..rest.len().min(head.length as usize)];
    let length = u32::try_from(payload.len()).unwrap();
    match frame::parse(Head { length, ..head }, payload) {
        Ok(Frame::Data { content, .. }) => assert!(content.len() <= payload.len()),
        Ok(Frame::Headers { block, .. } | Frame::Continuation { block, .. }) => assert!(block.len() <= payload.len()),
        Ok(Frame::Settings(settings)) => assert_eq!(frame::settings(settings).count() * 6, payload.len()),
        Ok(Frame::WindowUpdate(increment)) => assert!((1..=STREAM_MAX).contains(&increment)),
        Ok(_) | Err(_) => {}
    }
});
