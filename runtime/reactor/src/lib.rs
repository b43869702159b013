//! The shell: the only crate that knows glommio, flume, socket2 and core_affinity. It runs a [`Shard`](machine::Shard)
//! on every core of a [`Plan`] and does what the shards say: [`run`] blocks until all are drained and gives them
//! back.
//!
//! A core is one hot task of a glommio executor that owns an io_uring of its own. Its life is the [turn]: due timers,
//! peers, completions, flush lanes, flush log, flush writes, sleep. Everything is generic over the shard and
//! monomorphised; nothing on the data path is dynamic, locks or is shared but the counters of the [lane]s.

mod boot;
mod child;
mod clock;
mod conn;
mod control;
pub mod doctor;
mod eras;
pub mod fatal;
mod gather;
mod handover;
mod heir;
mod io;
pub mod keeper;
mod lane;
mod last;
mod link;
mod listen;
pub mod log;
mod meter;
mod net;
mod orders;
mod ring;
mod sleep;
mod stall;
mod stamp;
mod stop;
mod store;
mod ticks;
mod turn;

pub use boot::{Limits, Plan, Reread, Watch, allowed_cores, run};
pub use eras::{Looked, Replays, look};
pub use fatal::Fatal;
pub use gather::Gatherer;
pub use handover::{Inheritance, PROTOCOL};
pub use keeper::Keeper;
pub use link::Neighbours;
pub use listen::Doors;
pub use stop::{terminate, until_told_to_end, was_told_to_end};
pub use wire::proof::Key;
