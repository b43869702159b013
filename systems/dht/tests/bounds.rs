//! What happens at each bound, and what concerns all cores at once: in a world where only these things happen.

use dht::login::Users;
use dht::policy::Policy;
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
    // The owner of that slot alone is asked.
    let hops = |world: &World<Dht>| world.gauges(NODE).number("ringwise_dht_hops_total");
    let before = hops(&world);
    assert_eq!(ask(&mut world, client, "CLUSTER KEYSLOT key1\r\n", "\r\n"), ":9189\r\n");
    assert_eq!(ask(&mut world, client, "CLUSTER COUNTKEYSINSLOT 9189\r\n", "\r\n"), ":1\r\n");
    assert!(ask(&mut world, client, "CLUSTER GETKEYSINSLOT 9189 5\r\n", "key1\r\n").starts_with("*1\r\n"));
    assert!(hops(&world) - before <= 2, "each asked one core");
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
fn a_drain_carries_out_what_was_read_and_put_off() {
    let mut world = world(3, Limits { places_max: 4, ..Limits::default() });
    let client = world.connect(NODE, 0);
    set_many(&mut world, client, 100);
    let gets: String = (0..1000).map(|key| format!("GET key{}\r\n", key % 100)).collect();
    world.say(client, gets.as_bytes());
    let read = |world: &World<Dht>| world.gauges(NODE).number("ringwise_dht_commands_total{command=\"get\"}");
    world.run_until(|world| read(world) > 0);
    assert!(read(&world) < 500, "most of it is put off");
    world.drain(NODE);
    world.say(client, b"GET key0\r\n");
    world.run_until(|world| world.drained(NODE) && world.ended(client).is_some());
    let answered = String::from_utf8_lossy(world.heard(client)).matches('$').count();
    assert!((1000..=1001).contains(&answered), "{answered}: what was said later need not be answered");
}

