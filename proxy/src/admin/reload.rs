//! `POST /reload`: has every file read again, and tells what was taken over and what was kept, and why.

use common::http::body::Body;
use common::http::response::Response;
use common::net::reload::Reloaded;
use common::telemetry::json::{Array, Object, line};
use http::{Request, StatusCode};

use super::{json, not_on_purpose, text};
use crate::reload::Reloads;

/// Answers 200 when all is as it is in the files now, 409 when something is not.
pub async fn answer(reloads: &Reloads, request: Request<Body>) -> Response {
    if let Some(refused) = not_on_purpose(&request) {
        return refused;
    }
    drop(request);
    let Ok(all) = reloads.order().await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the process is ending\n");
    };
    let status = if all.iter().all(|one| one.kept.is_none()) {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    json(status, report(&all))
}

/// What came of it, as JSON.
fn report(all: &[Reloaded]) -> Vec<u8> {
    let named = |object: &mut Object<'_>, one: &Reloaded| {
        object.field("kind", one.kind).field("name", &*one.name);
    };
    line(|object| {
        let mut taken_over: Array<'_> = object.array("taken_over");
        for one in all.iter().filter(|one| one.kept.is_none()) {
            named(&mut taken_over.object(), one);
        }
        drop(taken_over);
        let mut kept = object.array("kept");
        for (one, reason) in all.iter().filter_map(|one| Some((one, one.kept.as_deref()?))) {
            let mut object = kept.object();
            named(&mut object, one);
            object.field("reason", reason);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_over_and_what_was_kept_is_told_apart() {
        let told = |kind, kept: Option<&str>| Reloaded {
            kind,
            name: "example".to_owned(),
            kept: kept.map(str::to_owned),
        };
        let all = [
            told("certificates", None),
            told("ticket_keys", Some("a.key: has 3 bytes")),
        ];
        let expected = "{\"taken_over\":[{\"kind\":\"certificates\",\"name\":\"example\"}],\
                        \"kept\":[{\"kind\":\"ticket_keys\",\"name\":\"example\",\"reason\":\"a.key: has 3 bytes\"}]}\n";
        assert_eq!(String::from_utf8(report(&all)).unwrap(), expected);
        assert_eq!(report(&[]), b"{\"taken_over\":[],\"kept\":[]}\n");
    }
}
