//! What decides to which server of a backend a request goes, where that is decided by a hash: the cache key, the client,
//! or what a field or a cookie says.

use std::net::IpAddr;

use common::backend::Backend;
use common::backend::settings::HashBy;
use common::http::forwarded;
use common::http::head::Head;
use common::http::hop_by_hop::Upgrade;
use common::http::outgoing::Hop;
use common::worker::Worker;

use crate::fetch;
use crate::policy::key::{KeyHasher, cookie};
use crate::policy::rules::KeyRules;

/// The hash for a request as it came in. It is the same in all processes, so that all of them pick the same server.
///
/// A request that has no such client, field or cookie goes to any server.
pub(crate) fn hash(backend: &Backend, head: &Head, hop: &Hop<'_>, rules: &KeyRules, worker: &Worker) -> u64 {
    let found = match backend.hash_by() {
        None => return 0, // nobody looks at it
        // Nobody owns a tunnel.
        Some(HashBy::Key) if hop.upgrade == Upgrade::Keep => None,
        Some(HashBy::Key) => {
            return fetch::key(head, hop.tls, rules).hash(&KeyHasher::fixed()).0;
        }
        Some(HashBy::Client) => {
            let client = forwarded::client_address(hop.forwarded, hop.peer(), &head.headers);
            client.map(of_address)
        }
        Some(HashBy::Field(name)) => head
            .headers
            .get(name)
            .map(|value| common::backend::stable_hash(value.as_bytes())),
        Some(HashBy::Cookie(name)) => cookie(&head.headers, name).map(common::backend::stable_hash),
    };
    found.unwrap_or_else(|| worker.next_id())
}

fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => common::backend::stable_hash(&address.octets()),
        IpAddr::V6(address) => common::backend::stable_hash(&address.octets()),
    }
}
