//! Monitors: what must be true of every wave, looked at every time. Counting costs a few additions a message, so they
//! are never off.
//!
//! Tel, chapter 6, asks three things of a wave: *termination* (it ends), *decision* (there is one at least), and
//! *dependence* (a decision is preceded by an event in every process). The fourth is the algorithm's own bound on
//! messages. Each core counts what its units do; when a wave is over the counts of all cores are added and judged.
//! Where something died on the way, exact numbers are not promised any more: then the verdict is that the wave is
//! excused, and its result must say what is missing.

use crate::letter::Algorithm;
use crate::share::Extent;

/// What one core has counted of one wave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Units that took part.
    pub joined: u32,
    /// Messages of the algorithm written.
    pub sent: u64,
    /// Messages of the algorithm that came.
    pub received: u64,
    /// Those that came where nothing was waited for: doubled, or after they were given up.
    pub strays: u64,
    /// Signs of life; not messages of the algorithm.
    pub beats: u64,
    /// Edges given up.
    pub gave_up: u32,
    /// The most messages written on one channel.
    pub channel_max: u32,
    /// Units that decided.
    pub decided: u32,
    /// The fewest units of which a decision rests on news: that each took part before it. Clocks of cores cannot say
    /// that, since what a core calls now is when its turn began.
    pub rests_on: Option<u32>,
    /// Units that had not finished their part when the wave was over.
    pub unfinished: u32,
}

impl Tally {
    /// Adds another core's counts.
    pub fn add(&mut self, other: &Self) {
        self.joined += other.joined;
        self.sent += other.sent;
        self.received += other.received;
        self.strays += other.strays;
        self.beats += other.beats;
        self.gave_up += other.gave_up;
        self.channel_max = self.channel_max.max(other.channel_max);
        self.decided += other.decided;
        self.rests_on = match (self.rests_on, other.rests_on) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.unfinished += other.unfinished;
    }
}

/// How a property came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is true.
    Held,
    /// It is not promised for this wave: something died on the way, or the algorithm is not one for this graph.
    Excused,
    /// It is false, and should be true.
    Broken,
}

/// How all properties came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// It ended: nobody waits, and every message came.
    pub termination: Verdict,
    /// Whoever should decide did, once.
    pub decision: Verdict,
    /// Every decision rests on news of every unit, which had taken part before it.
    pub dependence: Verdict,
    /// The number of messages is what the books say.
    pub bound: Verdict,
}

impl Verdicts {
    /// All four, with their names.
    #[must_use]
    pub const fn named(self) -> [(&'static str, Verdict); 4] {
        [
            ("termination", self.termination),
            ("decision", self.decision),
            ("dependence", self.dependence),
            ("bound", self.bound),
        ]
    }

    /// Whether any is broken.
    #[must_use]
    pub fn any_broken(self) -> bool {
        self.named().iter().any(|(_, verdict)| *verdict == Verdict::Broken)
    }
}

/// The most messages a wave may take: exactly 2·|E| for Echo, 2·N a channel and so 4·N·|E| for Finn's, half of that
/// where links are used one way.
#[must_use]
pub fn bound(algorithm: Algorithm, extent: Extent) -> u64 {
    let (units, links) = (u64::from(extent.units), u64::from(extent.links));
    match algorithm {
        Algorithm::Echo => 2 * links,
        Algorithm::Finn => 4 * units * links,
        Algorithm::Directed => 2 * units * links,
    }
}

/// Judges a wave that is over. `extent` is the part of the network it could reach, all of it alive and older than the
/// wave when `is_whole`.
#[must_use]
pub fn judge(algorithm: Algorithm, extent: Extent, is_whole: bool, tally: &Tally) -> Verdicts {
    let is_calm = is_whole && tally.gave_up == 0;
    let said = |holds: bool| match (holds, is_calm) {
        (true, _) => Verdict::Held,
        (false, false) => Verdict::Excused,
        (false, true) => Verdict::Broken,
    };
    let depends = tally.joined == extent.units && tally.rests_on.is_some_and(|units| units >= extent.units);
    let deciders = match algorithm {
        Algorithm::Echo => 1,
        Algorithm::Finn | Algorithm::Directed => extent.units,
    };
    let within = match algorithm {
        Algorithm::Echo => tally.sent == bound(algorithm, extent) && tally.channel_max <= 1,
        Algorithm::Finn | Algorithm::Directed => {
            tally.sent <= bound(algorithm, extent) && tally.channel_max <= 2 * extent.units
        }
    };
    let dependence = match algorithm {
        Algorithm::Echo | Algorithm::Finn => said(depends),
        Algorithm::Directed if depends => Verdict::Held,
        Algorithm::Directed => Verdict::Excused,
    };
    Verdicts {
        termination: said(tally.unfinished == 0 && tally.sent == tally.received && tally.strays == 0),
        decision: said(tally.decided == deciders),
        dependence,
        bound: said(within),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { units: 4, links: 5 };

    fn good() -> Tally {
        Tally {
            joined: 4,
            sent: 10,
            received: 10,
            channel_max: 1,
            decided: 1,
            rests_on: Some(4),
            ..Tally::default()
        }
    }

    #[test]
    fn each_property_is_broken_by_its_own_lie() {
        #[track_caller]
        fn check(change: impl Fn(&mut Tally), broken: &[&str]) {
            let mut tally = good();
            change(&mut tally);
            let verdicts = judge(Algorithm::Echo, EXTENT, true, &tally);
            let found = verdicts.named().into_iter().filter(|(_, verdict)| *verdict == Verdict::Broken);
            assert_eq!(found.map(|(name, _)| name).collect::<Vec<_>>(), broken);
            let excused = judge(Algorithm::Echo, EXTENT, false, &tally);
            assert!(!excused.any_broken(), "nothing is promised of a network that is not whole");
        }
        check(|_| {}, &[]);
        check(|tally| tally.unfinished = 1, &["termination"]);
        check(|tally| tally.received = 9, &["termination"]);
        check(|tally| tally.decided = 2, &["decision"]);
        check(|tally| (tally.decided, tally.rests_on) = (0, None), &["decision", "dependence"]);
        check(|tally| tally.joined = 3, &["dependence"]);
        check(|tally| tally.rests_on = Some(3), &["dependence"]);
        check(|tally| (tally.sent, tally.received) = (11, 11), &["bound"]);
        check(|tally| tally.channel_max = 2, &["bound"]);
    }

    #[test]
    fn the_one_way_mode_is_not_promised_to_depend_on_everybody() {
        let tally = Tally { joined: 2, decided: 4, rests_on: Some(1), ..good() };
        let verdicts = judge(Algorithm::Directed, EXTENT, true, &tally);
        assert_eq!((verdicts.dependence, verdicts.decision), (Verdict::Excused, Verdict::Held));
    }
}
