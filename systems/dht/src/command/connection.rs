//! The commands about the connection itself.

use super::{Command, Here, Sub, Words, subcommand};
use super::{Fixed, help};
use crate::clients::Filter;
use crate::gather::Fold;
use crate::login::WORD_MAX;
use crate::peer::Question;
use crate::refusal::Refusal;
use wire::resp::{Version, integer};

type Parsed<'r> = Result<Command<'r>, Refusal>;

/// HELLO: what the client speaks and who it is. What is not said stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello<'r> {
    /// The version from now on.
    pub version: Option<Version>,
    /// Who it says it is.
    pub credentials: Option<Credentials<'r>>,
    /// What it calls itself.
    pub name: Option<&'r [u8]>,
    /// A word that is no option. It is told after who it is was looked at, as in Redis.
    pub unknown: Option<&'r [u8]>,
}

/// A user and a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'r> {
    /// The user; none is the default one, asked for in the old way of a secret alone.
    pub user: Option<&'r [u8]>,
    /// The secret.
    pub secret: &'r [u8],
}

impl core::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("credentials")
    }
}

/// Whether a client hears answers (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mute {
    /// It hears them.
    #[default]
    Off,
    /// It does not.
    On,
    /// It does, but for the one to its next request.
    SkipNext,
    /// It does, but for the one to this request.
    Skip,
}

/// CLIENT, as far as it concerns this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientWord<'r> {
    /// Its number.
    Id,
    /// Its line of CLIENT LIST.
    Info,
    /// Its name.
    Name,
    /// A new name.
    Rename(&'r [u8]),
    /// The name of its library.
    Library(&'r [u8]),
    /// The version of its library.
    LibraryVersion(&'r [u8]),
}

pub(super) fn ping(words: Words<'_>) -> Parsed<'_> {
    if words.len() > 2 {
        return Err(Refusal::Arity("ping".into()));
    }
    Ok(Command::Here(Here::Ping(words.get(1))))
}

pub(super) fn echo(words: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Echo(words.at(1))))
}

pub(super) fn quit(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Quit))
}

pub(super) fn reset(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Reset))
}

pub(super) fn select(words: Words<'_>) -> Parsed<'_> {
    match words.integer(1)? {
        0 => Ok(Command::Here(Here::Nothing)),
        index if i32::try_from(index).is_err() => {
            let says = "ERR value is out of range, value must between -2147483648 and 2147483647";
            Err(Refusal::Says(says.into()))
        }
        _ => Err(Refusal::Says("ERR DB index is out of range".into())),
    }
}

pub(super) fn auth(words: Words<'_>) -> Parsed<'_> {
    let credentials = match words.len() {
        2 => Credentials { user: None, secret: words.at(1) },
        3 => Credentials { user: Some(words.at(1)), secret: words.at(2) },
        _ => return Err(Refusal::Syntax),
    };
    Ok(Command::Here(Here::Auth(credentials)))
}

pub(super) fn hello(words: Words<'_>) -> Parsed<'_> {
    let mut hello = Hello::default();
    if let Some(version) = words.get(1) {
        hello.version = Some(match integer(version) {
            Some(2) => Version::Two,
            Some(3) => Version::Three,
            Some(_) => return Err(Refusal::Says("NOPROTO unsupported protocol version".into())),
            None => {
                let says = "ERR Protocol version is not an integer or out of range";
                return Err(Refusal::Says(says.into()));
            }
        });
    }
    let mut index = 2;
    while index < words.len() {
        let left = words.len() - index - 1;
        if words.is(index, "AUTH") && left >= 2 {
            let (user, secret) = (Some(words.at(index + 1)), words.at(index + 2));
            hello.credentials = Some(Credentials { user, secret });
            index += 3;
        } else if words.is(index, "SETNAME") && left >= 1 {
            hello.name = Some(plain(words.at(index + 1), "Client names")?);
            index += 2;
        } else {
            hello.unknown = Some(&words.at(index)[..words.at(index).len().min(super::SHOWN_MAX)]);
            break;
        }
    }
    Ok(Command::Here(Here::Hello(hello)))
}

/// Bytes of a client's name or of its library's. Redis has no bound here; this one keeps a connection small.
const NAME_MAX: usize = 1024;

/// A name that can stand in a line of CLIENT LIST: printable, without spaces.
fn plain<'r>(name: &'r [u8], what: &str) -> Result<&'r [u8], Refusal> {
    if name.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
        let says = format!("ERR {what} cannot contain spaces, newlines or special characters.");
        return Err(Refusal::Says(says.into()));
    }
    if name.len() > NAME_MAX {
        return Err(Refusal::Says(format!("ERR {what} cannot be longer than {NAME_MAX} bytes.").into()));
    }
    Ok(name)
}

