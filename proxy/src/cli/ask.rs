//! What subcommands share that ask a running process's admin listener.

use std::path::PathBuf;
use std::time::Duration;

use common::net::tls::connector::TlsConnector;
use common::net::tls::settings::{CertificateFiles, ConnectorSettings, TlsVersion};
use common::time::Clock;

use crate::ask::{self, AdminAddress, Answer, AskError, Question};
use crate::exit::{Code, Failure};

/// Where the process is.
#[derive(Debug, clap::Args)]
pub struct Whom {
    /// The process's admin listener: an address, `https://` and an address, or unix:PATH.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9900")]
    admin: String,
    #[command(flatten)]
    access: Access,
}

/// What is shown to an admin listener that other machines reach, and how it has to prove who it is.
#[derive(Debug, clap::Args)]
pub struct Access {
    /// The file with the admin listener's token; without it, the environment's `TIDEGATE_ADMIN_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the authorities that the certificate of an `https://` admin listener may come from [default: the system's].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of our certificate, for an `https://` admin listener that wants one.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name that the certificate of an `https://` admin listener has to be for [default: the address's].
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

impl Access {
    /// What it takes to ask the admin listener at `admin`, again and again.
    ///
    /// # Errors
    /// A file cannot be used, or TLS is spoken of where none is spoken.
    pub fn to(&self, admin: &str) -> Result<Asker, Failure> {
        let address = AdminAddress::parse(admin);
        let connector = match address {
            AdminAddress::Tls(_) => Some(self.connector()?),
            AdminAddress::Tcp(_) | AdminAddress::Unix(_) => {
                self.expect_nothing_of_tls(admin)?;
                None
            }
        };
        Ok(Asker {
            token: self.token()?,
            connector,
            address,
        })
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.token_file else {
            return Ok(std::env::var(VARIABLE).ok().filter(|token| !token.is_empty()));
        };
        let unreadable = |error| Failure::new(Code::Io, format_args!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        Ok(Some(text.trim().to_owned()))
    }

    fn connector(&self) -> Result<TlsConnector, Failure> {
        let files = self.cert.clone().zip(self.key.clone());
        let settings = ConnectorSettings {
            server_name: self.server_name.clone(),
            verify: true,
            roots: self.ca.clone(),
            certificate: files.map(|(certificate, key)| CertificateFiles { certificate, key }),
            min_version: TlsVersion::Tls12,
        };
        TlsConnector::load("admin", settings, &[], Clock::System.wall()).map_err(|error| Failure::new(Code::Io, error))
    }

    fn expect_nothing_of_tls(&self, admin: &str) -> Result<(), Failure> {
        let is_set = self.ca.is_some() || self.cert.is_some() || self.server_name.is_some();
        if is_set {
            let wrong = format_args!(
                "{admin}: --ca, --cert and --server-name are for admin listeners that begin with https://"
            );
            return Err(Failure::new(Code::CannotTell, wrong));
        }
        Ok(())
    }
}

/// An admin listener, and what it takes to ask it.
pub struct Asker {
    address: AdminAddress,
    token: Option<String>,
    connector: Option<TlsConnector>,
}

impl Asker {
    /// Asks once.
    ///
    /// # Errors
    /// There is no answer.
    pub fn once(&self, method: &str, target: &str) -> Result<Answer, AskError> {
        let question = Question {
            method,
            target,
            token: self.token.as_deref(),
            tls: self.connector.as_ref(),
            timeout: PATIENCE,
            bytes_max: ANSWER_MAX,
        };
        ask::ask(&self.address, &question)
    }
}

/// How long the process may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer: more than the largest report.
const ANSWER_MAX: usize = 4 << 20;
const VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";

/// Asks and prints the answer.
///
/// # Errors
/// When there is no answer, or one that says no.
pub fn ask(whom: &Whom, method: &str, target: &str) -> Result<(), Failure> {
    let answer = whom
        .access
        .to(&whom.admin)?
        .once(method, target)
        .map_err(|error| Failure::new(Code::Unavailable, format_args!("{}: {error}", whom.admin)))?;
    if answer.status == 200 {
        super::say(&answer.text());
        Ok(())
    } else {
        Err(Failure::new(Code::Found, answer.text().trim_end()))
    }
}
