//! One program that a worker runs: its process, its streams, its time, and how it ended.

use crate::entry::{JobId, Outcome};
use crate::output::Output;
use core::time::Duration;
use machine::{ChildEvent, ChildId, ConnId, Instant, PipeKind};

/// How long after a program's end its streams may still bring something. What it printed is in the kernel by then and
/// its group is ended, so they end by themselves, late on a machine that has much to do; only somebody who has left the
/// group can hold them, and is not waited for longer.
const LINGER: Duration = Duration::from_secs(5);

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
    /// Its process has ended, and its streams may not have.
    Ending { how: How, by: Instant },
    /// All is known.
    Done(Box<Outcome>),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Exited(i32),
    Killed(i32),
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
    streams: Vec<(PipeKind, ConnId)>,
    out: Output,
    err: Output,
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
            streams: Vec::new(),
            out: Output::default(),
            err: Output::default(),
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
        self.streams.push((kind, conn));
    }

    /// It printed something.
    pub fn printed(&mut self, conn: ConnId, bytes: &[u8]) {
        match self.streams.iter().find(|(_, known)| *known == conn) {
            Some((PipeKind::Output, _)) => self.out.add(bytes),
            Some((PipeKind::Error, _)) => self.err.add(bytes),
            Some((PipeKind::Input, _)) | None => {}
        }
    }

    /// A stream of it ended.
    pub fn stream_ended(&mut self, now: Instant, conn: ConnId) {
        self.streams.retain(|(_, known)| *known != conn);
        self.settle(now);
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
        self.phase = Phase::Ending { how, by: now + LINGER };
        self.settle(now);
    }

    /// The streams that are to be closed because the process is over and they do not end.
    pub fn settle(&mut self, now: Instant) -> Vec<ConnId> {
        let Phase::Ending { how, by } = self.phase else { return Vec::new() };
        let speaks = self.streams.iter().any(|(kind, _)| *kind != PipeKind::Input);
        if speaks && now < by {
            return Vec::new();
        }
        let (stdout, stdout_left_out) = core::mem::take(&mut self.out).text();
        let (stderr, stderr_left_out) = core::mem::take(&mut self.err).text();
        let took_ms = now.since(self.began).as_millis() as u64;
        let (exit, signal, why) = self.verdict(how);
        let outcome =
            Outcome { exit, signal, why, stdout, stderr, stdout_left_out, stderr_left_out, took_ms };
        self.phase = Phase::Done(Box::new(outcome));
        self.streams.drain(..).map(|(_, conn)| conn).collect()
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
            Phase::Ending { by, .. } => Some(by),
            Phase::Starting | Phase::Running { .. } | Phase::Done(_) => None,
        }
    }
}
