//! What happens at each bound, and what concerns all cores at once: in a world where only these things happen.

use dht::{Config, Dht, Limits};
use machine::NodeId;
use sim::{Client, Setup, World};
use std::time::Duration;

const NODE: NodeId = NodeId(0);

fn world(cores: u16, limits: Limits) -> World<Dht> {
    let config = Config {
        resp: Some(([127, 0, 0, 1], 6379).into()),
        frame: Some(([127, 0, 0, 1], 5050).into()),
        limits,
        ..Config::default()
    };
    World::new(7, Setup::new(config).cores(cores))
}

/// Says it and gives what is heard once it ends like that.
#[track_caller]
fn ask(world: &mut World<Dht>, client: Client, said: &str, end: &str) -> String {
    world.say(client, said.as_bytes());
    world.run_until(|world| world.heard(client).ends_with(end.as_bytes()));
    String::from_utf8_lossy(&world.take_heard(client)).into_owned()
}

fn set_many(world: &mut World<Dht>, client: Client, count: usize) {
    let text: String = (0..count).map(|key| format!("SET key{key} {key}\r\n")).collect();
    world.say(client, text.as_bytes());
    world.run_until(|world| world.heard(client).len() == count * "+OK\r\n".len());
    world.take_heard(client);
}

#[test]
fn one_client_too_many_is_told_and_let_go() {
    let mut world = world(2, Limits { clients_max: 4, ..Limits::default() });
    let clients: Vec<Client> = (0..4).map(|_| world.connect(NODE, 0)).collect();
    for client in &clients {
        assert_eq!(ask(&mut world, *client, "PING\r\n", "\r\n"), "+PONG\r\n");
    }
    let one_more = world.connect(NODE, 0);
    let framed = world.connect(NODE, 1);
    world.run_until(|world| world.ended(one_more).is_some() && world.ended(framed).is_some());
    assert_eq!(world.heard(one_more), b"-ERR max number of clients reached\r\n");
    assert_eq!(&world.heard(framed)[4..], b"FAILURE max number of clients reached");
    assert_eq!(ask(&mut world, clients[0], "CONFIG SET maxclients 6\r\n", "\r\n"), "+OK\r\n");
    let now_welcome = world.connect(NODE, 0);
    assert_eq!(ask(&mut world, now_welcome, "PING\r\n", "\r\n"), "+PONG\r\n");
}

