//! What another node may send: hellos, link messages, envelopes, and archives that pretend to be messages.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/peer; cargo fuzz run peer --sanitizer none fuzz/corpus/peer corpus/hello corpus/link`
#![no_main]

use libfuzzer_sys::fuzz_target;
use rkyv::{Archive, Deserialize, Serialize};
use wire::peer::{Batch, Message};
use wire::{Outcome, link, peer};

/// One of each: numbers, text, bytes, lists, options, lists of lists.
#[derive(Debug, Archive, Serialize, Deserialize)]
enum Said {
    Nothing,
    Number(u64),
    Get { conn: u32, key: Vec<u8> },
    Many(Vec<(String, Option<i128>)>),
    Lists(Vec<Vec<u16>>),
}

/// Reads all of an archive that was found to be a message; it must go out and come in again.
fn hear(archive: &[u8], blob: bool) {
    let mut batch = Batch::new();
    batch.carry(archive, blob);
    for (said, heard_blob) in batch.heard::<Said>().flatten() {
        assert_eq!(blob, heard_blob);
        let said: Said = rkyv::deserialize::<Said, rkyv::rancor::Failure>(said).expect("a checked archive");
        let mut again = Batch::new();
        said.write(&mut again, blob);
        assert!(again.heard::<Said>().all(|heard| heard.is_ok()));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let ours = link::Hello { system: "dht", version: 3, node: 1, core: 0, challenge: None };
    for ours in [ours, link::Hello { challenge: Some([7; 32]), ..ours }] {
        if let Outcome::Done { value, used } = link::read_hello(bytes, &ours) {
            let mut again = Vec::new();
            link::write_hello(&mut again, &value);
            assert_eq!(again, bytes[..used]);
        }
    }
    if let Outcome::Done { value, used } = link::read(bytes, &link::Limits::default()) {
        assert_eq!(
            link::header(value.to, value.archive.len(), value.blob.map(<[u8]>::len)),
            bytes[..link::HEADER]
        );
        assert!(used <= bytes.len());
        hear(value.archive, value.blob.is_some());
    }
    for envelope in peer::envelopes(bytes).flatten() {
        hear(envelope.archive, envelope.blob);
    }
    hear(bytes, false);
});
