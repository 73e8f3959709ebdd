//! A stored response → the response to one request: whole, not modified, a range of it, or nothing that was asked for.
//!
//! The plain case copies no field and no byte: shared fields, shared content, and two lines composed for this exchange.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::http::body::{Body, BodyError};
use common::http::head::RequestFields;
use common::http::response::{Fields, Response};
use common::time::WallTime;
use http::header::{AGE, CONTENT_RANGE, CONTENT_TYPE, HeaderName, IF_RANGE};
use http::{HeaderValue, StatusCode};

use crate::policy::conditional::{self, Evaluated, Representation};
use crate::policy::content_range::{ByteRange, PartialContent};
use crate::policy::held;
use crate::policy::multipart::Multipart;
use crate::policy::outcome::CacheStatus;
use crate::policy::range::{IfRange, RangeSet, Resolved};
use crate::policy::request::RequestDigest;
use crate::policy::rules::Rules;
use crate::policy::stored_fields;
use crate::store::Stored;

/// RFC 9211.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A request as far as its answer depends on it.
pub(crate) struct Asked<'a> {
    /// Its fields.
    pub(crate) fields: &'a RequestFields,
    /// What they say.
    pub(crate) digest: &'a RequestDigest<'a>,
    /// The route's rules.
    pub(crate) rules: &'a Rules,
    /// Now.
    pub(crate) now: WallTime,
    /// A random token, for multipart boundaries.
    pub(crate) token: u64,
}

/// What a stored response gives for a request.
pub(crate) enum Made {
    /// This.
    Response(Response),
    /// A precondition that only the origin can judge.
    AskOrigin,
    /// Nothing: its content has failed, or its beginning is gone.
    Unreadable,
}

/// The response of `age`; `current` when the origin has just said that it still holds.
pub(crate) fn answer(
    stored: &Stored,
    asked: &Asked<'_>,
    age: Duration,
    current: bool,
    status: CacheStatus<'_>,
) -> Made {
    let made = if asked.digest.conditional {
        on_condition(stored, asked, current)
    } else {
        None
    };
    let mut response = match made {
        Some(Made::Response(response)) => response,
        Some(other) => return other,
        None => match made_of(stored, asked) {
            Some(response) => response,
            None => return Made::Unreadable,
        },
    };
    let added = &mut response.fields.added;
    // "When a stored response is used to satisfy a request without validation, a cache MUST generate an Age header field,
    // replacing any present in the response with a value equal to the stored response's current_age" (RFC 9111 §4)
    added.push_number(&AGE, age.as_secs());
    added.push_written(&CACHE_STATUS, |text| status.write(text));
    Made::Response(response)
}

fn made_of(stored: &Stored, asked: &Asked<'_>) -> Option<Response> {
    match stored.meta.part() {
        None => in_range(stored, asked).or_else(|| whole(stored)),
        Some(part) => in_part(stored, part, asked),
    }
}

/// A range that lies in a stored part.
fn in_part(stored: &Stored, part: PartialContent, asked: &Asked<'_>) -> Option<Response> {
    let (validators, rules) = (&stored.meta.validators, &asked.rules.ranges);
    let range = held::answer_from(part, validators, asked.digest.range, asked.fields, rules, asked.now)?;
    let first = range.first - part.range.first;
    let fields = stored_fields::for_206(&stored.fields.to_map(), asked.fields.contains_key(IF_RANGE));
    let mut response = Response {
        status: StatusCode::PARTIAL_CONTENT,
        fields: fields.into(),
        body: match stored.content.pieces() {
            Some(pieces) => {
                let last = first + (range.len() - 1);
                Body::chunks(cut(pieces, ByteRange { first, last }).into())
            }
            None => Body::stream(Window::onto(stored.content.body()?, first, range.len())),
        },
    };
    let content_range = PartialContent { range, ..part };
    response.fields.added.push_display(&CONTENT_RANGE, content_range);
    Some(response)
}

fn whole(stored: &Stored) -> Option<Response> {
    let body = stored.content.body()?;
    Some(Response {
        status: stored.meta.status,
        fields: Fields::from(Arc::clone(&stored.fields)),
        body,
    })
}

fn on_condition(stored: &Stored, asked: &Asked<'_>, current: bool) -> Option<Made> {
    let meta = &stored.meta;
    let representation = Representation {
        status: meta.status,
        validators: &meta.validators,
        date: meta.date,
        current,
    };
    match conditional::evaluate(asked.fields, &representation, asked.now) {
        Evaluated::Full => None,
        Evaluated::AskOrigin => Some(Made::AskOrigin),
        Evaluated::NotModified => {
            let fields = stored_fields::lines_for_304(stored.fields.lines());
            Some(Made::Response(Response {
                status: StatusCode::NOT_MODIFIED,
                fields: fields.into(),
                body: Body::Empty,
            }))
        }
    }
}

