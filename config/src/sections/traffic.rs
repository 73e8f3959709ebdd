//! Traffic rules: the same tables in `[[site]]` and `[[site.route]]`. A route's own table takes the place of its site's.

use std::sync::Arc;

use http::{HeaderName, StatusCode};
use regex::Regex;

use super::compression::Compress;
use crate::codec::{
    BODY, CONTENT_TYPE, Direction, FieldValues, Flag, LOCATION, List, Maybe, PATH_TEMPLATE, PREFIX, REGEX,
    REMOVED_IN_REQUEST, REMOVED_IN_RESPONSE, Special, Status, Text,
};
use crate::defaults;
use crate::schema::{Keys, Visitor};
use crate::traffic::{
    Auth, Compression, Cors, ErrorPages, FieldRules, FixedAnswer, Maintenance, Redirect, Respond, Template, Traffic,
};

/// The traffic rules of a site or route as the file has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TrafficDraft {
    pub(crate) redirect: Option<RedirectDraft>,
    pub(crate) respond: Option<RespondDraft>,
    pub(crate) rewrite: Option<RewriteDraft>,
    pub(crate) request_fields: Option<RequestFields>,
    pub(crate) response_fields: Option<ResponseFields>,
    pub(crate) compress: Option<Compression>,
    pub(crate) maintenance: Option<Maintenance>,
    pub(crate) error_pages: Option<ErrorPages>,
    pub(crate) cors: Option<Cors>,
    pub(crate) auth: Option<Auth>,
    pub(crate) server_timing: Option<bool>,
}

/// Whose tables they are: those of a site are described, those of a route are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Site,
    Route,
}

/// `redirect`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RedirectDraft {
    pub(crate) to: Template,
    status: StatusCode,
}

/// `respond`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RespondDraft {
    status: StatusCode,
    body: String,
    content_type: String,
}

/// `rewrite`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RewriteDraft {
    pub(crate) prefix: Option<String>,
    pub(crate) regex: Option<RegexDraft>,
    pub(crate) to: Template,
}

/// An expression; two are the same when their texts are.
#[derive(Clone, Debug)]
pub(crate) struct RegexDraft(pub(crate) Regex);

impl PartialEq for RegexDraft {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// `request_fields`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RequestFields(pub(crate) FieldRules);

/// `response_fields`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ResponseFields(pub(crate) FieldRules);

impl TrafficDraft {
    /// The keys, which stand before the tables.
    pub(super) fn visit_keys<V: Visitor>(&mut self, v: &mut V, place: Place) {
        let unless_told = if place == Place::Site { "`false`" } else { "the site's" };
        v.key(
            "compress",
            Maybe::new(Compress, unless_told),
            &mut self.compress,
            "Compress responses on their way into the store, once per coding; see [compression.md](compression.md).",
        );
        v.key(
            "server_timing",
            Maybe::new(Flag, unless_told),
            &mut self.server_timing,
            "Tell clients in `Server-Timing` what the cache did and what took how long.",
        );
    }

