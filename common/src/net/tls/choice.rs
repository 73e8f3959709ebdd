//! Which certificate a client gets: by the name it asks for (SNI), then by the signatures it understands.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::settings::UnknownName;

/// Certificates by name. Built whole, never changed.
pub(super) struct Table {
    /// All of them, in the order of the configuration.
    pub(super) certificates: Vec<Certificate>,
    exact: HashMap<String, Vec<usize>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    /// For clients that ask for no name that is there.
    default: Vec<usize>,
}

impl Table {
    /// A table of at least one certificate; the first one is the default, together with those of other key types for
    /// the same name.
    pub(super) fn new(certificates: Vec<Certificate>, unknown_name: UnknownName) -> Self {
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        let mut wildcard: HashMap<String, Vec<usize>> = HashMap::new();
        // Fast keys first: a client that understands both gets the cheaper one.
        let mut order: Vec<usize> = (0..certificates.len()).collect();
        order.sort_by_key(|index| !certificates[*index].is_fast());
        for index in order {
            for name in &certificates[index].names {
                match name.strip_prefix("*.") {
                    Some(rest) => wildcard.entry(rest.to_owned()).or_default().push(index),
                    None => exact.entry(name.clone()).or_default().push(index),
                }
            }
        }
        let mut table = Self {
            certificates,
            exact,
            wildcard,
            default: Vec::new(),
        };
        if unknown_name == UnknownName::Default
            && let Some(first) = table.certificates.first().and_then(|first| first.names.first())
        {
            let of_its_name = match first.strip_prefix("*.") {
                Some(rest) => table.wildcard.get(rest),
                None => table.exact.get(first),
            };
            table.default = of_its_name.cloned().unwrap_or_default();
        }
        table
    }

    /// Indices of the certificates for a name, the preferred first; none when the client is to be refused.
    fn find(&self, name: Option<&str>) -> &[usize] {
        let exact = name.and_then(|name| self.exact.get(name));
        // "the wildcard certificate matches only one label" — `*` is the complete left-most label (RFC 9525 §6.3).
        let wildcard = || self.wildcard.get(name?.split_once('.')?.1);
        exact.or_else(wildcard).unwrap_or(&self.default)
    }
}

/// The table that handshakes look into, and that may be replaced between two of them.
pub(super) struct Resolver(pub(super) ArcSwap<Table>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        let found = table.find(hello.server_name());
        let schemes = hello.signature_schemes();
        let key = |index: &usize| &table.certificates[*index].key;
        let understood = found
            .iter()
            .find(|index| key(index).key.choose_scheme(schemes).is_some());
        // Where none is understood, rustls says so to the client.
        understood.or_else(|| found.first()).map(|index| Arc::clone(key(index)))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.0.load();
        let files = table.certificates.iter().map(|certificate| &certificate.file);
        f.debug_list().entries(files).finish()
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::super::certificate::load;
    use super::super::testing::Made;
    use super::*;
    use crate::time::Clock;

    fn table(unknown_name: UnknownName) -> Table {
        let folder = tempfile::tempdir().unwrap();
        let made = [
            ("first-rsa", Made::rsa(&["www.example.com", "example.com"])),
            ("first-ecdsa", Made::valid(&["www.example.com"])),
            ("images", Made::valid(&["*.img.example.com"])),
            ("one-image", Made::valid(&["a.img.example.com"])),
        ];
        let certificates = made.iter().map(|(name, made)| {
            load(
                &made.write(folder.path(), name),
                &default_provider(),
                Clock::System.wall(),
            )
            .unwrap()
        });
        Table::new(certificates.collect(), unknown_name)
    }

    #[test]
    fn the_name_decides_then_the_cheaper_key() {
        let table = table(UnknownName::Default);
        #[rustfmt::skip]
        let rows: &[(Option<&str>, &[&str])] = &[
            (Some("www.example.com"), &["first-ecdsa", "first-rsa"]),
            (Some("example.com"), &["first-rsa"]),
            (Some("b.img.example.com"), &["images"]),
            (Some("a.img.example.com"), &["one-image"]),
            (Some("a.b.img.example.com"), &["first-ecdsa", "first-rsa"]), // a wildcard is one label
            (Some("img.example.com"), &["first-ecdsa", "first-rsa"]),
            (Some("other.example"), &["first-ecdsa", "first-rsa"]),
            (Some("localhost"), &["first-ecdsa", "first-rsa"]),
            (None, &["first-ecdsa", "first-rsa"]),
        ];
        for (name, expected) in rows {
            let stem = |index: &usize| {
                table.certificates[*index]
                    .file
                    .file_stem()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            };
            let found: Vec<_> = table.find(*name).iter().map(stem).collect();
            assert_eq!(&found, expected, "{name:?}");
        }
    }

    #[test]
    fn unknown_names_may_be_refused() {
        let table = table(UnknownName::Refuse);
        assert!(table.find(Some("other.example")).is_empty() && table.find(None).is_empty());
        assert!(!table.find(Some("www.example.com")).is_empty());
    }
}
