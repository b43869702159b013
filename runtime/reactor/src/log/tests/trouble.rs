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
        assert_eq!(spoil(&mut log, errno), Some(Stored::Full));
        assert!(log.is_full() && log.next_operation(Lane::Groups).is_none() && log.waiting() > 0);
        log.retry();
        assert_eq!(spoil(&mut log, errno), None, "told once");
        assert!(log.next_operation(Lane::Groups).is_none());
        append(&mut log, 20..30);
        log.retry();
        let told = settle(&mut log);
        assert_eq!(told.last(), Some(&Stored::Logged(log.mark())));
        assert!(!log.is_full() && log.waiting() == 0);
        append(&mut log, 30..31);
        assert_eq!(spoil(&mut log, errno), Some(Stored::Full), "a second time is news");
        log.retry();
        settle(&mut log);
        drop(log);
        assert_eq!(place.open().1, records(0..31));
    }
}

#[test]
fn without_room_for_spares_segments_grow_and_without_room_for_a_snapshot_it_is_given_up() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    settle(&mut log);
    let mut numbers = 0;
    for _ in 0..30 {
        append(&mut log, numbers..numbers + 300);
        numbers += 300;
        while log.next_operation(Lane::Groups).is_some() {
            log.completed(Lane::Groups, -libc::EINTR);
            step(&mut log);
        }
        if log.next_operation(Lane::Chores).is_some() {
            assert_eq!(log.completed(Lane::Chores, -libc::ENOSPC), None);
            assert!(log.wants_retry() && !log.is_full(), "records have room all the same");
        }
    }
    assert!(fs::metadata(place.segments().last().unwrap()).unwrap().len() > SEGMENT);
    log.retry();
    settle(&mut log);
    log.save(b"never");
    log.saved(log.mark());
    step_of(&mut log, Lane::Chores);
    assert!(log.next_operation(Lane::Chores).is_some());
    assert_eq!(log.completed(Lane::Chores, -libc::ENOSPC), Some(Stored::Unsaved));
    assert!(!place.files().contains(&"core-1.snapshot.new".to_owned()), "what was written of it is gone");
    log.save(b"part");
    log.saved(log.mark());
    assert_eq!(settle(&mut log), [Stored::Saved(log.mark())]);
    drop(log);
    assert_eq!(place.open().1, [Told::Part(b"part".to_vec())]);
}

#[test]
fn a_segment_whose_write_or_sync_failed_is_given_up_and_its_group_goes_to_another() {
    for is_long in [false, true] {
        let place = Place::new();
        let (mut log, ..) = place.open();
        append(&mut log, 0..10);
        settle(&mut log);
        append(&mut log, 10..20);
        if is_long {
            // More than one write, so that there is a sync of its own; it is the sync that fails.
            log.append(&vec![3; WRITE_MAX]);
            while step(&mut log).0
                && !matches!(log.next_operation(Lane::Groups), Some(Operation::Sync { .. }))
            {
                log.completed(Lane::Groups, -libc::EINTR);
            }
            assert_eq!(log.completed(Lane::Groups, -libc::EIO), None);
        } else {
            assert_eq!(spoil(&mut log, libc::EIO), None);
        }
        assert_eq!(log.given_up(), 1);
        let mark = append(&mut log, 20..30);
        let told = settle(&mut log);
        assert!(matches!(told[..], [Stored::Logged(upto)] if upto >= mark), "{told:?}");
        append(&mut log, 30..40);
        settle(&mut log);
        drop(log);
        assert!(place.segments().len() >= 2);
        let (_, told, _) = place.open();
        let short: Vec<_> = told
            .into_iter()
            .filter(|told| !matches!(told, Told::Record(bytes) if bytes.len() == WRITE_MAX))
            .collect();
        assert_eq!(short, records(0..40));
    }
}

