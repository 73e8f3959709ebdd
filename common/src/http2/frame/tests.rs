//! Each type of frame: what it says, what none may be, and what we write.

use super::*;

fn said(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let mut out = Vec::new();
    put(&mut out, kind, flags, stream, payload);
    parse(Head::parse(*out.first_chunk().unwrap()), payload)
}

#[test]
fn heads_are_written_as_they_are_read() {
    let octets = [1, 2, 3, 4, 5, 0x86, 7, 8, 9];
    let head = Head::parse(octets);
    assert_eq!(
        (head.length, head.kind, head.flags, head.stream),
        (0x01_0203, 4, 5, 0x0607_0809)
    );
    assert_eq!(head.octets(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn what_a_frame_says() {
    use flag::{ACK, END_HEADERS, END_STREAM, PADDED, PRIORITY};
    let headers = |block, ends, is_whole, depends_on_itself| Frame::Headers {
        block,
        ends,
        is_whole,
        depends_on_itself,
    };
    let data = |content, ends| Frame::Data { content, ends };
    let continuation = |block, is_whole| Frame::Continuation { block, is_whole };
    #[rustfmt::skip]
    let rows: [(u8, u8, u32, &[u8], Frame<'_>); 20] = [
        (kind::DATA, 0, 1, b"abc", data(b"abc", false)),
        (kind::DATA, END_STREAM, 1, b"", data(b"", true)),
        (kind::DATA, PADDED, 1, &[2, b'a', 0, 0], data(b"a", false)),
        (kind::DATA, PADDED, 1, &[2, 0, 0], data(b"", false)),
        (kind::DATA, PADDED, 1, &[0], data(b"", false)),
        (kind::HEADERS, END_HEADERS, 1, &[0x82], headers(&[0x82], false, true, false)),
        (kind::HEADERS, END_STREAM | PRIORITY, 3, &[0x80, 0, 0, 1, 9, 0x82], headers(&[0x82], true, false, false)),
        (kind::HEADERS, PADDED | PRIORITY, 3, &[1, 0x80, 0, 0, 3, 9, 0x82, 0], headers(&[0x82], false, false, true)),
        (kind::PRIORITY, 0, 3, &[0, 0, 0, 1, 9], Frame::Priority),
        (kind::RST_STREAM, 0, 1, &[0, 0, 0, 8], Frame::RstStream),
        (kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0], Frame::Settings(&[0, 4, 0, 0, 1, 0])),
        (kind::SETTINGS, ACK, 0, &[], Frame::SettingsAck),
        (kind::PING, 0, 0, &[1; 8], Frame::Ping([1; 8])),
        (kind::PING, ACK, 0, &[1; 8], Frame::PingAck([1; 8])),
        (kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2, b'x'], Frame::GoAway),
        (kind::WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 1], Frame::WindowUpdate(1)),
        (kind::WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255], Frame::WindowUpdate(STREAM_MAX)),
        (kind::CONTINUATION, 0, 1, &[1], continuation(&[1], false)),
        (kind::CONTINUATION, END_HEADERS, 1, &[], continuation(&[], true)),
        (0x16, 0xff, 7, b"whatever", Frame::Unknown),
    ];
    for (kind, flags, stream, payload, frame) in rows {
        assert_eq!(
            said(kind, flags, stream, payload),
            Ok(frame),
            "{kind} {flags:x} {payload:?}"
        );
    }
    let setting: Vec<_> = settings(&[0, 4, 0, 0, 1, 0, 0, 5, 0, 0, 64, 0]).collect();
    assert_eq!(setting, [(4, 256), (5, 16_384)]);
}

