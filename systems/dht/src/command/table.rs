//! The table of commands: what a client may ask, with how many words, where its keys are.
//!
//! The one hard thing is finding a name fast, in any case of letters: names are hashed at compile time into a small
//! table with open addressing, so a look-up is one hash of a few bytes and, nearly always, one comparison.

use super::{Command, Words, cluster, connection, keys, server, strings};
use crate::refusal::Refusal;

/// One command.
#[derive(Debug)]
pub struct Entry {
    /// In small letters.
    pub name: &'static str,
    /// Words, the name included: exactly so many, or at least so many when negative.
    pub arity: i8,
    /// What it does, for clients that choose by it.
    pub flags: &'static [Flag],
    /// The words that are keys: first, last (negative: from the end), every how many. Zeros for none.
    pub keys: (i8, i8, i8),
    /// What it belongs to.
    pub group: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Reads its words.
    pub(super) parse: for<'r> fn(Words<'r>) -> Result<Command<'r>, Refusal>,
}

impl Entry {
    /// Whether it may have so many words, its name included.
    #[must_use]
    pub fn takes(&self, count: usize) -> bool {
        fits(self.arity, count)
    }
}

/// Whether so many words are as the arity says.
pub(super) fn fits(arity: i8, count: usize) -> bool {
    let bound = usize::from(arity.unsigned_abs());
    if arity < 0 { count >= bound } else { count == bound }
}

/// What a command does, as COMMAND tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// It may change values.
    Write,
    /// It changes nothing.
    ReadOnly,
    /// It may need more memory.
    DenyOom,
    /// It takes the same small time whatever is stored.
    Fast,
    /// For whoever runs the server.
    Admin,
    /// It needs no AUTH.
    NoAuth,
    /// Not from scripts.
    NoScript,
    /// Also while data is loaded.
    Loading,
    /// Also on a copy that has lost its owner.
    Stale,
    /// Also while a script runs.
    AllowBusy,
    /// Not in a transaction.
    NoMulti,
    /// Not while data is loaded in the background.
    NoAsyncLoading,
}

impl Flag {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::ReadOnly => "readonly",
            Self::DenyOom => "denyoom",
            Self::Fast => "fast",
            Self::Admin => "admin",
            Self::NoAuth => "no_auth",
            Self::NoScript => "noscript",
            Self::Loading => "loading",
            Self::Stale => "stale",
            Self::AllowBusy => "allow_busy",
            Self::NoMulti => "no_multi",
            Self::NoAsyncLoading => "no_async_loading",
        }
    }
}

use Flag::{
    Admin, AllowBusy, DenyOom, Fast, Loading, NoAsyncLoading, NoAuth, NoMulti, NoScript, ReadOnly, Stale,
    Write,
};

const NO_KEYS: (i8, i8, i8) = (0, 0, 0);
const ONE_KEY: (i8, i8, i8) = (1, 1, 1);
const TWO_KEYS: (i8, i8, i8) = (1, 2, 1);
const ALL_KEYS: (i8, i8, i8) = (1, -1, 1);
const ALL_PAIRS: (i8, i8, i8) = (1, -1, 2);

macro_rules! commands {
    ($($name:literal $arity:literal $flags:expr, $keys:ident, $group:literal, $parse:path, $summary:literal;)*) => {
        /// Every command, by group.
        pub const COMMANDS: &[Entry] = &[$(Entry {
            name: $name,
            arity: $arity,
            flags: &$flags,
            keys: $keys,
            group: $group,
            summary: $summary,
            parse: $parse,
        }),*];
    };
}

