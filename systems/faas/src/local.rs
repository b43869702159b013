//! Workers of this machine, which the service starts itself: one a core, with its share of the slots, over a socket of
//! that core. One that ends is started again, after a pause that grows while it does not come up.

use crate::config::Dispatch;
use crate::peer::Said;
use crate::shard::Faas;
use core::time::Duration;
use machine::{ChildEvent, ChildId, Command, ConnId, Input, Instant, Now, Outbox, PipeKind, Signal};
use std::collections::BTreeMap;

/// The pause before a worker is started again, and the longest.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What of a worker's line is told at most, in bytes.
const LINE_MAX: usize = 4096;

/// The worker of one core.
#[derive(Debug, Default)]
pub struct Locals {
    child: Option<ChildId>,
    start_at: Option<Instant>,
    /// Starts in a row that came to nothing.
    failures: u32,
    /// What it says to the operator, by stream: the line that is not whole yet.
    pipes: BTreeMap<ConnId, Vec<u8>>,
}

impl Locals {
    /// A stream of our worker.
    pub fn pipe(&mut self, child: ChildId, conn: ConnId) {
        if self.child == Some(child) {
            self.pipes.insert(conn, Vec::new());
        }
    }

    /// Whether a connection is such a stream.
    #[must_use]
    pub fn owns(&self, conn: ConnId) -> bool {
        self.pipes.contains_key(&conn)
    }

    /// It ended.
    pub fn forget(&mut self, conn: ConnId) -> bool {
        self.pipes.remove(&conn).is_some()
    }

    /// What a worker says is passed on, line by line.
    pub fn hear(&mut self, conn: ConnId, input: &mut Input<'_>, say: fn(&str)) {
        let Some(held) = self.pipes.get_mut(&conn) else { return };
        held.extend_from_slice(input.bytes());
        input.used(input.bytes().len());
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            say(&format!("worker: {}", String::from_utf8_lossy(&held[..end])));
            held.drain(..=end);
        }
        if held.len() > LINE_MAX {
            say(&format!("worker: {}", String::from_utf8_lossy(held)));
            held.clear();
        }
    }

    /// It came up.
    pub fn registered(&mut self) {
        self.failures = 0;
    }
}

impl Faas {
    /// The socket of our workers is there.
    pub(crate) fn start_workers(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if matches!(self.config.dispatch, Dispatch::Own(_)) {
            self.locals.start_at = Some(now.at);
            self.start_again(now, out);
        }
    }

    /// Starts our worker when it is due; says when to look again.
    pub(crate) fn start_again(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) -> Option<Instant> {
        let at = self.locals.start_at?;
        if at > now.at {
            return Some(at);
        }
        self.locals.start_at = None;
        let Dispatch::Own(local) = &self.config.dispatch else { return None };
        let (cores, core) = (self.seat.cores, self.seat.core.0);
        let slots = local.slots / cores + u16::from(core < local.slots % cores);
        if slots == 0 || self.is_draining {
            return None;
        }
        let mut args = local.args.clone();
        args.push("--push".into());
        args.push(slots.to_string().into());
        args.push(format!("unix:{}-{core}", local.path).into());
        let (program, env) = (local.program.clone(), local.env.clone());
        let pipes = vec![PipeKind::Error];
        self.locals.child = Some(out.spawn(Command { program, args, env, pipes, ..Command::default() }));
        None
    }

    /// Something became of our worker.
    pub(crate) fn child(&mut self, now: Now, child: ChildId, what: ChildEvent) {
        if self.locals.child != Some(child) {
            return;
        }
        let why = match what {
            ChildEvent::Started { .. } => return,
            ChildEvent::Unstarted(why) => format!("could not be started: {why}"),
            ChildEvent::Exited(status) => format!("ended with status {status}"),
            ChildEvent::Killed(signal) => format!("was ended by signal {signal}"),
        };
        self.locals.child = None;
        if self.is_draining {
            return;
        }
        let pause = PAUSE.saturating_mul(1 << self.locals.failures.min(10)).min(PAUSE_MAX);
        self.locals.failures += 1;
        self.locals.start_at = Some(now.at + pause);
        (self.config.say)(&format!("the worker of core {} {why}; it is started again", self.seat.core.0));
    }

    /// Nothing new is begun; when nothing is under way, our worker goes, and then we are drained.
    pub(crate) fn drain(&mut self, out: &mut impl Outbox<Said = Said>) {
        let queued = self.tasks.queued();
        if queued.leased > 0 || self.roster.is_busy() || self.keep.waiting() > 0 || !self.site.is_empty() {
            return;
        }
        if let Some(child) = self.locals.child {
            out.signal(child, Signal::Terminate);
            return;
        }
        out.drained();
    }
}