#[test]
fn without_a_spare_a_failed_group_waits_for_one_and_fails_with_it() {
    for can_make in [true, false] {
        let place = Place::new();
        let (mut log, ..) = place.open();
        append(&mut log, 0..10);
        while !log.groups_are_done() {
            step(&mut log);
        }
        append(&mut log, 10..20);
        assert_eq!(spoil(&mut log, libc::EIO), None);
        assert!(log.next_operation(Lane::Groups).is_none(), "there is nowhere to write");
        if can_make {
            let told = settle(&mut log);
            assert_eq!(told, [Stored::Logged(log.mark())]);
            drop(log);
            assert_eq!(place.open().1, records(0..20));
        } else {
            assert!(log.next_operation(Lane::Chores).is_some());
            assert_eq!(log.completed(Lane::Chores, -libc::ENOSPC), Some(Stored::Failed));
            assert!(log.next_operation(Lane::Groups).is_none() && log.is_idle());
            drop(log);
            assert_eq!(place.open().1[..10], records(0..10));
        }
    }
}

#[test]
fn a_disk_that_fails_twice_is_told_once_and_never_asked_again() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    settle(&mut log);
    append(&mut log, 0..10);
    settle(&mut log);
    append(&mut log, 10..20);
    assert_eq!(spoil(&mut log, libc::EIO), None);
    assert_eq!(spoil(&mut log, libc::EIO), Some(Stored::Failed), "nothing of the other was ever safe");
    let mark = append(&mut log, 20..30);
    log.save(b"part");
    log.saved(mark);
    log.retry();
    assert!(Lane::ALL.into_iter().all(|lane| log.next_operation(lane).is_none()));
    assert_eq!((log.waiting(), log.is_idle()), (0, true));
    assert!(append(&mut log, 30..31) >= mark, "marks still grow");
    drop(log);
    assert_eq!(place.open().1[..10], records(0..10));
}

#[test]
fn what_the_kernel_still_reads_is_kept_when_the_other_lane_fails() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    settle(&mut log);
    log.save(b"part");
    let Some(Operation::Write { bytes, .. }) = log.next_operation(Lane::Chores) else { panic!("a write") };
    let at = bytes.as_ptr();
    append(&mut log, 0..10);
    assert_eq!(spoil(&mut log, libc::EIO), None);
    assert_eq!(spoil(&mut log, libc::EIO), Some(Stored::Failed));
    // SAFETY: the chore is in flight, so its bytes must live.
    assert_eq!(unsafe { *at }, b'R');
    assert_eq!(log.completed(Lane::Chores, 1), None);
}

#[test]
fn an_interrupted_operation_is_repeated() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    append(&mut log, 0..10);
    assert_eq!(spoil(&mut log, libc::EINTR), None);
    assert!(step(&mut log).0);
    settle(&mut log);
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
    for group in 0..30 {
        append(&mut log, group * 300..group * 300 + 300);
        settle(&mut log);
    }
    drop(log);
    let segments = place.segments();
    let first = &segments[0];
    let bytes = fs::read(first).unwrap();
    fs::write(first, &bytes[..bytes.len() / 2]).unwrap();
    assert!(place.refusal(seat(), "tally", 2).contains("damaged"), "one that is not the last is never torn");
    fs::remove_file(first).unwrap();
    assert!(place.refusal(seat(), "tally", 2).contains("missing"));
    fs::write(first, &bytes).unwrap();

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
    assert_eq!(place.segments().len(), 2);
    assert!(place.refusal(seat(), "tally", 2).contains("start the newer one"));
    assert_eq!(place.try_open(seat(), "tally", 3).unwrap().1, records(0..20));
}

#[test]
#[should_panic(expected = "stands for what was logged")]
fn a_snapshot_of_what_was_never_logged_is_our_bug() {
    let place = Place::new();
    let (mut log, ..) = place.open();
    log.saved(LogMark(1));
}

impl Log {
    fn groups_are_done(&self) -> bool {
        self.groups.is_idle()
    }
}
