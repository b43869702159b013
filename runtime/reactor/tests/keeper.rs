//! The keeper with real processes. Each test is a program of its own: this binary, started again with the name of
//! a part to play, because a keeper must be forked before there is a thread, and because one of the parts is to be
//! killed.

use libtest_mimic::{Arguments, Failed, Trial};
use machine::{ChildEvent, ChildId, Command, CoreId, Limit, PipeKind, Signal};
use reactor::keeper::{Keeper, KeeperSeat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// So long a test waits before it calls a thing hung. Nothing here is measured.
const PATIENCE: Duration = Duration::from_secs(60);

const PART: &str = "KEEPER_TEST_PART";

type Part = fn();

const PARTS: &[(&str, Part)] = &[
    ("a_child_is_started_heard_and_its_status_told", heard_and_status),
    ("input_reaches_a_child_and_its_end_is_seen", input_and_end),
    ("a_child_inherits_nothing_but_what_was_said", inherits_nothing),
    ("limits_hold", limits_hold),
    ("a_signal_reaches_grandchildren", signal_reaches_grandchildren),
    ("what_is_left_of_a_group_ends_with_its_leader", group_ends_with_leader),
    ("an_unstartable_program_is_a_sentence", unstartable),
    ("two_hundred_children_at_once_leave_no_zombie", two_hundred),
    ("cores_hear_only_of_their_own_children", two_cores),
    ("a_slow_core_holds_up_nobody", slow_core),
    ("an_adopted_grandchild_is_reaped", adopted_is_reaped),
    ("when_all_seats_are_gone_no_child_is_left", clean_end),
    ("a_killed_keeper_takes_its_children_along_and_says_so", keeper_killed),
];

fn main() {
    if let Ok(part) = std::env::var(PART) {
        if part == "to_be_killed" {
            return to_be_killed();
        }
        let (_, play) = PARTS.iter().find(|(name, _)| *name == part).expect("a part of that name");
        return play();
    }
    let mut trials: Vec<Trial> =
        PARTS.iter().map(|(name, _)| Trial::test(*name, move || run_part(name))).collect();
    trials.push(Trial::test("a_program_killed_with_9_leaves_no_process", killed_leaves_nothing));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn this_binary(part: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.env(PART, part);
    command
}

fn run_part(name: &str) -> Result<(), Failed> {
    let output = this_binary(name).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// Waits for something without measuring how long it takes.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "hung: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A shell command with its output piped to us.
fn shell(script: &str) -> Command {
    Command {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        pipes: vec![PipeKind::Output],
        ..Command::default()
    }
}

fn fork_one() -> (Keeper, KeeperSeat) {
    let mut keeper = Keeper::fork(1).unwrap();
    let seat = keeper.seat(CoreId(0));
    (keeper, seat)
}

/// Everything that was heard of the children of one seat.
#[derive(Default)]
struct Heard {
    started: BTreeMap<ChildId, u32>,
    pipes: BTreeMap<(ChildId, PipeKind), OwnedFd>,
    ends: BTreeMap<ChildId, ChildEvent>,
}

impl Heard {
    fn listen(&mut self, seat: &mut KeeperSeat) {
        seat.flush();
        while let Some(event) = seat.receive() {
            for (kind, end) in event.pipes {
                assert!(self.pipes.insert((event.child, kind), end).is_none());
            }
            match event.what {
                ChildEvent::Started { pid } => assert!(self.started.insert(event.child, pid).is_none()),
                end => assert!(self.ends.insert(event.child, end).is_none(), "an end is told once"),
            }
        }
    }

    fn wait_start(&mut self, seat: &mut KeeperSeat, child: ChildId) -> u32 {
        until("a start", || {
            self.listen(seat);
            assert!(!matches!(self.ends.get(&child), Some(ChildEvent::Unstarted(_))), "{:?}", self.ends);
            self.started.get(&child).copied()
        })
    }

    fn wait_end(&mut self, seat: &mut KeeperSeat, child: ChildId) -> ChildEvent {
        until("an end", || {
            self.listen(seat);
            self.ends.get(&child).cloned()
        })
    }

    fn take(&mut self, child: ChildId, kind: PipeKind) -> Pipe {
        Pipe {
            file: File::from(self.pipes.remove(&(child, kind)).expect("the pipe asked for")),
            unread: Vec::new(),
        }
    }
}

/// Our end of a pipe, which is nonblocking.
struct Pipe {
    file: File,
    unread: Vec<u8>,
}

impl Pipe {
    /// Reads what is there; says whether the end was reached.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return true,
                Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn read_to_end(mut self) -> String {
        until("the end of output", || self.fill().then_some(()));
        String::from_utf8(self.unread).unwrap()
    }

    fn line(&mut self) -> String {
        let at = until("a line", || {
            self.fill();
            self.unread.iter().position(|byte| *byte == b'\n')
        });
        let line = self.unread.drain(..=at).collect();
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }
}

/// Runs a command to its end; its output and its end.
fn run_to_end(seat: &mut KeeperSeat, command: &Command) -> (String, ChildEvent) {
    let mut heard = Heard::default();
    let child = seat.next_child();
    seat.spawn(child, command);
    heard.wait_start(seat, child);
    let output = heard.take(child, PipeKind::Output).read_to_end();
    (output, heard.wait_end(seat, child))
}

/// Whether there is such a process, dead and unreaped ones included.
fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

fn wait_gone(pid: u32) {
    until("a process to be gone", || (!exists(pid)).then_some(()));
}

/// State and parent, as /proc tells them.
fn state_of(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
}

fn heard_and_status() {
    let (_keeper, mut seat) = fork_one();
    assert_eq!(
        run_to_end(&mut seat, &shell("echo hello; exit 7")),
        ("hello\n".to_owned(), ChildEvent::Exited(7))
    );
    let (_, end) = run_to_end(&mut seat, &shell("kill -TERM $$"));
    assert_eq!(end, ChildEvent::Killed(libc::SIGTERM));
    assert_eq!(seat.children(), 0);
}

fn input_and_end() {
    let (_keeper, mut seat) = fork_one();
    let command = Command {
        program: "sh".into(),
        args: vec!["-c".into(), "cat; echo done >&2".into()],
        pipes: vec![PipeKind::Error, PipeKind::Input, PipeKind::Output],
        ..Command::default()
    };
    let mut heard = Heard::default();
    let child = seat.next_child();
    seat.spawn(child, &command);
    heard.wait_start(&mut seat, child);
    let mut input = heard.take(child, PipeKind::Input);
    input.file.write_all(b"back and forth").unwrap();
    drop(input);
    assert_eq!(heard.take(child, PipeKind::Output).read_to_end(), "back and forth");
    assert_eq!(heard.take(child, PipeKind::Error).read_to_end(), "done\n");
    assert_eq!(heard.wait_end(&mut seat, child), ChildEvent::Exited(0));
}

fn inherits_nothing() {
    let (_keeper, mut seat) = fork_one();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let all = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    // SAFETY: plain system calls; what they change is this process, which exists for this test.
    unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut one);
        let first = (0..libc::CPU_SETSIZE as usize).find(|cpu| libc::CPU_ISSET(*cpu, &one)).unwrap();
        libc::CPU_ZERO(&mut one);
        libc::CPU_SET(first, &mut one);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one), 0);
    }
    let mut command =
        shell("env; pwd; ls /proc/self/fd; cat /proc/self/status; cut -d' ' -f5 /proc/self/stat; echo $$");
    command.env = vec![("COLOUR".into(), "blue".into())];
    command.dir = Some("/usr".into());
    let (output, end) = run_to_end(&mut seat, &command);
    assert_eq!(end, ChildEvent::Exited(0));
    let lines: Vec<_> = output.lines().collect();
    let names: Vec<_> = lines.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.contains(&"COLOUR") && names.contains(&"PATH"), "{output}");
    assert!(!names.contains(&PART) && !names.contains(&"CARGO_MANIFEST_DIR"), "{output}");
    assert!(lines.contains(&"/usr"));
    let numbers: Vec<u32> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    // 0, 1, 2 and the one with which ls reads the directory; then the group and the process, which are the same.
    assert_eq!(numbers[..4], [0, 1, 2, 3], "{output}");
    let field = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("SigBlk:").trim_start_matches('0'), "");
    assert_eq!(field("SigIgn:").trim_start_matches('0'), "");
    assert_eq!(field("Cpus_allowed_list:"), all, "where the program was allowed when it began");
    let last = numbers.last().unwrap();
    assert_eq!(
        lines.iter().filter(|line| line.trim() == last.to_string()).count(),
        2,
        "leads its group: {output}"
    );
}

