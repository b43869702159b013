//! A slot: one process that runs one task after the other, and the tasks it was sent. Its process can end at any moment,
//! by itself, by us or by a stranger; what became of the task it ran is known only when nothing of it is left and its
//! last words were read.

use super::zygote::How;
use crate::dispatch::{FailureKind, FunctionId, Returned, Session, TaskId};
use crate::python;
use core::time::Duration;
use machine::{Blob, ConnId, Instant};
use std::collections::{BTreeSet, VecDeque};

/// How long a process may take from its fork to its first word.
pub const START_MAX: Duration = Duration::from_secs(30);

/// How long after the end of its connection a process may still be there, and the other way round. Long enough that a
/// busy machine does not make an end by itself look like ours.
const LINGER: Duration = Duration::from_secs(1);

/// The pause before a slot that never came up is started again, and the longest.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Of a function that closed what its slot speaks through.
const CLOSED: &str = "the function closed the descriptors of its slot, whose process was ended";

/// Functions that a slot holds; before it gets another it forgets them all.
const FUNCTIONS_MAX: usize = 1024;

/// A task on this worker.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which.
    pub id: TaskId,
    /// Which try.
    pub attempt: u32,
    /// In which it came, and in which alone it counts.
    pub session: Session,
    /// What is called.
    pub function: FunctionId,
    /// Its bytes.
    pub code: Blob,
    /// What it is called with.
    pub payload: Blob,
    /// How long it may run; zero: as long as it likes.
    pub timeout: Duration,
    /// When it came.
    pub arrived: Instant,
}

/// Where a slot's process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none; one is started at this instant.
    Absent(Instant),
    /// It was asked for at this instant.
    Starting(Instant),
    /// It takes tasks.
    Ready,
    /// It takes no more: it ends.
    Ending,
}

/// Why we end a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// The task ran too long.
    TimedOut,
    /// The task is not wanted any more.
    Cancelled,
    /// The service that gave the task is gone.
    Orphaned,
    /// The worker stops.
    Stopped,
    /// It said what no slot says.
    Strange,
    /// Its connection ended, and it went on.
    Deaf,
}

/// What became of the task a slot ran when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It failed: of which kind, as which exception, with which words.
    Failed(FailureKind, &'static str, String),
    /// It goes back.
    Returned(Returned, String),
    /// Nobody wants to know.
    Forgotten,
}

/// One slot.
#[derive(Debug)]
pub struct Slot {
    /// Where its process stands.
    pub stage: Stage,
    /// Which start this is.
    pub launch: u64,
    /// What its process must say first.
    pub secret: [u8; 16],
    /// Its connection.
    pub conn: Option<ConnId>,
    /// What it was sent; it runs the first.
    pub sent: VecDeque<Job>,
    /// Since when it runs the first.
    pub since: Instant,
    /// Why we ended it.
    pub doom: Option<Doom>,
    /// It ends by itself, and had said all it had to.
    is_retired: bool,
    /// How its process ended, if it did so by itself.
    how: Option<How>,
    /// When its connection ended, and when nothing was left of it.
    conn_ended: Option<Instant>,
    gone: Option<Instant>,
    known: BTreeSet<FunctionId>,
    /// Starts in a row that came to nothing.
    failures: u32,
}

