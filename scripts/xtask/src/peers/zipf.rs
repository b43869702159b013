//! Numbers of which few are common and most are rare, as caches see them: the formula of Gray and others ("Quickly
//! generating billion-record synthetic databases", SIGMOD 1994) that YCSB uses too.
//!
//! Ranks are scrambled so that neighbours are not alike popular. YCSB hashes them, which leaves a third of all numbers
//! never drawn; here each rank has a number of its own, so that the whole key space is in play.

use super::chance::Chance;

/// A prime above every `count`, so that multiplying by it gives each rank a number of its own.
const SCRAMBLE: u64 = 4_294_967_291;

/// Draws numbers below `count`.
#[derive(Debug)]
pub(super) struct Zipf {
    count: u64,
    theta: f64,
    /// The sum of 1/rank^theta over all ranks.
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    /// `count` from 2 to below 2^32, `theta` between 0 (all alike) and 1.
    pub(super) fn new(count: u64, theta: f64) -> Self {
        assert!((2..SCRAMBLE).contains(&count) && theta > 0.0 && theta < 1.0);
        let zeta = (1..=count).map(|rank| (rank as f64).powf(-theta)).sum::<f64>();
        let two = 1.0 + 0.5_f64.powf(theta);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - theta)) / (1.0 - two / zeta);
        Self { count, theta, zeta, alpha: 1.0 / (1.0 - theta), eta }
    }

    /// The next one.
    pub(super) fn draw(&self, chance: &mut Chance) -> u64 {
        self.rank(chance.share()) * SCRAMBLE % self.count
    }

    /// The rank, from 0 for the most popular, to which this share of all draws leads.
    fn rank(&self, share: f64) -> u64 {
        let reached = share * self.zeta;
        if reached < 1.0 {
            return 0;
        }
        if reached < 1.0 + 0.5_f64.powf(self.theta) {
            return 1;
        }
        let rank = self.count as f64 * (self.eta * share - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_popular_are_as_popular_as_they_should_be() {
        let zipf = Zipf::new(1000, 0.99);
        let mut chance = Chance::new(7);
        let mut seen = vec![0_u32; 1000];
        (0..100_000).for_each(|_| seen[zipf.draw(&mut chance) as usize] += 1);
        let of_rank = |rank: u64| f64::from(seen[(rank * SCRAMBLE % 1000) as usize]);
        let expected = |rank: u64| 100_000.0 * (rank as f64 + 1.0).powf(-0.99) / zipf.zeta;
        for rank in [0, 1] {
            assert!((of_rank(rank) / expected(rank) - 1.0).abs() < 0.05, "rank {rank}");
        }
        let tail: f64 = (500..1000).map(of_rank).sum();
        let expected_tail: f64 = (500..1000).map(expected).sum();
        assert!((tail / expected_tail - 1.0).abs() < 0.1, "{tail} {expected_tail}");
        assert!(seen.iter().all(|count| *count > 0), "every number is in play");
    }
}
