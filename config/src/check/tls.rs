//! Certificates: their names, and the listeners that name them.

use common::net::tls::settings::TlsSettings;

use crate::codec::is_name;
use crate::model::{Admin, Front};
use crate::problem::{Notes, Wrong};

/// The certificates, named, in the order of the file.
pub(super) fn named(drafts: Vec<(String, TlsSettings)>, notes: &mut Notes) -> Vec<TlsSettings> {
    for (name, _) in drafts.iter().filter(|(name, _)| !is_name(name)) {
        let message = "its name has 1 to 64 letters, digits, \"-\" and \"_\"; it stands in logs and metrics";
        notes.error(format!("tls.{name}"), message);
    }
    for (name, tls) in &drafts {
        if !tls.session_tickets && !tls.ticket_keys.is_empty() {
            let message = "there are no tickets to seal: session_tickets is false";
            notes.error(format!("tls.{name}.ticket_keys"), message);
        }
    }
    let named = drafts.into_iter().map(|(name, tls)| TlsSettings { name, ..tls });
    named.collect()
}

/// The names that listeners speak TLS with, each with its key's path.
pub(super) fn named_by<'a>(front: Option<&'a Front>, admin: Option<&'a Admin>) -> Vec<(String, &'a str)> {
    let listeners = front.iter().flat_map(|front| front.listen.iter().enumerate());
    let listeners =
        listeners.filter_map(|(i, listener)| Some((format!("front.listen[{i}].tls"), listener.tls.as_deref()?)));
    let admin = admin.and_then(|admin| Some(("admin.tls".to_owned(), admin.tls.as_deref()?)));
    listeners.chain(admin).collect()
}

/// Names that no table has, and tables that nobody names.
pub(super) fn note_unknown(all: &[TlsSettings], named: &[(String, &str)], notes: &mut Notes) {
    for (path, name) in named {
        if all.iter().all(|tls| tls.name != *name) {
            let wrong = Wrong::from(format!("there is no [tls.{name}]"));
            let names = all.iter().map(|tls| tls.name.as_str());
            notes.error(path.clone(), wrong.did_you_mean(name, names));
        }
    }
    for tls in all {
        if named.iter().all(|(_, name)| *name != tls.name) {
            notes.warning(format!("tls.{}", tls.name), "no listener names it");
        }
    }
}
