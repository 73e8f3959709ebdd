//! What traffic rules are made of: texts with variables, fields that may be changed, statuses of answers.

use http::{HeaderName, StatusCode, header};
use toml::Spanned;
use toml::de::DeValue;

use super::scalar::{Text, quote, within};
use crate::problem::Wrong;
use crate::schema::{Codec, Spot};
use crate::traffic::{Part, Template, Variable};

/// Where a redirect leads to.
pub(crate) const LOCATION: Text<Template> = Text {
    kind: "URL or path, with variables, such as \"https://$host/new$query\"",
    parse: parse_location,
    print: Template::to_string,
};

/// What comes in the place of a part of a path.
pub(crate) const PATH_TEMPLATE: Text<Template> = Text {
    kind: "path, with \"$1\" for the first group of `regex`, such as \"/new/$1\"",
    parse: parse_path,
    print: Template::to_string,
};

/// A `Content-Type`.
pub(crate) const CONTENT_TYPE: Text<String> = Text {
    kind: "media type such as \"text/html; charset=utf-8\"",
    parse: |text| {
        let is_media_type = text
            .split_once('/')
            .is_some_and(|(one, other)| !one.is_empty() && !other.is_empty());
        if is_media_type && is_field_value(text) {
            Ok(text.to_owned())
        } else {
            Err(Wrong::from(format!(
                "{text:?} is not a media type, such as \"text/plain\""
            )))
        }
    },
    print: String::clone,
};

/// Media types: one, or all of a kind.
pub(crate) const MEDIA_TYPE: Text<String> = Text {
    kind: "media type such as \"text/css\" or \"text/*\"",
    parse: |text| {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        match text.split_once('/') {
            Some((kind, "*")) if is_word(kind) && kind != "*" => Ok(text.to_ascii_lowercase()),
            Some((kind, rest)) if is_word(kind) && is_word(rest) && !text.contains('*') => {
                Ok(text.to_ascii_lowercase())
            }
            _ => Err(Wrong::from(format!(
                "{text:?} is neither a media type nor a kind of them, such as \"text/*\""
            ))),
        }
    },
    print: String::clone,
};

/// What a fixed response says.
pub(crate) const BODY: Text<String> = Text {
    kind: "text of at most 64KiB",
    parse: |text| match text.len() {
        ..=BODY_MAX => Ok(text.to_owned()),
        _ => Err(Wrong::from("is longer than 64KiB; let an origin serve it")),
    },
    print: String::clone,
};

/// Bytes of a fixed response's content.
const BODY_MAX: usize = 64 << 10;

/// Names of fields that a rule may take away.
pub(crate) const REMOVED_IN_REQUEST: Text<HeaderName> = Text {
    kind: "field name such as \"X-Debug\"",
    parse: |text| removed(text, Direction::Request),
    print: |name| name.as_str().to_owned(),
};

/// The same for responses.
pub(crate) const REMOVED_IN_RESPONSE: Text<HeaderName> = Text {
    kind: "field name such as \"X-Powered-By\"",
    parse: |text| removed(text, Direction::Response),
    print: |name| name.as_str().to_owned(),
};

/// In which direction a message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the origin.
    Request,
    /// To the client.
    Response,
}

/// Fields and their values.
pub(crate) struct FieldValues {
    pub(crate) direction: Direction,
    /// Whether lines are added, rather than put in the place of others.
    pub(crate) adds: bool,
}

