//! WebSocket frames: each rule of RFC 6455 that a client can break or keep, and every cut.

use wire::websocket::{Heard, Reason, Socket, accept};

/// A frame as a client sends it: masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What was heard, in words, and what was answered.
fn hear(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut socket = Socket::server(1000);
    let (mut words, mut output) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some(heard) = socket.take(&mut input, &mut output) {
            words.push(match heard {
                Heard::Text(text) => format!("text {}", &*text),
                Heard::Binary(data) => format!("binary {:?}", &*data),
                Heard::Pong => "pong".to_owned(),
                Heard::Over => "over".to_owned(),
            });
        }
        assert!(input.is_empty(), "all is read");
    }
    (words, output)
}

/// Heard so and answered so, however the bytes are cut.
#[track_caller]
fn check(input: &[u8], expected: &[&str], answer: &[u8]) {
    let whole = hear(&[input]);
    assert_eq!(whole.0, expected);
    assert_eq!(whole.1, answer, "answered {:02x?}", whole.1);
    for cut in 0..input.len() {
        let (front, back) = input.split_at(cut);
        assert_eq!(hear(&[front, back]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(hear(&bytes), whole, "byte by byte");
}

#[test]
fn a_key_is_answered_as_the_rfc_says() {
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for wrong in
        ["", "dGhl", "not base64 at all!!!!!!!", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZWE="]
    {
        assert_eq!(accept(wrong), None, "{wrong:?}");
    }
}

#[test]
fn messages_come_whole_however_they_are_cut() {
    check(&frame(0x81, b"hello"), &["text hello"], b"");
    check(&frame(0x82, &[0, 255]), &["binary [0, 255]"], b"");
    check(&frame(0x81, &[b'a'; 200]), &[&format!("text {}", "a".repeat(200))], b"");
    let parts = [frame(0x01, b"he"), frame(0x00, b"l"), frame(0x89, b"!"), frame(0x80, b"lo")].concat();
    check(&parts, &["text hello"], &[0x8a, 1, b'!']);
    // A character may be cut between two fragments (section 5.6).
    let parts = [frame(0x01, &[0xe2, 0x82]), frame(0x80, &[0xac])].concat();
    check(&parts, &["text €"], b"");
}

#[test]
fn pings_are_answered_and_pongs_told() {
    check(&frame(0x89, b"are you there"), &[], b"\x8a\x0dare you there");
    check(&frame(0x8a, b""), &["pong"], b"");
}

#[test]
fn a_close_is_answered_with_the_same_code() {
    check(&frame(0x88, &[0x03, 0xe8]), &["over"], &[0x88, 2, 0x03, 0xe8]);
    check(&frame(0x88, b""), &["over"], &[0x88, 0]);
}

#[test]
fn who_breaks_a_rule_is_told_which() {
    let close = |code: u16| [&[0x88, 2][..], &code.to_be_bytes()].concat();
    // Not masked (section 5.1).
    check(&[0x81, 2, b'h', b'i'], &["over"], &close(1002));
    // A reserved bit (5.2), a reserved kind of frame (5.2).
    check(&frame(0xc1, b"x"), &["over"], &close(1002));
    check(&frame(0x83, b"x"), &["over"], &close(1002));
    // A control frame that is a fragment, or too long (5.5).
    check(&frame(0x09, b"x"), &["over"], &close(1002));
    check(&frame(0x89, &[0; 126]), &["over"], &close(1002));
    // A continuation of nothing, a message within a message (5.4).
    check(&frame(0x80, b"x"), &["over"], &close(1002));
    check(&[frame(0x01, b"x"), frame(0x81, b"y")].concat(), &["over"], &close(1002));
    // Text that is none (8.1).
    check(&frame(0x81, &[0xff]), &["over"], &close(1007));
    // Too long, by one frame or by all, as soon as it is announced (10.4).
    check(&frame(0x82, &[0; 1001])[..8], &["over"], &close(1009));
    check(&[frame(0x02, &[0; 999]), frame(0x80, &[0; 2])].concat(), &["over"], &close(1009));
    let endless = [&[0x82, 0xff][..], &[0xff; 8][..], &[0; 4][..]].concat();
    check(&endless, &["over"], &close(1009));
}

#[test]
fn nothing_is_heard_or_said_after_the_end() {
    let mut socket = Socket::server(100);
    let mut output = Vec::new();
    let bytes = [frame(0x88, &[0x03, 0xe8]), frame(0x81, b"more")].concat();
    assert_eq!(socket.take(&mut &bytes[..], &mut output), Some(Heard::Over));
    assert_eq!(socket.take(&mut &bytes[..], &mut output), None);
    output.clear();
    assert!(!socket.text("still there", &mut output));
    assert_eq!(output, b"");
}

#[test]
fn what_is_said_is_not_masked_and_a_close_of_ours_waits_for_theirs() {
    let mut socket = Socket::server(100);
    let mut output = Vec::new();
    assert!(socket.text("hi", &mut output));
    assert!(socket.binary(&[7], &mut output));
    assert!(socket.ping(&mut output));
    socket.close(Reason::Away, &mut output);
    assert_eq!(output, [0x81, 2, b'h', b'i', 0x82, 1, 7, 0x89, 0, 0x88, 2, 0x03, 0xe9]);
    assert!(!socket.text("more", &mut output));
    // What they had said before they heard of it still comes.
    let bytes = [frame(0x81, b"late"), frame(0x88, &[0x03, 0xe9])].concat();
    let mut input = &bytes[..];
    assert!(matches!(socket.take(&mut input, &mut output), Some(Heard::Text(text)) if &*text == "late"));
    assert_eq!(socket.take(&mut input, &mut output), Some(Heard::Over));
}