#[test]
fn more_long_values_than_a_part_brings_as_blobs_come_in_order() {
    let mut world = world(3, Limits::default());
    let client = world.connect(NODE, 0);
    let (mut said, mut names) = (Vec::new(), Vec::new());
    for key in 0..250 {
        let value = vec![b'a' + (key % 26) as u8; machine::blob::BLOB_MIN + key];
        let name = format!("key{key}");
        wire::resp::write_request(&mut said, &[b"SET", name.as_bytes(), &value]);
        names.push(name);
    }
    world.say(client, &said);
    world.run_until(|world| world.heard(client).len() == names.len() * "+OK\r\n".len());
    world.take_heard(client);
    world.say(client, format!("MGET {}\r\nPING\r\n", names.join(" ")).as_bytes());
    world.run_until(|world| world.heard(client).ends_with(b"+PONG\r\n"));
    let heard = world.take_heard(client);
    let mut rest = heard.strip_prefix(b"*250\r\n").expect("all of them");
    for key in 0..250 {
        let length = machine::blob::BLOB_MIN + key;
        rest = rest.strip_prefix(format!("${length}\r\n").as_bytes()).expect("its length");
        let value;
        (value, rest) = rest.split_at(length);
        assert!(value.iter().all(|byte| *byte == b'a' + (key % 26) as u8), "the value of key{key}");
        rest = rest.strip_prefix(b"\r\n").expect("its end");
    }
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

#[test]
fn memory_has_a_bound_and_old_keys_give_way() {
    let memory_max = 32 << 20;
    let policy = Policy::AllKeysLru;
    let mut world = world(2, Limits { memory_max, policy, ..Limits::default() });
    let client = world.connect(NODE, 0);
    let value = "v".repeat(10_000);
    for round in 0..20 {
        let text: String = (0..500).map(|key| format!("SET key{round}:{key} {value}\r\n")).collect();
        world.say(client, text.as_bytes());
        world.run_until(|world| world.heard(client).len() == 500 * "+OK\r\n".len());
        world.take_heard(client);
        let bytes = world.gauges(NODE).number("ringwise_dht_bytes");
        assert!(bytes <= memory_max as i64 + (128 << 10), "{bytes} bytes after {round} rounds");
    }
    let evicted = world.gauges(NODE).number("ringwise_dht_evicted_total");
    assert!(evicted > 5_000, "{evicted} of 10,000 keys went");
    let info = ask(&mut world, client, "INFO stats\r\n", "\r\n\r\n");
    assert!(info.contains(&format!("evicted_keys:{evicted}\r\n")), "{info}");
}

#[test]
fn a_full_memory_refuses_writes_and_nothing_else() {
    let mut world = world(2, Limits::default());
    let client = world.connect(NODE, 0);
    set_many(&mut world, client, 1000);
    assert_eq!(ask(&mut world, client, "CONFIG SET maxmemory 100kb\r\n", "\r\n"), "+OK\r\n");
    let refused = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    for write in
        ["SET key1 longer-than-before", "APPEND key2 x", "INCRBY key3 100000", "SETNX new v", "MSET a 1 b 2"]
    {
        assert_eq!(ask(&mut world, client, &format!("{write}\r\n"), "\r\n"), refused, "{write}");
    }
    assert_eq!(ask(&mut world, client, "GET key1\r\n", "1\r\n"), "$1\r\n1\r\n");
    assert_eq!(ask(&mut world, client, "EXPIRE key1 100\r\n", "\r\n"), ":1\r\n");
    assert_eq!(ask(&mut world, client, "DEL key1 key2\r\n", "\r\n"), ":2\r\n");
    assert_eq!(ask(&mut world, client, "CONFIG SET maxmemory 0\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "SET key1 v\r\n", "\r\n"), "+OK\r\n");
    let errors = ask(&mut world, client, "INFO errorstats\r\n", "\r\n\r\n");
    assert!(errors.contains("errorstat_OOM:count="), "{errors}");
}

#[test]
fn who_is_idle_too_long_is_let_go() {
    let mut world = world(2, Limits { idle_max_s: 5, ..Limits::default() });
    let (busy, idle, framed) = (world.connect(NODE, 0), world.connect(NODE, 0), world.connect(NODE, 1));
    for _ in 0..4 {
        assert_eq!(ask(&mut world, busy, "PING\r\n", "\r\n"), "+PONG\r\n");
        world.run_for(Duration::from_secs(2));
    }
    assert!(world.ended(idle).is_some() && world.ended(framed).is_some() && world.is_open(busy));
    assert_eq!(world.heard(idle), b"");
    assert_eq!(world.gauges(NODE).number("ringwise_dht_idle_total"), 2);
    assert_eq!(ask(&mut world, busy, "CONFIG SET timeout 0\r\n", "\r\n"), "+OK\r\n");
    world.run_for(Duration::from_secs(20));
    assert!(world.is_open(busy));
}

#[test]
fn clients_are_bounded_together_wherever_they_are() {
    let mut world = world(4, Limits { clients_max: 8, ..Limits::default() });
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(world.connect(NODE, 0));
        world.run_for(Duration::from_millis(10));
    }
    assert!(clients.iter().all(|client| world.is_open(*client)), "each core may take more than its share");
    let one_more = world.connect(NODE, 0);
    world.run_until(|world| world.ended(one_more).is_some());
    world.finish(clients[3]);
    world.run_until(|world| world.ended(clients[3]).is_some());
    world.run_for(Duration::from_millis(10));
    let welcome = world.connect(NODE, 0);
    assert_eq!(ask(&mut world, welcome, "PING\r\n", "\r\n"), "+PONG\r\n");
}

#[test]
fn a_killed_client_is_gone_wherever_it_is() {
    let mut world = world(3, Limits::default());
    let asker = world.connect(NODE, 0);
    let others: Vec<Client> = (0..6).map(|_| world.connect(NODE, 0)).collect();
    for (index, client) in others.iter().enumerate() {
        ask(&mut world, *client, &format!("CLIENT SETNAME other{index}\r\n"), "\r\n");
    }
    let list = ask(&mut world, asker, "CLIENT LIST\r\n", "\n\r\n");
    let line = list.lines().find(|line| line.contains("name=other2 ")).expect("it is there");
    let id = line.trim_start_matches("id=").split(' ').next().expect("a number");
    assert_eq!(ask(&mut world, asker, &format!("CLIENT KILL ID {id}\r\n"), "\r\n"), ":1\r\n");
    world.run_until(|world| world.ended(others[2]).is_some());
    assert_eq!(ask(&mut world, asker, "CLIENT KILL USER default\r\n", "\r\n"), ":5\r\n");
    world.run_until(|world| others.iter().all(|client| world.ended(*client).is_some()));
    assert!(world.is_open(asker));
    assert_eq!(ask(&mut world, asker, "CLIENT KILL TYPE normal SKIPME no\r\n", "\r\n"), ":1\r\n");
    world.run_until(|world| world.ended(asker).is_some());
}

/// A world where one must say who one is, and where cores have ports.
fn guarded_world() -> World<Dht> {
    let core_ports = (0..2).map(|core| ([127, 0, 0, 1], 7000 + core).into()).collect();
    let config = Config {
        resp: Some(([127, 0, 0, 1], 6379).into()),
        frame: Some(([127, 0, 0, 1], 5050).into()),
        core_ports,
        users: Users::read("sesame\nalice:wonder\n").expect("it is right"),
        ..Config::default()
    };
    World::new(7, Setup::new(config).cores(2))
}

#[test]
fn a_stranger_learns_and_changes_nothing() {
    let mut world = guarded_world();
    let client = world.connect(NODE, 0);
    let noauth = "-NOAUTH Authentication required.\r\n";
    for asked in ["GET k", "SET k v", "CLIENT LIST", "INFO", "PING", "CLUSTER SLOTS", "SHUTDOWN"] {
        assert_eq!(ask(&mut world, client, &format!("{asked}\r\n"), "\r\n"), noauth, "{asked}");
    }
    let hello = ask(&mut world, client, "HELLO 3\r\n", "\r\n");
    assert!(
        hello.starts_with("-NOAUTH HELLO must be called with the client already authenticated"),
        "{hello}"
    );
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    for asked in ["AUTH wrong", "AUTH alice sesame", "AUTH bob x", "HELLO 2 AUTH default wonder"] {
        assert_eq!(ask(&mut world, client, &format!("{asked}\r\n"), "\r\n"), wrong, "{asked}");
    }
    assert_eq!(ask(&mut world, client, "AUTH sesame\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "SET k v\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "AUTH alice wonder\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "ACL WHOAMI\r\n", "alice\r\n"), "$5\r\nalice\r\n");
    assert_eq!(ask(&mut world, client, "RESET\r\n", "\r\n"), "+RESET\r\n");
    assert_eq!(ask(&mut world, client, "GET k\r\n", "\r\n"), noauth);
    let long = world.connect(NODE, 0);
    world.say(long, b"*2\r\n$4\r\nAUTH\r\n$100000\r\n");
    world.run_until(|world| world.ended(long).is_some());
    assert_eq!(world.heard(long), b"-ERR Protocol error: unauthenticated bulk length\r\n");
}

#[test]
fn framed_text_knows_no_passwords_and_is_refused() {
    let mut world = guarded_world();
    let framed = world.connect(NODE, 1);
    world.say(framed, b"\0\0\0\x05get k");
    world.run_until(|world| world.heard(framed).ends_with(b"required."));
    assert_eq!(&world.heard(framed)[4..], b"FAILURE NOAUTH Authentication required.");
}

#[test]
fn on_its_own_port_a_core_is_a_node_of_a_cluster() {
    let mut world = guarded_world();
    let at_core = world.connect(NODE, 2);
    let shared = world.connect(NODE, 0);
    for client in [at_core, shared] {
        assert_eq!(ask(&mut world, client, "AUTH sesame\r\n", "\r\n"), "+OK\r\n");
        assert_eq!(ask(&mut world, client, "SET foo 1\r\n", "\r\n"), "+OK\r\n", "every key is served");
        assert_eq!(ask(&mut world, client, "SET bar 2\r\n", "\r\n"), "+OK\r\n", "every key is served");
    }
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    assert_eq!(ask(&mut world, at_core, "MGET foo bar\r\n", "\r\n"), crossed);
    assert_eq!(ask(&mut world, at_core, "DEL foo bar\r\n", "\r\n"), crossed);
    assert_eq!(ask(&mut world, at_core, "EXISTS {foo}x foo\r\n", "\r\n"), ":1\r\n");
    assert_eq!(ask(&mut world, shared, "DEL foo bar\r\n", "\r\n"), ":2\r\n");
    let info = ask(&mut world, at_core, "INFO server cluster\r\n", "cluster_enabled:1\r\n\r\n");
    assert!(info.contains("redis_mode:cluster\r\n"), "{info}");
    let info = ask(&mut world, shared, "INFO server cluster\r\n", "cluster_enabled:1\r\n\r\n");
    assert!(info.contains("redis_mode:standalone\r\n"), "{info}");
}
