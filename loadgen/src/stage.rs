//! What all cores do at the same time: connect, then write every key, then run, each begun only when every core
//! has finished the one before. Core 0 counts and gives the word. The start of the run is an instant a little
//! ahead, so that all cores count due times from the same one.

use machine::Instant;

/// What a core is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Making connections.
    Connecting,
    /// Writing every key.
    Loading,
    /// Sending what is measured, or its warm-up.
    Running,
    /// Sending nothing more, waiting for what is in flight.
    Stopping,
    /// Reading every key, to see what is left.
    LookingBack,
    /// Finished.
    Over,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 6] =
        [Self::Connecting, Self::Loading, Self::Running, Self::Stopping, Self::LookingBack, Self::Over];

    /// The stage of that number.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What a core says to another.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum Said {
    /// To core 0: I have finished the stage, with so many connections open.
    Finished(u64),
    /// From core 0: all have; the stage of this number begins at this instant, in nanoseconds since the origin.
    Begin(u8, u64),
}

/// Core 0's count of those that have finished.
#[derive(Clone, Debug)]
pub struct Muster {
    cores: u16,
    finished: u16,
    open: u64,
    stage: Stage,
    preload: bool,
}

impl Muster {
    /// Nobody has finished connecting.
    #[must_use]
    pub fn new(cores: u16, preload: bool) -> Self {
        Self { cores, finished: 0, open: 0, stage: Stage::Connecting, preload }
    }

    /// One more has finished. When it was the last, the stage that begins now: none can when no core has
    /// a connection.
    pub fn finished(&mut self, open: u64) -> Option<Stage> {
        self.finished += 1;
        self.open += open;
        if self.finished < self.cores {
            return None;
        }
        let open = core::mem::take(&mut self.open);
        self.finished = 0;
        self.stage = match self.stage {
            _ if open == 0 => Stage::Over,
            Stage::Connecting if self.preload => Stage::Loading,
            Stage::Connecting | Stage::Loading => Stage::Running,
            Stage::Running | Stage::Stopping | Stage::LookingBack | Stage::Over => Stage::Over,
        };
        Some(self.stage)
    }
}

/// What is measured: requests due from here, and before there where there is an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When the run starts, warm-up and all.
    pub start: Instant,
    /// From when on requests count.
    pub from: Instant,
    /// From when on no more are due.
    pub until: Option<Instant>,
}

impl Window {
    /// Whether a request due then is still to be sent.
    #[must_use]
    pub fn is_open(&self, due: Instant) -> bool {
        self.until.is_none_or(|until| due < until)
    }

    /// Whether a request due then counts.
    #[must_use]
    pub fn counts(&self, due: Instant) -> bool {
        due >= self.from && self.is_open(due)
    }

    /// The second since the start that `now` lies in.
    #[must_use]
    pub fn second(&self, now: Instant) -> u64 {
        now.nanos_since(self.start) / 1_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_begins_when_all_have_finished_the_one_before() {
        let mut muster = Muster::new(2, true);
        assert_eq!(muster.finished(5), None);
        assert_eq!(muster.finished(0), Some(Stage::Loading));
        assert_eq!(muster.finished(5), None);
        assert_eq!(muster.finished(5), Some(Stage::Running));
        assert_eq!(Muster::new(1, false).finished(1), Some(Stage::Running));
        assert_eq!(Muster::new(1, true).finished(0), Some(Stage::Over));
    }

    #[test]
    fn stages_are_numbered_in_their_order() {
        for (number, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!((stage as usize, Stage::numbered(number as u8)), (number, Some(stage)));
        }
    }

    #[test]
    fn the_window_leaves_out_its_end() {
        let at = Instant::from_nanos;
        let window = Window { start: at(0), from: at(10), until: Some(at(20)) };
        assert!(!window.counts(at(9)) && window.counts(at(10)) && window.counts(at(19)));
        assert!(!window.counts(at(20)) && !window.is_open(at(20)) && window.is_open(at(0)));
    }
}
