//! A real hash table under writers that know what they were told, and the question afterwards whether it is there.
//!
//! The hard thing is to be strict where answers were heard and fair where none was: a request that was sent and not
//! answered may have happened or not, but what several cores do as one never in part.

#![allow(dead_code, reason = "each test that has this module uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dht");
pub(crate) const WRITERS: usize = 4;
/// Requests sent before their answers are read.
const AHEAD: usize = 12;
/// Answers that each writer hears before anything ends: on a busy machine that takes longer than was meant.
pub(crate) const HEARD_MIN: usize = 2 * AHEAD;
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// Keys asked for before the answers are read.
const ASKED: usize = 400;

/// A directory of its own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self::within(&std::env::temp_dir(), name)
    }

    pub(crate) fn within(directory: &Path, name: &str) -> Self {
        let path = directory.join(format!("ringwise-kept-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("it can be made");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) resp: String,
}

impl Server {
    pub(crate) fn start(data: &Path, options: &[&str]) -> Self {
        Self::try_start(data, options).unwrap_or_else(|said| panic!("no resp= in {said:?}"))
    }

    /// What it said in place of READY, if it did not start.
    pub(crate) fn try_start(data: &Path, options: &[&str]) -> Result<Self, String> {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--port", "0", "--log-level", "error", "--log-segment", "256kb", "--data"])
            .arg(data)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("it says READY");
        let resp = ready.split_whitespace().find_map(|word| word.strip_prefix("resp="));
        let Some(resp) = resp.map(str::to_owned) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("it does not start: {ready:?}"));
        };
        Ok(Self { child, resp })
    }

    pub(crate) fn connect(&self) -> Talk {
        let stream = TcpStream::connect(&self.resp).expect("it listens");
        stream.set_nodelay(true).expect("it is a TCP stream");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time is set");
        Talk { reader: BufReader::new(stream.try_clone().expect("a descriptor is left")), stream }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Talk {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Talk {
    /// One line of an answer; none when the server is gone.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(count) if count > 0 && line.ends_with('\n') => Some(line.trim_end().to_owned()),
            Ok(_) | Err(_) => None,
        }
    }

    /// Says one line, and hears one.
    pub(crate) fn ask(&mut self, words: &str) -> String {
        self.stream.write_all(format!("{words}\r\n").as_bytes()).expect("it reads");
        self.line().expect("it answers")
    }

    /// A section of INFO, or any other long answer.
    pub(crate) fn text(&mut self, words: &str) -> String {
        let head = self.ask(words);
        let length: usize = head[1..].parse().unwrap_or_else(|_| panic!("{words}: {head}"));
        let mut text = vec![0; length + 2];
        self.reader.read_exact(&mut text).expect("it is whole");
        String::from_utf8(text).expect("it is a text").trim_end().to_owned()
    }

    /// The values of those keys that are there.
    pub(crate) fn get_all(&mut self, keys: &[String]) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for some in keys.chunks(ASKED) {
            let text: String = some.iter().map(|key| format!("GET {key}\r\n")).collect();
            self.stream.write_all(text.as_bytes()).expect("it reads");
            for key in some {
                match &*self.line().expect("it answers") {
                    "$-1" => {}
                    head if head.starts_with('$') => {
                        found.insert(key.clone(), self.line().expect("a value"));
                    }
                    other => panic!("GET {key}: {other}"),
                }
            }
        }
        found
    }
}

/// What one writer sent and heard. Request number n is, by turns, an INCR, a SET of a new key, an MSET of four new
/// keys, and a RENAME of the key that the last SET made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) sent: usize,
    /// For each answered request: how long the journal of disk calls was when the answer had come.
    pub(crate) heard: Vec<u64>,
}

fn request(writer: usize, number: usize) -> String {
    let fill = "x".repeat(number * 7 % 300);
    match number % 4 {
        0 => format!("INCR count{writer}\r\n"),
        1 => format!("SET one{writer}.{number} {number}.{fill}\r\n"),
        2 => {
            let keys: String = (0..4).map(|key| format!(" four{writer}.{number}.{key} {number}")).collect();
            format!("MSET{keys}\r\n")
        }
        _ => {
            let before = number - 2;
            format!("RENAME one{writer}.{before} moved{writer}.{before}\r\n")
        }
    }
}

fn keys(writer: usize, sent: usize) -> Vec<String> {
    let of = |number: usize| match number % 4 {
        1 => vec![format!("one{writer}.{number}"), format!("moved{writer}.{number}")],
        2 => (0..4).map(|key| format!("four{writer}.{number}.{key}")).collect(),
        _ => Vec::new(),
    };
    std::iter::once(format!("count{writer}")).chain((0..sent).flat_map(of)).collect()
}

