//! Least privilege: which files the configuration needs from here on, and giving up everything else.
//!
//! Files are replaced by renaming others over them, so what is read again is allowed by directory: the file's, and that of
//! what a link stands for.

use std::path::{Path, PathBuf};

use common::backend::settings::{BackendSettings, ServerAddress};
use common::kernel::root::ProcRoot;
use common::net::address_list::ListItem;
use common::net::settings::ListenAddress;
use common::net::tls::settings::CertificateFiles;
use common::process::confine::{self, FileAccess, Layer, State, core_dump};
use common::telemetry::access_log::AccessLogTarget;
use config::{CacheTier, Config};
use tracing::{info, warn};

use crate::exit::{Code, Failure};

/// Confines this thread and those that it will start.
///
/// # Errors
/// A layer that is to be enforced is not to be had.
pub fn confine(config: &Config) -> Result<Vec<Layer>, Failure> {
    let root = ProcRoot::new(&config.process.proc_root);
    let core_dumps = core_dump::directory(&root);
    if core_dumps.is_some() {
        core_dump::allow();
    }
    let mut access = access(config);
    access.write.extend(core_dumps);
    let layers = confine::confine(&config.process.confine, &access);
    let layers = layers.map_err(|error| Failure::new(Code::Permission, error))?;
    for Layer { name, state } in &layers {
        match state {
            State::Unavailable(why) => warn!(layer = name, "not confined: {why}"),
            _ => info!(layer = name, %state, "confined"),
        }
    }
    Ok(layers.into())
}

/// What is read, written and removed while serving.
fn access(config: &Config) -> FileAccess {
    let mut access = FileAccess::default();
    for path in system(config) {
        access.read.push(path);
    }
    for file in read_again(config) {
        access.read.extend(places(&file));
    }
    if let Some(AccessLogTarget::File(path)) = config.log.access.as_ref().map(|log| &log.to) {
        // Made anew after a rotation; what is no regular file is not.
        let is_special = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
        access
            .write
            .extend(if is_special { vec![path.clone()] } else { places(path) });
    }
    let front = config.front.iter().flat_map(|front| &front.listen);
    let sockets = front.map(|listen| &listen.socket).chain(&config.cache.listen);
    for socket in sockets.chain(config.admin.iter().map(|admin| &admin.listen)) {
        if let ListenAddress::Unix { path, .. } = &socket.address {
            access.remove.extend(path.parent().map(Path::to_owned));
        }
    }
    access
}

/// What belongs to the system.
fn system(config: &Config) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/dev/null")];
    // Our own symbols, for the log line of a mistake.
    paths.extend(std::env::current_exe());
    let root = &config.process.proc_root;
    if root == Path::new("/") {
        paths.extend(["/proc", "/sys"].map(PathBuf::from));
    } else {
        paths.extend([root.clone(), "/proc".into()]);
    }
    let servers = backends(config).flat_map(|backend| backend.servers.iter().map(|server| &server.address));
    let health = config
        .cache
        .servers_health
        .iter()
        .flat_map(|health| &health.admin)
        .map(|server| &server.address);
    let mut addresses = servers.chain(health);
    if addresses.any(|address| !matches!(address, ServerAddress::Socket(_) | ServerAddress::Unix(_))) {
        // Names are looked up again, by these as they are then.
        for file in ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"] {
            paths.extend(places(Path::new(file)));
        }
    }
    paths
}

