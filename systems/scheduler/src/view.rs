//! What is shown of jobs and nodes: JSON, as the contract has it.

use crate::config::{Config, Kind};
use crate::entry::Outcome;
use crate::job::{Event, Job};
use crate::load::Load;
use crate::node::Node;
use machine::{Gauges, NodeId, Now};
use serde_json::{Value, json};

/// Jobs that a page shows.
pub const SHOWN: usize = 50;

/// A job in a list.
#[must_use]
pub fn brief(job: &Job, config: &Config) -> Value {
    json!({
        "id": job.id.to_string(),
        "state": job.state.name(),
        "attempt": job.attempt,
        "worker": worker(job.worker, config),
        "key": job.key,
        "accepted_at": job.accepted_ms,
        "ended_at": (job.ended_ms > 0).then_some(job.ended_ms),
        "exit": job.outcome.as_ref().map(|outcome| outcome.exit),
    })
}

/// A job with all that is known of it.
#[must_use]
pub fn whole(job: &Job, config: &Config, waits: Option<&str>) -> Value {
    let history: Vec<Value> = job.history.iter().map(|each| event(each, config)).collect();
    let late: Vec<Value> = job
        .late
        .iter()
        .map(|late| {
            let worker = worker(Some(late.worker), config);
            json!({"attempt": late.attempt, "worker": worker, "result": result(&late.outcome)})
        })
        .collect();
    let spec = &job.spec;
    json!({
        "id": job.id.to_string(),
        "state": job.state.name(),
        "attempt": job.attempt,
        "worker": worker(job.worker, config),
        "history": history,
        "result": job.outcome.as_ref().map(result),
        "late": late,
        "waits": waits.filter(|_| job.state == crate::job::State::Accepted),
        "key": job.key,
        "accepted_at": job.accepted_ms,
        "ended_at": (job.ended_ms > 0).then_some(job.ended_ms),
        "program": spec.program,
        "interpreter": spec.interpreter.join(" "),
        "args": spec.args,
        "timeout_s": spec.timeout_ms as f64 / 1000.0,
        "cpu": spec.cpu_milli as f64 / 1000.0,
        "memory_mb": spec.memory_mb,
        "at_most_once": spec.at_most_once,
    })
}

/// A result.
#[must_use]
pub fn result(outcome: &Outcome) -> Value {
    json!({
        "exit": outcome.exit,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "signal": outcome.signal,
        "why": outcome.why,
        "note": outcome.note,
        "stdout_left_out": outcome.stdout_left_out,
        "stderr_left_out": outcome.stderr_left_out,
        "took_ms": outcome.took_ms,
    })
}

fn event(event: &Event, config: &Config) -> Value {
    json!({
        "index": event.index,
        "what": event.what,
        "at": event.at_ms,
        "why": event.why,
        "attempt": event.attempt,
        "worker": worker(event.worker, config),
    })
}

fn worker(number: Option<u16>, config: &Config) -> Value {
    number.map_or(Value::Null, |number| config.name(number).into())
}

/// All nodes, as this one knows them.
#[must_use]
pub fn nodes(node: &Node, now: Now) -> Value {
    let leader = node.group.leader();
    let one = |member: &crate::config::Member| {
        let is_me = member.node == node.me.node;
        let known = node.known.get(&member.node.0);
        let heard = known.and_then(|known| known.heard.as_ref());
        let role = match (leader == Some(member.node), member.kind) {
            (true, _) => "leader",
            (false, Kind::Server) => "worker",
            (false, Kind::Log) => "log",
        };
        let is_alive = is_me || known.is_some_and(|known| known.is_alive(now.at));
        let state = match (is_me && node.is_broken, is_alive, heard.is_some()) {
            (true, ..) => "broken",
            (false, true, _) => "alive",
            (false, false, true) => "dead",
            (false, false, false) => "unknown",
        };
        let load = if is_me { Some(node.load) } else { heard.map(|(_, beat)| beat.load) };
        let holds = match (is_me, &node.worker) {
            (true, Some(worker)) => worker.holds().len(),
            (true, None) => 0,
            (false, _) => heard.map_or(0, |(_, beat)| beat.holds.len()),
        };
        let pid = if is_me { Some(node.config.pid) } else { heard.map(|(_, beat)| beat.pid) };
        let applied = if is_me { Some(node.ledger.applied()) } else { heard.map(|(_, beat)| beat.applied) };
        json!({
            "id": member.name,
            "address": member.http.to_string(),
            "role": role,
            "state": state,
            "pid": pid,
            "cpu": load.map(|load| percent(load.cpu_used)),
            "memory": load.map(|load| percent(load.memory_used)),
            "pressure": load.map(|load| percent(load.pressure)),
            "room": load.map(room),
            "holds": holds,
            "applied": applied,
        })
    };
    let all: Vec<Value> = node.config.members.iter().map(one).collect();
    json!({"nodes": all, "asked": node.me.name, "term": node.group.term()})
}

fn percent(thousandths: u64) -> f64 {
    thousandths as f64 / 10.0
}

fn room(load: Load) -> Value {
    json!({"cpu": load.cpu_milli as f64 / 1000.0, "memory_mb": load.memory_mb})
}

/// Everything that a node's page shows.
#[must_use]
pub fn page(node: &Node, now: Now) -> Value {
    let mut all = nodes(node, now);
    let lack = node.leader.as_ref().and_then(|leader| leader.lack());
    let jobs: Vec<Value> =
        node.ledger.newest().take(SHOWN).map(|job| whole(job, &node.config, lack)).collect();
    let [waiting, held, ended] = node.ledger.counts();
    all["jobs"] = jobs.into();
    all["counts"] = json!({"waiting": waiting, "held": held, "ended": ended, "late": node.ledger.late()});
    all["leader"] = node.group.leader().map_or(Value::Null, |leader| node.config.name(leader.0).into());
    all["minority"] = node.minority(now.at).into();
    all["limits"] = "rlimits".into();
    all
}

impl Node {
    pub(crate) fn gauges(&self, into: &mut Gauges) {
        let [waiting, held, ended] = self.ledger.counts();
        into.level("scheduler_jobs{state=\"waiting\"}", "jobs by where they stand", waiting as i64);
        into.level("scheduler_jobs{state=\"held\"}", "jobs by where they stand", held as i64);
        into.level("scheduler_jobs{state=\"ended\"}", "jobs by where they stand", ended as i64);
        into.level("scheduler_ledger_bytes", "bytes of all jobs, roughly", self.ledger.bytes() as i64);
        into.counter("scheduler_late_total", "results of attempts that were given up", self.ledger.late());
        into.counter("scheduler_acknowledged_total", "jobs acknowledged by this node", self.acknowledged);
        into.level("scheduler_applied_index", "the last entry applied", self.ledger.applied() as i64);
        into.level("scheduler_term", "the group's term", self.group.term() as i64);
        let is_leader = self.group.leader() == Some(NodeId(self.me.node.0)) && !self.is_stopped;
        into.level("scheduler_leads", "whether this node leads", i64::from(is_leader));
        let worker = self.worker.as_ref();
        into.level(
            "scheduler_running",
            "programs that run here",
            worker.map_or(0, |worker| worker.running() as i64),
        );
        into.counter(
            "scheduler_started_total",
            "programs started here",
            worker.map_or(0, |worker| worker.started),
        );
        into.counter(
            "scheduler_fenced_total",
            "programs stopped here because no leader was heard",
            worker.map_or(0, |worker| worker.fenced),
        );
    }
}