pub(super) fn client(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[
        Sub { name: "id", arity: 1, parse: |_| here(ClientWord::Id) },
        Sub { name: "info", arity: 1, parse: |_| here(ClientWord::Info) },
        Sub { name: "getname", arity: 1, parse: |_| here(ClientWord::Name) },
        Sub { name: "setname", arity: 2, parse: set_name },
        Sub { name: "setinfo", arity: 3, parse: set_info },
        Sub { name: "list", arity: -1, parse: list },
        Sub { name: "no-evict", arity: 2, parse: on_or_off },
        Sub { name: "no-touch", arity: 2, parse: on_or_off },
        Sub { name: "kill", arity: -2, parse: kill },
        Sub { name: "reply", arity: 2, parse: reply },
        Sub { name: "pause", arity: -2, parse: pause },
        Sub { name: "unpause", arity: 1, parse: |_| Ok(Command::Here(Here::Nothing)) },
        Sub { name: "getredir", arity: 1, parse: |_| Ok(Command::Here(Here::Told(Fixed::Number(-1)))) },
        Sub { name: "tracking", arity: -2, parse: tracking },
        Sub { name: "trackinginfo", arity: 1, parse: |_| Ok(Command::Here(Here::Tracking)) },
        Sub { name: "caching", arity: 2, parse: caching },
        Sub { name: "unblock", arity: -2, parse: unblock },
        Sub { name: "help", arity: 1, parse: |_| Ok(Command::Here(Here::Lines(help::CLIENT))) },
    ];
    subcommand(words, "CLIENT", SUBS)
}

fn here(word: ClientWord<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Client(word)))
}

