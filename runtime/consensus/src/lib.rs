//! One ledger on many nodes: what a majority has on disk stays, in one order, whoever dies.
//!
//! A [`Group`] is one node's share of that, owned by one core and driven like a shard: it is told what happened and
//! says what to do. Inside is TiKV's `raft` (why: `runtime/decisions/consensus.md`); around it is what that library
//! leaves to its user and what all users would otherwise get wrong alone: what must be on disk before what is said,
//! reads that are not stale, snapshots in parts, members, and time.
//!
//! # How to drive it
//!
//! ```
//! use consensus::{Config, Effect, Group};
//! use machine::{Chance, Instant, LogMark, NodeId};
//!
//! // A group of one, so that this needs no network.
//! let me = NodeId(0);
//! let mut group = Group::new(me, &[me], &[], Config::default(), Chance::new(7));
//! // on_replay(record) for each of its records that was kept, then:
//! let now = Instant::ZERO;
//! group.on_start(now);
//! group.campaign(now);
//! let mut disk = Vec::new();
//! let mut log = |record: &[u8]| {
//!     disk.push(record.to_vec()); // `out.log(record)` in a shard, with a byte that says whose record it is
//!     LogMark(disk.len() as u64)
//! };
//! let effects = group.effects(&mut log);
//! assert!(effects.iter().any(|effect| matches!(effect, Effect::Role { .. })));
//! group.on_logged(now, LogMark(1)); // `Stored::Logged` in a shard
//! let effects = group.effects(&mut log);
//! assert!(effects.contains(&Effect::Leads { term: 1 }));
//!
//! let id = group.propose(now, b"apples 3".to_vec()).expect("it leads");
//! assert!(group.effects(&mut log).is_empty(), "it is logged, and not yet on disk");
//! group.on_logged(now, LogMark(2));
//! let bytes = Box::from(&b"apples 3"[..]);
//! let committed = Effect::Committed { index: 2, term: 1, bytes, ours: Some(id) };
//! assert_eq!(group.effects(&mut log), vec![committed]);
//! ```
//!
//! After every call that changes it, and after all of one event at the latest: [`Group::effects`], each effect acted
//! upon in order, and a wake at [`Group::next_wake`]. Proposals of one turn travel together if `effects` is called
//! once for them (ask for a wake at `now.at`).
//!
//! It knows nothing of sockets, clocks and files, and neither what the ledger's entries mean.

#![forbid(unsafe_code)]

mod check;
mod config;
mod group;
mod members;
mod message;
mod parts;
mod reads;
mod record;
mod step;
mod store;

pub use config::Config;
pub use group::{Effect, Group, ProposalId, ReadId, Refused, Role};
pub use members::{Change, Members};
pub use message::{ArchivedMessage, Fault, Message};
pub use record::Unreadable;
