//! One program that a worker runs: its process, its streams, its time, and how it ended.
//!
//! The one hard thing is when all that it printed is here. Its process ends at one moment, each of its streams at
//! another, in any order, and only the end of a stream says that nothing of it is missing. So a result waits for all
//! three; and where a stream does not end, or breaks, the result says so, and never passes for whole.

use crate::entry::{JobId, Outcome};
use crate::output::Output;
use core::time::Duration;
use machine::{ChildEvent, ChildId, ConnId, End, Instant, PipeKind, Why};

/// How often streams are looked at after the process has ended, and how long lies between two looks at least. Its
/// group is ended with it, so they end by themselves as soon as they are read; only somebody who has left the group can
/// hold them, and is not waited for longer. Looks are counted, and not time: a worker that stood still meanwhile, or had
/// no turn, has looked at nothing.
const LOOKS_MAX: u32 = 50;
/// See [`LOOKS_MAX`].
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is said of a result when they were held to the last look.
const HELD: &str = "a process that it left behind held its output open; what that printed later is not here";

/// The status of a program that could not be started, as shells say it.
const UNSTARTED: i32 = 127;

/// SIGXCPU: its processor time was over.
const CPU_OVER: i32 = 24;
/// SIGKILL.
const KILLED: i32 = 9;

/// Where it is.
#[derive(Clone, Debug)]
enum Phase {
    /// It was asked for.
    Starting,
    /// It runs.
    Running { pid: u32 },
    /// Its process has ended, and its streams may not have: they were looked at so often, and are again then.
    Ending { how: How, looks: u32, again: Instant },
    /// All is known.
    Done(Box<Outcome>),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Exited(i32),
    Killed(i32),
}

/// A stream that is read.
#[derive(Debug)]
struct Stream {
    name: &'static str,
    said: Output,
    /// None before it is opened; what it is known by then.
    conn: Option<ConnId>,
    /// It has ended: in this way.
    end: Option<Why>,
}

impl Stream {
    fn new(name: &'static str) -> Self {
        Self { name, said: Output::default(), conn: None, end: None }
    }

    /// Why something of it may be missing.
    fn lack(&self) -> Option<String> {
        match self.end {
            None | Some(Why::Closed) => None,
            Some(why) => Some(format!("its {} could not be read to its end ({why:?})", self.name)),
        }
    }
}

/// Why we ended it ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its time was over.
    TimedOut,
    /// This worker heard no leader for too long.
    Fenced,
    /// It is no longer this worker's: cancelled, or given to another.
    Unwanted,
}

/// One program.
#[derive(Debug)]
pub struct Run {
    pub(crate) id: JobId,
    pub(crate) attempt: u32,
    pub(crate) child: ChildId,
    phase: Phase,
    input: Option<ConnId>,
    out: Stream,
    err: Stream,
    began: Instant,
    timeout: Duration,
    /// Why we ended it.
    pub(crate) ended: Option<Ended>,
    /// When its start, or its result, was proposed last.
    pub(crate) said: Option<Instant>,
    /// How often its result was proposed.
    pub(crate) times: u32,
}

impl Run {
    /// A program that was asked for.
    #[must_use]
    pub fn new(id: JobId, attempt: u32, child: ChildId, timeout: Duration, now: Instant) -> Self {
        Self {
            id,
            attempt,
            child,
            phase: Phase::Starting,
            input: None,
            out: Stream::new("standard output"),
            err: Stream::new("standard error"),
            began: now,
            timeout,
            ended: None,
            said: None,
            times: 0,
        }
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self.phase {
            Phase::Running { pid } => Some(pid),
            Phase::Starting | Phase::Ending { .. } | Phase::Done(_) => None,
        }
    }