    /// The tables.
    pub(super) fn visit<V: Visitor>(&mut self, v: &mut V, place: Place) {
        let same = "As `[site.…]`, for this route: it takes the place of the site's.";
        let meaning = |of_site: &'static str| if place == Place::Site { of_site } else { same };
        let own_answer = |of_site: &'static str| match place {
            Place::Site => of_site,
            Place::Route => "As `[site.…]`, for this route.",
        };
        let of_redirect = own_answer(
            "Answer requests that no route takes with a redirect; no origin is needed then.\nVariables: `$scheme`, `$host`, \
             `$path`, `$query` (with its `?`), `$uri`, `$method`, `$client_ip`, `$request_id`, and `$1` to `$9` of a route's `regex`.",
        );
        let of_respond = own_answer("Answer requests that no route takes with this; no origin is needed then.");
        let of_rewrite = meaning(
            "Rewrite the path when its route has been found: the rewritten one is asked of the origin and is the one in the \
             cache key. The query stays.\nIt has exactly one of `prefix` and `regex`; a path in which that is not \
             found stays as it is.",
        );
        let of_request = meaning(
            "Change the fields (headers) of requests, before the cache key is made: first `remove`, then `set`, then `add`.",
        );
        let of_response = meaning(
            "Change the fields (headers) of responses, our own and those from store included: first `remove`, then `set`, \
             then `add`.\nVariables are those of the request.",
        );
        let of_maintenance = meaning("Answer every request with 503, but those of some addresses.");
        let of_pages = meaning("Pages for errors.");
        let of_cors = meaning(
            "Which web pages of other origins may read responses (CORS): preflights are answered here, and fields of the \
             origin's own about it are replaced.",
        );
        let of_auth = meaning("Let in only those who say who they are (basic authentication, RFC 7617).");
        table(v, place, "auth", &mut self.auth, of_auth);
        table(v, place, "maintenance", &mut self.maintenance, of_maintenance);
        table(v, place, "error_pages", &mut self.error_pages, of_pages);
        table(v, place, "cors", &mut self.cors, of_cors);
        table(v, place, "redirect", &mut self.redirect, of_redirect);
        table(v, place, "respond", &mut self.respond, of_respond);
        table(v, place, "rewrite", &mut self.rewrite, of_rewrite);
        table(v, place, "request_fields", &mut self.request_fields, of_request);
        table(v, place, "response_fields", &mut self.response_fields, of_response);
    }

    /// The tables that say these rules.
    pub(super) fn of(traffic: &Traffic) -> Self {
        let (redirect, respond) = match &traffic.answer {
            None => (None, None),
            Some(FixedAnswer::Redirect(redirect)) => (Some(RedirectDraft::of(redirect)), None),
            Some(FixedAnswer::Respond(respond)) => (None, Some(RespondDraft::of(respond))),
        };
        let fields = |rules: &Option<Arc<FieldRules>>| rules.as_deref().cloned();
        Self {
            redirect,
            respond,
            rewrite: traffic.rewrite.as_deref().map(RewriteDraft::of),
            request_fields: fields(&traffic.request_fields).map(RequestFields),
            response_fields: fields(&traffic.response_fields).map(ResponseFields),
            compress: traffic.compression.as_deref().cloned(),
            maintenance: traffic.maintenance.as_deref().cloned(),
            error_pages: traffic.error_pages.as_deref().cloned(),
            cors: traffic.cors.as_deref().cloned(),
            auth: traffic.auth.as_deref().cloned(),
            server_timing: traffic.server_timing,
        }
    }

    /// Of these tables those that are not inherited from `site`.
    pub(super) fn own(self, site: &Self) -> Self {
        fn own<T: PartialEq>(of_route: Option<T>, of_site: &Option<T>) -> Option<T> {
            if of_route == *of_site { None } else { of_route }
        }
        Self {
            redirect: self.redirect,
            respond: self.respond,
            rewrite: own(self.rewrite, &site.rewrite),
            request_fields: own(self.request_fields, &site.request_fields),
            response_fields: own(self.response_fields, &site.response_fields),
            compress: own(self.compress, &site.compress),
            maintenance: own(self.maintenance, &site.maintenance),
            error_pages: own(self.error_pages, &site.error_pages),
            cors: own(self.cors, &site.cors),
            auth: own(self.auth, &site.auth),
            server_timing: own(self.server_timing, &site.server_timing),
        }
    }

    /// The redirect or response.
    pub(crate) fn answer(&self) -> Option<FixedAnswer> {
        let redirect = self.redirect.as_ref().map(|draft| {
            FixedAnswer::Redirect(Arc::new(Redirect {
                to: draft.to.clone(),
                status: draft.status,
            }))
        });
        redirect.or_else(|| {
            self.respond.as_ref().map(|draft| {
                FixedAnswer::Respond(Arc::new(Respond {
                    status: draft.status,
                    body: draft.body.clone(),
                    content_type: draft.content_type.clone(),
                }))
            })
        })
    }
}

