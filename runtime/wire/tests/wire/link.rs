//! What nodes say to each other before and around their messages.

use crate::corpus::{KEYED, OURS};
use wire::Outcome;
use wire::link::{self, Fault, Hello, Limits, Message, Refusal};
use wire::proof::{End, Key};

#[test]
fn a_hello_is_read_back() {
    for hello in [OURS, Hello { version: 0, node: u16::MAX, core: 513, ..OURS }] {
        let mut bytes = Vec::new();
        link::write_hello(&mut bytes, &hello);
        assert_eq!(link::read_hello(&bytes, &OURS), Outcome::Done { value: hello, used: bytes.len() });
    }
    let mut bytes = Vec::new();
    link::write_hello(&mut bytes, &KEYED);
    assert_eq!(link::read_hello(&bytes, &KEYED), Outcome::Done { value: KEYED, used: bytes.len() });
}

#[test]
fn a_proof_is_good_for_one_end_of_one_link_alone() {
    let key = Key::new(b"sixteen bytes or more\n").expect("long enough");
    let dialler = Hello { node: 4, core: 1, challenge: Some([1; 32]), ..OURS };
    let acceptor = Hello { node: 5, core: 0, challenge: Some([2; 32]), ..OURS };
    let proof = key.proof(End::Dialler, &dialler, &acceptor);
    assert!(key.is_proved(End::Dialler, &dialler, &acceptor, &proof));
    let check = |end, dialler: Hello<'_>, acceptor: Hello<'_>| {
        assert!(!key.is_proved(end, &dialler, &acceptor, &proof), "{end:?} {dialler:?} {acceptor:?}");
    };
    check(End::Acceptor, dialler, acceptor);
    check(End::Acceptor, acceptor, dialler);
    check(End::Dialler, acceptor, dialler);
    check(End::Dialler, Hello { challenge: Some([3; 32]), ..dialler }, acceptor);
    check(End::Dialler, dialler, Hello { challenge: Some([3; 32]), ..acceptor });
    check(End::Dialler, Hello { node: 6, ..dialler }, acceptor);
    check(End::Dialler, Hello { core: 0, ..dialler }, acceptor);
    check(End::Dialler, Hello { version: 2, ..dialler }, acceptor);
    check(End::Dialler, dialler, Hello { system: "waves", ..acceptor });
    let other = Key::new(b"sixteen bytes or mere").expect("long enough");
    assert!(!other.is_proved(End::Dialler, &dialler, &acceptor, &proof));
    let spaced = Key::new(b"  sixteen bytes or more").expect("long enough");
    assert_eq!(
        spaced.proof(End::Dialler, &dialler, &acceptor),
        proof,
        "white space around a key is none of it"
    );
    assert!(Key::new(b" fifteen bytes! \n").is_none());
    assert_eq!(format!("{key:?}"), "Key(…)");
}

#[test]
fn who_can_not_go_on_says_why() {
    let check = |bytes: &[u8], expected: &str| match link::read_hello(bytes, &OURS) {
        Outcome::Fault(refusal) => assert_eq!(refusal.to_string(), expected),
        other => panic!("{} gave {other:?}", bytes.escape_ascii()),
    };
    let stranger = "what connected to the link port is not a node: check the address it was given";
    check(b"GET / HTTP/1.1", stranger);
    check(b"RWX", stranger);
    let newer = "the other node speaks version 4 and this one 3: upgrade this node first";
    check(b"RWLK\x00\x04\0\0\0\0\x03dht", newer);
    let other = "a node of system 'waves' connected to system 'dht': check its list of nodes";
    check(b"RWLK\x00\x03\0\0\0\0\x05waves", other);
    let name = "a node said a malformed system name in its hello";
    check(b"RWLK\x00\x03\0\0\0\0\x03d\nt", name);
    check(b"RWLK\x00\x03\0\0\0\0\x00", name);
    check(b"RWLK\x00\x03\0\0\0\0\x21", name);
    assert_eq!(link::read_hello(b"X", &OURS), Outcome::Fault(Refusal::Stranger));
    let keyed = b"RWLK\x00\x03\0\0\0\0\x03dht\x01";
    check(
        keyed,
        "the other node has a cluster key and this one has none: give both the same --cluster-key-file",
    );
    let keyless = link::read_hello(b"RWLK\x00\x03\0\0\0\0\x03dht\0", &KEYED);
    assert_eq!(keyless, Outcome::Fault(Refusal::Keyless));
}

#[test]
fn a_message_and_its_blob_are_read_back() {
    let check = |to: u16, archive: &[u8], blob: Option<&[u8]>| {
        let mut bytes = link::header(to, archive.len(), blob.map(<[u8]>::len)).to_vec();
        bytes.extend_from_slice(archive);
        bytes.extend_from_slice(blob.unwrap_or_default());
        let value = Message { to, archive, blob };
        assert_eq!(link::read(&bytes, &Limits::default()), Outcome::Done { value, used: bytes.len() });
        assert_eq!(value.blob_range().map(|range| &bytes[range]), blob);
    };
    check(0, b"", None);
    check(7, b"archive", None);
    check(u16::MAX, b"archive", Some(b""));
    check(1, b"archive", Some(b"a blob"));
}

#[test]
fn lengths_are_bounded_before_anything_is_awaited() {
    let limits = Limits { archive_max: 8, blob_max: 16 };
    let check = |header: [u8; link::HEADER], expected: Outcome<Message<'_>, Fault>| {
        assert_eq!(link::read(&header, &limits), expected);
    };
    check(link::header(0, 8, Some(16)), Outcome::Partial { need: 40 });
    check(link::header(0, 9, None), Outcome::Fault(Fault::ArchiveLength(9)));
    check(link::header(0, 8, Some(17)), Outcome::Fault(Fault::BlobLength(17)));
    let mut blob_unflagged = link::header(0, 1, Some(1));
    blob_unflagged[10] = 0;
    check(blob_unflagged, Outcome::Fault(Fault::Header));
    let mut reserved = link::header(0, 0, None);
    reserved[15] = 1;
    check(reserved, Outcome::Fault(Fault::Header));
}
