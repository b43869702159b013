//! The ledger under every order of entries that a seed can think of: what its documentation says holds, whatever comes.
//!
//! The entries are drawn without regard for sense (attempts that never were, results of others, retries of what runs),
//! because entries race: the ledger must not depend on who proposed them being right.

use machine::{Chance, Stream};
use scheduler::entry::{Entry, Fact, JobId, Origin, Outcome};
use scheduler::job::{Job, State};
use scheduler::ledger::{ATTEMPTS_MAX, Ledger, Refusal, Verdict};
use scheduler::spec::Spec;
use std::collections::BTreeMap;

const SEEDS: u64 = 300;
const STEPS: u64 = 400;
const KEYS: u64 = 5;

fn spec(at_most_once: bool) -> Spec {
    let json = serde_json::json!({"program": "print(1)", "at_most_once": at_most_once});
    Spec::read(json.to_string().as_bytes()).expect("it is right")
}

fn entry(at_ms: u64, fact: Fact) -> Entry {
    Entry { origin: Origin { node: 1, life: 1, number: at_ms }, at_ms, fact }
}

fn outcome(exit: i32) -> Outcome {
    Outcome { exit, stdout: format!("{exit}"), ..Outcome::default() }
}

/// A ledger that is fed facts one by one.
#[derive(Default)]
struct Feed {
    ledger: Ledger,
    index: u64,
}

impl Feed {
    fn say(&mut self, fact: Fact) -> Verdict {
        self.index += 1;
        self.ledger.apply(self.index, &entry(self.index, fact))
    }

    fn send(&mut self, key: &str, at_most_once: bool) -> JobId {
        self.say(Fact::Sent { key: key.into(), spec: spec(at_most_once) });
        JobId::of(key)
    }

    fn assign(&mut self, id: JobId, attempt: u32, worker: u16) -> Verdict {
        self.say(Fact::Assigned { id, attempt, worker, life: 9, why: "room".into() })
    }

    fn end(&mut self, id: JobId, attempt: u32, worker: u16, exit: i32) -> Verdict {
        self.say(Fact::Ended { id, attempt, worker, outcome: outcome(exit) })
    }

    fn lose(&mut self, id: JobId, attempt: u32) -> Verdict {
        self.say(Fact::Lost { id, attempt, why: "gone".into() })
    }

    fn job(&self, id: JobId) -> &Job {
        self.ledger.job(id).expect("it was sent")
    }
}

#[test]
fn the_same_key_is_the_same_job_and_another_job_of_that_key_is_refused() {
    let mut feed = Feed::default();
    let id = feed.send("key", false);
    assert_eq!(feed.say(Fact::Sent { key: "key".into(), spec: spec(false) }), Verdict::Known(id));
    let other = feed.say(Fact::Sent { key: "key".into(), spec: spec(true) });
    assert_eq!(other, Verdict::Refused(Refusal::OtherJob));
    assert_eq!(feed.ledger.len(), 1);
}

#[test]
fn a_late_result_is_kept_and_counts_for_nothing() {
    let mut feed = Feed::default();
    let id = feed.send("key", false);
    feed.assign(id, 1, 2);
    feed.say(Fact::Started { id, attempt: 1, worker: 2, pid: 7 });
    feed.lose(id, 1);
    assert_eq!(
        feed.end(id, 1, 2, 0),
        Verdict::Late(id),
        "it waits for another worker: the old one is too late"
    );
    feed.assign(id, 2, 3);
    assert_eq!(feed.end(id, 1, 2, 0), Verdict::Stale, "it is kept once");
    assert_eq!(feed.end(id, 2, 3, 4), Verdict::Changed(id));
    let job = feed.job(id);
    assert_eq!((job.state, job.late.len()), (State::Failed, 1));
    assert_eq!(job.outcome.as_ref().map(|outcome| outcome.exit), Some(4));
    assert!(job.history.iter().any(|event| event.what == "late" && event.attempt == 1));
}

#[test]
fn a_job_that_loses_every_worker_is_dead_with_reasons_and_can_be_tried_again() {
    let mut feed = Feed::default();
    let id = feed.send("key", false);
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(feed.assign(id, attempt, 2), Verdict::Changed(id));
        assert_eq!(feed.lose(id, attempt), Verdict::Changed(id));
    }
    let job = feed.job(id);
    assert_eq!(job.state, State::Dead);
    assert!(job.history.last().is_some_and(|event| event.what == "dead" && event.why.contains("gone")));
    let attempt = job.attempt;
    assert_eq!(feed.say(Fact::Retried { id, attempt }), Verdict::Changed(id));
    assert_eq!(
        feed.say(Fact::Retried { id, attempt }),
        Verdict::Refused(Refusal::NotRetried(State::Accepted))
    );
    assert_eq!(feed.assign(id, attempt + 1, 2), Verdict::Changed(id));
    assert_eq!(feed.end(id, attempt + 1, 2, 0), Verdict::Changed(id));
    assert_eq!(feed.job(id).state, State::Finished);
}

#[test]
fn a_job_of_one_start_is_lost_with_its_worker_and_never_assigned_again() {
    let mut feed = Feed::default();
    let id = feed.send("key", true);
    feed.assign(id, 1, 2);
    feed.lose(id, 1);
    assert_eq!(feed.job(id).state, State::Lost);
    assert_eq!(feed.say(Fact::Retried { id, attempt: 1 }), Verdict::Refused(Refusal::StartedOnce));
    assert_eq!(feed.assign(id, 2, 3), Verdict::Stale);
}

