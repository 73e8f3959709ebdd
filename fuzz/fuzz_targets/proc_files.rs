//! What the kernel writes into `/proc`, and what may stand there instead: no text breaks a reader, and none reads more than there is.
#![no_main]

use common::kernel::counters::Counters;
use common::kernel::sockets::proc_tcp;
use common::kernel::sockstat::{parse_sockstat, parse_softnet};
use common::kernel::tables;
use common::kernel::version::KernelVersion;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (paired, single) = (tables::paired(text), tables::single(text));
    for columns in [&paired, &single] {
        assert!(columns.len() <= text.len());
        let mut counters = Counters::default();
        assert!(counters.take(columns) <= columns.len());
        assert!(counters.since(&counters).is_ok(), "nothing went backwards");
    }
    assert_eq!(parse_sockstat(text), parse_sockstat(text));
    assert_eq!(parse_softnet(text), parse_softnet(text));
    let mut sockets = 0;
    proc_tcp::parse(text, |_| sockets += 1);
    assert!(sockets <= text.lines().count());
    if let Some(version) = KernelVersion::parse(text) {
        assert_eq!(KernelVersion::parse(&version.to_string()), Some(version));
    }
});
