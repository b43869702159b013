//! A core's seat at the keeper: what it asks is queued and sent without waiting, what the keeper tells is read
//! without waiting. The hard thing is to keep the promise of the seam whatever happens: each spawn gets `Started`
//! or `Unstarted`, each started child an end, once, also when a command is too long, when this program has no
//! descriptor left for the pipes, or when somebody has killed the keeper.

use super::message::{self, Answer};
use super::{MESSAGE_MAX, socket};
use machine::{ChildEvent, ChildId, Command, CoreId, PipeKind, Signal};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The most bytes of requests that wait to be sent. A spawn over it is `Unstarted`; the keeper is then hundreds of
/// starts behind.
pub(super) const UNSENT_MAX: usize = 16 * 1024 * 1024;

/// What the keeper told, and the pipes that came with it.
#[derive(Debug)]
pub struct KeeperEvent {
    /// Of which child.
    pub child: ChildId,
    /// What became of it.
    pub what: ChildEvent,
    /// Our ends of the streams asked for, nonblocking and close-on-exec. Only with `Started`.
    pub pipes: Vec<(PipeKind, OwnedFd)>,
}

/// One core's way to the keeper.
#[derive(Debug)]
pub struct KeeperSeat {
    core: CoreId,
    generation: u16,
    socket: OwnedFd,
    children_made: u64,
    unsent: VecDeque<Unsent>,
    unsent_bytes: usize,
    alive: BTreeMap<ChildId, Standing>,
    told_here: VecDeque<KeeperEvent>,
    keeper_is_gone: bool,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Unsent {
    child: ChildId,
    bytes: Vec<u8>,
}

/// What the shard knows of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Asked,
    Started { pid: u32 },
}

impl KeeperSeat {
    pub(super) fn new(core: CoreId, generation: u16, socket: OwnedFd) -> Self {
        Self {
            core,
            generation,
            socket,
            children_made: 0,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            alive: BTreeMap::new(),
            told_here: VecDeque::new(),
            keeper_is_gone: false,
            buffer: vec![0; message::SENTENCE_MAX + 64].into_boxed_slice(),
        }
    }

    /// The socket, to be polled for reading, and while there is something [`unsent`](Self::unsent) for writing.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// An id for a child of this core that no other has had: the core in the upper 16 bits, then which program of
    /// those that had this keeper, then a count.
    pub fn next_child(&mut self) -> ChildId {
        self.children_made += 1;
        ChildId(u64::from(self.core.0) << 48 | u64::from(self.generation) << 32 | self.children_made)
    }

    /// Asks for a child of another seat to be this one's too. What became of it comes by
    /// [`receive`](Self::receive): `Started` once more, or `Unstarted` when it is no more.
    pub fn adopt(&mut self, child: ChildId) {
        self.alive.insert(child, Standing::Asked);
        self.queue(child, message::write_adopt(child));
    }

    /// Whether the keeper has gone without being asked to, and every child with it.
    #[must_use]
    pub fn keeper_is_gone(&self) -> bool {
        self.keeper_is_gone
    }

    /// How many children of this core have been asked for and not yet ended.
    #[must_use]
    pub fn children(&self) -> usize {
        self.alive.len()
    }

    /// Asks for a child. What became of it comes by [`receive`](Self::receive), also a refusal found here, which
    /// is there at once. Its request leaves with [`flush`](Self::flush).
    pub fn spawn(&mut self, child: ChildId, command: &Command) {
        let bytes = message::write_spawn(child, command);
        self.alive.insert(child, Standing::Asked);
        if bytes.len() > MESSAGE_MAX {
            let sentence = format!(
                "cannot start {}: its arguments and environment take {} bytes of at most {MESSAGE_MAX}",
                shortened(&command.program),
                bytes.len(),
            );
            self.refuse(child, sentence);
        } else if self.unsent_bytes + bytes.len() > UNSENT_MAX {
            self.refuse(child, format!("cannot start {}: too many starts wait", shortened(&command.program)));
        } else {
            self.queue(child, bytes);
        }
    }

    /// Asks to signal the whole group of a child. Nothing happens where it has ended or was never started.
    pub fn signal(&mut self, child: ChildId, signal: Signal) {
        if self.alive.contains_key(&child) {
            self.queue(child, message::write_signal(child, signal));
        }
    }

