//! A configuration → who may come in: the lists read from their files, the tables of rates, and what each route asks for.
//!
//! Read at the start and by `tidegate check`; `boot` has the files looked at again.

use std::sync::Arc;

use common::net::address_list::{Access, AddressList, ListItem};
use common::serve::source::SourcePrefixes;
use common::time::mono_now;
use config::Config;

use crate::exchange::guard::rate::{Quota, RateTable};
use crate::exchange::guard::{Guard, Level};

/// All guards of a configuration.
#[derive(Debug)]
pub struct Guards {
    /// Who may connect, by listener of the front.
    pub listeners: Vec<Access>,
    /// Every list with files.
    pub lists: Vec<Arc<AddressList>>,
    prefixes: SourcePrefixes,
    sites: Vec<Site>,
}

/// What one site asks for itself, and what its routes ask for besides.
#[derive(Debug)]
struct Site {
    own: Option<Arc<Level>>,
    routes: Vec<Option<Arc<Level>>>,
}

impl Guards {
    /// Reads the lists.
    ///
    /// # Errors
    /// Everything that is wrong with their files.
    pub fn load(config: &Config) -> Result<Self, Vec<String>> {
        let mut reader = Reader::default();
        let listeners = config.front.iter().flat_map(|front| &front.listen).enumerate();
        let listeners = listeners
            .map(|(index, listen)| reader.access(&format!("front.listen[{index}]"), &listen.allow, &listen.deny))
            .collect();
        let sites = config.sites.iter().enumerate();
        let sites = sites
            .map(|(index, site)| {
                let path = format!("site[{index}]");
                let own = reader.level(&path, &site.guard);
                let of_route = |route: &config::Route| reader.level(&format!("{path}.route"), &route.guard);
                let routes = site.routes.iter().map(of_route).collect();
                Site { own, routes }
            })
            .collect();
        if !reader.wrong.is_empty() {
            return Err(reader.wrong);
        }
        Ok(Self {
            listeners,
            lists: reader.lists,
            prefixes: config.limits.sources.prefixes,
            sites,
        })
    }

    /// What requests of a route have to pass.
    pub fn guard(&self, site: usize, route: usize) -> Option<Box<Guard>> {
        let Site { own, routes } = self.sites.get(site)?;
        let of_route = routes.get(route).and_then(Option::as_ref);
        let levels: Vec<_> = of_route.into_iter().chain(own).cloned().collect();
        let prefixes = self.prefixes;
        (!levels.is_empty()).then(|| Box::new(Guard { levels, prefixes }))
    }
}

#[derive(Default)]
struct Reader {
    lists: Vec<Arc<AddressList>>,
    wrong: Vec<String>,
}

impl Reader {
    fn level(&mut self, path: &str, guard: &config::guard::Guard) -> Option<Arc<Level>> {
        if *guard == config::guard::Guard::default() {
            return None;
        }
        let rates = guard.limits.iter().map(|limit| {
            let quota = Quota::new(limit.rate.requests, limit.rate.per, limit.burst);
            (limit.key.clone(), RateTable::new(quota, limit.keys_max, mono_now()))
        });
        Some(Arc::new(Level {
            access: self.access(path, &guard.allow, &guard.deny),
            rates: rates.collect(),
            body_bytes_max: guard.body_bytes_max,
        }))
    }

    fn access(&mut self, path: &str, allow: &Option<Vec<ListItem>>, deny: &Option<Vec<ListItem>>) -> Access {
        Access {
            allow: self.list(&format!("{path}.allow"), allow.as_deref()),
            deny: self.list(&format!("{path}.deny"), deny.as_deref()),
        }
    }

    fn list(&mut self, path: &str, items: Option<&[ListItem]>) -> Option<Arc<AddressList>> {
        match AddressList::load(items?.to_vec()) {
            Ok(list) => {
                if list.has_files() {
                    self.lists.push(Arc::clone(&list));
                }
                Some(list)
            }
            Err(error) => {
                self.wrong.push(format!("{path}: {error}"));
                None
            }
        }
    }
}
