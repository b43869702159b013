//! Several machines as one generator. Each agent's cores are cores of one larger run: which connections, which share of
//! the rate and which operations fall to a core follows from its number among all, as it would on one machine. Agents
//! connect and write keys on their own, and begin when all have; from then on each has its own clock of due times.
//! What their cores found is merged as cores of one machine are.
//!
//! The hard thing is that an agent does what strangers say. So it listens to this machine alone unless it has a key,
//! reads no file and writes none for anybody, and serves one order at a time, each in a process of its own: what follows
//! an order is as it was before. With a key both ends prove that they have it before anything else is read; what is said
//! then is not hidden.

use crate::client::Outcomes;
use crate::packed::Packed;
use crate::plan::{Part, Run, STATUS_UNREACHABLE};
use crate::run::here;
use crate::{cli::AgentArgs, words};
use reactor::Fatal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::Outcome;
use wire::link::{Hello, Refusal, read_hello, write_hello};
use wire::proof::{CHALLENGE, Challenge, End, Key, PROOF};

/// The most agents of a run.
pub const AGENTS_MAX: usize = 256;
/// The version of what is said.
const VERSION: u16 = 1;
/// The longest message, bytes of JSON: four hours of seconds, each with a distribution.
const MESSAGE_MAX: usize = 1 << 30;
/// How long a greeting or an answer to an order may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long connecting and writing every key may take.
const PREPARE_MAX: Duration = Duration::from_secs(900);
/// How long a run may take beyond what it is to take.
const BEYOND_MAX: Duration = Duration::from_secs(120);
/// How long a run without a duration may take.
const UNBOUNDED_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long an order may take to end when the agent is told to.
const END_MAX: Duration = Duration::from_secs(5);
/// Options that concern the one who asks, and not those who are asked.
const OWN: [&[&str]; 8] = [
    &["--agents"],
    &["--key-file"],
    &["--out", "-o"],
    &["--events"],
    &["--history"],
    &["--metric"],
    &["--cores"],
    &["--git-commit"],
];

/// What an agent is told.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    /// The words of `loadgen run`, and the seed.
    Order(Vec<String>, u64),
    /// Its first core's number, and how many cores all agents have.
    Begin(u16, u16),
    /// All have connected and written their keys.
    Go,
}

/// What an agent says.
#[derive(Debug, Serialize, Deserialize)]
enum Says {
    /// It can, with so many cores.
    Ready(u16),
    /// It cannot, and why.
    No(String),
    /// It has connected and written its keys.
    Prepared,
    /// What its cores found, and how busy the busiest was.
    Found(Vec<Packed>, Option<f64>),
}

/// Waits for orders until it is told to end, by SIGTERM or SIGINT. The order at hand ends early then, and says what it
/// found.
///
/// # Errors
/// A sentence, when it cannot listen.
pub fn serve(typed: &AgentArgs) -> Result<u8, Fatal> {
    let key = typed.key_file.as_deref().map(key).transpose()?;
    if typed.inherited {
        let stream = io::stdin().as_fd().try_clone_to_owned().map(TcpStream::from);
        let stream = stream.map_err(|error| Fatal::misuse(format!("--inherited: {error}")))?;
        return attend(stream, key.as_ref(), typed).map(|()| 0).map_err(Fatal::misuse);
    }
    let listener = TcpListener::bind(typed.listen).map_err(|error| Fatal {
        status: 4,
        sentence: format!("{} cannot be listened at: {error}", typed.listen),
    })?;
    if !typed.listen.ip().is_loopback() && key.is_none() && !typed.insecure_open {
        return Err(Fatal::misuse(format!(
            "{} lets strangers send load from here: give --key-file, or --insecure-open if that is meant",
            typed.listen
        )));
    }
    let at = listener.local_addr().map_err(|error| Fatal::misuse(error.to_string()))?;
    let program = std::env::current_exe().map_err(|error| Fatal::machine(error.to_string()))?;
    let desk = Arc::new(Mutex::new(Desk::default()));
    let theirs = desk.clone();
    reactor::until_told_to_end(move || {
        println!("READY loadgen agent={at} pid={}", std::process::id());
        std::thread::spawn(move || take_orders(&listener, &program, &theirs));
    })?;
    close(&desk);
    Ok(0)
}

