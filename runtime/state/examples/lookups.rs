//! What a look-up takes in a table much larger than the caches, one after the other and warmed by batches, in random
//! order; and new and overwriting sets. Rounds alternate, and medians are told, because the machine may be busy:
//! read the ratios.
//!
//! `cargo run --profile profiling -p state --example lookups -- KEYS LOOKUPS ROUNDS`, by default 5,000,000 keys of
//! 16 bytes with values of 32, a million look-ups a round, 9 rounds. Under `valgrind --tool=callgrind
//! --toggle-collect='*plain*'` with 200,000 keys and one round it counts the instructions of a look-up.

use machine::{Chance, WallTime};
use state::table::{Aim, WARM_MAX};
use state::{Expiry, Slot, Table, Value};
use std::hint::black_box;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: WallTime = WallTime::from_millis(1_700_000_000_000);

type Key = (Slot, [u8; 16]);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: u64| {
        words.get(at).map_or(otherwise, |word| word.parse().expect("a number is wanted here"))
    };
    let (count, lookups, rounds) = (number(0, 5_000_000), number(1, 1_000_000), number(2, 9));
    let mut table = Table::new(&mut Chance::new(1).stream("keys"));
    for number in 0..count {
        let (slot, key) = key(number);
        table.set(slot, &key, Value::Bytes(&[7; 32]), Expiry::Never, NOW);
    }
    let mut order = Chance::new(1).stream("order");
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        let mut draw =
            |from: u64| -> Vec<Key> { (0..lookups).map(|_| key(from + order.below(count))).collect() };
        let (first, second, third, missing) = (draw(0), draw(0), draw(0), draw(count));
        times[0].push(timed(lookups, || plain(&mut table, &first)));
        times[1].push(timed(lookups, || warmed(&mut table, &second)));
        times[2].push(timed(lookups, || plain(&mut table, &missing)));
        times[3].push(timed(lookups, || overwrite(&mut table, &third)));
    }
    for (name, times) in
        ["get", "get, warmed by 32", "get of a missing key", "set of a present key"].iter().zip(&mut times)
    {
        times.sort_by(f64::total_cmp);
        println!("{name}: {:.0} ns", times[times.len() / 2]);
    }
}

fn key(number: u64) -> Key {
    let text = format!("{number:016}");
    (Slot::of(text.as_bytes()), text.as_bytes().try_into().expect("sixteen digits"))
}

fn timed(count: u64, work: impl FnOnce() -> usize) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "this program measures")]
    let start = Instant::now();
    black_box(work());
    #[expect(clippy::disallowed_methods, reason = "this program measures")]
    let took = start.elapsed();
    took.as_nanos() as f64 / count as f64
}

#[inline(never)]
fn plain(table: &mut Table, keys: &[Key]) -> usize {
    keys.iter().map(|key| look_up(table, key)).sum()
}

#[inline(never)]
fn warmed(table: &mut Table, keys: &[Key]) -> usize {
    let mut found = 0;
    let mut aims = [Aim::default(); WARM_MAX];
    for some in keys.chunks(WARM_MAX) {
        for (aim, (slot, key)) in aims.iter_mut().zip(some) {
            *aim = table.aim(*slot, key);
        }
        table.warm(&aims[..some.len()]);
        for (aim, (_, key)) in aims.iter().zip(some) {
            found += table.value_at(*aim, key, NOW).map_or(0, |value| usize::from(value.as_bytes()[0]));
        }
    }
    found
}

#[inline(never)]
fn overwrite(table: &mut Table, keys: &[Key]) -> usize {
    for (slot, key) in keys {
        table.set(*slot, key, Value::Bytes(&[8; 32]), Expiry::Never, NOW);
    }
    keys.len()
}

fn look_up(table: &mut Table, (slot, key): &Key) -> usize {
    table.get(*slot, key, NOW).map_or(0, |entry| usize::from(entry.as_bytes()[0]))
}