/// A status as a number.
pub(crate) struct Status(pub(crate) &'static str, pub(crate) fn(u16) -> bool);

impl Status {
    /// Of a redirect.
    pub(crate) const REDIRECT: Self = Self("301, 302, 303, 307 or 308", |status| {
        matches!(status, 301 | 302 | 303 | 307 | 308)
    });
    /// Of an answer of our own: 205 and 304 mean something only beside something else.
    pub(crate) const ANSWER: Self = Self("number, 200 to 599 but 205, 206 and 304", |status| {
        matches!(status, 200..600) && !matches!(status, 205 | 206 | 304)
    });
}

impl Codec<StatusCode> for Status {
    fn kind(&self) -> String {
        self.0.to_owned()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<StatusCode> {
        let DeValue::Integer(digits) = value.get_ref() else {
            return spot.refuse_type(value.get_ref(), "a status such as 302, without quotes");
        };
        let number = u16::from_str_radix(digits.as_str(), digits.radix()).ok();
        match number.filter(|number| (self.1)(*number)).map(StatusCode::from_u16) {
            Some(Ok(status)) => Some(status),
            _ => spot.refuse(format!("{digits} is none of: {}", self.0)),
        }
    }

    fn write(&self, status: &StatusCode) -> Option<String> {
        Some(status.as_str().to_owned())
    }
}

impl Codec<Vec<(HeaderName, Template)>> for FieldValues {
    fn kind(&self) -> String {
        "table of fields and their values, with variables".to_owned()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<Vec<(HeaderName, Template)>> {
        let DeValue::Table(table) = value.get_ref() else {
            return spot.refuse_type(value.get_ref(), "a table such as { X-Client = \"$client_ip\" }");
        };
        within(table.len(), 0, FIELDS_MAX, |count| format!("{count} fields"), spot)?;
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut fields: Vec<(HeaderName, Template)> = Vec::with_capacity(entries.len());
        let whole = entries.len();
        for (key, value) in entries {
            let path = format!("{}.{}", spot.path, key.get_ref());
            spot.notes.place(&path, key.span().start);
            let mut spot = Spot {
                path: &path,
                notes: &mut *spot.notes,
            };
            let name = match written(key.get_ref(), self.direction, self.adds) {
                Ok(name) if fields.iter().any(|(other, _)| *other == name) => spot.refuse("is there twice"),
                Ok(name) => Some(name),
                Err(wrong) => spot.refuse(wrong),
            };
            let value = VALUE.read(value, &mut spot);
            fields.extend(name.zip(value));
        }
        (fields.len() == whole).then_some(fields)
    }

    fn write(&self, fields: &Vec<(HeaderName, Template)>) -> Option<String> {
        if fields.is_empty() {
            return Some("{}".to_owned());
        }
        let pairs = fields
            .iter()
            .map(|(name, value)| format!("{} = {}", quote(name.as_str()), quote(&value.to_string())));
        Some(format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", ")))
    }
}

/// Fields in one table.
const FIELDS_MAX: usize = 64;

/// A field's value.
const VALUE: Text<Template> = Text {
    kind: "text, with variables",
    parse: |text| {
        if !is_field_value(text) {
            return Err(Wrong::from(format!(
                "{text:?} is not a field value: visible ASCII, blanks only inside"
            )));
        }
        text.parse().map_err(|wrong: String| Wrong::from(wrong))
    },
    print: Template::to_string,
};

/// "A field value does not include leading or trailing whitespace." (RFC 9110 §5.5) Above ASCII a field's meaning is
/// everybody's guess.
fn is_field_value(text: &str) -> bool {
    text.trim() == text
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t')
}

fn field(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::try_from(text).map_err(|_| Wrong::from(format!("{text:?} is not the name of a field")))
}

fn removed(text: &str, direction: Direction) -> Result<HeaderName, Wrong> {
    let name = field(text)?;
    refuse_reserved(&name, direction)?;
    if direction == Direction::Request && name == header::HOST {
        return Err(Wrong::from("every request has a host").hint("`set` gives it another one"));
    }
    Ok(name)
}

fn written(text: &str, direction: Direction, adds: bool) -> Result<HeaderName, Wrong> {
    let name = field(text)?;
    refuse_reserved(&name, direction)?;
    if adds && is_single(&name) {
        return Err(Wrong::from(format!("a message has one {name} at the most")).hint("use `set`"));
    }
    Ok(name)
}

/// Fields that are tidegate's own business, in either direction.
fn refuse_reserved(name: &HeaderName, direction: Direction) -> Result<(), Wrong> {
    let why = match name.as_str() {
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "te"
        | "upgrade"
        | "http2-settings"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-authentication-info" => {
            "belongs to one connection (RFC 9110 §7.6.1), and is written by whoever has it"
        }
        "content-length" | "transfer-encoding" | "trailer" | "expect" => {
            "says how a message is framed, and is written by whoever sends it"
        }
        "content-encoding" | "content-range" => "says what the content is, which a rule does not change",
        "via" | "cdn-loop" => "keeps requests from going in circles",
        "forwarded" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-request-id"
            if direction == Direction::Request =>
        {
            let wrong = Wrong::from(format!("{name} is written by tidegate"));
            return Err(wrong.hint("see x_forwarded, forwarded and trusted_proxies in [front]"));
        }
        _ => return Ok(()),
    };
    Err(Wrong::from(format!("{name} {why}")))
}