/// Where orders are served: one at a time, and none once it is closed.
#[derive(Debug, Default)]
struct Desk {
    served: Option<Served>,
    is_closed: bool,
}

/// An order in its process, and our end of what it is held by. That process has the other end as its standard output:
/// each of the two learns by it that the other is gone, however that came.
#[derive(Debug)]
struct Served {
    child: Child,
    leash: Arc<UnixStream>,
}

impl Served {
    /// In a process group of its own: what a terminal tells to end is the agent, and an order hears of it from there.
    fn start(program: &Path, stream: TcpStream) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(program)
            .args(std::env::args().skip(1))
            .arg("--inherited")
            .stdin(Stdio::from(OwnedFd::from(stream)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .process_group(0)
            .spawn()?;
        Ok(Self { child, leash: Arc::new(ours) })
    }

    /// Has it end early, and ends it when it does not.
    fn end(&mut self) -> io::Result<()> {
        self.leash.shutdown(Shutdown::Write)?;
        self.leash.set_read_timeout(Some(END_MAX))?;
        if wait_for(&self.leash).is_err() {
            self.child.kill()?;
        }
        self.child.wait().map(drop)
    }
}

fn take_orders(listener: &TcpListener, program: &Path, desk: &Mutex<Desk>) {
    for stream in listener.incoming().filter_map(Result::ok) {
        if let Err(error) = serve_one(program, stream, desk) {
            eprintln!("an order could not be served: {error}");
        }
    }
}

/// One order in a process of its own, to its end.
fn serve_one(program: &Path, stream: TcpStream, desk: &Mutex<Desk>) -> io::Result<()> {
    let leash = {
        let mut desk = lock(desk);
        if desk.is_closed {
            return Ok(());
        }
        let served = Served::start(program, stream)?;
        let leash = served.leash.clone();
        desk.served = Some(served);
        leash
    };
    let waited = wait_for(&leash);
    let served = lock(desk).served.take();
    match served {
        Some(mut served) => served.child.wait().and(waited),
        None => Ok(()),
    }
}

/// No order is served from here on, and the one at hand ends.
fn close(desk: &Mutex<Desk>) {
    let mut desk = lock(desk);
    desk.is_closed = true;
    if let Some(mut served) = desk.served.take()
        && let Err(error) = served.end()
    {
        eprintln!("an order could not be ended: {error}");
    }
}

/// Until the process at the other end of a leash is gone.
fn wait_for(mut leash: &UnixStream) -> io::Result<()> {
    io::copy(&mut leash, &mut io::sink()).map(drop)
}

/// Held for as long as it takes to start an order, and at the end to end one.
fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends this order when the agent lets go of it, or is gone: early, where its run has `begun`, and at once where not.
fn heed(begun: Arc<AtomicBool>) -> io::Result<()> {
    let mut leash = io::stdout().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    std::thread::spawn(move || {
        // What is started by hand is not held by anybody.
        if !matches!(leash.read(&mut [0]), Ok(0)) {
            return;
        }
        if begun.load(Ordering::Relaxed) {
            reactor::terminate();
            std::thread::sleep(END_MAX);
        }
        std::process::exit(0);
    });
    Ok(())
}

/// One order, from greeting to result.
fn attend(mut stream: TcpStream, key: Option<&Key>, typed: &AgentArgs) -> Result<(), String> {
    let begun = Arc::new(AtomicBool::new(false));
    heed(begun.clone()).map_err(|error| error.to_string())?;
    greet(&mut stream, End::Acceptor, key).map_err(|error| error.to_string())?;
    let Told::Order(words, seed) = hear(&mut stream, ANSWER_MAX)? else {
        return Err("an order was expected".to_owned());
    };
    let mut run = match meant(&words, seed, typed) {
        Ok(run) => run,
        Err(why) => return say(&mut stream, &Says::No(why)),
    };
    let cores = if run.cores.is_empty() { reactor::allowed_cores() } else { run.cores.clone() };
    say(&mut stream, &Says::Ready(cores.len() as u16))?;
    let Told::Begin(first, all) = hear(&mut stream, ANSWER_MAX)? else {
        return Err("a beginning was expected".to_owned());
    };
    run.load.part = Some(Part { first, all });
    let mut others = stream.try_clone().map_err(|error| error.to_string())?;
    let load = run.load.clone();
    let prepared = move || {
        let told = say(&mut others, &Says::Prepared).and_then(|()| hear(&mut others, PREPARE_MAX));
        match told {
            Ok(Told::Go) => Ok(load.clone()),
            Ok(_) => Err(Fatal::misuse("a go was expected")),
            Err(why) => Err(Fatal::misuse(format!("who ordered the run is gone: {why}"))),
        }
    };
    begun.store(true, Ordering::Relaxed);
    match here(&run, Some(Box::new(prepared))) {
        Ok((outcomes, busy)) => {
            say(&mut stream, &Says::Found(outcomes.iter().map(Packed::new).collect(), busy))
        }
        Err(fatal) => say(&mut stream, &Says::No(fatal.sentence)),
    }
}

/// What an order's words mean here.
fn meant(ordered: &[String], seed: u64, agent: &AgentArgs) -> Result<Run, String> {
    let (mut typed, command) = words::run(ordered).map_err(|fatal| fatal.sentence)?;
    let file = typed.body.as_ref().is_some_and(|body| body.starts_with('@'));
    if file
        || typed.out.is_some()
        || typed.events.is_some()
        || typed.history.is_some()
        || typed.metric.is_some()
    {
        return Err("an agent reads no file and writes none".to_owned());
    }
    typed.agents.clear();
    typed.cores.clone_from(&agent.cores);
    Run::mean(*typed, command, seed).map_err(|fatal| fatal.sentence)
}

/// Has the agents of this run do it; what all their cores found, and how busy the busiest was.
///
/// # Errors
/// A sentence, when one cannot be reached or cannot do it.
pub fn elsewhere(run: &Run) -> Result<(Vec<Outcomes>, Option<f64>), Fatal> {
    let key = run.key_file.as_deref().map(key).transpose()?;
    let mut ordered = run.words.clone();
    for names in OWN {
        words::take(&mut ordered, names)?;
    }
    ordered.retain(|word| word != "--strict");
    let mut agents = Vec::new();
    for name in &run.agents {
        let mut agent = Agent::reach(name, key.as_ref())?;
        agent.tell(&Told::Order(ordered.clone(), run.load.seed))?;
        match agent.listen(ANSWER_MAX)? {
            Says::Ready(cores) => agent.cores = cores,
            other => return Err(agent.said(&other)),
        }
        agents.push(agent);
    }
    let all = agents.iter().map(|agent| usize::from(agent.cores)).sum::<usize>();
    let all = u16::try_from(all)
        .map_err(|_| Fatal::misuse(format!("{all} cores are more than can be numbered")))?;
    let mut first = 0;
    for agent in &mut agents {
        agent.tell(&Told::Begin(first, all))?;
        first += agent.cores;
    }
    for agent in &mut agents {
        match agent.listen(PREPARE_MAX)? {
            Says::Prepared => {}
            other => return Err(agent.said(&other)),
        }
    }
    eprintln!("{} agents with {all} cores are ready", agents.len());
    for agent in &mut agents {
        agent.tell(&Told::Go)?;
    }
    let takes = run.load.duration.map_or(UNBOUNDED_MAX, |duration| run.load.warm_up + duration + BEYOND_MAX);
    let (mut outcomes, mut busiest) = (Vec::new(), None);
    for agent in &mut agents {
        match agent.listen(takes)? {
            Says::Found(cores, busy) => {
                for core in cores {
                    outcomes.push(core.open().map_err(|why| agent.fails(&why))?);
                }
                busiest = busy.into_iter().chain(busiest).reduce(f64::max);
            }
            other => return Err(agent.said(&other)),
        }
    }
    Ok((outcomes, busiest))
}

/// An agent, as who orders sees it.
struct Agent {
    name: String,
    stream: TcpStream,
    cores: u16,
}

impl Agent {
    fn reach(name: &str, key: Option<&Key>) -> Result<Self, Fatal> {
        let wrong = |error: io::Error| Fatal {
            status: STATUS_UNREACHABLE,
            sentence: format!("agent {name} cannot be reached: {error}"),
        };
        let address = name.to_socket_addrs().map_err(wrong)?.next();
        let address = address.ok_or_else(|| wrong(io::Error::other("the host has no address")))?;
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX).map_err(wrong)?;
        greet(&mut stream, End::Dialler, key).map_err(|error| Fatal {
            status: STATUS_UNREACHABLE,
            sentence: format!("agent {name}: {error}"),
        })?;
        Ok(Self { name: name.to_owned(), stream, cores: 0 })
    }