impl Slot {
    /// A slot that is to be started at once.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            stage: Stage::Absent(now),
            launch: 0,
            secret: [0; 16],
            conn: None,
            sent: VecDeque::new(),
            since: now,
            doom: None,
            is_retired: false,
            how: None,
            conn_ended: None,
            gone: None,
            known: BTreeSet::new(),
            failures: 0,
        }
    }

    /// A process was asked for.
    pub fn start(&mut self, launch: u64, secret: [u8; 16], now: Instant) {
        let (failures, sent) = (self.failures, core::mem::take(&mut self.sent));
        *self = Self { stage: Stage::Starting(now), launch, secret, failures, sent, ..Self::new(now) };
    }

    /// Its process is there.
    pub fn connect(&mut self, conn: ConnId) {
        self.stage = Stage::Ready;
        self.conn = Some(conn);
        self.failures = 0;
    }

    /// Whether its process can be counted on to come up.
    #[must_use]
    pub fn is_promising(&self) -> bool {
        self.stage == Stage::Ready || self.failures < 3
    }

    /// Whether a function's bytes must travel with a task, and whether all before are forgotten.
    pub fn learn(&mut self, function: FunctionId) -> (bool, bool) {
        if self.known.contains(&function) {
            return (false, false);
        }
        let forgets = self.known.len() >= FUNCTIONS_MAX;
        if forgets {
            self.known.clear();
        }
        self.known.insert(function);
        (true, forgets)
    }

    /// It ends by itself after what it just said.
    pub fn retire(&mut self) {
        self.is_retired = true;
        self.stage = Stage::Ending;
    }

    /// We end it. The first reason counts. Says whether its end is still to be ordered.
    pub fn doom(&mut self, doom: Doom) -> bool {
        let is_first = self.doom.is_none();
        if is_first {
            self.doom = Some(doom);
        }
        self.stage = Stage::Ending;
        is_first && self.gone.is_none()
    }

    /// Its connection ended.
    pub fn on_conn_end(&mut self, now: Instant) {
        self.conn = None;
        self.conn_ended = Some(now);
        self.stage = Stage::Ending;
    }

    /// Its process ended by itself.
    pub fn on_ended(&mut self, how: How) {
        if self.doom.is_none() {
            self.how = Some(how);
        }
        self.stage = Stage::Ending;
    }

    /// Nothing is left of it.
    pub fn on_gone(&mut self, now: Instant) {
        self.gone = Some(now);
        self.stage = Stage::Ending;
    }

    /// When something is due, if nothing happens before: its start, its task's limit, the end of our patience.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Absent(at) => Some(at),
            Stage::Starting(since) => Some(since + START_MAX),
            Stage::Ready => {
                self.sent.front().filter(|job| !job.timeout.is_zero()).map(|job| self.since + job.timeout)
            }
            Stage::Ending => self.gone.or(self.conn_ended).map(|since| since + LINGER),
        }
    }

    /// Whether nothing is left of it and its last words were read.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        let is_silent = self.conn.is_none() || self.gone.is_some_and(|gone| gone + LINGER <= now);
        self.stage == Stage::Ending && self.gone.is_some() && is_silent
    }

    /// What becomes of its first task, now that it is over. None when it has none, or has not begun it.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        let job = self.sent.front()?;
        if self.is_retired {
            return None;
        }
        Some(match self.doom {
            Some(Doom::TimedOut) => Fate::Failed(
                FailureKind::TimedOut,
                "TimeoutError",
                format!("the function ran longer than its limit of {:?}", job.timeout),
            ),
            Some(Doom::Cancelled) => {
                Fate::Failed(FailureKind::Cancelled, "RuntimeError", "the task was cancelled".into())
            }
            Some(Doom::Orphaned) => Fate::Forgotten,
            Some(Doom::Stopped) => Fate::Returned(Returned::SlotLost, "its worker was stopped".into()),
            Some(Doom::Strange) => Fate::Failed(
                FailureKind::Died,
                "RuntimeError",
                "the function wrote into its slot's connection, and its process was ended".into(),
            ),
            Some(Doom::Deaf) if self.how.is_none() => {
                Fate::Failed(FailureKind::Died, "RuntimeError", CLOSED.into())
            }
            Some(Doom::Deaf) | None => self.end_by_itself(),
        })
    }

    fn end_by_itself(&self) -> Fate {
        let died = |words: String| Fate::Failed(FailureKind::Died, "RuntimeError", words);
        match self.how {
            Some(How::Exit(python::LOST)) => died(CLOSED.into()),
            Some(How::Exit(status)) => {
                died(format!("the function ended its process, with exit status {status}"))
            }
            Some(How::Signal(24)) => Fate::Failed(
                FailureKind::TimedOut,
                "TimeoutError",
                "the function used more processor time than it may".into(),
            ),
            Some(How::Signal(9 | 15)) | None => {
                Fate::Returned(Returned::SlotLost, "the process that ran the function was killed".into())
            }
            Some(How::Signal(signal)) => died(format!(
                "the function crashed its process: {} (a function pickled by value by another Python can do that)",
                signal_name(signal)
            )),
        }
    }

    /// It is over and was dealt with: another process is to be started, after a pause if this one never came up.
    pub fn reset(&mut self, now: Instant) {
        let came_up = !self.known.is_empty() || self.conn_ended.is_some();
        self.failures = if came_up { 0 } else { self.failures + 1 };
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => PAUSE.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX),
        };
        self.stage = Stage::Absent(now + pause);
        self.conn = None;
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        4 => "SIGILL".into(),
        6 => "SIGABRT".into(),
        7 => "SIGBUS".into(),
        8 => "SIGFPE".into(),
        11 => "SIGSEGV".into(),
        14 => "SIGALRM".into(),
        25 => "SIGXFSZ".into(),
        31 => "SIGSYS".into(),
        other => format!("signal {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn job(task: u8) -> Job {
        let (code, payload) = (Blob::from(Vec::new()), Blob::from(Vec::new()));
        let (function, timeout) = (FunctionId([1; 16]), Duration::from_secs(2));
        let session = Session(1);
        Job { id: TaskId([task; 16]), attempt: 1, session, function, code, payload, timeout, arrived: at(0) }
    }

    fn conn() -> ConnId {
        ConnId(machine::id::Key { index: 1, generation: 1 })
    }

    /// A slot that runs a task, and has another.
    fn busy() -> Slot {
        let mut slot = Slot::new(at(0));
        slot.start(7, [3; 16], at(0));
        slot.connect(conn());
        slot.since = at(10);
        slot.sent.extend([job(1), job(2)]);
        slot
    }

    fn over(mut slot: Slot) -> Slot {
        slot.on_conn_end(at(20));
        slot.on_gone(at(20));
        assert!(slot.is_over(at(20)));
        slot
    }

    #[test]
    fn who_ended_a_slot_decides_what_becomes_of_its_task() {
        let check = |doom: Option<Doom>, how: Option<How>, expected: &str| {
            let mut slot = busy();
            if let Some(doom) = doom {
                slot.doom(doom);
            }
            if let Some(how) = how {
                slot.on_ended(how);
            }
            let found = format!("{:?}", over(slot).fate().expect("it ran a task"));
            assert!(found.contains(expected), "{doom:?} {how:?}: {found}");
        };
        check(None, Some(How::Exit(3)), "exit status 3");
        check(None, Some(How::Exit(python::LOST)), "closed the descriptors");
        check(None, Some(How::Signal(11)), "SIGSEGV");
        check(None, Some(How::Signal(24)), "processor time");
        check(None, Some(How::Signal(9)), "SlotLost");
        check(None, None, "SlotLost");
        check(Some(Doom::TimedOut), None, "longer than its limit of 2s");
        check(Some(Doom::TimedOut), Some(How::Signal(9)), "longer than its limit of 2s");
        check(Some(Doom::Cancelled), None, "Cancelled");
        check(Some(Doom::Deaf), None, "closed the descriptors");
        check(Some(Doom::Strange), None, "wrote into its slot");
        check(Some(Doom::Stopped), None, "SlotLost");
        check(Some(Doom::Orphaned), None, "Forgotten");
    }

    #[test]
    fn a_slot_that_retired_has_begun_nothing_more() {
        let mut slot = busy();
        slot.retire();
        slot.on_ended(How::Exit(0));
        let slot = over(slot);
        assert_eq!((slot.fate(), slot.sent.len()), (None, 2));
    }

    #[test]
    fn a_slot_is_over_when_it_is_gone_and_its_last_words_were_read() {
        let mut slot = busy();
        slot.on_gone(at(20));
        assert!(!slot.is_over(at(20)), "it may have said something");
        assert!(slot.is_over(at(20) + LINGER), "but not for ever");
        let mut slot = busy();
        slot.on_conn_end(at(20));
        assert!(!slot.is_over(at(5000)), "it may still run");
        assert_eq!(slot.due(), Some(at(20) + LINGER));
    }

    #[test]
    fn a_slot_that_never_comes_up_is_tried_less_and_less_often() {
        let mut slot = Slot::new(at(0));
        let mut pauses = Vec::new();
        for launch in 0..20 {
            slot.start(launch, [0; 16], at(0));
            slot.on_gone(at(0));
            slot.reset(at(0));
            let Stage::Absent(next) = slot.stage else { panic!("{:?}", slot.stage) };
            pauses.push(next - at(0));
        }
        assert!(pauses.is_sorted() && pauses[0] > Duration::ZERO && pauses[19] == PAUSE_MAX, "{pauses:?}");
        assert!(!slot.is_promising());
        slot.start(99, [0; 16], at(0));
        slot.connect(conn());
        slot.on_conn_end(at(1));
        slot.on_gone(at(1));
        slot.reset(at(1));
        assert_eq!(slot.stage, Stage::Absent(at(1)), "one that came up is started again at once");
    }

    #[test]
    fn a_slot_is_sent_a_function_once_and_forgets_before_it_has_too_many() {
        let mut slot = busy();
        assert_eq!(slot.learn(FunctionId([1; 16])), (true, false));
        assert_eq!(slot.learn(FunctionId([1; 16])), (false, false));
        let mut forgot = 0;
        for number in 0..FUNCTIONS_MAX as u32 {
            let mut id = [9; 16];
            id[..4].copy_from_slice(&number.to_le_bytes());
            let (is_new, forgets) = slot.learn(FunctionId(id));
            assert!(is_new);
            forgot += usize::from(forgets);
        }
        assert_eq!(forgot, 1);
        assert_eq!(slot.learn(FunctionId([1; 16])), (true, false), "it was forgotten");
    }
}
