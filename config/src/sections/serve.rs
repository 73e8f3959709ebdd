//! `[process]` and `[front]`, and the limits that every listener of clients has.

use common::http::forwarded::ForwardedSettings;
use common::http2::settings::Http2Settings;
use common::process::confine::{ConfineSettings, Wanted};
use common::serve::settings::{HalfClose, ServeSettings};
use http::HeaderName;

use super::front_listen::FrontListen;
use crate::codec::{
    Choice, Count, DIRECTORY, Duration, Flag, List, Maybe, NETWORK, REMOVED_IN_REQUEST, Size, Special, USER,
};
use crate::defaults;
use crate::model::{Front, FrontListener, Process, UnknownHost};
use crate::schema::{Keys, Visitor};

/// Whether the process confines itself.
const WANTED: Choice<Wanted> = Choice(&[("enforce", Wanted::Enforce), ("try", Wanted::Try), ("off", Wanted::Off)]);

impl Keys for Process {
    fn preset() -> Self {
        Self {
            workers: defaults::workers(),
            user: None,
            group: None,
            confine: defaults::CONFINE,
            proc_root: defaults::PROC_ROOT.into(),
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let workers = Special::computed(Count { min: 1, max: 1024 }, "one per CPU");
        v.key("workers", workers, &mut self.workers.workers, "Worker threads.");
        v.key(
            "pin_workers",
            Flag,
            &mut self.workers.pin,
            "Pin each worker to one of the CPUs that the process may use.",
        );
        v.key(
            "user",
            Maybe::new(USER, "unchanged"),
            &mut self.user,
            "The user to become once everything is bound.",
        );
        v.key(
            "group",
            Maybe::new(USER, "the user's"),
            &mut self.group,
            "The group to become; only with `user`.",
        );
        let ConfineSettings {
            privileges,
            files,
            calls,
        } = &mut self.confine;
        let meaning = "Give up all capabilities, and the way to new ones (`no_new_privs`), once everything is bound.";
        v.key("drop_privileges", WANTED, privileges, meaning);
        let meaning =
            "Open only the files that the configuration needs from then on (landlock, Linux 5.13; docs/security.md).";
        v.key("landlock", WANTED, files, meaning);
        let meaning = "Make only the system calls that a proxy needs.";
        v.key("seccomp", WANTED, calls, meaning);
        v.key(
            "drain_timeout",
            Duration::WAIT,
            &mut self.workers.drain_timeout,
            "How long requests may go on after SIGTERM before they are cut.",
        );
        v.key(
            "connections_max",
            Count {
                min: 1,
                max: 10_000_000,
            },
            &mut self.workers.connections_max,
            "Client connections of the whole process; further ones are accepted and closed at once.",
        );
        v.key(
            "proc_root",
            DIRECTORY,
            &mut self.proc_root,
            "Below which directory the kernel's `proc` and `sys` are read; in a container the mounted `/proc` of the host.",
        );
    }
}

/// `[front]` as the file has it.
pub(crate) struct FrontDraft {
    pub(crate) listen: Vec<FrontListener>,
    pub(crate) serve: ServeSettings,
    pub(crate) http2: Http2Settings,
    pub(crate) forwarded: ForwardedSettings,
    pub(crate) certificate_field: Option<HeaderName>,
    pub(crate) unknown_host: Option<UnknownHostWord>,
}

/// What a request for a host without a site gets, before the default site is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownHostWord {
    /// 421.
    Misdirected,
    /// The site with `default = true`.
    Default,
}

impl From<UnknownHost> for UnknownHostWord {
    fn from(unknown_host: UnknownHost) -> Self {
        match unknown_host {
            UnknownHost::Misdirected => Self::Misdirected,
            UnknownHost::Site(_) => Self::Default,
        }
    }
}

impl From<&Front> for FrontDraft {
    fn from(front: &Front) -> Self {
        Self {
            listen: front.listen.clone(),
            serve: front.serve.clone(),
            http2: front.http2,
            forwarded: front.forwarded.clone(),
            certificate_field: front.certificate_field.clone(),
            unknown_host: Some(front.unknown_host.into()),
        }
    }
}

