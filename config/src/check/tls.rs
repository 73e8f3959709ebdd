//! Certificates: their names, and the listeners that name them.

use common::net::tls::settings::TlsSettings;

use crate::codec::is_name;
use crate::model::FrontListener;
use crate::problem::{Notes, Wrong};

/// The certificates, named, in the order of the file.
pub(super) fn named(drafts: Vec<(String, TlsSettings)>, notes: &mut Notes) -> Vec<TlsSettings> {
    for (name, _) in drafts.iter().filter(|(name, _)| !is_name(name)) {
        let message = "its name has 1 to 64 letters, digits, \"-\" and \"_\"; it stands in logs and metrics";
        notes.error(format!("tls.{name}"), message);
    }
    let named = drafts.into_iter().map(|(name, tls)| TlsSettings { name, ..tls });
    named.collect()
}

/// Names that no table has, and tables that nobody names.
pub(super) fn note_unknown(all: &[TlsSettings], listeners: &[FrontListener], notes: &mut Notes) {
    for (i, listener) in listeners.iter().enumerate() {
        let Some(name) = &listener.tls else { continue };
        if all.iter().all(|tls| tls.name != *name) {
            let wrong = Wrong::from(format!("there is no [tls.{name}]"));
            let names = all.iter().map(|tls| tls.name.as_str());
            notes.error(format!("front.listen[{i}].tls"), wrong.did_you_mean(name, names));
        }
    }
    for tls in all {
        let is_named = listeners
            .iter()
            .any(|listener| listener.tls.as_ref() == Some(&tls.name));
        if !is_named {
            notes.warning(format!("tls.{}", tls.name), "no listener of [front] names it");
        }
    }
}
