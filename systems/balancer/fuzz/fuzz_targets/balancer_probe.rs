//! Any replica: whatever it answers to a heartbeat, in whatever cuts, nothing panics and at most one word is heard.
#![no_main]

#[path = "../../tests/outside/desk.rs"]
mod desk;

use balancer::peer::Tenancy;
use balancer::probe::Probes;
use balancer::spread::Seat;
use desk::Desk;
use libfuzzer_sys::fuzz_target;
use machine::{Address, Input, Instant};

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first() else { return };
    let (mut probes, mut out) = (Probes::default(), Desk::default());
    let tenancy = Tenancy { seat: Seat(1), life: 1 };
    probes.beat(tenancy, Address::Ip(([127, 0, 0, 1], 1).into()), Instant::ZERO, &mut out);
    let conn = out.nth(0).expect("it is dialled");
    let (mut left, mut heard) = (Vec::new(), 0);
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        left.extend_from_slice(piece);
        let mut input = Input::lent(&left, Instant::ZERO, None);
        heard += usize::from(probes.on_bytes(conn, &mut input, &mut out).is_some());
        let rest = input.bytes().len();
        left.drain(..left.len() - rest);
    }
    heard += usize::from(probes.on_end(conn, &mut out).is_some());
    assert_eq!(heard, 1, "one word of one heartbeat");
    assert!(!probes.has(conn) && out.open.is_empty());
});
