//! What the client claims about time, tested in time that is simulated, against a small server that stalls, lies
//! and keeps silent when it is told to.

use super::{Client, Outcomes};
use crate::plan::Load;
use crate::sizes::Sizes;
use crate::stage::Stage;
use crate::tally::Kind;
use crate::units::{Mix, Rate};
use crate::workload::{Operations, Verb, write_key};
use machine::{CoreId, Instant, NodeId};
use sim::{Faults, Say, Setup, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wire::Outcome;
use wire::resp::{Limits, Reader, Version, Writer};

const NODE: NodeId = NodeId(0);
/// A wake comes "at that instant or soon after": in the simulated world so much after, at most.
const WAKE_LATE_US: u64 = 100;
const MINUTES: Duration = Duration::from_secs(600);

/// What the server does, and what it saw.
#[derive(Default)]
struct Served {
    /// About now: as of the step before.
    now: Instant,
    /// Of each such span, the second number is silence at its beginning; what comes then is answered at its end.
    stalls: Option<(Duration, Duration)>,
    /// Answers take this long.
    takes: Duration,
    /// The connection of this number is greeted and never answered.
    deaf: Option<usize>,
    /// What it answers to a read instead of the truth.
    lie: Option<fn(&BTreeMap<Vec<u8>, Vec<u8>>, &[u8]) -> Option<Vec<u8>>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Each command that came, with its key.
    heard: Vec<(Verb, Vec<u8>)>,
    connections: Vec<sim::Client>,
}

impl Served {
    fn answer(&mut self, arguments: &[Vec<u8>], reply: &mut Writer<'_>) {
        let key = arguments.get(1).cloned().unwrap_or_default();
        match &arguments[0][..] {
            b"PING" => reply.simple("PONG"),
            b"GET" => {
                self.heard.push((Verb::Get, key.clone()));
                let value = match self.lie {
                    Some(lie) => lie(&self.values, &key),
                    None => self.values.get(&key).cloned(),
                };
                match value {
                    Some(value) => reply.bulk(&value),
                    None => reply.null(),
                }
            }
            b"SET" => {
                self.heard.push((Verb::Set, key.clone()));
                self.values.insert(key, arguments[2].clone());
                reply.ok();
            }
            b"DEL" => {
                self.heard.push((Verb::Del, key.clone()));
                reply.integer(i64::from(self.values.remove(&key).is_some()));
            }
            other => panic!("{other:?} was never to be asked"),
        }
    }

    fn wait(&self) -> Duration {
        let Some((period, silence)) = self.stalls else { return self.takes };
        let within = Duration::from_nanos(self.now.nanos() % period.as_nanos() as u64);
        self.takes + silence.saturating_sub(within)
    }
}

fn serve(served: Rc<RefCell<Served>>) -> impl FnMut(sim::Client, &mut Vec<u8>, &mut Say) {
    move |client, heard, say| {
        let mut served = served.borrow_mut();
        if !served.connections.contains(&client) {
            served.connections.push(client);
        }
        let mut replies = Vec::new();
        let heard_before = served.heard.len();
        loop {
            let Outcome::Done { value, used } = Reader::new(Limits::default()).next(heard) else { break };
            let arguments: Vec<Vec<u8>> =
                (0..value.len()).map(|index| value.get(index).unwrap().to_vec()).collect();
            heard.drain(..used);
            served.answer(&arguments, &mut Writer::new(&mut replies, Version::Two));
        }
        let number = served.connections.iter().position(|known| *known == client);
        if served.deaf != number || served.heard.len() == heard_before {
            say.wait(served.wait());
            say.bytes(&replies);
        }
    }
}

fn target() -> SocketAddr {
    "10.9.0.1:6379".parse().unwrap()
}

fn load() -> Load {
    Load { targets: vec![target()], keys: 100, connections: 10, ..Load::default() }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn per_second(count: u64) -> Option<Rate> {
    Some(Rate { milli: count * 1000 })
}

struct Test {
    world: World<Client>,
    served: Rc<RefCell<Served>>,
    cores: u16,
}

impl Test {
    fn new(load: Load, cores: u16, served: Served, faults: Faults) -> Self {
        let setup = Setup::new(load).cores(cores).faults(faults);
        let mut world = World::new(1, setup);
        let served = Rc::new(RefCell::new(served));
        world.serve_at(target(), serve(served.clone()));
        Self { world, served, cores }
    }

    /// Steps until it holds, with the server's clock kept.
    fn until(&mut self, mut holds: impl FnMut(&World<Client>) -> bool) {
        let end = self.world.now() + MINUTES;
        while !holds(&self.world) {
            assert!(self.world.step() && self.world.now() < end, "it never held");
            self.served.borrow_mut().now = self.world.now();
        }
    }

    fn outcomes(mut self) -> (Outcomes, Rc<RefCell<Served>>) {
        self.until(|world| world.drained(NODE));
        let of = |core| self.world.shard(NODE, CoreId(core)).outcomes.clone();
        let mut sum = of(0);
        for core in 1..self.cores {
            let more = of(core);
            sum.tally.merge(&more.tally);
            sum.connected += more.connected;
            sum.offered = sum.offered.zip(more.offered).map(|(sum, more)| sum + more);
        }
        (sum, self.served)
    }
}

fn run(load: Load, served: Served) -> (Outcomes, Rc<RefCell<Served>>) {
    Test::new(load, 1, served, Faults::none()).outcomes()
}

#[test]
fn a_fixed_rate_sends_each_request_when_it_is_due() {
    for cores in [1, 2, 3] {
        let load = Load {
            rate: per_second(1_000),
            connections: 30,
            duration: Some(seconds(3)),
            warm_up: seconds(1),
            ..load()
        };
        let (outcomes, served) = Test::new(load, cores, Served::default(), Faults::none()).outcomes();
        assert_eq!(outcomes.offered, Some(3_000));
        assert_eq!(outcomes.tally.answered, 3_000);
        assert_eq!(outcomes.tally.errors.sum(), 0);
        assert_eq!((outcomes.tally.loaded, outcomes.connected), (100, 30));
        assert!(outcomes.tally.slip.max() <= WAKE_LATE_US, "{}", outcomes.tally.slip.max());
        assert_eq!(outcomes.measured, Some(seconds(3)));
        assert_eq!(served.borrow().heard.len(), 100 + 4_000);
        let timeline = outcomes.tally.timeline();
        assert!((3..=5).contains(&timeline.len()), "{}", timeline.len());
        assert!(timeline[..4].iter().all(|(_, _, response)| (990..=1_010).contains(&response.len())));
    }
}

/// The server says nothing for 200 ms of every 2 s. One request in ten is due in such a time, whoever carries it;
/// a generator that forgets what it could not send sees one in two hundred.
#[test]
fn a_stall_of_the_server_is_seen_by_every_request_that_was_due_in_it() {
    let load = Load { rate: per_second(1_000), duration: Some(seconds(20)), ..load() };
    let stalls = Some((seconds(2), Duration::from_millis(200)));
    let (outcomes, _) = run(load, Served { stalls, ..Served::default() });
    let tally = &outcomes.tally;
    assert_eq!((tally.answered, tally.errors.sum()), (20_000, 0));
    let response = |quantile| tally.response.value_at_quantile(quantile);
    assert!(response(0.5) < 500, "{}", response(0.5));
    assert!((80_000..120_000).contains(&response(0.95)), "{}", response(0.95));
    assert!((170_000..190_000).contains(&response(0.99)), "{}", response(0.99));
    assert!((195_000..210_000).contains(&tally.response.max()), "{}", tally.response.max());
    let service = tally.service.value_at_quantile(0.99);
    assert!(service < 1_000, "only the ten that were in flight were served slowly: {service}");
    let late = tally.late.max();
    assert!(late <= WAKE_LATE_US, "it was the server's doing, not ours: {late}");
}

#[test]
fn what_could_not_be_sent_before_the_end_is_counted() {
    let load = Load { rate: per_second(1_000), duration: Some(seconds(2)), ..load() };
    let takes = Duration::from_millis(20);
    let (outcomes, _) = run(load, Served { takes, ..Served::default() });
    let (answered, unsent) = (outcomes.tally.answered, outcomes.tally.errors.of(Kind::Unsent));
    assert_eq!(answered + unsent, 2_000);
    assert!((900..1_010).contains(&answered), "ten connections at 20 ms are 500 a second: {answered}");
}

#[test]
fn a_closed_loop_holds_as_many_in_flight_as_it_says() {
    let load = Load { pipeline: 3, duration: Some(seconds(1)), ..load() };
    let takes = Duration::from_millis(1);
    let mut test = Test::new(load, 1, Served { takes, ..Served::default() }, Faults::none());
    let in_flight = |world: &World<Client>| world.shard(NODE, CoreId(0)).sessions.in_flight();
    let stage = |world: &World<Client>| world.shard(NODE, CoreId(0)).stage;
    test.until(|world| stage(world) == Stage::Running && in_flight(world) > 0);
    test.until(|world| {
        assert!(stage(world) > Stage::Running || in_flight(world) == 30, "{}", in_flight(world));
        stage(world) > Stage::Running
    });
    let (outcomes, _) = test.outcomes();
    assert!((25_000..30_001).contains(&outcomes.tally.answered), "{}", outcomes.tally.answered);
    assert_eq!(outcomes.tally.errors.sum(), 0);
    assert_eq!(outcomes.offered, None);
}

#[test]
fn the_operations_are_those_of_the_seed() {
    let mix = Mix { get: 5, set: 3, del: 2 };
    let load = Load { connections: 1, requests: Some(500), duration: None, preload: false, mix, ..load() };
    let (outcomes, served) = run(load.clone(), Served::default());
    let mut operations = Operations::new(&load, 0, 1);
    let expected: Vec<_> = (0..500)
        .map(|_| {
            let operation = operations.draw();
            let mut key = Vec::new();
            write_key(&mut key, operation.key, load.key_size);
            (operation.verb, key)
        })
        .collect();
    assert_eq!(served.borrow().heard, expected);
    assert_eq!((outcomes.tally.answered, outcomes.tally.errors.sum()), (500, 0));
    assert!(outcomes.tally.misses > 0);
}

#[test]
fn so_many_requests_take_until_their_last_reply() {
    let load = Load { requests: Some(200), duration: None, ..load() };
    let takes = Duration::from_millis(10);
    let (outcomes, _) = run(load, Served { takes, ..Served::default() });
    assert_eq!(outcomes.tally.answered, 200);
    let measured = outcomes.measured.unwrap();
    assert!((Duration::from_millis(200)..Duration::from_millis(210)).contains(&measured), "{measured:?}");
}

#[test]
fn a_connection_that_is_not_answered_is_closed_counted_and_replaced() {
    let timeout = Duration::from_millis(500);
    let load = Load {
        timeout,
        preload: false,
        duration: Some(seconds(2)),
        mix: Mix { get: 0, set: 1, del: 0 },
        ..load()
    };
    let (outcomes, served) = run(load, Served { deaf: Some(4), ..Served::default() });
    assert_eq!(outcomes.tally.errors.of(Kind::Timeout), 1);
    assert_eq!(outcomes.tally.errors.sum(), 1);
    assert_eq!(served.borrow().connections.len(), 11);
    assert!(!outcomes.cut_short);
}

#[test]
fn the_end_does_not_wait_for_a_server_that_never_answers() {
    let load = Load { preload: false, duration: Some(seconds(1)), connections: 1, ..load() };
    let mut test = Test::new(load, 1, Served { deaf: Some(0), ..Served::default() }, Faults::none());
    test.until(|world| world.drained(NODE));
    assert!(test.world.now() < Instant::ZERO + seconds(7), "{:?}", test.world.now());
    let (outcomes, _) = test.outcomes();
    assert_eq!(outcomes.tally.errors.of(Kind::Timeout), 1);
}

#[test]
fn every_lie_is_found_out_by_its_kind() {
    let check = |lie: fn(&BTreeMap<Vec<u8>, Vec<u8>>, &[u8]) -> Option<Vec<u8>>, kind: Kind| {
        let load =
            Load { requests: Some(200), duration: None, mix: Mix { get: 1, set: 0, del: 0 }, ..load() };
        let (outcomes, _) = run(load, Served { lie: Some(lie), ..Served::default() });
        assert_eq!(outcomes.tally.errors.of(kind), outcomes.tally.errors.sum(), "{kind:?}");
        assert!(outcomes.tally.errors.sum() >= 190, "{kind:?}: {}", outcomes.tally.errors.sum());
    };
    check(|_, _| None, Kind::Missing);
    check(|values, _| values.values().next().cloned(), Kind::WrongKey);
    check(|values, key| values.get(key).map(|value| value[1..].to_vec()), Kind::WrongLength);
    check(
        |values, key| values.get(key).map(|value| value.iter().map(|byte| byte ^ 1).collect()),
        Kind::WrongValue,
    );
}

#[test]
fn nobody_listening_is_told_and_ends_the_run() {
    let mut world: World<Client> = World::new(1, Setup::new(load()).cores(2));
    assert!(world.run_within(MINUTES, |world| world.drained(NODE)));
    for core in [CoreId(0), CoreId(1)] {
        let outcomes = &world.shard(NODE, core).outcomes;
        assert_eq!(outcomes.tally.errors.of(Kind::DialRefused), 5);
        assert_eq!((outcomes.connected, outcomes.measured), (0, None));
    }
}

#[test]
fn a_server_that_refuses_everybody_is_quoted() {
    let mut world: World<Client> = World::new(1, Setup::new(load()));
    world.serve_at(target(), |_: sim::Client, heard: &mut Vec<u8>, say: &mut Say| {
        heard.clear();
        say.bytes(b"-DENIED not from there\r\n");
        say.finish();
    });
    assert!(world.run_within(MINUTES, |world| world.drained(NODE)));
    let outcomes = &world.shard(NODE, CoreId(0)).outcomes;
    assert_eq!(outcomes.tally.first_refusal.as_deref(), Some("DENIED not from there"));
    assert_eq!(outcomes.tally.errors.of(Kind::Refused), 10);
}

#[test]
fn a_ramp_takes_its_time_and_connect_times_are_kept() {
    let load = Load { ramp: per_second(100), connections: 50, requests: Some(1), duration: None, ..load() };
    let mut test = Test::new(load, 1, Served::default(), Faults::none());
    test.until(|world| world.shard(NODE, CoreId(0)).stage > Stage::Connecting);
    let took = test.world.now().since(Instant::ZERO);
    assert!((Duration::from_millis(490)..Duration::from_millis(520)).contains(&took), "{took:?}");
    let (outcomes, _) = test.outcomes();
    assert_eq!(outcomes.tally.connect.len(), 50);
    assert_eq!(outcomes.tally.answered, 1);
}

#[test]
fn an_order_to_drain_ends_early_with_what_was_measured() {
    let mut test =
        Test::new(Load { duration: Some(seconds(100)), ..load() }, 2, Served::default(), Faults::none());
    test.until(|world| world.now() > Instant::ZERO + seconds(2));
    test.world.drain(NODE);
    test.until(|world| world.drained(NODE));
    assert!(test.world.now() < Instant::ZERO + seconds(3));
    let (outcomes, _) = test.outcomes();
    assert!(outcomes.cut_short && outcomes.tally.answered > 1_000);
    assert_eq!(outcomes.tally.errors.sum(), 0);
    assert!(outcomes.measured.is_some_and(|measured| measured < seconds(3) && measured > seconds(1)));
}

#[test]
fn rough_networks_cost_time_and_no_errors() {
    let load = Load { pipeline: 4, values: Sizes::Range(1_000, 5_000), duration: Some(seconds(2)), ..load() };
    let (outcomes, _) = Test::new(load, 2, Served::default(), Faults::rough()).outcomes();
    assert_eq!(outcomes.tally.errors.sum() + outcomes.tally.errors_before.sum(), 0);
    assert!(outcomes.tally.answered > 1_000, "{}", outcomes.tally.answered);
}

#[test]
fn lost_connections_are_counted_and_replaced_and_the_run_goes_on() {
    let load = Load { duration: Some(seconds(5)), timeout: seconds(1), ..load() };
    let (outcomes, served) = Test::new(load, 1, Served::default(), Faults::harsh()).outcomes();
    let errors = &outcomes.tally.errors;
    assert!(errors.of(Kind::Reset) + outcomes.tally.errors_before.of(Kind::Reset) > 0, "{errors:?}");
    assert!(errors.of(Kind::Lost) <= errors.of(Kind::Reset), "{errors:?}");
    assert!(served.borrow().connections.len() > 10);
    assert!(outcomes.tally.answered > 100);
}