fn limits_hold() {
    let (_keeper, mut seat) = fork_one();
    let mut files = shell("ulimit -n; ulimit -Hn");
    files.limits = vec![Limit::Files(33)];
    assert_eq!(run_to_end(&mut seat, &files).0, "33\n33\n");
    let mut spin = shell("while :; do :; done");
    spin.limits = vec![Limit::Cpu(Duration::from_millis(100))];
    assert_eq!(run_to_end(&mut seat, &spin).1, ChildEvent::Killed(libc::SIGXCPU));
    let mut big = shell("head -c 5000 /dev/zero > /tmp/keeper-test-$$; rm /tmp/keeper-test-$$");
    big.limits = vec![Limit::FileSize(4096), Limit::Memory(1 << 30), Limit::Processes(100_000)];
    big.args[1] = format!("{}; echo tried", big.args[1]).into();
    assert_eq!(run_to_end(&mut seat, &big).0, "tried\n");
    let mut memory = shell("ulimit -v");
    memory.limits = vec![Limit::Memory(1 << 30)];
    assert_eq!(run_to_end(&mut seat, &memory).0, "1048576\n");
}

fn signal_reaches_grandchildren() {
    let (_keeper, mut seat) = fork_one();
    let mut heard = Heard::default();
    let child = seat.next_child();
    // "exec", because a shell that waits in vfork for a child that was stopped is not itself seen as stopped.
    seat.spawn(child, &shell("sleep 1000 & echo $!; sh -c 'echo $$; exec sleep 1000' & wait"));
    heard.wait_start(&mut seat, child);
    let mut output = heard.take(child, PipeKind::Output);
    let grandchildren = [output.line(), output.line()].map(|line| line.parse().unwrap());
    assert!(grandchildren.into_iter().all(exists));
    seat.signal(child, Signal::Stop);
    seat.flush();
    for pid in grandchildren {
        until("a stop", || (state_of(pid).unwrap().0 == "T").then_some(()));
    }
    seat.signal(child, Signal::Continue);
    seat.signal(child, Signal::Terminate);
    assert_eq!(heard.wait_end(&mut seat, child), ChildEvent::Killed(libc::SIGTERM));
    grandchildren.into_iter().for_each(wait_gone);
    output.read_to_end();
}

