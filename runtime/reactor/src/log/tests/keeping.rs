//! A disk that works: what is kept, in which order, and what a torn tail takes.

use super::*;

#[test]
fn what_was_logged_is_told_again_in_order() {
    let place = Place::new();
    let (mut log, told, replayed) = place.open();
    assert_eq!((told, replayed), (Vec::new(), Replayed::default()));
    let mut safe = LogMark(0);
    for group in 0..5 {
        let mark = append(&mut log, group * 20..group * 20 + 20);
        assert!(log.waiting() > 0 && !log.is_idle());
        let stored = settle(&mut log);
        let [Stored::Logged(upto)] = stored[..] else { panic!("one group, one word: {stored:?}") };
        assert!(upto >= mark && upto > safe && upto == log.mark());
        assert!(log.is_idle() && log.waiting() == 0);
        safe = upto;
    }
    drop(log);
    for _ in 0..3 {
        let (log, told, replayed) = place.open();
        assert_eq!(told, records(0..100));
        assert_eq!(replayed, Replayed { records: 100, ..Replayed::default() });
        assert!(log.mark() >= safe, "marks go on where they were");
        assert!(log.is_idle(), "what only begins a life is not worth a sync");
    }
    let (mut log, ..) = place.open();
    append(&mut log, 100..101);
    settle(&mut log);
    drop(log);
    assert_eq!(place.open().1, records(0..101));
}

#[test]
fn a_group_takes_one_operation_where_only_bytes_change_however_many_wait() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..1);
    settle(&mut log);
    append(&mut log, 1..500);
    assert!(log.next_operation(Lane::Groups).is_some());
    assert!(log.next_operation(Lane::Groups).is_none(), "one at a time");
    let late = append(&mut log, 500..600);
    log.completed(Lane::Groups, -libc::EINTR);
    let mut told = None;
    while told.is_none() {
        told = step(&mut log).1;
    }
    let Some(Stored::Logged(upto)) = told else { panic!("{told:?}") };
    assert!(upto < late, "what came during the write is not safe by it");
}

#[test]
fn many_groups_fill_many_segments_and_a_long_one_makes_its_own_longer() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let mut numbers = 0;
    let mut expected = Vec::new();
    for round in 0..40 {
        append(&mut log, numbers..numbers + 200);
        expected.extend(records(numbers..numbers + 200));
        numbers += 200;
        if round == 20 {
            let long: Vec<u8> = (0..3 * WRITE_MAX).map(|index| (index / 1000) as u8).collect();
            log.append(&long);
            expected.push(Told::Record(long));
        }
        settle(&mut log);
    }
    drop(log);
    assert!(place.segments().len() > 3, "{:?}", place.segments());
    assert_eq!(place.open().1, expected);
}

#[test]
fn short_writes_are_continued() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let long: Vec<u8> = (0..3 * WRITE_MAX).map(|index| (index / 1000) as u8).collect();
    log.append(&long);
    let mut writes = 0;
    while let Some(operation) = log.next_operation(Lane::Groups) {
        let result = match operation {
            Operation::Write { fd, offset, bytes, is_synced } => {
                assert!(bytes.len() <= WRITE_MAX);
                writes += 1;
                // The kernel writes whole sectors past the page cache.
                let bytes = &bytes[..bytes.len().min(100_352 - 512 * (writes % 3))];
                Operation::Write { fd, offset, bytes, is_synced }.perform()
            }
            Operation::Sync { .. } => operation.perform(),
        };
        log.completed(Lane::Groups, result);
    }
    assert!(writes > 30);
    drop(log);
    assert_eq!(place.open().1, [Told::Record(long)]);
}

