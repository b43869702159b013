//! Snapshots on their way from a leader to those who are far behind, in parts, because a whole state in one message
//! would pass the bound of a link. Two parts at most are on their way to a node, each acknowledged, so a slow link
//! costs patience and no memory.

use crate::message::{Body, Meta};
use crate::store::Offer;
use machine::{Instant, NodeId};
use std::collections::BTreeMap;

/// Parts that may be on their way to one node.
const WINDOW: usize = 2;

/// A snapshot may have so many bytes: what a follower takes in before it is whole.
pub(crate) const SNAPSHOT_MAX: u64 = 4 << 30;

/// Snapshots that are being sent, and the one that is being received.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    sending: BTreeMap<NodeId, Sending>,
    receiving: Option<Receiving>,
    /// Whole, until the library has said whether it wants them.
    wholes: Vec<(Meta, Vec<u8>)>,
}

/// A snapshot of which the beginning is here. Another leader's bytes of the same state may lie otherwise, so they do not
/// go on where the first one's ended.
#[derive(Debug)]
struct Receiving {
    from: (NodeId, u64),
    of: Meta,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Sending {
    offer: Offer,
    sent: usize,
    arrived: usize,
    is_said: bool,
    /// Given up when nothing is heard until then.
    by: Instant,
}

/// What became of a snapshot that was being sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    GoesOn,
    Whole,
}

impl Parts {
    /// Begins to send; one that is already being sent to that node goes on.
    pub(crate) fn begin(&mut self, to: NodeId, offer: Offer, by: Instant) {
        let is_same = self.sending.get(&to).is_some_and(|sending| sending.offer.of == offer.of);
        if !is_same {
            self.sending.insert(to, Sending { offer, sent: 0, arrived: 0, is_said: false, by });
        }
    }

    /// The parts that can be sent to that node now.
    pub(crate) fn next(&mut self, to: NodeId, part_max: usize) -> Vec<Body> {
        let Some(sending) = self.sending.get_mut(&to) else { return Vec::new() };
        let total = sending.offer.bytes.len();
        let mut parts = Vec::new();
        while (sending.sent < total || !sending.is_said) && sending.sent < sending.arrived + WINDOW * part_max
        {
            let end = total.min(sending.sent + part_max);
            parts.push(Body::Part {
                of: sending.offer.of.clone(),
                offset: sending.sent as u64,
                total: total as u64,
                bytes: sending.offer.bytes[sending.sent..end].to_vec(),
            });
            (sending.sent, sending.is_said) = (end, true);
        }
        parts
    }

    /// A node has everything before `next` of the snapshot of `index`.
    pub(crate) fn arrived(&mut self, at: NodeId, index: u64, next: u64, by: Instant) -> Sent {
        let Some(sending) = self.sending.get_mut(&at) else { return Sent::GoesOn };
        let next = usize::try_from(next).unwrap_or(usize::MAX);
        if sending.offer.of.index != index || next > sending.sent {
            return Sent::GoesOn;
        }
        sending.arrived = sending.arrived.max(next);
        sending.by = by;
        if sending.arrived < sending.offer.bytes.len() {
            return Sent::GoesOn;
        }
        self.sending.remove(&at);
        Sent::Whole
    }

    /// Whether one was being sent there; it no longer is.
    pub(crate) fn give_up(&mut self, to: NodeId) -> bool {
        self.sending.remove(&to).is_some()
    }

