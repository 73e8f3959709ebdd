//! `GET /explain?url=…[&method=…][&header=NAME:%20VALUE]…[&format=text]`: what would become of a request, and why.
//!
//! Finds site and route as the exchange does; the cache tier tells the rest. Nothing is sent, stored, counted or marked.

mod render; // as JSON and as text

use cache::explain::{Explanation, Question};
use cache::policy::target::TargetUri;
use cache::tier::Tier;
use common::http::head::Head;
use common::http::response::Response;
use common::time::WallTime;
use config::PathPattern;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};

use super::{json, query, text};
use crate::exchange::refusal::Refusal;
use crate::exchange::traffic::Rehearsal;
use crate::routes::Routes;

/// A request that was asked about, and what there is to say.
struct Explained {
    method: Method,
    url: String,
    outcome: Result<Routed, Unasked>,
}

/// Why the tier would not be asked at all.
struct Unasked {
    outcome: &'static str,
    word: Option<&'static str>,
    sentence: String,
    status: StatusCode,
}

impl From<Refusal> for Unasked {
    fn from(refusal: Refusal) -> Self {
        Self {
            outcome: "refused",
            word: refusal.word(),
            sentence: refusal.sentence(),
            status: refusal.status(),
        }
    }
}

impl Unasked {
    /// A traffic rule answers.
    fn answered(status: StatusCode, rule: &'static str) -> Self {
        let sentence = match rule {
            "maintenance" => "its site or route is in maintenance",
            "cors_preflight" => "it is a preflight, which the cors rule of the configuration answers",
            _ => "a redirect or respond of the configuration answers it",
        };
        Self {
            outcome: "answered",
            word: Some(rule),
            sentence: sentence.to_owned(),
            status,
        }
    }
}

/// Where it belongs, and what would become of it there.
struct Routed {
    site: String,
    /// The route's pattern, as the configuration has it.
    path: String,
    origin: String,
    is_cached: bool,
    /// What depends on who sends it, and how often.
    conditions: Vec<&'static str>,
    explanation: Explanation,
}

/// Tells what would become of the request that the query describes.
pub fn answer(routes: &Routes, tier: &Tier, query: &str, as_text: bool, now: WallTime) -> Response {
    let explained = read(query).map(|asked| explain(routes, tier, asked, now));
    match explained {
        Ok(explained) if as_text => text(StatusCode::OK, render::as_text(&explained)),
        Ok(explained) => json(StatusCode::OK, render::as_json(&explained)),
        Err(wrong) => text(StatusCode::BAD_REQUEST, format!("{wrong}\n")),
    }
}

/// What the query describes.
struct Asked {
    url: String,
    head: Head,
    tls: bool,
    host: String,
}

fn explain(routes: &Routes, tier: &Tier, asked: Asked, now: WallTime) -> Explained {
    let outcome = routed(routes, tier, &asked, now);
    Explained {
        method: asked.head.method,
        url: asked.url,
        outcome,
    }
}

fn routed(routes: &Routes, tier: &Tier, asked: &Asked, now: WallTime) -> Result<Routed, Unasked> {
    let mut head = asked.head.clone();
    let found = match head.method {
        Method::CONNECT => Err(Refusal::NotImplemented),
        Method::TRACE => Err(Refusal::MethodNotAllowed),
        _ => routes.find(&asked.host, head.uri.path()).map_err(Refusal::from),
    };
    let (site, route) = found?;
    let mut conditions = route.guard.as_ref().map_or_else(Vec::new, |guard| guard.conditions());
    if let Some(traffic) = &route.traffic {
        match traffic.rehearse(&mut head, asked.tls) {
            Rehearsal::Answered(status, rule) => return Err(Unasked::answered(status, rule)),
            Rehearsal::Refused(refusal) => return Err(refusal.into()),
            Rehearsal::Open(more) => conditions.extend(more),
        }
    }
    let tier_route = route.tier.as_ref().ok_or(Refusal::NoRoute)?;
    let question = Question {
        head: &head,
        tls: asked.tls,
        now,
    };
    Ok(Routed {
        site: site.name.to_string(),
        path: pattern_text(&route.pattern),
        origin: tier_route.backend.name().to_owned(),
        is_cached: tier_route.is_cached,
        conditions,
        explanation: tier.explain(&question, tier_route),
    })
}

