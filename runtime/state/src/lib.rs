//! What every core owns: its share of the ring and a table for each slot that is its own.
//!
//! Two hashes live here and are never mixed. The [fixed hash](hash) is written by us from its specification, has
//! golden vectors and gives the same answer on every machine for ever: it decides whatever crosses nodes, goes to
//! disk or places a slot. Look-ups inside a [`Table`] use a keyed hash whose keys are drawn at start, because
//! clients choose what is hashed there.
//!
//! This crate knows nothing about time, sockets, disks or other cores: it is told the time and answers.

#![forbid(unsafe_code)]

pub mod hash;
pub mod placement;
pub mod queue;
pub mod ring;
pub mod slot;
pub mod table;

pub use placement::{Placement, Refused};
pub use queue::Queue;
pub use ring::{Member, Ring};
pub use slot::{Slot, SlotSet};
pub use table::{Entry, Expired, Expiry, Policy, Set, Table, Track, Value, View};
