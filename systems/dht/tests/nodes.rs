//! Static nodes on a ring, in seeded worlds: clients of framed text ask any node, nodes pass on what they do not have,
//! while connections are reset, dials fail, and nodes are killed and started again.
//!
//! What is checked is what the protocol can promise. Replies come in the order of requests, each to its own: every
//! value names its key and its number, so another's value is seen. A request that failed, or whose client lost its
//! connection, may have been done or not, also later; anything else is known.

use dht::nodes::{Node, fingerprint, placement};
use dht::{Config, Dht, Limits};
use machine::{End, NodeId, Stream};
use sim::{Client, Counts, Faults, Lies, Setup, World, for_seeds};
use state::Slot;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use wire::frame;

const SEEDS: u64 = 200;
const CLIENTS: usize = 4;
const BURSTS: usize = 12;
const KEYS: u64 = 8;
/// Longer than any request can be under way: a dial and a silent node, and a killed one that starts again.
const PATIENCE: Duration = Duration::from_secs(40);
const FRAME: u16 = 5050;
const RESP: u16 = 6379;

fn nodes(count: u16, cores: u16) -> Vec<Node> {
    let at = |id, port| SocketAddr::new(World::<Dht>::ip(NodeId(id)), port);
    (0..count).map(|id| Node { frame: at(id, FRAME), resp: Some(at(id, RESP)), cores }).collect()
}

fn setup(count: u16, cores: u16) -> Setup<Config> {
    let config = Config {
        resp: Some(([0, 0, 0, 0], RESP).into()),
        frame: Some(([0, 0, 0, 0], FRAME).into()),
        nodes: nodes(count, cores),
        limits: Limits { places_max: 20, ..Limits::default() },
        ..Config::default()
    };
    Setup::new(config).nodes(count).cores(cores)
}

/// A client that comes back when its connection is lost, and what it may be told of each of its keys.
struct Talk {
    index: usize,
    client: Client,
    heard: Vec<u8>,
    asked: VecDeque<Asked>,
    keys: BTreeMap<String, Known>,
    number: u64,
    failures: u64,
}

/// What a reply is to.
struct Asked {
    key: String,
    what: What,
}

enum What {
    Put(Vec<u8>),
    Get,
    Rem,
}

/// What a key may hold: none is no value.
#[derive(Default)]
struct Known {
    /// What it held after the last request that was answered; unknown before the first.
    held: Option<Option<Vec<u8>>>,
    /// What requests of unknown outcome would have made of it, or may still make.
    perhaps: BTreeSet<Option<Vec<u8>>>,
    /// Its node may die, and then it is gone.
    is_mortal: bool,
}

impl Talk {
    fn new(index: usize, client: Client, is_mortal: bool) -> Self {
        let known = || Known { is_mortal, ..Known::default() };
        let keys = (0..KEYS).map(|key| (format!("{index}:{key}"), known())).collect();
        Self { index, client, heard: Vec::new(), asked: VecDeque::new(), keys, number: 0, failures: 0 }
    }

    fn ask(&mut self, draw: &mut Stream, said: &mut Vec<u8>) {
        let key = format!("{}:{}", self.index, draw.below(KEYS));
        self.number += 1;
        let what = match draw.below(5) {
            0..2 => What::Get,
            2..4 => {
                let length = if draw.below(12) == 0 { 40_000 } else { 0 };
                let mut value = format!("{key} {}", self.number).into_bytes();
                value.resize(value.len() + length, b'.');
                What::Put(value)
            }
            _ => What::Rem,
        };
        let request = match &what {
            What::Put(value) => frame::Request::Put { key: key.as_bytes(), value },
            What::Get => frame::Request::Get { key: key.as_bytes() },
            What::Rem => frame::Request::Rem { key: key.as_bytes() },
        };
        frame::write_request(said, request);
        self.asked.push_back(Asked { key, what });
    }

