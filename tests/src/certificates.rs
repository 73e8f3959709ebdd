//! Certificates made on the spot; none is in the repository.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd};

/// A self-signed certificate and its key.
#[derive(Clone)]
pub struct Made {
    /// The certificate as a handshake carries it.
    pub der: Vec<u8>,
    certificate: String,
    key: String,
}

/// Where they were written.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

impl Made {
    /// With an ECDSA key, valid for decades.
    pub fn ecdsa(names: &[&str]) -> Self {
        Self::with(names, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), 2099)
    }

    /// With an RSA key, valid for decades.
    pub fn rsa(names: &[&str]) -> Self {
        Self::with(names, &KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(), 2099)
    }

    /// Of a subject with this common name, and for no DNS name.
    pub fn called(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        Self::of(params, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), 2099)
    }

    /// Valid for this many days more.
    #[expect(clippy::disallowed_methods, reason = "tidegate goes by the same clock")]
    pub fn expiring(names: &[&str], days: u64) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = (SystemTime::now() + Duration::from_secs(days * 86_400)).into();
        Self::signed(&params, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }

    /// No longer valid.
    pub fn expired(names: &[&str]) -> Self {
        Self::with(names, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), 2021)
    }

    fn with(names: &[&str], key: &KeyPair, until: i32) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Self::of(CertificateParams::new(names).unwrap(), key, until)
    }

    fn of(mut params: CertificateParams, key: &KeyPair, until: i32) -> Self {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        Self::signed(&params, key)
    }

    fn signed(params: &CertificateParams, key: &KeyPair) -> Self {
        let certificate = params.self_signed(key).unwrap();
        Self {
            der: certificate.der().to_vec(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The key, in PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) -> Files {
        let files = Files {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, &self.certificate).unwrap();
        std::fs::write(&files.key, &self.key).unwrap();
        files
    }
}

impl Files {
    /// As a configuration names them.
    pub fn entry(&self) -> String {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        format!("{{ certificate = '{certificate}', key = '{key}' }}")
    }
}