fn set_name(words: Words<'_>) -> Parsed<'_> {
    here(ClientWord::Rename(plain(words.at(1), "Client names")?))
}

fn set_info(words: Words<'_>) -> Parsed<'_> {
    if words.is(1, "LIB-NAME") {
        here(ClientWord::Library(plain(words.at(2), "lib-name")?))
    } else if words.is(1, "LIB-VER") {
        here(ClientWord::LibraryVersion(plain(words.at(2), "lib-ver")?))
    } else {
        let word = String::from_utf8_lossy(&words.at(1)[..words.at(1).len().min(super::SHOWN_MAX)]);
        Err(Refusal::Says(format!("ERR Unrecognized option '{word}'").into()))
    }
}

/// CLIENT LIST [TYPE NORMAL|MASTER|REPLICA|PUBSUB] | [ID number …]: all clients here are normal ones.
fn list(words: Words<'_>) -> Parsed<'_> {
    let filter = match words.len() {
        1 => Filter::default(),
        3 if words.is(1, "TYPE") => Filter { is_none: is_no_type(words.at(2))?, ..Filter::default() },
        3.. if words.is(1, "ID") => {
            let invalid = || Refusal::Says("ERR Invalid client ID".into());
            let number =
                |word| integer(word).and_then(|number| u64::try_from(number).ok()).ok_or_else(invalid);
            let numbers: Result<Vec<u64>, Refusal> = words.from(2).map(number).collect();
            Filter { numbers: Some(numbers?), ..Filter::default() }
        }
        _ => return Err(Refusal::Syntax),
    };
    Ok(Command::All(Question::Clients(filter), Fold::Text(String::new())))
}

/// Whether nobody here is of this type.
fn is_no_type(word: &[u8]) -> Result<bool, Refusal> {
    let known = ["NORMAL", "MASTER", "REPLICA", "SLAVE", "PUBSUB"];
    if known.iter().any(|kind| word.eq_ignore_ascii_case(kind.as_bytes())) {
        return Ok(!word.eq_ignore_ascii_case(b"NORMAL"));
    }
    let shown = String::from_utf8_lossy(&word[..word.len().min(super::SHOWN_MAX)]);
    Err(Refusal::Says(format!("ERR Unknown client type '{shown}'").into()))
}

/// CLIENT KILL address, or CLIENT KILL [ID number] [TYPE type] [USER name] [ADDR address] [LADDR address]
/// [SKIPME YES|NO]: the first lets the asker go too, the second only if told so.
fn kill(words: Words<'_>) -> Parsed<'_> {
    let text = |word: &[u8]| String::from_utf8_lossy(&word[..word.len().min(WORD_MAX)]).into_owned();
    if words.len() == 2 {
        let filter = Filter { from: Some(text(words.at(1))), ..Filter::default() };
        return Ok(Command::All(Question::Kill(filter), Fold::Killed(0)));
    }
    let mut filter = Filter { skips_asker: true, ..Filter::default() };
    let mut index = 1;
    while index < words.len() {
        let Some(value) = words.get(index + 1) else { return Err(Refusal::Syntax) };
        match () {
            () if words.is(index, "ID") => {
                let number =
                    integer(value).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0);
                let too_small = || Refusal::Says("ERR client-id should be greater than 0".into());
                filter.numbers = Some(vec![number.ok_or_else(too_small)?]);
            }
            () if words.is(index, "TYPE") => filter.is_none = is_no_type(value)?,
            () if words.is(index, "ADDR") => filter.from = Some(text(value)),
            () if words.is(index, "LADDR") => filter.at = Some(text(value)),
            () if words.is(index, "USER") => filter.user = Some(text(value)),
            () if words.is(index, "SKIPME") && words.is(index + 1, "YES") => filter.skips_asker = true,
            () if words.is(index, "SKIPME") && words.is(index + 1, "NO") => filter.skips_asker = false,
            () => return Err(Refusal::Syntax),
        }
        index += 2;
    }
    Ok(Command::All(Question::Kill(filter), Fold::Sum(0)))
}

fn reply(words: Words<'_>) -> Parsed<'_> {
    match () {
        () if words.is(1, "ON") => Ok(Command::Here(Here::Mute(Mute::Off))),
        () if words.is(1, "OFF") => Ok(Command::Here(Here::Mute(Mute::On))),
        () if words.is(1, "SKIP") => Ok(Command::Here(Here::Mute(Mute::SkipNext))),
        () => Err(Refusal::Syntax),
    }
}

/// CLIENT PAUSE: cores do not wait for each other here, so clients cannot all be held at one moment.
fn pause(words: Words<'_>) -> Parsed<'_> {
    let says = match integer(words.at(1)) {
        None => "ERR timeout is not an integer or out of range",
        Some(timeout) if timeout < 0 => "ERR timeout is negative",
        Some(0) => return Ok(Command::Here(Here::Nothing)),
        Some(_) => "ERR clients cannot be paused here",
    };
    Err(Refusal::Says(says.into()))
}

/// CLIENT TRACKING: nobody is told when a key changes.
fn tracking(words: Words<'_>) -> Parsed<'_> {
    match () {
        () if words.is(1, "OFF") => Ok(Command::Here(Here::Nothing)),
        () if words.is(1, "ON") => Err(Refusal::Says("ERR keys are not tracked here".into())),
        () => Err(Refusal::Syntax),
    }
}

fn caching(_: Words<'_>) -> Parsed<'_> {
    let says = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                enabled";
    Err(Refusal::Says(says.into()))
}

/// CLIENT UNBLOCK: no command here blocks.
fn unblock(words: Words<'_>) -> Parsed<'_> {
    words.integer(1)?;
    Ok(Command::Here(Here::Told(Fixed::Number(0))))
}

/// What changes nothing here, if it is asked for in the right words: no client is ever evicted.
fn on_or_off(words: Words<'_>) -> Parsed<'_> {
    if words.is(1, "ON") || words.is(1, "OFF") {
        Ok(Command::Here(Here::Nothing))
    } else {
        Err(Refusal::Syntax)
    }
}
