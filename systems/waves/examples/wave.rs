//! How many messages a second one core carries: an echo over 10,000 units and 30,000 links, again and again, every
//! letter encoded into a post, queued, and read in place, as between cores.
//!
//! `cargo run --release -p waves --example wave -- [waves] [cores]`: with more than one core their shares take turns on
//! this one, so that what a lane costs in encoding is seen, and what it wins in parallel is not.

use machine::{Chance, CoreId, Instant, NodeId, Seat};
use std::collections::VecDeque;
use std::sync::Arc;
use waves::families::Family;
use waves::letter::{Algorithm, Mail, Purpose, Terms, WaveId, words_of};
use waves::network::{Network, UnitId, plain_units};
use waves::peer::{ArchivedSaid, Said};
use waves::share::{Homes, Share};
use waves::wave::field::{Bounds, Field, Ground};
use waves::wave::{Fact, Happening};
use wire::peer::{Batch, Message};

const UNITS: u32 = 10_000;

struct Core {
    field: Field,
    facts: Vec<Fact>,
    mail: Mail,
}

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let (waves, cores) = (words.next().unwrap_or(100), words.next().unwrap_or(1) as u16);
    let links = Family::ErdosRenyi { links: 3.0 }.links(UNITS, Chance::new(1));
    let network = Network::new(plain_units(UNITS as usize, 4), &links).expect("a network");
    let seat = |core| Seat { node: NodeId(0), core: CoreId(core), cores };
    let mut all: Vec<Core> = (0..cores)
        .map(|core| {
            let share = Arc::new(Share::new(&network, seat(core), &Homes::ring(seat(core))));
            let fact = Fact { load: 1, cpu: 4, born_at: Instant::ZERO, is_alive: true };
            let facts = vec![fact; share.len()];
            Core { field: Field::new(share, Bounds::default()), facts, mail: Mail::new(cores) }
        })
        .collect();
    let mut messages = 0;
    #[allow(clippy::disallowed_methods, reason = "an example measures; no shard ever sees this")]
    let started = std::time::Instant::now();
    for number in 1..=waves {
        messages += one(&mut all, number as u32);
    }
    #[allow(clippy::disallowed_methods, reason = "an example measures; no shard ever sees this")]
    let took = started.elapsed();
    let expected = waves * 2 * network.links().len() as u64;
    assert_eq!(messages, expected, "two messages a link");
    println!(
        "{waves} echoes over {UNITS} units and {} links in {cores} share(s): {messages} messages in {:.3} s, {:.2} million/s",
        network.links().len(),
        took.as_secs_f64(),
        messages as f64 / took.as_secs_f64() / 1e6
    );
}

/// One wave to its end; how many messages it took.
fn one(all: &mut [Core], number: u32) -> u64 {
    let root = UnitId(number % UNITS);
    let wave = WaveId { initiator: root, number };
    let terms = Terms { algorithm: Algorithm::Echo, purpose: Purpose::Count, started_at: Instant::ZERO };
    let home = all[0].field.share().place(root).expect("there is such a unit").core.index();
    let mut queue: VecDeque<(usize, Batch)> = VecDeque::new();
    let mut spare: Vec<Batch> = Vec::new();
    let mut units = 0;
    on(&mut all[home], &mut queue, &mut spare, &mut units, |field, ground| {
        field.start(wave, terms, root, ground).expect("it is let in");
    });
    while let Some((core, mut batch)) = queue.pop_front() {
        for said in batch.heard::<Said>() {
            let Ok((ArchivedSaid::Post(post), _)) = said else { panic!("only posts are written here") };
            on(&mut all[core], &mut queue, &mut spare, &mut units, |field, ground| {
                for letter in post.letters.iter() {
                    let letter = letter.native();
                    field.hear(&letter, words_of(&post.words, &letter), ground);
                }
            });
        }
        batch.clear();
        spare.push(batch);
    }
    assert_eq!(units, UNITS, "an echo rests on everybody");
    all.iter_mut().map(|core| core.field.settle(wave, Instant::ZERO).sent).sum()
}

/// One event, and what it says put into batches, as a turn does.
fn on(
    core: &mut Core,
    queue: &mut VecDeque<(usize, Batch)>,
    spare: &mut Vec<Batch>,
    units: &mut u32,
    event: impl FnOnce(&mut Field, &mut Ground<'_>),
) {
    let Core { field, facts, mail } = core;
    let mut happened = Vec::new();
    let mut ground = Ground { now: Instant::ZERO, facts, mail, happened: &mut happened, is_watched: false };
    event(field, &mut ground);
    mail.take(|to, post| {
        let mut batch = spare.pop().unwrap_or_default();
        Said::Post(post).write(&mut batch, false);
        queue.push_back((to.index(), batch));
    });
    for what in happened {
        if let Happening::Decided(_, _, outcome) = what {
            *units = outcome.units;
        }
    }
}
