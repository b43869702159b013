//! What was done to the server during a run (a node killed, one that joined, a link cut), noted by whoever did it in
//! a file or said to us by UDP meanwhile, and how long the server took to be itself again. Each line of a file is a
//! second since the start of the run, or since 1970, a comma, and a word: `12.5,node 2 killed`; a datagram is the word.
//!
//! The hard thing is what "again" means: the first second from which on, for three of them, as many requests were
//! answered as in the middle one of the seconds before, less five percent, and none failed. So the answer is in
//! whole seconds, and an event without three seconds before it has none.

use crate::report::Report;
use reactor::Fatal;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most events of a run.
const EVENTS_MAX: usize = 1_000;
/// Bytes of a word that are kept.
const WORD_MAX: usize = 200;
/// From here on a time counts from 1970: no run is that long.
const EPOCH_MIN: f64 = 1e9;
/// How often a listener looks whether the run is over.
const LOOK: Duration = Duration::from_millis(50);
/// Seconds that must go well, and that must have been there before.
const STEADY: usize = 3;
/// Of what was answered in a second before.
const AGAIN: f64 = 0.95;

/// Where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Events {
    /// A file, read when the run is over.
    File(PathBuf),
    /// Said to this address while it goes on.
    Heard(SocketAddr),
}

impl FromStr for Events {
    type Err = core::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::File(PathBuf::from(text)), Self::Heard))
    }
}

/// Hears events until it is asked for them.
#[derive(Debug)]
pub struct Listener {
    thread: JoinHandle<Vec<Event>>,
    over: Arc<AtomicBool>,
}

impl Listener {
    /// Listens at this address.
    ///
    /// # Errors
    /// A sentence, when it cannot.
    pub fn at(address: SocketAddr) -> Result<Self, Fatal> {
        let wrong = |error: std::io::Error| Fatal::misuse(format!("--events {address}: {error}"));
        let socket = UdpSocket::bind(address).map_err(wrong)?;
        socket.set_read_timeout(Some(LOOK)).map_err(wrong)?;
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        Ok(Self { thread: std::thread::spawn(move || hear(&socket, &until)), over })
    }

    /// What was heard, by the wall clock.
    #[must_use]
    pub fn heard(self) -> Vec<Event> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn hear(socket: &UdpSocket, over: &AtomicBool) -> Vec<Event> {
    let mut events = Vec::new();
    let mut word = [0; WORD_MAX];
    while !over.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut word) else { continue };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let what = String::from_utf8_lossy(&word[..length]).trim().replace(['\n', '\r'], " ");
        if events.len() < EVENTS_MAX && !what.is_empty() {
            eprintln!("event: {what}");
            events.push(Event { at, what });
        }
    }
    events
}

/// These events by the seconds since the run's start, which was so many seconds after 1970. Those before it are none
/// of this run.
#[must_use]
pub fn since(events: Vec<Event>, started: f64) -> Vec<Event> {
    let moved = |event: Event| match event.at {
        at if at >= EPOCH_MIN => Event { at: ((at - started) * 1e3).round() / 1e3, ..event },
        _ => event,
    };
    let mut events: Vec<Event> = events.into_iter().map(moved).filter(|event| event.at >= 0.0).collect();
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    events
}

/// What was done, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Seconds since the start of the run, warm-up and all; or since 1970.
    pub at: f64,
    /// What.
    pub what: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Recovery {
    /// No second after it was worse than those before.
    Unnoticed,
    /// All was as before from so many seconds after it.
    After(f64),
    /// It was not as before when the run ended.
    NotSeen,
    /// There were not enough seconds before it.
    Unknown,
}

