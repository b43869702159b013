//! What was acknowledged is there after power cuts and kills, in worlds made from seeds: every write of one key, every
//! sum exactly once, and of what several cores do as one, all or nothing. And liars, each of which is found out.

use dht::{Config, Dht, Durability};
use machine::{NodeId, Stream};
use sim::{Client, Faults, Lies, Setup, World, for_seeds};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const NODE: NodeId = NodeId(0);
const WRITERS: usize = 4;
const ROUNDS: usize = 4;

fn setup(durability: Durability) -> Setup<Config> {
    let config = Config { resp: Some(([127, 0, 0, 1], 6379).into()), durability, ..Config::default() };
    Setup::new(config).all_logs().faults(Faults::rough())
}

/// What a writer did to keys of its own: a counter, a text that grows, a group of five that change together, and a
/// token that wanders between two names.
#[derive(Debug, Default)]
struct Writer {
    number: usize,
    /// Requests, in order, and what each would answer.
    said: Vec<(What, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Count,
    Grow,
    Group(u64),
    Wander,
}

impl Writer {
    fn say(&mut self, draw: &mut Stream) -> String {
        let n = self.number;
        let done = |what, said: &[(What, String)]| said.iter().filter(|(other, _)| *other == what).count();
        let (what, text, answer) = match draw.below(4) {
            0 => (
                What::Count,
                format!("INCR count{n}\r\n"),
                format!(":{}\r\n", done(What::Count, &self.said) + 1),
            ),
            1 => {
                let length = done(What::Grow, &self.said) + 1;
                (What::Grow, format!("APPEND grow{n} x\r\n"), format!(":{length}\r\n"))
            }
            2 => {
                let value = self.said.len() as u64 + 1;
                let keys: String = (0..5).map(|key| format!(" group{n}.{key} {value}")).collect();
                (What::Group(value), format!("MSET{keys}\r\n"), "+OK\r\n".into())
            }
            _ => {
                let times = done(What::Wander, &self.said);
                let (from, to) = if times % 2 == 0 { ("here", "there") } else { ("there", "here") };
                (What::Wander, format!("RENAME {from}{n} {to}{n}\r\n"), "+OK\r\n".into())
            }
        };
        self.said.push((what, answer));
        text
    }

    /// How many requests were answered, all of them rightly.
    fn answered(&self, heard: &[u8]) -> usize {
        let mut rest = heard;
        for (index, (what, answer)) in self.said.iter().enumerate() {
            match rest.strip_prefix(answer.as_bytes()) {
                Some(behind) => rest = behind,
                None => {
                    assert!(answer.as_bytes().starts_with(rest), "{what:?}: {}", rest.escape_ascii());
                    return index;
                }
            }
        }
        assert!(rest.is_empty(), "more answers than questions: {}", rest.escape_ascii());
        self.said.len()
    }

