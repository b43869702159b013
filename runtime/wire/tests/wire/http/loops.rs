//! What the writers say the readers understand: messages drawn from seeds, written, cut and read.

use super::session::{request_session, response_session};
use wire::Outcome;
use wire::http::{Framing, HeadWriter, Method, Version, chunk};

const SEEDS: u64 = 3_000;

/// splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn bytes(&mut self, below: usize) -> Vec<u8> {
        let length = self.below(below);
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// Fields in `head`, and what they are when they are read.
fn fields(random: &mut Random, head: &mut HeadWriter<'_>) -> String {
    let mut told = String::new();
    for _ in 0..random.below(40) {
        let name =
            random.pick(&["A", "x-long-name-of-a-field", "!#$%&'*+-.^_`|~", "Accept", "Hosts", "Cookie"]);
        let value = match random.below(3) {
            0 => random.pick(&["", "a", "a b\tc", "\u{e9}", "close, chunked"]).as_bytes().to_vec(),
            _ => random.bytes(30),
        };
        if head.field(name, &value).is_ok() {
            told += &format!("{}={};", name.as_bytes().escape_ascii(), value.escape_ascii());
        }
    }
    told
}

/// A body of this framing behind the head, and its payload as text.
fn body(random: &mut Random, framing: Framing, out: &mut Vec<u8>, payload: &[u8]) -> String {
    match framing {
        Framing::Chunked => {
            for piece in payload.chunks(1 + random.below(40)) {
                match random.below(2) {
                    0 => chunk::write(out, piece),
                    _ => {
                        out.extend_from_slice(chunk::head(piece.len()).as_bytes());
                        out.extend_from_slice(piece);
                        out.extend_from_slice(chunk::TAIL);
                    }
                }
            }
            match random.below(2) {
                0 => out.extend_from_slice(chunk::LAST),
                _ => {
                    chunk::write_last(out, &[("T", b"u")]).expect("sayable");
                    return format!(" body={} trailers=T: u\\r\\n", payload.escape_ascii());
                }
            }
        }
        _ => out.extend_from_slice(payload),
    }
    format!(" body={} trailers=", payload.escape_ascii())
}

fn framing(random: &mut Random, payload: &[u8]) -> Framing {
    match random.below(2) {
        0 => Framing::Length(payload.len() as u64),
        _ => Framing::Chunked,
    }
}

/// The one message that `bytes` are, brought in two pieces.
fn read(mut session: crate::corpus::Reader, bytes: &[u8], cut: usize) -> String {
    let first = session(&bytes[..cut]);
    let whole = match first {
        Outcome::Partial { .. } => session(bytes),
        whole => whole,
    };
    match whole {
        Outcome::Done { value, used } => {
            assert_eq!(used, bytes.len());
            value
        }
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

#[test]
fn requests_that_are_written_are_read() {
    let mut chunked = 0;
    for seed in 0..SEEDS {
        let (mut random, mut out) = (Random(seed), Vec::new());
        let method = random.pick(&["GET", "POST", "PUT", "M-SEARCH", "a"]);
        let target = random.pick(&["/", "/a/b", "/%41", "/a{b}|c"]);
        let payload = random.bytes(300);
        let framing = framing(&mut random, &payload);
        chunked += usize::from(framing == Framing::Chunked);
        let mut head = HeadWriter::request(&mut out, Method::of(method), target).expect("sayable");
        head.known("Host", "x:1");
        let told = fields(&mut random, &mut head);
        head.framing(framing);
        head.end();
        let said = match framing {
            Framing::Chunked => "Transfer-Encoding=chunked;".to_owned(),
            _ => format!("Content-Length={};", payload.len()),
        };
        let found = if framing == Framing::Length(0) { Framing::None } else { framing };
        let expected = format!(
            "{method} {target} HTTP/1.1 host=x:1 {found:?} path={target} query=None persists [Host=x:1;{told}{said}]"
        );
        let expected = expected + &body(&mut random, framing, &mut out, &payload);
        let cut = random.below(out.len() + 1);
        assert_eq!(read(request_session(), &out, cut), expected, "seed {seed}");
    }
    assert!(chunked > 1_000 && chunked < 2_000, "{chunked} chunked");
}

#[test]
fn responses_that_are_written_are_read() {
    for seed in 0..SEEDS {
        let (mut random, mut out) = (Random(seed), Vec::new());
        let status = [200_u16, 201, 404, 503, 999][random.below(5)];
        let reason = random.pick(&["Fine", "a b", "\u{e9}"]);
        let version = [Version::Http10, Version::Http11][random.below(2)];
        let payload = random.bytes(300);
        let framing = match version {
            Version::Http10 => Framing::Length(payload.len() as u64),
            Version::Http11 => framing(&mut random, &payload),
        };
        let persists = random.below(2) == 0;
        let mut head = HeadWriter::response(&mut out, version, status, reason);
        let told = fields(&mut random, &mut head);
        head.framing(framing);
        head.persistence(version, persists);
        head.end();
        let (length, said) = match framing {
            Framing::Chunked => (String::new(), "Transfer-Encoding=chunked;".to_owned()),
            _ => (format!(" length={}", payload.len()), format!("Content-Length={};", payload.len())),
        };
        let connection = match (version, persists) {
            (Version::Http10, true) => "Connection=keep-alive;",
            (Version::Http11, false) => "Connection=close;",
            _ => "",
        };
        let (version, reason) = (version.as_str(), reason.as_bytes().escape_ascii());
        let ends = if persists { "persists" } else { "ends" };
        let found = if framing == Framing::Length(0) { Framing::None } else { framing };
        let expected =
            format!("{version} {status} {reason} {found:?} {ends}{length} [{told}{said}{connection}]");
        let expected = expected + &body(&mut random, framing, &mut out, &payload);
        let cut = random.below(out.len() + 1);
        assert_eq!(read(response_session(), &out, cut), expected, "seed {seed}");
    }
}
