//! Seeded worlds: clients that submit, workers that die in the middle, a service that is killed or loses its power, and
//! workers that say late what nobody waits for any more. Whatever happens: what was accepted ends exactly once, with a
//! result of an attempt that counted, and what a client was once told stays true.

use faas::config::{Config, Dispatch, Limits, Manners, Mode, Patience, Tokens};
use faas::dispatch::{
    self, Ack, Ended, Message, Registration, Report, ReportFrame, Returned, Session, TaskId,
};
use faas::{Faas, base64};
use machine::{Address, NodeId};
use sim::{Client, Faults, Lies, Setup, World, for_seeds};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::Outcome;

const SEEDS: u64 = 60;
const NODE: NodeId = NodeId(0);
const CLIENTS: usize = 3;
const WORKERS: usize = 3;
/// What a result of an attempt begins with that had ended: none such may count.
const LATE: &str = "late ";
/// The longest results, in bytes: of several sectors of the disk, so that a power cut tears them.
const RESULT_MAX: u64 = 2000;
const PATIENCE: Duration = Duration::from_secs(120);

/// `pickle.dumps(os.path.join)`: any callable will do, for nobody here calls it.
const FUNCTION: &[u8] = b"\x80\x02cposixpath\njoin\nq\x00.";

fn config(mode: Mode) -> Config {
    Config {
        http: Address::Ip(([127, 0, 0, 1], 8000).into()),
        dispatch: Dispatch::Shared(Address::Ip(([127, 0, 0, 1], 5555).into())),
        mode,
        manners: Manners::STRICT,
        tokens: Tokens::default(),
        limits: Limits {
            patience: Patience { attempts_max: 50, ..Limits::default().patience },
            ..Limits::default()
        },
        is_kept: true,
        say: |_| {},
    }
}

/// The arguments of every call, as they are kept; `gAKJLg==` as they are sent.
const PAYLOAD: &[u8] = b"\x80\x02\x89.";

/// A client, and what it was told.
struct Asker {
    client: Client,
    asked: usize,
}

/// A worker of the test, as a connection.
struct Worker {
    client: Client,
    is_opened: bool,
    session: Option<Session>,
    heard: Vec<u8>,
    /// What it was given and has not reported.
    has: Vec<(TaskId, u32)>,
}

/// What is known from outside.
#[derive(Default)]
struct Known {
    function: Option<String>,
    accepted: BTreeSet<String>,
    /// What each task's result was when it was first seen.
    results: BTreeMap<String, String>,
    /// What workers said that tasks had returned.
    said: BTreeSet<String>,
}

struct Town {
    world: World<Faas>,
    askers: Vec<Asker>,
    workers: Vec<Worker>,
    known: Known,
    mode: Mode,
    /// What workers of the past would still say.
    late: Vec<(Session, TaskId, u32)>,
    /// Whether who says it names a session of the past, as it must.
    is_honest: bool,
}

fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Whole answers: status and body.
fn answers(heard: &[u8]) -> Vec<(u16, String)> {
    let heard = String::from_utf8_lossy(heard);
    let (mut rest, mut found) = (&*heard, Vec::new());
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or(0);
        if after.len() < length {
            break;
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        found.push((status, after[..length].to_owned()));
        rest = &after[length..];
    }
    found
}

/// The text of a field of flat JSON.
fn field(body: &str, name: &str) -> Option<String> {
    let (_, after) = body.split_once(&format!("\"{name}\":\""))?;
    after.split('"').next().map(str::to_owned)
}

impl Town {
    fn new(seed: u64, lies: Lies) -> Self {
        let mode = if seed.is_multiple_of(2) { Mode::Push } else { Mode::Pull };
        let cores = 1 + (seed % 3) as u16;
        let setup = Setup::new(config(mode)).cores(cores).all_logs().faults(Faults::rough()).lies(lies);
        let world = World::new(seed, setup);
        let mut town = Self {
            world,
            askers: Vec::new(),
            workers: Vec::new(),
            known: Known::default(),
            mode,
            late: Vec::new(),
            is_honest: true,
        };
        town.people();
        town
    }