#[test]
fn a_value_over_the_bound_is_a_fault_of_the_protocol() {
    let mut world = world(2, Limits { value_max: 100, ..Limits::default() });
    let client = world.connect(NODE, 0);
    world.say(client, b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$101\r\n");
    world.run_until(|world| world.ended(client).is_some());
    assert_eq!(world.heard(client), b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n");
}

#[test]
fn values_that_are_too_long_together_are_refused_and_cost_nothing_else() {
    let mut world = world(3, Limits { answer_max: 1000, ..Limits::default() });
    let client = world.connect(NODE, 0);
    let value = "v".repeat(300);
    let text = format!("MSET a {value} b {value} c {value} d {value} e {value}\r\nMGET a b c\r\n");
    let heard = ask(&mut world, client, &text, &format!("{value}\r\n"));
    assert!(heard.starts_with("+OK\r\n*3\r\n$300\r\n"), "{heard}");
    let heard = ask(&mut world, client, "MGET a b c d e\r\nPING\r\n", "+PONG\r\n");
    assert!(heard.starts_with("-ERR the values of this answer are too long together"), "{heard}");
}

#[test]
fn a_client_that_does_not_read_is_waited_for_and_not_cut_off() {
    let mut world = world(4, Limits::default());
    let client = world.connect(NODE, 0);
    let value = vec![b'v'; 1 << 20];
    let mut said = Vec::new();
    for key in 0..8 {
        wire::resp::write_request(&mut said, &[b"SET", format!("key{key}").as_bytes(), &value]);
    }
    world.say(client, &said);
    world.run_until(|world| world.heard(client).len() == 8 * 5);
    world.take_heard(client);
    // 100 MiB of answers, of which the world lets 64 wait: what is not read must not be written.
    world.stall(client);
    let gets: String = (0..100).map(|number| format!("GET key{}\r\n", number % 8)).collect();
    world.say(client, gets.as_bytes());
    world.run_for(Duration::from_secs(5));
    assert!(world.is_open(client), "it was cut off");
    world.unstall(client);
    let each = "$1048576\r\n".len() + (1 << 20) + 2;
    world.run_until(|world| world.heard(client).len() == 100 * each);
}

#[test]
fn commands_of_many_cores_never_cause_more_than_an_event_may() {
    let mut world = world(16, Limits { places_max: 100_000, ..Limits::default() });
    let client = world.connect(NODE, 0);
    set_many(&mut world, client, 200);
    let keys: String = (0..200).map(|key| format!(" key{key}")).collect();
    let exists = format!("EXISTS{keys}\r\n").repeat(1000);
    world.say(client, exists.as_bytes());
    // The world itself fails when one event tells more than FANOUT_MAX.
    world.run_until(|world| world.heard(client).len() == 1000 * ":200\r\n".len());
}

#[test]
fn all_cores_are_asked_where_all_are_meant() {
    let mut world = world(4, Limits::default());
    let client = world.connect(NODE, 0);
    let other = world.connect(NODE, 0);
    set_many(&mut world, client, 1000);
    assert_eq!(ask(&mut world, client, "DBSIZE\r\n", "\r\n"), ":1000\r\n");
    assert_eq!(ask(&mut world, other, "CLIENT SETNAME other\r\n", "\r\n"), "+OK\r\n");
    let clients = ask(&mut world, client, "CLIENT LIST\r\n", "\n\r\n");
    assert_eq!(clients.matches(" addr=").count(), 2, "{clients}");
    assert!(clients.contains(" name=other "), "{clients}");
    let info = ask(&mut world, client, "INFO keyspace cores\r\n", "\r\n\r\n");
    assert!(info.contains("db0:keys=1000,expires=0"), "{info}");
    assert_eq!(info.matches(",bytes=").count(), 4, "{info}");
    assert_eq!(ask(&mut world, client, "FLUSHALL\r\nDBSIZE\r\n", ":0\r\n"), "+OK\r\n:0\r\n");
}

#[test]
fn what_has_expired_is_removed_without_being_asked_for() {
    let mut world = world(2, Limits::default());
    let client = world.connect(NODE, 0);
    let text: String = (0..500).map(|key| format!("SET key{key} v PX {}\r\n", 10 + key)).collect();
    world.say(client, text.as_bytes());
    world.run_until(|world| world.heard(client).len() == 500 * 5);
    assert_eq!(world.gauges(NODE).number("ringwise_dht_keys"), 500);
    assert!(
        world.run_within(Duration::from_secs(3), |world| world.gauges(NODE).number("ringwise_dht_keys") == 0)
    );
    assert_eq!(world.gauges(NODE).number("ringwise_dht_expired_total"), 500);
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_lets_everybody_go() {
    let mut world = world(4, Limits::default());
    let idle = world.connect(NODE, 0);
    let framed = world.connect(NODE, 1);
    let busy = world.connect(NODE, 0);
    set_many(&mut world, busy, 100);
    assert_eq!(ask(&mut world, idle, "PING\r\n", "\r\n"), "+PONG\r\n");
    let gets: String = (0..100).map(|key| format!("GET key{key}\r\n")).collect();
    world.say(busy, gets.as_bytes());
    let read = |world: &World<Dht>| world.gauges(NODE).number("ringwise_dht_commands_total{command=\"get\"}");
    world.run_until(|world| read(world) == 100);
    world.drain(NODE);
    world.run_until(|world| world.drained(NODE));
    world.run_until(|world| [idle, framed, busy].iter().all(|client| world.ended(*client).is_some()));
    assert_eq!(String::from_utf8_lossy(world.heard(busy)).matches('$').count(), 100);
    assert_eq!(world.heard(idle), b"");
}
