//! Which key an operation names: all alike, a few much more often than the rest, the newest, or one after another.
//! The one hard thing is that the choice must cost nothing to prepare, however many keys there are, and depend on
//! nothing but the stream it draws from: so popularity is drawn by rejection-inversion, not from a table.

use crate::workload::Verb;
use machine::Stream;

/// How skewed a zipfian choice is when nothing is said: the constant of YCSB.
const THETA: f64 = 0.99;
/// The most skewed choice: beyond it one key has nearly all.
const THETA_MAX: f64 = 5.0;
/// Multiplied with a rank, modulo the number of keys, it scatters neighbours: a prime near 2^63 / golden ratio.
const SCATTER: u64 = 5_700_357_409_661_599_241;

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// All alike.
    Uniform,
    /// The key of rank r comes in proportion to 1 / r^theta. Ranks are scattered over the keys.
    Zipfian {
        /// The skew, over 0.
        theta: f64,
    },
    /// This share of the keys gets that share of the operations, both in percent.
    HotSpot {
        /// Of the keys.
        keys: u8,
        /// Of the operations.
        operations: u8,
    },
    /// Each core writes its keys in turn and reads what it wrote last the oftenest, with zipfian skew.
    Latest {
        /// The skew, over 0.
        theta: f64,
    },
    /// Each core goes through its share of the keys in turn.
    Sequential,
}

/// A choice: `uniform`, `zipfian`, `zipfian:1.2`, `hot-spot:20:80`, `latest`, `sequential`.
///
/// # Errors
/// A sentence, when it is none.
pub fn choice(text: &str) -> Result<Choice, String> {
    let wrong = || {
        format!(
            "{text:?} is no choice of keys: write uniform, zipfian:0.99, hot-spot:20:80, latest or sequential"
        )
    };
    let mut words = text.split(':');
    let name = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let theta = |words: &[&str]| match words {
        [] => Ok(THETA),
        [theta] => match theta.parse::<f64>() {
            Ok(theta) if theta > 0.0 && theta <= THETA_MAX => Ok(theta),
            Ok(_) | Err(_) => Err(wrong()),
        },
        _ => Err(wrong()),
    };
    let percent = |word: &str| match word.trim_end_matches('%').parse::<u8>() {
        Ok(percent) if (1..=99).contains(&percent) => Ok(percent),
        Ok(_) | Err(_) => Err(wrong()),
    };
    match (name, &rest[..]) {
        ("uniform", []) => Ok(Choice::Uniform),
        ("sequential", []) => Ok(Choice::Sequential),
        ("zipfian", words) => Ok(Choice::Zipfian { theta: theta(words)? }),
        ("latest", words) => Ok(Choice::Latest { theta: theta(words)? }),
        ("hot-spot", []) => Ok(Choice::HotSpot { keys: 20, operations: 80 }),
        ("hot-spot", [keys, operations]) => {
            Ok(Choice::HotSpot { keys: percent(keys)?, operations: percent(operations)? })
        }
        _ => Err(wrong()),
    }
}

impl core::fmt::Display for Choice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Uniform => write!(f, "uniform"),
            Self::Zipfian { theta } => write!(f, "zipfian:{theta}"),
            Self::HotSpot { keys, operations } => write!(f, "hot-spot:{keys}:{operations}"),
            Self::Latest { theta } => write!(f, "latest:{theta}"),
            Self::Sequential => write!(f, "sequential"),
        }
    }
}

/// One core's choices.
#[derive(Clone, Debug)]
pub struct Keys {
    keys: u64,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Uniform,
    Zipfian(Zipf),
    HotSpot { hot: u64, operations: u64 },
    Latest(Zipf, Own),
    Sequential(Own),
}

/// The keys that are one core's to write in turn: every `cores`th, from the `core`th on.
#[derive(Clone, Debug)]
struct Own {
    core: u64,
    cores: u64,
    count: u64,
    next: u64,
}

impl Own {
    fn new(keys: u64, core: u16, cores: u16) -> Self {
        let (core, cores) = (u64::from(core) % keys, u64::from(cores));
        Self { core, cores, count: (keys - core).div_ceil(cores), next: 0 }
    }

