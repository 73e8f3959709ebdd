//! May a response be stored, and what is known about it then (RFC 9111 §3).
//!
//! Called when the head of a response from the origin is there, before any content; also when a stored response was
//! freshened (`freshen.rs`). Which of its fields are stored is in `stored_fields.rs`.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::age::{self, Times};
use super::content_range;
use super::date;
use super::directives::Qualified;
use super::freshness::{self, LifetimeRule};
use super::meta::{Grace, StaleForbidden, StoredMeta};
use super::not_stored::NotStored;
use super::rules::{Rules, SetCookieRule};
use super::target::TargetUri;
use super::targeted::{self, Control};
use super::validators::Validators;
use super::vary::Vary;

/// A request and the response to it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The target URI.
    pub target: TargetUri<'a>,
    /// The request's fields as the client sent them.
    pub request: &'a HeaderMap,
    /// The response's status.
    pub status: StatusCode,
    /// The response's fields as they came.
    pub response: &'a HeaderMap,
    /// When.
    pub times: Times,
}

/// A response that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storable {
    /// What is known about it.
    pub meta: StoredMeta,
    /// Fields that must not be stored with it, besides those that never are.
    pub omit: Vec<HeaderName>,
    /// What happened to its Set-Cookie.
    pub set_cookie: SetCookie,
}

/// What happens to Set-Cookie in a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetCookie {
    /// There is none.
    Absent,
    /// It is stored: the origin said explicitly that everybody may have it.
    Stored,
    /// The rest is stored.
    Stripped,
}

impl SetCookie {
    /// The word for `detail` of Cache-Status and for `explain`; nothing when there is nothing to tell.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Stored => Some("set_cookie_stored"),
            Self::Stripped => Some("set_cookie_stripped"),
        }
    }
}

/// Decides whether the response of `exchange` may be stored.
///
/// # Errors
/// Why it may not.
pub fn storable(exchange: &Exchange<'_>, rules: &Rules) -> Result<Storable, NotStored> {
    let control = targeted::control(exchange.response, rules);
    check_method_and_status(exchange)?;
    check_directives(exchange, &control, rules)?;
    let set_cookie = check_set_cookie_names(exchange, &control);
    let meta = digest(exchange, &control, rules)?;
    if *exchange.method == Method::POST && !(rules.store_post && represents_target(exchange, &meta)) {
        return Err(NotStored::Post);
    }
    check_cacheable(exchange.status, &control, &meta)?;
    check_size(exchange.response, rules)?;
    check_useful(&meta)?;
    let mut omit = qualified_fields(&control);
    let set_cookie = decide_set_cookie(set_cookie, &control, &meta, rules)?;
    if set_cookie == SetCookie::Stripped {
        omit.push(header::SET_COOKIE);
    }
    if rules.tags.hidden {
        omit.extend(rules.tags.fields.iter().cloned());
    }
    Ok(Storable { meta, omit, set_cookie })
}

/// "the request method is understood by the cache; the response status code is final" (§3)
fn check_method_and_status(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    match *exchange.method {
        Method::GET | Method::POST => {}
        Method::HEAD => return Err(NotStored::Head),
        _ => return Err(NotStored::Method),
    }
    match exchange.status.as_u16() {
        100..200 => Err(NotStored::Interim),
        304 => Err(NotStored::NotModified),
        412 | 416 | 417 => Err(NotStored::RequestSpecific),
        206 if *exchange.method == Method::POST => Err(NotStored::Post),
        _ => Ok(()),
    }
}

fn check_directives(exchange: &Exchange<'_>, control: &Control, rules: &Rules) -> Result<(), NotStored> {
    let directives = &control.directives;
    if rules.client.no_store && request_says_no_store(exchange.request) {
        return Err(NotStored::RequestNoStore);
    }
    // "When a cache that implements the must-understand directive receives a response that includes it, the cache
    // SHOULD ignore the no-store directive if it understands and implements the status code's caching requirements."
    // (§5.2.2.3) "if the response status code is 206 or 304, or the must-understand cache directive […] is present: the
    // cache understands the response status code" (§3)
    if directives.must_understand {
        if !is_understood(exchange.status) {
            return Err(NotStored::MustUnderstand);
        }
    } else if directives.no_store {
        // "the no-store cache directive is not present in the response" (§3)
        return Err(NotStored::NoStore);
    }
    // "if the cache is shared: the private response directive is either not present or allows a shared cache to store a
    // modified response" (§3)
    if directives.private == Qualified::Whole {
        return Err(NotStored::Private);
    }
    // "if the cache is shared: the Authorization header field is not present in the request […] or a response directive
    // is present that explicitly allows shared caching" (§3): "must-revalidate […], public […], and s-maxage" (§3.5)
    let shared = directives.must_revalidate || directives.public || directives.s_maxage.is_present();
    if exchange.request.contains_key(header::AUTHORIZATION) && !shared {
        return Err(NotStored::Authorization);
    }
    Ok(())
}

