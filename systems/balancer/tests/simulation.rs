//! The balancer in simulated worlds: replicas of the test's own at fixed addresses, clients that ask, faults between.
//!
//! The model is the simplest that is surely right: every request is answered once, by a replica that got it, or by
//! the balancer with a status that says why not; no request that may not be repeated reaches two replicas; and when
//! the faults end, everything is answered again.

use balancer::Balancer;
use balancer::config::{Config, Driver};
use balancer::spread::Way;
use balancer::spread::slots512::Pair;
use machine::{Address, Chance, CoreId, NodeId};
use sim::{ChildScript, Client, Faults, Lies, Say, Setup, World, for_seeds};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const SEEDS: u64 = 200;
const CLIENTS: usize = 6;
const REQUESTS: usize = 8;
const NODE: NodeId = NodeId(0);
const TRAFFIC: usize = 0;

fn at(port: u16) -> Address {
    Address::Ip(([127, 0, 0, 1], port).into())
}

fn replica_at(index: u16) -> Address {
    Address::Ip(([10, 1, 0, index as u8 + 1], 80).into())
}

fn config(replicas: u16) -> Config {
    let addresses = (0..replicas).map(replica_at).collect();
    let mut config = Config::new(at(5000), at(5001), Driver::Static(addresses));
    config.replicas = usize::from(replicas);
    config
}

/// What replicas got: how often each request, by its name in the path.
type Got = Rc<RefCell<BTreeMap<String, u32>>>;

/// A replica: heartbeats are answered, other requests with their own path as a body, cut by `chunked` into chunks.
fn replica(got: Got) -> impl FnMut(Client, &mut Vec<u8>, &mut Say) + 'static {
    move |_, heard, say| {
        while let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&heard[..end]).into_owned();
            heard.drain(..end + 4);
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            if path == "/heartbeat" {
                say.bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                continue;
            }
            *got.borrow_mut().entry(path.clone()).or_default() += 1;
            let (first, second) = path.split_at(path.len() / 2);
            let text = if path.ends_with('0') {
                format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
                    first.len(),
                    second.len()
                )
            } else {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())
            };
            say.wait(Duration::from_millis(1));
            say.bytes(text.as_bytes());
        }
    }
}

fn world(seed: u64, cores: u16, config: Config, faults: Faults, lies: Lies) -> (World<Balancer>, Got) {
    let got = Got::default();
    let replicas = config.replicas as u16;
    let mut world = World::new(seed, Setup::new(config).cores(cores).faults(faults).lies(lies));
    for index in 0..replicas {
        world.serve_at(replica_at(index), replica(got.clone()));
    }
    (world, got)
}

/// The answers in what a client heard: status and body. None while the last is not whole.
fn answers(mut heard: &[u8]) -> Option<Vec<(u16, String)>> {
    let mut found = Vec::new();
    while !heard.is_empty() {
        let end = heard.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&heard[..end]).to_ascii_lowercase();
        heard = &heard[end + 4..];
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length =
            head.split("content-length: ").nth(1).map(|rest| rest.lines().next().unwrap_or_default());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                let length: usize = length.trim().parse().ok()?;
                body.extend_from_slice(heard.get(..length)?);
                heard = &heard[length..];
            }
            None => loop {
                let line = heard.windows(2).position(|two| two == b"\r\n")?;
                let size = usize::from_str_radix(std::str::from_utf8(&heard[..line]).ok()?, 16).ok()?;
                body.extend_from_slice(heard.get(line + 2..line + 2 + size)?);
                heard = heard.get(line + 4 + size..)?;
                if size == 0 {
                    break;
                }
            },
        }
        found.push((status, String::from_utf8_lossy(&body).into_owned()));
    }
    Some(found)
}

/// Clients that pipeline requests; gives the trace, or what differs from the model.
fn run(seed: u64, cores: u16, config: Config, faults: Faults, lies: Lies) -> Result<u64, String> {
    let resets = faults.reset > 0;
    let (mut world, got) = world(seed, cores, config, faults, lies);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| world.connect(NODE, TRAFFIC)).collect();
    for (number, client) in clients.iter().enumerate() {
        for request in 0..REQUESTS {
            let method = if request % 2 == 0 { "GET" } else { "POST" };
            let text = format!("{method} /{method}-{number}-{request} HTTP/1.1\r\nHost: a\r\n\r\n");
            world.say(*client, text.as_bytes());
            let pause = world.workload().below(4);
            world.run_for(Duration::from_millis(pause));
        }
    }
    let done = |world: &World<Balancer>, client: Client| {
        world.ended(client).is_some()
            || answers(world.heard(client)).is_some_and(|found| found.len() == REQUESTS)
    };
    if !world.run_within(Duration::from_secs(120), |world| clients.iter().all(|each| done(world, *each))) {
        return Err("a request is not answered".into());
    }
    for (number, client) in clients.iter().enumerate() {
        let ended = world.ended(*client).is_some();
        let found = match answers(world.heard(*client)) {
            Some(found) => found,
            None if resets && ended => continue,
            None => return Err(format!("client {number} heard what is not HTTP")),
        };
        if found.len() != REQUESTS && !(resets && ended) {
            return Err(format!("client {number}: {} answers", found.len()));
        }
        for (request, (status, body)) in found.iter().enumerate() {
            let method = if request % 2 == 0 { "GET" } else { "POST" };
            let path = format!("/{method}-{number}-{request}");
            match status {
                200 if *body == path => {}
                200 => return Err(format!("{path} was answered by {body:?}")),
                502..=504 if resets && body.contains("<Error>") => {}
                other => return Err(format!("{path}: {other} {body:?}")),
            }
            if *status == 200 && !got.borrow().contains_key(&path) {
                return Err(format!("{path} was answered, and no replica got it"));
            }
        }
    }
    if let Some((path, count)) =
        got.borrow().iter().find(|(path, count)| path.starts_with("/POST") && **count > 1)
    {
        return Err(format!("{path} was sent {count} times"));
    }
    Ok(world.trace_hash())
}

