//! What is counted while a run goes on, by one core, and added up over cores at its end. Histograms are merged;
//! percentiles never are. Nothing here allocates for a request: a second's slice is put away once a second.

use crate::protocol::Answer;
use hdrhistogram::Histogram;
use machine::{Instant, Why};

/// The shortest time told apart, µs.
const TIME_MIN_US: u64 = 1;
/// The longest, µs: 5 minutes. What is longer counts as this.
const TIME_MAX_US: u64 = 300_000_000;
/// Significant digits of a time.
const DIGITS: u8 = 3;
/// The most seconds that the timeline holds: four hours. What comes after is in the totals only.
const SLICES_MAX: usize = 14_400;

/// An empty histogram of times in µs.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(TIME_MIN_US, TIME_MAX_US, DIGITS).expect("the bounds are right")
}

/// Every way in which something can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A dial: nobody listens.
    DialRefused,
    /// A dial: no answer in time.
    DialTimeout,
    /// A dial: any other reason.
    DialFailed,
    /// A dial, or a connection: this machine lacks ports, descriptors or memory.
    Exhausted,
    /// A connection was reset.
    Reset,
    /// A connection was closed by the other side.
    Closed,
    /// A connection broke in another way.
    Broken,
    /// A request was in flight on a connection that ended.
    Lost,
    /// A request was not answered in time, or was behind one that was not, on a connection that we then closed.
    Timeout,
    /// A request was refused by the server.
    Refused,
    /// A reply of another kind than was asked for.
    WrongKind,
    /// A value of another length than was written.
    WrongLength,
    /// The value of another key.
    WrongKey,
    /// A value that nobody wrote.
    WrongValue,
    /// No value, where there must be one.
    Missing,
    /// Bytes that cannot be a reply, or a reply that nobody asked for. The connection is closed.
    Malformed,
    /// A request was due and no connection was free before the end.
    Unsent,
    /// A request was sent on from node to node without end, or to nowhere.
    Redirected,
    /// A response with another status than is right.
    WrongStatus,
}

/// All kinds, with the names they have in reports.
pub const KINDS: [(Kind, &str); 19] = [
    (Kind::DialRefused, "dial_refused"),
    (Kind::DialTimeout, "dial_timeout"),
    (Kind::DialFailed, "dial_failed"),
    (Kind::Exhausted, "exhausted"),
    (Kind::Reset, "reset"),
    (Kind::Closed, "closed"),
    (Kind::Broken, "broken"),
    (Kind::Lost, "lost"),
    (Kind::Timeout, "timeout"),
    (Kind::Refused, "refused"),
    (Kind::WrongKind, "wrong_kind"),
    (Kind::WrongLength, "wrong_length"),
    (Kind::WrongKey, "wrong_key"),
    (Kind::WrongValue, "wrong_value"),
    (Kind::Missing, "missing"),
    (Kind::Malformed, "malformed"),
    (Kind::Unsent, "unsent"),
    (Kind::Redirected, "redirected"),
    (Kind::WrongStatus, "wrong_status"),
];

impl Kind {
    /// How a dial that ended like this failed.
    #[must_use]
    pub fn of_dial(why: Why) -> Self {
        match why {
            Why::Refused => Self::DialRefused,
            Why::TimedOut => Self::DialTimeout,
            Why::Exhausted => Self::Exhausted,
            Why::Closed | Why::Reset | Why::Unreachable | Why::Overfull | Why::Untrusted | Why::Broken => {
                Self::DialFailed
            }
        }
    }

    /// How a connection that ended like this failed.
    #[must_use]
    pub fn of_connection(why: Why) -> Self {
        match why {
            Why::Closed => Self::Closed,
            Why::Reset => Self::Reset,
            Why::Exhausted => Self::Exhausted,
            Why::Refused
            | Why::Unreachable
            | Why::TimedOut
            | Why::Overfull
            | Why::Untrusted
            | Why::Broken => Self::Broken,
        }
    }
}

/// Failures by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    counts: [u64; KINDS.len()],
}

impl Errors {
    /// How many of each kind, in the order of [`KINDS`].
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// So many of each kind.
    #[must_use]
    pub fn from_counts(counts: [u64; KINDS.len()]) -> Self {
        Self { counts }
    }

    /// Counts `count` more of this kind.
    pub fn add(&mut self, kind: Kind, count: u64) {
        self.counts[kind as usize] += count;
    }