commands! {
    "append" 3 [Write, DenyOom, Fast], ONE_KEY, "string", strings::append, "Adds to the end of a value.";
    "decr" 2 [Write, DenyOom, Fast], ONE_KEY, "string", strings::decr, "Takes one from an integer.";
    "decrby" 3 [Write, DenyOom, Fast], ONE_KEY, "string", strings::decrby, "Takes a number from an integer.";
    "get" 2 [ReadOnly, Fast], ONE_KEY, "string", strings::get, "Gives a value.";
    "getdel" 2 [Write, Fast], ONE_KEY, "string", strings::getdel, "Gives a value and removes its key.";
    "getex" -2 [Write, Fast], ONE_KEY, "string", strings::getex, "Gives a value and sets its life.";
    "getrange" 4 [ReadOnly], ONE_KEY, "string", strings::getrange, "Gives a part of a value.";
    "getset" 3 [Write, DenyOom, Fast], ONE_KEY, "string", strings::getset, "Stores a value and gives the one before.";
    "incr" 2 [Write, DenyOom, Fast], ONE_KEY, "string", strings::incr, "Adds one to an integer.";
    "incrby" 3 [Write, DenyOom, Fast], ONE_KEY, "string", strings::incrby, "Adds a number to an integer.";
    "incrbyfloat" 3 [Write, DenyOom, Fast], ONE_KEY, "string", strings::incrbyfloat, "Adds to a number.";
    "mget" -2 [ReadOnly, Fast], ALL_KEYS, "string", strings::mget, "Gives several values.";
    "mset" -3 [Write, DenyOom], ALL_PAIRS, "string", strings::mset, "Stores several values.";
    "msetnx" -3 [Write, DenyOom], ALL_PAIRS, "string", strings::msetnx, "Stores several values where there are none.";
    "psetex" 4 [Write, DenyOom], ONE_KEY, "string", strings::psetex, "Stores a value for milliseconds.";
    "set" -3 [Write, DenyOom], ONE_KEY, "string", strings::set, "Stores a value.";
    "setex" 4 [Write, DenyOom], ONE_KEY, "string", strings::setex, "Stores a value for seconds.";
    "setnx" 3 [Write, DenyOom, Fast], ONE_KEY, "string", strings::setnx, "Stores a value where there is none.";
    "setrange" 4 [Write, DenyOom], ONE_KEY, "string", strings::setrange, "Writes over a part of a value.";
    "strlen" 2 [ReadOnly, Fast], ONE_KEY, "string", strings::strlen, "Gives a value's length in bytes.";
    "substr" 4 [ReadOnly], ONE_KEY, "string", strings::getrange, "Gives a part of a value, as GETRANGE.";
    "copy" -3 [Write, DenyOom], TWO_KEYS, "generic", keys::copy, "Copies a value to another key.";
    "del" -2 [Write], ALL_KEYS, "generic", keys::del, "Removes keys.";
    "exists" -2 [ReadOnly, Fast], ALL_KEYS, "generic", keys::exists, "Counts those keys that are there.";
    "expire" -3 [Write, Fast], ONE_KEY, "generic", keys::expire, "Lets a key expire in seconds.";
    "expireat" -3 [Write, Fast], ONE_KEY, "generic", keys::expireat, "Lets a key expire at a second.";
    "expiretime" 2 [ReadOnly, Fast], ONE_KEY, "generic", keys::expiretime, "Gives the second of a key's end.";
    "keys" 2 [ReadOnly], NO_KEYS, "generic", keys::keys, "Gives all keys that a pattern describes.";
    "object" -2 [], NO_KEYS, "generic", keys::object, "Tells what is known of a key.";
    "persist" 2 [Write, Fast], ONE_KEY, "generic", keys::persist, "Lets a key live for ever.";
    "pexpire" -3 [Write, Fast], ONE_KEY, "generic", keys::pexpire, "Lets a key expire in milliseconds.";
    "pexpireat" -3 [Write, Fast], ONE_KEY, "generic", keys::pexpireat, "Lets a key expire at a millisecond.";
    "pexpiretime" 2 [ReadOnly, Fast], ONE_KEY, "generic", keys::pexpiretime, "Gives the millisecond of a key's end.";
    "pttl" 2 [ReadOnly, Fast], ONE_KEY, "generic", keys::pttl, "Gives a key's time left in milliseconds.";
    "randomkey" 1 [ReadOnly], NO_KEYS, "generic", keys::randomkey, "Gives some key.";
    "rename" 3 [Write], TWO_KEYS, "generic", keys::rename, "Gives a key another name.";
    "renamenx" 3 [Write, Fast], TWO_KEYS, "generic", keys::renamenx, "Gives a key a name that is free.";
    "scan" -2 [ReadOnly], NO_KEYS, "generic", keys::scan, "Gives some keys, and where to go on.";
    "touch" -2 [ReadOnly, Fast], ALL_KEYS, "generic", keys::touch, "Counts keys as used.";
    "ttl" 2 [ReadOnly, Fast], ONE_KEY, "generic", keys::ttl, "Gives a key's time left in seconds.";
    "type" 2 [ReadOnly, Fast], ONE_KEY, "generic", keys::kind, "Names the type of a value.";
    "unlink" -2 [Write, Fast], ALL_KEYS, "generic", keys::del, "Removes keys.";
    "auth" -2 [NoScript, Loading, Stale, Fast, NoAuth, AllowBusy], NO_KEYS, "connection", connection::auth, "Says who the client is.";
    "client" -2 [], NO_KEYS, "connection", connection::client, "Tells and sets what is known of clients.";
    "echo" 2 [Loading, Stale, Fast], NO_KEYS, "connection", connection::echo, "Gives back what was said.";
    "hello" -1 [NoScript, Loading, Stale, Fast, NoAuth, AllowBusy], NO_KEYS, "connection", connection::hello, "Agrees on a protocol version.";
    "ping" -1 [Fast], NO_KEYS, "connection", connection::ping, "Answers.";
    "quit" -1 [NoScript, Loading, Stale, Fast, NoAuth, AllowBusy], NO_KEYS, "connection", connection::quit, "Ends the connection.";
    "reset" 1 [NoScript, Loading, Stale, Fast, NoAuth, AllowBusy], NO_KEYS, "connection", connection::reset, "Makes the connection as new.";
    "select" 2 [Loading, Stale, Fast], NO_KEYS, "connection", connection::select, "Chooses a table; there is only 0.";
    "asking" 1 [Fast], NO_KEYS, "cluster", cluster::ready, "Changes nothing: every key is served.";
    "cluster" -2 [], NO_KEYS, "cluster", cluster::cluster, "Tells who owns which slot.";
    "readonly" 1 [Loading, Stale, Fast], NO_KEYS, "cluster", cluster::ready, "Changes nothing: every key is served.";
    "readwrite" 1 [Loading, Stale, Fast], NO_KEYS, "cluster", cluster::ready, "Changes nothing: every key is served.";
    "acl" -2 [], NO_KEYS, "server", server::acl, "Says who the client is.";
    "bgrewriteaof" 1 [Admin, NoScript, NoAsyncLoading], NO_KEYS, "server", server::bgrewriteaof, "Has a snapshot made, which takes the place of the log before it.";
    "bgsave" -1 [Admin, NoScript, NoAsyncLoading], NO_KEYS, "server", server::bgsave, "Has a snapshot made.";
    "command" -1 [Loading, Stale], NO_KEYS, "server", server::command, "Describes commands.";
    "config" -2 [], NO_KEYS, "server", server::config, "Tells and sets parameters.";
    "dbsize" 1 [ReadOnly, Fast], NO_KEYS, "server", server::dbsize, "Counts all keys.";
    "debug" -2 [Admin, NoScript, Loading, Stale], NO_KEYS, "server", server::debug, "Is refused.";
    "flushall" -1 [Write], NO_KEYS, "server", server::flush, "Removes all keys.";
    "flushdb" -1 [Write], NO_KEYS, "server", server::flush, "Removes all keys.";
    "info" -1 [Loading, Stale], NO_KEYS, "server", server::info, "Tells how the server does.";
    "lastsave" 1 [Loading, Stale, Fast], NO_KEYS, "server", server::lastsave, "Gives the second of the last snapshot, or else of the start.";
    "latency" -2 [], NO_KEYS, "server", server::latency, "Tells what took long.";
    "memory" -2 [], NO_KEYS, "server", server::memory, "Tells what takes memory.";
    "module" -2 [], NO_KEYS, "server", server::module, "Tells that there are no modules.";
    "replicaof" 3 [Admin, NoScript, Stale, NoAsyncLoading], NO_KEYS, "server", server::replicaof, "Is refused, but for NO ONE.";
    "role" 1 [NoScript, Loading, Stale, Fast], NO_KEYS, "server", server::role, "Tells that it is nobody's copy.";
    "save" 1 [Admin, NoScript, NoAsyncLoading, NoMulti], NO_KEYS, "server", server::save, "Makes a snapshot and waits for it; others are served meanwhile.";
    "shutdown" -1 [Admin, NoScript, Loading, Stale, NoMulti, AllowBusy], NO_KEYS, "server", server::shutdown, "Ends the server.";
    "slaveof" 3 [Admin, NoScript, Stale, NoAsyncLoading], NO_KEYS, "server", server::replicaof, "Is refused, but for NO ONE.";
    "slowlog" -2 [], NO_KEYS, "server", server::slowlog, "Tells what was slow.";
    "swapdb" 3 [Write, Fast], NO_KEYS, "server", server::swapdb, "Swaps tables; there is only 0.";
    "time" 1 [Loading, Stale, Fast], NO_KEYS, "server", server::time, "Tells the time.";
    "wait" 3 [NoScript], NO_KEYS, "generic", server::wait, "Counts copies; there are none.";
}

