//! Tables of every cut: what an engine answers, what a replica answers to a heartbeat, what a client sends to us.

mod desk;

use balancer::config::Docker;
use balancer::control::{self, Asked};
use balancer::docker::{Engine, Farewell, News};
use balancer::peer::Tenancy;
use balancer::probe::{self, Probes};
use balancer::spread::Seat;
use desk::Desk;
use machine::{Address, ConnId, Input, Instant, Now, Signal};
use std::time::Duration;

const TENANCY: Tenancy = Tenancy { seat: Seat(0), life: 7 };

fn engine() -> Engine {
    let docker = Docker {
        socket: "/run/docker.sock".into(),
        image: "image".into(),
        network: "net".into(),
        port: 5000,
        label: "label".into(),
        seccomp: None,
    };
    Engine::new(&docker, Duration::from_secs(5), Signal::Interrupt)
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Says these bytes on a connection, in two pieces, and ends it where it is still open.
fn say(engine: &mut Engine, out: &mut Desk, conn: ConnId, bytes: &[u8], cut: usize) {
    let mut left = Vec::new();
    for piece in [&bytes[..cut], &bytes[cut..]] {
        left.extend_from_slice(piece);
        if engine.has(conn) {
            let mut input = Input::lent(&left, Instant::ZERO, None);
            engine.on_bytes(Now::default(), conn, &mut input, out);
            let rest = input.bytes().len();
            left.drain(..left.len() - rest);
        }
    }
}

/// The one open connection on which this was asked.
fn asked(out: &Desk, words: &str) -> ConnId {
    let text = |said: &Vec<u8>| String::from_utf8_lossy(said).into_owned();
    let found = out.open.iter().find(|(_, said)| text(said).starts_with(words));
    *found
        .unwrap_or_else(|| {
            panic!("{words} was not asked, but {:?}", out.open.values().map(text).collect::<Vec<_>>())
        })
        .0
}

/// The row of a container's life: what is asked, and what the engine answers.
fn row() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("GET /version", answer(200, r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#)),
        ("POST /v1.41/networks/create", answer(201, r#"{"Id":"aa"}"#)),
        ("GET /v1.41/containers/json?", answer(200, r#"[{"Id":"bb"}]"#)),
        ("DELETE /v1.41/containers/bb?", answer(204, "")),
        ("POST /v1.41/containers/create?name=S5", answer(409, r#"{"message":"in use"}"#)),
        ("GET /v1.41/containers/S5/json", answer(200, r#"{"Id":"cc","Config":{"Labels":{"label":"net"}}}"#)),
        ("DELETE /v1.41/containers/cc?", answer(204, "")),
        ("POST /v1.41/containers/create?name=S5", answer(201, r#"{"Id":"dd"}"#)),
        ("POST /v1.41/containers/dd/start", answer(204, "")),
        (
            "GET /v1.41/containers/dd/json",
            answer(
                200,
                r#"{"State":{"Running":true},"NetworkSettings":{"Networks":{"net":{"IPAddress":"10.0.0.9"}}}}"#,
            ),
        ),
    ]
}

#[test]
fn answers_of_an_engine_may_be_cut_anywhere() {
    let steps = row();
    for (index, (_, bytes)) in steps.iter().enumerate() {
        for cut in 0..bytes.len() {
            let (mut engine, mut out) = (engine(), Desk::default());
            engine.create(TENANCY, "S5", Now::default(), &mut out);
            for (at, (words, bytes)) in steps.iter().enumerate() {
                let conn = asked(&out, words);
                say(&mut engine, &mut out, conn, bytes, if at == index { cut } else { 0 });
            }
            let at = Address::Ip(([10, 0, 0, 9], 5000).into());
            assert_eq!(
                engine.news(),
                [News::Made(TENANCY, Ok(("dd".into(), at)))],
                "step {index} cut at {cut}"
            );
        }
    }
}

#[test]
fn an_answer_that_ends_early_takes_the_start_back() {
    let steps = row();
    for (index, (_, bytes)) in steps.iter().enumerate() {
        for cut in 0..bytes.len() {
            let (mut engine, mut out) = (engine(), Desk::default());
            engine.create(TENANCY, "S5", Now::default(), &mut out);
            for (words, bytes) in &steps[..index] {
                let conn = asked(&out, words);
                say(&mut engine, &mut out, conn, bytes, 0);
            }
            let conn = asked(&out, steps[index].0);
            let mut input = Input::lent(&bytes[..cut], Instant::ZERO, None);
            engine.on_bytes(Now::default(), conn, &mut input, &mut out);
            engine.on_end(Now::default(), conn, &mut out);
            // Whatever is asked then is not answered either; only the stream of events goes on.
            let mut news = engine.news();
            let is_call = |(_, said): &(&ConnId, &Vec<u8>)| !said.starts_with(b"GET /v1.41/events");
            while let Some((next, _)) = out.open.iter().find(is_call) {
                let next = *next;
                engine.on_end(Now::default(), next, &mut out);
                news.extend(engine.news());
            }
            let told = news.iter().filter(|each| matches!(each, News::Made(TENANCY, Err(_)))).count();
            assert_eq!((told, news.len()), (1, 1), "step {index} cut at {cut}: {news:?}");
        }
    }
}

#[test]
fn a_death_is_told_wherever_its_event_is_cut() {
    let event = r#"{"status":"die","Actor":{"ID":"dd","Attributes":{"exitCode":"137"}}}"#;
    let chunk = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{event}\n\r\n",
        event.len() + 1
    );
    for cut in 0..chunk.len() {
        let (mut engine, mut out) = (engine(), Desk::default());
        engine.begin(Now::default(), &mut out);
        let version = asked(&out, "GET /version");
        say(&mut engine, &mut out, version, &answer(200, "{}"), 0);
        let conn = asked(&out, "GET /v1.41/events");
        say(&mut engine, &mut out, conn, chunk.as_bytes(), cut);
        assert_eq!(engine.news(), [News::Died("dd".into(), "exited with status 137".into())], "cut at {cut}");
    }
}

#[test]
fn a_container_that_cannot_be_stopped_is_removed_all_the_same() {
    let (mut engine, mut out) = (engine(), Desk::default());
    engine.discard(TENANCY, "dd", Farewell::Polite, Now::default(), &mut out);
    let stop = asked(&out, "POST /v1.41/containers/dd/stop?t=5");
    engine.on_end(Now::default(), stop, &mut out);
    let remove = asked(&out, "DELETE /v1.41/containers/dd?force=true");
    say(&mut engine, &mut out, remove, &answer(204, ""), 0);
    assert_eq!(engine.news(), [News::Ended(TENANCY)]);
}

#[test]
fn an_engine_that_says_nothing_is_given_up() {
    let (mut engine, mut out) = (engine(), Desk::default());
    engine.create(TENANCY, "S5", Now::default(), &mut out);
    let late = Now { at: engine.next_tick().expect("there is a bound"), ..Now::default() };
    engine.tick(late, &mut out);
    let [News::Made(TENANCY, Err(why))] = &engine.news()[..] else { panic!("it is told") };
    assert!(why.contains("did not answer in time"), "{why}");
    assert!(out.open.is_empty(), "nothing is left open");
}

#[test]
fn a_heartbeat_is_heard_wherever_its_answer_is_cut() {
    let at = || Address::Ip(([127, 0, 0, 1], 1).into());
    let good = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let bad = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    for (bytes, is_well) in [(&good[..], true), (&bad[..], false)] {
        for cut in 0..bytes.len() {
            let (mut probes, mut out) = (Probes::default(), Desk::default());
            probes.beat(TENANCY, at(), Instant::ZERO, &mut out);
            let conn = out.nth(0).expect("it is dialled");
            let mut input = Input::lent(&bytes[..cut], Instant::ZERO, None);
            assert_eq!(probes.on_bytes(conn, &mut input, &mut out), None, "cut at {cut}");
            let used = cut - input.bytes().len();
            let mut input = Input::lent(&bytes[used..], Instant::ZERO, None);
            let news = probes.on_bytes(conn, &mut input, &mut out);
            let Some(probe::News::Beat(TENANCY, outcome)) = news else { panic!("cut at {cut}: {news:?}") };
            assert_eq!(outcome.is_ok(), is_well, "cut at {cut}");
        }
    }
}

#[test]
fn a_body_of_ours_is_read_whole_or_refused_at_every_cut() {
    let whole = br#"{"n":2,"hostnames":["S5","S6"]}"#;
    let expected = Asked { count: 2, hostnames: vec!["S5".into(), "S6".into()] };
    assert_eq!(control::read(true, whole), Ok(expected));
    for cut in 0..whole.len() {
        assert!(control::read(true, &whole[..cut]).is_err(), "cut at {cut}");
    }
    let deep = "[".repeat(100_000);
    assert!(control::read(true, deep.as_bytes()).is_err());
}
