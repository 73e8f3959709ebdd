//! Large bodies in both directions, in bounded memory.
//!
//! `TIDEGATE_TEST_STREAM_MIB` scales the whole-size transfers (1024); the others are a quarter of it.

use tests::client::{get, request};
use tests::message::End;
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::{Setup, Shape};
use tests::tidegate::Tidegate;

const MIB: u64 = 1 << 20;
/// How much more memory than idle a process may take.
const MEMORY_MAX: u64 = 64 * MIB;

fn mebibytes() -> u64 {
    std::env::var("TIDEGATE_TEST_STREAM_MIB").map_or(1024, |text| text.parse().unwrap())
}

/// A mebibyte that repeats only with a prime length, so that a piece lost or doubled shows.
fn piece() -> Vec<u8> {
    (0..MIB).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

struct Transfer {
    tidegate: Tidegate,
    _origin: Origin,
    mebibytes: u64,
    idle: Vec<u64>,
}

impl Transfer {
    fn start(shape: Shape, mebibytes: u64) -> Self {
        let piece = piece();
        let chunk = [b"100000\r\n".as_slice(), &piece, b"\r\n"].concat();
        let origin = Origin::start(move |request| match (request.method(), request.path()) {
            (_, "/idle") => Script::ok("idle"),
            ("POST", _) => Script::ok(format!(
                "{} {}",
                request.content.bytes,
                matches_piece(&request.content.kept)
            )),
            (_, "/chunked") => {
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
                Script::says(head).repeat(&chunk, mebibytes).send("0\r\n\r\n")
            }
            _ => {
                let lines = format!("Cache-Control: max-age=60\r\nContent-Length: {}\r\n", mebibytes * MIB);
                Script::says(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).repeat(&piece, mebibytes)
            }
        });
        let setup = Setup::of(&origin.address())
            .shape(shape)
            .set("cache.stored_response_max", "'1MiB'");
        let tidegate = setup.set("front.request_body_max", "'64GiB'").start();
        assert_eq!(tidegate.get("/idle").text(), "idle");
        let idle = tidegate.nodes().map(|node| node.process.memory()).collect();
        Self {
            tidegate,
            _origin: origin,
            mebibytes,
            idle,
        }
    }

    fn download(&self, path: &str) {
        let response = self.tidegate.ask(get(path));
        assert_eq!(
            (response.content.bytes, &response.end),
            (self.mebibytes * MIB, &End::Whole),
            "{path}"
        );
        assert!(matches_piece(&response.content.kept), "{path}: other bytes");
    }

    fn upload(&self) {
        let mut client = self.tidegate.client();
        let piece = piece();
        client.send(request(
            "POST",
            "/",
            &format!("Content-Length: {}\r\n", self.mebibytes * MIB),
            "",
        ));
        for _ in 0..self.mebibytes {
            assert!(client.try_send(&piece), "the upload is not taken");
        }
        assert_eq!(client.read().text(), format!("{} true", self.mebibytes * MIB));
    }

    fn expect_little_memory(&self) {
        for (node, idle) in self.tidegate.nodes().zip(&self.idle) {
            let more = node.process.memory_peak().saturating_sub(*idle);
            assert!(more < MEMORY_MAX, "{} MiB over {} MiB idle", more / MIB, idle / MIB);
        }
        self.tidegate.wait_until_no_backend_is_busy();
    }
}

/// Whether these are the pieces as they were sent, from the first byte.
fn matches_piece(kept: &[u8]) -> bool {
    let piece = piece();
    !kept.is_empty() && kept.chunks(piece.len()).all(|part| part == &piece[..part.len()])
}

#[test]
fn a_large_download_takes_little_memory() {
    let transfer = Transfer::start(Shape::InProcess, mebibytes());
    transfer.download("/length");
    transfer.expect_little_memory();
}

#[test]
fn a_large_upload_takes_little_memory() {
    let transfer = Transfer::start(Shape::InProcess, mebibytes());
    transfer.upload();
    transfer.expect_little_memory();
}

#[test]
fn large_bodies_of_every_kind_pass_both_tiers_in_little_memory() {
    let transfer = Transfer::start(Shape::TwoTier(1), mebibytes().div_ceil(4));
    transfer.download("/length");
    transfer.download("/chunked");
    transfer.upload();
    transfer.expect_little_memory();
}

/// Nobody reads: what was taken from the origin is bounded by buffers, and the client then gets all of it.
#[test]
fn a_client_that_reads_late_gets_everything_in_little_memory() {
    let transfer = Transfer::start(Shape::InProcess, mebibytes().div_ceil(4));
    let mut clients: Vec<_> = (0..4).map(|_| transfer.tidegate.client()).collect();
    for client in &mut clients {
        client.send(get("/length"));
    }
    for client in &mut clients {
        // While this one is read, the others are not.
        let response = client.read();
        assert_eq!(
            (response.content.bytes, &response.end),
            (transfer.mebibytes * MIB, &End::Whole)
        );
    }
    transfer.expect_little_memory();
}
