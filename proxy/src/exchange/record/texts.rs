//! What the request said and what the cache did, as the access log tells it.
//!
//! A request is gone when its exchange is recorded: what the log tells of it is copied when it begins, where there is a log.

use std::fmt;

use cache::policy::outcome::CacheStatus;
use common::http::head::Head;
use common::http::known::Known;
use common::telemetry::access_log::RequestLine;
use http::uri::PathAndQuery;
use http::{Method, Version};

/// What the request said: its texts joined in one piece of memory, which costs less than a share of the head per text.
pub(super) struct Asked {
    method: Method,
    version: Version,
    /// Of the target, Host, Referer, User-Agent; `None` where it is not there.
    lengths: [Option<u32>; 4],
    joined: Vec<u8>,
}

/// What the cache did, in words, on the stack.
pub(super) struct Words {
    text: [u8; WORDS_MAX],
    length: usize,
}

/// What a request said, as a record of the access log has it.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) line: Option<RequestLine<'a>>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
}

impl Asked {
    /// What `head` says: of a field that is there more than once, the first.
    pub(super) fn new(head: &Head) -> Self {
        let target = head.uri.path_and_query().map_or("*", PathAndQuery::as_str);
        let [host, referer, user_agent] =
            [Known::HOST, Known::REFERER, Known::USER_AGENT].map(|name| head.headers.first(name));
        let texts = [Some(target.as_bytes()), host, referer, user_agent];
        Self {
            method: head.method.clone(),
            version: head.version,
            lengths: texts.map(|text| text.and_then(|text| u32::try_from(text.len()).ok())),
            joined: texts.map(Option::unwrap_or_default).concat(),
        }
    }

    /// All of it.
    pub(super) fn said(&self) -> Said<'_> {
        let mut rest = &self.joined[..];
        let [target, host, referer, user_agent] = self.lengths.map(|length| {
            let (text, after) = rest.split_at_checked(usize::try_from(length?).ok()?)?;
            rest = after;
            Some(text)
        });
        Said {
            line: target.map(|target| RequestLine {
                method: self.method.as_str(),
                target,
                version: self.version,
            }),
            host,
            referer,
            user_agent,
        }
    }
}

impl Words {
    /// The status as the field says it.
    pub(super) fn of(&mut self, status: &CacheStatus<'_>) -> &[u8] {
        let written = status.write(self);
        debug_assert!(written.is_ok(), "more words than there is room for");
        &self.text[..self.length]
    }
}

impl Default for Words {
    fn default() -> Self {
        Self {
            text: [0; WORDS_MAX],
            length: 0,
        }
    }
}

impl fmt::Write for Words {
    fn write_str(&mut self, words: &str) -> fmt::Result {
        let end = self.length + words.len();
        let room = self.text.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(words.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// The longest has a cache's name, every parameter but the key, and a detail of one word.
const WORDS_MAX: usize = 192;

#[cfg(test)]
mod tests {
    use cache::policy::outcome::{Fwd, Outcome};
    use http::StatusCode;

    use super::*;

    /// Fields of a request, and of what is kept: method, target; Host, Referer, User-Agent.
    type Fields<'a> = &'a [(&'a str, &'a str)];
    type Texts<'a> = (&'a str, &'a str, [Option<&'a str>; 3]);

    #[test]
    fn what_a_request_said_is_kept_word_for_word() {
        let cases: [(&str, &str, Fields<'_>, Texts<'_>); 5] = [
            ("GET", "/", &[], ("GET", "/", [None, None, None])),
            (
                "PURGE",
                "http://a.example/b?c",
                &[
                    ("user-agent", "curl"),
                    ("host", "a.example"),
                    ("x", "y"),
                    ("referer", "r"),
                ],
                ("PURGE", "/b?c", [Some("a.example"), Some("r"), Some("curl")]),
            ),
            (
                "GET",
                "/a",
                &[("referer", ""), ("user-agent", "one"), ("user-agent", "two")],
                ("GET", "/a", [None, Some(""), Some("one")]),
            ),
            (
                "OPTIONS",
                "*",
                &[("host", "")],
                ("OPTIONS", "*", [Some(""), None, None]),
            ),
            ("CONNECT", "a.example:80", &[], ("CONNECT", "*", [None, None, None])),
        ];
        for (method, target, fields, expected) in cases {
            let mut request = http::Request::builder().method(method).uri(target);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let asked = Asked::new(&request.body(()).unwrap().into_parts().0.into());
            let Said {
                line,
                host,
                referer,
                user_agent,
            } = asked.said();
            let line = line.unwrap();
            let text = |text: Option<&'_ [u8]>| text.map(|text| String::from_utf8(text.to_vec()).unwrap());
            assert_eq!((line.method, line.target), (expected.0, expected.1.as_bytes()));
            assert_eq!(
                [host, referer, user_agent].map(text),
                expected.2.map(|text| text.map(str::to_owned)),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn there_is_room_for_the_longest_words() {
        let status = CacheStatus {
            ttl: Some(i64::MIN),
            fwd_status: Some(StatusCode::GATEWAY_TIMEOUT),
            stored: true,
            collapsed: true,
            detail: Some("a_detail_that_is_longer_than_any_word_that_there_is"),
            ..CacheStatus::new("tidegate", Outcome::Fwd(Fwd::VaryMiss))
        };
        let mut words = Words::default();
        assert_eq!(String::from_utf8_lossy(words.of(&status)), status.to_string());
    }
}
