//! Links between real processes: in order and without a gap while they live, told when they end, up again by
//! themselves; refused with a sentence where the key is another; found dead when the network only stops to speak.
//!
//! Each node is this binary run again. The last trial makes network namespaces of its own joined by a bridge, and cuts
//! them; it needs root and `ip` (Debian: iproute2).

mod cluster;
mod herald;

use cluster::{Cluster, Network, loopback};
use libtest_mimic::{Arguments, Trial};
use std::path::PathBuf;
use std::time::Duration;

/// The one that cuts a network between namespaces.
const IN_NAMESPACES: &str = "a_silent_network_is_found_dead_and_found_again";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "node") {
        herald::serve(&words[2..]);
    }
    // What takes root and namespaces is not a part of every run: `cargo test -p reactor --test links -- --ignored`.
    let trial = |name: &str, run: fn()| {
        let trial = Trial::test(name, move || {
            run();
            Ok(())
        });
        trial.with_ignored_flag(name == IN_NAMESPACES)
    };
    let trials = vec![
        trial("a_killed_node_is_missed_at_once_and_found_again", killed),
        trial("a_node_that_stands_still_is_cut_before_memory_fills", stopped),
        trial("another_key_is_refused_with_one_sentence", keys),
        trial("strangers_at_the_door_cost_nobody_anything", strangers),
        trial(IN_NAMESPACES, silent),
    ];
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit();
}

/// Every node has heard this many more messages of every other.
fn all_talk(cluster: &Cluster) {
    for node in cluster.running() {
        for other in cluster.running().into_iter().filter(|other| *other != node) {
            let before = cluster.heard(node, other);
            cluster
                .wait(node, &format!("more of node {other}"), |_| cluster.heard(node, other) > before + 20);
        }
    }
}

fn killed() {
    let mut cluster = Cluster::new(loopback(3), Some("the key of all three nodes"));
    cluster.start_all();
    cluster.await_links();
    all_talk(&cluster);
    for round in 0..5 {
        let victim = round % 3;
        cluster.kill(victim);
        for node in cluster.running() {
            cluster.wait_line(node, &format!("DOWN {victim}"));
        }
        cluster.start(victim);
        cluster.await_links();
        all_talk(&cluster);
    }
    cluster.assert_no_gaps();
    cluster.stop_all();
}

fn stopped() {
    let mut cluster = Cluster::new(loopback(2), None);
    cluster.link_max = 300_000;
    cluster.start_all();
    cluster.await_links();
    all_talk(&cluster);
    cluster.signal(1, "STOP");
    let why = cluster.wait_line(0, "DOWN 1");
    assert!(why.ends_with("Overfull") || why.ends_with("TimedOut"), "{why}");
    cluster.signal(1, "CONT");
    cluster.await_links();
    all_talk(&cluster);
    cluster.assert_no_gaps();
    cluster.stop_all();
}

fn keys() {
    let mut cluster = Cluster::new(loopback(4), Some("the key of all nodes but two"));
    cluster.keys[2] = Some("another key, by mistake".to_owned());
    cluster.keys[3] = None;
    cluster.start_all();
    for (node, other) in [(0, 1), (1, 0)] {
        cluster.wait_line(node, &format!("UP {other}"));
    }
    cluster.wait_line(0, "herald: the link to node 2 was refused: the other node has another cluster key: give both the same --cluster-key-file");
    cluster.wait_line(
        0,
        "herald: the link to node 3 was refused: the other node has no cluster key and this one has",
    );
    cluster.wait_line(
        3,
        "herald: the link to node 0 was refused: the other node has a cluster key and this one has none",
    );
    // Long enough for many more tries, of two cores.
    std::thread::sleep(Duration::from_secs(4));
    let said = cluster.lines(0, "the link to node 2 was refused");
    assert!((1..=2).contains(&said), "once for each core, and not for each try: {said}");
    for (node, other) in [(0, 2), (2, 0), (0, 3), (3, 0), (2, 3), (3, 2)] {
        assert_eq!(cluster.lines(node, &format!("UP {other} ")), 0, "node {node} let {other} in");
        assert_eq!(cluster.heard(node, other), 0, "node {node} heard {other}");
    }
    cluster.assert_no_gaps();
    cluster.stop_all();
}

fn strangers() {
    use std::io::{Read, Write};
    let mut cluster = Cluster::new(loopback(2), Some("the key of the two nodes"));
    cluster.start_all();
    cluster.await_links();
    let at = cluster.address(0);
    let hello = b"RWLK\0\x01\0\x01\0\0\x06herald\x01aaaaaaaabbbbbbbbccccccccdddddddd".to_vec();
    let proof = [hello.clone(), vec![7; 32]].concat();
    let message = [proof.clone(), vec![0xff; 64]].concat();
    for said in
        [b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"RWLK\0\x09\0\0\0\0\x06herald\0".to_vec(), message, proof]
    {
        let mut stream = std::net::TcpStream::connect(at).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        stream.write_all(&said).expect("it listens");
        let mut answer = Vec::new();
        // Ended by a reset or in order: ended.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() <= hello.len() + 32, "an answer of {} bytes to a stranger", answer.len());
    }
    // One who says nothing, or half of it, is let go after seconds.
    for said in [&b""[..], &hello[..20], &hello] {
        let mut stream = std::net::TcpStream::connect(at).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        stream.write_all(said).expect("it listens");
        let ended = stream.read_to_end(&mut Vec::new());
        let in_time =
            ended.as_ref().err().is_none_or(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(in_time, "not let go: {ended:?}");
    }
    // Many at once who say nothing take no more than their number.
    let silent: Vec<_> = (0..600).filter_map(|_| std::net::TcpStream::connect(at).ok()).collect();
    all_talk(&cluster);
    drop(silent);
    cluster.assert_no_gaps();
    cluster.stop_all();
}

fn silent() {
    let network = Network::new(3);
    let mut cluster = Cluster::new(network.addresses(), Some("the key of all three nodes"));
    cluster.namespaces = network.names();
    cluster.start_all();
    cluster.await_links();
    all_talk(&cluster);

    network.cut(2);
    for (node, other) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
        let why = cluster.wait_line(node, &format!("DOWN {other}"));
        assert!(why.ends_with("TimedOut"), "{why}");
    }
    network.heal(2);
    cluster.await_links();
    all_talk(&cluster);

    // One way: what node 0 says to node 1 is lost, what node 1 says arrives, and its acknowledgements are lost.
    network.cut_one_way(0, 1);
    for (node, other) in [(0, 1), (1, 0)] {
        cluster.wait_line(node, &format!("DOWN {other}"));
    }
    network.heal_one_way(0, 1);
    cluster.await_links();
    all_talk(&cluster);
    cluster.assert_no_gaps();
    cluster.stop_all();
}

/// A directory of this test's own, gone with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ringwise-links-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