    /// Takes the replies that have come.
    fn hear(&mut self, world: &mut World<Dht>) -> Result<(), String> {
        self.heard.extend(world.take_heard(self.client));
        while let wire::Outcome::Done { value, used } = frame::read(&self.heard, usize::MAX) {
            let asked = self.asked.pop_front().ok_or("a reply that nobody asked for")?;
            let known = self.keys.get_mut(&asked.key).expect("it is one of the keys");
            if known.is_told(&asked.what, value, &asked.key)? {
                self.failures += 1;
            }
            self.heard.drain(..used);
        }
        Ok(())
    }

    /// What was asked and not answered may be done or not.
    fn lose(&mut self) {
        for asked in self.asked.drain(..) {
            self.keys.get_mut(&asked.key).expect("it is one of the keys").perhaps(asked.what);
        }
        self.heard.clear();
    }
}

impl Known {
    /// Whether the reply is a failure.
    fn is_told(&mut self, what: &What, reply: &[u8], key: &str) -> Result<bool, String> {
        let wrong =
            || Err(format!("{key}: {} is not what was known", reply[..reply.len().min(60)].escape_ascii()));
        if reply.starts_with(b"FAILURE node ") {
            if let What::Put(value) = what {
                self.perhaps.insert(Some(value.clone()));
            } else if let What::Rem = what {
                self.perhaps.insert(None);
            }
            return Ok(true);
        }
        let was = match (what, reply) {
            (What::Put(_), b"SUCCESS") => None,
            (What::Put(_), _) => return wrong(),
            (What::Get, b"NONE") | (What::Rem, b"NONE") => Some(None),
            (What::Get, value) => Some(Some(value.to_vec())),
            (What::Rem, b"SUCCESS") => match &self.held {
                Some(None) if self.perhaps.iter().all(Option::is_none) => return wrong(),
                _ => None,
            },
            (What::Rem, _) => return wrong(),
        };
        if let Some(was) = was {
            // An unknown key holds nothing foreign all the same: values name their keys.
            let is_known = match &self.held {
                Some(held) => {
                    *held == was || self.perhaps.contains(&was) || (self.is_mortal && was.is_none())
                }
                None => was.as_ref().is_none_or(|value| value.starts_with(key.as_bytes())),
            };
            if !is_known {
                return wrong();
            }
            self.held = Some(was);
        }
        match what {
            What::Put(value) => self.held = Some(Some(value.clone())),
            What::Rem => self.held = Some(None),
            What::Get => {}
        }
        Ok(false)
    }

    fn perhaps(&mut self, what: What) {
        match what {
            What::Put(value) => self.perhaps.insert(Some(value)),
            What::Rem => self.perhaps.insert(None),
            What::Get => false,
        };
    }
}

fn connect(world: &mut World<Dht>) -> Client {
    let nodes = u64::from(world.nodes());
    loop {
        let node = NodeId(world.workload().below(nodes) as u16);
        if world.is_alive(node) {
            return world.connect(node, 1);
        }
        world.run_for(Duration::from_millis(10));
    }
}

/// One world: bursts, blows, and then a calm in which everything must be answered and nothing forgotten.
fn run(seed: u64, faults: Faults, lies: Lies) -> Result<(u64, u64, Counts), String> {
    let shape = seed % 6;
    let is_mortal = faults.kill;
    let mut setup = setup(2 + (shape % 3) as u16, 1 + (shape / 3) as u16).faults(faults).lies(lies);
    // So little that ways to other nodes are full now and then.
    setup.limits.output_high = 500 + 97 * (seed % 50) as usize;
    setup.limits.output_low = setup.limits.output_high / 4;
    let mut world = World::<Dht>::new(seed, setup);
    let mut talks: Vec<Talk> =
        (0..CLIENTS).map(|index| Talk::new(index, connect(&mut world), is_mortal)).collect();
    for _ in 0..BURSTS {
        for talk in &mut talks {
            burst(&mut world, talk)?;
        }
        let pause = world.workload().below(400_000);
        world.run_for(Duration::from_micros(pause));
    }
    converge(&mut world, &mut talks)?;
    let failures = talks.iter().map(|talk| talk.failures).sum();
    Ok((world.trace_hash(), failures, world.counts().clone()))
}

