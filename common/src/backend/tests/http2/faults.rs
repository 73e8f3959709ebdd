//! Ten thousand requests to a server that fails in every way HTTP/2 has: what each comes to, and that no stream is leaked.

use std::collections::HashSet;

use super::*;

const REQUESTS: usize = 10_000;
const FAULTS: usize = 14;

/// What is said to a request, by its number; nothing: the connection is closed.
fn fault(number: usize, stream: u32) -> Vec<u8> {
    const DATA: u8 = 0;
    const WINDOW_UPDATE: u8 = 8;
    let part = || [frame(HEADERS, 4, stream, ANSWER), frame(DATA, 0, stream, b"half")].concat();
    let goaway = |last: u32, reason: Reason| {
        let content = [last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
        frame(GOAWAY, 0, 0, &content)
    };
    match number % FAULTS {
        0 => Vec::new(),
        1 => reset(stream, Reason::INTERNAL_ERROR),
        2 => reset(stream, Reason::REFUSED_STREAM),
        3 => reset(stream, Reason::ENHANCE_YOUR_CALM),
        4 => [part(), reset(stream, Reason::INTERNAL_ERROR)].concat(),
        5 => [part(), goaway(0, Reason::INTERNAL_ERROR)].concat(),
        6 => goaway(stream.saturating_sub(2), Reason::NO_ERROR),
        7 => [answer_to(stream), goaway(stream, Reason::NO_ERROR)].concat(),
        // Never an answer to this one.
        8 => frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        // No field: the table has not so many.
        9 => frame(HEADERS, 5, stream, &[0xff, 0xff, 0x7f]),
        // Content of no stream.
        10 => frame(DATA, 0, 0, b"content"),
        11 => part(),
        _ => answer_to(stream),
    }
}

/// What became of a request.
enum Ended {
    Whole,
    Cut,
    GivenUp,
    Failed(OriginError),
}

/// One request with its answer's content; every fifth is given up by its client at some point.
async fn one(backend: &Arc<Backend>, worker: &Arc<Worker>, number: usize) -> Ended {
    let method = if number.is_multiple_of(2) {
        Method::GET
    } else {
        Method::POST
    };
    let body = if number.is_multiple_of(3) {
        Body::from("content")
    } else {
        Body::Empty
    };
    let mut limits = testing::limits();
    limits.response_timeout = Duration::from_millis(20);
    limits.body_timeout = Duration::from_millis(20);
    let asking = async {
        let outcome = ask(backend, worker, method, body, limits).await;
        match outcome.result {
            Ok(response) => match response.body.collect(100).await {
                Ok(_) => Ended::Whole,
                Err(_) => Ended::Cut,
            },
            Err(ExchangeError::Origin(error)) => Ended::Failed(error),
            Err(ExchangeError::Client(error)) => panic!("the client's body was there: {error}"),
        }
    };
    let patience = async {
        for _ in 0..number % 50 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        ended = asking => ended,
        () = patience, if number.is_multiple_of(5) => Ended::GivenUp,
    }
}

#[tokio::test]
async fn ten_thousand_requests_that_fail_in_all_ways_leave_no_stream_taken() {
    let said = AtomicUsize::new(0);
    let server = framed(move |_, stream| fault(said.fetch_add(1, Ordering::SeqCst), stream));
    let backend = http2(server.socket(), |settings| {
        settings.connections_max = 3;
        settings.http2.streams_max = 4;
        settings.http2.ping_timeout = Duration::from_millis(20);
    });
    let worker = testing::worker(0);
    let (mut errors, mut whole_at_last) = (HashSet::new(), 0);
    let permits = Arc::new(Semaphore::new(8));
    let mut all = JoinSet::new();
    for number in 0..REQUESTS {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let (backend, worker) = (Arc::clone(&backend), Arc::clone(&worker));
        all.spawn(async move {
            let ended = one(&backend, &worker, number).await;
            drop(permit);
            (number, ended)
        });
    }
    while let Some(ended) = all.join_next().await {
        match ended.unwrap() {
            (_, Ended::Failed(error)) => drop(errors.insert(error)),
            (number, Ended::Whole) if number >= REQUESTS - 1000 => whole_at_last += 1,
            _ => {}
        }
    }
    assert!(
        whole_at_last > 50,
        "{whole_at_last} of the last thousand were answered: no place was left"
    );
    let documented = [
        OriginError::ConnectionTerminated,
        OriginError::HttpResponseIncomplete,
        OriginError::HttpResponseTimeout,
        OriginError::HttpProtocolError,
        OriginError::ConnectionLimitReached,
    ];
    let expected = [
        OriginError::ConnectionTerminated,
        OriginError::HttpResponseTimeout,
        OriginError::HttpProtocolError,
    ];
    testing::assert_errors(&errors, &documented, &expected);
    assert!(
        server.accepted() > REQUESTS / FAULTS,
        "connections have ended by the way"
    );
    let settled = tokio::time::timeout(Duration::from_secs(30), settled(&backend)).await;
    let (_, idle, waiting) = settled.expect("no stream is counted that nobody has");
    assert!(waiting == 0 && idle <= 3, "{:?}", level(&backend));
}
