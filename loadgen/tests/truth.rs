//! The ground truth: a server that answers after a known time and writes down when, beside what the program says of
//! it. What the server wrote is not what it meant to do but what its clock saw, and how long a request and its answer
//! take on their way is told by the plainest client there can be, which asks the same server meanwhile. So a machine
//! that is busy with other things makes all three late and none wrong.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the server saw of each answer.
type Written = Arc<Mutex<Vec<Answered>>>;

/// An answer, in µs.
#[derive(Clone, Copy)]
struct Answered {
    /// From reading the request to writing it.
    took: u64,
    /// How long after its time it was out: what the machine took from the server.
    late: u64,
}

/// When the server keeps silent, by the time since it began.
#[derive(Clone, Copy)]
enum Delay {
    /// Each answer comes so long after its request.
    Fixed(Duration),
    /// The first such span of each such period is silence; else answers come at once.
    Stalls { each: Duration, silent: Duration },
}

/// A server that holds no values: whatever is read, it answers with a null. One thread a connection.
fn serve(delay: Delay) -> (SocketAddr, Written) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let written = Written::default();
    let kept = written.clone();
    let began = Instant::now();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (kept, stream) = (kept.clone(), stream.unwrap());
            std::thread::spawn(move || answer(stream, delay, began, &kept));
        }
    });
    (address, written)
}

fn answer(mut stream: TcpStream, delay: Delay, began: Instant, kept: &Written) {
    stream.set_nodelay(true).unwrap();
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        let read_at = Instant::now();
        heard.extend_from_slice(&chunk[..count]);
        // Requests are arrays of bulk strings; a PING has one element, a GET two.
        while let Some((used, reply)) = whole(&heard) {
            heard.drain(..used);
            let until = wait(delay, began, read_at);
            // Noted before it is sent: afterwards this thread may be kept from it.
            let took = read_at.elapsed().as_micros() as u64;
            if stream.write_all(reply).is_err() {
                return;
            }
            let late = until.elapsed().as_micros() as u64;
            kept.lock().unwrap().push(Answered { took, late });
        }
    }
}

/// The length of the first whole request, and its answer.
fn whole(bytes: &[u8]) -> Option<(usize, &'static [u8])> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, _) = text.split_once("\r\n")?;
    let elements: usize = head.strip_prefix('*')?.parse().ok()?;
    let mut at = head.len() + 2;
    for _ in 0..elements {
        let (length, _) = text.get(at..)?.split_once("\r\n")?;
        at += length.len() + 2 + length.strip_prefix('$')?.parse::<usize>().ok()? + 2;
    }
    if elements == 1 && bytes.len() >= at {
        return Some((at, b"+PONG\r\n"));
    }
    let info = text.get(..at)?.contains("INFO");
    Some((at, if info { b"-ERR no INFO\r\n" } else { b"$-1\r\n" }))
}

/// Sleeps until an answer is due, and looks at the clock for the last of it: a sleep alone comes late. Gives when it
/// was due.
fn wait(delay: Delay, began: Instant, read_at: Instant) -> Instant {
    let until = match delay {
        Delay::Fixed(span) => read_at + span,
        Delay::Stalls { each, silent } => {
            let since = read_at.duration_since(began);
            let within = Duration::from_nanos((since.as_nanos() % each.as_nanos()) as u64);
            read_at + silent.saturating_sub(within)
        }
    };
    let now = Instant::now();
    if until > now + Duration::from_micros(200) {
        std::thread::sleep(until - now - Duration::from_micros(100));
    }
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    until
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loadgen-truth-{name}-{}", std::process::id()))
}

/// What the program wrote.
struct Found {
    run: serde_json::Value,
    /// The shortest service time, µs.
    shortest: u64,
}

