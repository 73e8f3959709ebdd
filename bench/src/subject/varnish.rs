//! Varnish with malloc storage, one thread pool, a VCL that only tells pass from cache.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

use super::{Launch, Ready, Setup};

pub(super) fn launch(setup: &Setup<'_>, port: u16) -> Launch {
    let text = format!(
        r#"vcl 4.1;
backend o {{
    .host = "{host}";
    .port = "{origin_port}";
}}
sub vcl_recv {{
    if (req.url ~ "^/pass/") {{
        return (pass);
    }}
}}
"#,
        host = setup.origin.ip(),
        origin_port = setup.origin.port(),
    );
    let file = setup.dir.join("bench.vcl");
    let listen = format!("127.0.0.1:{port}");
    let name = setup.dir.join("varnish");
    let mut arguments: Vec<OsString> = ["-F", "-j", "none", "-T", "none"].map(Into::into).to_vec();
    arguments.extend([
        "-s".into(),
        format!("malloc,{}M", setup.store_mib).into(),
        "-a".into(),
        listen.into(),
        "-f".into(),
        file.clone().into(),
        "-n".into(),
        name.into(),
    ]);
    let pools = format!("thread_pools={}", setup.workers);
    for parameter in [&pools, "thread_pool_min=100", "timeout_idle=300", "listen_depth=4096"] {
        arguments.extend(["-p".into(), parameter.into()]);
    }
    Launch {
        arguments,
        files: vec![(file, text)],
        environment: &[],
        ready: Ready::Accepts(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
    }
}
