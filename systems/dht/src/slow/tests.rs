use super::*;

fn text(words: Vec<Vec<u8>>) -> Vec<String> {
    words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[test]
fn a_request_is_shown_as_redis_shows_it() {
    #[track_caller]
    fn check(request: &[&[u8]], expected: &[&str]) {
        let mut bytes = Vec::new();
        wire::resp::write_request(&mut bytes, request);
        assert_eq!(text(words(Aside::Resp, &bytes)), expected);
    }
    check(&[b"SET", b"k", b"v"], &["SET", "k", "v"]);
    let long = "x".repeat(200);
    let cut = format!("{}... (72 more bytes)", "x".repeat(128));
    check(&[b"SET", b"k", long.as_bytes()], &["SET", "k", &cut]);
    let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let request: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    let mut shown: Vec<&str> = many[..31].iter().map(String::as_str).collect();
    shown.push("... (9 more arguments)");
    check(&request, &shown);
    let exactly: Vec<&str> = many[..32].iter().map(String::as_str).collect();
    check(&request[..32], &exactly);
}

#[test]
fn every_cut_of_what_was_put_aside_is_shown_somehow() {
    let mut resp = Vec::new();
    wire::resp::write_request(&mut resp, &[b"MSET", b"a", &[b'x'; 300], b"b", b"2"]);
    let mut frame = Vec::new();
    wire::frame::write(&mut frame, &[b"put key some value"]);
    let mut slowness = Slowness::new();
    slowness.piece(0, CoreId(0), b"key", &[b'v'; 200]);
    let plain = slowness.bytes.clone();
    for (aside, bytes) in [(Aside::Resp, resp), (Aside::Frame, frame), (Aside::Words, plain)] {
        let whole = words(aside, &bytes);
        for cut in 0..bytes.len() {
            assert!(words(aside, &bytes[..cut]).len() <= whole.len() + 1, "{aside:?} cut at {cut}");
        }
    }
    let cut = &[b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n".as_slice(), &[b'v'; 5]].concat();
    assert_eq!(text(words(Aside::Resp, cut)), ["SET", "k", "vvvvv... (995 more bytes)"]);
    assert_eq!(text(words(Aside::Resp, b"get  k\r\nnext")), ["get", "k"]);
    assert_eq!(text(words(Aside::Frame, b"\0\0\0\x0dput k a b c d")), ["put", "k", "a b c d"]);
}

#[test]
fn time_is_shared_by_what_was_done() {
    let mut slowness = Slowness::new();
    let (get, set) = (index_of("get"), index_of("set"));
    (0..3).for_each(|_| slowness.count(get as u8));
    slowness.count(set as u8);
    slowness.piece(set as u8, CoreId(1), b"k", b"");
    assert_eq!(slowness.share(Duration::from_nanos(1000)), (5, Some(set)));
    assert_eq!((slowness.nanos[get], slowness.nanos[set]), (600, 400));
    assert_eq!(slowness.share(Duration::from_nanos(1000)), (0, None), "nothing more was done");
    slowness.count(get as u8);
    assert_eq!(slowness.share(Duration::from_nanos(7)), (1, Some(get)));
    assert_eq!(slowness.nanos[get], 607);
    slowness.count(get as u8);
    slowness.reset();
    assert_eq!(slowness.share(Duration::from_nanos(9)), (0, None), "what was forgotten takes no time");
    assert_eq!(slowness.nanos[get], 0);
}

#[test]
fn samples_are_one_a_second_and_merge() {
    let mut slowness = Slowness::new();
    for (second, took_ms) in [(1, 5), (1, 9), (2, 3)] {
        slowness.sample("command", WallTime::from_millis(second * 1000), took_ms);
    }
    let mut all = slowness.series().to_vec();
    let more = Series { event: "command".into(), longest_ms: 20, samples: vec![(1, 20), (3, 4)] };
    merge(&mut all, vec![more]);
    assert_eq!(all[0].samples, [(1, 20), (2, 3), (3, 4)]);
    assert_eq!(all[0].longest_ms, 20);
    for second in 0..1000 {
        slowness.sample("command", WallTime::from_millis(second * 1000), 1);
    }
    assert_eq!(slowness.series()[0].samples.len(), SAMPLES_MAX);
    assert_eq!(slowness.forget_series(&["other".into()]), []);
    assert_eq!(slowness.forget_series(&[]).len(), 1);
}