fn read(query: &str) -> Result<Asked, String> {
    let (mut urls, mut methods, mut fields) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in query::parse(query)? {
        match &*name {
            "url" => urls.push(value),
            "method" => methods.push(value),
            "header" => fields.push(read_field(&value)?),
            "format" => {}
            _ => return Err(format!("{name} is none of url, method, header and format")),
        }
    }
    let ([url], [] | [_]) = (&urls[..], &methods[..]) else {
        return Err("one url= and at most one method= are needed".to_owned());
    };
    let target = TargetUri::parse(url).ok_or_else(|| format!("{url:?} is not an http or https URL"))?;
    let path = target
        .query
        .map_or_else(|| target.path.to_owned(), |query| format!("{}?{query}", target.path));
    let method = methods.first().map_or("GET", String::as_str);
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is not a method"))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, target.authority);
    let request = request.body(()).map_err(|error| format!("{url:?}: {error}"))?;
    let mut head = Head::from(request.into_parts().0);
    for (name, value) in fields {
        head.headers.append(name, value);
    }
    let tls = target.scheme.eq_ignore_ascii_case("https");
    let host = host_of(target.authority);
    Ok(Asked {
        url: url.clone(),
        head,
        tls,
        host,
    })
}

fn read_field(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || format!("{line:?} is not a field such as \"Accept-Encoding: gzip\"");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::try_from(name).map_err(|_| wrong())?;
    let value = HeaderValue::try_from(value.trim_matches([' ', '\t'])).map_err(|_| wrong())?;
    if name == HOST {
        return Err("the URL names the host".to_owned());
    }
    Ok((name, value))
}

/// The host of an authority as routes know it: lower case, no port.
pub fn host_of(authority: &str) -> String {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, after)| is_port(after));
    host.map_or(authority, |(host, _)| host).to_ascii_lowercase()
}

fn pattern_text(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Exact(path) => format!("path = {path:?}"),
        PathPattern::Prefix(path) => format!("prefix = {path:?}"),
        PathPattern::Regex(regex) => format!("regex = {:?}", regex.as_str()),
        PathPattern::Any => "the site's own".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_url_one_method_and_any_fields() {
        for (query, expected) in [
            ("url=http://a.test/x%3Fy", Some(("GET", "/x?y", "a.test", false, 1))),
            (
                "url=HTTPS://A.test:443&method=HEAD&header=Accept:%20a&header=accept:b",
                Some(("HEAD", "/", "a.test", true, 3)),
            ),
            ("url=http://[::1]:80/", Some(("GET", "/", "[::1]", false, 1))),
            ("", None),
            ("url=/x", None),
            ("url=http://a/&url=http://b/", None),
            ("url=http://a/&method=A&method=B", None),
            ("url=http://a/&method=G%20T", None),
            ("url=http://a/%20x", None),
            ("url=http://a/&header=x", None),
            ("url=http://a/&header=Host:%20b", None),
            ("url=http://a/&header=x:%0a", None),
            ("url=http://a/&colour=red", None),
        ] {
            let read = read(query).ok();
            let found = read.as_ref().map(|asked| {
                let target = asked.head.uri.path_and_query().unwrap().as_str();
                let count = asked.head.headers.len();
                (
                    asked.head.method.as_str(),
                    target,
                    asked.host.as_str(),
                    asked.tls,
                    count,
                )
            });
            assert_eq!(found, expected, "{query}");
        }
    }
}