#[test]
fn a_tail_torn_at_any_byte_loses_only_what_was_not_whole() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let mut ends = Vec::new();
    for group in 0..3 {
        for number in group * 4..group * 4 + 4 {
            ends.push(HEADER as u64 + log.append(&record(number)).0);
        }
        settle(&mut log);
    }
    let last = HEADER as u64 + log.mark().0;
    drop(log);
    let path = place.only_segment();
    let whole = fs::read(&path).unwrap();
    for cut in HEADER..=last as usize {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        fs::write(&path, &torn).unwrap();
        let (mut log, told, replayed) = place.open();
        let kept = ends.iter().filter(|end| **end <= cut as u64).count();
        assert_eq!(told[..kept], records(0..kept), "cut at {cut}");
        // One whose last bytes are zeros is whole without them.
        assert!(told.len() <= kept + 1);
        let kept = told.len();
        assert_eq!(replayed.records, kept as u64);
        log.append(b"after");
        settle(&mut log);
        drop(log);
        let (_, told, replayed) = place.open();
        assert_eq!(told.len(), kept + 1, "cut at {cut}");
        assert_eq!(told[kept], Told::Record(b"after".to_vec()));
        assert!(!replayed.is_torn, "the torn tail is gone");
    }
    let half = (ends[1] + ends[2]) as usize / 2;
    let mut torn = whole.clone();
    torn[half..].fill(0);
    fs::write(&path, &torn).unwrap();
    assert!(place.open().2.is_torn);
}

#[test]
fn a_changed_bit_is_found_and_is_damage_where_it_had_been_safe() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    for group in 0..3 {
        append(&mut log, group * 4 + 1..group * 4 + 5);
        settle(&mut log);
    }
    let last = HEADER + log.mark().0 as usize;
    drop(log);
    let path = place.only_segment();
    let whole = fs::read(&path).unwrap();
    let second_group_ends =
        last - (9..13).map(|number| PREFIX + record(number).len()).sum::<usize>() - PREFIX - 8;
    let mut refused = 0;
    for byte in 0..last {
        let mut changed = whole.clone();
        changed[byte] ^= 1 << (byte % 8);
        fs::write(&path, &changed).unwrap();
        match place.try_open(seat(), "tally", 2) {
            Ok((_, told, _)) => {
                assert!(byte >= second_group_ends, "byte {byte} had been safe, as the last notice tells");
                assert!(told.len() >= 8 && told == records(1..told.len() + 1));
            }
            Err(fatal) => {
                assert_eq!(fatal.status, crate::fatal::STATUS_UNREADABLE);
                assert!(byte < second_group_ends, "byte {byte} may have been torn: {fatal}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, second_group_ends);
}

#[test]
fn what_an_earlier_life_left_behind_the_end_is_never_taken_for_a_record() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 1..3);
    settle(&mut log);
    let safe = HEADER + log.mark().0 as usize;
    append(&mut log, 3..9);
    settle(&mut log);
    drop(log);
    let path = place.only_segment();
    let mut bytes = fs::read(&path).unwrap();
    // The first record of the last group was lost, those behind it were not.
    let lost = safe..safe + PREFIX + record(3).len();
    bytes[lost].fill(0);
    fs::write(&path, &bytes).unwrap();
    let (mut log, told, replayed) = place.open();
    assert_eq!((told, replayed.is_torn), (records(1..3), true));
    // A record that ends where one of those begins.
    log.append(&vec![7; record(3).len() + record(4).len()]);
    settle(&mut log);
    drop(log);
    assert_eq!(place.open().1.len(), 3);
}

#[test]
fn a_snapshot_takes_the_place_of_the_log_before_it() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let mark = append(&mut log, 0..50);
    settle(&mut log);
    log.save(b"one");
    settle(&mut log);
    append(&mut log, 50..60);
    log.save(b"");
    log.save(b"three");
    settle(&mut log);
    log.saved(mark);
    let told = settle(&mut log);
    assert_eq!(told, [Stored::Saved(mark)]);
    let after = log.mark();
    drop(log);
    let parts = [&b"one"[..], b"", b"three"].map(|part| Told::Part(part.to_vec()));
    let (log, told, replayed) = place.open();
    assert_eq!(told, [&parts[..], &records(50..60)].concat());
    assert_eq!(replayed, Replayed { parts: 3, records: 10, is_torn: false });
    assert!(log.mark() >= after);
}

