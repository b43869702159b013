//! What a core and the keeper say to each other, as bytes: one message a packet, the first byte says which. Both
//! ends are one program, or a later one that took over and has made sure that it speaks the same
//! ([`PROTOCOL`](crate::PROTOCOL)); still, what cannot be read is `None` and not a panic, because the
//! keeper must outlive any confusion of the program.

use machine::{ChildEvent, ChildId, Command, Limit, PipeKind, Signal};
use std::time::Duration;

/// The longest sentence of an `Unstarted`, in bytes; longer ones are cut.
pub(super) const SENTENCE_MAX: usize = 1024;

const SPAWN: u8 = 1;
const SIGNAL: u8 = 2;
const STARTED: u8 = 3;
const UNSTARTED: u8 = 4;
const EXITED: u8 = 5;
const KILLED: u8 = 6;
const ADOPT: u8 = 7;
const SEAT: u8 = 8;

/// The order in which a packet carries the ends of pipes.
pub(super) const PIPE_KINDS: [PipeKind; 3] = [PipeKind::Input, PipeKind::Output, PipeKind::Error];

/// What a core asks of the keeper.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Spawn(ChildId, Command),
    /// The signal as the kernel counts them.
    Signal(ChildId, i32),
    /// A child of another seat is this seat's too.
    Adopt(ChildId),
    /// The socket beside it is one more seat: for a process that takes over.
    Seat,
}

/// What the keeper tells a core. The descriptors of `pipes` travel beside the bytes, in that order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) child: ChildId,
    pub(super) what: ChildEvent,
    pub(super) pipes: Vec<PipeKind>,
}

pub(super) fn signal_number(signal: Signal) -> i32 {
    match signal {
        Signal::Interrupt => libc::SIGINT,
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
        Signal::HangUp => libc::SIGHUP,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
        Signal::User1 => libc::SIGUSR1,
        Signal::User2 => libc::SIGUSR2,
    }
}

pub(super) fn write_spawn(child: ChildId, command: &Command) -> Vec<u8> {
    let mut bytes = begin(SPAWN, child);
    put_text(&mut bytes, &command.program);
    put_count(&mut bytes, command.args.len());
    for arg in &command.args {
        put_text(&mut bytes, arg);
    }
    put_count(&mut bytes, command.env.len());
    for (name, value) in &command.env {
        put_text(&mut bytes, name);
        put_text(&mut bytes, value);
    }
    bytes.push(u8::from(command.dir.is_some()));
    put_text(&mut bytes, command.dir.as_deref().unwrap_or(""));
    bytes.push(pipes_to_bits(&command.pipes));
    put_count(&mut bytes, command.limits.len());
    for limit in &command.limits {
        let (kind, bound) = limit_to_numbers(*limit);
        bytes.push(kind);
        bytes.extend_from_slice(&bound.to_le_bytes());
    }
    bytes
}

pub(super) fn write_signal(child: ChildId, signal: Signal) -> Vec<u8> {
    let mut bytes = begin(SIGNAL, child);
    bytes.extend_from_slice(&signal_number(signal).to_le_bytes());
    bytes
}

pub(super) fn write_adopt(child: ChildId) -> Vec<u8> {
    begin(ADOPT, child)
}

pub(super) fn write_seat() -> Vec<u8> {
    begin(SEAT, ChildId(0))
}

pub(super) fn read_request(bytes: &[u8]) -> Option<Request> {
    let mut reader = Reader { rest: bytes };
    let kind = reader.byte()?;
    let child = ChildId(reader.word()?);
    let request = match kind {
        SPAWN => Request::Spawn(child, reader.command()?),
        SIGNAL => Request::Signal(child, reader.number()?),
        ADOPT => Request::Adopt(child),
        SEAT => Request::Seat,
        _ => return None,
    };
    reader.rest.is_empty().then_some(request)
}

pub(super) fn write_answer(answer: &Answer) -> Vec<u8> {
    match &answer.what {
        ChildEvent::Started { pid } => {
            let mut bytes = begin(STARTED, answer.child);
            bytes.extend_from_slice(&pid.to_le_bytes());
            bytes.push(pipes_to_bits(&answer.pipes));
            bytes
        }
        ChildEvent::Unstarted(sentence) => {
            let mut bytes = begin(UNSTARTED, answer.child);
            put_text(&mut bytes, &sentence[..sentence.floor_char_boundary(SENTENCE_MAX)]);
            bytes
        }
        ChildEvent::Exited(status) => {
            let mut bytes = begin(EXITED, answer.child);
            bytes.extend_from_slice(&status.to_le_bytes());
            bytes
        }
        ChildEvent::Killed(signal) => {
            let mut bytes = begin(KILLED, answer.child);
            bytes.extend_from_slice(&signal.to_le_bytes());
            bytes
        }
    }
}

pub(super) fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let mut reader = Reader { rest: bytes };
    let kind = reader.byte()?;
    let child = ChildId(reader.word()?);
    let mut pipes = Vec::new();
    let what = match kind {
        STARTED => {
            let pid = reader.number()?.unsigned_abs();
            pipes = pipes_from_bits(reader.byte()?);
            ChildEvent::Started { pid }
        }
        UNSTARTED => ChildEvent::Unstarted(reader.text()?),
        EXITED => ChildEvent::Exited(reader.number()?),
        KILLED => ChildEvent::Killed(reader.number()?),
        _ => return None,
    };
    reader.rest.is_empty().then_some(Answer { child, what, pipes })
}

fn begin(kind: u8, child: ChildId) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&child.0.to_le_bytes());
    bytes
}

