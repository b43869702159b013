//! Options of all programs, and where they come from: the command line, else the environment, else a file, else a
//! default.
//!
//! The one hard thing is that a file must not be another, lesser way of saying the same: every option can stand in it,
//! with the same words and the same checks. So a file's values become the defaults of the very options that the
//! command line is read with, and a key that is no option is an error.

use crate::logs;
use crate::values::{self, Cores};
use clap::{Args, Command, CommandFactory, FromArgMatches};
use reactor::Fatal;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What every program can be told.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Where to listen; an address that others can reach needs --auth-file or --insecure-open
    #[arg(long, env = "RINGWISE_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDR")]
    pub listen: IpAddr,
    /// Let everybody who can reach --listen read and change everything
    #[arg(long, env = "RINGWISE_INSECURE_OPEN")]
    pub insecure_open: bool,
    /// Kernel numbers of the cores to run on, such as 0,2-5; every core allowed, when none is given
    #[arg(long, env = "RINGWISE_CORES", value_parser = values::cores)]
    pub cores: Option<Cores>,
    /// Where what outlives the process is kept
    #[arg(long, env = "RINGWISE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A file in which every option can stand, without its dashes: port = 6379
    #[arg(long, env = "RINGWISE_CONFIG", value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// What is worth a line on standard error
    #[arg(long, env = "RINGWISE_LOG_LEVEL", default_value = "info")]
    pub log_level: logs::Level,
    /// How such a line looks
    #[arg(long, env = "RINGWISE_LOG_FORMAT", default_value = "text")]
    pub log_format: logs::Format,
    /// How long what is in flight may take to finish after SIGTERM
    #[arg(long, env = "RINGWISE_DRAIN_TIMEOUT", default_value = "10s", value_parser = values::span)]
    pub drain_timeout: Duration,
    /// How long a core that has nothing to do looks for more before it sleeps, in microseconds
    #[arg(long, env = "RINGWISE_SPIN_US", default_value_t = 0)]
    pub spin_us: u64,
}

impl Common {
    /// The cores to run on; empty for all that are allowed.
    #[must_use]
    pub fn cores(&self) -> Vec<usize> {
        self.cores.clone().unwrap_or_default().0
    }

    /// Refuses an address that strangers can reach where nobody said that they may, and nobody guards what is there.
    pub fn refuse_strangers(&self, is_guarded: bool) -> Result<(), Fatal> {
        if self.listen.is_loopback() || self.insecure_open || is_guarded {
            return Ok(());
        }
        Err(Fatal::misuse(format!(
            "--listen {} would let everybody who can reach it read and change everything; \
             say who may with --auth-file, or if everybody may, add --insecure-open",
            self.listen
        )))
    }
}

/// The tokens of an --auth-file, one a line; at least one.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn tokens(path: &Path) -> Result<Vec<Box<str>>, Fatal> {
    let wrong = |why: String| Fatal::misuse(format!("--auth-file {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let tokens: Vec<Box<str>> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Into::into).collect();
    if tokens.is_empty() { Err(wrong("there is no token in it".to_owned())) } else { Ok(tokens) }
}

/// Reads the command line, with the file that `--config` (or its variable) names behind it. What clap itself has to
/// say (help, version, what is wrong, with exit status 2) it says, and ends the process.
pub fn parse<T: CommandFactory + FromArgMatches>() -> Result<T, Fatal> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    match read::<T>(&typed)? {
        Ok(meant) => Ok(meant),
        Err(error) => error.exit(),
    }
}

/// Reads the same command line once more, with the file as it is now.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn again<T: CommandFactory + FromArgMatches>() -> Result<T, Fatal> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    read::<T>(&typed)?.map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Fatal::misuse(first.trim_start_matches("error: ").to_owned())
    })
}

fn read<T: CommandFactory + FromArgMatches>(typed: &[OsString]) -> Result<Result<T, clap::Error>, Fatal> {
    let mut command = T::command();
    if let Some((name, file)) = config_file::<T>(typed) {
        command = with_file(command, &name, &file)?;
    }
    let read = command.clone().try_get_matches_from(typed);
    Ok(read.and_then(|matches| T::from_arg_matches(&matches)).map_err(|error| error.format(&mut command)))
}

/// The subcommand that is called and the file that is named; that something else is wrong is said later.
fn config_file<T: CommandFactory>(typed: &[OsString]) -> Option<(String, PathBuf)> {
    let matches = T::command().ignore_errors(true).try_get_matches_from(typed).ok()?;
    let (name, matches) = matches.subcommand()?;
    let file = matches.try_get_one::<PathBuf>("config").ok().flatten()?;
    Some((name.to_owned(), file.clone()))
}