/// The events of a file's text.
///
/// # Errors
/// A sentence, when a line is none.
pub fn read(text: &str) -> Result<Vec<Event>, String> {
    let line = |line: &str| {
        let wrong = || format!("{line:?} is no event: write 12.5,node 2 killed");
        let (at, what) = line.split_once(',').ok_or_else(wrong)?;
        let at = at.trim().parse::<f64>().ok().filter(|at| at.is_finite() && *at >= 0.0).ok_or_else(wrong)?;
        Ok(Event { at, what: what.trim().to_owned() })
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let events: Vec<Event> = lines.take(EVENTS_MAX + 1).map(line).collect::<Result<_, String>>()?;
    match events.len() > EVENTS_MAX {
        true => Err(format!("there are over {EVENTS_MAX} events")),
        false => Ok(events),
    }
}

/// What became of an event, from the run's whole seconds: which, how many answered, how many failed.
#[must_use]
pub fn recovery(event: &Event, seconds: &[(u64, u64, u64)]) -> Recovery {
    let at = event.at.floor() as u64;
    let mut before: Vec<u64> =
        seconds.iter().filter(|(second, ..)| *second < at).map(|(_, answered, _)| *answered).collect();
    if before.len() < STEADY {
        return Recovery::Unknown;
    }
    before.sort_unstable();
    let usual = before[before.len() / 2] as f64 * AGAIN;
    let after: Vec<_> = seconds.iter().filter(|(second, ..)| *second >= at).collect();
    let good = |(_, answered, failed): &(u64, u64, u64)| *answered as f64 >= usual && *failed == 0;
    let Some(first_bad) = after.iter().position(|second| !good(second)) else { return Recovery::Unnoticed };
    let again = after[first_bad..].windows(STEADY).find(|window| window.iter().all(|second| good(second)));
    again.map_or(Recovery::NotSeen, |window| Recovery::After((window[0].0 as f64 - event.at).max(0.0)))
}

/// The events as `events.csv`, with what became of each.
#[must_use]
pub fn csv(events: &[Event], report: &Report) -> String {
    let seconds = seconds(report);
    let mut text = String::new();
    for event in events {
        let Event { at, what } = event;
        let _ = writeln!(text, "{at},{what}: {}", recovery(event, &seconds));
    }
    text
}

/// The whole seconds of a run, warm-up and all.
fn seconds(report: &Report) -> Vec<(u64, u64, u64)> {
    let end = (report.run.load.warm_up.as_secs_f64() + report.seconds() + 0.001) as u64;
    let rows = report.tally.timeline().into_iter().filter(|(second, ..)| *second < end);
    let mut found: Vec<(u64, u64, u64)> = Vec::new();
    for (second, errors, response) in rows {
        // A second in which nothing was answered and nothing failed has no row, and is the worst of all.
        while found.last().is_some_and(|(last, ..)| last + 1 < second) {
            let next = found.last().map_or(0, |(last, ..)| last + 1);
            found.push((next, 0, 0));
        }
        found.push((second, response.len(), errors));
    }
    found
}

impl core::fmt::Display for Recovery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unnoticed => write!(f, "not to be seen"),
            Self::After(seconds) => write!(f, "as before after {seconds:.1} s"),
            Self::NotSeen => write!(f, "not as before when the run ended"),
            Self::Unknown => write!(f, "too early to say"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read() {
        let events = read("# what we did\n12.5, node 2 killed\n\n20,joined\n").unwrap();
        assert_eq!(events[0], Event { at: 12.5, what: "node 2 killed".to_owned() });
        assert_eq!(events.len(), 2);
        for refused in ["killed", "x,killed", "-1,killed", "nan,x"] {
            assert!(read(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_was_heard_is_counted_from_the_start() {
        let listener = Listener::at("127.0.0.1:0".parse().unwrap());
        assert!(listener.is_ok_and(|listener| listener.heard().is_empty()));
        let event = |at: f64| Event { at, what: "x".to_owned() };
        let moved = since(vec![event(1_700_000_012.5), event(3.0), event(1_699_999_999.0)], 1_700_000_000.0);
        assert_eq!(moved, [event(3.0), event(12.5)]);
        assert_eq!("127.0.0.1:9999".parse(), Ok(Events::Heard("127.0.0.1:9999".parse().unwrap())));
        assert_eq!("events.txt".parse(), Ok(Events::File(PathBuf::from("events.txt"))));
    }

    #[test]
    fn recovery_is_three_good_seconds_in_a_row() {
        let check = |at: f64, counts: &[(u64, u64)], expected: Recovery| {
            let seconds: Vec<_> = counts
                .iter()
                .enumerate()
                .map(|(place, (count, failed))| (place as u64, *count, *failed))
                .collect();
            assert_eq!(recovery(&Event { at, what: String::new() }, &seconds), expected, "{at}");
        };
        let good = (100, 0);
        check(3.5, &[good; 9], Recovery::Unnoticed);
        check(3.5, &[good, good, good, (10, 5), (90, 0), good, (96, 0), good], Recovery::After(1.5));
        check(3.5, &[good, good, good, (10, 5), good, good, (100, 1), good], Recovery::NotSeen);
        check(2.5, &[good; 9], Recovery::Unknown);
    }
}
