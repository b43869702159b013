//! The real program under load, killed, its power cut, its disk full, started again on as many cores or on others:
//! what it had acknowledged is there, and what several cores did as one is there whole or not at all.

use machine::Chance;
use reactor::log::power::Platter;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dht");
const WRITERS: usize = 4;
/// Requests sent before their answers are read.
const AHEAD: usize = 12;

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringwise-durability-{name}-{}", std::process::id()));
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

struct Server {
    child: Child,
    resp: String,
}

impl Server {
    fn start(data: &Path, options: &[&str]) -> Self {
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
        let resp = resp.unwrap_or_else(|| panic!("no resp= in {ready:?}")).to_owned();
        Self { child, resp }
    }

    fn connect(&self) -> Talk {
        let stream = TcpStream::connect(&self.resp).expect("it listens");
        stream.set_nodelay(true).expect("it is a TCP stream");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time is set");
        Talk { reader: BufReader::new(stream.try_clone().expect("a descriptor is left")), stream }
    }

    fn kill(mut self) {
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

struct Talk {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Talk {
    /// One line of an answer; none when the server is gone.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(count) if count > 0 && line.ends_with('\n') => Some(line.trim_end().to_owned()),
            Ok(_) | Err(_) => None,
        }
    }

    fn get(&mut self, key: &str) -> Option<String> {
        self.stream.write_all(format!("GET {key}\r\n").as_bytes()).expect("it reads");
        match &*self.line().expect("it answers") {
            "$-1" => None,
            length if length.starts_with('$') => self.line(),
            other => panic!("GET {key}: {other}"),
        }
    }
}

/// What one writer sent and heard. Request number n is, by turns, an INCR, a SET of a new key, an MSET of four new
/// keys, and a RENAME of the key that the last SET made.
#[derive(Debug, Default)]
struct Said {
    sent: usize,
    /// For each answered request: how long the journal of disk calls was when the answer had come.
    heard: Vec<u64>,
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

/// Writes until told to stop or nobody answers.
fn write(server: &Server, writer: usize, journal: Option<&Path>, stop: &AtomicBool) -> Said {
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
        }
    }
    said
}

/// Whether what is there is what came of the first `heard` requests and perhaps of others of those sent.
fn judge(talk: &mut Talk, writer: usize, heard: usize, sent: usize) {
    let count: usize = talk.get(&format!("count{writer}")).map_or(0, |text| text.parse().expect("a number"));
    let (least, most) = (heard.div_ceil(4), sent.div_ceil(4));
    assert!((least..=most).contains(&count), "INCR: {count}, and {least} were acknowledged");
    for number in 0..sent {
        let is_heard = number < heard;
        match number % 4 {
            1 => {
                let (one, moved) = (format!("one{writer}.{number}"), format!("moved{writer}.{number}"));
                let (one, moved) = (talk.get(&one), talk.get(&moved));
                assert!(!(one.is_some() && moved.is_some()), "{number} is in two places");
                let value = moved.clone().or(one);
                assert!(
                    value.is_some() || !is_heard,
                    "SET {number} of {writer} was acknowledged and is gone"
                );
                assert!(value.is_none_or(|value| value.starts_with(&format!("{number}."))));
                assert!(
                    moved.is_some() || number + 2 >= heard,
                    "RENAME {number} of {writer} was acknowledged"
                );
            }
            2 => {
                let found: Vec<_> =
                    (0..4).map(|key| talk.get(&format!("four{writer}.{number}.{key}"))).collect();
                let there = found.iter().flatten().count();
                assert!(there == 4 || (there == 0 && !is_heard), "MSET {number} of {writer}: {found:?}");
            }
            _ => {}
        }
    }
}

fn load(server: &Server, journal: Option<&Path>, span: Duration) -> Vec<Said> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let stop = &stop;
                scope.spawn(move || write(server, writer, journal, stop))
            })
            .collect();
        std::thread::sleep(span);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("it wrote")).collect()
    })
}

/// Kills the server while all write.
fn load_and_kill(server: Server, span: Duration) -> Vec<Said> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (stop, server) = (&stop, &server);
                scope.spawn(move || write(server, writer, None, stop))
            })
            .collect();
        std::thread::sleep(span);
        let pid = server.child.id().to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill is there").success());
        writers.into_iter().map(|writer| writer.join().expect("it wrote")).collect()
    })
}

