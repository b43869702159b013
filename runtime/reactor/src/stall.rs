//! Where a core's time goes: the time of each event and of each step of a turn, the longest so far, a line when one
//! took too long, and how long messages are under way from core to core.
//!
//! The one hard thing is to cost nothing. A clock is read once after an event, which may hold many requests, and after
//! a step that did something: the processor's own counter, some 10 ns beside the microseconds of a receive and a send.
//! What the world does between two events counts for the later one. Time in which the kernel let the core not run counts too: whoever
//! waits cannot tell the difference.

use crate::clock;
use crate::io::Io;
use crate::ticks::Ticks;
use hdrhistogram::Histogram;
use machine::{CoreId, Event, Gauges, Instant, Shard, Spent};
use std::time::Duration;
use wire::peer::Message;

/// No more than one line of a core in this time; what was not told is counted in the next.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The longest way between two cores that is told apart from longer ones.
const HOP_MAX: Duration = Duration::from_secs(10);
/// Digits of such a way that are kept: 1 %.
const HOP_DIGITS: u8 = 2;

/// A step of the turn, as far as its time is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Timers,
    Controls,
    Peers,
    Completions,
    Happenings,
    /// Lanes, log and writes.
    Flush,
    /// The kernel's work within a call that does not wait.
    Enter,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Timers => "timers",
            Self::Controls => "controls",
            Self::Peers => "peers",
            Self::Completions => "completions",
            Self::Happenings => "happenings",
            Self::Flush => "flush",
            Self::Enter => "enter",
        }
    }

    const fn of(event: Event) -> Self {
        match event {
            Event::Timer => Self::Timers,
            Event::Order => Self::Controls,
            Event::Peer => Self::Peers,
            Event::Bytes => Self::Completions,
            Event::Open
            | Event::Room
            | Event::End
            | Event::Link
            | Event::Stored
            | Event::Child
            | Event::Listen
            | Event::Gathered => Self::Happenings,
        }
    }
}

/// What a core's time was spent on.
pub(crate) struct Stopwatch {
    core: CoreId,
    bound: Duration,
    warn: fn(&str),
    ticks: Ticks,
    /// The last reading.
    at: Instant,
    /// The turn before ended without sleep.
    is_awake: bool,
    events: u64,
    stalls: u64,
    longest: (Duration, Step, Option<Event>),
    told_at: Option<Instant>,
    untold: u64,
    hops: Histogram<u64>,
}

impl Stopwatch {
    /// Tells `warn` what takes longer than `bound`.
    pub(crate) fn new(core: CoreId, bound: Duration, warn: fn(&str)) -> Self {
        let hop_max = HOP_MAX.as_nanos() as u64;
        Self {
            core,
            bound,
            warn,
            ticks: Ticks::new(),
            at: clock::instant(),
            is_awake: false,
            events: 0,
            stalls: 0,
            longest: (Duration::ZERO, Step::Enter, None),
            told_at: None,
            untold: 0,
            hops: Histogram::new_with_max(hop_max, HOP_DIGITS).expect("it is more than the least"),
        }
    }

    /// When it was last read.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// A turn begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_awake) {
            self.lap(Step::Enter, None, now);
        }
        self.ticks.begin(now);
        self.at = now;
    }

    /// The next turn begins without sleep.
    pub(crate) fn goes_on(&mut self) {
        self.is_awake = true;
    }

    /// An event has ended: how long it took.
    pub(crate) fn event(&mut self, event: Event) -> Duration {
        self.events += 1;
        let now = self.ticks.now();
        self.lap(Step::of(event), Some(event), now)
    }

    /// A step has ended that did something.
    pub(crate) fn step(&mut self, step: Step) {
        let now = self.ticks.now();
        self.lap(step, None, now);
    }

    /// What came from another core was posted then.
    pub(crate) fn hopped(&mut self, posted: Instant) {
        self.hops.saturating_record(self.at.nanos_since(posted));
    }

    fn lap(&mut self, step: Step, event: Option<Event>, now: Instant) -> Duration {
        let took = now.since(self.at);
        self.at = now;
        if took > self.longest.0 {
            self.longest = (took, step, event);
        }
        if took > self.bound {
            self.stalled(took, step, event);
        }
        took
    }

    #[cold]
    fn stalled(&mut self, took: Duration, step: Step, event: Option<Event>) {
        self.stalls += 1;
        if self.told_at.is_some_and(|told_at| self.at.since(told_at) < LINE_EVERY) {
            self.untold += 1;
            return;
        }
        self.told_at = Some(self.at);
        let (core, step, bound) = (self.core.0, step.name(), self.bound);
        let what = event.map_or_else(String::new, |event| format!(", event {}", event.name()));
        let more = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            untold => format!("; so did {untold} before that were not told"),
        };
        (self.warn)(&format!("core {core} stalled: step {step}{what} took {took:.1?}, over {bound:?}{more}"));
    }

    pub(crate) fn gauges(&self, into: &mut Gauges) {
        into.counter(
            "reactor_events_total",
            "events told to the shard, batches of messages as one",
            self.events,
        );
        into.counter("reactor_stalls_total", "events and steps that took longer than the bound", self.stalls);
        let (took, step, event) = self.longest;
        let (step, event) = (step.name(), event.map_or("", Event::name));
        let name = format!("reactor_longest_us{{step=\"{step}\",event=\"{event}\"}}");
        let took = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        into.level(name, "the longest event or step since the start", took);
        into.spread("reactor_hop_ns", "how long batches were on their way from core to core", &self.hops);
    }
}

/// Events have ended: the shard is told how long they took.
#[inline]
pub(crate) fn spent<S: Shard>(shard: &mut S, io: &mut Io<S::Said>, event: Event, count: u32)
where
    S::Said: Message,
{
    let took = io.stopwatch.event(event);
    shard.on_spent(io.now, Spent { event, count, took }, io);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn note(sentence: &str) {
        SAID.lock().unwrap().push(sentence.to_owned());
    }

    #[test]
    fn what_takes_too_long_is_told_once_a_second_and_all_of_it_counted() {
        let mut watch = Stopwatch::new(CoreId(3), Duration::from_millis(10), note);
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        watch.begin(at(1_000));
        assert_eq!(watch.lap(Step::Peers, Some(Event::Peer), at(1_010)), Duration::from_millis(10));
        watch.lap(Step::Completions, Some(Event::Bytes), at(1_050));
        watch.lap(Step::Flush, None, at(1_070));
        watch.begin(at(3_000));
        watch.goes_on();
        watch.begin(at(3_011));
        let said = SAID.lock().unwrap().clone();
        assert_eq!(
            said,
            [
                "core 3 stalled: step completions, event bytes took 40.0ms, over 10ms",
                "core 3 stalled: step enter took 11.0ms, over 10ms; so did 1 before that were not told",
            ]
        );
        watch.hopped(at(3_010));
        let mut gauges = Gauges::new();
        watch.gauges(&mut gauges);
        assert_eq!(gauges.number("reactor_stalls_total"), 3);
        assert_eq!(gauges.number("reactor_longest_us{step=\"completions\",event=\"bytes\"}"), 40_000);
        assert_eq!(gauges.distribution("reactor_hop_ns").map(Histogram::len), Some(1));
    }
}
