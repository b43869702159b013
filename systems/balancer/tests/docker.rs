//! The driver of containers against an engine of the test's own, which knows the few calls that are made.

use balancer::Balancer;
use balancer::config::{Config, Docker, Driver};
use machine::{Address, CoreId, NodeId};
use sim::{Client, Faults, Say, Setup, World, for_seeds};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

const SEEDS: u64 = 40;
const NODE: NodeId = NodeId(0);
const SOCKET: &str = "/run/docker.sock";

/// What the engine has: names and whether they run, by id; and every call in order.
#[derive(Default)]
struct Engine {
    containers: BTreeMap<String, (String, bool)>,
    calls: Vec<String>,
    made: usize,
}

impl Engine {
    fn answer(&mut self, call: &str, body: &str) -> (u16, String) {
        self.calls.push(call.to_owned());
        let (method, path) = call.split_once(' ').expect("a method and a path");
        if path == "/version" {
            return (200, r#"{"ApiVersion":"1.52","MinAPIVersion":"1.44"}"#.into());
        }
        let path = path.strip_prefix("/v1.44").expect("the oldest version that both know");
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (method, parts.as_slice()) {
            ("POST", ["networks", "create"]) => (409, r#"{"message":"it is there"}"#.into()),
            ("GET", ["containers", "json"]) => {
                assert!(query.contains("ringwise.test"), "only ours are listed: {query}");
                let left: Vec<String> =
                    self.containers.keys().map(|id| format!("{{\"Id\":\"{id}\"}}")).collect();
                (200, format!("[{}]", left.join(",")))
            }
            ("POST", ["containers", "create"]) if body.contains("\"Image\":\"none\"") => {
                (404, r#"{"message":"No such image: none"}"#.into())
            }
            ("POST", ["containers", "create"]) => {
                let name = query.strip_prefix("name=").expect("a name").to_owned();
                if let Some((id, _)) = self.containers.iter().find(|(_, (other, _))| *other == name) {
                    return (409, format!("{{\"message\":\"{name} is in use by {id}\"}}"));
                }
                self.made += 1;
                let id = format!("{:04x}", self.made);
                self.containers.insert(id.clone(), (name, false));
                (201, format!("{{\"Id\":\"{id}\"}}"))
            }
            ("POST", ["containers", id, "start"]) => {
                self.containers.get_mut(*id).expect("it was made").1 = true;
                (204, String::new())
            }
            ("GET", ["containers", name, "json"]) if !self.containers.contains_key(*name) => {
                let found = self.containers.iter().find(|(_, (other, _))| other == name);
                match found {
                    Some((id, _)) => (200, format!("{{\"Id\":\"{id}\",\"Config\":{{\"Labels\":{{}}}}}}")),
                    None => (404, "{}".into()),
                }
            }
            ("GET", ["containers", id, "json"]) => {
                let number = u16::from_str_radix(id, 16).expect("an id");
                let networks = format!("{{\"net\":{{\"IPAddress\":\"10.2.0.{number}\"}}}}");
                (200, format!("{{\"NetworkSettings\":{{\"Networks\":{networks}}}}}"))
            }
            ("POST", ["containers", id, "stop"]) => {
                self.containers.get_mut(*id).expect("it was made").1 = false;
                (204, String::new())
            }
            ("DELETE", ["containers", id]) => match self.containers.remove(*id) {
                Some(_) => (204, String::new()),
                None => (404, "{}".into()),
            },
            _ => panic!("the engine knows no {call}"),
        }
    }
}

fn serve(engine: Rc<RefCell<Engine>>) -> impl FnMut(Client, &mut Vec<u8>, &mut Say) + 'static {
    move |_, heard, say| {
        let text = String::from_utf8_lossy(heard).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return };
        let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
        if body.len() < length.map_or(0, |length| length.parse().expect("a length")) {
            return;
        }
        let call: Vec<&str> = head.split(' ').take(2).collect();
        if call[1].contains("/events?") {
            heard.clear();
            return say.bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        }
        let (status, answer) = engine.borrow_mut().answer(&call.join(" "), body);
        heard.clear();
        let framing =
            if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", answer.len()) };
        say.bytes(format!("HTTP/1.1 {status} X\r\n{framing}\r\n{answer}").as_bytes());
    }
}

fn replica(_: Client, heard: &mut Vec<u8>, say: &mut Say) {
    if heard.ends_with(b"\r\n\r\n") {
        heard.clear();
        say.bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

fn world(seed: u64, image: &str, replicas: usize, engine: &Rc<RefCell<Engine>>) -> World<Balancer> {
    let at = |port: u16| Address::Ip(([127, 0, 0, 1], port).into());
    let docker = Docker {
        socket: SOCKET.into(),
        image: image.into(),
        network: "net".into(),
        port: 5000,
        label: "ringwise.test".into(),
        seccomp: None,
    };
    let mut config = Config::new(at(5000), at(5001), Driver::Docker(docker));
    config.replicas = replicas;
    // Clients of this world come from elsewhere.
    config.tokens = vec!["sesame".into()];
    let mut world = World::new(seed, Setup::new(config).cores(2).faults(Faults::rough()));
    world.serve_at(Address::Unix(SOCKET.into()), serve(engine.clone()));
    for last in 1..20 {
        world.serve_at(Address::Ip(([10, 2, 0, last], 5000).into()), replica);
    }
    world
}

fn ask(world: &mut World<Balancer>, text: &str) -> String {
    let client = world.connect(NODE, 0);
    world.say(client, text.as_bytes());
    world.run_until(|world| world.heard(client).ends_with(b"}\n"));
    String::from_utf8_lossy(world.heard(client)).into_owned()
}

fn change(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sesame\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn names(engine: &Rc<RefCell<Engine>>) -> Vec<String> {
    let engine = engine.borrow();
    let mut names: Vec<String> =
        engine.containers.values().filter(|(_, runs)| *runs).map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

#[test]
fn containers_of_an_earlier_run_go_and_new_ones_come_and_go() {
    for_seeds(SEEDS, |seed| {
        let engine = Rc::new(RefCell::new(Engine::default()));
        engine.borrow_mut().containers.insert("ffff".into(), ("Server-1".into(), true));
        let mut world = world(seed, "hello", 2, &engine);
        let healthy = |world: &World<Balancer>| {
            let fleet = world.shard(NODE, CoreId(0)).fleet().expect("core 0 keeps the truth");
            fleet.replicas().iter().filter(|each| each.state.serves()).count()
        };
        world.run_until(|world| healthy(world) == 2);
        assert_eq!(names(&engine), ["Server-1", "Server-2"]);
        assert!(!engine.borrow().containers.contains_key("ffff"), "what was left is gone");
        let told = ask(&mut world, &change("POST", "/add", r#"{"n":1,"hostnames":["S5"]}"#));
        assert!(told.contains(r#"["Server-1","Server-2","S5"]"#), "{told}");
        let told = ask(&mut world, &change("DELETE", "/rm", r#"{"n":1,"hostnames":["Server-1"]}"#));
        assert!(told.contains(r#"["Server-2","S5"]"#), "{told}");
        world.run_until(|_| engine.borrow().containers.len() == 2);
        assert_eq!(names(&engine), ["S5", "Server-2"]);
    });
}

#[test]
fn a_container_of_the_name_that_is_somebody_elses_stays() {
    let engine = Rc::new(RefCell::new(Engine::default()));
    let mut world = world(1, "hello", 0, &engine);
    let told = ask(&mut world, &change("POST", "/add", r#"{"n":1,"hostnames":["S4"]}"#));
    assert!(told.contains(r#"["S4"]"#), "{told}");
    engine.borrow_mut().containers.insert("ffff".into(), ("S5".into(), true));
    let told = ask(&mut world, &change("POST", "/add", r#"{"n":1,"hostnames":["S5"]}"#));
    assert!(told.contains("there is a container S5 that is not of network net"), "{told}");
    assert_eq!(names(&engine), ["S4", "S5"]);
}

#[test]
fn an_image_that_is_not_there_is_told() {
    let engine = Rc::new(RefCell::new(Engine::default()));
    let mut world = world(1, "none", 0, &engine);
    let told = ask(&mut world, &change("POST", "/add", r#"{"n":1,"hostnames":["S5"]}"#));
    assert!(told.contains("Server `S5` did not start") && told.contains("No such image: none"), "{told}");
    let told = ask(&mut world, "GET /rep HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(told.contains(r#"{"N":0,"replicas":[]}"#), "{told}");
}