    /// Everybody connects.
    fn people(&mut self) {
        self.askers = (0..CLIENTS).map(|_| Asker { client: self.world.connect(NODE, 0), asked: 0 }).collect();
        self.workers = (0..WORKERS).map(|number| self.worker(number)).collect();
    }

    fn worker(&mut self, number: usize) -> Worker {
        let client = self.world.connect(NODE, 1);
        let (slots, window) = (1 + (number % 2) as u16, 4);
        let mode = if self.mode == Mode::Pull { dispatch::Mode::Pull } else { dispatch::Mode::Push };
        let mut bytes = Vec::new();
        dispatch::write_opening(&mut bytes);
        dispatch::write_registration(
            &mut bytes,
            &Registration {
                worker: [number as u8; 16],
                mode,
                slots,
                window,
                pid: 1,
                python: "3.11.0",
                dill: "0.3.8",
                token: "",
                jails: 0,
                remarks: "",
            },
        );
        if self.mode == Mode::Pull {
            dispatch::write_request(&mut bytes, u32::from(slots + window));
        }
        self.world.say(client, &bytes);
        Worker { client, is_opened: false, session: None, heard: Vec::new(), has: Vec::new() }
    }

    /// Workers take in what they were given.
    fn hear_workers(&mut self) -> Result<(), String> {
        for worker in &mut self.workers {
            worker.heard.extend(self.world.take_heard(worker.client));
            let heard = &worker.heard;
            let mut used = 0;
            if !worker.is_opened && heard.len() >= dispatch::OPENING {
                (worker.is_opened, used) = (true, dispatch::OPENING);
            }
            while worker.is_opened {
                match dispatch::read(&heard[used..]) {
                    Outcome::Done { value, used: more } => {
                        used += more;
                        match value {
                            Message::NewTask(tasks) => {
                                for task in tasks {
                                    if task.payload != PAYLOAD
                                        || task.code.is_some_and(|code| code != FUNCTION)
                                    {
                                        return Err(format!("{} comes with other bytes", task.id));
                                    }
                                    worker.has.push((task.id, task.attempt));
                                }
                            }
                            Message::Ack(Ack::Welcome { session, .. }) => worker.session = Some(session),
                            Message::Ack(Ack::Refused(why)) => {
                                return Err(format!("a worker was refused: {why}"));
                            }
                            _ => {}
                        }
                    }
                    Outcome::Partial { .. } => break,
                    Outcome::Fault(fault) => return Err(format!("a frame is wrong: {fault}")),
                }
            }
            worker.heard.drain(..used);
        }
        Ok(())
    }

    /// Workers report some of what they have, in any order; each result has a mark of its own.
    fn report(&mut self, all: bool) {
        for at in 0..self.workers.len() {
            let Some(session) = self.workers[at].session else { continue };
            let mut bytes = Vec::new();
            let mut count = 0;
            let mut frame = ReportFrame::begin(&mut bytes, session);
            while !self.workers[at].has.is_empty() && (all || self.world.workload().below(2) == 0) {
                let index = self.world.workload().below(self.workers[at].has.len() as u64) as usize;
                let (task, attempt) = self.workers[at].has.swap_remove(index);
                let padding = self.world.workload().below(RESULT_MAX) as usize;
                let mark = format!("{task}/{attempt}/{}{:.>padding$}", self.known.said.len(), "");
                self.known.said.insert(mark.clone());
                let fate = if all { 0 } else { self.world.workload().below(12) };
                let ended = match fate {
                    10 => Ended::Returned { why: Returned::SlotLost, words: "a slot" },
                    11 => Ended::Returned { why: Returned::NeedsFunction, words: "" },
                    _ => Ended::Completed(mark.as_bytes()),
                };
                frame.push(&Report { task, attempt, started_us: 1, ran_us: 5, ended, printed: b"" });
                count += 1;
            }
            frame.end();
            if let Some(late) = self.late.pop() {
                self.report_late(session, late, &mut bytes);
            }
            if self.mode == Mode::Pull && count > 0 {
                dispatch::write_request(&mut bytes, count);
            }
            dispatch::write_heartbeat(&mut bytes, dispatch::Heartbeat::default());
            self.world.say(self.workers[at].client, &bytes);
        }
    }