#[test]
fn every_request_is_answered_once_and_in_order() {
    for_seeds(SEEDS, |seed| {
        let mut draws = Chance::new(seed).stream("shape");
        let (cores, replicas) = (1 + draws.below(4) as u16, 1 + draws.below(5) as u16);
        let mut config = config(replicas);
        config.way =
            [Way::Best, Way::Maglev, Way::TwoChoices, Way::Slots512(Pair::Plain)][draws.below(4) as usize];
        config.replica_max = u32::from(cores) + draws.below(3) as u32;
        let first = run(seed, cores, config.clone(), Faults::rough(), Lies::none());
        let first = first.unwrap_or_else(|why| panic!("{why}"));
        let again = run(seed, cores, config, Faults::rough(), Lies::none());
        assert_eq!(again, Ok(first), "the same seed took other steps");
    });
}

#[test]
fn under_resets_and_failed_dials_nothing_is_answered_wrongly_or_sent_twice() {
    for_seeds(SEEDS, |seed| {
        let outcome = run(seed, 2, config(3), Faults::harsh(), Lies::none());
        outcome.unwrap_or_else(|why| panic!("{why}"));
    });
}

#[test]
fn a_world_that_loses_messages_or_changes_bytes_is_found_out() {
    let lies = [Lies { lose_tell: 300, ..Lies::none() }, Lies { wrong_byte: 20, ..Lies::none() }];
    for lie in lies {
        let is_caught = |seed| {
            std::panic::catch_unwind(|| run(seed, 3, config(3), Faults::rough(), lie))
                .map_or(true, |run| run.is_err())
        };
        assert!((0..SEEDS).any(is_caught), "{lie:?} was believed");
    }
}

fn ask(world: &mut World<Balancer>, path: &str) -> (u16, String) {
    let client = world.connect(NODE, TRAFFIC);
    world.say(client, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    world.run_until(|world| answers(world.heard(client)).is_some_and(|found| found.len() == 1));
    let found = answers(world.heard(client)).expect("it is whole").remove(0);
    world.reset(client);
    found
}

fn states(world: &World<Balancer>) -> Vec<&'static str> {
    let fleet = world.shard(NODE, CoreId(0)).fleet().expect("core 0 keeps the truth");
    fleet.replicas().iter().map(|each| each.state.word()).collect()
}

#[test]
fn a_replica_that_goes_is_left_and_taken_back_when_it_answers() {
    for_seeds(20, |seed| {
        let (mut world, got) = world(seed, 2, config(3), Faults::none(), Lies::none());
        world.run_until(|world| states(world) == ["healthy"; 3]);
        world.unserve(&replica_at(1));
        world.run_until(|world| states(world) == ["healthy", "dead", "healthy"]);
        for request in 0..30 {
            assert_eq!(ask(&mut world, &format!("/x{request}")).0, 200);
        }
        world.serve_at(replica_at(1), replica(got.clone()));
        world.run_until(|world| states(world) == ["healthy"; 3]);
    });
}

#[test]
fn all_tables_are_equal_after_as_many_changes() {
    let (mut world, _) = world(7, 4, config(5), Faults::rough(), Lies::none());
    world.run_until(|world| states(world) == ["healthy"; 5]);
    world.unserve(&replica_at(0));
    world.run_until(|world| states(world)[0] == "dead");
    world.run_for(Duration::from_secs(1));
    let table = |core| -> Vec<(u16, u32, String)> {
        let view = world.shard(NODE, CoreId(core)).view();
        view.members().map(|(seat, member)| (seat.0, member.life, member.name.to_string())).collect()
    };
    assert_eq!(table(0).len(), 4);
    assert!((1..4).all(|core| table(core) == table(0)));
}

/// Processes of the simulated world: what was started, by the port that it was given.
fn started(log: &Rc<RefCell<Vec<u16>>>) -> u16 {
    *log.borrow().last().expect("something was started")
}

#[test]
fn a_process_that_dies_is_replaced_under_its_own_name() {
    for_seeds(20, |seed| {
        let command = ["replica", "{port}", "{id}"].map(Into::into).to_vec();
        let mut config =
            Config::new(at(5000), at(5001), Driver::Process { command, ports: (20_000, 20_099) });
        config.replicas = 1;
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut world: World<Balancer> = World::new(seed, Setup::new(config).cores(2));
        let seen = log.clone();
        world.children(move |command, _| {
            seen.borrow_mut().push(command.args[0].parse().expect("a port"));
            let after = Duration::from_secs(5);
            ChildScript::Killed { after, signal: 9 }
        });
        world.run_until(|_| !log.borrow().is_empty());
        assert_eq!(states(&world), ["starting"], "nothing is healthy before it has answered");
        let got = Got::default();
        world.serve_at(at(started(&log)), replica(got.clone()));
        world.run_until(|world| states(world) == ["healthy"]);
        assert_eq!(ask(&mut world, "/a").0, 200);
        world.unserve(&at(started(&log)));
        world.run_until(|_| log.borrow().len() == 2);
        world.serve_at(at(started(&log)), replica(got.clone()));
        world.run_until(|world| states(world) == ["healthy"]);
        let fleet = world.shard(NODE, CoreId(0)).fleet().expect("core 0 keeps the truth");
        assert_eq!(fleet.listed().collect::<Vec<_>>(), ["Server-1"]);
        assert_eq!(ask(&mut world, "/b").0, 200);
    });
}