#[test]
fn a_cancelled_job_stays_so_whatever_its_worker_says() {
    let mut feed = Feed::default();
    let id = feed.send("key", false);
    feed.assign(id, 1, 2);
    assert_eq!(feed.say(Fact::Cancelled { id }), Verdict::Changed(id));
    assert_eq!(feed.say(Fact::Cancelled { id }), Verdict::Known(id));
    assert_eq!(feed.end(id, 1, 2, 0), Verdict::Late(id));
    assert_eq!(feed.job(id).state, State::Cancelled);
}

#[test]
fn what_is_forgotten_is_forgotten_with_its_key() {
    let mut feed = Feed::default();
    let (one, other) = (feed.send("one", false), feed.send("other", false));
    feed.assign(one, 1, 2);
    feed.end(one, 1, 2, 0);
    feed.say(Fact::Forget { before_ms: 1000 });
    assert!(feed.ledger.job(one).is_none() && feed.ledger.job(other).is_some());
    assert_eq!(feed.say(Fact::Cancelled { id: one }), Verdict::Refused(Refusal::NoJob));
    feed.send("one", false);
    assert_eq!(feed.job(one).attempt, 0);
}

/// Any fact about any of a few jobs.
fn any_fact(stream: &mut Stream) -> Fact {
    let key = format!("key-{}", stream.below(KEYS));
    let id = JobId::of(&key);
    let attempt = stream.below(8) as u32;
    let worker = stream.below(3) as u16;
    match stream.below(16) {
        0 | 1 => Fact::Sent { spec: spec(key == "key-0"), key },
        2..=6 => Fact::Assigned { id, attempt, worker, life: 1, why: String::new() },
        7 | 8 => Fact::Started { id, attempt, worker, pid: 1 },
        9..=11 => Fact::Ended { id, attempt, worker, outcome: outcome(stream.below(2) as i32) },
        12 | 13 => Fact::Lost { id, attempt, why: String::new() },
        14 if stream.below(4) == 0 => Fact::Cancelled { id },
        _ => Fact::Retried { id, attempt },
    }
}

/// What the model remembers of one job: the simplest thing that says whether a change is allowed.
#[derive(Clone, Debug, Default)]
struct Remembered {
    assigned: Vec<u32>,
    ended_by: Option<(u32, u16)>,
}

#[test]
fn whatever_comes_an_end_is_one_and_only_the_last_attempt_makes_it() {
    for seed in 0..SEEDS {
        let mut stream = Chance::new(seed).stream("facts");
        let mut feed = Feed::default();
        let mut model: BTreeMap<JobId, Remembered> = BTreeMap::new();
        for _ in 0..STEPS {
            let fact = any_fact(&mut stream);
            let before = id_of(&fact).and_then(|id| feed.ledger.job(id).cloned());
            let verdict = feed.say(fact.clone());
            let Some(id) = id_of(&fact) else { continue };
            let after = feed.ledger.job(id).cloned();
            check(seed, &fact, before.as_ref(), after.as_ref(), &verdict, model.entry(id).or_default());
        }
        let whole = feed.ledger.whole();
        let again = Ledger::from_whole(feed.ledger.applied(), &whole).expect("it was just written");
        assert!(again.newest().eq(feed.ledger.newest()), "seed {seed}: a snapshot is another ledger");
        assert_eq!(again.counts(), feed.ledger.counts(), "seed {seed}");
        assert!(
            again.waiting().eq(feed.ledger.waiting()) && again.held().eq(feed.ledger.held()),
            "seed {seed}"
        );
    }
}

fn id_of(fact: &Fact) -> Option<JobId> {
    match fact {
        Fact::Sent { key, .. } => Some(JobId::of(key)),
        Fact::Assigned { id, .. }
        | Fact::Started { id, .. }
        | Fact::Ended { id, .. }
        | Fact::Lost { id, .. }
        | Fact::Cancelled { id }
        | Fact::Retried { id, .. } => Some(*id),
        Fact::Forget { .. } => None,
    }
}

#[track_caller]
fn check(
    seed: u64,
    fact: &Fact,
    before: Option<&Job>,
    after: Option<&Job>,
    verdict: &Verdict,
    remembered: &mut Remembered,
) {
    let context = format!("seed {seed}: {fact:?} from {:?}", before.map(|job| (job.state, job.attempt)));
    let (Some(before), Some(after)) = (before, after) else {
        assert!(
            matches!((fact, verdict), (Fact::Sent { .. }, _) | (_, Verdict::Refused(Refusal::NoJob))),
            "{context}"
        );
        return;
    };
    if !matches!(verdict, Verdict::Changed(_)) {
        assert_eq!((before.state, before.attempt), (after.state, after.attempt), "{context}");
        assert_eq!(before.outcome, after.outcome, "{context}");
        return;
    }
    let is_retry = matches!(fact, Fact::Retried { .. });
    assert!(!before.state.is_end() || is_retry, "{context}: an end was no end");
    match fact {
        Fact::Assigned { attempt, .. } => {
            assert!(!remembered.assigned.contains(attempt), "{context}: an attempt was given twice");
            assert!(!after.spec.at_most_once || remembered.assigned.is_empty(), "{context}: started twice");
            remembered.assigned.push(*attempt);
        }
        Fact::Ended { attempt, worker, .. } => {
            assert_eq!(remembered.assigned.last(), Some(attempt), "{context}: an old attempt counted");
            assert_eq!(after.worker, Some(*worker), "{context}");
            assert_eq!(remembered.ended_by.replace((*attempt, *worker)), None, "{context}: two ends");
        }
        Fact::Retried { .. } => remembered.ended_by = None,
        Fact::Sent { .. }
        | Fact::Started { .. }
        | Fact::Lost { .. }
        | Fact::Cancelled { .. }
        | Fact::Forget { .. } => {}
    }
}
