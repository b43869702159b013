//! The program's side when another process is to take over: starts it, tells it what there is, and hears how far it
//! has come. On a thread of its own, because the other takes its time, and the main thread has signals to attend to.

use crate::Fatal;
use crate::handover::{Line, PROTOCOL, Word, variable};
use crate::keeper::Keeper;
use crate::listen::Doors;
use flume::{Receiver, Sender};
use machine::CoreId;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long the other may take from knowing all to serving. Meanwhile what is new to us is lost to it.
const SERVING_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether it is still there.
const LOOK: Duration = Duration::from_millis(50);

/// How far the other process has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for what cores bequeath.
    Ready,
    /// It serves: we may go.
    Serves,
    /// It will not take over. The sentence says why.
    Failed(String),
}

/// The other process, as the main thread knows it.
pub(crate) struct Heir {
    pub(crate) progress: Receiver<Progress>,
    legacies: Sender<Vec<(CoreId, Vec<u8>)>>,
    process: u32,
}

impl Heir {
    /// Starts it by the command line of this process.
    ///
    /// # Errors
    /// What the kernel refuses; then nothing has changed.
    pub(crate) fn start(doors: &Doors, keeper: Option<&Keeper>) -> Result<Self, Fatal> {
        let cannot = |error: io::Error| Fatal::machine(format!("no program can take over: {error}"));
        let (ours, theirs) = Line::pair().map_err(cannot)?;
        let child = spawn(theirs).map_err(cannot)?;
        let process = child.id();
        let (tell, progress) = flume::unbounded();
        let (legacies, legacies_end) = flume::bounded(1);
        let doors = doors.clone();
        let keeper = keeper.map(Keeper::door).transpose().map_err(cannot)?;
        let converse = move || {
            let mut talk = Talk { line: ours, child };
            let outcome = talk.tell_what_there_is(&doors, keeper.as_ref());
            // While it is held the keeper thinks that somebody is there.
            drop((doors, keeper));
            let outcome = outcome.and_then(|()| {
                let _ = tell.send(Progress::Ready);
                talk.tell_legacies(&legacies_end)
            });
            let _ = tell.send(match outcome {
                Ok(()) => Progress::Serves,
                Err(why) => Progress::Failed(talk.give_up(&why)),
            });
            // If it ends before us somebody must take note, or it stays as a zombie.
            let _ = talk.child.wait();
        };
        std::thread::Builder::new().name("heir".into()).spawn(converse).map_err(cannot)?;
        Ok(Self { progress, legacies, process })
    }

    /// This program ends, and the other has not come to serve: it ends too.
    pub(crate) fn abandon(self) {
        let is_over = self.progress.try_iter().any(|progress| progress != Progress::Ready);
        if !is_over {
            // SAFETY: kill takes numbers. It is our child, which its thread has not reaped before it told us.
            unsafe { libc::kill(self.process.cast_signed(), libc::SIGKILL) };
        }
    }

    /// What all cores bequeath.
    pub(crate) fn tell(&self, legacies: Vec<(CoreId, Vec<u8>)>) {
        let _ = self.legacies.send(legacies);
    }
}

fn spawn(line: Line) -> io::Result<Child> {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let inherited = inheritable(line.socket())?;
    let (name, value) = variable(inherited.as_raw_fd());
    let start = |program: &std::ffi::OsStr, words: std::env::ArgsOs| {
        Command::new(program).args(words).env(name, &value).spawn()
    };
    match start(&program, words) {
        // It may have been started by a name that this directory or PATH no longer knows.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let own = std::env::current_exe()?;
            let text = own.to_string_lossy();
            let mut words = std::env::args_os();
            words.next();
            start(text.strip_suffix(" (deleted)").unwrap_or(&text).as_ref(), words)
        }
        outcome => outcome,
    }
}

/// A duplicate that the next program keeps. Nobody else starts programs from here: that is the keeper's.
fn inheritable(socket: &OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    // SAFETY: duplicates a descriptor of ours; without close-on-exec, over the standard streams.
    let fd = crate::keeper::socket::check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD, 3) })?;
    // SAFETY: it was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

struct Talk {
    line: Line,
    child: Child,
}

impl Talk {
    fn tell_what_there_is(&mut self, doors: &Doors, keeper: Option<&Keeper>) -> io::Result<()> {
        let cores = match self.line.hear()?.0 {
            Word::Hello(PROTOCOL, cores) => usize::from(cores),
            Word::Hello(version, _) => {
                let words =
                    format!("it speaks version {version} of handing over, and this program {PROTOCOL}");
                return Err(io::Error::other(words));
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        for door in doors.bequest()? {
            self.line.say(&Word::Door(door.asked, door.found), None)?;
            for socket in door.sockets {
                self.line.say(&Word::Listener, Some(socket))?;
            }
        }
        if let Some(keeper) = keeper {
            let share = keeper.share(cores)?;
            self.line.say(&Word::Keeper(share.process, share.generation), None)?;
            for socket in share.sockets {
                self.line.say(&Word::Seat, Some(socket))?;
            }
        }
        self.line.say(&Word::Had, None)?;
        match self.line.hear()?.0 {
            Word::Ready => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn tell_legacies(&mut self, legacies: &Receiver<Vec<(CoreId, Vec<u8>)>>) -> io::Result<()> {
        // Cores take their time, and meanwhile the other may end.
        let all = loop {
            match legacies.recv_timeout(LOOK) {
                Ok(all) => break all,
                Err(flume::RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::Interrupted.into()),
                Err(flume::RecvTimeoutError::Timeout) => {
                    if let Some(status) = self.child.try_wait()? {
                        return Err(io::Error::other(format!("it ended with {status}")));
                    }
                }
            }
        };
        for (core, legacy) in all {
            self.line.say_legacy(core, &legacy)?;
        }
        self.line.say(&Word::Legacies, None)?;
        let until = Instant::now() + SERVING_MAX;
        while !self.line.has_heard(LOOK)? {
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        match self.line.hear()?.0 {
            Word::Serves => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// It must be gone before we say that it failed: it may own what is ours again. The sentence says why it failed.
    fn give_up(&mut self, why: &io::Error) -> String {
        // What ended by itself has a status that says more than the end of its line.
        let until = Instant::now() + Duration::from_millis(500);
        let mut ended = self.child.try_wait().ok().flatten();
        while ended.is_none() && why.kind() == io::ErrorKind::UnexpectedEof && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            ended = self.child.try_wait().ok().flatten();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        match ended {
            Some(status) => format!("the program that was to take over ended with {status}"),
            None => format!("the program that was to take over did not: {why}"),
        }
    }
}