/// Fields of which a message has one line at the most.
fn is_single(name: &HeaderName) -> bool {
    const SINGLE: [HeaderName; 10] = [
        header::HOST,
        header::CONTENT_TYPE,
        header::DATE,
        header::AGE,
        header::ETAG,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::LOCATION,
        header::AUTHORIZATION,
        header::RETRY_AFTER,
    ];
    SINGLE.contains(name)
}

fn parse_location(text: &str) -> Result<Template, Wrong> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Wrong::from(format!("{text:?} has characters that a URI cannot have")).hint("percent-encode them"));
    }
    let template: Template = text.parse()?;
    let is_place = match template.parts().first() {
        None => false,
        Some(Part::Text(text)) => ["/", "http://", "https://"]
            .into_iter()
            .any(|start| text.starts_with(start)),
        Some(Part::Variable(Variable::Scheme | Variable::Path | Variable::Uri | Variable::Capture(_))) => true,
        Some(Part::Variable(_)) => false,
    };
    if is_place {
        Ok(template)
    } else {
        let wrong = Wrong::from(format!("{text:?} is neither a URL nor a path"));
        Err(wrong.hint("such as \"https://$host/new$query\" or \"/new\""))
    }
}

fn parse_path(text: &str) -> Result<Template, Wrong> {
    let is_path = text.starts_with(['/', '$']) && !text.contains(['?', '#']);
    if !is_path || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let wrong = Wrong::from(format!("{text:?} is not a path that begins with \"/\""));
        return Err(wrong.hint("without query; the client's stays"));
    }
    let template: Template = text.parse()?;
    let others = |variable: &Variable| !matches!(variable, Variable::Capture(_));
    if template.variables().any(|variable| others(&variable)) {
        return Err(Wrong::from("a path is made of \"$0\" to \"$9\" only"));
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_connection_and_of_framing_stay_as_they_are() {
        for name in [
            "Connection",
            "te",
            "Content-Length",
            "transfer-encoding",
            "Via",
            "content-encoding",
        ] {
            for direction in [Direction::Request, Direction::Response] {
                assert!(removed(name, direction).is_err(), "{name}");
                assert!(written(name, direction, false).is_err(), "{name}");
            }
        }
        assert!(written("X-Forwarded-For", Direction::Request, false).is_err());
        assert!(written("X-Forwarded-For", Direction::Response, false).is_ok());
        assert!(written("Host", Direction::Request, false).is_ok());
        assert!(written("Host", Direction::Request, true).is_err());
        assert!(written("Set-Cookie", Direction::Response, true).is_ok());
        assert!(written("a b", Direction::Response, true).is_err());
    }

    #[test]
    fn a_redirect_leads_to_a_url_or_a_path() {
        for text in [
            "/new",
            "https://a.example/$1",
            "http://$host$uri",
            "$scheme://$host/",
            "$path?x=1",
            "/$1",
        ] {
            assert!(parse_location(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "new",
            "ftp://a/",
            "$host/a",
            "$query",
            "/a b",
            "/ä",
            "javascript:alert(1)",
        ] {
            assert!(parse_location(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rewritten_path_is_a_path() {
        for text in ["/", "/a/$1", "$1", "/$$"] {
            assert!(parse_path(text).is_ok(), "{text}");
        }
        for text in ["", "a", "/a?b", "/$host", "/a b"] {
            assert!(parse_path(text).is_err(), "{text}");
        }
    }
}
