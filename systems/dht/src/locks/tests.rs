use super::*;
use crate::act::Set;
use crate::reply::Shape;

const HERE: CoreId = CoreId(0);

fn claim(locks: &mut Locks, deal: u64, hold: Hold, keys: &[&str]) -> (Key, bool) {
    let item = |key: &&str| {
        let key = Text::from_slice(key.as_bytes());
        Item { index: 0, slot: 0, key, payload: Text::new(), length: 0 }
    };
    let (items, work) = (keys.iter().map(item).collect(), Work::Nothing);
    locks.claim(Claim { from: HERE, deal, hold, stays: true, stores: false, command: 0, work, items })
}

fn finish(locks: &mut Locks, deal: u64) {
    let claim = locks.stayed(HERE, deal).expect("it stays");
    locks.release(claim);
}

fn park(locks: &mut Locks, ticket: u64, act: Act, key: &str) {
    let asker = Asker { conn: 0, ticket, shape: Shape::Two, command: 0 };
    let key = Text::from_slice(key.as_bytes());
    locks.park(Parked { from: HERE, asker, slot: 0, act, key, payload: Text::new(), blob: None });
}

/// Everybody who can be served, in order: claims by the number of their deal, acts by their ticket.
fn ready(locks: &mut Locks) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(ready) = locks.next_ready() {
        all.push(match ready {
            Ready::One(parked) => format!("act {}", parked.asker.ticket),
            Ready::Granted(key) => format!("deal {}", locks.granted(key).expect("it is there").deal),
        });
    }
    all
}

#[test]
fn writers_of_a_key_take_turns_and_readers_come_together() {
    let mut locks = Locks::new();
    assert!(claim(&mut locks, 1, Hold::Alone, &["a", "b"]).1);
    assert!(!claim(&mut locks, 2, Hold::Shared, &["b", "c"]).1);
    assert!(!claim(&mut locks, 3, Hold::Shared, &["b"]).1);
    assert!(!claim(&mut locks, 4, Hold::Alone, &["b"]).1);
    assert!(!claim(&mut locks, 5, Hold::Shared, &["b"]).1);
    assert!(claim(&mut locks, 6, Hold::Shared, &["c"]).1, "readers do not hinder each other");
    finish(&mut locks, 1);
    assert_eq!(ready(&mut locks), ["deal 2", "deal 3"]);
    finish(&mut locks, 3);
    finish(&mut locks, 6);
    assert_eq!(ready(&mut locks), [""; 0]);
    finish(&mut locks, 2);
    assert_eq!(ready(&mut locks), ["deal 4"]);
    finish(&mut locks, 4);
    assert_eq!(ready(&mut locks), ["deal 5"]);
    finish(&mut locks, 5);
    assert!(locks.is_quiet() && locks.len() == 0);
}

#[test]
fn acts_wait_where_they_must_and_keep_their_order() {
    let mut locks = Locks::new();
    let set = Act::Set(Set::default());
    assert!(claim(&mut locks, 1, Hold::Shared, &["a"]).1);
    assert!(!locks.must_wait(b"a", &Act::Get) && locks.must_wait(b"a", &set) && !locks.must_wait(b"b", &set));
    park(&mut locks, 1, set, "a");
    assert!(locks.must_wait(b"a", &Act::Get), "a reader does not overtake a writer");
    park(&mut locks, 2, Act::Get, "a");
    park(&mut locks, 3, Act::Get, "a");
    park(&mut locks, 4, set, "a");
    assert_eq!(ready(&mut locks), [""; 0]);
    finish(&mut locks, 1);
    assert!(locks.must_wait(b"a", &Act::Get), "who is ready was not served yet");
    assert_eq!(ready(&mut locks), ["act 1", "act 2", "act 3", "act 4"]);
    assert!(locks.is_quiet());
}

#[test]
fn a_claim_on_the_whole_core_waits_for_all_before_it_and_all_after_it_wait() {
    let mut locks = Locks::new();
    assert!(claim(&mut locks, 1, Hold::Alone, &["a"]).1);
    assert!(!claim(&mut locks, 2, Hold::Whole, &[]).1);
    assert!(!claim(&mut locks, 3, Hold::Alone, &["b"]).1);
    assert!(locks.must_wait(b"c", &Act::Get));
    park(&mut locks, 1, Act::Get, "c");
    assert!(!claim(&mut locks, 4, Hold::Whole, &[]).1);
    park(&mut locks, 2, Act::Get, "d");
    assert_eq!(ready(&mut locks), [""; 0]);
    finish(&mut locks, 1);
    assert_eq!(ready(&mut locks), ["deal 2"]);
    finish(&mut locks, 2);
    assert_eq!(ready(&mut locks), ["deal 3", "act 1"]);
    finish(&mut locks, 3);
    assert_eq!(ready(&mut locks), ["deal 4"]);
    finish(&mut locks, 4);
    assert_eq!(ready(&mut locks), ["act 2"]);
    assert!(locks.is_quiet() && locks.len() == 0);
    assert!(claim(&mut locks, 5, Hold::Whole, &[]).1);
}
