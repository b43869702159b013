//! What a core found, as JSON: how an agent's cores tell it to whom they worked for. A histogram is what was counted at
//! each value, so that merging here gives what merging there would.

use crate::client::Outcomes;
use crate::tally::{Errors, KINDS, Slice, Tally};
use hdrhistogram::Histogram;
use machine::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Values, and how often each came.
type Counts = Vec<(u64, u64)>;

/// One core's outcomes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Packed {
    histograms: [Counts; 8],
    written: u64,
    answered: u64,
    misses: u64,
    loaded: u64,
    errors: Vec<u64>,
    errors_before: Vec<u64>,
    first_refusal: Option<String>,
    slices: Vec<Slice>,
    places: u64,
    connected: u64,
    measured: Option<Duration>,
    offered: Option<u64>,
    stalled: Duration,
    cut_short: bool,
    started_us: Option<u64>,
}

impl Packed {
    /// These outcomes. A history is none of them.
    #[must_use]
    pub fn new(outcomes: &Outcomes) -> Self {
        let tally = &outcomes.tally;
        Self {
            histograms: [
                &tally.service,
                &tally.response,
                &tally.slip,
                &tally.late,
                &tally.reading,
                &tally.connect,
                &tally.redirect,
                &tally.hiccup,
            ]
            .map(counts),
            written: tally.written,
            answered: tally.answered,
            misses: tally.misses,
            loaded: tally.loaded,
            errors: tally.errors.counts().to_vec(),
            errors_before: tally.errors_before.counts().to_vec(),
            first_refusal: tally.first_refusal.clone(),
            slices: tally.slices.clone(),
            places: outcomes.places,
            connected: outcomes.connected,
            measured: outcomes.measured,
            offered: outcomes.offered,
            stalled: outcomes.stalled,
            cut_short: outcomes.cut_short,
            started_us: outcomes.started.map(WallTime::micros),
        }
    }

    /// The outcomes.
    ///
    /// # Errors
    /// A sentence, when they come from another version.
    pub fn open(self) -> Result<Outcomes, String> {
        let errors = |counts: Vec<u64>| {
            let counts =
                counts.try_into().map_err(|_| format!("{} kinds of failure were expected", KINDS.len()));
            counts.map(Errors::from_counts)
        };
        let mut tally = Tally::default();
        let into = [
            &mut tally.service,
            &mut tally.response,
            &mut tally.slip,
            &mut tally.late,
            &mut tally.reading,
            &mut tally.connect,
            &mut tally.redirect,
            &mut tally.hiccup,
        ];
        for (histogram, counts) in into.into_iter().zip(self.histograms) {
            counts.into_iter().for_each(|(value, count)| histogram.saturating_record_n(value, count));
        }
        tally.written = self.written;
        tally.answered = self.answered;
        tally.misses = self.misses;
        tally.errors = errors(self.errors)?;
        tally.errors_before = errors(self.errors_before)?;
        tally.loaded = self.loaded;
        tally.first_refusal = self.first_refusal;
        tally.slices = self.slices;
        Ok(Outcomes {
            tally,
            places: self.places,
            connected: self.connected,
            measured: self.measured,
            offered: self.offered,
            stalled: self.stalled,
            cut_short: self.cut_short,
            started: self.started_us.map(WallTime::from_micros),
            history: None,
        })
    }
}

fn counts(histogram: &Histogram<u64>) -> Counts {
    histogram.iter_recorded().map(|at| (at.value_iterated_to(), at.count_since_last_iteration())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Kind, Times};

    #[test]
    fn what_is_packed_is_what_is_opened() {
        let mut tally = Tally::default();
        for micros in [0, 7, 5_003, 70_001] {
            let times = Times { service: micros, response: micros + 9, slip: 9, late: 3, reading: 1 };
            tally.reply(times, true);
        }
        tally.fail(Kind::Timeout, 3, true);
        tally.close();
        let outcomes = Outcomes {
            tally,
            places: 5,
            connected: 4,
            measured: Some(Duration::from_millis(1_500)),
            offered: Some(9),
            stalled: Duration::from_micros(7),
            cut_short: true,
            started: Some(WallTime::from_micros(12)),
            history: None,
        };
        let text = serde_json::to_string(&Packed::new(&outcomes)).unwrap();
        let opened = serde_json::from_str::<Packed>(&text).unwrap().open().unwrap();
        assert_eq!(opened.tally.response, outcomes.tally.response);
        assert_eq!(opened.tally.service, outcomes.tally.service);
        assert_eq!(opened.tally.slices, outcomes.tally.slices);
        assert_eq!((opened.tally.answered, opened.tally.errors.of(Kind::Timeout)), (4, 3));
        let facts = |all: &Outcomes| (all.places, all.connected, all.measured, all.offered, all.cut_short);
        assert_eq!(facts(&opened), facts(&outcomes));
        let short = Packed { errors: vec![1], ..Packed::new(&outcomes) };
        assert!(short.open().is_err());
    }
}