/// A part of it, where one was asked for and can be given; otherwise the whole is the right answer.
fn in_range(stored: &Stored, asked: &Asked<'_>) -> Option<Response> {
    let range = asked.digest.range?;
    if stored.meta.status != StatusCode::OK {
        return None;
    }
    let length = stored.content.length()?;
    if conditional::if_range(asked.fields, &stored.meta.validators, asked.now) == IfRange::Fails {
        return None;
    }
    let rules = &asked.rules.ranges;
    match RangeSet::parse(range, rules).ok()?.resolve(length, rules) {
        Resolved::Whole => None,
        Resolved::Single(range) => single(stored, asked, range, length),
        Resolved::Multiple(ranges) => multiple(stored, &ranges, length, asked.token),
        Resolved::Unsatisfiable => {
            let mut response = Response::new(StatusCode::RANGE_NOT_SATISFIABLE, Body::Empty);
            response
                .fields
                .added
                .push_display(&CONTENT_RANGE, format_args!("bytes */{length}"));
            Some(response)
        }
    }
}

fn single(stored: &Stored, asked: &Asked<'_>, range: ByteRange, length: u64) -> Option<Response> {
    let body = match stored.content.pieces() {
        Some(pieces) => Body::chunks(cut(pieces, range).into()),
        None => Body::stream(Window::onto(stored.content.body()?, range.first, range.len())),
    };
    let fields = if asked.fields.contains_key(IF_RANGE) {
        stored_fields::for_206(&stored.fields.to_map(), true).into()
    } else {
        Fields::from(Arc::clone(&stored.fields))
    };
    let mut response = Response {
        status: StatusCode::PARTIAL_CONTENT,
        fields,
        body,
    };
    let content_range = PartialContent {
        range,
        complete_length: Some(length),
    };
    response.fields.added.push_display(&CONTENT_RANGE, content_range);
    Some(response)
}

fn multiple(stored: &Stored, ranges: &[ByteRange], length: u64, token: u64) -> Option<Response> {
    // While it is still coming the whole of it is the simpler answer, and a right one.
    let pieces = stored.content.pieces()?;
    let boundary = format!("tidegate-{token:016x}");
    let mut fields = stored.fields.to_map();
    let content_type = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let multipart = Multipart {
        ranges,
        complete_length: length,
        content_type,
        boundary: &boundary,
    };
    let mut parts: Vec<Bytes> = Vec::new();
    for range in ranges {
        parts.push(multipart.part_head(*range).into());
        parts.extend(cut(pieces, *range));
    }
    parts.push(multipart.end().into());
    fields.insert(CONTENT_TYPE, HeaderValue::try_from(multipart.content_type()).ok()?);
    Some(Response {
        status: StatusCode::PARTIAL_CONTENT,
        fields: fields.into(),
        body: Body::chunks(parts.into()),
    })
}

/// The bytes of a range, cut out of the pieces without copying.
pub(crate) fn cut(pieces: &[Bytes], range: ByteRange) -> Vec<Bytes> {
    let mut cut = Vec::new();
    let mut start = 0_u64;
    for piece in pieces {
        let end = start + piece.len() as u64;
        let (from, to) = (range.first.max(start), (range.last + 1).min(end));
        if from < to {
            let place = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
            cut.push(piece.slice(place(from)..place(to)));
        }
        start = end;
    }
    cut
}

/// A window onto a body, which may still be coming.
pub(crate) struct Window {
    inner: Body,
    skip: u64,
    left: u64,
}

impl Window {
    /// `left` bytes after the first `skip`.
    pub(crate) const fn onto(inner: Body, skip: u64, left: u64) -> Self {
        Self { inner, skip, left }
    }
}

impl http_body::Body for Window {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        use std::task::Poll;
        let this = &mut *self;
        while this.left > 0 {
            let frame = std::task::ready!(std::pin::Pin::new(&mut this.inner).poll_frame(cx));
            let mut data = match frame {
                None => return Poll::Ready(Some(Err(BodyError::Internal("content shorter than its range")))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
            };
            let skipped = usize::try_from(this.skip).unwrap_or(usize::MAX).min(data.len());
            this.skip -= skipped as u64;
            data = data.slice(skipped..);
            data.truncate(usize::try_from(this.left).unwrap_or(usize::MAX));
            this.left -= data.len() as u64;
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(http_body::Frame::data(data))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_range_is_the_same_whether_its_content_is_whole_or_still_coming() {
        let pieces = [Bytes::from("abc"), Bytes::from("defg"), Bytes::from("h")];
        for (first, last, expected) in [
            (0, 7, "abcdefgh"),
            (1, 3, "bcd"),
            (3, 6, "defg"),
            (7, 7, "h"),
            (2, 3, "cd"),
        ] {
            let range = ByteRange { first, last };
            assert_eq!(cut(&pieces, range).concat(), expected.as_bytes());
            let inner = Body::stream(Body::chunks(pieces.to_vec().into()));
            let window = Body::stream(Window::onto(inner, first, range.len()));
            assert_eq!(window.len(), Some(range.len()));
            assert_eq!(window.collect(100).await.unwrap(), expected);
        }
    }
}
