//! The framing of `multipart/byteranges` (RFC 9110 §14.6): what stands before, between and after the parts.

use super::content_range::{ByteRange, PartialContent};

/// A multipart response to several ranges.
#[derive(Clone, Debug)]
pub struct Multipart<'a> {
    /// The parts, in order.
    pub ranges: &'a [ByteRange],
    /// The length of the representation.
    pub complete_length: u64,
    /// Its media type, where it has one.
    pub content_type: Option<&'a str>,
    /// A token that the content does not contain: random, chosen by the caller.
    pub boundary: &'a str,
}

impl Multipart<'_> {
    /// The Content-Type of the response.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What is sent before the bytes of `range`.
    pub fn part_head(&self, range: ByteRange) -> String {
        let content_range = PartialContent {
            range,
            complete_length: Some(self.complete_length),
        };
        let boundary = self.boundary;
        // "If the selected representation would have had a Content-Type header field in a 200 (OK) response, the server
        // SHOULD generate that same Content-Type header field in the header area of each body part." (§15.3.7.2)
        let content_type = self
            .content_type
            .map(|text| format!("content-type: {text}\r\n"))
            .unwrap_or_default();
        format!("\r\n--{boundary}\r\n{content_type}content-range: {content_range}\r\n\r\n")
    }

    /// What is sent after the last part.
    pub fn end(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    /// The Content-Length of the response.
    pub fn content_length(&self) -> u64 {
        let part = |range: &ByteRange| range.len().saturating_add(self.part_head(*range).len() as u64);
        self.ranges
            .iter()
            .map(part)
            .fold(self.end().len() as u64, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multipart_response_is_as_long_as_it_says() {
        let content = b"0123456789";
        let ranges = [ByteRange { first: 0, last: 1 }, ByteRange { first: 8, last: 9 }];
        let multipart = Multipart {
            ranges: &ranges,
            complete_length: 10,
            content_type: Some("text/plain"),
            boundary: "xyz",
        };
        let mut sent = Vec::new();
        for range in ranges {
            sent.extend_from_slice(multipart.part_head(range).as_bytes());
            let (first, last) = (
                usize::try_from(range.first).unwrap(),
                usize::try_from(range.last).unwrap(),
            );
            sent.extend_from_slice(&content[first..=last]);
        }
        sent.extend_from_slice(multipart.end().as_bytes());
        assert_eq!(sent.len() as u64, multipart.content_length());
        assert_eq!(multipart.content_type(), "multipart/byteranges; boundary=xyz");
        assert_eq!(
            String::from_utf8(sent).unwrap(),
            "\r\n--xyz\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/10\r\n\r\n01\
             \r\n--xyz\r\ncontent-type: text/plain\r\ncontent-range: bytes 8-9/10\r\n\r\n89\
             \r\n--xyz--\r\n"
        );
    }
}
