//! Pages that are read from files at the start, and sent in the place of errors.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::http::outgoing::RequestId;
use common::http::response::{Fields, Response};
use config::Config;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

/// All pages of a configuration.
pub type Pages = HashMap<PathBuf, Arc<Page>>;

/// One page.
#[derive(Debug)]
pub struct Page {
    text: String,
    content_type: &'static str,
}

/// Bytes of the largest page.
const PAGE_BYTES_MAX: u64 = 1 << 20;

/// Reads all pages of a configuration; what is wrong goes to `wrong`, a line each.
pub fn read_all(config: &Config, wrong: &mut Vec<String>) -> Pages {
    let mut pages = Pages::new();
    for site in &config.sites {
        let routes = site.routes.iter().map(|route| &route.traffic);
        for path in std::iter::once(&site.traffic)
            .chain(routes)
            .flat_map(|traffic| traffic.files())
        {
            if pages.contains_key(path) {
                continue;
            }
            match Page::read(path) {
                Ok(page) => drop(pages.insert(path.to_owned(), Arc::new(page))),
                Err(error) => {
                    let line = format!("site {}: {}: {error}", site.name, path.display());
                    // Routes inherit the pages of their site.
                    if !wrong.contains(&line) {
                        wrong.push(line);
                    }
                }
            }
        }
    }
    pages
}

impl Page {
    fn read(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        File::open(path)?.take(PAGE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > PAGE_BYTES_MAX {
            return Err(io::Error::other(
                "is larger than 1MiB, which no page for errors should be",
            ));
        }
        Ok(Self {
            text,
            content_type: content_type(path),
        })
    }

    /// Puts this page in the place of what a response says; its status stays.
    pub fn replace(&self, response: &mut Response, id: &RequestId) {
        let fields = response.fields.map_mut();
        let about_content: Vec<_> = fields.keys().filter(|name| is_about_content(name)).cloned().collect();
        for name in about_content {
            fields.remove(name);
        }
        self.put(response, id);
    }

    /// A response with this page.
    pub fn response(&self, status: StatusCode, id: &RequestId) -> Response {
        let mut response = Response::new(status, "");
        response.fields = Fields::from(HeaderMap::new());
        self.put(&mut response, id);
        response
    }

    fn put(&self, response: &mut Response, id: &RequestId) {
        let filled = self.text.replace("{{request_id}}", id.text(&mut [0; 16]));
        response.body = filled.replace("{{status}}", response.status.as_str()).into();
        let fields = response.fields.map_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
    }
}

/// Whether a field describes content that is no longer there.
fn is_about_content(name: &HeaderName) -> bool {
    const OTHERS: [HeaderName; 3] = [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES];
    let text = name.as_str();
    let is_policy = text.starts_with("content-security-policy");
    text.starts_with("content-") && !is_policy || text.ends_with("digest") || OTHERS.contains(name)
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}