    fn at(&self, place: u64) -> u64 {
        self.core + place * self.cores
    }

    fn take(&mut self) -> u64 {
        let place = self.next;
        self.next = (self.next + 1) % self.count;
        self.at(place)
    }

    /// What was taken so many takes before the last, round and round.
    fn taken(&self, ago: u64) -> u64 {
        self.at((self.next + 2 * self.count - 1 - ago) % self.count)
    }
}

impl Keys {
    /// The choices of this core among so many keys.
    #[must_use]
    pub fn new(choice: Choice, keys: u64, core: u16, cores: u16) -> Self {
        let rule = match choice {
            Choice::Uniform => Rule::Uniform,
            Choice::Zipfian { theta } => Rule::Zipfian(Zipf::new(keys, theta)),
            Choice::HotSpot { keys: share, operations } => Rule::HotSpot {
                hot: (u128::from(keys) * u128::from(share) / 100).max(1) as u64,
                operations: u64::from(operations),
            },
            Choice::Latest { theta } => {
                let own = Own::new(keys, core, cores);
                Rule::Latest(Zipf::new(own.count, theta), own)
            }
            Choice::Sequential => Rule::Sequential(Own::new(keys, core, cores)),
        };
        Self { keys, rule }
    }

    /// The key of the next operation, which does this.
    #[inline]
    pub fn draw(&mut self, verb: Verb, stream: &mut Stream) -> u64 {
        match &mut self.rule {
            Rule::Uniform => stream.below(self.keys),
            Rule::Zipfian(zipf) => scatter(zipf.draw(stream), self.keys),
            Rule::HotSpot { hot, operations } => match stream.below(100) < *operations {
                true => stream.below(*hot),
                false if *hot == self.keys => stream.below(self.keys),
                false => *hot + stream.below(self.keys - *hot),
            },
            Rule::Latest(zipf, own) => match verb {
                Verb::Set => own.take(),
                Verb::Get | Verb::Del => own.taken(zipf.draw(stream)),
            },
            Rule::Sequential(own) => own.take(),
        }
    }
}

/// A key for this rank, another for each: multiplication by what shares no factor with the modulus is one to one.
fn scatter(rank: u64, keys: u64) -> u64 {
    if keys.is_multiple_of(SCATTER) {
        return rank;
    }
    (u128::from(rank) * u128::from(SCATTER) % u128::from(keys)) as u64
}

/// Ranks from 0 on, rank r in proportion to 1 / (r + 1)^theta: rejection-inversion (Hörmann and Derflinger,
/// ACM TOMACS 6(3), 1996), which needs no table and rejects less than one draw in ten.
#[derive(Clone, Debug)]
struct Zipf {
    count: f64,
    theta: f64,
    area_first: f64,
    area_all: f64,
    squeeze: f64,
}

impl Zipf {
    fn new(count: u64, theta: f64) -> Self {
        let count = count as f64;
        let mut zipf = Self { count, theta, area_first: 0.0, area_all: 0.0, squeeze: 0.0 };
        zipf.area_first = zipf.area(1.5) - 1.0;
        zipf.area_all = zipf.area(count + 0.5);
        zipf.squeeze = 2.0 - zipf.inverse(zipf.area(2.5) - zipf.height(2.0));
        zipf
    }

    fn draw(&self, stream: &mut Stream) -> u64 {
        loop {
            let area = self.area_all + stream.unit() * (self.area_first - self.area_all);
            let x = self.inverse(area);
            let rank = (x + 0.5).floor().clamp(1.0, self.count);
            if rank - x <= self.squeeze || area >= self.area(rank + 0.5) - self.height(rank) {
                return rank as u64 - 1;
            }
        }
    }

