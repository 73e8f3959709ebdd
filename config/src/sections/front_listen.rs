//! One listener of the front: a listener's own keys, and what is spoken on it.

use std::path::PathBuf;
use std::time;

use common::http::forwarded::IpNetwork;
use common::net::address_list::ListItem;
use common::net::settings::{ListenAddress, ListenSettings};
use common::net::tls::settings::{ClientCertificates, ClientDemand};
use common::serve::proxied::ProxySettings;
use toml::Spanned;
use toml::de::DeValue;

use super::guard::visit_access;
use super::listen::{Listen, ListenDraft};
use crate::codec::{ADDRESS, Choice, Duration, FILE, Flag, Inline, List, Maybe, NAME, NETWORK};
use crate::defaults;
use crate::model::FrontListener;
use crate::problem::{Notes, Wrong};
use crate::reader::join;
use crate::schema::{Codec, Keys, Spot, Visitor};

/// The kind of value that a listener of the front is.
pub(crate) struct FrontListen;

#[derive(Clone)]
pub(crate) struct FrontListenDraft {
    socket: ListenDraft,
    tls: Option<String>,
    client_ca: Option<PathBuf>,
    client_certificates: Option<ClientDemand>,
    http2: Option<bool>,
    redirect_https: bool,
    hsts: Option<time::Duration>,
    proxy_protocol: bool,
    proxy_from: Vec<IpNetwork>,
    allow: Option<Vec<ListItem>>,
    deny: Option<Vec<ListItem>>,
}

