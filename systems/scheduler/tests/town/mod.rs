//! A cluster in a simulated world, people who send jobs to it and try again when they must, and the oracle: what was
//! acknowledged is there, everywhere, with exactly one end, made by the last attempt.

#![allow(dead_code, reason = "each test uses a part of it")]

use crate::liar::{CORE, Liar, LiarConfig, Lie};
use machine::{Command, NodeId, Stream};
use scheduler::entry::JobId;
use scheduler::job::{Job, State};
use scheduler::ledger::Ledger;
use scheduler::{Config, Kind, Member};
use sim::{ChildScript, Client, Faults, Lies, Setup, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Servers, and one event log besides.
pub(crate) const SERVERS: u16 = 4;
pub(crate) const NODES: u16 = SERVERS + 1;

/// How long people wait for an answer before they ask another node.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long all must come to an end once nothing goes wrong any more: attempts, back-off and elections.
const CONVERGENCE: Duration = Duration::from_secs(90);

/// Which program was started, as which attempt, in order.
pub(crate) type Starts = Rc<RefCell<Vec<(JobId, u32)>>>;

/// Somebody's job.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) key: String,
    /// How long it runs.
    pub(crate) takes: Duration,
    pub(crate) status: i32,
    pub(crate) at_most_once: bool,
    asked: Option<(Client, Duration)>,
    pub(crate) acknowledged: bool,
}

impl Wish {
    pub(crate) fn new(key: &str, takes: Duration) -> Self {
        Self { key: key.into(), takes, status: 0, at_most_once: false, asked: None, acknowledged: false }
    }

    pub(crate) fn id(&self) -> JobId {
        JobId::of(&self.key)
    }

    fn request(&self) -> String {
        let program = format!("run {} {}", self.takes.as_millis(), self.status);
        let body = serde_json::json!({
            "program": program,
            "interpreter": "sh",
            "timeout_s": 20,
            "at_most_once": self.at_most_once,
        });
        let body = body.to_string();
        format!(
            "POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
    }
}

/// A cluster and its people.
pub(crate) struct Town {
    pub(crate) world: World<Liar>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) starts: Starts,
}

fn config() -> Config {
    let member = |number: u16| Member {
        node: NodeId(number),
        name: format!("node-{number}").into(),
        kind: if number == SERVERS { Kind::Log } else { Kind::Server },
        http: machine::Address::Ip(([127, 0, 0, 1], 3002 + number).into()),
    };
    let mut config = Config::new((0..NODES).map(member).collect());
    config.keep_every = 60;
    config.group.tail = 40;
    config
}

/// What a program does, by its text: `run MILLISECONDS STATUS`. It prints its job and its attempt.
fn script(starts: Starts) -> impl FnMut(&Command, &mut Stream) -> ChildScript + 'static {
    move |command, _| {
        let variable = |name: &str| {
            let found = command.env.iter().find(|(known, _)| **known == *name);
            found.map(|(_, value)| value.to_string()).unwrap_or_default()
        };
        let (id, attempt) = (variable("JOB_ID"), variable("ATTEMPT"));
        let text = command.args.get(1).map(|text| text.to_string()).unwrap_or_default();
        let mut words = text.split(' ').skip(1).map(|word| word.parse::<u64>().unwrap_or_default());
        let after = Duration::from_millis(words.next().unwrap_or_default());
        let status = words.next().unwrap_or_default() as i32;
        let job = JobId::read(&id).expect("a program is told its job");
        starts.borrow_mut().push((job, attempt.parse().expect("a program is told its attempt")));
        ChildScript::Exits { says: format!("{id} {attempt}").into_bytes(), after, status }
    }
}

impl Town {
    pub(crate) fn new(seed: u64, faults: Faults, lies: Lies, lie: Lie) -> Self {
        let setup = Setup::new(LiarConfig { config: config(), lie }).nodes(NODES).faults(faults).lies(lies);
        let mut world = World::new(seed, setup);
        let starts = Starts::default();
        world.children(script(starts.clone()));
        Self { world, wishes: Vec::new(), starts }
    }

    /// The ledger of a node that is alive.
    pub(crate) fn ledger(&self, node: u16) -> &Ledger {
        self.world.shard(NodeId(node), CORE).node().ledger()
    }

    pub(crate) fn job(&self, node: u16, wish: usize) -> Option<&Job> {
        self.ledger(node).job(self.wishes[wish].id())
    }

    pub(crate) fn alive(&self) -> Vec<u16> {
        (0..NODES).filter(|node| self.world.is_alive(NodeId(*node))).collect()
    }

    /// Who leads, if exactly that is known.
    pub(crate) fn leader(&self) -> Option<u16> {
        self.alive().into_iter().find(|node| self.world.shard(NodeId(*node), CORE).node().leads())
    }

    /// A job as the leader sees it.
    pub(crate) fn seen(&self, wish: usize) -> Option<&Job> {
        self.leader().and_then(|leader| self.job(leader, wish))
    }

    /// Somebody wants that, and asks that node, or any.
    pub(crate) fn wish(&mut self, wish: Wish, at: Option<u16>) -> usize {
        self.wishes.push(wish);
        let number = self.wishes.len() - 1;
        self.ask(number, at);
        number
    }

    fn ask(&mut self, number: usize, at: Option<u16>) {
        let alive = self.alive();
        let drawn = self.world.workload().pick(&alive).copied();
        let Some(node) = at.filter(|node| alive.contains(node)).or(drawn) else { return };
        let door = machine::Address::Ip(([127, 0, 0, 1], 3002 + node).into());
        let client = self.world.connect(NodeId(node), door);
        let request = self.wishes[number].request();
        self.world.say(client, request.as_bytes());
        let now = Duration::from_nanos(self.world.now().nanos());
        self.wishes[number].asked = Some((client, now));
    }