/// Files that are read again when they change.
fn read_again(config: &Config) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut certificate = |CertificateFiles { certificate, key }: &CertificateFiles| {
        files.extend([certificate.clone(), key.clone()]);
    };
    let certificates = config.tls.iter().flat_map(|tls| &tls.certificates);
    certificates.clone().for_each(|shown| certificate(&shown.files));
    let asking = || {
        config
            .cache
            .servers_health
            .iter()
            .filter_map(|health| health.tls.as_ref())
    };
    let connectors = || {
        backends(config)
            .filter_map(|backend| backend.tls.as_ref())
            .chain(asking())
    };
    connectors()
        .filter_map(|tls| tls.certificate.as_ref())
        .for_each(certificate);
    files.extend(config.tls.iter().flat_map(|tls| tls.ticket_keys.clone()));
    files.extend(certificates.filter_map(|shown| shown.ocsp.clone()));
    files.extend(connectors().filter_map(|tls| tls.roots.clone()));
    let front = config.front.iter().flat_map(|front| &front.listen);
    for listener in front {
        files.extend(listener.clients.iter().map(|clients| clients.authorities.clone()));
        files.extend(lists(&listener.allow).chain(lists(&listener.deny)));
    }
    for site in &config.sites {
        let guards = std::iter::once(&site.guard).chain(site.routes.iter().map(|route| &route.guard));
        for guard in guards {
            files.extend(lists(&guard.allow).chain(lists(&guard.deny)));
        }
        let traffic = std::iter::once(&site.traffic).chain(site.routes.iter().map(|route| &route.traffic));
        files.extend(traffic.filter_map(|traffic| traffic.auth.as_ref()?.file.clone()));
    }
    files.extend(config.admin.iter().filter_map(|admin| admin.token_file.clone()));
    files.extend(config.admin.iter().filter_map(|admin| admin.client_ca.clone()));
    let health = config.cache.servers_health.as_ref();
    files.extend(health.and_then(|health| health.token_file.clone()));
    files
}

fn backends(config: &Config) -> impl Iterator<Item = &BackendSettings> {
    let servers = match &config.cache.tier {
        CacheTier::Servers { backend, .. } => Some(backend),
        CacheTier::None | CacheTier::Memory { .. } => None,
    };
    config.origins.iter().chain(servers)
}

fn lists(items: &Option<Vec<ListItem>>) -> impl Iterator<Item = PathBuf> {
    items.iter().flatten().filter_map(|item| match item {
        ListItem::File(path) => Some(path.clone()),
        ListItem::Block(_) => None,
    })
}

/// The directories by which a file can be reached, now and after it was replaced; a file of the root directory is only
/// itself.
fn places(file: &Path) -> Vec<PathBuf> {
    let behind = std::fs::canonicalize(file).ok();
    let files = std::iter::once(file).chain(behind.as_deref());
    let place = |file: &Path| match file.parent() {
        Some(parent) if parent != Path::new("/") && !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => file.to_owned(),
    };
    files.map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_allowed_by_its_directory_and_by_that_of_what_it_links_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        for name in ["live", "archive"] {
            std::fs::create_dir(path.join(name)).unwrap();
        }
        std::fs::write(path.join("archive/a1.pem"), "").unwrap();
        std::os::unix::fs::symlink(path.join("archive/a1.pem"), path.join("live/a.pem")).unwrap();
        assert_eq!(
            places(&path.join("live/a.pem")),
            [path.join("live"), path.join("archive")]
        );
        assert_eq!(places(Path::new("/a.pem")), [Path::new("/a.pem")]);
        let missing = path.join("live/none.pem");
        assert_eq!(places(&missing), [path.join("live")]);
    }

    #[test]
    fn every_file_of_a_configuration_that_is_read_again_is_known() {
        let text = r#"
            [front]
            listen = [{ address = "127.0.0.1:0", tls = "t", client_ca = "/a/1.pem", deny = ["file:/a/2.list"] }]
            [tls.t]
            certificates = [{ certificate = "/a/3.pem", key = "/a/4.key", ocsp = "/a/5.ocsp" }]
            ticket_keys = ["/a/14.key"]
            [admin]
            listen = "127.0.0.1:0"
            token_file = "/a/6.token"
            [origin.o]
            servers = ["https://localhost:1"]
            [origin.o.tls]
            roots = "/a/7.pem"
            certificate = { certificate = "/a/8.pem", key = "/a/9.key" }
            [[site]]
            hosts = ["a.example"]
            origin = "o"
            auth = { file = "/a/10.users" }
            allow = ["file:/a/11.list"]
            [[site.route]]
            prefix = "/b"
            auth = { file = "/a/12.users" }
            deny = ["file:/a/13.list", "10.0.0.0/8"]
        "#;
        let config = config::parse(text, "t").unwrap().config;
        let mut found: Vec<u32> = read_again(&config)
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, (1..=14).collect::<Vec<_>>());
        assert!(
            system(&config).contains(&PathBuf::from("/etc")),
            "names are looked up again"
        );
    }
}
