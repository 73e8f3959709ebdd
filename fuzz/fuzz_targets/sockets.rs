//! Answers of `sock_diag`: garbage is skipped, and no more sockets come out than fit in.
#![no_main]

use common::kernel::sockets::message;
use common::kernel::sockets::tcp_info::TcpInfo;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for sequence in [0, 1] {
        let mut seen = 0;
        message::parse(data, sequence, |_| seen += 1);
        assert!(seen <= data.len() / 72, "{seen} sockets in {} bytes", data.len());
    }
    assert_eq!(TcpInfo::parse(data).is_some(), data.len() >= 104);
});
