//! Whether two distributions differ, and by how much: from their seconds, since requests of one second are not
//! independent of each other and their number says nothing about certainty. Seconds are drawn again and again in
//! blocks (Künsch 1989: what is slow in one second is slow in the next), percentiles are taken of each draw's merged
//! histogram, and their spread is the error.
//!
//! The one hard thing is honesty with few seconds: the spread of a bootstrap is too small then, so it is widened by
//! the degrees of freedom that blocks leave, and by Student's quantile. That false alarms come as often as promised
//! is tested on made pairs.

use hdrhistogram::Histogram;
use machine::Stream;

/// The least whole seconds of a side: fewer say nothing about how seconds differ.
pub const SECONDS_MIN: usize = 8;
/// Redraws of each side.
pub const REDRAWS: usize = 1_000;

/// Seconds of a run as counts over a common scale of values.
#[derive(Clone, Debug)]
pub struct Seconds {
    rows: Vec<Vec<u32>>,
}

/// A common scale: every value that either side has, ascending, µs.
#[derive(Clone, Debug)]
pub struct Scale {
    values: Vec<u64>,
}

impl Scale {
    /// The scale of all these.
    #[must_use]
    pub fn of(sides: [&[Histogram<u64>]; 2]) -> Self {
        let mut values: Vec<u64> = sides
            .iter()
            .flat_map(|side| side.iter())
            .flat_map(|second| second.iter_recorded().map(|at| at.value_iterated_to()))
            .collect();
        values.sort_unstable();
        values.dedup();
        Self { values }
    }

    /// These seconds on the scale.
    ///
    /// # Panics
    /// When a value is not on it.
    #[must_use]
    pub fn seconds(&self, side: &[Histogram<u64>]) -> Seconds {
        let row = |second: &Histogram<u64>| {
            let mut row = vec![0_u32; self.values.len()];
            for at in second.iter_recorded() {
                let place = self.values.binary_search(&at.value_iterated_to()).expect("the scale has it");
                row[place] += at.count_since_last_iteration() as u32;
            }
            row
        };
        Seconds { rows: side.iter().map(row).collect() }
    }

    /// The value under or at which `quantile` of all lies; 0 when there are none.
    fn at(&self, sum: &[u64], quantile: f64) -> f64 {
        let all: u64 = sum.iter().sum();
        let wanted = ((all as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        for (value, count) in self.values.iter().zip(sum) {
            below += count;
            if below >= wanted {
                return *value as f64;
            }
        }
        0.0
    }
}

impl Seconds {
    fn sum(&self) -> Vec<u64> {
        let mut sum = vec![0; self.rows.first().map_or(0, Vec::len)];
        self.rows.iter().for_each(|row| add(&mut sum, row));
        sum
    }

    /// Draws as many seconds as there are, in blocks that go round the end.
    fn redraw(&self, block: usize, stream: &mut Stream, sum: &mut [u64]) {
        sum.fill(0);
        let count = self.rows.len();
        let mut left = count;
        while left > 0 {
            let first = stream.below(count as u64) as usize;
            for step in 0..block.min(left) {
                add(sum, &self.rows[(first + step) % count]);
            }
            left -= block.min(left);
        }
    }

    /// Seconds that are drawn together: so many that a draw keeps how long a disturbance lasts, and few enough that
    /// there are several draws.
    fn block(&self) -> usize {
        (2.0 * (self.rows.len() as f64).cbrt()).ceil() as usize
    }
}

fn add(sum: &mut [u64], row: &[u32]) {
    for (sum, more) in sum.iter_mut().zip(row) {
        *sum += u64::from(*more);
    }
}

/// How one percentile of B relates to that of A.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Which.
    pub quantile: f64,
    /// Of A, µs.
    pub a: f64,
    /// Of B, µs.
    pub b: f64,
    /// B as a multiple of A.
    pub ratio: f64,
    /// The confidence interval of that, at the level asked for.
    pub from: f64,
    /// Its other end.
    pub to: f64,
}

impl Difference {
    /// Whether no difference is outside the interval.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.from > 1.0 || self.to < 1.0
    }
}