    fn tell(&mut self, told: &Told) -> Result<(), Fatal> {
        say(&mut self.stream, told).map_err(|why| self.fails(&why))
    }

    fn listen(&mut self, most: Duration) -> Result<Says, Fatal> {
        hear(&mut self.stream, most).map_err(|why| self.fails(&why))
    }

    fn fails(&self, why: &str) -> Fatal {
        Fatal { status: STATUS_UNREACHABLE, sentence: format!("agent {}: {why}", self.name) }
    }

    fn said(&self, says: &Says) -> Fatal {
        match says {
            Says::No(why) => self.fails(why),
            Says::Found(..) => self.fails("it ended before it began: can it reach the target?"),
            Says::Ready(_) | Says::Prepared => self.fails("it spoke out of turn"),
        }
    }
}

/// The key in this file.
fn key(file: &Path) -> Result<Key, Fatal> {
    let wrong = |why: String| Fatal::misuse(format!("--key-file {}: {why}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    Key::new(&bytes).ok_or_else(|| wrong(format!("a key has at least {} bytes", wire::proof::KEY_MIN)))
}

/// Both hellos, and where there is a key both proofs. Who refuses a greeting closes without a word, so an end that comes
/// here has few reasons.
fn greet(stream: &mut TcpStream, we: End, key: Option<&Key>) -> io::Result<()> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof, WouldBlock};
    let closed = match key {
        None => "it may want a key (--key-file)",
        Some(_) => "it may have no key or another one (--key-file)",
    };
    exchange(stream, we, key).map_err(|error| match error.kind() {
        UnexpectedEof | ConnectionReset | BrokenPipe => io::Error::other(format!(
            "it closed the connection in the greeting: {closed}, or speak another version"
        )),
        WouldBlock => io::Error::other(format!(
            "it was silent in the greeting for {} s: it may be busy with another order",
            ANSWER_MAX.as_secs()
        )),
        _ => error,
    })
}