#[test]
fn killed_under_load_it_comes_back_with_all_it_acknowledged_on_as_many_cores_or_others() {
    let both = reactor::allowed_cores().iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let first = reactor::allowed_cores()[0].to_string();
    for (before, after) in [(&both, &both), (&both, &first), (&first, &both)] {
        let scratch = Scratch::new("killed");
        let server = Server::start(&scratch.0, &["--durability", "sync", "--cores", before]);
        let said = load_and_kill(server, Duration::from_millis(700));
        assert!(
            said.iter().all(|said| said.heard.len() > 20),
            "{:?}",
            said.iter().map(|s| s.heard.len()).collect::<Vec<_>>()
        );
        let server = Server::start(&scratch.0, &["--durability", "sync", "--cores", after]);
        for (writer, said) in said.iter().enumerate() {
            judge(&mut server.connect(), writer, said.heard.len(), said.sent);
        }
        server.kill();
        // And once more, from what is now of two eras.
        let server = Server::start(&scratch.0, &["--durability", "sync", "--cores", after]);
        for (writer, said) in said.iter().enumerate() {
            judge(&mut server.connect(), writer, said.heard.len(), said.sent);
        }
    }
}

#[test]
fn after_a_power_cut_at_any_moment_it_has_all_it_had_acknowledged() {
    let scratch = Scratch::new("cut");
    let (data, journal) = (scratch.0.join("data"), scratch.0.join("journal"));
    let calls = journal.display().to_string();
    let server = Server::start(&data, &["--durability", "sync", "--log-calls", &calls]);
    let said = load(&server, Some(&journal), Duration::from_millis(500));
    server.kill();
    let journal = fs::read(&journal).expect("it was written");
    let era = fs::read_dir(&data).expect("it is there").next().expect("an era").expect("it can be read");
    let mut chance = Chance::new(1).stream("cuts");
    let begun = said.iter().filter_map(|said| said.heard.first()).min().expect("somebody heard something");
    for cut in 0..6 {
        let at = chance.between(*begun, journal.len() as u64) as usize;
        let left = scratch.0.join(format!("left-{cut}"));
        fs::create_dir_all(left.join(era.file_name())).expect("it can be made");
        Platter::after(&journal, at).leave(&left.join(era.file_name()), &mut chance).expect("it can be made");
        let server = Server::start(&left, &["--durability", "sync"]);
        let mut kept = BTreeMap::new();
        for (writer, said) in said.iter().enumerate() {
            let heard = said.heard.partition_point(|length| *length <= at as u64);
            kept.insert(writer, heard);
            judge(&mut server.connect(), writer, heard, said.sent);
        }
        assert!(kept.values().any(|heard| *heard > 0), "cut {cut} at {at}");
    }
}

#[test]
fn what_is_to_be_kept_wants_a_place() {
    let ended = Command::new(PROGRAM).args(["serve", "--port", "0", "--durability", "sync"]).output();
    let ended = ended.expect("the program is built");
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("--data"), "{ended:?}");
}

#[test]
fn damage_is_exit_status_5_and_a_sentence() {
    let scratch = Scratch::new("damage");
    let server = Server::start(&scratch.0, &["--durability", "sync"]);
    load(&server, None, Duration::from_millis(200));
    server.kill();
    let check = Command::new(PROGRAM).arg("check").arg(&scratch.0).output().expect("the program is built");
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    assert!(String::from_utf8_lossy(&check.stdout).contains("core 0: 0 snapshot parts"), "{check:?}");
    let era = fs::read_dir(&scratch.0)
        .expect("it is there")
        .next()
        .expect("an era")
        .expect("it can be read")
        .path();
    for entry in fs::read_dir(era).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let mut bytes = fs::read(&path).expect("it can be read");
        if bytes.len() > 2000 && bytes.starts_with(b"RINGWISE") {
            bytes[300] ^= 1;
            fs::write(&path, &bytes).expect("it can be written");
        }
    }
    let check = Command::new(PROGRAM).arg("check").arg(&scratch.0).output().expect("the program is built");
    assert_eq!(check.status.code(), Some(5), "{check:?}");
    let ended = Command::new(PROGRAM)
        .args(["serve", "--port", "0", "--durability", "sync", "--data"])
        .arg(&scratch.0)
        .output()
        .expect("the program is built");
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("damaged"), "{ended:?}");
}
