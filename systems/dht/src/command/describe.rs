//! COMMAND: the table as clients and redis-cli ask for it.

use super::{COMMANDS, Entry, Flag, Words, table};
use crate::glob;
use wire::resp::Writer;

/// Answers COMMAND, or the subcommand whose words these are.
pub fn describe(words: Words<'_>, into: &mut Writer<'_>) {
    if words.is(0, "COUNT") {
        into.integer(COMMANDS.len() as i64);
    } else if words.is(0, "LIST") {
        list(words, into);
    } else if words.is(0, "DOCS") {
        docs(words, into);
    } else if words.is(0, "GETKEYS") || words.is(0, "GETKEYSANDFLAGS") {
        get_keys(words, into);
    } else if words.is(0, "INFO") && words.len() > 1 {
        into.array(words.len() - 1);
        for name in words.from(1) {
            match table::find(name) {
                Some(index) => info(&COMMANDS[index], into),
                None => into.null(),
            }
        }
    } else {
        into.array(COMMANDS.len());
        COMMANDS.iter().for_each(|entry| info(entry, into));
    }
}

/// Ten fields, as Redis 7 has them; tips, key specifications and subcommands are left empty: the first three
/// numbers say where the keys are.
fn info(entry: &Entry, into: &mut Writer<'_>) {
    let (first, last, step) = entry.keys;
    into.array(10);
    into.bulk(entry.name.as_bytes());
    into.integer(i64::from(entry.arity));
    into.set(entry.flags.len());
    entry.flags.iter().for_each(|flag| into.simple(flag.word()));
    [first, last, step].into_iter().for_each(|number| into.integer(i64::from(number)));
    let categories = categories(entry);
    into.set(categories.len());
    categories.iter().for_each(|category| into.simple(&format!("@{category}")));
    into.set(0);
    into.set(0);
    into.set(0);
}

/// What Redis sorts it under, for clients that allow by it. A container's subcommands differ, so it has the least.
fn categories(entry: &Entry) -> Vec<&'static str> {
    let has = |flag| entry.flags.contains(&flag);
    let is_container = entry.flags.is_empty();
    let mut categories = Vec::new();
    match entry.group {
        _ if is_container => {}
        "string" => categories.push("string"),
        "generic" if entry.name == "wait" => categories.push("connection"),
        "generic" => categories.push("keyspace"),
        "connection" | "cluster" => categories.push("connection"),
        _ if entry.name == "command" => categories.push("connection"),
        _ if has(Flag::Write) || has(Flag::ReadOnly) => categories.push("keyspace"),
        _ => {}
    }
    let by_flag = [(Flag::Write, "write"), (Flag::ReadOnly, "read"), (Flag::Admin, "admin")];
    categories.extend(by_flag.into_iter().filter(|(flag, _)| has(*flag)).map(|(_, category)| category));
    categories.push(if has(Flag::Fast) { "fast" } else { "slow" });
    let dangerous = ["flushall", "flushdb", "info", "keys", "lastsave", "restore", "role", "swapdb"];
    if matches!(entry.name, "lastsave" | "role") {
        categories.push("admin");
    }
    if has(Flag::Admin) || dangerous.contains(&entry.name) {
        categories.push("dangerous");
    }
    categories
}

/// COMMAND GETKEYSANDFLAGS: each key with what is done to it.
fn key_flags(entry: &Entry) -> &'static [&'static str] {
    match entry.name {
        "set" | "setex" | "psetex" | "mset" => &["OW", "update"],
        "del" | "unlink" => &["RM", "delete"],
        "getdel" => &["RW", "access", "delete"],
        _ if entry.flags.contains(&Flag::Write) => &["RW", "access", "update"],
        _ => &["RO", "access"],
    }
}

fn list(words: Words<'_>, into: &mut Writer<'_>) {
    let wanted: Vec<&Entry> = COMMANDS
        .iter()
        .filter(|entry| match words.get(3) {
            None => true,
            Some(pattern) if words.is(2, "PATTERN") => glob::matches(pattern, entry.name.as_bytes()),
            Some(group) if words.is(2, "ACLCAT") => {
                categories(entry).iter().any(|category| group.eq_ignore_ascii_case(category.as_bytes()))
            }
            Some(_) => false,
        })
        .collect();
    into.array(wanted.len());
    wanted.iter().for_each(|entry| into.bulk(entry.name.as_bytes()));
}

fn docs(words: Words<'_>, into: &mut Writer<'_>) {
    let wanted: Vec<&Entry> = if words.len() == 1 {
        COMMANDS.iter().collect()
    } else {
        words.from(1).filter_map(table::find).map(|index| &COMMANDS[index]).collect()
    };
    into.map(wanted.len());
    for entry in wanted {
        into.bulk(entry.name.as_bytes());
        into.map(2);
        into.bulk(b"summary");
        into.bulk(entry.summary.as_bytes());
        into.bulk(b"group");
        into.bulk(entry.group.as_bytes());
    }
}

fn get_keys(words: Words<'_>, into: &mut Writer<'_>) {
    let Some(entry) = table::find(words.at(1)).map(|index| &COMMANDS[index]) else {
        return into.error("ERR Invalid command specified");
    };
    // A subcommand's key is not its container's.
    let (first, last, step) = if matches!(entry.name, "object" | "memory") { (2, 2, 1) } else { entry.keys };
    if first == 0 {
        return into.error("ERR The command has no key arguments");
    }
    let count = words.len() - 1;
    if !entry.takes(count) {
        return into.error("ERR Invalid number of arguments specified for command");
    }
    let last = if last < 0 { count as isize + isize::from(last) } else { isize::from(last) } as usize;
    let places: Vec<usize> = (first as usize..=last).step_by(step as usize).collect();
    into.array(places.len());
    for place in places {
        if words.is(0, "GETKEYS") {
            into.bulk(words.at(1 + place));
            continue;
        }
        into.array(2);
        into.bulk(words.at(1 + place));
        let flags = key_flags(entry);
        into.set(flags.len());
        flags.iter().for_each(|flag| into.simple(flag));
    }
}