fn exchange(stream: &mut TcpStream, we: End, key: Option<&Key>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let challenge = key.map(|_| challenge()).transpose()?;
    let ours = Hello { system: "loadgen", version: VERSION, node: 0, core: 0, challenge };
    let mut said = Vec::new();
    write_hello(&mut said, &ours);
    if we == End::Dialler {
        stream.write_all(&said)?;
    }
    let heard = hear_hello(stream, &ours)?;
    let theirs = match read_hello(&heard, &ours) {
        Outcome::Done { value, .. } => value,
        Outcome::Partial { .. } => return Err(io::Error::other("its greeting has no end")),
        Outcome::Fault(refusal) => return Err(io::Error::other(refused(&refusal))),
    };
    if we == End::Acceptor {
        stream.write_all(&said)?;
    }
    let Some(key) = key else { return Ok(()) };
    let (dialler, acceptor, they) = match we {
        End::Dialler => (&ours, &theirs, End::Acceptor),
        End::Acceptor => (&theirs, &ours, End::Dialler),
    };
    stream.write_all(&key.proof(we, dialler, acceptor))?;
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof)?;
    match key.is_proved(they, dialler, acceptor, &proof) {
        true => Ok(()),
        false => Err(io::Error::other("it has another key: give both the same --key-file")),
    }
}

