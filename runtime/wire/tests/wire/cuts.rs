//! A cut is never a fault and never changes what is read; bytes of any kind never panic.

use crate::corpus::{KINDS, Kind, Reader, Said, drive, files};
use wire::{Outcome, resp};

/// Inputs a reader refuses, with the folder of its kind.
const REFUSED: [(&str, &[u8]); 25] = [
    ("request", b"*2\r\n$3\r\nGET\r\nx"),
    ("request", b"*2\r\n$3\r\nGET\r\n$x\r\n"),
    ("request", b"*2\r\n$3\r\nGET\r\n$-1\r\n"),
    ("request", b"*x\r\n"),
    ("request", b"*+1\r\n"),
    ("request", b"*1\r\n$05\r\n"),
    ("request", b"*1048577\r\n"),
    ("request", b"get \"x\r\n"),
    ("request", b"ping\r\nget 'x'y\r\n"),
    ("reply", b"?\r\n"),
    ("reply", b":1x\r\n"),
    ("reply", b":1\rx"),
    ("reply", b"$1\r\naxx"),
    ("reply", b"#x\r\n"),
    ("reply", b",x\r\n"),
    ("reply", b"(\r\n"),
    ("reply", b"=3\r\ntxt\r\n"),
    ("reply", b"*2\r\n:1\r\n*-2\r\n"),
    ("reply", b"*?\r\n"),
    ("frame", b"\x00\x00\x10\x01p"),
    ("hello", b"RWLX"),
    ("hello", b"RWLK\x00\x03\x00\x00\x00\x00\x03dht\x01"),
    ("keyed_hello", b"RWLK\x00\x03\x00\x00\x00\x00\x03dht\x00"),
    ("keyed_hello", b"RWLK\x00\x03\x00\x00\x00\x00\x03dht\x02"),
    ("link", b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00"),
];

#[test]
fn every_prefix_of_a_message_is_partial() {
    for Kind { folder, open } in KINDS {
        for (name, bytes) in files(folder) {
            let whole = drive(open, &bytes, &[], false);
            assert_eq!((&whole.fault, whole.rest), (&None, 0), "{name} is whole");
            for length in 0..bytes.len() {
                let prefix = drive(open, &bytes[..length], &[], false);
                assert_eq!(prefix.fault, None, "{name} cut at {length}");
                assert_eq!(
                    prefix.messages,
                    whole.messages[..prefix.messages.len()],
                    "{name} cut at {length}"
                );
                assert!(prefix.messages.len() < whole.messages.len(), "{name} is whole at {length}");
            }
        }
    }
}

#[test]
fn every_cut_gives_the_same_messages() {
    for Kind { folder, open } in KINDS {
        for (name, bytes) in files(folder) {
            check_cuts(&name, open, &bytes);
        }
    }
}

#[test]
fn every_cut_gives_the_same_fault() {
    for (folder, bytes) in REFUSED {
        let kind = KINDS.iter().find(|kind| kind.folder == folder).expect("a kind of that name");
        let name = bytes.escape_ascii().to_string();
        assert!(drive(kind.open, bytes, &[], false).fault.is_some(), "{name} is refused");
        check_cuts(&name, kind.open, bytes);
    }
}

/// Cuts in two everywhere, in three if the input is short, into single bytes; impatient and patient.
fn check_cuts(name: &str, open: fn() -> Reader, bytes: &[u8]) {
    let whole = drive(open, bytes, &[], false);
    let check = |ends: &[usize]| {
        for patient in [false, true] {
            let said: Said = drive(open, bytes, ends, patient);
            assert_eq!(said, whole, "{name} cut at {ends:?}, patient {patient}");
        }
    };
    for first in 0..=bytes.len() {
        check(&[first]);
        let seconds = if bytes.len() <= 64 { first..bytes.len() + 1 } else { 0..0 };
        seconds.for_each(|second| check(&[first, second]));
    }
    check(&(0..=bytes.len()).collect::<Vec<_>>());
}

/// xorshift64*: Marsaglia, "Xorshift RNGs", 2003.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

#[test]
fn bytes_of_any_kind_never_panic_and_cuts_agree() {
    const INPUTS: usize = 100_000;
    /// Bytes readers branch on, so that noise comes further than the first byte.
    const TELLING: &[u8] = b"*$:+-_#,(!=~%>|\r\n\r\n\r\n0123456789 \"'\\xGETRWLK\0\0\0";
    let mut random = Random(0x5eed);
    let corpus: Vec<Vec<Vec<u8>>> =
        KINDS.iter().map(|kind| files(kind.folder).into_iter().map(|(_, bytes)| bytes).collect()).collect();
    let (mut messages, mut faults) = (0, 0);
    for input in 0..INPUTS {
        let (kind, seeds) = (&KINDS[input % KINDS.len()], &corpus[input % KINDS.len()]);
        let mut bytes = match random.below(3) {
            0 => Vec::new(),
            _ => seeds[random.below(seeds.len())].clone(),
        };
        for _ in 0..random.below(12) {
            let byte = match random.below(4) {
                0 => random.below(256) as u8,
                _ => TELLING[random.below(TELLING.len())],
            };
            let at = random.below(bytes.len() + 1);
            match bytes.get_mut(at) {
                Some(there) if random.below(2) == 0 => *there = byte,
                _ => bytes.insert(at, byte),
            }
        }
        let whole = drive(kind.open, &bytes, &[], false);
        let cut = random.below(bytes.len() + 1);
        let pieces = drive(kind.open, &bytes, &[cut], true);
        assert_eq!(pieces, whole, "{} of {} cut at {cut}", kind.folder, bytes.escape_ascii());
        messages += whole.messages.len();
        faults += usize::from(whole.fault.is_some());
    }
    assert!(messages > INPUTS / 10 && faults > INPUTS / 10, "{messages} messages, {faults} faults");
}

#[test]
fn a_reader_told_other_bytes_than_before_does_not_panic() {
    // A mistake of the caller: what is read then means nothing, but nobody reads past the end.
    let mut random = Random(7);
    let seeds = ["request", "reply"].map(files);
    let mut messages = 0;
    for _ in 0..10_000 {
        let mut requests = resp::Reader::new(resp::Limits::default());
        let mut replies = resp::Replies::new(resp::ReplyLimits::default());
        for _ in 0..4 {
            let bytes = &seeds[0][random.below(seeds[0].len())].1;
            if let Outcome::Done { value, .. } = requests.next(&bytes[..random.below(bytes.len() + 1)]) {
                messages += value.arguments(0).filter(|argument| !argument.is_empty()).count();
            }
            let bytes = &seeds[1][random.below(seeds[1].len())].1;
            if let Outcome::Done { value: resp::Reply::Array(many), .. } =
                replies.next(&bytes[..random.below(bytes.len() + 1)])
            {
                messages += many.iter().count();
            }
        }
    }
    assert!(messages > 1_000, "{messages} messages");
}