#[test]
fn segments_behind_a_snapshot_are_used_again_and_the_directory_stays_small() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let mut names = std::collections::BTreeSet::new();
    for round in 0..60 {
        let mark = append(&mut log, round * 400..round * 400 + 400);
        settle(&mut log);
        log.save(&record(round));
        log.saved(mark);
        assert!(settle(&mut log).contains(&Stored::Saved(mark)));
        names.extend(place.files());
        assert!(place.files().len() <= 6, "{:?}", place.files());
        if round % 7 == 0 {
            drop(log);
            let (again, told, _) = place.open();
            assert_eq!(told, [Told::Part(record(round))]);
            assert!(again.mark() >= mark);
            log = again;
        }
    }
    assert!(names.len() < 30, "files are used again: {names:?}");
}

#[test]
fn an_unfinished_snapshot_changes_nothing() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    log.save(b"first");
    log.saved(log.mark());
    settle(&mut log);
    append(&mut log, 10..20);
    log.save(b"second");
    settle(&mut log);
    append(&mut log, 20..30);
    settle(&mut log);
    drop(log);
    let (mut log, told, _) = place.open();
    assert_eq!(told, [&[Told::Part(b"first".to_vec())][..], &records(10..30)].concat());
    log.saved(log.mark());
    settle(&mut log);
    drop(log);
    assert_eq!(place.open().1, [], "a snapshot of no parts says that there is nothing");
}

#[test]
fn a_long_snapshot_keeps_no_record_waiting() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    log.save(&vec![1; 20 * WRITE_MAX]);
    log.append(b"x");
    assert!(log.next_operation(Lane::Chores).is_some());
    assert!(settle_groups(&mut log) > 0, "records go while a chore is in flight");
}

fn settle_groups(log: &mut Log) -> usize {
    let mut told = 0;
    while let Some(operation) = log.next_operation(Lane::Groups) {
        let result = operation.perform();
        told += usize::from(log.completed(Lane::Groups, result).is_some());
    }
    told
}

#[test]
fn a_second_snapshot_can_begin_before_the_first_is_safe() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let first = append(&mut log, 0..5);
    log.save(b"first");
    log.saved(first);
    let second = append(&mut log, 5..9);
    log.save(b"second");
    log.saved(second);
    let saved: Vec<_> =
        settle(&mut log).into_iter().filter(|told| matches!(told, Stored::Saved(_))).collect();
    assert_eq!(saved, [Stored::Saved(first), Stored::Saved(second)]);
    drop(log);
    assert_eq!(place.open().1, [Told::Part(b"second".to_vec())]);
}

#[test]
fn another_core_reads_a_log_and_changes_nothing() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..30);
    settle(&mut log);
    drop(log);
    let before = fs::read(place.only_segment()).unwrap();
    let mut count = 0;
    let replayed = Log::read(&place.0, seat(), "tally", 2, &mut |_| count += 1).unwrap();
    assert_eq!((count, replayed.records), (30, 30));
    assert_eq!(fs::read(place.only_segment()).unwrap(), before);
}

#[test]
fn a_snapshot_given_up_at_any_step_leaves_the_one_before_and_the_next_is_whole() {
    for steps in 0..6 {
        let place = Place::new();
        let (mut log, ..) = place.open();
        append(&mut log, 0..5);
        log.save(b"before");
        log.saved(log.mark());
        settle(&mut log);
        append(&mut log, 5..9);
        log.save(&[7; 3000]);
        for step in 0..steps {
            // The last of them is still in flight when it is given up.
            let Some(operation) = log.next_operation(Lane::Chores) else { break };
            let result = operation.perform();
            if step + 1 < steps {
                log.completed(Lane::Chores, result);
                log.save(&[8; 3000]);
            } else {
                log.unsave();
                assert_eq!(log.completed(Lane::Chores, result), None);
            }
        }
        log.unsave();
        assert_eq!(log.saving(), 0, "after {steps}");
        settle(&mut log);
        assert!(!place.files().contains(&"core-1.snapshot.new".to_owned()), "after {steps}");
        let expected = [vec![Told::Part(b"before".to_vec())], records(5..9)].concat();
        drop(log);
        let (mut log, told, _) = place.open();
        assert_eq!(told, expected, "after {steps}");
        log.save(b"next");
        log.saved(log.mark());
        assert_eq!(settle(&mut log), [Stored::Saved(log.mark())]);
        drop(log);
        assert_eq!(place.open().1, [Told::Part(b"next".to_vec())], "after {steps}");
    }
}