    /// What nobody waits for any more is said all the same, also where the worker has been given the task again.
    fn report_late(&self, now: Session, (then, task, attempt): (Session, TaskId, u32), into: &mut Vec<u8>) {
        let mark = format!("{LATE}{task}/{attempt}");
        let mut frame = ReportFrame::begin(into, if self.is_honest { then } else { now });
        let ended = Ended::Completed(mark.as_bytes());
        frame.push(&Report { task, attempt, started_us: 1, ran_us: 5, ended, printed: b"" });
        frame.end();
    }

    /// What a worker had is what it will say too late.
    fn lose(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        let Some(session) = worker.session else { return };
        self.late.extend(worker.has.drain(..).map(|(task, attempt)| (session, task, attempt)));
    }

    /// A worker dies with all it has, and another takes its place.
    fn kill_worker(&mut self) {
        let at = self.world.workload().below(WORKERS as u64) as usize;
        self.world.reset(self.workers[at].client);
        self.lose(at);
        self.workers[at] = self.worker(at);
    }

    /// Clients submit, one by one and in batches.
    fn submit(&mut self) {
        let Some(function) = self.known.function.clone() else { return };
        for at in 0..CLIENTS {
            for _ in 0..self.world.workload().below(3) {
                let call = format!("{{\"function_id\":\"{function}\",\"payload\":\"gAKJLg==\"}}");
                let bytes = match self.world.workload().below(3) {
                    0 => request("POST", "/execute_functions", &format!("{{\"tasks\":[{call},{call}]}}")),
                    _ => request("POST", "/execute_function", &call),
                };
                self.askers[at].asked += 1;
                self.world.say(self.askers[at].client, &bytes);
            }
        }
    }

    /// What clients were told so far is noted.
    fn hear_clients(&mut self) -> Result<(), String> {
        for asker in &self.askers {
            for (status, body) in answers(self.world.heard(asker.client)) {
                if status != 201 {
                    return Err(format!("{status}: {body}"));
                }
                if let Some(id) = field(&body, "task_id") {
                    self.known.accepted.insert(id);
                } else if let Some((_, ids)) = body.split_once('[') {
                    self.known.accepted.extend(ids.split('"').filter(|id| id.len() == 36).map(str::to_owned));
                }
            }
        }
        Ok(())
    }

    /// Asks for every result, and holds it against what was told before.
    fn look(&mut self) -> Result<usize, String> {
        let client = self.world.connect(NODE, 0);
        let ids: Vec<String> = self.known.accepted.iter().cloned().collect();
        for id in &ids {
            self.world.say(client, &request("GET", &format!("/result/{id}"), ""));
        }
        let count = ids.len();
        if !self.world.run_within(PATIENCE, |world| answers(world.heard(client)).len() == count) {
            return Err("a client is not answered".into());
        }
        let mut open = 0;
        for (id, (status, body)) in ids.iter().zip(answers(self.world.heard(client))) {
            if status != 200 {
                return Err(format!("{id} was accepted and is lost: {status} {body}"));
            }
            let state = field(&body, "status").unwrap_or_default();
            if !["COMPLETED", "FAILED"].contains(&&*state) {
                if self.known.results.contains_key(id) {
                    return Err(format!("{id} had ended and is {state}"));
                }
                open += 1;
                continue;
            }
            let result = base64::decode(field(&body, "result").unwrap_or_default().as_bytes())?;
            let result = String::from_utf8_lossy(&result).into_owned();
            if result.starts_with(LATE) {
                return Err(format!("{id} has the result of an old attempt"));
            }
            let is_its = result.starts_with(id.as_str()) && self.known.said.contains(&result);
            if state == "COMPLETED" && !is_its {
                return Err(format!("{id} has the result {result:?}"));
            }
            let first = self.known.results.entry(id.clone()).or_insert_with(|| result.clone());
            if *first != result {
                return Err(format!("{id} had the result {first:?} and has {result:?}"));
            }
        }
        self.world.finish(client);
        Ok(open)
    }

