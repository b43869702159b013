//! A long run in which everything happens at once: thousands of connections, hops between cores, timers, a log, a
//! child that chatters without end, and silences in between in which cores sleep long. What is looked for is a
//! lost wake: an answer that took longer than it need.
//!
//! The test binary runs itself as the server, so that its keeper is forked before any thread. By hand, the whole
//! run: `RINGWISE_MIXED_SECONDS=600 RINGWISE_MIXED_CONNECTIONS=10000 cargo test --release -p reactor --test mixed`.

mod ask;
mod gaps;
mod serve;

use libtest_mimic::{Arguments, Failed, Trial};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longer than any answer need take; shorter than the heartbeat that would hide a lost wake.
const SLOW: Duration = Duration::from_millis(100);

fn main() {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve::main();
    }
    let arguments = Arguments::from_args();
    let name = "nothing_waits_longer_than_it_need";
    libtest_mimic::run(&arguments, vec![Trial::test(name, || mixed().map_err(Failed::from))]).exit();
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn mixed() -> Result<(), String> {
    let seconds = setting("RINGWISE_MIXED_SECONDS", 20);
    let connections = setting("RINGWISE_MIXED_CONNECTIONS", 1000) as usize;
    reactor::doctor::raise_open_files().map_err(|error| error.to_string())?;
    let mut server = Command::new(std::env::current_exe().expect("a test has a file"))
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the server does not start: {error}"))?;
    let mut lines = BufReader::new(server.stdout.take().expect("it was asked for")).lines();
    let ready = lines.next().ok_or("the server said nothing")?.map_err(|error| error.to_string())?;
    let at = ready.strip_prefix("READY ").and_then(|at| at.parse().ok()).ok_or(ready.clone())?;

    let gaps = gaps::Watcher::start(server.id());
    let asked = ask::run(at, connections, Duration::from_secs(seconds));
    let gaps = gaps.stop();
    // SAFETY: signals a child of ours that was not waited for, so the number is still its own.
    unsafe { libc::kill(server.id() as i32, libc::SIGTERM) };
    let status = server.wait().map_err(|error| error.to_string())?;
    let told: Vec<String> = lines.map_while(Result::ok).collect();

    println!("{} connections, {seconds} s; the server says: {}", connections, told.join("; "));
    println!("{asked}");
    println!(
        "times in which the machine took more than a millisecond: {}, the most {:?}",
        gaps.len(),
        gaps::longest(&gaps)
    );
    if !status.success() {
        return Err(format!("the server ended with {status}"));
    }
    if asked.answers == 0 || asked.failures > 0 || asked.unanswered > 0 {
        return Err(format!(
            "{} answers, {} failures, {} unanswered",
            asked.answers, asked.failures, asked.unanswered
        ));
    }
    let unexplained: Vec<_> = asked.slow.iter().filter(|slow| !gaps::explain(&gaps, slow)).collect();
    println!("without such a reason: {}", unexplained.len());
    if unexplained.is_empty() {
        Ok(())
    } else {
        Err(format!("waited without a reason: {:?}", unexplained.first()))
    }
}
