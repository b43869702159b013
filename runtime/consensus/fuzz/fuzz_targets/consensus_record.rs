//! A record of a group as it may lie on a disk that lost or changed some of it: read, or refused. What is read here is
//! behind the log's own checksum, so that it is only asked to end nobody's process as it is read.
//!
//! From `runtime/consensus`: `mkdir -p fuzz/corpus/consensus_record; cargo fuzz run consensus_record --sanitizer none`
#![no_main]

use consensus::{Config, Group};
use libfuzzer_sys::fuzz_target;
use machine::{Chance, NodeId};

fuzz_target!(|bytes: &[u8]| {
    let me = NodeId(0);
    let mut group = Group::new(me, &[me, NodeId(1)], &[], Config::default(), Chance::new(7));
    let _ = group.on_replay(bytes);
});
