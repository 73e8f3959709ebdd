//! `/dashboard`: one page with all that it needs, which follows `/events`.
//!
//! It shows text of peers and files (names, log words): the page writes all of it as text nodes, and its policy allows no
//! script, style, image or connection from elsewhere.

use bytes::Bytes;
use common::http::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

const PAGE: &str = include_str!("dashboard.html");

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub fn page() -> Response {
    Response::new(StatusCode::OK, Bytes::from_static(PAGE.as_bytes()))
        .with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
        .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_fetches_nothing_from_elsewhere() {
        assert!(PAGE.len() < 60 << 10, "{} bytes", PAGE.len());
        // The name of the SVG namespace is no address, and a pattern of the page's own is not elsewhere.
        let page = PAGE.replace("http://www.w3.org/2000/svg", "").replace("url(#", "");
        for elsewhere in ["http://", "https://", "src=", "@import", "url(", "innerHTML"] {
            assert!(!page.contains(elsewhere), "the page says {elsewhere}");
        }
    }
}
