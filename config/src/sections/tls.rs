//! `[tls.NAME]`: certificates, and how handshakes are made with them.

use std::time;

use common::http2::settings::Http2Settings;
use common::net::tls::settings::{CertificateFiles, ServerCertificate, TlsSettings, TlsVersion, UnknownName};

use crate::codec::{Choice, Count, Duration, FILE, Flag, Inline, List, Maybe, Size, Special};
use crate::defaults;
use crate::schema::{Keys, Visitor};

impl Keys for TlsSettings {
    fn preset() -> Self {
        defaults::TLS
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "certificates",
            Special::required(List::some(Inline)),
            &mut self.certificates,
            "Certificates with their keys, such as `{ certificate = \"/etc/tidegate/a.pem\", key = \"/etc/tidegate/a.key\" }`; \
             a client gets the one for the name that it asks for. The first one is the default.",
        );
        v.key(
            "unknown_name",
            Choice(&[("default", UnknownName::Default), ("refuse", UnknownName::Refuse)]),
            &mut self.unknown_name,
            "What a client gets that asks for a name without a certificate, or for none: the default one, or an alert.",
        );
        v.key(
            "min_version",
            TLS_VERSION,
            &mut self.min_version,
            "The oldest version of TLS that is spoken.",
        );
        v.key(
            "session_tickets",
            Flag,
            &mut self.session_tickets,
            "Let clients resume sessions with a ticket.",
        );
        v.key(
            "ticket_keys",
            List::any(FILE),
            &mut self.ticket_keys,
            "Files of 48 or 80 random bytes each (`openssl rand 80`), the keys of tickets: the first one seals, all open. \
             Nodes with the same files resume each other's sessions. Without any, keys rotate every six hours and stay in the process.",
        );
        v.key(
            "handshake_timeout",
            Duration::TIMEOUT,
            &mut self.handshake_timeout,
            "From accept to the end of the handshake.",
        );
        v.key(
            "handshakes_max",
            Count { min: 1, max: 1_000_000 },
            &mut self.handshakes_max,
            "Handshakes at the same time, in the whole process; further connections are closed.",
        );
        v.key(
            "reload_every",
            Duration::between(time::Duration::from_millis(100), time::Duration::from_secs(86_400)),
            &mut self.reload_every,
            "How often the files are looked at; changed ones are taken over, unless something is wrong with them.",
        );
    }
}

impl Keys for ServerCertificate {
    fn preset() -> Self {
        Self::default()
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        self.files.visit(v);
        v.key(
            "ocsp",
            Maybe::new(FILE, "none"),
            &mut self.ocsp,
            "DER file of an OCSP response that is stapled to the certificate (RFC 6960); whoever fetches it renews it.",
        );
    }
}

impl Keys for CertificateFiles {
    fn preset() -> Self {
        Self::default()
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "PEM file of the certificate and, after it, its intermediates.";
        v.key("certificate", Special::required(FILE), &mut self.certificate, meaning);
        let meaning = "PEM file of its private key (PKCS#8, PKCS#1 or SEC1, not encrypted).";
        v.key("key", Special::required(FILE), &mut self.key, meaning);
    }
}

impl Keys for Http2Settings {
    fn preset() -> Self {
        defaults::HTTP2
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        v.key(
            "streams_max",
            Count { min: 1, max: 65_536 },
            &mut self.streams_max,
            "Requests that a client may have running on one connection.",
        );
        // RFC 9113 §6.5.2 and §6.9.1: windows are at least the 65,535 that a connection begins with, at most 2^31-1.
        let window = || Size::between(64 << 10, 1 << 30);
        let meaning = "Bytes of one request body that a client may send before they are read.";
        v.key("stream_window", window(), &mut self.stream_window, meaning);
        let meaning = "Bytes of all request bodies on a connection that a client may send before they are read.";
        v.key("connection_window", window(), &mut self.connection_window, meaning);
        v.key(
            "send_buffer_max",
            Size::between(16 << 10, 16 << 20),
            &mut self.send_buffer_max,
            "Bytes of one response that may wait for the connection.",
        );
        v.key(
            "extended_connect",
            Flag,
            &mut self.extended_connect,
            "Let clients open WebSockets, and what else `upgrades` of a route allows, on a stream (extended CONNECT, RFC 8441).",
        );
    }
}

/// Versions that may be the oldest.
pub(super) const TLS_VERSION: Choice<TlsVersion> = Choice(&[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]);