    fn height(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// The integral of the height from 1 to x.
    fn area(&self, x: f64) -> f64 {
        let log = x.ln();
        let scaled = (1.0 - self.theta) * log;
        let ratio = if scaled.abs() > 1e-8 { scaled.exp_m1() / scaled } else { 1.0 + scaled / 2.0 };
        ratio * log
    }

    fn inverse(&self, area: f64) -> f64 {
        let scaled = (area * (1.0 - self.theta)).max(-1.0);
        let ratio = if scaled.abs() > 1e-8 { scaled.ln_1p() / scaled } else { 1.0 - scaled / 2.0 };
        (ratio * area).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    const DRAWS: usize = 200_000;

    fn counts(choice: Choice, keys: u64) -> Vec<u64> {
        let mut stream = Chance::new(3).stream("keys");
        let mut drawn = Keys::new(choice, keys, 0, 1);
        let mut counts = vec![0; keys as usize];
        (0..DRAWS).for_each(|_| counts[drawn.draw(Verb::Get, &mut stream) as usize] += 1);
        counts
    }

    #[test]
    fn zipfian_keys_come_in_proportion_to_their_rank() {
        for theta in [0.5, 0.99, 1.0, 1.2, 2.0] {
            let keys = 1000;
            let mut counts = counts(Choice::Zipfian { theta }, keys);
            counts.sort_unstable_by(|a, b| b.cmp(a));
            let weight = |rank: usize| (rank as f64 + 1.0).powf(-theta);
            let sum: f64 = (0..keys as usize).map(weight).sum();
            for rank in [0, 1, 2, 9] {
                let expected = DRAWS as f64 * weight(rank) / sum;
                let off = (counts[rank] as f64 - expected).abs() / expected.sqrt();
                assert!(off < 6.0, "{theta} {rank}: {} of {expected:.0}", counts[rank]);
            }
        }
    }

    #[test]
    fn scattered_ranks_are_all_keys_once() {
        for keys in [1, 2, 10, 97, 1000, 4096] {
            let mut all: Vec<u64> = (0..keys).map(|rank| scatter(rank, keys)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..keys).collect::<Vec<_>>());
        }
        assert!(scatter(1, 1 << 36).abs_diff(scatter(0, 1 << 36)) > 1 << 20);
    }

    #[test]
    fn a_hot_spot_gets_its_share() {
        let counts = counts(Choice::HotSpot { keys: 10, operations: 90 }, 1000);
        let hot: u64 = counts[..100].iter().sum();
        assert!((178_500..181_500).contains(&hot), "{hot}");
        assert!(counts.iter().all(|count| *count > 0));
    }

    #[test]
    fn every_core_goes_through_its_own_keys_in_turn() {
        let mut stream = Chance::new(3).stream("keys");
        let mut drawn = |core, verb, count| {
            let mut keys = Keys::new(Choice::Sequential, 7, core, 3);
            (0..count).map(|_| keys.draw(verb, &mut stream)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(0, Verb::Get, 4), [0, 3, 6, 0]);
        assert_eq!(drawn(1, Verb::Get, 3), [1, 4, 1]);
    }

    #[test]
    fn what_was_written_last_is_read_the_oftenest() {
        let mut stream = Chance::new(3).stream("keys");
        let mut keys = Keys::new(Choice::Latest { theta: 1.2 }, 100, 0, 1);
        for _ in 0..250 {
            keys.draw(Verb::Set, &mut stream);
        }
        let mut counts = [0; 100];
        (0..10_000).for_each(|_| counts[keys.draw(Verb::Get, &mut stream) as usize] += 1);
        let oftenest = (0..100).max_by_key(|key| counts[*key]);
        assert_eq!(oftenest, Some(49), "250 writes round 100 keys end at 49");
        assert!(counts[49] > counts[48] && counts[48] > counts[40]);
    }

    #[test]
    fn choices_are_read_and_written_back() {
        for text in ["uniform", "zipfian:0.99", "hot-spot:20:80", "latest:1.2", "sequential"] {
            assert_eq!(choice(text).map(|choice| choice.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(choice("zipfian"), Ok(Choice::Zipfian { theta: THETA }));
        for refused in ["", "zipf", "zipfian:0", "zipfian:nan", "hot-spot:0:80", "hot-spot:20", "uniform:1"] {
            assert!(choice(refused).is_err(), "{refused}");
        }
    }
}