/// The differences at these quantiles. All intervals hold together with `confidence` (each is widened for their
/// number, after Bonferroni).
#[must_use]
pub fn differences(
    scale: &Scale,
    a: &Seconds,
    b: &Seconds,
    quantiles: &[f64],
    confidence: f64,
    redraws: usize,
    stream: &mut Stream,
) -> Vec<Difference> {
    let spread = |side: &Seconds, stream: &mut Stream| {
        let mut sum = vec![0; scale.values.len()];
        let mut logs = vec![Vec::with_capacity(redraws); quantiles.len()];
        for _ in 0..redraws {
            side.redraw(side.block(), stream, &mut sum);
            for (log, quantile) in logs.iter_mut().zip(quantiles) {
                log.push(scale.at(&sum, *quantile).max(1.0).ln());
            }
        }
        logs.iter().map(|log| variance(log)).collect::<Vec<_>>()
    };
    let (spread_a, spread_b) = (spread(a, stream), spread(b, stream));
    let (sum_a, sum_b) = (a.sum(), b.sum());
    let tail = (1.0 - confidence) / 2.0 / quantiles.len() as f64;
    let of = |(place, quantile): (usize, &f64)| {
        let (at_a, at_b) = (scale.at(&sum_a, *quantile).max(1.0), scale.at(&sum_b, *quantile).max(1.0));
        // A histogram tells no values apart that are nearer than its digits.
        let digits = (1.0 / 2048.0_f64).max(0.5 / at_a.min(at_b));
        let (error_a, error_b) = (widened(spread_a[place], a), widened(spread_b[place], b));
        let error = (error_a + error_b + digits * digits).sqrt();
        let freedom = freedom(error_a, a) + freedom(error_b, b);
        let freedom = if freedom > 0.0 { (error_a + error_b).powi(2) / freedom } else { f64::INFINITY };
        let reach = student(tail, freedom) * error;
        let log = (at_b / at_a).ln();
        Difference {
            quantile: *quantile,
            a: at_a,
            b: at_b,
            ratio: log.exp(),
            from: (log - reach).exp(),
            to: (log + reach).exp(),
        }
    };
    quantiles.iter().enumerate().map(of).collect()
}

/// A bootstrap's variance is too small by the share of one block.
fn widened(variance: f64, side: &Seconds) -> f64 {
    let blocks = side.rows.len() as f64 / side.block() as f64;
    variance * blocks / (blocks - 1.0).max(1.0)
}

/// Welch and Satterthwaite: what a side adds to the inverse of the degrees of freedom.
fn freedom(error: f64, side: &Seconds) -> f64 {
    let blocks = side.rows.len() as f64 / side.block() as f64;
    error * error / (blocks * 1.5 - 1.0).max(1.0)
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0)
}

/// Student's quantile for this tail, by the expansion of Cornish and Fisher around the normal one.
fn student(tail: f64, freedom: f64) -> f64 {
    let z = normal(tail);
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    let first = (z3 + z) / 4.0;
    let second = (5.0 * z5 + 16.0 * z3 + 3.0 * z) / 96.0;
    let third = (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / 384.0;
    z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}

/// The normal quantile for this tail (Abramowitz and Stegun 26.2.23; off by less than 0.00045).
fn normal(tail: f64) -> f64 {
    let t = (-2.0 * tail.ln()).sqrt();
    t - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
        / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_student_are_those_of_tables() {
        for (tail, freedom, expected) in
            [(0.025, 10.0, 2.228), (0.025, 1e9, 1.960), (0.005, 20.0, 2.845), (0.025, 5.0, 2.571)]
        {
            let found = student(tail, freedom);
            assert!((found - expected).abs() < 0.02, "{tail} {freedom}: {found}");
        }
    }

    #[test]
    fn a_percentile_of_merged_seconds_is_that_of_all_requests() {
        let mut one = crate::tally::histogram();
        let mut two = crate::tally::histogram();
        (1..=90).for_each(|value| one.record(value).unwrap());
        (91..=100).for_each(|value| two.record(value).unwrap());
        let side = [one, two];
        let scale = Scale::of([&side, &[]]);
        let sum = scale.seconds(&side).sum();
        assert_eq!((scale.at(&sum, 0.5), scale.at(&sum, 0.99), scale.at(&sum, 1.0)), (50.0, 99.0, 100.0));
    }
}
