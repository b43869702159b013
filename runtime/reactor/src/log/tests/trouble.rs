//! A disk that is full, fails, or holds what is not ours or not whole.

use super::*;

#[test]
fn a_full_disk_is_told_once_and_loses_nothing() {
    for errno in [libc::ENOSPC, libc::EDQUOT, libc::EFBIG] {
        let place = Place::new();
        let (mut log, ..) = place.open();
        append(&mut log, 0..10);
        settle(&mut log);
        append(&mut log, 10..20);
        assert_eq!(spoil(&mut log, errno), [Stored::Full]);
        assert!(log.is_full() && log.next_operation().is_none() && log.waiting() > 0);
        log.retry();
        assert_eq!(spoil(&mut log, errno), [], "told once");
        assert!(log.next_operation().is_none());
        append(&mut log, 20..30);
        log.retry();
        let told = settle(&mut log);
        assert_eq!(told.last(), Some(&Stored::Logged(log.mark())));
        assert!(!log.is_full() && log.waiting() == 0);
        append(&mut log, 30..31);
        assert_eq!(spoil(&mut log, errno), [Stored::Full], "a second time is news");
        log.retry();
        settle(&mut log);
        drop(log);
        assert_eq!(place.open().1, records(0..31));
    }
}

#[test]
fn a_write_cut_short_by_a_full_disk_goes_on_where_it_was() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..40);
    let Some(Operation::Write { fd, offset, bytes }) = log.next_operation() else { panic!("a write") };
    let result = Operation::Write { fd, offset, bytes: &bytes[..100] }.perform();
    assert_eq!(log.completed(result), []);
    assert_eq!(spoil(&mut log, libc::ENOSPC), [Stored::Full]);
    log.retry();
    settle(&mut log);
    drop(log);
    assert_eq!(place.open().1, records(0..40));
}

#[test]
fn a_snapshot_without_room_waits_and_does_not_stop_the_log() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    let mark = append(&mut log, 0..10);
    settle(&mut log);
    log.save(b"part");
    log.saved(mark);
    assert_eq!(step(&mut log), (false, Vec::new()), "the directory");
    assert_eq!(spoil(&mut log, libc::ENOSPC), [Stored::Full]);
    append(&mut log, 10..11);
    log.retry();
    let told = settle(&mut log);
    assert!(matches!(told[..], [Stored::Logged(_), Stored::Saved(upto)] if upto == mark), "{told:?}");
    drop(log);
    assert_eq!(place.open().1, [&[Told::Part(b"part".to_vec())][..], &records(10..11)].concat());
}

#[test]
fn a_snapshot_that_finds_room_again_says_so() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    log.save(b"part");
    step(&mut log);
    assert_eq!(spoil(&mut log, libc::ENOSPC), [Stored::Full]);
    log.retry();
    assert_eq!(settle(&mut log), [Stored::Logged(LogMark(0))]);
    assert!(!log.is_full());
}

#[test]
fn a_failed_disk_is_told_once_and_never_asked_again() {
    // The write, the sync of the file, the sync of its name.
    for before in 0..3 {
        let place = Place::new();
        let (mut log, ..) = place.open();
        append(&mut log, 0..10);
        (0..before).for_each(|_| assert_eq!(step(&mut log).1, []));
        assert_eq!(spoil(&mut log, libc::EIO), [Stored::Failed]);
        let mark = append(&mut log, 10..20);
        log.save(b"part");
        log.saved(mark);
        log.retry();
        assert!(log.next_operation().is_none());
        assert_eq!(log.waiting(), 0);
        assert!(append(&mut log, 20..21) >= mark, "marks still grow");
    }
}

#[test]
fn a_sync_without_room_is_a_failure() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    step(&mut log);
    assert_eq!(spoil(&mut log, libc::ENOSPC), [Stored::Failed]);
}

#[test]
fn an_interrupted_operation_is_repeated() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    assert_eq!(spoil(&mut log, libc::EINTR), []);
    assert_eq!(step(&mut log), (true, Vec::new()));
    assert_eq!(spoil(&mut log, libc::EINTR), []);
    assert_eq!(settle(&mut log), [Stored::Logged(log.mark())]);
    drop(log);
    assert_eq!(place.open().1, records(0..10));
}