/// "The no-store request directive indicates that a cache MUST NOT store any part of either this request or any
/// response to it." (§5.2.1.5)
fn request_says_no_store(request: &HeaderMap) -> bool {
    let mut directives = super::directives::RequestDirectives::default();
    request
        .get_all(header::CACHE_CONTROL)
        .iter()
        .for_each(|line| directives.add_line(line));
    directives.no_store
}

/// The statuses whose requirements this cache knows and follows: those of RFC 9110, but for 304 and what depends on one
/// request only.
pub fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=206 | 300..=303 | 307 | 308 | 400..=411 | 413..=415 | 421 | 422 | 426 | 500..=505)
}

/// Finds out everything that reuse will need.
fn digest(exchange: &Exchange<'_>, control: &Control, rules: &Rules) -> Result<StoredMeta, NotStored> {
    let Exchange {
        status,
        response,
        times,
        ..
    } = *exchange;
    let vary = Vary::of(response);
    if vary == Vary::Any {
        return Err(NotStored::VaryAny);
    }
    if vary.names().len() > rules.vary.fields_max {
        return Err(NotStored::VaryTooMany);
    }
    let partial = match status {
        // "A cache MUST NOT store incomplete or partial-content responses if it does not support the Range and
        // Content-Range header fields or if it does not understand the range units used in those fields." (§3.3)
        StatusCode::PARTIAL_CONTENT if !rules.ranges.store_partial && rules.key.slice == 0 => {
            return Err(NotStored::PartialOff);
        }
        StatusCode::PARTIAL_CONTENT => Some(content_range::partial_content(response).map_err(NotStored::Partial)?),
        _ => None,
    };
    // "A recipient with a clock that receives a response with an invalid Date header field value MAY replace that value
    // with the time that response was received." (RFC 9110 §6.6.1)
    let sent = response
        .get(header::DATE)
        .and_then(|value| date::parse(value.as_bytes(), times.response));
    let date = sent.unwrap_or(times.response);
    let directives = &control.directives;
    Ok(StoredMeta {
        status,
        response_time: times.response,
        date,
        initial_age: age::corrected_initial_age(age::age_value(response), sent.filter(|_| rules.age_from_date), times)
            .into(),
        lifetime: freshness::lifetime(status, response, control, date, rules),
        source: control.source,
        no_cache: directives.no_cache == Qualified::Whole,
        must_not_be_stale: stale_forbidden(control, rules),
        immutable: directives.immutable,
        stale_while_revalidate: directives.stale_while_revalidate.map(Grace::of),
        stale_if_error: directives.stale_if_error.map(Grace::of),
        validators: Validators::of(response, date, times.response),
        vary_key: vary.key(exchange.request, response, &rules.vary),
        vary,
        partial: partial.map(Box::new),
    })
}

/// "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive (e.g., by a
/// no-cache response directive, a must-revalidate response directive, or an applicable s-maxage or proxy-revalidate
/// response directive […])." (§4.2.4)
fn stale_forbidden(control: &Control, rules: &Rules) -> Option<StaleForbidden> {
    let directives = &control.directives;
    let explicit = directives.stale_while_revalidate.is_some() || directives.stale_if_error.is_some();
    if directives.must_revalidate {
        Some(StaleForbidden::MustRevalidate)
    } else if directives.proxy_revalidate {
        Some(StaleForbidden::ProxyRevalidate)
    } else if directives.s_maxage.is_present() && !(rules.stale.beside_s_maxage && explicit) {
        Some(StaleForbidden::SMaxage)
    } else {
        None
    }
}

