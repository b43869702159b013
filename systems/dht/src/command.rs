//! From a request's words to a typed command: the table, and what it leads to.
//!
//! A command is one line of [`table`] and one function that reads its words. What comes out says by its variant who
//! answers: the owner of one key, the owners of several, every core, or this core alone. So the shard routes
//! without knowing any command's name, and parsing is the only place that does.

mod cluster;
mod connection;
mod describe;
mod help;
mod keys;
mod server;
mod strings;
mod table;

pub use cluster::ClusterWord;
pub use connection::{ClientWord, Credentials, Hello, Mute};
pub use describe::describe;
pub use server::Sections;
pub use table::{COMMANDS, Entry, Flag, index_of};

use crate::act::{Act, Op, Payload};
use crate::config::Limits;
use crate::gather::Fold;
use crate::keep::snapshot::Wish;
use crate::peer::{Question, Work};
use crate::refusal::Refusal;
use machine::WallTime;
use wire::resp::{Request, integer};

/// A command, by who answers it.
#[derive(Debug)]
pub enum Command<'r> {
    /// The owner of its key.
    One(Op<'r>),
    /// The owners of its keys, the answers put together.
    Many(Many<'r>),
    /// The owners of its two keys.
    Pair(Pair<'r>),
    /// The owners of all keys, or one of them, the answers put together.
    Whole(Work, Fold),
    /// Every core, of itself, the answers put together.
    All(Question, Fold),
    /// This core, from what it knows of the connection and itself.
    Here(Here<'r>),
}

/// One act on several keys.
#[derive(Debug)]
pub struct Many<'r> {
    /// What is done to each key.
    pub act: Act,
    /// The keys, or the keys each followed by a payload.
    pub words: Words<'r>,
    /// How many words a key has: 1, or 2 with a payload.
    pub stride: usize,
    /// How the answers are put together.
    pub fold: Fold,
    /// Only if none of the keys is there; 1 if so, else 0.
    pub if_absent: bool,
}

/// A value goes from one key to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'r> {
    /// From this key.
    pub from: &'r [u8],
    /// To that one.
    pub to: &'r [u8],
    /// The first one goes, and nothing there is an error.
    pub removes: bool,
    /// What is at the second is replaced; else it stays.
    pub replaces: bool,
    /// 1 is told if it was done, else 0; else OK.
    pub counts: bool,
}

impl<'r> Pair<'r> {
    /// Both keys.
    #[must_use]
    pub const fn keys(&self) -> [&'r [u8]; 2] {
        [self.from, self.to]
    }
}

impl<'r> Many<'r> {
    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.words.len() - 1) / self.stride
    }

    /// Whether there are none; never, as the table asks for at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys with their payloads, in order.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> + Clone {
        (0..self.len()).map(|index| {
            let at = 1 + index * self.stride;
            let payload = if self.stride == 2 { self.words.at(at + 1) } else { b"" };
            Op { key: self.words.at(at), payload: Payload::Bytes(payload), act: self.act }
        })
    }
}

/// What needs nobody else.
#[derive(Debug)]
pub enum Here<'r> {
    /// PING, with what to say back.
    Ping(Option<&'r [u8]>),
    /// ECHO.
    Echo(&'r [u8]),
    /// HELLO.
    Hello(Hello<'r>),
    /// AUTH.
    Auth(Credentials<'r>),
    /// SELECT of the only table there is, and what else changes nothing.
    Nothing,
    /// QUIT.
    Quit,
    /// RESET.
    Reset,
    /// CLIENT, of this connection.
    Client(ClientWord<'r>),
    /// COMMAND.
    Describe(Words<'r>),
    /// CLUSTER.
    Cluster(ClusterWord<'r>),
    /// What is the same at any time.
    Told(Fixed),
    /// Whether this client wants to hear answers.
    Mute(Mute),
    /// CLIENT TRACKINGINFO.
    Tracking,
    /// ROLE.
    Role,
    /// ACL WHOAMI.
    WhoAmI,
    /// LASTSAVE.
    LastSave,
    /// SAVE, BGSAVE, BGREWRITEAOF.
    Save(Wish),
    /// SHUTDOWN.
    Shutdown {
        /// With a snapshot first.
        saves: bool,
    },
    /// CONFIG GET.
    Parameters(Words<'r>),
    /// TIME.
    Time,
    /// HELP of a container command, a line each.
    Lines(&'static [&'static str]),
}

/// An answer that never differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// A number.
    Number(i64),
    /// A word that is no value.
    Simple(&'static str),
    /// A text for people.
    Text(&'static str),
    /// A list of nothing.
    Empty,
    /// A map of nothing.
    EmptyMap,
}

/// The words of one request, with what reading them needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Words<'r> {
    request: &'r Request<'r>,
    /// How many leading words to leave out of sight: those of a container command.
    skip: usize,
    /// The bounds on keys and values.
    pub limits: &'r Limits,
    /// The wall's time: lifetimes are told as distances and kept as times.
    pub wall: WallTime,
}

impl<'r> Words<'r> {
    /// All words of `request`.
    #[must_use]
    pub fn new(request: &'r Request<'r>, limits: &'r Limits, wall: WallTime) -> Self {
        Self { request, skip: 0, limits, wall }
    }

    /// How many words there are, the command's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.request.len() - self.skip
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The word at `index`, 0 being the command's name. Panics beyond the last: the table has checked the count.
    #[must_use]
    pub fn at(&self, index: usize) -> &'r [u8] {
        &self.request[self.skip + index]
    }

    /// The word at `index`, if there is one.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'r [u8]> {
        self.request.get(self.skip + index)
    }

    /// The words from `first` on.
    pub fn from(&self, first: usize) -> impl ExactSizeIterator<Item = &'r [u8]> + use<'r> {
        self.request.arguments(self.skip + first)
    }

    /// The same words as those of the subcommand: `CLIENT SETNAME x` as `SETNAME x`.
    #[must_use]
    pub fn inner(&self) -> Self {
        Self { skip: self.skip + 1, ..*self }
    }

    /// Whether the word at `index` is `word` (in capitals), in any case of letters.
    #[must_use]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.at(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// The key at `index`.
    pub fn key(&self, index: usize) -> Result<&'r [u8], Refusal> {
        let key = self.at(index);
        if key.len() > self.limits.key_max {
            return Err(Refusal::KeyTooLong(self.limits.key_max));
        }
        Ok(key)
    }

    /// The integer at `index`.
    pub fn integer(&self, index: usize) -> Result<i64, Refusal> {
        integer(self.at(index)).ok_or(Refusal::NotAnInteger)
    }

    /// An act on the one key of the command.
    fn one(&self, act: Act) -> Result<Command<'r>, Refusal> {
        Ok(Command::One(Op::of(self.key(1)?, act)))
    }

    /// An act on the one key of the command, with the word after it.
    fn one_with(&self, act: Act) -> Result<Command<'r>, Refusal> {
        Ok(Command::One(Op { key: self.key(1)?, payload: Payload::Bytes(self.at(2)), act }))
    }

    /// The same act on all keys of the command.
    fn many(&self, act: Act, stride: usize, fold: Fold) -> Result<Command<'r>, Refusal> {
        for index in (1..self.len()).step_by(stride) {
            self.key(index)?;
        }
        Ok(Command::Many(Many { act, words: *self, stride, fold, if_absent: false }))
    }
}

