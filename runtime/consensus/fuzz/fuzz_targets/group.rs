//! What another node of a group may say: bytes that pretend to be messages, to a group in every role. It may refuse
//! them; it may not panic, and what it answers must be readable. Also bytes that pretend to be its own records.
//!
//! From `runtime/consensus`: `mkdir -p fuzz/corpus/group; cargo fuzz run group --sanitizer none fuzz/corpus/group`
#![no_main]

use consensus::{ArchivedMessage, Config, Effect, Group, Message};
use core::time::Duration;
use libfuzzer_sys::fuzz_target;
use machine::{Chance, Instant, LogMark, NodeId};
use rkyv::rancor::Error;
use rkyv::util::AlignedVec;

/// A group of three, one of which is fed from outside.
struct Node {
    group: Group,
    mark: u64,
    said: Vec<Vec<u8>>,
}

impl Node {
    fn new(me: u16) -> Self {
        let voters = [0, 1, 2].map(NodeId);
        let mut group = Group::new(NodeId(me), &voters, &[], Config::default(), Chance::new(1));
        group.on_start(Instant::ZERO);
        Self { group, mark: 0, said: Vec::new() }
    }

    fn act(&mut self, now: Instant) {
        for _ in 0..4 {
            let mark = &mut self.mark;
            let effects = self.group.effects(&mut |_| {
                *mark += 1;
                LogMark(*mark)
            });
            for effect in effects {
                match effect {
                    Effect::Send { message, .. } => {
                        let bytes = rkyv::to_bytes::<Error>(&message).expect("what is said can be archived");
                        rkyv::access::<ArchivedMessage, Error>(&bytes).expect("and read");
                        self.said.push(bytes.to_vec());
                    }
                    Effect::SnapshotWanted => self.group.offer_snapshot(now, vec![1; 10]),
                    _ => {}
                }
            }
            self.group.on_logged(now, LogMark(self.mark));
        }
    }

    fn hear(&mut self, now: Instant, from: u16, bytes: &[u8]) {
        let mut aligned: AlignedVec<16> = AlignedVec::new();
        aligned.extend_from_slice(bytes);
        if let Ok(heard) = rkyv::access::<ArchivedMessage, Error>(&aligned) {
            let _ = self.group.on_message(now, NodeId(from), heard);
            self.act(now);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut replayed = Group::new(NodeId(0), &[NodeId(0)], &[], Config::default(), Chance::new(1));
    let _ = replayed.on_replay(bytes);

    // Steps: a byte that says what happens, and for a message its length and itself.
    let mut nodes = [Node::new(0), Node::new(1)];
    let mut now = Instant::ZERO;
    let mut rest = bytes;
    while let Some((step, after)) = rest.split_first() {
        rest = after;
        let at = usize::from(step & 1);
        let node = &mut nodes[at];
        match step >> 1 & 7 {
            0 => now += Duration::from_millis(u64::from(step >> 4) * 40),
            1 => node.group.campaign(now),
            2 => drop(node.group.propose(now, vec![1, 2, 3])),
            // What the other one said: so that real states are reached.
            3 => {
                let other = 1 - at;
                for said in std::mem::take(&mut nodes[other].said) {
                    nodes[at].hear(now, other as u16, &said);
                }
            }
            4 => drop(node.group.read_index(now)),
            5 => drop(node.group.keep()),
            _ => {
                let Some((length, after)) = rest.split_first() else { break };
                let (message, after) = after.split_at(after.len().min(usize::from(*length)));
                rest = after;
                node.hear(now, 2, message);
            }
        }
        nodes[at].group.on_timer(now);
        nodes[at].act(now);
    }
    // All of it as one message, so that what is found travels between the targets.
    nodes[0].hear(now, 2, bytes);
    let _: Option<Message> = None;
});
