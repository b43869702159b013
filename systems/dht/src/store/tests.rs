use super::*;
use crate::act::Unit;
use machine::Chance;
use machine::blob::BLOB_MIN;

/// A store of one core, with a clock that stands until it is moved.
struct Shop {
    store: Store,
    now: WallTime,
}

impl Shop {
    fn new() -> Self {
        let mut keys = Chance::new(1).stream("look-ups");
        Self { store: Store::new(&mut keys, 100_000), now: WallTime::from_millis(1_000_000) }
    }

    fn act(&mut self, key: &str, act: Act) -> Reply<'_> {
        self.with(key, b"", act)
    }

    fn with(&mut self, key: &str, payload: &[u8], act: Act) -> Reply<'_> {
        let key = key.as_bytes();
        self.store.execute(Slot::of(key), Op { key, payload: Payload::Bytes(payload), act }, self.now)
    }

    fn set(&mut self, key: &str, value: &[u8], until_ms: Option<i64>) {
        let life = until_ms.map_or(Life::Ever, Life::Until);
        assert_eq!(self.with(key, value, Act::Set(Set { life, ..Set::default() })), Reply::Ok);
    }
}

#[test]
fn a_value_that_left_the_table_is_still_told() {
    let mut shop = Shop::new();
    shop.set("k", b"before", None);
    let before = Act::Set(Set { answer: SetAnswer::Before, ..Set::default() });
    assert_eq!(shop.with("k", b"after", before), Reply::Bulk(b"before"));
    assert_eq!(shop.act("k", Act::GetDel), Reply::Bulk(b"after"));
    assert_eq!(shop.act("k", Act::GetDel), Reply::Nil);
    assert!(shop.store.is_empty());
}

#[test]
fn a_blob_is_shared_and_not_copied() {
    let mut shop = Shop::new();
    let blob = Blob::from(vec![7; BLOB_MIN]);
    let place = blob.as_ptr();
    let op = Op { key: b"k", payload: Payload::Blob(blob), act: Act::Set(Set::default()) };
    shop.store.execute(Slot::of(b"k"), op, shop.now);
    match shop.act("k", Act::Get) {
        Reply::Blob(told) => assert_eq!(told.as_ptr(), place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_never_grows_over_its_bound() {
    let mut shop = Shop::new();
    shop.set("k", &[1; 60_000], None);
    assert_eq!(shop.with("k", &[2; 40_000], Act::Append), Reply::Integer(100_000));
    assert_eq!(shop.with("k", b"x", Act::Append), Reply::Refused(Fault::ValueTooLong));
    assert_eq!(shop.act("k", Act::StrLen), Reply::Integer(100_000));
}

#[test]
fn times_left_are_rounded_as_redis_rounds_them() {
    let mut shop = Shop::new();
    for (left_ms, seconds) in [(1, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2)] {
        shop.set("k", b"v", Some(1_000_000 + left_ms));
        assert_eq!(shop.act("k", Act::Ttl(Unit::Seconds)), Reply::Integer(seconds), "{left_ms}");
        assert_eq!(shop.act("k", Act::Ttl(Unit::Millis)), Reply::Integer(left_ms));
    }
}

#[test]
fn an_expired_key_is_gone_before_and_after_the_sweep() {
    let mut shop = Shop::new();
    for key in 0..100 {
        shop.set(&format!("k{key}"), b"v", Some(1_000_100));
    }
    shop.set("stays", b"v", None);
    assert!(shop.store.wants_sweep());
    assert_eq!(shop.store.due_in(shop.now), Duration::from_millis(100));
    shop.now = WallTime::from_millis(1_000_100);
    assert_eq!(shop.act("k1", Act::Get), Reply::Nil);
    shop.store.sweep(shop.now);
    assert_eq!((shop.store.len(), shop.store.expired()), (1, 100));
    assert!(!shop.store.wants_sweep());
}

#[test]
fn what_is_flushed_is_freed_by_sweeps() {
    let mut shop = Shop::new();
    for key in 0..20_000 {
        shop.set(&format!("k{key}"), b"v", None);
    }
    shop.store.flush();
    assert!(shop.store.is_empty());
    let mut sweeps = 0;
    while shop.store.wants_sweep() {
        shop.store.sweep(shop.now);
        sweeps += 1;
        assert!(sweeps < 20_000, "sweeping ends");
    }
    assert!(sweeps > 1, "it is not freed at once");
}

#[test]
fn a_long_value_is_appended_to_where_it_is() {
    let mut shop = Shop::new();
    shop.set("k", &[0; BLOB_MIN], None);
    let place = |shop: &mut Shop| match shop.act("k", Act::Get) {
        Reply::Blob(blob) => blob.as_ptr(),
        other => panic!("{other:?}"),
    };
    let (mut moves, mut before) = (0, place(&mut shop));
    let appended = (100_000 - BLOB_MIN) / 10;
    for number in 0..appended {
        let length = BLOB_MIN + 10 * (number + 1);
        assert_eq!(shop.with("k", &[number as u8; 10], Act::Append), Reply::Integer(length as i64));
        let now = place(&mut shop);
        moves += usize::from(now != before);
        before = now;
    }
    assert!(moves <= 12, "moved {moves} times by {appended} appends");
    let Reply::Blob(sent) = shop.act("k", Act::Get) else { panic!("it is long") };
    assert!((0..appended).all(|number| sent[BLOB_MIN + 10 * number] == number as u8));
    // Somebody is being sent it: that one sees no change.
    shop.with("k", b"!", Act::SetRange(0));
    assert_eq!(sent[0], 0);
    let Reply::Blob(changed) = shop.act("k", Act::Get) else { panic!("it is long") };
    assert_eq!((changed[0], changed.len()), (b'!', sent.len()));
}
