//! The nodes of a cluster on one machine, as children of this process: started, listened to, and started again when
//! they die, after a while in which the others can be seen to go on without them.

use core::time::Duration;
use machine::{ChildEvent, ChildId, Command, ConnId, Instant, Outbox, PipeKind, Signal};
use std::collections::BTreeMap;

/// Bytes of an unfinished line; more is broken in two.
const LINE_MAX: usize = 4096;

/// With these statuses a program ends that was started wrongly, lacks something of the machine, finds its port taken or
/// its data in use or unreadable.
const REFUSAL_MIN: i32 = 2;
const REFUSAL_MAX: i32 = 5;

/// A node that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nursling {
    /// How people know it.
    pub name: Box<str>,
    /// How it is started.
    pub command: Command,
}

#[derive(Debug)]
struct Child {
    what: Nursling,
    id: Option<ChildId>,
    again_at: Option<Instant>,
    is_ready: bool,
}

/// All nodes of this machine.
#[derive(Debug)]
pub struct Nursery {
    children: Vec<Child>,
    conns: BTreeMap<ConnId, (usize, PipeKind)>,
    again: Option<Duration>,
    /// A child that can never serve, and the status with which it ended.
    refused: Option<(usize, u8)>,
    is_ending: bool,
}

impl Nursery {
    /// These nodes; `again`: how long one stays dead.
    #[must_use]
    pub fn new(nurslings: &[Nursling], again: Option<Duration>) -> Self {
        let child = |what: &Nursling| Child { what: what.clone(), id: None, again_at: None, is_ready: false };
        Self {
            children: nurslings.iter().map(child).collect(),
            conns: BTreeMap::new(),
            again,
            refused: None,
            is_ending: false,
        }
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Whether all have said that they serve.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.children.iter().all(|child| child.is_ready)
    }

    /// Starts all that are to run and do not.
    pub fn tick(&mut self, now: Instant, out: &mut impl Outbox) {
        for child in &mut self.children {
            let is_due = child.again_at.is_none_or(|at| at <= now);
            if child.id.is_none() && is_due && !self.is_ending {
                child.again_at = Some(Instant::from_nanos(u64::MAX));
                child.id = Some(out.spawn(child.what.command.clone()));
            }
        }
    }

    /// Whether a child that never served has ended because it cannot, and all that it said is told: its status, and the
    /// sentence. To start it again would change nothing.
    #[must_use]
    pub fn refusal(&self) -> Option<(u8, String)> {
        let (at, status) = self.refused?;
        let is_heard = self.conns.values().all(|(other, _)| *other != at);
        is_heard.then(|| {
            (status, format!("{} cannot be started; what it said is above", self.children[at].what.name))
        })
    }

    /// Something became of a child; the line that people are told.
    pub fn on_child(&mut self, now: Instant, id: ChildId, what: &ChildEvent) -> Option<String> {
        let at = self.children.iter().position(|child| child.id == Some(id))?;
        let child = &mut self.children[at];
        if let ChildEvent::Exited(status @ REFUSAL_MIN..=REFUSAL_MAX) = what
            && !child.is_ready
        {
            self.refused = Some((at, *status as u8));
        }
        let how = match what {
            ChildEvent::Started { .. } => return None,
            ChildEvent::Unstarted(why) => why.to_string(),
            ChildEvent::Exited(status) => format!("exited with status {status}"),
            ChildEvent::Killed(signal) => format!("was ended by signal {signal}"),
        };
        child.id = None;
        child.again_at = Some(self.again.map_or(Instant::from_nanos(u64::MAX), |again| now + again));
        (!self.is_ending).then(|| format!("{} {how}", child.what.name))
    }

    /// A stream of a child is there.
    pub fn on_pipe(&mut self, conn: ConnId, id: ChildId, kind: PipeKind) {
        if let Some(at) = self.children.iter().position(|child| child.id == Some(id)) {
            self.conns.insert(conn, (at, kind));
        }
    }

    /// What a child printed: whole lines of it, and how many bytes are done with. None when it is no child's.
    pub fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) -> Option<(Vec<String>, usize)> {
        let (at, kind) = *self.conns.get(&conn)?;
        let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if bytes.len() > LINE_MAX => bytes.len(),
            None => 0,
        };
        let text = String::from_utf8_lossy(&bytes[..end]);
        let is_ready_line = |line: &str| kind == PipeKind::Output && line.starts_with("READY ");
        let mut lines = Vec::new();
        for line in text.lines() {
            if is_ready_line(line) {
                self.children[at].is_ready = true;
            } else {
                lines.push(line.to_owned());
            }
        }
        Some((lines, end))
    }

    /// A stream ended. Whether it was a child's.
    pub fn on_end(&mut self, conn: ConnId) -> bool {
        self.conns.remove(&conn).is_some()
    }

    /// All are to end.
    pub fn end(&mut self, out: &mut impl Outbox) {
        self.is_ending = true;
        for id in self.children.iter().filter_map(|child| child.id) {
            out.signal(id, Signal::Terminate);
        }
    }

    /// Whether all have ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.children.iter().all(|child| child.id.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::id::Key;

    const CONN: ConnId = ConnId(Key { index: 3, generation: 1 });

    fn nursery(is_ready: bool) -> Nursery {
        let what = Nursling { name: "node-1".into(), command: Command::default() };
        let mut nursery = Nursery::new(&[what], Some(Duration::from_secs(1)));
        nursery.children[0].id = Some(ChildId(7));
        nursery.children[0].is_ready = is_ready;
        nursery.on_pipe(CONN, ChildId(7), PipeKind::Error);
        nursery
    }

    #[test]
    fn a_node_that_never_served_and_cannot_is_told_of_after_its_own_words() {
        let mut refused = nursery(false);
        refused.on_child(Instant::ZERO, ChildId(7), &ChildEvent::Exited(5));
        assert_eq!(refused.refusal(), None, "it may have said more");
        assert!(refused.on_end(CONN));
        assert_eq!(refused.refusal().map(|(status, _)| status), Some(5));
    }

    #[test]
    fn a_node_that_served_or_was_killed_is_started_again() {
        for (is_ready, what) in
            [(true, ChildEvent::Exited(4)), (false, ChildEvent::Killed(9)), (false, ChildEvent::Exited(101))]
        {
            let mut again = nursery(is_ready);
            again.on_child(Instant::ZERO, ChildId(7), &what);
            again.on_end(CONN);
            assert_eq!(again.refusal(), None, "{what:?}");
        }
    }
}
