//! What is asked of a node: by people, by other nodes, by itself; and when it is given up. What cannot be promised is
//! refused with a reason, and never silently.

use super::{CORE, EVERY, How, Node, Outcome, TICK};
use crate::entry::{Fact, JobId, Origin};
use crate::peer::Said;
use crate::proposals;
use consensus::ReadId;
use core::time::Duration;
use machine::{Instant, Now, Outbox};
use web::AskId;

impl Node {
    /// Says what is proposed to whoever leads. Whether that is this node's own group.
    pub(super) fn propose(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) -> bool {
        let Some(leader) = self.group.leader() else { return false };
        let due = self.proposals.due(now.at);
        let is_mine = leader == self.me.node;
        let has_any = !due.is_empty();
        for (origin, fact) in due {
            if is_mine {
                self.propose_here(now, origin, fact);
            } else {
                out.send(leader, CORE, Said::Propose { origin, fact }, None);
            }
        }
        is_mine && has_any
    }

    /// This node leads: it takes a proposal of its own or of another. Refused, it comes again by itself.
    pub(crate) fn propose_here(&mut self, now: Now, origin: Origin, fact: Fact) {
        if self.is_full {
            return;
        }
        let bytes = proposals::entry(now, origin, fact).write();
        let _ = self.group.propose(now.at, bytes);
    }

    /// Asks for something on behalf of who asked.
    pub(crate) fn ask(&mut self, now: Now, fact: Fact, ask: AskId, how: How) {
        if self.proposals.len() >= proposals::WAITING_MAX {
            let why = "too many requests wait for a majority: send it again later".to_owned();
            return self.outcomes.push(Outcome::Refused(ask, why));
        }
        if let Some(why) = self.minority(now.at) {
            return self.outcomes.push(Outcome::Refused(ask, why));
        }
        self.proposals.add(now.at, fact, Some((ask, how)));
    }

    /// A job is to be read as it is now.
    pub(crate) fn read(&mut self, now: Now, ask: AskId, job: JobId, how: How) {
        if self.ledger.job(job).is_some_and(|job| job.state.is_end()) {
            return self.outcomes.push(Outcome::Readable(ask, job, how));
        }
        if let Some(why) = self.minority(now.at) {
            return self.outcomes.push(Outcome::Refused(ask, why));
        }
        let id = self.group.read_index(now.at);
        self.readers.insert(id, (ask, job, how, now.at));
    }

    /// A key for a job that was sent without one.
    pub(crate) fn own_key(&mut self) -> String {
        format!("{}-{:016x}{:016x}", self.me.name, self.chance.next_u64(), self.chance.next_u64())
    }

    /// Everybody who waits for an answer.
    pub(crate) fn waiting(&mut self) -> Vec<AskId> {
        let readers = core::mem::take(&mut self.readers).into_values().map(|(ask, ..)| ask);
        readers.chain(self.proposals.askers()).collect()
    }

    /// Why this node can promise nothing; none while it can, or may soon.
    pub(crate) fn minority(&self, now: Instant) -> Option<String> {
        if self.is_broken || self.is_full {
            let what = if self.is_broken { "failed" } else { "is full" };
            return Some(format!("the disk of {} {what}: ask another node", self.me.name));
        }
        let since = self.leaderless_since.filter(|since| now.since(*since) >= proposals::LEADERLESS)?;
        let alive = 1 + self.known.values().filter(|known| known.is_alive(now)).count();
        Some(format!(
            "no leader for {} ms: {} hears {alive} of {} nodes, and a majority is {}",
            now.since(since).as_millis(),
            self.me.name,
            self.config.members.len(),
            self.config.members.len() / 2 + 1,
        ))
    }

    /// Why this node could promise nothing at this moment.
    pub(crate) fn helpless(&self, now: Instant) -> Option<String> {
        let has_no_leader = self.group.leader().is_none();
        self.minority(now).or_else(|| has_no_leader.then(|| "there is no leader at this moment".to_owned()))
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        out.wake(TICK, Some(now.at + EVERY));
        if self.is_stopped {
            return;
        }
        self.beat(now, out);
        let patience = if self.minority(now.at).is_some() { Duration::ZERO } else { proposals::PATIENCE };
        let why = self.minority(now.at).unwrap_or_else(|| {
            "no majority has taken it in time; it may be taken later: send it again with the same Idempotency-Key"
                .to_owned()
        });
        for ask in self.proposals.expired(now.at, patience) {
            self.outcomes.push(Outcome::Refused(ask, why.clone()));
        }
        let is_over = |since: Instant| now.at.since(since) >= patience;
        let over: Vec<ReadId> =
            self.readers.iter().filter(|(_, (.., since))| is_over(*since)).map(|(id, _)| *id).collect();
        for (ask, ..) in over.into_iter().filter_map(|id| self.readers.remove(&id)) {
            self.outcomes.push(Outcome::Refused(ask, why.clone()));
        }
    }
}
