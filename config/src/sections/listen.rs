//! One listener: an address alone, or a table with more.

use std::time;

use common::net::settings::{Backlog, ListenAddress, ListenSettings, TcpKeepalive};
use toml::Spanned;
use toml::de::DeValue;

use crate::codec::{ADDRESS, BacklogCodec, Count, Duration, Flag, Inline, MODE, Maybe, Special};
use crate::defaults;
use crate::problem::{Notes, Wrong};
use crate::reader::join;
use crate::schema::{Codec, Keys, Spot, Visitor};

/// The kind of value that a listener is.
pub(crate) struct Listen;

/// A listener's table.
#[derive(Clone)]
pub(crate) struct ListenDraft {
    address: Option<ListenAddress>,
    backlog: Backlog,
    defer_accept: Option<time::Duration>,
    v6only: Option<bool>,
    tcp_keepalive: Option<TcpKeepalive>,
    mode: Option<u32>,
}

impl Codec<ListenSettings> for Listen {
    fn kind(&self) -> String {
        format!(
            "{}, or a table such as {{ address = \"0.0.0.0:80\", backlog = \"auto\" }}",
            ADDRESS.kind
        )
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<ListenSettings> {
        let draft = match value.get_ref() {
            DeValue::String(_) => ListenDraft::at(ADDRESS.read(value, spot)),
            DeValue::Table(_) => Inline.read(value, spot)?,
            other => return spot.refuse_type(other, &self.kind()),
        };
        draft.into_settings(spot.path, spot.notes)
    }

    fn write(&self, value: &ListenSettings) -> Option<String> {
        Inline.write(&ListenDraft::of(value))
    }

    fn default_text(&self, preset: &ListenSettings) -> String {
        format!("`\"{}\"`", preset.name)
    }
}

impl Keys for ListenDraft {
    fn preset() -> Self {
        Self {
            address: None,
            backlog: defaults::BACKLOG,
            defer_accept: None,
            v6only: None,
            tcp_keepalive: None,
            mode: None,
        }
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "IPv4 or IPv6 address with port (0: the kernel chooses), or a unix socket.";
        v.key(
            "address",
            Special::required(Maybe::new(ADDRESS, "required")),
            &mut self.address,
            meaning,
        );
        v.key(
            "backlog",
            BacklogCodec,
            &mut self.backlog,
            "Connections that may wait to be accepted, per worker; `\"auto\"` is `net.core.somaxconn`, to which the \
             kernel cuts any larger number.",
        );
        v.key(
            "defer_accept",
            Maybe::new(Duration::whole_seconds(1, 3600), "none"),
            &mut self.defer_accept,
            "`TCP_DEFER_ACCEPT`: take a connection only when data came, or after this time.",
        );
        let meaning = "`IPV6_V6ONLY`: an IPv6 address takes no IPv4 connections.";
        v.key("v6only", Maybe::or(Flag, &defaults::V6ONLY), &mut self.v6only, meaning);
        let meaning = "Probe silent connections (see \"tcp_keepalive\").";
        v.key(
            "tcp_keepalive",
            Maybe::new(Inline, "off"),
            &mut self.tcp_keepalive,
            meaning,
        );
        let meaning = "Permission bits of a unix socket's file.";
        v.key("mode", Maybe::or(MODE, &defaults::SOCKET_MODE), &mut self.mode, meaning);
    }
}

impl Keys for TcpKeepalive {
    fn preset() -> Self {
        defaults::TCP_KEEPALIVE
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        // tcp(7): the times are seconds, at most 32767, and the count is at most 127.
        let seconds = || Duration::whole_seconds(1, 32_767);
        v.key("idle", seconds(), &mut self.idle, "Silence before the first probe.");
        v.key("interval", seconds(), &mut self.interval, "Time between probes.");
        let meaning = "Unanswered probes until the connection counts as dead.";
        v.key("count", Count { min: 1, max: 127 }, &mut self.count, meaning);
    }
}

impl ListenDraft {
    /// An address alone.
    pub(super) fn at(address: Option<ListenAddress>) -> Self {
        Self {
            address,
            ..Self::preset()
        }
    }

    pub(super) const fn is_unix(&self) -> bool {
        matches!(self.address, Some(ListenAddress::Unix { .. }))
    }

    pub(super) fn of(settings: &ListenSettings) -> Self {
        let (mode, v6only) = match &settings.address {
            ListenAddress::Unix { mode, .. } => (Some(*mode), None),
            ListenAddress::Tcp(address) => (None, address.is_ipv6().then_some(settings.v6only)),
        };
        Self {
            address: Some(settings.address.clone()),
            backlog: settings.backlog,
            defer_accept: settings.defer_accept,
            v6only,
            tcp_keepalive: settings.tcp_keepalive,
            mode,
        }
    }

    pub(super) fn into_settings(mut self, path: &str, notes: &mut Notes) -> Option<ListenSettings> {
        self.note_doubts(path, notes);
        let mut address = self.address?;
        if let (ListenAddress::Unix { mode, .. }, Some(asked)) = (&mut address, self.mode) {
            *mode = asked;
        }
        Some(ListenSettings {
            name: (ADDRESS.print)(&address),
            address,
            backlog: self.backlog,
            defer_accept: self.defer_accept,
            v6only: self.v6only.unwrap_or(defaults::V6ONLY),
            tcp_keepalive: self.tcp_keepalive,
        })
    }

    /// Keys that mean nothing for this address, and a backlog that will not be had.
    fn note_doubts(&mut self, path: &str, notes: &mut Notes) {
        let (idle, kind): (&[&str], _) = match &self.address {
            None => return,
            Some(ListenAddress::Unix { .. }) => (&["defer_accept", "v6only", "tcp_keepalive"], "on a unix socket"),
            Some(ListenAddress::Tcp(address)) if address.is_ipv4() => (&["mode", "v6only"], "on an IPv4 address"),
            Some(ListenAddress::Tcp(_)) => (&["mode"], "on an IPv6 address"),
        };
        for path in idle.iter().map(|name| join(path, name)) {
            if notes.has(&path) {
                notes.error(path, format!("means nothing {kind}"));
            }
        }
        if let Backlog::Fixed(backlog @ SOMAXCONN_COMMON_MAX..) = self.backlog {
            let wrong = Wrong::from(format!(
                "the kernel silently cuts a backlog of {backlog} to net.core.somaxconn"
            ));
            notes.warning(
                join(path, "backlog"),
                wrong.hint("\"auto\" asks for exactly what the kernel gives"),
            );
        }
    }
}

/// The first number that the usual largest `net.core.somaxconn`, 65535, does not cover.
const SOMAXCONN_COMMON_MAX: u32 = 65_536;
