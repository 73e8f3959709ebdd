//! What subcommands share that ask a running process's admin listener.

use std::path::PathBuf;
use std::time::Duration;

use crate::ask::{self, AdminAddress, Answer, AskError, Question};
use crate::exit::{Code, Failure};

/// Where the process is.
#[derive(Debug, clap::Args)]
pub struct Whom {
    /// The process's admin listener: an address, or unix:PATH.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9900")]
    admin: String,
    #[command(flatten)]
    token: Token,
}

/// What is shown to an admin listener that other machines reach.
#[derive(Debug, clap::Args)]
pub struct Token {
    /// The file with the admin listener's token; without it, the environment's `TIDEGATE_ADMIN_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Token {
    /// The token, where there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.token_file else {
            return Ok(std::env::var(VARIABLE).ok().filter(|token| !token.is_empty()));
        };
        let unreadable = |error| Failure::new(Code::Io, format_args!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// How long the process may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer: more than the largest report.
const ANSWER_MAX: usize = 4 << 20;
const VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";

/// Asks once.
///
/// # Errors
/// There is no answer.
pub fn once(admin: &str, token: Option<&str>, method: &str, target: &str) -> Result<Answer, AskError> {
    let question = Question {
        method,
        target,
        token,
        timeout: PATIENCE,
        bytes_max: ANSWER_MAX,
    };
    ask::ask(&AdminAddress::parse(admin), &question)
}

/// Asks and prints the answer.
///
/// # Errors
/// When there is no answer, or one that says no.
pub fn ask(whom: &Whom, method: &str, target: &str) -> Result<(), Failure> {
    let token = whom.token.read()?;
    let answer = once(&whom.admin, token.as_deref(), method, target)
        .map_err(|error| Failure::new(Code::Unavailable, format_args!("{}: {error}", whom.admin)))?;
    if answer.status == 200 {
        super::say(&answer.text());
        Ok(())
    } else {
        Err(Failure::new(Code::Found, answer.text().trim_end()))
    }
}
