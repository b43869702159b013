//! What is asked of all cores at once: who we are, tasks by state, workers, functions. Each core writes its part; the
//! one that was asked puts them together.

use crate::answers::{Answer, listed};
use crate::asks::To;
use crate::form;
use crate::peer::Said;
use crate::shard::Faas;
use crate::task::How;
use crate::tasks::Seen;
use core::fmt::Write as _;
use machine::{Blob, CoreId, Gauges, Now, Outbox};
use web::{Ask, AskId};

/// Tasks in one list, where nobody says how many, and at most.
const LIST_USUAL: u32 = 100;
const LIST_MAX: u32 = 10_000;

/// Kinds of tasks that can be asked for, by the word in the query.
const KINDS: [(&str, fn(Seen<'_>) -> bool); 10] = [
    ("", |_| true),
    ("QUEUED", |seen| matches!(seen, Seen::Queued | Seen::Delayed)),
    ("DELAYED", |seen| seen == Seen::Delayed),
    ("RUNNING", |seen| seen == Seen::Running),
    ("COMPLETED", |seen| matches!(seen, Seen::Ended(ended) if ended.how == How::Completed)),
    ("COMPLETE", |seen| matches!(seen, Seen::Ended(ended) if ended.how == How::Completed)),
    ("FAILED", |seen| matches!(seen, Seen::Ended(ended) if ended.how != How::Completed)),
    ("DEAD", |seen| matches!(seen, Seen::Ended(ended) if ended.how == How::Dead)),
    ("CANCELLED", |seen| matches!(seen, Seen::Ended(ended) if ended.how == How::Cancelled)),
    ("READY", |seen| seen == Seen::Queued),
];

/// What is looked for beside kinds of tasks.
const COUNTS: u8 = 100;
const WORKERS: u8 = 101;

/// A question to all cores that is not answered by all yet.
#[derive(Debug)]
pub(crate) struct Looking {
    ask: AskId,
    to: To,
    most: u32,
    count: u64,
    parts: Vec<String>,
    left: u16,
}

impl Faas {
    /// `GET /tasks?state=&limit=`.
    pub(crate) fn list_tasks(
        &mut self,
        ask: &Ask<'_, To>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Result<(), Answer> {
        let state = ask.query().get("state").unwrap_or_default().to_uppercase();
        let kind = KINDS.iter().position(|(name, _)| *name == state).ok_or_else(|| {
            form::query_word("state", "QUEUED, DELAYED, READY, RUNNING, COMPLETED, FAILED, DEAD, CANCELLED")
        })?;
        let most = match ask.query().get("limit") {
            None => LIST_USUAL,
            Some(text) => form::query_whole(&text, "limit")?.min(LIST_MAX.into()) as u32,
        };
        self.look(ask.id, To::Tasks, kind as u8, most, out);
        Ok(())
    }

    /// Asks all cores.
    pub(crate) fn look(
        &mut self,
        ask: AskId,
        to: To,
        kind: u8,
        most: u32,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.looked += 1;
        let what = match to {
            To::Tasks => kind,
            To::Workers => WORKERS,
            _ => COUNTS,
        };
        let (count, parts, left) = (0, Vec::new(), self.seat.cores);
        self.looks.insert(self.looked, Looking { ask, to, most, count, parts, left });
        for core in self.seat.all_cores() {
            out.tell(core, Said::Look { number: self.looked, what, most }, None);
        }
    }

    /// Tells what there is here.
    pub(crate) fn tell_look(
        &mut self,
        core: CoreId,
        number: u64,
        what: u8,
        most: u32,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let mut text = String::new();
        let mut count = 0;
        let mut next = |text: &mut String| {
            count += 1;
            if count > 1 && count <= u64::from(most) {
                text.push(',');
            }
            count <= u64::from(most)
        };
        match what {
            COUNTS => {
                let (queued, counts) = (self.tasks.queued(), self.tasks.counts);
                let slots: u32 = self
                    .roster
                    .iter()
                    .filter_map(|worker| worker.about.as_ref())
                    .map(|about| about.slots)
                    .sum();
                let _ = write!(
                    text,
                    "{} {} {} {} {} {} {} {}",
                    counts.accepted,
                    queued.ready + queued.delayed,
                    queued.leased,
                    counts.completed,
                    counts.failed + counts.cancelled + counts.dead,
                    self.roster.iter().filter(|worker| worker.about.is_some()).count(),
                    slots,
                    self.tasks.bytes(),
                );
            }
            WORKERS => {
                for worker in self.roster.iter().filter(|worker| worker.about.is_some()) {
                    count += 1;
                    if count > 1 {
                        text.push(',');
                    }
                    self.listed_worker(worker, &mut text);
                }
            }
            kind => {
                let is_wanted = KINDS.get(usize::from(kind)).map_or(KINDS[0].1, |(_, is_wanted)| *is_wanted);
                for (task, seen) in self.tasks.iter().filter(|(_, seen)| is_wanted(*seen)) {
                    if next(&mut text) {
                        listed(&self.config.manners, task, seen, &mut text);
                    }
                }
            }
        }
        out.tell(core, Said::Seen { number, count, text }, None);
    }

    /// A core has told; when all have, the request is answered.
    pub(crate) fn seen(
        &mut self,
        now: Now,
        number: u64,
        count: u64,
        text: &str,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(look) = self.looks.get_mut(&number) else { return };
        look.count += count;
        if !text.is_empty() {
            look.parts.push(text.to_owned());
        }
        look.left -= 1;
        if look.left > 0 {
            return;
        }
        let Some(look) = self.looks.remove(&number) else { return };
        let text = match look.to {
            To::Tasks => tasks_of(&look),
            To::Workers => format!("{{\"workers\":[{}]}}", look.parts.join(",")),
            To::Functions => self.list_functions(),
            _ => self.root(&look.parts),
        };
        self.answer(now, look.ask, 200, Blob::from(text.into_bytes()), out);
    }

    fn root(&self, parts: &[String]) -> String {
        let mut sums = [0u64; 8];
        for part in parts {
            for (sum, number) in sums.iter_mut().zip(part.split(' ')) {
                *sum += number.parse::<u64>().unwrap_or(0);
            }
        }
        let [accepted, queued, running, completed, failed, workers, slots, bytes] = sums;
        format!(
            "{{\"name\":\"faas\",\"version\":\"{}\",\"mode\":\"{}\",\"cores\":{},\"functions\":{},\
             \"tasks\":{{\"accepted\":{accepted},\"queued\":{queued},\"running\":{running},\
             \"completed\":{completed},\"failed\":{failed}}},\"workers\":{workers},\"slots\":{slots},\"bytes\":{bytes}}}",
            env!("CARGO_PKG_VERSION"),
            self.config.mode.name(),
            self.seat.cores,
            self.functions.len(),
        )
    }

    fn list_functions(&self) -> String {
        let mut text = String::from("{\"functions\":[");
        for (index, (id, function)) in self.functions.iter().enumerate() {
            let name = serde_json::Value::from(&*function.name);
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(
                text,
                "{comma}{{\"function_id\":\"{id}\",\"name\":{name},\"bytes\":{},\"protocol\":{},\"ran_us\":{}}}",
                function.code.len(),
                function.protocol.map_or("null".to_owned(), |protocol| protocol.to_string()),
                function.ran_us.map_or("null".to_owned(), |micros| micros.to_string()),
            );
        }
        text.push_str("]}");
        text
    }

    /// What is counted here.
    pub(crate) fn count(&self, into: &mut Gauges) {
        let (queued, counts) = (self.tasks.queued(), self.tasks.counts);
        into.counter("faas_tasks_accepted_total", "tasks accepted", counts.accepted);
        into.counter("faas_tasks_ended_total{how=\"completed\"}", "tasks that ended", counts.completed);
        into.counter("faas_tasks_ended_total{how=\"failed\"}", "tasks that ended", counts.failed);
        into.counter("faas_tasks_ended_total{how=\"cancelled\"}", "tasks that ended", counts.cancelled);
        into.counter("faas_tasks_ended_total{how=\"dead\"}", "tasks that ended", counts.dead);
        into.counter("faas_attempts_lost_total", "attempts whose worker or slot was lost", counts.lost);
        into.counter("faas_results_late_total", "results of attempts that had ended", counts.late);
        into.counter("faas_tasks_forgotten_total", "results that were too old or too many", counts.forgotten);
        into.counter("faas_logged_bytes_total", "bytes logged", self.keep.logged);
        into.level("faas_tasks_ready", "tasks that wait for a slot", queued.ready as i64);
        into.level("faas_tasks_delayed", "tasks that pause after a lost attempt", queued.delayed as i64);
        into.level("faas_tasks_running", "tasks that a worker has", queued.leased as i64);
        into.level("faas_tasks", "tasks, the ended too", self.tasks.len() as i64);
        into.level("faas_bytes", "bytes of payloads and results", self.tasks.bytes() as i64);
        into.level("faas_waiting", "clients that wait for a result", self.waiters.len() as i64);
        into.level("faas_promises", "answers that wait for the disk", self.keep.waiting() as i64);
        let slots =
            self.roster.iter().filter_map(|worker| worker.about.as_ref()).map(|about| i64::from(about.slots));
        let slots: Vec<i64> = slots.collect();
        into.level("faas_workers", "workers connected", slots.len() as i64);
        into.level("faas_slots", "slots of workers", slots.iter().sum());
        if self.seat.core == CoreId(0) {
            into.level("faas_functions", "functions registered", self.functions.len() as i64);
        }
    }
}

/// Of all parts as many tasks as were wanted.
fn tasks_of(look: &Looking) -> String {
    let mut text = format!("{{\"count\":{},\"tasks\":[", look.count);
    let all = look.parts.join(",");
    // Each core wrote as many as were wanted; ids and words hold no brace, so a brace ends a task.
    let mut taken = all.split_inclusive('}').take(look.most as usize);
    if let Some(first) = taken.next() {
        text.push_str(first);
    }
    taken.for_each(|task| text.push_str(task));
    text.push_str("]}");
    text
}
