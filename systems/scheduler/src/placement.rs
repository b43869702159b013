//! Which worker gets a job: of those with room for what it declares, the better of two drawn from the best.
//!
//! The hard thing is a burst: the load that a worker tells is old by the time the next job comes, so all would go to
//! the one that looked idle. So what was given is subtracted when it is given, before any worker has felt it, and two
//! random candidates of the better half keep many leaders' or many moments' same view from meaning the same choice
//! (Mitzenmacher, "The Power of Two Choices", 2001).

use crate::load::Load;
use crate::spec::Spec;
use core::fmt::Write as _;
use machine::Stream;

/// Weights of free processors, free memory and the absence of pressure, in hundredths.
const WEIGHTS: [u64; 3] = [50, 30, 20];

/// A worker as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub worker: u16,
    /// What it told.
    pub load: Load,
    /// What was given to it, in thousandths of processors.
    pub given_cpu_milli: u64,
    /// What was given to it, in MiB.
    pub given_memory_mb: u64,
}

/// A choice and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Whom.
    pub worker: u16,
    /// The numbers, as a sentence.
    pub why: String,
}

impl Candidate {
    fn free_cpu_milli(&self) -> u64 {
        let used = self.load.cpu_milli * self.load.cpu_used / 1000;
        self.load.cpu_milli.saturating_sub(self.given_cpu_milli.max(used))
    }

    fn free_memory_mb(&self) -> u64 {
        let used = self.load.memory_mb * self.load.memory_used / 1000;
        self.load.memory_mb.saturating_sub(self.given_memory_mb.max(used))
    }

    /// Whether what the job declares was not yet given away. What others use of the machine makes a worker worse, not
    /// full: declared room is a promise, load is weather.
    #[must_use]
    pub fn has_room(&self, spec: &Spec) -> bool {
        self.given_cpu_milli + spec.cpu_milli <= self.load.cpu_milli
            && self.given_memory_mb + spec.memory_mb <= self.load.memory_mb
    }

    /// From 0 to 1000.
    #[must_use]
    pub fn score(&self) -> u64 {
        let cpu = self.free_cpu_milli() * 1000 / self.load.cpu_milli.max(1);
        let memory = self.free_memory_mb() * 1000 / self.load.memory_mb.max(1);
        let calm = 1000 - self.load.pressure.min(1000);
        (WEIGHTS[0] * cpu + WEIGHTS[1] * memory + WEIGHTS[2] * calm) / 100
    }

    fn tell(&self, into: &mut String) {
        let _ = write!(
            into,
            "worker {} scores {} of 1000 (cpu {:.1} of {:.1} free, memory {} of {} MiB free, pressure {:.1} %)",
            self.worker,
            self.score(),
            self.free_cpu_milli() as f64 / 1000.0,
            self.load.cpu_milli as f64 / 1000.0,
            self.free_memory_mb(),
            self.load.memory_mb,
            self.load.pressure as f64 / 10.0,
        );
    }
}

/// Chooses; none when nobody has room.
pub fn choose(spec: &Spec, workers: &[Candidate], chance: &mut Stream) -> Option<Choice> {
    let mut able: Vec<&Candidate> = workers.iter().filter(|each| each.has_room(spec)).collect();
    able.sort_by_key(|each| (core::cmp::Reverse(each.score()), each.worker));
    let best = &able[..able.len().div_ceil(2).max(2).min(able.len())];
    let first = *chance.pick(best)?;
    let second = *chance.pick(best)?;
    let (chosen, other) = if second.score() > first.score() { (second, first) } else { (first, second) };
    let mut why = String::new();
    chosen.tell(&mut why);
    let _ = write!(why, "; {} of {} workers have room", able.len(), workers.len());
    if other.worker != chosen.worker {
        why.push_str("; the other drawn: ");
        other.tell(&mut why);
    }
    Some(Choice { worker: chosen.worker, why })
}

/// Why nobody can take it, as a sentence.
#[must_use]
pub fn lack(spec: &Spec, workers: &[Candidate]) -> String {
    let needs = format!("{} cpu and {} MiB", spec.cpu_milli as f64 / 1000.0, spec.memory_mb);
    let fits =
        |each: &Candidate| spec.cpu_milli <= each.load.cpu_milli && spec.memory_mb <= each.load.memory_mb;
    match workers.iter().filter(|each| fits(each)).count() {
        0 if workers.is_empty() => "no worker is alive".into(),
        0 => format!("no worker is large enough for {needs}"),
        count => format!("it waits for room: {needs} on one of {count} workers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    fn spec(cpu: f64) -> Spec {
        let json = serde_json::json!({"program": "", "cpu": cpu});
        Spec::read(json.to_string().as_bytes()).expect("it is right")
    }

    fn candidate(worker: u16, cpus: u64) -> Candidate {
        Candidate { worker, load: Load::idle(cpus * 1000, 65_536), given_cpu_milli: 0, given_memory_mb: 0 }
    }

    #[test]
    fn nobody_gets_more_than_it_has_room_for() {
        let mut workers = vec![candidate(1, 4), candidate(2, 8), candidate(3, 16)];
        let mut chance = Chance::new(1).stream("placement");
        for _ in 0..28 {
            let choice = choose(&spec(1.0), &workers, &mut chance).expect("there is room");
            let found = workers.iter_mut().find(|each| each.worker == choice.worker).expect("one of them");
            found.given_cpu_milli += 1000;
        }
        assert_eq!(choose(&spec(1.0), &workers, &mut chance), None);
        assert!(workers.iter().all(|each| each.given_cpu_milli == each.load.cpu_milli));
        assert!(lack(&spec(1.0), &workers).contains("waits for room"));
        assert!(lack(&spec(99.0), &workers).contains("large enough"));
        assert!(lack(&spec(1.0), &[]).contains("alive"));
    }

    #[test]
    fn a_burst_is_spread_by_room_and_not_all_given_to_the_idlest() {
        let mut workers = vec![candidate(1, 100), candidate(2, 200), candidate(3, 400)];
        let mut chance = Chance::new(2).stream("placement");
        for _ in 0..350 {
            let choice = choose(&spec(1.0), &workers, &mut chance).expect("there is room");
            let found = workers.iter_mut().find(|each| each.worker == choice.worker).expect("one of them");
            found.given_cpu_milli += 1000;
        }
        let given: Vec<u64> = workers.iter().map(|each| each.given_cpu_milli / 1000).collect();
        assert!((35..=65).contains(&given[0]) && (80..=120).contains(&given[1]), "{given:?}");
    }

    #[test]
    fn pressure_and_load_make_a_worker_worse() {
        let calm = candidate(1, 4);
        let busy = Candidate { load: Load { cpu_used: 900, ..calm.load }, ..calm };
        let pressed = Candidate { load: Load { pressure: 500, ..calm.load }, ..calm };
        assert_eq!(calm.score(), 1000);
        assert!(busy.score() < pressed.score() && pressed.score() < calm.score());
    }
}
