//! What reading a request head takes, beside httparse alone: a short GET and a browser's. The readers take turns, many
//! heads a turn, and medians are told, because the machine may be busy: read the ratios.
//!
//! Under `valgrind --tool=callgrind --toggle-collect='*heads::whole*'` with few heads and one round it counts the
//! instructions of a head.
//!
//! `cargo run --profile profiling -p wire --example heads -- HEADS ROUNDS`, by default 20,000 heads a round, 101 rounds.

use std::hint::black_box;
use std::time::Instant;
use wire::Outcome;
use wire::http::{Limits, RequestReader};

const SHORT: &[u8] = b"GET /small?size=100 HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nUser-Agent: loadgen/0.1\r\n\
    Accept: */*\r\nX-Request-Id: 100042\r\n\r\n";

const BROWSER: &[u8] = b"GET /search?q=ring HTTP/1.1\r\nHost: example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Referer: http://example.org/\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";

/// Fields that httparse alone is given room for: as many as the reader's limit.
const FIELDS_MAX: usize = 100;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: usize| {
        words.get(at).map_or(otherwise, |word| word.parse().expect("a number is wanted here"))
    };
    let (heads, rounds) = (number(0, 20_000), number(1, 101));
    for (name, bytes) in [("short", SHORT), ("browser", BROWSER)] {
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..rounds {
            times[0].push(timed(heads, || alone(bytes)));
            let mut reader = RequestReader::new(Limits::default());
            times[1].push(timed(heads, || whole(&mut reader, bytes)));
            times[2].push(timed(heads, || in_pieces(&mut reader, bytes)));
        }
        let [alone, whole, pieces] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        println!(
            "{name}, {} bytes: httparse {alone:.0} ns, whole {whole:.0} ns ({:.2}), in two pieces {pieces:.0} ns",
            bytes.len(),
            whole / alone
        );
    }
}

fn timed(heads: usize, mut work: impl FnMut() -> usize) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "this program measures")]
    let start = Instant::now();
    for _ in 0..heads {
        black_box(work());
    }
    #[expect(clippy::disallowed_methods, reason = "this program measures")]
    let took = start.elapsed();
    took.as_nanos() as f64 / heads as f64
}

/// The parts of a head as httparse tells them, all of them looked at.
#[inline(never)]
fn alone(bytes: &[u8]) -> usize {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(black_box(bytes), &mut fields) {
        Ok(httparse::Status::Complete(used)) => used + request.headers.len(),
        other => panic!("{other:?}"),
    }
}

#[inline(never)]
fn whole(reader: &mut RequestReader, bytes: &[u8]) -> usize {
    match reader.next(black_box(bytes)) {
        Outcome::Done { value, used } => used + value.fields.len(),
        other => panic!("{other:?}"),
    }
}

#[inline(never)]
fn in_pieces(reader: &mut RequestReader, bytes: &[u8]) -> usize {
    let cut = bytes.len() / 2;
    match reader.next(black_box(&bytes[..cut])) {
        Outcome::Partial { .. } => {}
        other => panic!("{other:?}"),
    }
    match reader.next(black_box(bytes)) {
        Outcome::Done { value, used } => used + value.fields.len(),
        other => panic!("{other:?}"),
    }
}
