//! Single steps of a request's way, done many times: so that callgrind can count what one of them costs.
//!
//! `bench budget` runs it, once with N repetitions and once with 2 N; the difference is the step's alone. Nobody else does.
//! It is a program and not an example because examples are built with the features that tests want of what they use; what
//! is counted here is what is shipped.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cache::policy::age::Times;
use cache::policy::key::{Key, KeyHasher};
use cache::policy::meta::StoredMeta;
use cache::policy::outcome::{CacheStatus, Outcome};
use cache::policy::request::RequestDigest;
use cache::policy::reuse::{Mark, Reuse, reuse};
use cache::policy::rules::Rules;
use cache::policy::store::{Exchange, storable};
use cache::policy::target::TargetUri;
use common::http::response::{Fields, SharedFields};
use common::http1::parse::{HeadLimits, RequestHead, request_head, response_head, trailers};
use common::http1::render::{self, Coding, ResponseFrame};
use common::time::WallTime;
use http::header::{AGE, HeaderName};
use http::{HeaderMap, Method, StatusCode};

/// What a browser asks.
const REQUEST: &[u8] = b"GET /images/logo.png?v=3 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n\
    Accept-Language: en-GB,en;q=0.7\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/\r\nCookie: session=0123456789abcdef\r\n\r\n";
/// What an origin answers.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nServer: origin\r\n\
    Content-Type: image/png\r\nContent-Length: 1024\r\nCache-Control: public, max-age=3600\r\n\
    ETag: \"0123456789abcdef\"\r\nLast-Modified: Sat, 21 Nov 2026 12:00:00 GMT\r\nVary: Accept-Encoding\r\n\r\n";
const LIMITS: HeadLimits = HeadLimits {
    bytes: 65_536,
    fields: 100,
    target: 8192,
};
/// 2026-11-22, when the response was made, and some while later.
const THEN: WallTime = WallTime::from_unix_secs(1_795_348_800);
const NOW: WallTime = WallTime::from_unix_secs(1_795_349_000);
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A step by its word.
type Step = (&'static str, fn(&Given) -> bool);

const STEPS: [Step; 6] = [
    ("request-parse", request_parse),
    ("response-parse", response_parse),
    ("key", key),
    ("policy-store", policy_store),
    ("policy-reuse", policy_reuse),
    ("head-render", head_render),
];

/// What steps begin with, made before they are counted.
struct Given {
    request: RequestHead,
    response: HeaderMap,
    rules: Rules,
    stored: StoredMeta,
    hasher: KeyHasher,
    rendered_key: Box<[u8]>,
    shared: Arc<SharedFields>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(given), [name, count]) = (given(), &arguments[..]) else {
        return ExitCode::from(64);
    };
    let step = STEPS.iter().find(|(word, _)| word == name);
    let (Some((_, step)), Ok(count)) = (step, count.parse::<u32>()) else {
        return ExitCode::from(64);
    };
    // Nothing is counted that went wrong.
    let all = (0..count).all(|_| step(black_box(&given)));
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn given() -> Option<Given> {
    let request = request_head(&mut BytesMut::from(REQUEST), &mut 0, LIMITS).ok()??;
    // Its fields as a map: read as if they came after content.
    let response = trailers(&Bytes::from_static(RESPONSE.strip_prefix(b"HTTP/1.1 200 OK\r\n")?))?;
    let rules = Rules::default();
    let stored = storable(&exchange(&request.head.headers, &response), &rules).ok()?.meta;
    Some(Given {
        stored,
        rendered_key: Key::new(target(), &request.head.headers, &rules.key).render(),
        shared: Arc::new(SharedFields::new(&response)),
        hasher: KeyHasher::fixed(),
        request,
        response,
        rules,
    })
}

const fn target() -> TargetUri<'static> {
    TargetUri {
        scheme: "https",
        authority: "www.example.com",
        path: "/images/logo.png",
        query: Some("v=3"),
    }
}

fn request_parse(_: &Given) -> bool {
    let read = request_head(&mut BytesMut::from(black_box(REQUEST)), &mut 0, LIMITS);
    black_box(read).is_ok_and(|head| head.is_some())
}

fn response_parse(_: &Given) -> bool {
    let read = response_head(&mut BytesMut::from(black_box(RESPONSE)), &mut 0, LIMITS);
    black_box(read).is_ok_and(|head| head.is_some())
}

/// As a hit does it: hashed, and held against the one that is stored.
fn key(given: &Given) -> bool {
    let key = Key::new(black_box(target()), &given.request.head.headers, &given.rules.key);
    black_box(key.hash(&given.hasher));
    key.is(&given.rendered_key)
}

/// May it be stored, and what is known of it then?
fn policy_store(given: &Given) -> bool {
    let exchange = exchange(&given.request.head.headers, &given.response);
    black_box(storable(&exchange, &given.rules)).is_ok()
}

/// What does this request want, and is what is stored good for it?
fn policy_reuse(given: &Given) -> bool {
    let digest = RequestDigest::of(&Method::GET, &given.request.head.headers);
    let found = reuse(&given.stored, Mark::Unmarked, &digest, &given.rules, black_box(NOW));
    matches!(black_box(found), Reuse::Fresh { .. })
}

fn exchange<'a>(request: &'a HeaderMap, response: &'a HeaderMap) -> Exchange<'a> {
    Exchange {
        method: &Method::GET,
        target: target(),
        request,
        status: StatusCode::OK,
        response,
        times: Times {
            request: THEN,
            response: THEN,
        },
    }
}

/// The head of a hit: shared lines, Age and Cache-Status.
fn head_render(given: &Given) -> bool {
    let mut fields = Fields::from(Arc::clone(&given.shared));
    fields.added.push_number(&AGE, black_box(200));
    let status = CacheStatus {
        ttl: Some(black_box(3400)),
        ..CacheStatus::new("tidegate", Outcome::Hit)
    };
    fields.added.push_written(&CACHE_STATUS, |text| status.write(text));
    let frame = ResponseFrame {
        coding: Coding::Length(black_box(1024)),
        announced: None,
        connection: None,
    };
    let mut out = Vec::with_capacity(1024);
    render::response_head(&mut out, StatusCode::OK, &fields, frame);
    !black_box(out).is_empty()
}