fn table<T: Keys, V: Visitor>(
    v: &mut V,
    place: Place,
    name: &'static str,
    table: &mut Option<T>,
    meaning: &'static str,
) {
    match place {
        Place::Site => v.optional(name, table, meaning),
        Place::Route => v.overrides(name, table, meaning),
    }
}

impl RedirectDraft {
    fn of(redirect: &Redirect) -> Self {
        Self {
            to: redirect.to.clone(),
            status: redirect.status,
        }
    }
}

impl Keys for RedirectDraft {
    fn preset() -> Self {
        Self {
            to: Template::default(),
            status: defaults::REDIRECT_STATUS,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Where to: a URL or a path, with variables.";
        v.key("to", Special::required(LOCATION), &mut self.to, meaning);
        let meaning =
            "The status; 307 and 308 keep the method, 301 and 308 are remembered by clients (RFC 9110 §15.4).";
        v.key("status", Status::REDIRECT, &mut self.status, meaning);
    }
}

impl RespondDraft {
    fn of(respond: &Respond) -> Self {
        Self {
            status: respond.status,
            body: respond.body.clone(),
            content_type: respond.content_type.clone(),
        }
    }
}

impl Keys for RespondDraft {
    fn preset() -> Self {
        Self {
            status: StatusCode::OK,
            body: String::new(),
            content_type: defaults::RESPOND_CONTENT_TYPE.to_owned(),
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key("status", Status::ANSWER, &mut self.status, "The status.");
        v.key("body", BODY, &mut self.body, "The content, as it stands.");
        v.key(
            "content_type",
            CONTENT_TYPE,
            &mut self.content_type,
            "Its `Content-Type`.",
        );
    }
}

impl RewriteDraft {
    fn of(rewrite: &crate::traffic::Rewrite) -> Self {
        use crate::traffic::RewriteFrom;
        let (prefix, regex) = match &rewrite.from {
            RewriteFrom::Prefix(prefix) => (Some(prefix.clone()), None),
            RewriteFrom::Regex(regex) => (None, Some(RegexDraft(regex.clone()))),
        };
        Self {
            prefix,
            regex,
            to: rewrite.to.clone(),
        }
    }
}

/// [`REGEX`], compared by its text.
const EXPRESSION: Text<RegexDraft> = Text {
    kind: "regular expression",
    parse: |text| (REGEX.parse)(text).map(RegexDraft),
    print: |regex| regex.0.as_str().to_owned(),
};

impl Keys for RewriteDraft {
    fn preset() -> Self {
        Self {
            prefix: None,
            regex: None,
            to: Template::default(),
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning =
            "The beginning of the path that is replaced, by whole segments; with `to = \"/\"` it is stripped.";
        v.key("prefix", Maybe::new(PREFIX, "none"), &mut self.prefix, meaning);
        let meaning = "What is replaced: the first thing in the path that this expression finds.";
        v.key("regex", Maybe::new(EXPRESSION, "none"), &mut self.regex, meaning);
        let meaning = "What comes in its place; with `regex`, `$1` is what its first group found.";
        v.key("to", Special::required(PATH_TEMPLATE), &mut self.to, meaning);
    }
}

impl Keys for RequestFields {
    fn preset() -> Self {
        Self(FieldRules::default())
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        visit_fields(&mut self.0, v, Direction::Request, REMOVED_IN_REQUEST);
    }
}

impl Keys for ResponseFields {
    fn preset() -> Self {
        Self(FieldRules::default())
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        visit_fields(&mut self.0, v, Direction::Response, REMOVED_IN_RESPONSE);
    }
}

fn visit_fields<V: Visitor>(rules: &mut FieldRules, v: &mut V, direction: Direction, removed: Text<HeaderName>) {
    v.key(
        "remove",
        List::any(removed),
        &mut rules.remove,
        "Fields that are taken away.",
    );
    let set = FieldValues { direction, adds: false };
    v.key(
        "set",
        set,
        &mut rules.set,
        "Fields that get this value in the place of any other.",
    );
    let add = FieldValues { direction, adds: true };
    v.key(
        "add",
        add,
        &mut rules.add,
        "Lines that are added to those that are there.",
    );
}