    /// What is there must be what came of the first so many requests, at least those that were answered: of each kind
    /// on its own, as different keys may have been kept to different depths.
    fn judge(&self, answered: usize, found: &BTreeMap<String, String>) {
        let n = self.number;
        let span = |is: fn(What) -> bool| {
            let count = |to: usize| self.said[..to].iter().filter(|(what, _)| is(*what)).count();
            count(answered)..=count(self.said.len())
        };
        let get = |key: String| found.get(&key).cloned().unwrap_or_default();
        let count: usize = get(format!("count{n}")).parse().unwrap_or(0);
        assert!(
            span(|what| what == What::Count).contains(&count),
            "INCR {count} of {self:?}, {answered} answered"
        );
        let grown = get(format!("grow{n}")).len();
        assert!(span(|what| what == What::Grow).contains(&grown), "APPEND {grown}, {answered} answered");
        let group: Vec<String> = (0..5).map(|key| get(format!("group{n}.{key}"))).collect();
        assert!(group.iter().all(|value| *value == group[0]), "a part of an MSET: {group:?}");
        let value: u64 = group[0].parse().unwrap_or(0);
        let last = self.said[..answered].iter().rev().find_map(|(what, _)| match what {
            What::Group(value) => Some(*value),
            What::Count | What::Grow | What::Wander => None,
        });
        assert!(value >= last.unwrap_or(0), "MSET {value} is older than {last:?}");
        let (here, there) = (get(format!("here{n}")), get(format!("there{n}")));
        assert_eq!(here.len() + there.len(), 5, "a token is in one place: {here:?} {there:?}");
        let wandered = span(|what| what == What::Wander);
        let is_there = usize::from(there.len() == 5);
        assert!(
            wandered.clone().any(|times| times % 2 == is_there),
            "RENAME {wandered:?}, there: {is_there}"
        );
    }
}

/// The value in a whole answer to GET; none where it is not whole.
fn value(heard: &[u8]) -> Option<Option<String>> {
    let text = String::from_utf8_lossy(heard);
    let (length, rest) = text.strip_prefix('$')?.split_once("\r\n")?;
    match length.parse::<usize>() {
        Ok(length) => (rest.len() == length + 2).then(|| Some(rest[..length].to_owned())),
        Err(_) => Some(None),
    }
}

fn ask(world: &mut World<Dht>, keys: &[String]) -> BTreeMap<String, String> {
    let client = world.connect(NODE, 0);
    let mut found = BTreeMap::new();
    for key in keys {
        let before = world.heard(client).len();
        world.say(client, format!("GET {key}\r\n").as_bytes());
        world.run_until(|world| value(&world.heard(client)[before..]).is_some());
        if let Some(Some(value)) = value(&world.heard(client)[before..]) {
            found.insert(key.clone(), value);
        }
    }
    world.finish(client);
    found
}

fn begin(world: &mut World<Dht>) {
    let client = world.connect(NODE, 0);
    let tokens: String = (0..WRITERS).map(|n| format!(" here{n} token")).collect();
    world.say(
        client,
        format!("DEL{}\r\n", keys().iter().map(|key| format!(" {key}")).collect::<String>()).as_bytes(),
    );
    world.say(client, format!("MSET{tokens}\r\n").as_bytes());
    world.run_until(|world| world.heard(client).ends_with(b"+OK\r\n"));
    world.finish(client);
}

fn keys() -> Vec<String> {
    let of = |n| {
        let group = (0..5).map(move |key| format!("group{n}.{key}"));
        ["count", "grow", "here", "there"].into_iter().map(move |name| format!("{name}{n}")).chain(group)
    };
    (0..WRITERS).flat_map(of).collect()
}

/// Writers at work, then a cut, a restart, and a look at everything; several times over.
fn power_cuts(seed: u64, setup: Setup<Config>) -> sim::Counts {
    let cores = 1 + (seed % 3) as u16;
    let mut world: World<Dht> = World::new(seed, setup.cores(cores));
    for _ in 0..ROUNDS {
        begin(&mut world);
        let clients: Vec<Client> = (0..WRITERS).map(|_| world.connect(NODE, 0)).collect();
        let mut writers: Vec<Writer> =
            (0..WRITERS).map(|number| Writer { number, said: Vec::new() }).collect();
        for _ in 0..world.workload().between(2, 30) {
            for (writer, client) in writers.iter_mut().zip(&clients) {
                let count = world.workload().below(4);
                let text: String = (0..count).map(|_| writer.say(world.workload())).collect();
                world.say(*client, text.as_bytes());
            }
            let pause = world.workload().below(900);
            world.run_for(Duration::from_micros(pause));
        }
        if world.workload().below(3) == 0 {
            world.kill(NODE);
        } else {
            world.power_cut(NODE);
        }
        world.run_for(Duration::from_millis(50));
        let answered: Vec<usize> = writers
            .iter()
            .zip(&clients)
            .map(|(writer, client)| writer.answered(world.heard(*client)))
            .collect();
        world.restart(NODE);
        let found = ask(&mut world, &keys());
        for (writer, answered) in writers.iter().zip(answered) {
            writer.judge(answered, &found);
        }
    }
    world.counts().clone()
}

#[test]
fn what_was_acknowledged_outlives_power_cuts() {
    let mut counts = sim::Counts::new();
    for_seeds(150, |seed| counts.add(&power_cuts(seed, setup(Durability::Sync))));
    counts.assert_all(&["power cut", "kill", "restart", "log lost its tail", "on_stored logged"]);
}

/// Fails unless one of so many seeds fails.
#[track_caller]
fn caught_within(seeds: u64, setup: &dyn Fn() -> Setup<Config>) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..seeds).any(|seed| catch_unwind(AssertUnwindSafe(|| power_cuts(seed, setup()))).is_err());
    std::panic::set_hook(hook);
    assert!(caught, "nobody noticed in {seeds} seeds");
}

#[test]
fn liars_are_caught() {
    let lies = |lies: Lies| move || Setup { lies, ..setup(Durability::Sync) };
    caught_within(10, &lies(Lies { unsynced: 300, ..Lies::none() }));
    caught_within(10, &lies(Lies { unchecked: 1000, ..Lies::none() }));
    // A server that answers before the log has said anything: it keeps the log, and does not wait for it.
    caught_within(10, &|| setup(Durability::Batch));
}
