//! `[admin]`, `[log]` and `[log.access]`.

use common::net::settings::ListenSettings;
use common::telemetry::access_log::{AccessLogFormat, AccessLogSettings};
use common::telemetry::log::LogFormat;

use super::listen::Listen;
use crate::codec::{ADDRESS, Choice, Duration, FILE, Flag, LOG_TARGET, Maybe, NAME, OneOf, Size};
use crate::defaults;
use crate::model::{Admin, Log};
use crate::schema::{Keys, Visitor};

impl Keys for Admin {
    fn preset() -> Self {
        let address = (ADDRESS.parse)(defaults::ADMIN_ADDRESS);
        Self {
            listen: ListenSettings {
                name: defaults::ADMIN_ADDRESS.to_owned(),
                address: address.expect("invariant: the default is an address"),
                backlog: defaults::BACKLOG,
                defer_accept: None,
                v6only: defaults::V6ONLY,
                tcp_keepalive: None,
            },
            ready_when_critical: defaults::READY_WHEN_CRITICAL,
            token_file: None,
            tls: None,
            client_ca: None,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "listen",
            Listen,
            &mut self.listen,
            "Where health and metrics are: a loopback address or a unix socket; on another address `token_file` or `client_ca` is needed.",
        );
        v.key(
            "ready_when_critical",
            Flag,
            &mut self.ready_when_critical,
            "Whether `/ready` stays true while health is critical, because a kernel setting turned unsafe.",
        );
        let meaning = "File with the bearer tokens that every request but `/live` and `/ready` must show one of, a token per line, \
                       of 16 bytes or more each; read again when it changes.";
        v.key("token_file", Maybe::new(FILE, "none"), &mut self.token_file, meaning);
        let meaning = "The `[tls.NAME]` whose certificates this listener speaks TLS with.";
        v.key("tls", Maybe::new(NAME, "none"), &mut self.tls, meaning);
        let meaning = "PEM file of the authorities whose client certificates are demanded; only with `tls`.";
        v.key("client_ca", Maybe::new(FILE, "none"), &mut self.client_ca, meaning);
    }
}

impl Keys for Log {
    fn preset() -> Self {
        Self {
            level: defaults::LOG_LEVEL.to_owned(),
            format: defaults::LOG_FORMAT,
            access: None,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let levels = OneOf(&["error", "warn", "info", "debug", "trace"]);
        v.key(
            "level",
            levels,
            &mut self.level,
            "Which lines are written; `RUST_LOG` goes before it.",
        );
        let formats = Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        v.key("format", formats, &mut self.format, "For people, or for machines.");
        v.optional(
            "access",
            &mut self.access,
            "One line per exchange.\nWithout this table there is no access log.",
        );
    }
}

impl Keys for AccessLogSettings {
    fn preset() -> Self {
        defaults::ACCESS_LOG
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "to",
            LOG_TARGET,
            &mut self.to,
            "Where it goes; a file is reopened on SIGUSR1.",
        );
        let formats = Choice(&[("combined", AccessLogFormat::Combined), ("json", AccessLogFormat::Json)]);
        let meaning = "Apache's combined format with tidegate's fields after it, or one JSON object per line.";
        v.key("format", formats, &mut self.format, meaning);
        let buffer = Size::between(1 << 10, 16 << 20);
        v.key(
            "buffer",
            buffer,
            &mut self.buffer_bytes,
            "Each worker hands its lines over when so many bytes wait…",
        );
        let flush = Duration::between(std::time::Duration::from_millis(1), std::time::Duration::from_secs(60));
        v.key("flush", flush, &mut self.flush, "…or so much time has gone by.");
    }
}
