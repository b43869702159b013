//! Messages of cores, written into a batch and read in place.

use rkyv::{Archive, Deserialize, Serialize};
use smallvec::SmallVec;
use wire::peer::{self, ALIGN, Batch, Fault, HEADER, Message};

#[derive(Debug, PartialEq, Archive, Serialize, Deserialize)]
enum Said {
    Nothing,
    Number(u64),
    Get { conn: u32, key: SmallVec<[u8; 16]> },
    Many(Vec<(String, Option<i128>)>),
}

fn corpus() -> Vec<Said> {
    vec![
        Said::Nothing,
        Said::Number(7),
        Said::Get { conn: 3, key: SmallVec::from_slice(b"a key") },
        Said::Many(vec![]),
        Said::Many((0..100).map(|i| ("x".repeat(i), (i % 2 == 0).then_some(-(i as i128)))).collect()),
        Said::Get { conn: 4, key: SmallVec::from_slice(&[b'k'; 300]) },
    ]
}

fn back(archived: &ArchivedSaid) -> Said {
    rkyv::deserialize::<Said, rkyv::rancor::Failure>(archived).expect("a checked archive")
}

fn written() -> Batch {
    let mut batch = Batch::new();
    for (index, said) in corpus().iter().enumerate() {
        said.write(&mut batch, index % 2 == 1);
    }
    batch
}

#[test]
fn messages_are_heard_as_they_were_said_and_in_order() {
    let mut batch = written();
    for _ in 0..2 {
        let heard: Vec<(Said, bool)> = batch
            .heard::<Said>()
            .map(|heard| heard.map(|(said, blob)| (back(said), blob)))
            .collect::<Result<_, _>>()
            .expect("a batch of our own");
        let expected: Vec<(Said, bool)> =
            corpus().into_iter().enumerate().map(|(index, said)| (said, index % 2 == 1)).collect();
        assert_eq!(heard, expected);
        assert_eq!((batch.count(), batch.is_empty(), batch.len() % ALIGN), (expected.len(), false, 0));
        // An emptied batch keeps its memory and serves again.
        let capacity = batch.capacity();
        batch.clear();
        assert_eq!((batch.count(), batch.len(), batch.capacity()), (0, 0, capacity));
        corpus().iter().enumerate().for_each(|(index, said)| said.write(&mut batch, index % 2 == 1));
    }
}

#[test]
fn archives_are_aligned_wherever_they_stand() {
    let batch = written();
    for envelope in batch.envelopes() {
        assert_eq!(envelope.archive.as_ptr() as usize % ALIGN, 0);
    }
}

#[test]
fn what_a_link_brought_is_carried_and_heard() {
    let batch = written();
    let mut carried = Batch::with_capacity(batch.len());
    for envelope in batch.envelopes() {
        // At an odd address, as a stream would have it.
        let stream = [b"x", envelope.archive].concat();
        carried.carry(&stream[1..], envelope.blob);
    }
    assert_eq!(carried.bytes(), batch.bytes());
    assert!(carried.envelopes().eq(batch.envelopes()));
}

#[test]
fn archives_at_odd_addresses_are_faults_not_panics() {
    let mut batch = Batch::new();
    Said::Number(7).write(&mut batch, false);
    let envelope = batch.envelopes().next().expect("a message");
    let mut shifted = Batch::new();
    shifted.carry(&[&[0; 1], envelope.archive].concat(), false);
    let shifted = shifted.envelopes().next().expect("a message");
    assert_eq!(Said::hear(&shifted.archive[1..]).map(back), Err(Fault::Archive));
}

#[test]
fn bytes_that_are_no_batch_are_faults() {
    let batch = written();
    let whole: Vec<_> = peer::envelopes(batch.bytes()).collect::<Result<_, _>>().expect("our own bytes");
    assert!(batch.envelopes().eq(whole.iter().copied()));
    for length in 0..batch.len() {
        let all: Vec<_> = peer::envelopes(&batch.bytes()[..length]).collect();
        let good = all.iter().take_while(|envelope| envelope.is_ok()).count();
        assert!(all[good..].iter().all(|envelope| *envelope == Err(Fault::Cut)), "cut at {length}");
        assert!(all.len() - good <= 1, "nothing follows a fault");
        assert!(all.iter().flatten().eq(&whole[..good]), "cut at {length}");
    }
    let mut flagged = batch.bytes().to_vec();
    flagged[4] = 2;
    assert_eq!(peer::envelopes(&flagged).next(), Some(Err(Fault::Header)));
    let mut reserved = batch.bytes().to_vec();
    reserved[15] = 1;
    assert_eq!(peer::envelopes(&reserved).next(), Some(Err(Fault::Header)));
}

#[test]
fn damaged_archives_are_checked_before_they_are_read() {
    let batch = written();
    let mut refused = 0;
    for envelope in batch.envelopes() {
        for at in 0..envelope.archive.len() {
            for bit in [0x01, 0x80] {
                let mut damaged = envelope.archive.to_vec();
                damaged[at] ^= bit;
                let mut carried = Batch::new();
                carried.carry(&damaged, false);
                for heard in carried.heard::<Said>() {
                    match heard {
                        // Another message than was said, but a message: all of it can be read.
                        Ok((said, _)) => drop(format!("{:?}", back(said))),
                        Err(fault) => {
                            assert_eq!(fault, Fault::Archive);
                            refused += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 100, "{refused} refused");
}

#[test]
fn a_number_costs_one_header_and_itself() {
    let mut batch = Batch::new();
    42_u64.write(&mut batch, false);
    assert_eq!(batch.len(), HEADER + ALIGN);
    assert_eq!(batch.heard::<u64>().next().expect("a message"), Ok((&42_u64.into(), false)));
}
