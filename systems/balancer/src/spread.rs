//! Spreading: which replica gets a request.
//!
//! All of it is pure and without time: a key, a ring, loads, and an answer. Each way has its reason: rendezvous is
//! fairest and needs no table, Maglev is one look-up however many replicas there are, two random choices balance best
//! where no key matters, and the 512-slot ring is what others know.

mod choice;
mod key;
mod maglev;
mod rendezvous;
mod ring;
pub mod slots512;

pub use choice::{Choice, JUMPS_MAX, Load, WHOLE, Why, choose, mean_bound};
pub use key::{ID_FIRST, IDS, Key};
pub use maglev::ENTRIES;
pub use rendezvous::MEMBERS_MAX;
pub use ring::{Ring, Seat, Way};
