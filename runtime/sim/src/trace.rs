//! What happened, step by step: hashed, so that two runs can be compared, and its end kept to be read. A step is
//! a few words and numbers; the text is only made when somebody asks.

use core::fmt::Write as _;
use machine::{CoreId, Instant, NodeId};
use std::collections::VecDeque;

/// How many steps a failure shows.
const KEPT: usize = 20;

/// One step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) at: Instant,
    pub(crate) place: Option<(NodeId, CoreId)>,
    pub(crate) what: &'static str,
    pub(crate) who: u64,
    pub(crate) detail: u64,
}

/// The running hash and the last steps.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    steps: u64,
    last: VecDeque<Step>,
}

impl Trace {
    pub(crate) fn step(&mut self, step: Step) {
        self.steps += 1;
        self.mix(step.at.nanos());
        if let Some((node, core)) = step.place {
            self.mix(u64::from(node.0) << 16 | u64::from(core.0));
        }
        self.bytes(step.what.as_bytes());
        self.mix(step.who);
        self.mix(step.detail);
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    /// Makes content part of the hash.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.last {
            let _ = write!(text, "  {:?} ", step.at);
            let _ = match step.place {
                Some((node, core)) => write!(text, "node {} core {} ", node.0, core.0),
                None => write!(text, "world "),
            };
            let _ = writeln!(text, "{} {:#x} {}", step.what, step.who, step.detail);
        }
        text
    }
}