#[test]
fn what_is_not_ours_is_refused_with_a_sentence() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    settle(&mut log);
    assert!(place.refusal(seat(), "tally", 2).contains("another process"));
    drop(log);
    assert!(place.refusal(seat(), "dht", 2).contains("written by tally, not by dht"));
    assert!(place.refusal(seat(), "tally", 1).contains("start the newer one"));
    let elsewhere = Seat { node: NodeId(4), ..seat() };
    assert!(place.refusal(elsewhere, "tally", 2).contains("belongs to node 3, not to node 4"));
    let wider = Seat { cores: 4, ..seat() };
    assert!(place.refusal(wider, "tally", 2).contains("on 2 cores, this one has 4"));
    let path = place.only_segment();
    fs::write(&path, b"#!/bin/sh\necho this is something else altogether, and longer than a header\n")
        .unwrap();
    assert!(place.refusal(seat(), "tally", 2).contains("does not begin with RINGWISE"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(place.refusal(seat(), "tally", 2).contains("cannot use"));
}

#[test]
fn a_missing_segment_and_a_damaged_snapshot_are_refused() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    settle(&mut log);
    log.save(b"part");
    settle(&mut log);
    append(&mut log, 10..20);
    settle(&mut log);
    drop(log);
    let [first, _, _] = &place.files()[..] else { panic!("{:?}", place.files()) };
    let first = place.0.join(first);
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 1]).unwrap();
    assert!(place.refusal(seat(), "tally", 2).contains("damaged"), "one that is not the last is never torn");
    fs::remove_file(&first).unwrap();
    assert!(place.refusal(seat(), "tally", 2).contains("missing"));
    fs::write(&first, &bytes).unwrap();

    let (mut log, ..) = place.open();
    log.save(b"part");
    log.saved(log.mark());
    settle(&mut log);
    drop(log);
    let snapshot = place.0.join("core-1.snapshot");
    let bytes = fs::read(&snapshot).unwrap();
    for cut in 0..bytes.len() {
        fs::write(&snapshot, &bytes[..cut]).unwrap();
        assert!(place.refusal(seat(), "tally", 2).contains("damaged"), "cut at {cut}");
    }
    for byte in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[byte] ^= 1 << (byte % 8);
        fs::write(&snapshot, &changed).unwrap();
        place.refusal(seat(), "tally", 2);
    }
    fs::write(&snapshot, &bytes).unwrap();
    assert_eq!(place.open().1, [Told::Part(b"part".to_vec())]);
}

#[test]
fn a_newer_version_goes_on_in_a_file_of_its_own() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    settle(&mut log);
    drop(log);
    let (mut log, told, _) = place.try_open(seat(), "tally", 3).unwrap();
    assert_eq!(told, records(0..10));
    append(&mut log, 10..20);
    settle(&mut log);
    drop(log);
    assert_eq!(place.files().len(), 2);
    assert!(place.refusal(seat(), "tally", 2).contains("start the newer one"));
    assert_eq!(place.try_open(seat(), "tally", 3).unwrap().1, records(0..20));
}

#[test]
fn a_snapshot_ahead_of_a_torn_log_begins_a_new_one_at_its_mark() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..5);
    settle(&mut log);
    let (path, short) = (place.only_segment(), fs::read(place.only_segment()).unwrap());
    let mark = append(&mut log, 5..10);
    settle(&mut log);
    log.save(b"part");
    log.saved(mark);
    settle(&mut log);
    drop(log);
    for name in place.files().iter().filter(|name| name.ends_with(".log")) {
        fs::remove_file(place.0.join(name)).unwrap();
    }
    // As if the records the snapshot stands for had never reached the disk, and their file not been removed.
    fs::write(path, short).unwrap();
    let (mut log, told, _) = place.open();
    assert_eq!(told, [Told::Part(b"part".to_vec())]);
    assert!(log.mark() >= mark);
    append(&mut log, 10..12);
    settle(&mut log);
    drop(log);
    assert_eq!(place.open().1, [&[Told::Part(b"part".to_vec())][..], &records(10..12)].concat());
}

#[test]
#[should_panic(expected = "stands for what was logged")]
fn a_snapshot_of_what_was_never_logged_is_our_bug() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    log.saved(LogMark(1));
}
