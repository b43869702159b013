//! Named streams of pseudo-random numbers, all from one seed. A stream is named after what it decides
//! ("schedule", "network", "keys"), so that drawing more in one place never changes what another place draws,
//! and a run is told whole by its seed. Not for secrets.

/// A seed, from which streams are drawn by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    seed: u64,
}

impl Chance {
    /// All that `seed` decides.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream called `name`. The same name gives the same stream again, from its beginning.
    #[must_use]
    pub fn stream(&self, name: &str) -> Stream {
        Stream::new(self.mixed(name))
    }

    /// A chance of its own for a part of the world, such as one core: `within("core", 3)`.
    #[must_use]
    pub fn within(&self, name: &str, number: u64) -> Self {
        Self { seed: mix(self.mixed(name) ^ mix(number.wrapping_add(GOLDEN))) }
    }

    fn mixed(&self, name: &str) -> u64 {
        name.bytes().fold(mix(self.seed), |state, byte| mix(state ^ u64::from(byte).wrapping_mul(GOLDEN)))
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One stream: xoshiro256++ (Blackman and Vigna 2019), period 2^256 - 1.
#[derive(Clone, Debug)]
pub struct Stream {
    state: [u64; 4],
}

impl Stream {
    fn new(seed: u64) -> Self {
        let mut word = seed;
        let state = core::array::from_fn(|_| {
            word = word.wrapping_add(GOLDEN);
            mix(word)
        });
        Self { state }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number under `bound`, uniform but for a bias under 2^-32 for bounds under 2^32 (Lemire 2019).
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "from low to high");
        match (high - low).checked_add(1) {
            Some(span) => low + self.below(span),
            None => self.next_u64(),
        }
    }

    /// True `per_mille` times in a thousand.
    pub fn one_in_thousand(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A number in [0, 1) with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of these, or none when there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.below(from.len() as u64) as usize]) }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_by_seed_and_name_alone() {
        let draw = |seed, name: &str| Chance::new(seed).stream(name).next_u64();
        assert_eq!(draw(1, "keys"), draw(1, "keys"));
        assert_ne!(draw(1, "keys"), draw(1, "network"));
        assert_ne!(draw(1, "keys"), draw(2, "keys"));
        let chance = Chance::new(9);
        assert_ne!(chance.within("core", 0), chance.within("core", 1));
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut stream = Chance::new(3).stream("test");
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[stream.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert!((0..1000).all(|_| (5..=9).contains(&stream.between(5, 9))));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&stream.unit())));
    }
}