/// Writes until told to stop or nobody answers; counts in `heard` as well.
fn write(
    server: &Server,
    writer: usize,
    journal: Option<&Path>,
    stop: &AtomicBool,
    heard: &AtomicUsize,
) -> Said {
    let mut talk = server.connect();
    let mut said = Said::default();
    let length = || journal.map_or(0, |path| fs::metadata(path).map_or(0, |found| found.len()));
    while !stop.load(Ordering::Relaxed) {
        let text: String = (said.sent..said.sent + AHEAD).map(|number| request(writer, number)).collect();
        said.sent += AHEAD;
        if talk.stream.write_all(text.as_bytes()).is_err() {
            return said;
        }
        for _ in 0..AHEAD {
            let Some(line) = talk.line() else { return said };
            assert!(line == "+OK" || line.starts_with(':'), "request {}: {line}", said.heard.len());
            said.heard.push(length());
            heard.store(said.heard.len(), Ordering::Relaxed);
        }
    }
    said
}

/// Whether what is there is what came of the first `heard` requests and perhaps of others of those sent.
pub(crate) fn judge(talk: &mut Talk, writer: usize, heard: usize, sent: usize) -> Result<(), String> {
    let found = talk.get_all(&keys(writer, sent));
    let get = |key: String| found.get(&key).map(String::as_str);
    let fails = |is_wrong: bool, what: &dyn Fn() -> String| if is_wrong { Err(what()) } else { Ok(()) };
    let count: usize = get(format!("count{writer}")).map_or(0, |text| text.parse().expect("a number"));
    let (least, most) = (heard.div_ceil(4), sent.div_ceil(4));
    fails(!(least..=most).contains(&count), &|| format!("INCR: {count}, and {least} were acknowledged"))?;
    for number in 0..sent {
        let is_heard = number < heard;
        match number % 4 {
            1 => {
                let one = get(format!("one{writer}.{number}"));
                let moved = get(format!("moved{writer}.{number}"));
                fails(one.is_some() && moved.is_some(), &|| format!("{number} is in two places"))?;
                let value = moved.or(one);
                let is_right = |value: &str| value.starts_with(&format!("{number}."));
                fails(is_heard && value.is_none(), &|| format!("SET {number} was acknowledged and is gone"))?;
                fails(!value.is_none_or(is_right), &|| format!("SET {number} is {value:?}"))?;
                fails(moved.is_none() && number + 2 < heard, &|| {
                    format!("RENAME {number} was acknowledged and is undone")
                })?;
            }
            2 => {
                let there =
                    (0..4).filter(|key| get(format!("four{writer}.{number}.{key}")).is_some()).count();
                fails(there != 4 && (there != 0 || is_heard), &|| {
                    format!("MSET {number}: {there} of 4 are there, acknowledged: {is_heard}")
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// All writers at work for so long, and until each heard [`HEARD_MIN`] answers, with snapshots asked for meanwhile; then
/// they stop, or the server is killed.
pub(crate) fn load(server: &Server, journal: Option<&Path>, span: Duration, kills: bool) -> Vec<Said> {
    let stop = AtomicBool::new(false);
    let heard = [const { AtomicUsize::new(0) }; WRITERS];
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (stop, heard) = (&stop, &heard[writer]);
                scope.spawn(move || write(server, writer, journal, stop, heard))
            })
            .collect();
        let mut talk = server.connect();
        for _ in 0..4 {
            std::thread::sleep(span / 4);
            let begun = talk.ask("BGSAVE");
            assert!(begun.starts_with("+Background") || begun.starts_with("-ERR Background"), "{begun}");
        }
        let until = Instant::now() + HEARD_WITHIN;
        while heard.iter().any(|heard| heard.load(Ordering::Relaxed) < HEARD_MIN) {
            assert!(Instant::now() < until, "the server does not answer: {heard:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        match kills {
            true => {
                let pid = server.child.id().to_string();
                assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill is there").success());
            }
            false => stop.store(true, Ordering::Relaxed),
        }
        writers.into_iter().map(|writer| writer.join().expect("it wrote")).collect()
    })
}

/// How often a test is to be done: what the environment says, or else this.
pub(crate) fn times(variable: &str, few: usize) -> usize {
    std::env::var(variable).map_or(few, |text| text.parse().expect("a number of times"))
}