    /// What came of it, once all is known.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Done(outcome) => Some(outcome),
            Phase::Starting | Phase::Running { .. } | Phase::Ending { .. } => None,
        }
    }

    /// Whether its process is there or will be.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running { .. })
    }

    /// A stream of it is there.
    pub fn opened(&mut self, kind: PipeKind, conn: ConnId) {
        match kind {
            PipeKind::Input => self.input = Some(conn),
            PipeKind::Output => self.out.conn = Some(conn),
            PipeKind::Error => self.err.conn = Some(conn),
        }
    }

    fn read(&mut self, conn: ConnId) -> Option<&mut Stream> {
        [&mut self.out, &mut self.err].into_iter().find(|stream| stream.conn == Some(conn))
    }

    /// It printed something.
    pub fn printed(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(stream) = self.read(conn) {
            stream.said.add(bytes);
        }
    }

    /// A stream of it ended.
    pub fn stream_ended(&mut self, conn: ConnId, end: End) {
        let why = match end {
            End::Half => Why::Closed,
            End::Gone(why) => why,
        };
        if let Some(stream) = self.read(conn) {
            stream.end = Some(why);
        } else if self.input == Some(conn) {
            self.input = None;
        }
    }

    /// Something became of its process.
    pub fn on_child(&mut self, now: Instant, what: &ChildEvent) {
        match what {
            ChildEvent::Started { pid } => {
                self.phase = Phase::Running { pid: *pid };
                self.began = now;
            }
            ChildEvent::Unstarted(why) => {
                let outcome = Outcome { exit: UNSTARTED, why: Some(why.to_string()), ..Outcome::default() };
                self.phase = Phase::Done(Box::new(outcome));
            }
            ChildEvent::Exited(status) => self.end(now, How::Exited(*status)),
            ChildEvent::Killed(signal) => self.end(now, How::Killed(*signal)),
        }
    }

    fn end(&mut self, now: Instant, how: How) {
        self.phase = Phase::Ending { how, looks: 0, again: now };
    }

    /// Looks whether all is known now. Gives the streams that are to be closed because they do not end.
    pub fn settle(&mut self, now: Instant) -> Vec<ConnId> {
        let Phase::Ending { how, looks, again } = self.phase else { return Vec::new() };
        let is_read = self.out.end.is_some() && self.err.end.is_some();
        if !is_read && looks < LOOKS_MAX {
            if now >= again {
                self.phase = Phase::Ending { how, looks: looks + 1, again: now + LOOK_EVERY };
            }
            return Vec::new();
        }
        let (exit, signal, why) = self.verdict(how);
        let why = why.or_else(|| self.out.lack()).or_else(|| self.err.lack());
        let note = (!is_read).then(|| HELD.to_owned());
        let (stdout, stdout_left_out) = core::mem::take(&mut self.out.said).text();
        let (stderr, stderr_left_out) = core::mem::take(&mut self.err.said).text();
        let took_ms = now.since(self.began).as_millis() as u64;
        let outcome =
            Outcome { exit, signal, why, note, stdout, stderr, stdout_left_out, stderr_left_out, took_ms };
        self.phase = Phase::Done(Box::new(outcome));
        let open = [&self.out, &self.err].into_iter().filter(|stream| stream.end.is_none());
        open.filter_map(|stream| stream.conn).chain(self.input.take()).collect()
    }

    fn verdict(&self, how: How) -> (i32, Option<i32>, Option<String>) {
        match (how, self.ended) {
            (How::Exited(status), _) => (status, None, None),
            (How::Killed(signal), Some(Ended::TimedOut)) => {
                let why = format!("its time limit of {} s was over", self.timeout.as_secs_f64());
                (128 + signal, Some(signal), Some(why))
            }
            (How::Killed(CPU_OVER), _) => {
                (128 + CPU_OVER, Some(CPU_OVER), Some("it used more processor time than it declared".into()))
            }
            (How::Killed(signal), _) => {
                (128 + signal, Some(signal), Some(format!("signal {signal} ended it")))
            }
        }
    }

    /// Whether its process ended because we wanted it to, so that how it ended says nothing of the program.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        matches!(self.ended, Some(Ended::Fenced | Ended::Unwanted))
            && self.outcome().is_some_and(|outcome| outcome.signal == Some(KILLED))
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_over_time(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Running { .. })
            && self.ended.is_none()
            && now.since(self.began) >= self.timeout
    }

    /// When something of it is due.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running { .. } if self.ended.is_none() => Some(self.began + self.timeout),
            Phase::Ending { again, .. } => Some(again),
            Phase::Starting | Phase::Running { .. } | Phase::Done(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::id::Key;

    const OUT: ConnId = ConnId(Key { index: 1, generation: 1 });
    const ERR: ConnId = ConnId(Key { index: 2, generation: 1 });

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// A program that has printed half of a word and exited well.
    fn exited() -> Run {
        let mut run = Run::new(JobId(1), 1, ChildId(1), Duration::from_secs(60), at(0));
        run.on_child(at(1), &ChildEvent::Started { pid: 7 });
        run.opened(PipeKind::Output, OUT);
        run.opened(PipeKind::Error, ERR);
        run.printed(OUT, b"ha");
        run.on_child(at(2), &ChildEvent::Exited(0));
        run
    }

    fn ended(run: &Run) -> &Outcome {
        run.outcome().expect("all is known")
    }

    #[test]
    fn a_result_waits_for_the_end_of_both_streams() {
        let mut run = exited();
        run.stream_ended(ERR, End::Gone(Why::Closed));
        assert!(run.settle(at(3)).is_empty() && run.outcome().is_none());
        run.printed(OUT, b"lf");
        run.stream_ended(OUT, End::Gone(Why::Closed));
        assert!(run.settle(at(4)).is_empty());
        assert_eq!((ended(&run).stdout.as_str(), ended(&run).is_good()), ("half", true));
        assert_eq!(ended(&run).note, None);
    }

    #[test]
    fn a_worker_that_stood_still_has_not_seen_all_that_was_printed() {
        let mut run = exited();
        run.settle(at(2));
        // Hours later timers come first, and what was printed right after.
        run.settle(at(10_000_000));
        assert!(run.outcome().is_none(), "it was taken for whole");
        run.printed(OUT, b"lf");
        run.stream_ended(OUT, End::Gone(Why::Closed));
        run.stream_ended(ERR, End::Gone(Why::Closed));
        run.settle(at(10_000_001));
        assert_eq!(ended(&run).stdout, "half");
    }

    #[test]
    fn a_stream_that_somebody_holds_is_given_up_and_that_is_said() {
        let mut run = exited();
        run.stream_ended(ERR, End::Gone(Why::Closed));
        let mut now = at(2);
        let mut closed = Vec::new();
        while run.outcome().is_none() {
            closed = run.settle(now);
            now += LOOK_EVERY;
            assert!(now < at(60_000), "it is waited for without end");
        }
        assert_eq!(closed, [OUT]);
        assert!(now >= at(2) + LOOK_EVERY * LOOKS_MAX);
        assert_eq!(ended(&run).note.as_deref(), Some(HELD));
        assert!(ended(&run).is_good(), "the program itself did what it was to do");
    }

    #[test]
    fn a_stream_that_broke_makes_no_good_result() {
        let mut run = exited();
        run.stream_ended(ERR, End::Gone(Why::Closed));
        run.stream_ended(OUT, End::Gone(Why::Broken));
        run.settle(at(3));
        assert!(!ended(&run).is_good());
        assert!(
            ended(&run).why.as_ref().is_some_and(|why| why.contains("standard output could not be read"))
        );
    }
}