    /// How many of this kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.counts[kind as usize]
    }

    /// How many in all.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Those that happened, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        KINDS.iter().map(|(kind, name)| (*name, self.of(*kind))).filter(|(_, count)| *count > 0)
    }

    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum += more;
        }
    }
}

/// The times of a reply, all in µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From sent to read.
    pub service: u64,
    /// From due to read.
    pub response: u64,
    /// From due to sent.
    pub slip: u64,
    /// The part of the slip that is ours: from the moment when it was due and a connection free, to sent.
    pub late: u64,
    /// From when the kernel had it to read.
    pub reading: u64,
}

impl Times {
    /// Of a request due, ready to go and sent at these instants, received and read at those.
    #[must_use]
    pub fn new(due: Instant, ready: Instant, sent: Instant, received: Instant, read: Instant) -> Self {
        let micros = |from: Instant, to: Instant| (to.nanos_since(from) + 500) / 1000;
        Self {
            service: micros(sent, read),
            response: micros(due, read),
            slip: micros(due, sent),
            late: micros(ready, sent),
            reading: micros(received, read),
        }
    }
}

/// One second of a run, of one core or of all.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Slice {
    /// Which second since the start, warm-up and all.
    pub second: u64,
    /// Failures read or found in it.
    pub errors: u64,
    /// Response times of the replies read in it: µs and how many, ascending.
    pub response: Vec<(u32, u32)>,
}

/// All that one core counts; after a merge, all that all cores did.
#[derive(Clone, Debug)]
pub struct Tally {
    /// From sent to read.
    pub service: Histogram<u64>,
    /// From due to read.
    pub response: Histogram<u64>,
    /// From due to sent.
    pub slip: Histogram<u64>,
    /// Our own part of the slip.
    pub late: Histogram<u64>,
    /// From received to read.
    pub reading: Histogram<u64>,
    /// From dial to open.
    pub connect: Histogram<u64>,
    /// From sent to the answer that sent it on to another node; its count is that of such answers.
    pub redirect: Histogram<u64>,
    /// By how much each tick was late, µs: what the machine took, and long turns of ours.
    pub hiccup: Histogram<u64>,
    /// Requests written, measured or not, greetings and all.
    pub written: u64,
    /// Measured replies that were right; a read that may find nothing and did is one.
    pub answered: u64,
    /// Of these, reads that found nothing.
    pub misses: u64,
    /// Measured failures.
    pub errors: Errors,
    /// Failures before the measurement: while connecting is in `errors`, so these are of loading and warm-up.
    pub errors_before: Errors,
    /// Keys written before the run.
    pub loaded: u64,
    /// What the server said when it first refused something.
    pub first_refusal: Option<String>,
    /// The seconds that are over.
    pub slices: Vec<Slice>,
    current: Second,
    last: Second,
}

/// A second that is being counted, or was just.
#[derive(Clone, Debug)]
struct Second {
    number: u64,
    errors: u64,
    response: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let second = Second { number: 0, errors: 0, response: histogram() };
        Self {
            service: histogram(),
            response: histogram(),
            slip: histogram(),
            late: histogram(),
            reading: histogram(),
            connect: histogram(),
            redirect: histogram(),
            hiccup: histogram(),
            written: 0,
            answered: 0,
            misses: 0,
            errors: Errors::default(),
            errors_before: Errors::default(),
            loaded: 0,
            first_refusal: None,
            slices: Vec::new(),
            current: second.clone(),
            last: second,
        }
    }
}

impl Tally {
    /// A right reply read in the current second; `measured` unless it belongs to the warm-up.
    #[inline]
    pub fn reply(&mut self, times: Times, measured: bool) {
        self.current.response.saturating_record(times.response);
        if measured {
            self.answered += 1;
            self.service.saturating_record(times.service);
            self.response.saturating_record(times.response);
            self.slip.saturating_record(times.slip);
            self.late.saturating_record(times.late);
            self.reading.saturating_record(times.reading);
        }
    }

    /// Failures found in the current second.
    pub fn fail(&mut self, kind: Kind, count: u64, measured: bool) {
        self.current.errors += count;
        match measured {
            true => self.errors.add(kind, count),
            false => self.errors_before.add(kind, count),
        }
    }