    /// Sends what waits, as far as it goes without waiting.
    pub fn flush(&mut self) {
        while let Some(first) = self.unsent.front() {
            match socket::send(&self.socket, &first.bytes, &[]) {
                Ok(()) => {
                    self.take_unsent();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => {
                        self.keeper_is_gone = true;
                        self.unsent.clear();
                        self.unsent_bytes = 0;
                    }
                    Some(libc::EMSGSIZE) => {
                        if let Some(Unsent { child, .. }) = self.take_unsent() {
                            let sentence = "cannot start it: its arguments and environment are longer than this \
                                            machine's net.core.wmem_default lets them be";
                            self.refuse(child, sentence.to_owned());
                        }
                    }
                    _ => return,
                },
            }
        }
    }

    /// Whether something waits for room in the socket.
    #[must_use]
    pub fn unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// What the keeper told next. Call it until `None` whenever the socket is readable and after spawning.
    pub fn receive(&mut self) -> Option<KeeperEvent> {
        loop {
            if let Some(event) = self.told_here.pop_front() {
                return Some(event);
            }
            if self.keeper_is_gone {
                return self.bury_next();
            }
            match socket::receive(&self.socket, &mut self.buffer) {
                Ok(packet) if packet.length == 0 => self.keeper_is_gone = true,
                Ok(packet) => {
                    let answer = message::read_answer(&self.buffer[..packet.length]);
                    let answer = answer.expect("the keeper is this program and speaks as it does");
                    if let Some(event) = self.accept(answer, packet.descriptors) {
                        return Some(event);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::ConnectionReset => self.keeper_is_gone = true,
                    _ => return None,
                },
            }
        }
    }

    fn accept(&mut self, answer: Answer, descriptors: Vec<OwnedFd>) -> Option<KeeperEvent> {
        let Answer { child, what, pipes } = answer;
        if !self.alive.contains_key(&child) {
            return None;
        }
        match what {
            ChildEvent::Started { .. } if descriptors.len() < pipes.len() => {
                self.signal(child, Signal::Kill);
                self.flush();
                self.refuse(
                    child,
                    "cannot start it: this process has no descriptor left for its pipes".to_owned(),
                );
                return None;
            }
            ChildEvent::Started { pid } => {
                self.alive.insert(child, Standing::Started { pid });
            }
            ChildEvent::Unstarted(_) | ChildEvent::Exited(_) | ChildEvent::Killed(_) => {
                self.alive.remove(&child);
            }
        }
        Some(KeeperEvent { child, what, pipes: pipes.into_iter().zip(descriptors).collect() })
    }

    /// Without a keeper there are no children: the kernel killed them with it, and what is left of their groups is
    /// killed here.
    fn bury_next(&mut self) -> Option<KeeperEvent> {
        let (child, standing) = self.alive.pop_first()?;
        let what = match standing {
            Standing::Asked => {
                ChildEvent::Unstarted("cannot start it: the keeper of processes is gone".into())
            }
            Standing::Started { pid } => {
                // While a group has a member its id is not given to another. One that has just lost its last could
                // in theory be, if all process ids were handed out in between.
                // SAFETY: kill takes numbers.
                unsafe { libc::kill(-pid.cast_signed(), libc::SIGKILL) };
                ChildEvent::Killed(libc::SIGKILL)
            }
        };
        Some(KeeperEvent { child, what, pipes: Vec::new() })
    }

    fn queue(&mut self, child: ChildId, bytes: Vec<u8>) {
        if self.keeper_is_gone {
            return;
        }
        self.unsent_bytes += bytes.len();
        self.unsent.push_back(Unsent { child, bytes });
    }

    fn take_unsent(&mut self) -> Option<Unsent> {
        let first = self.unsent.pop_front()?;
        self.unsent_bytes -= first.bytes.len();
        Some(first)
    }

    fn refuse(&mut self, child: ChildId, sentence: String) {
        self.alive.remove(&child);
        let what = ChildEvent::Unstarted(sentence.into());
        self.told_here.push_back(KeeperEvent { child, what, pipes: Vec::new() });
    }
}

/// Enough of a name to know it by.
fn shortened(program: &str) -> &str {
    &program[..program.floor_char_boundary(200)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over PID_MAX_LIMIT (2 to the 22): no process and no group.
    const NOBODY: u32 = 1 << 30;

    fn seat() -> (KeeperSeat, OwnedFd) {
        let (ours, theirs) = socket::pair(1 << 16).unwrap();
        (KeeperSeat::new(CoreId(2), 0, ours), theirs)
    }

    fn command(arg: String) -> Command {
        Command { program: "true".into(), args: vec![arg.into()], ..Command::default() }
    }

    fn answer(keeper: &OwnedFd, child: ChildId, what: ChildEvent, pipes: Vec<PipeKind>) {
        socket::send(keeper, &message::write_answer(&Answer { child, what, pipes }), &[]).unwrap();
    }

    #[test]
    fn ids_carry_the_core_and_never_repeat() {
        let (mut seat, _keeper) = seat();
        assert_eq!([seat.next_child(), seat.next_child()], [ChildId(2 << 48 | 1), ChildId(2 << 48 | 2)]);
    }

    #[test]
    fn a_command_too_long_for_a_packet_is_refused_here() {
        let (mut seat, keeper) = seat();
        let child = seat.next_child();
        seat.spawn(child, &command("x".repeat(MESSAGE_MAX)));
        assert!(!seat.unsent());
        let event = seat.receive().unwrap();
        let ChildEvent::Unstarted(sentence) = event.what else { panic!("it cannot start") };
        assert_eq!(event.child, child);
        assert!(sentence.contains("131"), "{sentence}");
        assert!(seat.receive().is_none());
        assert!(socket::receive(&keeper, &mut [0; 16]).is_err(), "nothing was sent");
    }

    #[test]
    fn what_waits_is_bounded_and_kept_while_the_keeper_is_slow() {
        let (mut seat, keeper) = seat();
        let mut refused = 0;
        for _ in 0..200 {
            let child = seat.next_child();
            seat.spawn(child, &command("x".repeat(100_000)));
            seat.flush();
            refused += usize::from(seat.receive().is_some());
        }
        assert!(seat.unsent());
        assert!(refused > 0 && seat.unsent_bytes <= UNSENT_MAX);
        let mut buffer = vec![0; MESSAGE_MAX];
        let mut arrived = 0;
        loop {
            seat.flush();
            let Ok(packet) = socket::receive(&keeper, &mut buffer) else { break };
            assert!(message::read_request(&buffer[..packet.length]).is_some());
            arrived += 1;
        }
        assert_eq!(arrived + refused, 200);
        assert_eq!(seat.unsent_bytes, 0);
    }

    #[test]
    fn every_child_has_an_end_when_the_keeper_is_killed() {
        let (mut seat, keeper) = seat();
        let [started, asked, later] = [seat.next_child(), seat.next_child(), seat.next_child()];
        seat.spawn(started, &command(String::new()));
        seat.spawn(asked, &command(String::new()));
        seat.flush();
        answer(&keeper, started, ChildEvent::Started { pid: NOBODY }, Vec::new());
        assert_eq!(seat.receive().unwrap().what, ChildEvent::Started { pid: NOBODY });
        drop(keeper);
        seat.spawn(later, &command(String::new()));
        seat.flush();
        let ends: Vec<_> =
            std::iter::from_fn(|| seat.receive()).map(|event| (event.child, event.what)).collect();
        assert_eq!(ends.len(), 3);
        assert_eq!(ends[0], (started, ChildEvent::Killed(libc::SIGKILL)));
        assert!(ends[1..].iter().all(|(_, what)| matches!(what, ChildEvent::Unstarted(_))));
        let last = seat.next_child();
        seat.spawn(last, &command(String::new()));
        seat.flush();
        assert!(matches!(seat.receive().unwrap().what, ChildEvent::Unstarted(_)));
    }

    #[test]
    fn a_start_whose_pipes_did_not_fit_is_undone() {
        let (mut seat, keeper) = seat();
        let child = seat.next_child();
        seat.spawn(child, &command(String::new()));
        seat.flush();
        answer(&keeper, child, ChildEvent::Started { pid: NOBODY }, vec![PipeKind::Output]);
        assert!(matches!(seat.receive().unwrap().what, ChildEvent::Unstarted(_)));
        answer(&keeper, child, ChildEvent::Killed(9), Vec::new());
        assert!(seat.receive().is_none(), "nothing follows");
        let mut buffer = [0; 256];
        socket::receive(&keeper, &mut buffer).unwrap();
        let packet = socket::receive(&keeper, &mut buffer).unwrap();
        let kill = message::Request::Signal(child, libc::SIGKILL);
        assert_eq!(message::read_request(&buffer[..packet.length]), Some(kill));
    }

    #[test]
    fn a_signal_to_a_child_that_ended_is_not_sent() {
        let (mut seat, keeper) = seat();
        let child = seat.next_child();
        seat.spawn(child, &command(String::new()));
        seat.flush();
        answer(&keeper, child, ChildEvent::Exited(0), Vec::new());
        assert!(seat.receive().is_some());
        seat.signal(child, Signal::Kill);
        assert!(!seat.unsent());
    }
}