/// The same command with a file's values as the defaults of that subcommand.
fn with_file(mut command: Command, name: &str, file: &Path) -> Result<Command, Fatal> {
    let wrong = |why: String| Fatal::misuse(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    for (key, value) in &table {
        let sub = command.find_subcommand(name).expect("it was just called");
        let known = sub.get_arguments().find(|arg| arg.get_long() == Some(key) && key != "config");
        let unknown = || wrong(format!("there is no option {key:?}"));
        let id = known.ok_or_else(unknown)?.get_id().clone();
        let text = plain(value).ok_or_else(|| wrong(format!("{key} must be a plain value or a list")))?;
        // Read once, at start: leaking it is what gives clap the lifetime it wants.
        let text: &'static str = text.leak();
        command = command.mut_subcommand(name, |sub| sub.mut_arg(id, |arg| arg.default_value(text)));
    }
    Ok(command)
}

/// A value as it would be typed.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(values) => {
            values.iter().map(plain).collect::<Option<Vec<_>>>().map(|all| all.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Parser, Subcommand};

    #[derive(Parser)]
    struct Typed {
        #[command(subcommand)]
        what: What,
    }

    #[derive(Subcommand)]
    enum What {
        Serve {
            #[command(flatten)]
            common: Common,
            #[arg(long, default_value_t = 1)]
            port: u16,
        },
        Work {
            #[command(flatten)]
            common: Common,
        },
        Doctor,
    }

    fn meant(words: &str) -> Result<String, String> {
        let typed: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        match read::<Typed>(&typed) {
            Ok(Ok(Typed { what: What::Serve { common, port } })) => {
                Ok(format!("{port} {} {:?} {:?}", common.listen, common.cores(), common.drain_timeout))
            }
            Ok(Ok(Typed { what: What::Work { common } })) => Ok(format!("work at {}", common.listen)),
            Ok(Ok(Typed { what: What::Doctor })) => Ok("doctor".into()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(fatal) => Err(fatal.sentence),
        }
    }

    fn file(name: &str, text: &str) -> String {
        let path = std::env::temp_dir().join(format!("ringwise-options-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_that_over_the_default() {
        let path =
            file("good", "port = 7\ncores = [0, \"2-3\"]\ndrain-timeout = \"3s\"\ninsecure-open = true\n");
        assert_eq!(meant("x serve"), Ok("1 127.0.0.1 [] 10s".into()));
        assert_eq!(meant(&format!("x serve --config {path}")), Ok("7 127.0.0.1 [0, 2, 3] 3s".into()));
        assert_eq!(
            meant(&format!("x serve --port 9 --config {path}")),
            Ok("9 127.0.0.1 [0, 2, 3] 3s".into())
        );
        assert_eq!(meant("x doctor"), Ok("doctor".into()));
    }

    #[test]
    fn a_file_with_what_is_no_option_or_no_value_is_refused_with_its_name() {
        let check = |text: &str, words: &str| {
            let path = file("bad", text);
            let said = meant(&format!("x serve --config {path}")).unwrap_err();
            assert!(said.contains(words), "{text:?} said {said:?}");
        };
        check("prot = 7\n", "there is no option \"prot\"");
        check("port = { a = 1 }\n", "port must be a plain value");
        check("port = \"seven\"\n", "invalid value 'seven'");
        check("port = \n", "TOML parse error");
        // A file is for the subcommand that is called, and may name what another has not.
        let path = file("other", "port = 7\n");
        assert!(meant(&format!("x work --config {path}")).unwrap_err().contains("there is no option"));
        let path = file("both", "listen = \"::1\"\n");
        assert_eq!(meant(&format!("x work --config {path}")), Ok("work at ::1".into()));
        assert!(meant("x serve --config /nowhere/at.toml").unwrap_err().contains("/nowhere/at.toml"));
    }

    #[test]
    fn an_address_for_strangers_must_be_asked_for() {
        let common = |words: &str| {
            let typed: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            match read::<Typed>(&typed) {
                Ok(Ok(Typed { what: What::Serve { common, .. } })) => common,
                _ => panic!("{words} is right"),
            }
        };
        assert!(common("x serve").refuse_strangers(false).is_ok());
        assert!(common("x serve --listen ::1").refuse_strangers(false).is_ok());
        assert_eq!(common("x serve --listen 0.0.0.0").refuse_strangers(false).unwrap_err().status, 2);
        assert!(common("x serve --listen 0.0.0.0 --insecure-open").refuse_strangers(false).is_ok());
        assert!(common("x serve --listen 0.0.0.0").refuse_strangers(true).is_ok());
    }
}
