//! Any body to `/add` and `/rm`: it is read or refused, nothing panics, what is said back is one line of JSON, and names
//! that come through are names.
#![no_main]

use balancer::control::{self, Refused};
use balancer::names;
use libfuzzer_sys::fuzz_target;
use machine::{Chance, WallTime};

const PRESENT: [&str; 3] = ["Server-1", "Server-2", "S5"];

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let mut chance = Chance::new(u64::from(first)).stream("names");
    let outcome = control::read(first & 1 == 0, body).and_then(|asked| {
        let slots_left = (first & 2 == 0).then_some(usize::from(first >> 4));
        let wall = WallTime::from_millis(u64::from(first) * 977);
        let count = asked.count;
        let added = control::add(asked.clone(), &PRESENT, slots_left, wall, &mut chance);
        if let Ok(added) = &added {
            assert_eq!(added.len() as i64, count, "as many as were asked for");
            assert!(added.iter().all(|name| names::is_hostname(name) && !PRESENT.contains(&&**name)));
        }
        let removed = control::remove(asked, &PRESENT, &mut chance);
        if let Ok(removed) = &removed {
            assert_eq!(removed.len() as i64, count, "as many as were asked for");
            assert!(removed.iter().all(|name| PRESENT.contains(&&**name)));
        }
        added.and(removed)
    });
    if let Err(Refused(words)) = outcome {
        let said = control::failure(&words);
        assert_eq!(said.find('\n'), Some(said.len() - 1), "one line: {said:?}");
        let said: serde_json::Value = serde_json::from_str(&said).expect("it is JSON");
        assert_eq!(said["status"], "failure");
    }
});
