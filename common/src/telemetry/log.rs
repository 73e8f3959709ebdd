//! tidegate's own log: tracing to stderr, as text or JSON.
//!
//! The binary calls [`init`] once, before anything else can log. `RUST_LOG` goes before the configured level. Times are
//! UTC; colours appear on a terminal only, and not with `NO_COLOR`.

use std::env::VarError;
use std::io::{self, IsTerminal as _};

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A level or filter that means nothing.
    #[error("{origin}: {filter:?} is no log filter: {reason}")]
    Filter {
        /// Where it was given: `log.level` or `RUST_LOG`.
        origin: &'static str,
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else of this process logs already.
    #[error("the log was set up before")]
    AlreadySet,
}

/// Starts the log: at `level` (a level, or directives such as `info,common=debug`), unless `RUST_LOG` says otherwise.
///
/// # Errors
/// A [`LogError`] when the level or `RUST_LOG` is not a filter, or when a log was set up before.
pub fn init(level: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = choose_filter(level, std::env::var(RUST_LOG))?;
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing::dispatcher::set_global_default(dispatch(filter, format, colours, io::stderr))
        .map_err(|_| LogError::AlreadySet)
}

/// Whether [`init`] would take this as the configured level.
///
/// # Errors
/// [`LogError::Filter`] with what is wrong.
pub fn check_level(level: &str) -> Result<(), LogError> {
    configured_filter(level).map(drop)
}

fn choose_filter(level: &str, rust_log: Result<String, VarError>) -> Result<EnvFilter, LogError> {
    let configured = configured_filter(level)?;
    match rust_log {
        Ok(filter) if !filter.trim().is_empty() => parse(RUST_LOG, &filter),
        Err(VarError::NotUnicode(filter)) => Err(LogError::Filter {
            origin: RUST_LOG,
            filter: filter.to_string_lossy().into_owned(),
            reason: "it is not UTF-8".to_owned(),
        }),
        Ok(_) | Err(VarError::NotPresent) => Ok(configured),
    }
}

/// The configured level is stricter than `RUST_LOG`: a bare word must be a level. tracing takes any other word for the
/// name of a module whose every event is logged, and so a mistyped level would log nothing else.
fn configured_filter(level: &str) -> Result<EnvFilter, LogError> {
    let error = |reason: String| LogError::Filter {
        origin: "log.level",
        filter: level.to_owned(),
        reason,
    };
    if level.trim().is_empty() {
        return Err(error(format!("write one of {LEVELS}")));
    }
    for directive in level.split(',').map(str::trim) {
        // An empty word would pass for the level "error".
        let is_level = !directive.is_empty() && directive.parse::<LevelFilter>().is_ok();
        if !is_level && !directive.contains(['=', '[']) {
            return Err(error(format!(
                "{directive:?} is not a level; write one of {LEVELS}, or `target=level`"
            )));
        }
    }
    parse("log.level", level)
}

fn parse(origin: &'static str, filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(filter).map_err(|error| LogError::Filter {
        origin,
        filter: filter.to_owned(),
        reason: error.to_string(),
    })
}

fn dispatch<W>(filter: EnvFilter, format: LogFormat, colours: bool, writer: W) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(writer);
    match format {
        LogFormat::Text => lines.compact().into(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).into(),
    }
}

const RUST_LOG: &str = "RUST_LOG";
const LEVELS: &str = "off, error, warn, info, debug, trace";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged by one event per level, under this filter.
    fn logged(level: &str, rust_log: &str, format: LogFormat, colours: bool) -> String {
        let captured = Captured::default();
        let filter = choose_filter(level, Ok(rust_log.to_owned())).unwrap();
        let writer = captured.clone();
        let dispatch = dispatch(filter, format, colours, move || writer.clone());
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::error!(conn.id = 7, "e\x1b[0m");
            tracing::info!("i");
            tracing::debug!("d");
        });
        String::from_utf8(captured.0.lock().clone()).unwrap()
    }

    #[test]
    fn rust_log_goes_before_the_configured_level() {
        for (level, rust_log, lines) in [
            ("error", "", 1),
            ("info", " ", 2),
            ("DEBUG", "", 3),
            ("off", "", 0),
            ("error", "debug", 3),
            ("debug", "error", 1),
            ("error,common=debug", "", 3),
            ("debug,common=error", "", 1),
            ("debug", "elsewhere", 0),
        ] {
            let text = logged(level, rust_log, LogFormat::Text, false);
            assert_eq!(text.lines().count(), lines, "{level} {rust_log:?}: {text}");
        }
    }

    #[test]
    fn a_line_is_text_or_json_with_a_utc_time_and_no_escape_code_of_a_peer() {
        let text = logged("error", "", LogFormat::Text, false);
        assert!(text.contains("Z ERROR ") && text.contains("conn.id=7"), "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(logged("error", "", LogFormat::Text, true).contains("\x1b["));
        let json = logged("error", "", LogFormat::Json, false);
        assert!(
            json.starts_with(r#"{"timestamp":""#) && json.trim_end().ends_with('}'),
            "{json}"
        );
        assert!(
            json.contains(r#""level":"ERROR""#) && json.contains(r#""conn.id":7"#),
            "{json}"
        );
        assert!(!json.contains('\x1b'), "{json:?}");
    }

    #[test]
    fn a_bad_filter_is_an_error_that_names_where_it_stands() {
        for (level, rust_log, expected) in [
            (
                "inof",
                "",
                r#"log.level: "inof" is no log filter: "inof" is not a level; write one of off, error"#,
            ),
            ("", "", "log.level: \"\" is no log filter: write one of off"),
            (
                "info,",
                "",
                "log.level: \"info,\" is no log filter: \"\" is not a level",
            ),
            (
                "info,common=loud",
                "",
                "log.level: \"info,common=loud\" is no log filter: ",
            ),
            ("info", "common=loud", "RUST_LOG: \"common=loud\" is no log filter: "),
        ] {
            let error = choose_filter(level, Ok(rust_log.to_owned())).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(check_level("warn,cache=trace").is_ok() && check_level("warm").is_err());
    }
}