impl Keys for FrontDraft {
    fn preset() -> Self {
        Self {
            listen: Vec::new(),
            serve: defaults::SERVE,
            http2: defaults::HTTP2,
            forwarded: ForwardedSettings::preset(),
            certificate_field: None,
            unknown_host: None,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "listen",
            Special::required(List::some(FrontListen)),
            &mut self.listen,
            "Where clients connect.",
        );
        visit_unknown_host(v, &mut self.unknown_host);
        v.key(
            "client_certificate_field",
            Maybe::new(REMOVED_IN_REQUEST, "none"),
            &mut self.certificate_field,
            "The field of requests that tells origins whom the client's certificate is for, on listeners with `client_ca`: \
             `verified;subject=\"CN=bob\"` or `none`. What clients send under this name is removed on every listener.",
        );
        self.serve.visit(v);
        v.table(
            "http2",
            &mut self.http2,
            "What a client may do on one HTTP/2 connection.",
        );
        v.table(
            "forwarded",
            &mut self.forwarded,
            "What is told about the client, and whom to believe about it.",
        );
    }
}

pub(super) fn visit_unknown_host<V: Visitor>(v: &mut V, unknown_host: &mut Option<UnknownHostWord>) {
    const WORDS: Choice<UnknownHostWord> = Choice(&[
        ("misdirected", UnknownHostWord::Misdirected),
        ("default", UnknownHostWord::Default),
    ]);
    v.key(
        "unknown_host",
        Maybe::new(
            WORDS,
            "`\"default\"` when a site has `default = true`, otherwise `\"misdirected\"`",
        ),
        unknown_host,
        "What a request for a host without a site gets: 421, or the site with `default = true`.",
    );
}

impl Keys for ServeSettings {
    fn preset() -> Self {
        defaults::SERVE
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let timeout = || Duration::TIMEOUT;
        let meaning = "From the first byte of a request to the end of its head.";
        v.key("header_timeout", timeout(), &mut self.header_timeout, meaning);
        let meaning = "How long a kept-alive connection may be without a request.";
        v.key("idle_timeout", timeout(), &mut self.idle_timeout, meaning);
        v.key(
            "body_timeout",
            timeout(),
            &mut self.body_timeout,
            "Between two reads of a request body.",
        );
        v.key(
            "send_timeout",
            timeout(),
            &mut self.send_timeout,
            "Between two writes of a response that make progress.",
        );
        let rate = || Size::between(0, 1 << 30);
        let meaning =
            "Bytes per second at which a request body has to come, as long as it is waited for; `\"0B\"`: any.";
        v.key("body_rate_min", rate(), &mut self.body_rate_min, meaning);
        let meaning = "Bytes per second at which a client has to take its response; `\"0B\"`: any.";
        v.key("send_rate_min", rate(), &mut self.send_rate_min, meaning);
        let meaning = "How long a client may stay below these rates; bytes that come faster earn it back.";
        v.key("rate_grace", timeout(), &mut self.rate_grace, meaning);
        limits(self, v);
        v.key(
            "half_close",
            Choice(&[("answer", HalfClose::Answer), ("cancel", HalfClose::Cancel)]),
            &mut self.half_close,
            "What it means when a client of HTTP/1 has sent its request and ends its side: it waits for the answer, or it left; one of HTTP/2 left.",
        );
    }
}

/// How much of a request, and how many on one connection.
fn limits<V: Visitor>(settings: &mut ServeSettings, v: &mut V) {
    let head = Size::between(1 << 10, 1 << 20);
    v.key(
        "request_head_max",
        head,
        &mut settings.head_bytes_max,
        "Request line and fields; more is answered 431.",
    );
    let fields = Count {
        min: 1,
        max: common::http1::parse::FIELDS_MAX as u64,
    };
    v.key(
        "fields_max",
        fields,
        &mut settings.fields_max,
        "Field lines of a request; more are answered 431.",
    );
    let uri = Special::at_most(Size::between(64, 1 << 20), "`request_head_max`");
    v.key(
        "uri_max",
        uri,
        &mut settings.uri_bytes_max,
        "Request target; a longer one is answered 414.",
    );
    let body = Size::or_unlimited(0);
    v.key(
        "request_body_max",
        body,
        &mut settings.body_bytes_max,
        "Request body; a larger one is answered 413.",
    );
    v.key(
        "requests_per_connection_max",
        Count {
            min: 1,
            max: 1_000_000_000_000,
        },
        &mut settings.requests_per_connection_max,
        "Requests on one connection before it is closed.",
    );
}

impl Keys for ForwardedSettings {
    fn preset() -> Self {
        defaults::FORWARDED
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Send `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.";
        v.key("x_forwarded", Flag, &mut self.x_forwarded, meaning);
        v.key("forwarded", Flag, &mut self.forwarded, "Send `Forwarded` (RFC 7239).");
        v.key(
            "trusted",
            List::any(NETWORK),
            &mut self.trusted,
            "Peers whose own such fields are believed and appended to; those of others are removed.",
        );
    }
}
