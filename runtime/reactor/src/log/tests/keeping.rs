//! A disk that works: what is kept, in which order, and what a power cut may take.

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
    let (mut log, told, replayed) = place.open();
    assert_eq!(told, records(0..100));
    assert_eq!(replayed, Replayed { records: 100, ..Replayed::default() });
    assert_eq!(log.mark(), safe, "marks go on where they were");
    append(&mut log, 100..101);
    settle(&mut log);
    drop(log);
    assert_eq!(place.open().1, records(0..101));
}

#[test]
fn a_group_takes_two_operations_however_many_wait() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..1);
    settle(&mut log);
    append(&mut log, 1..500);
    assert_eq!(step(&mut log), (true, Vec::new()));
    let late = append(&mut log, 500..600);
    let (is_write, told) = step(&mut log);
    assert!(!is_write);
    let [Stored::Logged(upto)] = told[..] else { panic!("{told:?}") };
    assert!(upto < late, "what came during the write is not safe by its sync");
    assert!(log.next_operation().is_some());
    assert!(log.next_operation().is_none(), "one at a time");
}

#[test]
fn a_new_file_is_safe_only_with_its_name() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..1);
    let steps: Vec<_> = (0..3).map(|_| step(&mut log)).map(|(write, told)| (write, told.len())).collect();
    assert_eq!(steps, [(true, 0), (false, 0), (false, 1)]);
}

#[test]
fn long_groups_and_short_writes_are_continued() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let long: Vec<u8> = (0..3 * WRITE_MAX).map(|index| (index / 1000) as u8).collect();
    log.append(&long);
    let mut writes = 0;
    while let Some(operation) = log.next_operation() {
        let result = match operation {
            Operation::Write { fd, offset, bytes } => {
                assert!(bytes.len() <= WRITE_MAX);
                writes += 1;
                let bytes = &bytes[..bytes.len().min(99_999)];
                Operation::Write { fd, offset, bytes }.perform()
            }
            Operation::Sync { .. } => operation.perform(),
        };
        log.completed(result);
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
    drop(log);
    let path = place.only_segment();
    let whole = fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut log, told, replayed) = place.open();
        let kept = ends.iter().filter(|end| **end <= cut as u64).count();
        assert_eq!(told, records(0..kept), "cut at {cut}");
        assert_eq!(replayed.records, kept as u64);
        assert!(replayed.torn_bytes <= cut as u64);
        log.append(b"after");
        settle(&mut log);
        drop(log);
        let (_, told, replayed) = place.open();
        assert_eq!(told.len(), kept + 1, "cut at {cut}");
        assert_eq!(told[kept], Told::Record(b"after".to_vec()));
        assert_eq!(replayed.torn_bytes, 0, "the torn tail is gone");
    }
}

#[test]
fn a_tail_never_written_but_given_room_is_torn_too() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..5);
    settle(&mut log);
    drop(log);
    let path = place.only_segment();
    let whole = fs::read(&path).unwrap();
    for zeros in [1, 7, 8, 9, 5000] {
        fs::write(&path, [&whole[..], &vec![0; zeros]].concat()).unwrap();
        let (_, told, replayed) = place.open();
        assert_eq!((told, replayed.torn_bytes), (records(0..5), zeros as u64));
    }
    fs::write(&path, vec![0; whole.len()]).unwrap();
    assert_eq!(place.open().1, []);
}

#[test]
fn a_changed_bit_is_found_and_is_damage_where_it_had_been_safe() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let mut first_group = 0;
    for group in 0..3 {
        append(&mut log, group * 4 + 1..group * 4 + 5);
        settle(&mut log);
        first_group = if group == 0 { log.mark().0 } else { first_group };
    }
    drop(log);
    let path = place.only_segment();
    let whole = fs::read(&path).unwrap();
    let second_group_ends = whole.len() - {
        // The last group: four records and its notice.
        (9..13).map(|number| PREFIX + record(number).len()).sum::<usize>() + PREFIX + 8
    };
    let mut refused = 0;
    for byte in 0..whole.len() {
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
    assert!(refused >= HEADER + first_group as usize);
}