/// Runs the program.
fn loadgen(target: SocketAddr, options: &str, out: &Path) -> Found {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["run", &format!("resp://{target}"), "--no-load", "--mix", "get=1", "--seed", "1"])
        .args(options.split_whitespace())
        .arg("--out")
        .arg(out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(out.join("run.json")).unwrap();
    let service = std::fs::read_to_string(out.join("service.hgrm")).unwrap();
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(|word| word.parse::<f64>().ok());
        Some((words.next()??, words.next()??))
    };
    let shortest = (service.lines().find_map(row).unwrap().0 * 1000.0) as u64;
    std::fs::remove_dir_all(out).unwrap();
    Found { run: serde_json::from_str(&text).unwrap(), shortest }
}

/// One at a time: each is about time.
static ALONE: Mutex<()> = Mutex::new(());

/// The plainest client: a thread a connection that writes a request, waits in `read` for its answer and looks at the
/// clock before and after. It goes on until it is told to stop.
struct Plain {
    threads: Vec<JoinHandle<Vec<u64>>>,
    stop: Arc<AtomicBool>,
}

impl Plain {
    /// Asks on so many connections, on each every `each`.
    fn ask(target: SocketAddr, connections: u32, each: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |connection| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                std::thread::sleep(each * connection / connections);
                asked_plainly(target, each, &stop)
            })
        };
        Self { threads: (0..connections).map(thread).collect(), stop }
    }

    /// How long each request took, µs.
    fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

fn asked_plainly(target: SocketAddr, each: Duration, stop: &AtomicBool) -> Vec<u64> {
    let mut stream = TcpStream::connect(target).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut took = Vec::new();
    let mut answer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let sent_at = Instant::now();
        stream.write_all(b"*2\r\n$3\r\nGET\r\n$16\r\nk000000000000001\r\n").unwrap();
        let count = stream.read(&mut answer).unwrap();
        let spent = sent_at.elapsed();
        assert_eq!(&answer[..count], b"$-1\r\n");
        took.push(spent.as_micros() as u64);
        std::thread::sleep(each.saturating_sub(spent));
    }
    took
}

/// What a machine takes from a request is only ever added to it, so the shortest of two hundred is what is compared:
/// the one in whose time nobody else wanted the processor.
#[test]
fn a_known_time_is_found_to_two_percent() {
    let _alone = ALONE.lock();
    for (name, span) in [("short", Duration::from_millis(5)), ("long", Duration::from_millis(40))] {
        let (target, written) = serve(Delay::Fixed(span));
        // As many connections and as fast, but a little slower, so that the two do not keep in step.
        let plain = Plain::ask(target, 4, Duration::from_millis(103));
        let said = loadgen(target, "-c 4 --rate 40 -d 5s", &folder(name)).shortest;
        let plain = plain.stop();
        let written = written.lock().unwrap();
        assert!(written.len() >= 380 && plain.len() >= 180, "{} {}", written.len(), plain.len());
        let truth = written.iter().map(|answered| answered.took).min().unwrap();
        let plain = *plain.iter().min().unwrap();
        println!("{name}: the server wrote {truth} µs, loadgen says {said} µs, a plain client {plain} µs");
        let allowed = (truth / 50).max(20);
        let right = said >= truth && said.abs_diff(plain) <= allowed;
        assert!(right, "the server: {truth} µs, loadgen: {said} µs, a plain client: {plain} µs");
    }
}

