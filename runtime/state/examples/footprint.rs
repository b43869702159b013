//! What a table costs: fills one over all slots with keys of one size and tells resident memory a key beside what
//! the table itself accounts for, and the time it took.
//!
//! `cargo run --profile profiling -p state --example footprint -- KEYS KEY_LEN VALUE_LEN [expiring|bounded]`, by
//! default 5,000,000 keys of 16 bytes with values of 32. Bounded, half of the memory that so many keys need is all
//! there is: the least recently used go, and values are of any length up to twice the one given. Memory is the growth of the resident set (Linux, `/proc`) under
//! the allocator that the programs use. Run it once for each row: a process that has freed memory tells nothing.

use machine::{Chance, WallTime};
use state::table::ENTRY_OVERHEAD;
use state::{Expiry, Policy, Slot, Table, Value};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: WallTime = WallTime::from_millis(1_700_000_000_000);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: usize| {
        words.get(at).map_or(otherwise, |word| word.parse().expect("a number is wanted here"))
    };
    let (count, key_len, value_len) = (number(0, 5_000_000), number(1, 16), number(2, 32));
    let expires = words.get(3).is_some_and(|word| word == "expiring");
    let bounded = words.get(3).is_some_and(|word| word == "bounded");
    let bound = if bounded { count * (key_len + value_len + ENTRY_OVERHEAD) / 2 } else { usize::MAX };
    let mut evicted = 0;

    let mut table = Table::new(&mut Chance::new(1).stream("keys"));
    let mut values = Chance::new(1).stream("values");
    let mut value = vec![0; value_len];
    let before = resident();
    #[expect(clippy::disallowed_methods, reason = "this program measures")]
    let start = Instant::now();
    for number in 0..count {
        let key = format!("{number:0key_len$}");
        if bounded {
            value.resize(values.below(2 * value_len as u64) as usize, 0);
        }
        values.fill(&mut value);
        let expiry = if expires {
            Expiry::At(WallTime::from_millis(NOW.millis() + 1_000 + values.below(86_400_000)))
        } else {
            Expiry::Never
        };
        table.set(Slot::of(key.as_bytes()), key.as_bytes(), Value::Bytes(&value), expiry, NOW);
        while table.bytes() > bound
            && let Some((slot, key)) = table.evict_candidate(Policy::AllKeysLru, &mut values, NOW, 5)
        {
            evicted += usize::from(table.remove(slot, &key, NOW));
        }
    }
    #[expect(clippy::disallowed_methods, reason = "this program measures")]
    let took = start.elapsed();
    let each = |bytes: usize| bytes as f64 / table.len() as f64;
    if bounded {
        let resident = (resident() - before) as f64 / bound as f64;
        println!("{evicted} evicted; resident {resident:.3} of the bound");
    }
    println!(
        "{count} keys of {key_len} + {value_len} bytes{}: {:.1} bytes resident a key, {:.1} accounted; \
         filled in {:.2} s, {:.0} ns a key, {:.2} moves a key",
        if expires { ", expiring" } else { "" },
        each(resident() - before),
        each(table.bytes()),
        took.as_secs_f64(),
        took.as_nanos() as f64 / count as f64,
        table.moved() as f64 / count as f64,
    );
}

/// The resident set of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells this");
    let pages: usize = pages.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("its second number");
    pages * 4096
}