#[test]
fn what_no_frame_may_be() {
    use flag::{ACK, PADDED, PRIORITY};
    let stream = Fault::Stream;
    #[rustfmt::skip]
    let rows: [(u8, u8, u32, &[u8], Fault); 29] = [
        (kind::DATA, 0, 0, b"abc", PROTOCOL),
        (kind::DATA, PADDED, 1, &[3, 0, 0], PROTOCOL),
        (kind::DATA, PADDED, 1, &[], FRAME_SIZE),
        (kind::HEADERS, 0, 0, &[0x82], PROTOCOL),
        (kind::HEADERS, PADDED, 1, &[], FRAME_SIZE),
        (kind::HEADERS, PADDED, 1, &[9, 0x82], PROTOCOL),
        (kind::HEADERS, PRIORITY, 1, &[0, 0, 0, 0], FRAME_SIZE),
        (kind::HEADERS, PADDED | PRIORITY, 1, &[1, 0, 0, 0, 0, 0], FRAME_SIZE),
        (kind::PRIORITY, 0, 0, &[0, 0, 0, 1, 9], PROTOCOL),
        (kind::PRIORITY, 0, 3, &[0, 0, 0, 1], stream(Code::FrameSizeError)),
        (kind::PRIORITY, 0, 3, &[0, 0, 0, 3, 9], stream(Code::ProtocolError)),
        (kind::PRIORITY, 0, 3, &[0x80, 0, 0, 3, 9], stream(Code::ProtocolError)),
        (kind::RST_STREAM, 0, 0, &[0, 0, 0, 8], PROTOCOL),
        (kind::RST_STREAM, 0, 1, &[0, 0, 8], FRAME_SIZE),
        (kind::RST_STREAM, 0, 1, &[0, 0, 0, 0, 8], FRAME_SIZE),
        (kind::SETTINGS, 0, 1, &[], PROTOCOL),
        (kind::SETTINGS, 0, 0, &[0, 4, 0], FRAME_SIZE),
        (kind::SETTINGS, ACK, 0, &[0, 4, 0, 0, 1, 0], FRAME_SIZE),
        (kind::PUSH_PROMISE, 0, 1, &[0, 0, 0, 2], PROTOCOL),
        (kind::PUSH_PROMISE, 0, 0, &[0, 0, 0, 2], PROTOCOL),
        (kind::PING, 0, 1, &[0; 8], PROTOCOL),
        (kind::PING, 0, 0, &[0; 7], FRAME_SIZE),
        (kind::PING, ACK, 0, &[0; 9], FRAME_SIZE),
        (kind::GOAWAY, 0, 1, &[0; 8], PROTOCOL),
        (kind::GOAWAY, 0, 0, &[0; 7], FRAME_SIZE),
        (kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1], FRAME_SIZE),
        (kind::WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 0], PROTOCOL),
        (kind::WINDOW_UPDATE, 0, 1, &[0; 4], stream(Code::ProtocolError)),
        (kind::CONTINUATION, 0, 0, &[1], PROTOCOL),
    ];
    for (kind, flags, stream, payload, fault) in rows {
        assert_eq!(
            said(kind, flags, stream, payload),
            Err(fault),
            "{kind} {flags:x} {payload:?}"
        );
    }
}

#[test]
fn what_we_write() {
    let mut out = Vec::new();
    put_settings(&mut out, &[(3, 100), (4, 65_535)]);
    put_goaway(&mut out, 7, Code::EnhanceYourCalm);
    put_reset(&mut out, 9, Code::RefusedStream);
    put_window_update(&mut out, 0, 256);
    put(&mut out, kind::PING, flag::ACK, 0, &[5; 8]);
    #[rustfmt::skip]
    let expected = [
        &[0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 255, 255][..],
        &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 11],
        &[0, 0, 4, 3, 0, 0, 0, 0, 9, 0, 0, 0, 7],
        &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        &[0, 0, 8, 6, 1, 0, 0, 0, 0, 5, 5, 5, 5, 5, 5, 5, 5],
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn a_block_is_cut_into_frames_of_the_size_that_the_peer_takes() {
    let block: Vec<u8> = (0..10).collect();
    for (size_max, lengths) in [(10, &[10][..]), (9, &[9, 1]), (5, &[5, 5]), (4, &[4, 4, 2])] {
        let mut out = vec![0xff; 3];
        out.extend([0; HEAD]);
        out.extend(&block);
        end_headers(&mut out, 3, 7, true, size_max);
        let (mut rest, mut joined, mut found) = (&out[3..], Vec::new(), Vec::new());
        while let Some((octets, after)) = rest.split_first_chunk() {
            let head = Head::parse(*octets);
            let (part, after) = after.split_at(head.length as usize);
            let is_last = after.is_empty();
            assert_eq!((head.stream, head.has(flag::END_HEADERS)), (7, is_last), "{size_max}");
            let first = head.kind == kind::HEADERS && head.has(flag::END_STREAM);
            assert_eq!(first, found.is_empty(), "{size_max}: {head:?}");
            found.push(part.len());
            joined.extend_from_slice(part);
            rest = after;
        }
        assert_eq!((found.as_slice(), &joined), (lengths, &block), "{size_max}");
    }
    let mut out = vec![0; HEAD];
    end_headers(&mut out, 0, 1, false, 100);
    put_data_head(&mut out, 1, 300, true);
    assert_eq!(out, [0, 0, 0, 1, 4, 0, 0, 0, 1, 0, 1, 44, 0, 1, 0, 0, 0, 1]);
}