#[test]
fn a_group_torn_in_its_middle_is_no_damage() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    settle(&mut log);
    let before = fs::metadata(place.only_segment()).unwrap().len() as usize;
    append(&mut log, 10..30);
    settle(&mut log);
    drop(log);
    let path = place.only_segment();
    let mut bytes = fs::read(&path).unwrap();
    // The disk kept the end of the last group and lost its beginning: it had not been synced.
    bytes[before..before + 40].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(place.open().1, records(0..10));
}

#[test]
fn a_torn_first_group_of_a_later_segment_is_no_damage() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    settle(&mut log);
    log.save(b"half a snapshot");
    settle(&mut log);
    append(&mut log, 10..20);
    settle(&mut log);
    drop(log);
    let last = place.0.join(place.files().into_iter().rfind(|name| name.ends_with(".log")).unwrap());
    let mut bytes = fs::read(&last).unwrap();
    bytes[..HEADER].fill(0);
    fs::write(&last, &bytes).unwrap();
    assert_eq!(place.open().1, records(0..10));
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
    assert_eq!(place.files().len(), 3, "{:?}", place.files());
    log.saved(mark);
    let told = settle(&mut log);
    assert_eq!(told, [Stored::Saved(mark)]);
    assert_eq!(place.files().len(), 2, "the segment before it is gone: {:?}", place.files());
    let after = log.mark();
    drop(log);
    let parts = [&b"one"[..], b"", b"three"].map(|part| Told::Part(part.to_vec()));
    let (log, told, replayed) = place.open();
    assert_eq!(told, [&parts[..], &records(50..60)].concat());
    assert_eq!(replayed, Replayed { parts: 3, records: 10, torn_bytes: 0 });
    assert_eq!(log.mark(), after);
}

#[test]
fn a_snapshot_of_everything_empties_the_log_and_marks_still_grow() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let mut last = LogMark(0);
    for round in 0..4 {
        let mark = append(&mut log, round * 10 + 1..round * 10 + 11);
        assert!(mark > last);
        log.save(&record(round));
        log.saved(mark);
        let told = settle(&mut log);
        assert!(told.contains(&Stored::Saved(mark)), "{told:?}");
        last = log.mark();
        drop(log);
        let (again, told, _) = place.open();
        assert_eq!(told, [Told::Part(record(round))]);
        assert!(again.mark() >= mark);
        log = again;
    }
    assert!(place.files().len() <= 3, "{:?}", place.files());
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
fn stopped_before_any_operation_of_a_snapshot_nothing_is_lost() {
    for stop in 0.. {
        let place = Place::new();
        let (mut log, ..) = place.open();
        let mark = append(&mut log, 0..10);
        settle(&mut log);
        log.save(b"part");
        log.saved(mark);
        append(&mut log, 10..20);
        let mut steps = 0;
        let (mut is_saved, mut safe) = (false, mark);
        while steps < stop
            && let Some(operation) = log.next_operation()
        {
            let result = operation.perform();
            for told in log.completed(result) {
                match told {
                    Stored::Logged(upto) => safe = upto,
                    Stored::Saved(_) => is_saved = true,
                    Stored::Full | Stored::Failed => panic!("{told:?}"),
                }
            }
            steps += 1;
        }
        let is_all = log.is_idle();
        drop(log);
        let (_, told, _) = place.open();
        let later: Vec<_> = told.iter().filter(|told| records(10..20).contains(told)).collect();
        assert!(later.len() == 10 || safe == mark, "stopped after {stop}");
        let part = Told::Part(b"part".to_vec());
        match told[0] == part {
            true => assert!(told.len() == 1 || told.len() == 11),
            false => assert!(!is_saved && told[..10] == records(0..10), "stopped after {stop}"),
        }
        if is_all {
            assert!(is_saved && stop > 5);
            return;
        }
    }
}

#[test]
fn log_and_snapshot_take_turns() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    log.save(&vec![1; 20 * WRITE_MAX]);
    let mut logged = 0;
    let mut operations = 0;
    log.append(b"x");
    while let Some(operation) = log.next_operation() {
        operations += 1;
        let result = operation.perform();
        for told in log.completed(result) {
            assert!(matches!(told, Stored::Logged(_)));
            logged += 1;
            if operations < 60 {
                log.append(b"x");
            }
        }
    }
    assert!(logged >= 18, "a long snapshot does not keep records waiting: {logged}");
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