/// The place of the command of that name, for who knows it when this is compiled.
///
/// # Panics
/// When there is none: then it does not compile.
#[must_use]
pub const fn index_of(name: &str) -> usize {
    let mut index = 0;
    while index < COMMANDS.len() {
        if same(COMMANDS[index].name.as_bytes(), name.as_bytes()) {
            return index;
        }
        index += 1;
    }
    panic!("no such command")
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// Places of the look-up table: a power of two, at least four times the commands, so that chains stay short.
const PLACES: usize = 512;
const _: () = assert!(COMMANDS.len() * 4 <= PLACES);
// Cores tell each other a command by its place.
const _: () = assert!(COMMANDS.len() <= u8::MAX as usize);

const EMPTY: u16 = u16::MAX;

static LOOK_UP: [u16; PLACES] = {
    let mut table = [EMPTY; PLACES];
    let mut index = 0;
    while index < COMMANDS.len() {
        let mut place = place_of(COMMANDS[index].name.as_bytes());
        while table[place] != EMPTY {
            place = (place + 1) % PLACES;
        }
        table[place] = index as u16;
        index += 1;
    }
    table
};

/// FNV-1a over the letters made small (a letter's capital differs in bit 5 alone).
const fn place_of(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    let mut index = 0;
    while index < name.len() {
        hash = (hash ^ (name[index] | 0x20) as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    (hash ^ (hash >> 16)) as usize % PLACES
}

/// Bytes of the longest name. What is longer is not even hashed: a client may send megabytes.
const NAME_MAX: usize = 16;

/// The place of the command of that name, in any case of letters.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<usize> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut place = place_of(name);
    loop {
        let index = LOOK_UP[place];
        if index == EMPTY {
            return None;
        }
        let index = usize::from(index);
        if COMMANDS[index].name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(index);
        }
        place = (place + 1) % PLACES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_no_other() {
        for (index, entry) in COMMANDS.iter().enumerate() {
            assert!(entry.name.len() <= NAME_MAX && entry.name == entry.name.to_ascii_lowercase());
            assert_eq!(find(entry.name.as_bytes()), Some(index), "{}", entry.name);
            assert_eq!(find(entry.name.to_ascii_uppercase().as_bytes()), Some(index), "{}", entry.name);
            assert_eq!(find(format!("{}?", entry.name).as_bytes()), None, "{}", entry.name);
        }
        for unknown in ["", "g", "gets", "ge\0", "GET ", "\u{7}et"] {
            assert_eq!(find(unknown.as_bytes()), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_negative_arity_is_a_least() {
        assert!(fits(2, 2) && !fits(2, 3) && !fits(2, 1));
        assert!(fits(-2, 2) && fits(-2, 9) && !fits(-2, 1));
    }
}