    /// Keeps what the server said when it first refused something, at most 200 bytes of it.
    #[inline]
    pub fn listen(&mut self, answer: Answer<'_>) {
        if let (Answer::Refused(text), None) = (answer, &self.first_refusal) {
            let text = &text[..text.len().min(200)];
            self.first_refusal = Some(String::from_utf8_lossy(text).into_owned());
        }
    }

    /// Second number `second` has begun: puts away the one before if that is another.
    #[inline]
    pub fn turn_to(&mut self, second: u64) {
        if second != self.current.number {
            self.put_away(second);
        }
    }

    /// The run is over: puts away the second that had begun.
    pub fn close(&mut self) {
        self.put_away(self.current.number + 1);
    }

    #[cold]
    fn put_away(&mut self, next: u64) {
        if self.slices.len() < SLICES_MAX {
            let response = self.current.response.iter_recorded();
            let narrow = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
            self.slices.push(Slice {
                second: self.current.number,
                errors: self.current.errors,
                response: response
                    .map(|at| (narrow(at.value_iterated_to()), narrow(at.count_since_last_iteration())))
                    .collect(),
            });
        }
        core::mem::swap(&mut self.current, &mut self.last);
        self.current.response.reset();
        self.current.errors = 0;
        self.current.number = next;
    }

    /// The last whole second: its number, its failures, its response times.
    #[must_use]
    pub fn last_second(&self) -> (u64, u64, &Histogram<u64>) {
        (self.last.number, self.last.errors, &self.last.response)
    }

    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.service, &other.service),
            (&mut self.response, &other.response),
            (&mut self.slip, &other.slip),
            (&mut self.late, &other.late),
            (&mut self.reading, &other.reading),
            (&mut self.connect, &other.connect),
            (&mut self.redirect, &other.redirect),
            (&mut self.hiccup, &other.hiccup),
        ];
        for (sum, more) in pairs {
            sum.add(more).expect("all histograms have the same bounds");
        }
        self.answered += other.answered;
        self.misses += other.misses;
        self.loaded += other.loaded;
        self.written += other.written;
        self.errors.merge(&other.errors);
        self.errors_before.merge(&other.errors_before);
        if self.first_refusal.is_none() {
            self.first_refusal.clone_from(&other.first_refusal);
        }
        self.slices.extend(other.slices.iter().cloned());
    }

    /// The timeline: one row a second, the slices of all cores added up.
    #[must_use]
    pub fn timeline(&self) -> Vec<(u64, u64, Histogram<u64>)> {
        let mut rows: std::collections::BTreeMap<u64, (u64, Histogram<u64>)> = Default::default();
        for slice in &self.slices {
            let row = rows.entry(slice.second).or_insert_with(|| (0, histogram()));
            row.0 += slice.errors;
            for (value, count) in &slice.response {
                row.1.saturating_record_n(u64::from(*value), u64::from(*count));
            }
        }
        rows.into_iter().map(|(second, (errors, response))| (second, errors, response)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    #[test]
    fn four_instants_give_five_times() {
        let times = Times::new(at(100), at(130), at(150), at(400), at(450));
        assert_eq!(times, Times { service: 300, response: 350, slip: 50, late: 20, reading: 50 });
    }

    #[test]
    fn kinds_are_listed_in_their_order() {
        for (place, (kind, _)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
    }

    #[test]
    fn seconds_of_all_cores_add_up() {
        let mut cores = [Tally::default(), Tally::default()];
        for (number, tally) in cores.iter_mut().enumerate() {
            for second in 0..3_u64 {
                tally.turn_to(second);
                let times = Times::new(at(0), at(0), at(0), at(0), at(100 * (second + 1)));
                tally.reply(times, second > 0);
                tally.fail(Kind::Missing, number as u64, true);
            }
            assert_eq!(tally.last_second().0, 1);
            tally.close();
        }
        let [mut sum, other] = cores;
        sum.merge(&other);
        let rows = sum.timeline();
        assert_eq!(rows.iter().map(|(second, ..)| *second).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(rows.iter().all(|(_, errors, response)| *errors == 1 && response.len() == 2));
        assert_eq!(rows[2].2.max(), 300);
        assert_eq!((sum.answered, sum.errors.of(Kind::Missing)), (4, 3));
    }

    #[test]
    fn times_over_five_minutes_count_as_five_minutes() {
        let mut tally = Tally::default();
        tally.reply(Times::new(at(0), at(0), at(0), at(0), at(900_000_000)), true);
        assert!(tally.response.max() >= TIME_MAX_US && tally.response.len() == 1);
    }
}