fn group_ends_with_leader() {
    let (_keeper, mut seat) = fork_one();
    let (output, end) = run_to_end(&mut seat, &shell("sleep 1000 & echo $!; exit 3"));
    assert_eq!(end, ChildEvent::Exited(3));
    wait_gone(output.trim().parse().unwrap());
}

fn unstartable() {
    let (_keeper, mut seat) = fork_one();
    let none = Command { program: "no-such-program-here".into(), ..Command::default() };
    let not_executable = Command { program: "/etc/passwd".into(), ..Command::default() };
    let nowhere =
        Command { program: "true".into(), dir: Some("/no/such/place".into()), ..Command::default() };
    let zero = Command { program: "true".into(), args: vec!["a\0b".into()], ..Command::default() };
    let long =
        Command { program: "true".into(), args: vec!["x".repeat(200_000).into()], ..Command::default() };
    let table = [
        (none, "cannot start no-such-program-here: No such file"),
        (not_executable, "cannot start /etc/passwd: Permission denied"),
        (nowhere, "there is no directory /no/such/place"),
        (zero, "nul byte"),
        (long, "its arguments and environment take 200"),
    ];
    for (command, expected) in table {
        let child = seat.next_child();
        seat.spawn(child, &command);
        let ChildEvent::Unstarted(sentence) = Heard::default().wait_end(&mut seat, child) else {
            panic!("{command:?} cannot start");
        };
        assert!(sentence.contains(expected), "{sentence}");
    }
    assert_eq!(run_to_end(&mut seat, &shell("exit 0")).1, ChildEvent::Exited(0));
}

fn two_hundred() {
    let (keeper, mut seat) = fork_one();
    let mut heard = Heard::default();
    let children: Vec<_> = (0..200).map(|_| seat.next_child()).collect();
    for child in &children {
        let mut command = shell("cat; exit 5");
        command.pipes.push(PipeKind::Input);
        seat.spawn(*child, &command);
    }
    until("all to start", || {
        heard.listen(&mut seat);
        (heard.started.len() == children.len()).then_some(())
    });
    assert!(heard.started.values().all(|pid| exists(*pid)), "all live at once");
    heard.pipes.clear();
    for child in &children {
        assert_eq!(heard.wait_end(&mut seat, *child), ChildEvent::Exited(5));
    }
    let left: Vec<_> = processes()
        .filter(|pid| state_of(*pid).is_some_and(|(_, parent)| parent == keeper.process()))
        .collect();
    assert_eq!(left, [] as [u32; 0], "the keeper has no child left, not even a dead one");
}

fn two_cores() {
    let mut keeper = Keeper::fork(2).unwrap();
    let mut seats = [keeper.seat(CoreId(0)), keeper.seat(CoreId(1))];
    let mut heard = [Heard::default(), Heard::default()];
    let children = [seats[0].next_child(), seats[1].next_child()];
    assert_ne!(children[0], children[1]);
    for core in 0..2 {
        seats[core].spawn(children[core], &shell(&format!("echo {core}; sleep 1000")));
        heard[core].wait_start(&mut seats[core], children[core]);
        assert_eq!(heard[core].take(children[core], PipeKind::Output).line(), core.to_string());
    }
    let [first, mut second] = seats;
    drop(first);
    wait_gone(heard[0].started[&children[0]]);
    heard[1].listen(&mut second);
    assert!(heard[1].ends.is_empty());
    second.signal(children[1], Signal::Kill);
    assert_eq!(heard[1].wait_end(&mut second, children[1]), ChildEvent::Killed(libc::SIGKILL));
    assert_eq!(heard[1].ends.len(), 1);
}

