//! A request as HTTP/1.1 has it: the same bytes each time, or all but the key in its path.

use super::Target;

pub(super) struct Request {
    bytes: Vec<u8>,
    /// Where the key begins, and what follows it.
    key: usize,
    after: Vec<u8>,
}

impl Request {
    pub(super) fn new(target: &Target) -> Self {
        let connection = if target.close { "close" } else { "keep-alive" };
        let before = format!("GET {}", target.path);
        let after = format!(
            " HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: tidegate-bench\r\nAccept: */*\r\n{}Connection: {connection}\r\n\r\n",
            target.fields
        );
        Self {
            bytes: format!("{before}{after}").into_bytes(),
            key: before.len(),
            after: after.into_bytes(),
        }
    }

    /// The bytes of the request for `key`.
    pub(super) fn render(&mut self, key: Option<u64>) -> &[u8] {
        if let Some(key) = key {
            self.bytes.truncate(self.key);
            self.bytes.extend_from_slice(key.to_string().as_bytes());
            self.bytes.extend_from_slice(&self.after);
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ends_the_path() {
        let target = Target {
            fields: "Range: bytes=0-1\r\n",
            ..Target::get(([127, 0, 0, 1], 1).into(), "/2/", 2, 1)
        };
        let mut request = Request::new(&target);
        for (key, path) in [(None, "/2/"), (Some(1234), "/2/1234"), (Some(5), "/2/5")] {
            let text = str::from_utf8(request.render(key)).unwrap();
            assert!(
                text.starts_with(&format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\n")),
                "{text}"
            );
            assert!(
                text.ends_with("\r\nRange: bytes=0-1\r\nConnection: keep-alive\r\n\r\n"),
                "{text}"
            );
        }
    }
}