/// "Responses to POST requests are only cacheable when they include explicit freshness information […] and a
/// Content-Location header field that has the same value as the POST's target URI" (RFC 9110 §9.3.3)
fn represents_target(exchange: &Exchange<'_>, meta: &StoredMeta) -> bool {
    let mut lines = exchange.response.get_all(header::CONTENT_LOCATION).iter();
    let (Some(location), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let there = location
        .to_str()
        .ok()
        .and_then(|location| exchange.target.resolve_same_origin(location));
    exchange.status == StatusCode::OK
        && meta.lifetime.is_explicit()
        && there.is_some_and(|there| exchange.target.is_at(&there))
}

/// "the response contains at least one of the following: a public response directive […]; an Expires header field […];
/// a max-age response directive […]; if the cache is shared: an s-maxage response directive […]; […] or a status code
/// that is defined as heuristically cacheable" (§3)
fn check_cacheable(status: StatusCode, control: &Control, meta: &StoredMeta) -> Result<(), NotStored> {
    let by_origin = control.directives.public
        || matches!(
            meta.lifetime.rule,
            LifetimeRule::SMaxage | LifetimeRule::MaxAge | LifetimeRule::Expires | LifetimeRule::Invalid
        );
    let by_operator = matches!(meta.lifetime.rule, LifetimeRule::Negative | LifetimeRule::Forced);
    if by_origin || by_operator || freshness::is_heuristically_cacheable(status) {
        Ok(())
    } else {
        Err(NotStored::Status)
    }
}

fn check_size(response: &HeaderMap, rules: &Rules) -> Result<(), NotStored> {
    match content_range::content_length(response) {
        Some(length) if length > rules.stored_response_max => Err(NotStored::TooLarge),
        _ => Ok(()),
    }
}

/// A response is worth its room if it will be fresh for a while, can be validated, or was explicitly allowed to be
/// stale. `Expires: 0` or `max-age=0` alone is how many origins say "do not cache": such a response is not kept for bad
/// times.
fn check_useful(meta: &StoredMeta) -> Result<(), NotStored> {
    let stale_later = meta.stale_while_revalidate.is_some() || meta.stale_if_error.is_some();
    if !meta.validators.is_empty() || stale_later && meta.must_not_be_stale.is_none() && !meta.no_cache {
        Ok(())
    } else if meta.no_cache {
        Err(NotStored::NoCache)
    } else if meta.lifetime.rule == LifetimeRule::Nothing {
        Err(NotStored::NoFreshness)
    } else if meta.was_born_stale() {
        Err(NotStored::BornStale)
    } else {
        Ok(())
    }
}

/// Whether Set-Cookie is there and would be stored.
fn check_set_cookie_names(exchange: &Exchange<'_>, control: &Control) -> SetCookie {
    if !exchange.response.contains_key(header::SET_COOKIE) {
        SetCookie::Absent
    } else if qualified_fields(control).contains(&header::SET_COOKIE) {
        SetCookie::Stripped
    } else {
        SetCookie::Stored
    }
}

/// "the Set-Cookie response header field […] does not inhibit caching; a cacheable response with a Set-Cookie header
/// field can be (and often is) used to satisfy subsequent requests to caches. Servers that wish to control caching of
/// these responses are encouraged to emit appropriate Cache-Control response header fields" (§7.3). Those who did not
/// get the careful answer: on a guessed lifetime, or one of our operator's, nobody said that the cookie is for
/// everybody.
fn decide_set_cookie(
    found: SetCookie,
    control: &Control,
    meta: &StoredMeta,
    rules: &Rules,
) -> Result<SetCookie, NotStored> {
    let explicit = control.directives.public || meta.lifetime.is_explicit();
    match (found, rules.set_cookie) {
        (SetCookie::Stored, SetCookieRule::Never) => Err(NotStored::SetCookie),
        (SetCookie::Stored, SetCookieRule::StoreExplicit) if !explicit => Err(NotStored::SetCookie),
        (SetCookie::Stored, SetCookieRule::Strip) => Ok(SetCookie::Stripped),
        (found, _) => Ok(found),
    }
}

/// The fields that qualified directives name: "a shared cache MUST NOT store the listed header fields" (`private`,
/// §5.2.2.7); "a cache MAY use the response to satisfy a subsequent request, […] if the listed header fields are
/// excluded from the subsequent response" (`no-cache`, §5.2.2.4), which not storing them makes sure of.
fn qualified_fields(control: &Control) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for qualified in [&control.directives.no_cache, &control.directives.private] {
        if let Qualified::Fields(fields) = qualified {
            names.extend(fields.iter().cloned());
        }
    }
    names
}