/// Why there is no conversation, in the words of agents: a link is between nodes.
fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Stranger => "what it said is no greeting of loadgen".to_owned(),
        Refusal::Keyless => "it has no key and we have one: give both the same --key-file".to_owned(),
        Refusal::Keyed => "it has a key and we have none: give both the same --key-file".to_owned(),
        other => other.to_string(),
    }
}

/// The bytes of a hello, and no more: what follows is somebody else's to read.
fn hear_hello(stream: &mut TcpStream, ours: &Hello<'_>) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    let mut byte = [0];
    loop {
        match read_hello(&heard, ours) {
            Outcome::Partial { .. } => {
                stream.read_exact(&mut byte)?;
                heard.push(byte[0]);
            }
            Outcome::Done { .. } | Outcome::Fault(_) => return Ok(heard),
        }
    }
}

fn challenge() -> io::Result<Challenge> {
    let mut bytes = [0; CHALLENGE];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes a message: four bytes of length, and JSON.
fn say(stream: &mut TcpStream, message: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= MESSAGE_MAX);
    let length = length.ok_or_else(|| format!("{} bytes are too many for a message", text.len()))?;
    let sent = stream.write_all(&length.to_be_bytes()).and_then(|()| stream.write_all(&text));
    sent.map_err(|error| error.to_string())
}

/// Reads one, that must have begun within that time. Memory is taken as bytes come, not as they are announced.
fn hear<T: DeserializeOwned>(stream: &mut TcpStream, most: Duration) -> Result<T, String> {
    let wrong = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        io::ErrorKind::WouldBlock => format!("it was silent for {} s", most.as_secs()),
        _ => error.to_string(),
    };
    stream.set_read_timeout(Some(most)).map_err(wrong)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(wrong)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MESSAGE_MAX {
        return Err(format!("a message of {length} bytes is over the bound of {MESSAGE_MAX}"));
    }
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(wrong)?;
    let mut text = Vec::new();
    stream.take(length as u64).read_to_end(&mut text).map_err(wrong)?;
    serde_json::from_slice(&text).map_err(|error| format!("it said what is no message: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the one who dials and the one who accepts say of a greeting with these keys.
    fn greeted(dialler: Option<&Key>, acceptor: Option<&Key>) -> [Result<(), String>; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        std::thread::scope(|scope| {
            let accepts = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                greet(&mut stream, End::Acceptor, acceptor)
            });
            let dials = greet(&mut stream, End::Dialler, dialler);
            [dials, accepts.join().unwrap()].map(|end| end.map_err(|error| error.to_string()))
        })
    }

    #[test]
    fn a_greeting_that_fails_names_the_key() {
        let key = Key::new(b"a key of more than sixteen bytes").unwrap();
        assert_eq!(greeted(None, None), [Ok(()), Ok(())]);
        assert_eq!(greeted(Some(&key), Some(&key)), [Ok(()), Ok(())]);
        let [dials, accepts] = greeted(None, Some(&key));
        assert!(
            dials.is_err_and(|why| why.contains("closed the connection in the greeting: it may want a key"))
        );
        assert!(accepts.is_err_and(|why| why.starts_with("it has no key and we have one")));
        let [dials, accepts] = greeted(Some(&key), None);
        assert!(dials.is_err_and(|why| why.contains("it may have no key or another one (--key-file)")));
        assert!(accepts.is_err_and(|why| why.starts_with("it has a key and we have none")));
    }
}
