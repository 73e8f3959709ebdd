//! Why a response is not stored, in one word each.

use super::content_range::PartialInvalid;

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// It is an interim response.
    Interim,
    /// It is a 304, which freshens and is not stored itself.
    NotModified,
    /// The method's responses are not cacheable.
    Method,
    /// It has no content because the method is HEAD; it freshens.
    Head,
    /// It answers a POST without saying that it represents the target, and for how long.
    Post,
    /// The request says `no-store`.
    RequestNoStore,
    /// The response says `no-store`.
    NoStore,
    /// The response says `private`.
    Private,
    /// The response says `must-understand` and we do not.
    MustUnderstand,
    /// The request has Authorization and no directive allows to share the response.
    Authorization,
    /// It varies on everything.
    VaryAny,
    /// It varies on more fields than the rules allow.
    VaryTooMany,
    /// Its status is not heuristically cacheable and nothing else allows it.
    Status,
    /// Its status answers this one request's range, precondition or expectation, which are not part of any key.
    RequestSpecific,
    /// It is a 206, and partial responses are not stored.
    PartialOff,
    /// It is a 206 that contradicts itself.
    Partial(PartialInvalid),
    /// It has Set-Cookie and the rules do not let it be shared.
    SetCookie,
    /// Its content is larger than the rules allow.
    TooLarge,
    /// It says `no-cache` and there is nothing to validate it by.
    NoCache,
    /// It says nothing about its freshness and there is nothing to validate it by.
    NoFreshness,
    /// It is stale already and there is nothing to validate it by.
    BornStale,
}

impl NotStored {
    /// The word for log, metric and `detail` of Cache-Status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Interim => "interim",
            Self::NotModified => "not_modified",
            Self::Method => "method",
            Self::Head => "head",
            Self::Post => "post",
            Self::RequestNoStore => "request_no_store",
            Self::NoStore => "no_store",
            Self::Private => "private",
            Self::MustUnderstand => "must_understand",
            Self::Authorization => "authorization",
            Self::VaryAny => "vary_any",
            Self::VaryTooMany => "vary_too_many",
            Self::Status => "status",
            Self::RequestSpecific => "request_specific",
            Self::PartialOff => "partial_off",
            Self::Partial(why) => why.word(),
            Self::SetCookie => "set_cookie",
            Self::TooLarge => "too_large",
            Self::NoCache => "no_cache",
            Self::NoFreshness => "no_freshness",
            Self::BornStale => "born_stale",
        }
    }

    /// Whether the next response for the same key will likely not be stored either, so that nobody should wait for it
    /// ("hit-for-miss"); false when the reason lies in this one request.
    pub const fn is_about_response(self) -> bool {
        !matches!(
            self,
            Self::Interim
                | Self::NotModified
                | Self::Method
                | Self::Head
                | Self::Post
                | Self::RequestNoStore
                | Self::Authorization
                | Self::RequestSpecific
                | Self::PartialOff
                | Self::Partial(_)
        )
    }
}
