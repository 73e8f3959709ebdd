//! `auth`, `maintenance`, `error_pages` and `cors` of sites and routes.

use std::path::PathBuf;

use http::{Method, StatusCode};

use crate::codec::{ByStatus, Duration, FIELD, FILE, Flag, List, Maybe, NETWORK, Text};
use crate::defaults;
use crate::problem::Wrong;
use crate::schema::{Keys, Visitor};
use crate::traffic::{Auth, Cors, ErrorPages, Maintenance, Statuses};

impl Keys for Maintenance {
    fn preset() -> Self {
        Self {
            on: true,
            retry_after: defaults::MAINTENANCE_RETRY_AFTER,
            page: None,
            allow: Vec::new(),
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key("on", Flag, &mut self.on, "Whether it is so now.");
        let codec = Duration::whole_seconds(1, 365 * 86_400);
        v.key(
            "retry_after",
            codec,
            &mut self.retry_after,
            "When clients may come again: `Retry-After`.",
        );
        let meaning = "The page that they get, read at the start; `{{request_id}}` and `{{status}}` are filled in.";
        v.key("page", Maybe::new(FILE, "a short one"), &mut self.page, meaning);
        let meaning = "Clients that are served all the same, by the address of their connection.";
        v.key("allow", List::any(NETWORK), &mut self.allow, meaning);
    }
}

impl Keys for Auth {
    fn preset() -> Self {
        Self {
            on: true,
            file: None,
            realm: defaults::REALM.to_owned(),
            pass_on: false,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Whether they must; with `false` a route does without its site's.";
        v.key("on", Flag, &mut self.on, meaning);
        let meaning = "Lines `name:hash`, read at the start and again when they change. Hashes are bcrypt (`htpasswd -B`), \
                       SHA-crypt (`mkpasswd -m sha-512`) or Argon2.";
        v.key("file", Maybe::new(FILE, "required where `on`"), &mut self.file, meaning);
        v.key("realm", REALM, &mut self.realm, "What browsers call it when they ask.");
        let meaning =
            "Whether the origin gets the credentials; then only what it marks as public is stored (RFC 9111 §3.5).";
        v.key("pass_on", Flag, &mut self.pass_on, meaning);
    }
}

/// A realm, as it stands between quotes.
const REALM: Text<String> = Text {
    kind: "text",
    parse: |text| {
        let is_plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"' && byte != b'\\';
        match text {
            text if !text.is_empty() && text.bytes().all(is_plain) => Ok(text.to_owned()),
            other => Err(Wrong::from(format!(
                "{other:?} is not visible ASCII without quotes and backslashes"
            ))),
        }
    },
    print: String::clone,
};

impl Keys for ErrorPages {
    fn preset() -> Self {
        Self {
            pages: Vec::new(),
            origin: false,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Files by status or class, `{ 404 = \"/etc/tidegate/404.html\", 5xx = \"/etc/tidegate/5xx.html\" }`, read at \
                       the start; `{{request_id}}` and `{{status}}` are filled in. They take the place of tidegate's own errors.";
        v.key("pages", PAGES, &mut self.pages, meaning);
        let meaning = "Whether they take the place of what the origin says with such a status, too.";
        v.key("origin", Flag, &mut self.origin, meaning);
    }
}

impl Keys for Cors {
    fn preset() -> Self {
        Self {
            origins: Vec::new(),
            methods: Vec::new(),
            fields: Vec::new(),
            expose: Vec::new(),
            max_age: defaults::CORS_MAX_AGE,
            credentials: false,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Origins whose pages may read responses, such as `\"https://www.example.com\"`; `\"*\"`: all; an empty list: none.";
        v.key("origins", List::any(ORIGIN), &mut self.origins, meaning);
        let meaning = "Methods that they may use beyond GET, HEAD and POST.";
        v.key("methods", List::any(METHOD), &mut self.methods, meaning);
        let meaning = "Request fields that they may send beyond those that any page may.";
        v.key("fields", List::any(FIELD), &mut self.fields, meaning);
        let meaning = "Response fields that they may read beyond those that any page may.";
        v.key("expose", List::any(FIELD), &mut self.expose, meaning);
        let codec = Duration::whole_seconds(0, 86_400);
        v.key(
            "max_age",
            codec,
            &mut self.max_age,
            "For how long a browser remembers that.",
        );
        let meaning = "Whether their requests may carry cookies and Authorization.";
        v.key("credentials", Flag, &mut self.credentials, meaning);
    }
}

/// An origin as browsers write it in Origin.
const ORIGIN: Text<String> = Text {
    kind: "origin such as \"https://www.example.com\", or \"*\"",
    parse: |text| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_host = |host: &str| {
            let is_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]_".contains(&b);
            !host.is_empty() && host.bytes().all(is_byte)
        };
        if text == "*" || rest.is_some_and(is_host) {
            return Ok(text.to_owned());
        }
        let wrong = Wrong::from(format!("{text:?} is not an origin as browsers write it"));
        Err(wrong
            .hint("scheme, host in lower case and the port where it is not the usual one: \"https://a.example:8443\""))
    },
    print: String::clone,
};

/// A method.
const METHOD: Text<Method> = Text {
    kind: "method such as \"PUT\"",
    parse: |text| Method::from_bytes(text.as_bytes()).map_err(|_| Wrong::from(format!("{text:?} is not a method"))),
    print: |method| method.as_str().to_owned(),
};

/// Files by status or class.
const PAGES: ByStatus<Statuses, Text<PathBuf>> = ByStatus {
    kind: "table of statuses and files",
    example: "{ 404 = \"/etc/tidegate/404.html\" }",
    read: |text| match (text, text.parse::<StatusCode>()) {
        ("4xx", _) => Ok(Statuses::Class(4)),
        ("5xx", _) => Ok(Statuses::Class(5)),
        (_, Ok(status)) if (400..=599).contains(&status.as_u16()) => Ok(Statuses::One(status)),
        _ => Err("is neither 4xx nor 5xx, nor a status among them"),
    },
    write: |statuses| match statuses {
        Statuses::One(status) => status.as_str().to_owned(),
        Statuses::Class(class) => format!("{class}xx"),
    },
    values: FILE,
};

impl Cors {
    /// What browsers refuse: "`*`" beside credentials (Fetch standard, CORS protocol and credentials).
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        (self.credentials && self.is_for_all())
            .then_some("browsers refuse credentials for \"*\": name the origins, or leave credentials out")
    }
}