/// A count in four bytes. One too large for them belongs to a message far over the bound, which is never sent.
fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_count(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

fn pipes_to_bits(pipes: &[PipeKind]) -> u8 {
    pipes.iter().fold(0, |bits, kind| {
        bits | match kind {
            PipeKind::Input => 1,
            PipeKind::Output => 2,
            PipeKind::Error => 4,
        }
    })
}

fn pipes_from_bits(bits: u8) -> Vec<PipeKind> {
    PIPE_KINDS.into_iter().filter(|kind| bits & pipes_to_bits(&[*kind]) != 0).collect()
}

fn limit_to_numbers(limit: Limit) -> (u8, u64) {
    match limit {
        Limit::Memory(bytes) => (1, bytes),
        Limit::Cpu(time) => (2, time.as_secs() + u64::from(time.subsec_nanos() > 0)),
        Limit::Files(count) => (3, count),
        Limit::FileSize(bytes) => (4, bytes),
        Limit::Processes(count) => (5, count),
    }
}

fn limit_from_numbers(kind: u8, bound: u64) -> Option<Limit> {
    Some(match kind {
        1 => Limit::Memory(bound),
        2 => Limit::Cpu(Duration::from_secs(bound)),
        3 => Limit::Files(bound),
        4 => Limit::FileSize(bound),
        5 => Limit::Processes(bound),
        _ => return None,
    })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<i32> {
        self.take().map(i32::from_le_bytes)
    }

    fn word(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        self.take().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    fn text(&mut self) -> Option<Box<str>> {
        let length = self.count()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok().map(Into::into)
    }

    fn command(&mut self) -> Option<Command> {
        let mut command = Command { program: self.text()?, ..Command::default() };
        // A piece takes at least one byte, so no count leads to more steps than the message has bytes.
        for _ in 0..self.count()? {
            command.args.push(self.text()?);
        }
        for _ in 0..self.count()? {
            command.env.push((self.text()?, self.text()?));
        }
        let has_dir = self.byte()? != 0;
        command.dir = Some(self.text()?).filter(|_| has_dir);
        command.pipes = pipes_from_bits(self.byte()?);
        for _ in 0..self.count()? {
            command.limits.push(limit_from_numbers(self.byte()?, self.word()?)?);
        }
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_command() -> Command {
        Command {
            program: "python3".into(),
            args: vec!["-c".into(), "".into(), "print('å')".into()],
            env: vec![("A".into(), "1".into()), ("B".into(), "".into())],
            dir: Some("/tmp".into()),
            pipes: PIPE_KINDS.to_vec(),
            limits: vec![
                Limit::Memory(1 << 40),
                Limit::Cpu(Duration::from_secs(3)),
                Limit::Files(64),
                Limit::FileSize(0),
                Limit::Processes(7),
            ],
        }
    }

    fn answers() -> Vec<Answer> {
        let child = ChildId(3 << 48 | 9);
        let plain = |what| Answer { child, what, pipes: Vec::new() };
        vec![
            Answer {
                child,
                what: ChildEvent::Started { pid: 77 },
                pipes: vec![PipeKind::Input, PipeKind::Error],
            },
            plain(ChildEvent::Unstarted("no such file".into())),
            plain(ChildEvent::Exited(255)),
            plain(ChildEvent::Killed(9)),
        ]
    }

    #[test]
    fn requests_arrive_as_they_were_meant() {
        for command in [full_command(), Command { program: "true".into(), ..Command::default() }] {
            let bytes = write_spawn(ChildId(5), &command);
            assert_eq!(read_request(&bytes), Some(Request::Spawn(ChildId(5), command)));
        }
        assert_eq!(read_request(&write_adopt(ChildId(7))), Some(Request::Adopt(ChildId(7))));
        assert_eq!(read_request(&write_seat()), Some(Request::Seat));
        let bytes = write_signal(ChildId(6), Signal::Terminate);
        assert_eq!(read_request(&bytes), Some(Request::Signal(ChildId(6), libc::SIGTERM)));
    }

    #[test]
    fn a_part_of_a_second_of_processor_time_counts_as_one() {
        let command = Command { limits: vec![Limit::Cpu(Duration::from_millis(1200))], ..Command::default() };
        let Some(Request::Spawn(_, read)) = read_request(&write_spawn(ChildId(1), &command)) else {
            panic!("it can be read");
        };
        assert_eq!(read.limits, [Limit::Cpu(Duration::from_secs(2))]);
    }

    #[test]
    fn answers_arrive_as_they_were_meant() {
        for answer in answers() {
            assert_eq!(read_answer(&write_answer(&answer)), Some(answer));
        }
    }

    #[test]
    fn every_prefix_and_every_excess_is_refused() {
        let mut requests =
            vec![write_spawn(ChildId(5), &full_command()), write_signal(ChildId(6), Signal::Kill)];
        for bytes in &mut requests {
            for cut in 0..bytes.len() {
                assert_eq!(read_request(&bytes[..cut]), None, "cut at {cut}");
            }
            bytes.push(0);
            assert_eq!(read_request(bytes), None);
        }
        for answer in answers() {
            let mut bytes = write_answer(&answer);
            for cut in 0..bytes.len() {
                assert_eq!(read_answer(&bytes[..cut]), None, "{answer:?} cut at {cut}");
            }
            bytes.push(0);
            assert_eq!(read_answer(&bytes), None);
        }
    }

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        let what = ChildEvent::Unstarted("å".repeat(SENTENCE_MAX).into());
        let answer = Answer { child: ChildId(1), what, pipes: Vec::new() };
        let Some(Answer { what: ChildEvent::Unstarted(sentence), .. }) = read_answer(&write_answer(&answer))
        else {
            panic!("it can be read");
        };
        assert_eq!(sentence.len(), SENTENCE_MAX);
    }
}
