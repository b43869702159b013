//! The commands of cluster clients: who owns which slot, and what a slot holds.

use super::{Command, Fixed, Here, Sub, Words, help, subcommand};
use crate::gather::Fold;
use crate::peer::Work;
use crate::refusal::Refusal;
use state::Slot;

type Parsed<'r> = Result<Command<'r>, Refusal>;

/// What is asked about the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterWord<'r> {
    /// How it does.
    Info,
    /// The id of whom one talks to.
    MyId,
    /// Ranges of slots, each with its owner.
    Slots,
    /// Owners, each with its ranges of slots.
    Shards,
    /// The same as lines of text.
    Nodes,
    /// The copies of an owner, by its id.
    Replicas(&'r [u8]),
}

pub(super) fn cluster(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[
        Sub { name: "info", arity: 1, parse: |_| here(ClusterWord::Info) },
        Sub { name: "myid", arity: 1, parse: |_| here(ClusterWord::MyId) },
        Sub { name: "slots", arity: 1, parse: |_| here(ClusterWord::Slots) },
        Sub { name: "shards", arity: 1, parse: |_| here(ClusterWord::Shards) },
        Sub { name: "nodes", arity: 1, parse: |_| here(ClusterWord::Nodes) },
        Sub { name: "links", arity: 1, parse: |_| Ok(Command::Here(Here::Told(Fixed::Empty))) },
        Sub { name: "replicas", arity: 2, parse: |words| here(ClusterWord::Replicas(words.at(1))) },
        Sub { name: "slaves", arity: 2, parse: |words| here(ClusterWord::Replicas(words.at(1))) },
        Sub { name: "keyslot", arity: 2, parse: key_slot },
        Sub { name: "countkeysinslot", arity: 2, parse: count_keys },
        Sub { name: "getkeysinslot", arity: 3, parse: get_keys },
        Sub { name: "help", arity: 1, parse: |_| Ok(Command::Here(Here::Lines(help::CLUSTER))) },
    ];
    subcommand(words, "CLUSTER", SUBS)
}

/// READONLY, READWRITE and ASKING: every key is served here, whatever a client is ready for.
pub(super) fn ready(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Nothing))
}

fn here(word: ClusterWord<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Cluster(word)))
}

fn key_slot(words: Words<'_>) -> Parsed<'_> {
    let slot = Slot::of(words.key(1)?).number();
    Ok(Command::Here(Here::Told(Fixed::Number(i64::from(slot)))))
}

fn slot(words: &Words<'_>) -> Result<Option<Slot>, Refusal> {
    Ok(u16::try_from(words.integer(1)?).ok().and_then(Slot::new))
}

fn count_keys(words: Words<'_>) -> Parsed<'_> {
    match slot(&words)? {
        Some(slot) => Ok(Command::Whole(Work::SlotSize(slot.number()), Fold::Sum(0))),
        None => Err(Refusal::Says("ERR Invalid slot".into())),
    }
}

fn get_keys(words: Words<'_>) -> Parsed<'_> {
    let count = u32::try_from(words.integer(2).and_then(|count| slot(&words).map(|_| count))?).ok();
    match (slot(&words)?, count) {
        (Some(slot), Some(count)) => {
            let work = Work::SlotKeys { slot: slot.number(), count };
            Ok(Command::Whole(work, Fold::Keys(Vec::new())))
        }
        _ => Err(Refusal::Says("ERR Invalid slot or number of keys".into())),
    }
}