/// One request in ten is due while the server is silent, so the p99 is near the end of the silence. A generator that
/// waits for an answer before it asks again sees one slow answer a connection and stall.
#[test]
fn a_stall_is_seen_whole_and_a_closed_loop_misses_it() {
    let _alone = ALONE.lock();
    let (each, silent) = (Duration::from_secs(2), Duration::from_millis(200));
    let (target, written) = serve(Delay::Stalls { each, silent });
    let found = loadgen(target, "-c 20 --rate 1000 -d 20s", &folder("stalls")).run;
    let response = |name: &str| found["latency_us"]["response"][name].as_u64().unwrap();
    let (p50, p99, p99_9, max) = (response("p50"), response("p99"), response("p99_9"), response("max"));
    // A silence lasts as long as the machine keeps the server from ending it, and an answer is read when it lets us.
    let late = written.lock().unwrap().iter().map(|answered| answered.late).max().unwrap();
    let hiccup = found["hiccup_us"]["max"].as_u64().unwrap();
    println!("p50 {p50} p99 {p99} p99.9 {p99_9} max {max}, the server late by {late}, we by {hiccup}");
    assert_eq!(found["requests"], 20_000);
    // Arrivals are even: of the silence's 200 ms, the longest tenth waits for 180 ms and more, and so on.
    let near = |said: u64, truth: u64| {
        let allowed = (truth / 50).max(10_000);
        said + allowed >= truth && said <= truth + allowed + late + hiccup
    };
    assert!(p50 < 20_000, "{p50}");
    assert!(near(p99, 180_000) && near(p99_9, 198_000) && near(max, 200_000), "{p99} {p99_9} {max}");
    let closed = redis_benchmark(target);
    println!("redis-benchmark says p99 {closed} µs");
    assert!(closed < p99 / 2, "a closed loop cannot see it: {closed}");
}

/// The p99 that redis-benchmark says of the same server, µs.
fn redis_benchmark(target: SocketAddr) -> u64 {
    let output = Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-p", &target.port().to_string(), "-c", "20", "-n", "200000", "--csv"])
        .args(["GET", "k000000000000001"])
        .output()
        .unwrap_or_else(|error| {
            panic!("redis-benchmark cannot be run ({error}): apt-get install redis-tools")
        });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_…"
    let row = text.lines().find(|line| line.starts_with("\"GET")).unwrap_or_else(|| panic!("{text}"));
    let p99 = row.split(',').rev().nth(1).unwrap().trim_matches('"');
    (p99.parse::<f64>().unwrap_or_else(|_| panic!("{row}")) * 1000.0) as u64
}

/// A machine that takes the generator away for 60 ms of every 300 has measured itself, and nobody else.
#[test]
fn a_machine_that_stalls_makes_a_run_invalid() {
    let _alone = ALONE.lock();
    let (target, _) = serve(Delay::Fixed(Duration::ZERO));
    let out = folder("taken-away");
    let mut run = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["run", &format!("resp://{target}"), "--no-load", "--mix", "get=1", "--strict", "--out"])
        .arg(&out)
        .args("-c 4 --rate 200 -d 4s".split_whitespace())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &run.id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(240));
        signal("-STOP");
        std::thread::sleep(Duration::from_millis(60));
        signal("-CONT");
    }
    let status = run.wait().unwrap();
    let text = std::fs::read_to_string(out.join("run.json")).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    println!("{} {}", found["verdict"], found["why"]);
    assert!(found["verdict"] == "INVALID" && status.code() == Some(6), "{status} {}", found["verdict"]);
    assert!(found["why"].as_str().is_some_and(|why| why.contains("machine stalled: ")), "{}", found["why"]);
}

#[test]
fn a_sweep_ends_at_the_first_interrupt_whichever_of_its_runs_is_under_way() {
    let (target, _) = serve(Delay::Fixed(Duration::ZERO));
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([
            "sweep",
            &format!("resp://{target}"),
            "--connections",
            "1,2,3,4,5,6,7,8",
            "--duration",
            "300ms",
        ])
        .args(["--no-load", "--keys", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let mut runs = 0;
    let mut ended_early = None;
    for line in said.lines().map(Result::unwrap) {
        // Each run begins with its line. From the second on there are several that might wait for signals.
        runs += u32::from(line.starts_with("loadgen run "));
        if runs == 3 && line.starts_with("loadgen run ") {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        }
        ended_early = ended_early.or(line.strip_prefix("ended early, at run ").map(str::to_owned));
    }
    assert!(child.wait().unwrap().success());
    // Where the machine is slow, the one that was under way when the signal came may be a later one.
    let at = ended_early.as_deref().and_then(|said| said.strip_suffix(" of 8")?.parse::<u32>().ok());
    assert_eq!(at, Some(runs), "it ended with a run that was not the last begun");
    assert!((3..8).contains(&runs), "{runs} runs were begun");
}
