//! What was slow: SLOWLOG, LATENCY and the times of commands, in worlds that say how long events took.

use dht::{Config, Dht, Limits};
use machine::NodeId;
use sim::{Client, Faults, Setup, World};
use std::time::Duration;

const NODE: NodeId = NodeId(0);

fn world(cores: u16, faults: Faults) -> World<Dht> {
    let config = Config {
        resp: Some(([127, 0, 0, 1], 6379).into()),
        frame: Some(([127, 0, 0, 1], 5050).into()),
        limits: Limits::default(),
        ..Config::default()
    };
    World::new(11, Setup::new(config).cores(cores).faults(faults))
}

#[track_caller]
fn ask(world: &mut World<Dht>, client: Client, said: &str, end: &str) -> String {
    world.say(client, said.as_bytes());
    world.run_until(|world| world.heard(client).ends_with(end.as_bytes()));
    String::from_utf8_lossy(&world.take_heard(client)).into_owned()
}

#[test]
fn a_slow_request_is_remembered_with_its_words_and_its_client() {
    let mut world = world(1, Faults::none());
    let client = world.connect(NODE, 0);
    assert_eq!(ask(&mut world, client, "CLIENT SETNAME me\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "SLOWLOG LEN\r\n", "\r\n"), ":0\r\n", "10 ms are slow");
    assert_eq!(ask(&mut world, client, "CONFIG SET slowlog-log-slower-than 0\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "SET key value\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "SET one 1\r\nSET two 2\r\n", "+OK\r\n+OK\r\n"), "+OK\r\n+OK\r\n");
    let shown = ask(&mut world, client, "SLOWLOG GET 3\r\n", "me\r\n");
    assert!(shown.starts_with("*3\r\n*6\r\n"), "{shown}");
    let both = "*4\r\n$3\r\nSET\r\n$3\r\none\r\n$1\r\n1\r\n$34\r\n(one of 2 done together in this time)\r\n";
    assert!(shown.contains(both) || shown.contains("$37\r\n(one of 2"), "{shown}");
    assert!(shown.contains("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n"), "{shown}");
    assert!(shown.contains("$2\r\nme\r\n"), "{shown}");
    assert_eq!(ask(&mut world, client, "CONFIG SET slowlog-max-len 2\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "SLOWLOG LEN\r\n", "\r\n"), ":2\r\n");
    let quiet = "CONFIG SET slowlog-log-slower-than -1\r\n";
    assert_eq!(ask(&mut world, client, quiet, "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "SLOWLOG RESET\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "SLOWLOG GET -1\r\n", "\r\n"), "*0\r\n");
}

#[test]
fn no_secret_is_remembered() {
    let mut world = world(1, Faults::none());
    let client = world.connect(NODE, 0);
    ask(&mut world, client, "CONFIG SET slowlog-log-slower-than 0\r\n", "\r\n");
    ask(&mut world, client, "AUTH default sesame\r\n", "\r\n");
    ask(&mut world, client, "HELLO 2 AUTH default sesame\r\n", "*0\r\n");
    ask(&mut world, client, "PING\r\nAUTH default sesame\r\n", "+OK\r\n");
    world.say(client, b"SLOWLOG GET\r\n");
    world.run_for(Duration::from_secs(1));
    let shown = String::from_utf8_lossy(world.heard(client)).into_owned();
    assert!(shown.contains("(redacted)") && shown.contains("AUTH") && shown.contains("HELLO"), "{shown}");
    assert!(!shown.contains("sesame"), "{shown}");
}

#[test]
fn slow_work_for_another_core_is_remembered_where_it_was_done() {
    let mut world = world(3, Faults::none());
    let client = world.connect(NODE, 0);
    ask(&mut world, client, "CONFIG SET slowlog-log-slower-than 0\r\n", "\r\n");
    for key in 0..20 {
        assert_eq!(ask(&mut world, client, &format!("SET key{key} value\r\n"), "\r\n"), "+OK\r\n");
    }
    ask(&mut world, client, "MSET key1 a key2 b key3 c key4 d\r\n", "+OK\r\n");
    world.say(client, b"SLOWLOG GET -1\r\n");
    world.run_for(Duration::from_secs(1));
    let shown = String::from_utf8_lossy(world.heard(client)).into_owned();
    assert!(shown.contains("$3\r\nset\r\n$5\r\nkey") && shown.contains("$5\r\ncore"), "{shown}");
    assert!(shown.contains("$4\r\nmset\r\n"), "{shown}");
    let info = {
        world.take_heard(client);
        world.say(client, b"INFO commandstats\r\n");
        world.run_for(Duration::from_secs(1));
        String::from_utf8_lossy(world.heard(client)).into_owned()
    };
    let line =
        info.lines().find(|line| line.starts_with("cmdstat_set:calls=20,usec=")).expect("it was counted");
    let usec: u64 = line.split(['=', ',']).nth(3).and_then(|usec| usec.parse().ok()).expect("a number");
    // Each took 0.2 to 20 microseconds where it was asked, and as much where it was done, if that was elsewhere.
    assert!((4..=800).contains(&usec), "{line}");
    assert!(!line.contains("usec_per_call=0.00"), "{line}");
}

#[test]
fn samples_of_latency_are_kept_by_kind() {
    let mut world = world(2, Faults { slow_event: 200, ..Faults::none() });
    let client = world.connect(NODE, 0);
    assert!(ask(&mut world, client, "LATENCY DOCTOR\r\n", "\n\r\n").contains("disabled"));
    assert_eq!(ask(&mut world, client, "CONFIG SET latency-monitor-threshold 1\r\n", "\r\n"), "+OK\r\n");
    for key in 0..200 {
        assert_eq!(ask(&mut world, client, &format!("SET key{key} v EX 1\r\n"), "\r\n"), "+OK\r\n");
    }
    world.run_for(Duration::from_secs(5));
    world.say(client, b"LATENCY LATEST\r\n");
    world.run_for(Duration::from_secs(1));
    let latest = String::from_utf8_lossy(&world.take_heard(client)).into_owned();
    assert!(latest.contains("$7\r\ncommand\r\n") && latest.contains("$12\r\nexpire-cycle\r\n"), "{latest}");
    let kinds: usize = latest[1..].lines().next().and_then(|count| count.parse().ok()).expect("a count");
    assert!(ask(&mut world, client, "LATENCY HISTORY command\r\n", "\r\n").starts_with("*"));
    world.run_for(Duration::from_secs(1));
    world.take_heard(client);
    let picture = ask(&mut world, client, "LATENCY GRAPH command\r\n", "#\n\r\n");
    assert!(picture.contains("command - high "), "{picture}");
    assert!(ask(&mut world, client, "LATENCY DOCTOR\r\n", "\n\r\n").contains("latency spikes"));
    assert_eq!(ask(&mut world, client, "CONFIG SET latency-monitor-threshold 0\r\n", "\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut world, client, "LATENCY RESET command\r\n", "\r\n"), ":1\r\n");
    let left: usize =
        ask(&mut world, client, "LATENCY RESET\r\n", "\r\n")[1..].trim().parse().expect("a count");
    assert!((kinds - 1..=kinds + 2).contains(&left), "{left} of {kinds}");
    assert_eq!(ask(&mut world, client, "LATENCY LATEST\r\n", "\r\n"), "*0\r\n");
}

#[test]
fn info_tells_of_turns_and_memory() {
    let mut world = world(2, Faults::none());
    let client = world.connect(NODE, 0);
    ask(&mut world, client, "SET key value\r\n", "\r\n");
    ask(&mut world, client, "DEL key\r\n", "\r\n");
    world.say(client, b"INFO memory cores\r\n");
    world.run_for(Duration::from_secs(3));
    let info = String::from_utf8_lossy(world.heard(client)).into_owned();
    let value = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.parse::<u64>().expect("a number")
    };
    assert!(value("used_memory_peak:") > value("used_memory:"), "a key is gone: {info}");
    assert!(info.contains("used_memory_rss:") && info.contains("core1_turns:turns="), "{info}");
}