fn burst(world: &mut World<Dht>, talk: &mut Talk) -> Result<(), String> {
    talk.hear(world)?;
    if matches!(world.ended(talk.client), Some(End::Gone(_) | End::Half)) {
        talk.lose();
        talk.client = connect(world);
    }
    let mut said = Vec::new();
    for _ in 0..world.workload().below(30) {
        talk.ask(world.workload(), &mut said);
    }
    world.say(talk.client, &said);
    Ok(())
}

/// Without faults every request is answered, none fails, and what was put is there.
fn converge(world: &mut World<Dht>, talks: &mut [Talk]) -> Result<(), String> {
    world.calm();
    world.run_for(PATIENCE);
    for talk in talks.iter_mut() {
        talk.hear(world)?;
        let is_lost = world.ended(talk.client).is_some();
        if !is_lost && !talk.asked.is_empty() {
            return Err(format!("{} requests are never answered", talk.asked.len()));
        }
        talk.lose();
        talk.client = connect(world);
        talk.keys.values_mut().for_each(|known| *known = Known::default());
    }
    for talk in talks.iter_mut() {
        let failures = talk.failures;
        let mut said = Vec::new();
        for key in talk.keys.keys().cloned().collect::<Vec<_>>() {
            let value = format!("{key} at last").into_bytes();
            frame::write_request(&mut said, frame::Request::Put { key: key.as_bytes(), value: &value });
            frame::write_request(&mut said, frame::Request::Get { key: key.as_bytes() });
            talk.asked.push_back(Asked { key: key.clone(), what: What::Put(value) });
            talk.asked.push_back(Asked { key, what: What::Get });
        }
        world.say(talk.client, &said);
        world.run_for(Duration::from_secs(5));
        talk.hear(world)?;
        if !talk.asked.is_empty() || talk.failures > failures {
            return Err(format!(
                "{} left, {} failed in the calm",
                talk.asked.len(),
                talk.failures - failures
            ));
        }
    }
    Ok(())
}

#[test]
fn a_request_reaches_its_node_and_its_reply_its_client() {
    let mut counts = Counts::new();
    for_seeds(SEEDS, |seed| {
        let (hash, failures, seen) =
            run(seed, Faults::rough(), Lies::none()).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(failures, 0, "nothing was lost, so nothing fails");
        counts.add(&seen);
        if seed % 20 == 0 {
            let again = run(seed, Faults::rough(), Lies::none()).map(|(hash, ..)| hash);
            assert_eq!(again, Ok(hash), "the same seed took other steps");
        }
    });
    counts.assert_all(&["on_open dialled", "on_peer", "on_bytes held", "on_room"]);
}

#[test]
fn what_is_lost_on_the_way_is_a_failure_and_never_anothers_reply() {
    let faults = Faults { reset: 10, ..Faults::harsh() };
    let (mut failed, mut counts) = (0, Counts::new());
    for_seeds(SEEDS, |seed| {
        let (_, failures, seen) =
            run(seed, faults.clone(), Lies::none()).unwrap_or_else(|why| panic!("{why}"));
        failed += failures;
        counts.add(&seen);
    });
    assert!(failed > 0, "nothing failed: nothing was tried");
    counts.assert_all(&["fault: reset", "fault: refused dial", "fault: lost dial", "on_end reset"]);
}

#[test]
fn a_killed_node_fails_its_own_keys_and_serves_again_when_it_is_back() {
    let faults = Faults { kill: true, blow_every: Duration::from_secs(1), ..Faults::harsh() };
    let (mut failed, mut counts) = (0, Counts::new());
    for_seeds(SEEDS, |seed| {
        let (_, failures, seen) =
            run(seed, faults.clone(), Lies::none()).unwrap_or_else(|why| panic!("{why}"));
        failed += failures;
        counts.add(&seen);
    });
    counts.assert_all(&["kill", "restart", "on_open dialled"]);
    assert!(failed > 0, "nothing failed: nothing was tried");
}

/// A test that cannot fail is a bug: the world lies, and somebody must notice.
#[test]
fn a_world_that_lies_is_found_out() {
    let lies = [Lies { lose_tell: 30, ..Lies::none() }, Lies { wrong_byte: 30, ..Lies::none() }];
    for lie in lies {
        assert!((0..SEEDS).any(|seed| run(seed, Faults::rough(), lie).is_err()), "{lie:?} was believed");
    }
}