    /// People look at their answers, and ask elsewhere where there is none.
    pub(crate) fn attend(&mut self) -> Result<(), String> {
        let now = Duration::from_nanos(self.world.now().nanos());
        for number in 0..self.wishes.len() {
            if self.wishes[number].acknowledged {
                continue;
            }
            let Some((client, since)) = self.wishes[number].asked else {
                self.ask(number, None);
                continue;
            };
            let heard = String::from_utf8_lossy(self.world.heard(client)).into_owned();
            let is_over = self.world.ended(client).is_some() || now.saturating_sub(since) >= PATIENCE;
            // An answer may be cut anywhere, in its status too.
            let status = heard.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
            match status {
                Some("201") if heard.contains("\"id\"") => {
                    self.wishes[number].acknowledged = true;
                    self.world.reset(client);
                }
                Some("201") | None if !is_over => {}
                Some("201" | "429" | "503") | None => {
                    self.world.reset(client);
                    self.wishes[number].asked = None;
                }
                Some(_) => return Err(format!("a job was refused: {heard}")),
            }
        }
        Ok(())
    }

    /// Lives on for so long.
    pub(crate) fn live(&mut self, span: Duration) -> Result<(), String> {
        const STEP: Duration = Duration::from_millis(50);
        let mut lived = Duration::ZERO;
        while lived < span {
            self.world.run_for(STEP);
            lived += STEP;
            self.attend()?;
        }
        Ok(())
    }

    /// Lives on until something holds, or says that it never did.
    pub(crate) fn live_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<(), String> {
        let mut left = CONVERGENCE;
        const STEP: Duration = Duration::from_millis(20);
        while !holds(self) {
            self.world.run_for(STEP);
            self.attend()?;
            left = left
                .checked_sub(STEP)
                .ok_or_else(|| format!("it never came to be that {what}: {}", self.state()))?;
        }
        Ok(())
    }

    fn state(&self) -> String {
        let of = |wish: &Wish| {
            let job = self.leader().and_then(|leader| self.ledger(leader).job(wish.id()));
            let state = job.map(|job| format!("{} {} {:?}", job.state.name(), job.attempt, job.worker));
            format!(
                "{} (acknowledged: {}): {}",
                wish.key,
                wish.acknowledged,
                state.unwrap_or_else(|| "none".into())
            )
        };
        format!(
            "leader {:?}, alive {:?}; {}",
            self.leader(),
            self.alive(),
            self.wishes.iter().map(of).collect::<Vec<_>>().join("; ")
        )
    }

    /// Nothing goes wrong any more: all comes to an end, and that is judged.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        self.world.calm();
        self.live_until("every wish is acknowledged", |town| {
            town.wishes.iter().all(|wish| wish.acknowledged)
        })?;
        self.live_until("every acknowledged job ends", |town| {
            let Some(leader) = town.leader() else { return false };
            town.wishes
                .iter()
                .all(|wish| town.ledger(leader).job(wish.id()).is_some_and(|job| job.state.is_end()))
        })?;
        self.live_until("all nodes have the same ledger", |town| {
            town.alive().len() == usize::from(NODES) && {
                let first = town.ledger(0);
                (1..NODES).all(|node| town.ledger(node).newest().eq(first.newest()))
            }
        })?;
        self.judge()
    }

    /// What must hold of every job at the end.
    fn judge(&self) -> Result<(), String> {
        let mut starts: BTreeMap<JobId, Vec<u32>> = BTreeMap::new();
        for (job, attempt) in self.starts.borrow().iter() {
            starts.entry(*job).or_default().push(*attempt);
        }
        for wish in &self.wishes {
            let Some(job) = self.ledger(0).job(wish.id()) else {
                return Err(format!("{}: acknowledged and gone", wish.key));
            };
            one_end(wish, job)?;
            let mut of = starts.remove(&wish.id()).unwrap_or_default();
            if wish.at_most_once && of.len() > 1 {
                return Err(format!("{}: started {} times", wish.key, of.len()));
            }
            of.sort_unstable();
            if of.windows(2).any(|two| two[0] == two[1]) {
                return Err(format!("{}: an attempt was started twice: {of:?}", wish.key));
            }
        }
        Ok(())
    }
}

/// Exactly one end, made by the last attempt.
fn one_end(wish: &Wish, job: &Job) -> Result<(), String> {
    let wrong = |why: String| Err(format!("{}: {why}: {:#?}", wish.key, job.history));
    let ends: Vec<&str> =
        job.history.iter().map(|event| event.what.as_str()).filter(|what| is_end(what)).collect();
    if ends != [job.state.name()] {
        return wrong(format!("its ends are {ends:?}, and it is {}", job.state.name()));
    }
    let Some(outcome) = &job.outcome else {
        return match job.state {
            State::Lost | State::Dead => Ok(()),
            other => wrong(format!("it is {} without a result", other.name())),
        };
    };
    // One that could not be started has said nothing.
    if outcome.exit == 127 {
        return Ok(());
    }
    let expected = format!("{} {}", job.id, job.attempt);
    if outcome.stdout != expected {
        return wrong(format!("the result is {:?} and not {expected:?}", outcome.stdout));
    }
    if outcome.exit != wish.status {
        return wrong(format!("exit status {}", outcome.exit));
    }
    Ok(())
}

fn is_end(what: &str) -> bool {
    State::ALL.iter().any(|state| state.is_end() && state.name() == what)
}