    fn register(&mut self) -> Result<(), String> {
        let mut code = Vec::new();
        base64::encode(FUNCTION, &mut code);
        let body = format!("{{\"name\":\"f\",\"payload\":\"{}\"}}", String::from_utf8_lossy(&code));
        let client = self.world.connect(NODE, 0);
        self.world.say(client, &request("POST", "/register_function", &body));
        if !self.world.run_within(PATIENCE, |world| !answers(world.heard(client)).is_empty()) {
            return Err("the function is not registered".into());
        }
        let (status, body) = answers(self.world.heard(client)).remove(0);
        self.known.function = field(&body, "function_id");
        if status == 201 { Ok(()) } else { Err(format!("{status}: {body}")) }
    }
}

/// One seed: rounds of work and blows, then peace, in which everything must end.
fn run(seed: u64, lies: Lies) -> Result<(u64, sim::Counts), String> {
    live(Town::new(seed, lies))
}

fn live(mut town: Town) -> Result<(u64, sim::Counts), String> {
    town.register()?;
    for _ in 0..3 {
        for _ in 0..town.world.workload().between(3, 12) {
            town.submit();
            let pause = town.world.workload().below(20_000);
            town.world.run_for(Duration::from_micros(pause));
            town.hear_workers()?;
            town.report(false);
            if town.world.workload().below(6) == 0 {
                town.kill_worker();
            }
        }
        town.hear_clients()?;
        if town.world.workload().below(3) == 0 {
            town.look()?;
        }
        match town.world.workload().below(3) {
            0 => continue,
            1 => town.world.kill(NODE),
            _ => town.world.power_cut(NODE),
        }
        town.world.run_for(Duration::from_millis(50));
        town.hear_clients()?;
        (0..WORKERS).for_each(|at| town.lose(at));
        town.world.restart(NODE);
        town.people();
    }
    town.hear_clients()?;
    for _ in 0..400 {
        town.world.run_for(Duration::from_millis(100));
        town.hear_workers()?;
        town.report(true);
        town.hear_clients()?;
        if town.world.workload().below(8) == 0 && town.look()? == 0 {
            town.world.run_for(Duration::from_secs(1));
            town.hear_clients()?;
            if town.look()? == 0 {
                return Ok((town.world.trace_hash(), town.world.counts().clone()));
            }
        }
    }
    Err("what was accepted does not end".into())
}

#[test]
fn what_is_accepted_ends_exactly_once() {
    let mut counts = sim::Counts::new();
    for_seeds(SEEDS, |seed| {
        let (hash, seen) = run(seed, Lies::none()).unwrap_or_else(|why| panic!("{why}"));
        if seed.is_multiple_of(8) {
            let again = run(seed, Lies::none()).map(|(hash, _)| hash);
            assert_eq!(again, Ok(hash), "the same seed took other steps");
        }
        counts.add(&seen);
    });
    counts.assert_all(&["power cut", "kill", "restart", "on_stored logged"]);
}

/// A test that cannot fail is a bug: the world lies, and somebody above must notice.
#[test]
fn liars_are_caught() {
    for lies in [
        Lies { unsynced: 300, ..Lies::none() },
        Lies { unchecked: 1000, ..Lies::none() },
        Lies { lose_tell: 20, ..Lies::none() },
    ] {
        assert!((0..30).any(|seed| run(seed, lies).is_err()), "{lies:?} was believed");
    }
}

/// Sessions are what keeps late results out where a power cut took back the numbers of attempts.
#[test]
fn a_late_result_that_names_the_present_session_is_caught() {
    let forged = |seed: &u64| live(Town { is_honest: false, ..Town::new(*seed, Lies::none()) });
    let caught = (0..100).filter_map(|seed| forged(&seed).err()).any(|why| why.contains("old attempt"));
    assert!(caught, "a test that cannot fail is a bug");
}

#[test]
fn nobody_wakes_where_there_is_nothing_to_do() {
    let mut town = Town::new(2, Lies::none());
    town.register().unwrap_or_else(|why| panic!("{why}"));
    town.world.run_for(Duration::from_secs(180));
    let before = town.world.counts().of("on_timer");
    assert!(before > 0, "connections that idle are closed by a timer");
    town.world.run_for(Duration::from_secs(3600));
    assert_eq!(town.world.counts().of("on_timer"), before, "an idle service has a timer");
}