fn slow_core() {
    let mut keeper = Keeper::fork(2).unwrap();
    let (mut slow, mut quick) = (keeper.seat(CoreId(0)), keeper.seat(CoreId(1)));
    let nothing = Command { program: "/no/such/program".into(), ..Command::default() };
    let mut asked = Vec::new();
    // More than both sockets and the keeper's queue hold, and nothing of it is taken for now.
    for _ in 0..3000 {
        let child = slow.next_child();
        slow.spawn(child, &nothing);
        slow.flush();
        asked.push(child);
    }
    assert_eq!(run_to_end(&mut quick, &shell("echo through")).0, "through\n");
    let mut heard = Heard::default();
    until("the slow one's answers", || {
        heard.listen(&mut slow);
        (heard.ends.len() == asked.len()).then_some(())
    });
}

fn adopted_is_reaped() {
    let (keeper, mut seat) = fork_one();
    let mut heard = Heard::default();
    let child = seat.next_child();
    // The middle one leaves, so its child, in a session of its own, comes to the keeper.
    seat.spawn(
        child,
        &shell("setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 1000\" & exit 0'; sleep 1000"),
    );
    heard.wait_start(&mut seat, child);
    let orphan: u32 = heard.take(child, PipeKind::Output).line().parse().unwrap();
    until("an adoption", || state_of(orphan).filter(|(_, parent)| *parent == keeper.process()));
    // SAFETY: kill takes numbers; the process was started above and is not yet reaped.
    unsafe { libc::kill(orphan.cast_signed(), libc::SIGKILL) };
    wait_gone(orphan);
    heard.listen(&mut seat);
    assert!(heard.ends.is_empty(), "nobody is told of it");
}

fn clean_end() {
    let (keeper, mut seat) = fork_one();
    let mut heard = Heard::default();
    let child = seat.next_child();
    seat.spawn(child, &shell("trap '' TERM INT HUP; setsid sleep 1000 & echo $!; sleep 1000"));
    let leader = heard.wait_start(&mut seat, child);
    let stray: u32 = heard.take(child, PipeKind::Output).line().parse().unwrap();
    drop(seat);
    keeper.wait();
    assert!(!exists(leader) && !exists(stray));
}

fn keeper_killed() {
    let (keeper, mut seat) = fork_one();
    let mut heard = Heard::default();
    let child = seat.next_child();
    seat.spawn(child, &shell("sleep 1000 & echo $!; wait"));
    let leader = heard.wait_start(&mut seat, child);
    let grandchild = heard.take(child, PipeKind::Output).line().parse().unwrap();
    // SAFETY: kill takes numbers; the keeper is our child and not yet reaped.
    unsafe { libc::kill(keeper.process().cast_signed(), libc::SIGKILL) };
    assert_eq!(heard.wait_end(&mut seat, child), ChildEvent::Killed(libc::SIGKILL));
    for pid in [leader, grandchild] {
        until("the group to end", || state_of(pid).is_none_or(|(state, _)| state == "Z").then_some(()));
    }
}

/// The part that is killed: starts a tree of processes on two cores and says who they are.
fn to_be_killed() {
    let mut keeper = Keeper::fork(2).unwrap();
    println!("{}", keeper.process());
    let mut seats = [keeper.seat(CoreId(0)), keeper.seat(CoreId(1))];
    for seat in &mut seats {
        let mut heard = Heard::default();
        let child = seat.next_child();
        seat.spawn(child, &shell("sleep 1000 & echo $!; setsid sh -c 'echo $$; sleep 1000' & sleep 1000"));
        println!("{}", heard.wait_start(seat, child));
        let mut output = heard.take(child, PipeKind::Output);
        println!("{}\n{}", output.line(), output.line());
    }
    println!("all");
    loop {
        std::thread::sleep(PATIENCE);
    }
}

fn killed_leaves_nothing() -> Result<(), Failed> {
    let mut program: Child = this_binary("to_be_killed").stdout(Stdio::piped()).spawn().unwrap();
    let mut pids: Vec<u32> = Vec::new();
    for line in BufReader::new(program.stdout.take().unwrap()).lines() {
        match line.unwrap().parse() {
            Ok(pid) => pids.push(pid),
            Err(_) => break,
        }
    }
    assert_eq!(pids.len(), 7, "the keeper, and two trees of three");
    assert!(pids.iter().all(|pid| exists(*pid)));
    program.kill().unwrap();
    program.wait().unwrap();
    for pid in pids {
        // The keeper goes to whoever adopts us, and may stay there as a dead one until it is waited for.
        until("all to be gone", || state_of(pid).is_none_or(|(state, _)| state == "Z").then_some(()));
    }
    Ok(())
}
