//! What another node of a group may say: three groups that talk, and whose messages are changed, repeated, lost and put
//! out of order on their way, or made up. Whatever comes is taken or refused, and nobody's process ends over it. That all
//! agree is not asked: who lies with the cluster's key can make two truths.
//!
//! From `runtime/consensus`: `mkdir -p fuzz/corpus/consensus_message; cargo fuzz run consensus_message --sanitizer none`
#![no_main]

use consensus::{Config, Effect, Fault, Group, Message};
use libfuzzer_sys::fuzz_target;
use machine::{Chance, Instant, LogMark, NodeId};
use std::collections::VecDeque;
use std::time::Duration;
use wire::peer::{Batch, Message as _};

const NODES: u16 = 3;

/// Messages on their way; over it the oldest are lost.
const WAYS_MAX: usize = 64;

struct Node {
    group: Group,
    logged: u64,
    /// It found that two truths had been promised, and stands still, as its system has it do.
    is_over: bool,
}

struct Town {
    now: Instant,
    nodes: Vec<Node>,
    ways: VecDeque<(NodeId, NodeId, Vec<u8>)>,
}

impl Town {
    fn new() -> Self {
        let all: Vec<NodeId> = (0..NODES).map(NodeId).collect();
        let config = Config { tail: 4, part_max: 16, entry_max: 64, ..Config::default() };
        let group = |me: &NodeId| {
            let mut group = Group::new(*me, &all, &[], config, Chance::new(u64::from(me.0)));
            group.on_start(Instant::ZERO);
            Node { group, logged: 0, is_over: false }
        };
        let mut town =
            Self { now: Instant::ZERO, nodes: all.iter().map(group).collect(), ways: VecDeque::new() };
        town.nodes[0].group.campaign(Instant::ZERO);
        town.work(0);
        town
    }

    /// Takes what a group wants done; its disk is as fast as it is asked to be.
    fn work(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.is_over {
            return;
        }
        let logged = &mut node.logged;
        let effects = node.group.effects(&mut |_| {
            *logged += 1;
            LogMark(*logged)
        });
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    let mut batch = Batch::new();
                    message.write(&mut batch, false);
                    let archive = batch.envelopes().next().expect("one was written").archive.to_vec();
                    self.ways.push_back((NodeId(at as u16), to, archive));
                }
                Effect::SnapshotWanted => {
                    self.nodes[at].group.offer_snapshot(self.now, vec![7; 40]);
                }
                _ => {}
            }
        }
        while self.ways.len() > WAYS_MAX {
            self.ways.pop_front();
        }
    }

    fn hear(&mut self, from: NodeId, to: NodeId, archive: &[u8]) {
        let at = usize::from(to.0 % NODES);
        let node = &mut self.nodes[at];
        if node.is_over {
            return;
        }
        let mut batch = Batch::new();
        batch.carry(archive, false);
        for (message, _) in batch.heard::<Message>().flatten() {
            node.is_over |= node.group.on_message(self.now, from, message) == Err(Fault::Contradiction);
        }
        self.work(at);
    }

    fn logged(&mut self, at: usize) {
        let mark = LogMark(self.nodes[at].logged);
        if !self.nodes[at].is_over {
            self.nodes[at].group.on_logged(self.now, mark);
            self.work(at);
        }
    }
}

/// Bytes one by one; none when they are over.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn one(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

fn step(town: &mut Town, bytes: &mut Bytes<'_>) -> Option<()> {
    let what = bytes.one()?;
    let at = usize::from(what >> 4) % usize::from(NODES);
    match what & 15 {
        0..=3 => {
            let (from, to, archive) = town.ways.pop_front()?;
            town.hear(from, to, &archive);
        }
        4 => {
            let (from, to, mut archive) = town.ways.pop_front()?;
            let place = usize::from(bytes.one()?) % archive.len().max(1);
            *archive.get_mut(place)? ^= bytes.one()?;
            town.hear(from, to, &archive);
        }
        5 => {
            let (from, to, archive) = town.ways.front()?.clone();
            town.hear(from, to, &archive);
        }
        6 => {
            let first = town.ways.pop_front()?;
            town.ways.push_back(first);
        }
        7 => drop(town.ways.pop_front()),
        8..=10 => town.logged(at),
        11 => {
            town.now += Duration::from_millis(u64::from(bytes.one()?) * 4);
            if !town.nodes[at].is_over {
                town.nodes[at].group.on_timer(town.now);
                town.work(at);
            }
        }
        12 => {
            if !town.nodes[at].is_over {
                let _ = town.nodes[at].group.propose(town.now, vec![bytes.one()?; 3]);
                town.work(at);
            }
        }
        13 => {
            if !town.nodes[at].is_over {
                let _ = town.nodes[at].group.keep();
                town.nodes[at].group.read_index(town.now);
                town.work(at);
            }
        }
        14 => {
            if !town.nodes[at].is_over {
                town.nodes[at].group.campaign(town.now);
                town.work(at);
            }
        }
        _ => {
            // From anybody, a stranger too.
            let from = NodeId(u16::from(bytes.one()?) % (NODES + 2));
            let length = usize::from(bytes.one()?).min(bytes.0.len());
            let (archive, rest) = bytes.0.split_at(length);
            let archive = archive.to_vec();
            bytes.0 = rest;
            town.hear(from, NodeId(at as u16), &archive);
        }
    }
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    let mut town = Town::new();
    let mut bytes = Bytes(bytes);
    while !bytes.0.is_empty() {
        let _ = step(&mut town, &mut bytes);
    }
});
