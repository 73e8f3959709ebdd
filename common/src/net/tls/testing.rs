//! Certificates made on the spot, for tests.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm, date_time_ymd};

use super::settings::CertificateFiles;

/// A self-signed certificate.
pub(super) struct Made {
    pub(super) der: Vec<u8>,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Year, month, day.
pub(super) type Date = (i32, u8, u8);

impl Made {
    pub(super) fn ecdsa(names: &[&str], from: Date, to: Date) -> Self {
        Self::with(&PKCS_ECDSA_P256_SHA256, names, from, to)
    }

    pub(super) fn rsa(names: &[&str]) -> Self {
        Self::with(&rcgen::PKCS_RSA_SHA256, names, (2024, 1, 1), (2099, 1, 1))
    }

    fn with(kind: &'static SignatureAlgorithm, names: &[&str], from: Date, to: Date) -> Self {
        let key = KeyPair::generate_for(kind).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            der: certificate.der().to_vec(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Valid for decades.
    pub(super) fn valid(names: &[&str]) -> Self {
        Self::ecdsa(names, (2024, 1, 1), (2099, 1, 1))
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub(super) fn write(&self, folder: &Path, name: &str) -> CertificateFiles {
        let file = |ending: &str, text: &str| -> PathBuf {
            let file = folder.join(format!("{name}.{ending}"));
            std::fs::write(&file, text).unwrap();
            file
        };
        CertificateFiles {
            certificate: file("pem", &self.certificate),
            key: file("key", &self.key),
        }
    }
}