    /// Those of which nothing was heard for too long; nothing is sent to them any more.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<NodeId> {
        let late = |sending: &Sending| sending.by <= now;
        let nodes: Vec<NodeId> =
            self.sending.iter().filter(|(_, sending)| late(sending)).map(|(node, _)| *node).collect();
        for node in &nodes {
            self.sending.remove(node);
        }
        nodes
    }

    pub(crate) fn is_sending(&self) -> bool {
        !self.sending.is_empty()
    }

    /// No longer a leader.
    pub(crate) fn stop_sending(&mut self) {
        self.sending.clear();
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.sending.values().map(|sending| sending.by).min()
    }

    /// Takes a part in from a node in its term. Gives how much of the snapshot is here, if that is worth saying, and
    /// whether that is all.
    pub(crate) fn take(
        &mut self,
        from: (NodeId, u64),
        of: &Meta,
        offset: u64,
        total: u64,
        bytes: &[u8],
    ) -> Option<(u64, bool)> {
        if offset == 0 {
            self.receiving = Some(Receiving { from, of: of.clone(), bytes: Vec::new() });
        }
        let held = self.receiving.as_mut()?;
        if held.from != from || held.of != *of || held.bytes.len() as u64 != offset || total > SNAPSHOT_MAX {
            return None;
        }
        held.bytes.extend_from_slice(bytes);
        let here = held.bytes.len() as u64;
        if here == total {
            self.wholes.extend(self.receiving.take().map(|held| (held.of, held.bytes)));
        }
        Some((here, here == total))
    }

    /// The bytes of a whole snapshot, once.
    pub(crate) fn whole(&mut self, of: &Meta) -> Option<Vec<u8>> {
        let place = self.wholes.iter().position(|(whole, _)| whole == of)?;
        Some(self.wholes.swap_remove(place).1)
    }

    /// The library has taken what it wanted.
    pub(crate) fn forget_wholes(&mut self) {
        self.wholes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(index: u64) -> Meta {
        Meta { index, term: 1, voters: vec![0, 1], learners: Vec::new() }
    }

    fn parts_of(bodies: Vec<Body>) -> Vec<(u64, u64, Vec<u8>)> {
        let part = |body| match body {
            Body::Part { offset, total, bytes, .. } => (offset, total, bytes),
            other => panic!("{other:?} is no part"),
        };
        bodies.into_iter().map(part).collect()
    }

    #[test]
    fn a_snapshot_of_any_length_arrives_and_no_more_than_two_parts_fly() {
        for length in [0, 1, 9, 10, 11, 20, 95] {
            let state: Vec<u8> = (0..length).collect();
            let (mut sender, mut receiver) = (Parts::default(), Parts::default());
            let (to, by) = (NodeId(1), Instant::from_nanos(9));
            sender.begin(to, Offer { of: meta(7), bytes: state.clone().into() }, by);
            let mut flying = parts_of(sender.next(to, 10));
            let mut is_whole = false;
            while !flying.is_empty() {
                assert!(flying.len() <= WINDOW);
                let (offset, total, bytes) = flying.remove(0);
                let (here, whole) =
                    receiver.take((NodeId(0), 1), &meta(7), offset, total, &bytes).expect("in order");
                is_whole = sender.arrived(to, 7, here, by) == Sent::Whole;
                assert_eq!(is_whole, whole, "of {length}");
                flying.extend(parts_of(sender.next(to, 10)));
            }
            assert!(is_whole && !sender.is_sending());
            assert_eq!(receiver.whole(&meta(7)), Some(state));
        }
    }

    #[test]
    fn parts_of_two_senders_are_never_one_snapshot() {
        let mut parts = Parts::default();
        assert_eq!(parts.take((NodeId(0), 1), &meta(7), 0, 4, b"ab"), Some((2, false)));
        assert_eq!(parts.take((NodeId(2), 2), &meta(7), 2, 4, b"cd"), None);
        assert_eq!(parts.take((NodeId(0), 1), &meta(8), 2, 4, b"cd"), None);
        assert_eq!(parts.take((NodeId(0), 1), &meta(7), 3, 4, b"d"), None);
        assert_eq!(parts.take((NodeId(0), 1), &meta(7), 2, 4, b"cd"), Some((4, true)));
        assert_eq!(parts.whole(&meta(7)), Some(b"abcd".to_vec()));
        assert_eq!(parts.whole(&meta(7)), None);
    }
}