/// The command that these words mean, with its place in the table if the name is one.
pub fn parse<'r>(words: Words<'r>) -> (Option<usize>, Result<Command<'r>, Refusal>) {
    let Some(index) = table::find(words.at(0)) else {
        return (None, Err(unknown(&words)));
    };
    let entry = &COMMANDS[index];
    if !entry.takes(words.len()) {
        return (Some(index), Err(Refusal::Arity(entry.name.into())));
    }
    (Some(index), (entry.parse)(words))
}

/// The same for one who has yet to say who it is: nothing but what leads to that is read.
pub fn parse_stranger<'r>(words: Words<'r>) -> (Option<usize>, Result<Command<'r>, Refusal>) {
    match table::find(words.at(0)) {
        Some(index)
            if COMMANDS[index].takes(words.len()) && !COMMANDS[index].flags.contains(&Flag::NoAuth) =>
        {
            (Some(index), Err(Refusal::Says(crate::dispatch::NOAUTH.into())))
        }
        _ => parse(words),
    }
}

/// Whether these words begin a request of the web: a browser can be made to send such to any port.
#[must_use]
pub fn is_web(words: Words<'_>) -> bool {
    words.is(0, "POST") || words.is(0, "HOST:")
}

/// A subcommand and what reads its words, its own name being word 0.
struct Sub {
    /// In small letters.
    name: &'static str,
    /// As in the table, counted from its own name.
    arity: i8,
    parse: for<'r> fn(Words<'r>) -> Result<Command<'r>, Refusal>,
}

/// Reads a container's subcommand. `name` is in capitals.
fn subcommand<'r>(words: Words<'r>, name: &str, subs: &[Sub]) -> Result<Command<'r>, Refusal> {
    let inner = words.inner();
    let asked = inner.at(0);
    let Some(sub) = subs.iter().find(|sub| asked.eq_ignore_ascii_case(sub.name.as_bytes())) else {
        // Redis shows a word up to its first zero byte.
        let asked = asked.split(|byte| *byte == 0).next().unwrap_or_default();
        let asked = String::from_utf8_lossy(&asked[..asked.len().min(SHOWN_MAX)]);
        let words = format!("ERR unknown subcommand '{asked}'. Try {name} HELP.");
        return Err(Refusal::Says(words.into()));
    };
    if !table::fits(sub.arity, inner.len()) {
        return Err(Refusal::Arity(format!("{}|{}", name.to_ascii_lowercase(), sub.name).into()));
    }
    (sub.parse)(inner)
}

/// How much of a client's words an error shows, in bytes (Redis' number).
const SHOWN_MAX: usize = 128;

fn unknown(words: &Words<'_>) -> Refusal {
    let cut = |word: &[u8], max: usize| String::from_utf8_lossy(&word[..word.len().min(max)]).into_owned();
    let mut shown = String::new();
    for word in words.from(1) {
        if shown.len() >= SHOWN_MAX {
            break;
        }
        shown += &format!("'{}' ", cut(word, SHOWN_MAX - shown.len()));
    }
    let name = cut(words.at(0), SHOWN_MAX);
    Refusal::Says(format!("ERR unknown command '{name}', with args beginning with: {shown}").into())
}

#[cfg(test)]
mod tests;