/// Some key that a node has.
fn key_of(nodes: &[Node], node: NodeId) -> String {
    let placement = placement(nodes).expect("there are some");
    let mut keys = (0..).map(|number: u32| number.to_string());
    keys.find(|key| placement.owner(Slot::of(key.as_bytes())).0 == node).expect("every node has some")
}

fn ask(world: &mut World<Dht>, client: Client, said: &[u8]) -> String {
    world.say(client, said);
    world.run_for(Duration::from_secs(1));
    String::from_utf8_lossy(&world.take_heard(client)).into_owned()
}

fn framed(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, &[text.as_bytes()]);
    bytes
}

#[test]
fn who_speaks_resp_is_told_where_to_go() {
    let mut world = World::<Dht>::new(1, setup(2, 1));
    let nodes = nodes(2, 1);
    let (here, there) = (key_of(&nodes, NodeId(0)), key_of(&nodes, NodeId(1)));
    let client = world.connect(NodeId(0), 0);
    let slot = Slot::of(there.as_bytes()).number();
    let moved = format!("-MOVED {slot} {}\r\n", nodes[1].resp.expect("it has one"));
    assert_eq!(ask(&mut world, client, format!("SET {here} v\r\n").as_bytes()), "+OK\r\n");
    for command in
        [format!("SET {there} v"), format!("GET {there}"), format!("DEL {there}"), format!("MGET {there}")]
    {
        assert_eq!(ask(&mut world, client, format!("{command}\r\n").as_bytes()), moved, "{command}");
    }
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    assert_eq!(ask(&mut world, client, format!("MGET {here} {there}\r\n").as_bytes()), crossed);
    assert_eq!(
        ask(&mut world, client, format!("MGET {here} {{{here}}}\r\n").as_bytes()),
        "*2\r\n$1\r\nv\r\n$-1\r\n"
    );
}

#[test]
fn a_node_with_another_list_is_refused_and_its_requests_are_not_done() {
    let mut world = World::<Dht>::new(1, setup(2, 1));
    let client = world.connect(NodeId(0), 1);
    let key = key_of(&nodes(2, 1), NodeId(0));
    let other = framed(&format!("nodes {:016x}", fingerprint(&nodes(3, 1))));
    let said = [other, framed(&format!("put {key} v"))].concat();
    assert_eq!(
        ask(&mut world, client, &said),
        String::from_utf8_lossy(&framed("FAILURE this node has another list of nodes"))
    );
    assert!(world.ended(client).is_some(), "it is closed");
    let client = world.connect(NodeId(0), 1);
    assert_eq!(ask(&mut world, client, &framed(&format!("get {key}"))), "\0\0\0\u{4}NONE");
}

#[test]
fn what_a_node_asks_is_never_passed_on() {
    let mut world = World::<Dht>::new(1, setup(2, 1));
    let client = world.connect(NodeId(0), 1);
    let same = framed(&format!("nodes {:016x}", fingerprint(&nodes(2, 1))));
    assert_eq!(ask(&mut world, client, &same), "\0\0\0\u{7}SUCCESS");
    let there = key_of(&nodes(2, 1), NodeId(1));
    let refused = ask(&mut world, client, &framed(&format!("get {there}")));
    assert!(refused.ends_with("FAILURE this node does not have that key"), "{refused:?}");
}

#[test]
fn a_node_that_is_away_is_a_sentence_and_then_it_is_back() {
    let mut world = World::<Dht>::new(1, setup(2, 1));
    let client = world.connect(NodeId(0), 1);
    let put = framed(&format!("put {} v", key_of(&nodes(2, 1), NodeId(1))));
    assert_eq!(ask(&mut world, client, &put), "\0\0\0\u{7}SUCCESS");
    world.kill(NodeId(1));
    world.run_for(Duration::from_secs(1));
    assert!(ask(&mut world, client, &put).ends_with("FAILURE node 1 cannot be reached"));
    world.restart(NodeId(1));
    assert_eq!(ask(&mut world, client, &put), "\0\0\0\u{7}SUCCESS");
}