impl Codec<FrontListener> for FrontListen {
    fn kind(&self) -> String {
        Listen.kind()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<FrontListener> {
        let draft = match value.get_ref() {
            DeValue::String(_) => FrontListenDraft {
                socket: ListenDraft::at(ADDRESS.read(value, spot)),
                ..FrontListenDraft::preset()
            },
            DeValue::Table(_) => Inline.read(value, spot)?,
            other => return spot.refuse_type(other, &self.kind()),
        };
        draft.into_listener(spot.path, spot.notes)
    }

    fn write(&self, value: &FrontListener) -> Option<String> {
        let draft = FrontListenDraft {
            socket: ListenDraft::of(&value.socket),
            tls: value.tls.clone(),
            client_ca: value.clients.as_ref().map(|clients| clients.authorities.clone()),
            client_certificates: value.clients.as_ref().map(|clients| clients.demand),
            http2: Some(value.http2),
            redirect_https: value.redirect_https,
            hsts: value.hsts,
            proxy_protocol: value.proxied.is_some(),
            proxy_from: value
                .proxied
                .as_ref()
                .map(|proxied| proxied.from.clone())
                .unwrap_or_default(),
            allow: value.allow.clone(),
            deny: value.deny.clone(),
        };
        Inline.write(&draft)
    }
}

impl Keys for FrontListenDraft {
    fn preset() -> Self {
        Self {
            socket: ListenDraft::preset(),
            tls: None,
            client_ca: None,
            client_certificates: None,
            http2: None,
            redirect_https: false,
            hsts: None,
            proxy_protocol: false,
            proxy_from: Vec::new(),
            allow: None,
            deny: None,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        self.socket.visit(v);
        let meaning = "Speak TLS with the certificates of this `[tls.NAME]`.";
        v.key("tls", Maybe::new(NAME, "no TLS"), &mut self.tls, meaning);
        v.key(
            "client_ca",
            Maybe::new(FILE, "none"),
            &mut self.client_ca,
            "With `tls`: ask clients for a certificate that one of the authorities in this PEM file has signed; a bad one \
             ends the handshake. Sessions are not resumed then.",
        );
        v.key(
            "client_certificates",
            Maybe::new(
                Choice(&[
                    ("required", ClientDemand::Required),
                    ("optional", ClientDemand::Optional),
                ]),
                "`\"required\"` with `client_ca`",
            ),
            &mut self.client_certificates,
            "Whether a client may have no certificate.",
        );
        v.key(
            "http2",
            Maybe::new(Flag, "`true` with `tls`, otherwise `false`"),
            &mut self.http2,
            "Speak HTTP/2, too: with `tls` by ALPN, without it to clients that know beforehand (h2c, by its preface).",
        );
        let meaning = "Answer every request with a redirect to the same address with https (308).";
        v.key("redirect_https", Flag, &mut self.redirect_https, meaning);
        v.key(
            "hsts",
            Maybe::new(Duration::whole_seconds(0, 10 * 365 * 86_400), "none"),
            &mut self.hsts,
            "Send `Strict-Transport-Security` with this `max-age` (RFC 6797).",
        );
        let meaning =
            "Connections begin with a PROXY header (version 1 or 2), which says who the client is; others are closed.";
        v.key("proxy_protocol", Flag, &mut self.proxy_protocol, meaning);
        v.key(
            "proxy_from",
            List::any(NETWORK),
            &mut self.proxy_from,
            "With `proxy_protocol`: the load balancers; connections from anywhere else are closed. On a unix socket, the \
             modes of its file say who may connect.",
        );
        visit_access(v, &mut self.allow, &mut self.deny);
    }
}

impl FrontListenDraft {
    fn into_listener(mut self, path: &str, notes: &mut Notes) -> Option<FrontListener> {
        let with_tls = notes.has(&join(path, "tls"));
        if with_tls && self.redirect_https {
            notes.error(
                join(path, "redirect_https"),
                "means nothing with tls: requests are https already",
            );
        }
        if !with_tls && self.hsts.is_some() {
            // "An HSTS Host MUST NOT include the STS header field in HTTP responses conveyed over non-secure transport."
            // (RFC 6797 §7.2)
            notes.error(join(path, "hsts"), "means nothing without tls");
        }
        let proxied = self.proxied(path, notes);
        let clients = self.clients(path, notes);
        let socket: ListenSettings = self.socket.into_settings(path, notes)?;
        if matches!(socket.address, ListenAddress::Unix { .. }) {
            for key in ["allow", "deny"].map(|key| join(path, key)) {
                if notes.has(&key) {
                    notes.error(key, "means nothing on a unix socket, whose peers have no address");
                }
            }
        }
        if with_tls && matches!(socket.address, ListenAddress::Unix { .. }) {
            notes.error(join(path, "tls"), "means nothing on a unix socket");
        }
        let unless_told = defaults::HTTP2_WITH_TLS && self.tls.is_some();
        Some(FrontListener {
            http2: self.http2.unwrap_or(unless_told),
            socket,
            tls: self.tls,
            clients,
            redirect_https: self.redirect_https,
            hsts: self.hsts,
            proxied,
            allow: self.allow,
            deny: self.deny,
        })
    }

    fn clients(&mut self, path: &str, notes: &mut Notes) -> Option<ClientCertificates> {
        let of_these = notes.has(&join(path, "client_ca"));
        if of_these && !notes.has(&join(path, "tls")) {
            notes.error(join(path, "client_ca"), "means nothing without tls");
        }
        if !of_these && self.client_certificates.is_some() {
            notes.error(join(path, "client_certificates"), "means nothing without client_ca");
        }
        Some(ClientCertificates {
            authorities: self.client_ca.take()?,
            demand: self.client_certificates.unwrap_or(ClientDemand::Required),
        })
    }

    fn proxied(&self, path: &str, notes: &mut Notes) -> Option<ProxySettings> {
        let (key, is_listed) = (join(path, "proxy_from"), !self.proxy_from.is_empty());
        if !self.proxy_protocol {
            if is_listed {
                notes.error(key, "means nothing without proxy_protocol = true");
            }
            return None;
        }
        if !is_listed && !self.socket.is_unix() && !notes.has(&format!("{key}[0]")) {
            let wrong = Wrong::from("proxy_protocol needs proxy_from, the addresses of the load balancers");
            notes.error(
                path,
                wrong.hint("whoever may send a PROXY header may claim to be any client"),
            );
        }
        Some(ProxySettings {
            from: self.proxy_from.clone(),
        })
    }
}
