//! What holds at every cut of the input and whatever listeners do: asks come whole and in order, nothing piles up,
//! nothing is kept of who is gone.

use crate::desk::Desk;
use crate::trial;
use libtest_mimic::Trial;
use machine::id::Key;
use machine::{Chance, ConnId, End, Gauges, Input, Instant, Now, Why};
use web::{Answer, AskId, BodyRule, Event, Face, Method, Route, Site};

const CONN: ConnId = ConnId(Key { index: 0, generation: 1 });
/// What the world lets wait before it says that there is no room.
const ROOM: usize = 256 * 1024;

#[derive(Clone, Copy)]
enum To {
    Echo,
    Parts,
    Later,
    Events,
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("bounds::every_cut_is_answered_alike".to_owned(), every_cut_is_answered_alike),
        trial("bounds::answers_keep_order".to_owned(), answers_keep_the_order_of_their_asks),
        trial("bounds::a_slow_listener_is_cut".to_owned(), a_slow_listener_misses_and_is_cut),
        trial(
            "bounds::who_takes_nothing_is_reset".to_owned(),
            who_takes_nothing_is_read_no_further_and_reset,
        ),
        trial("bounds::metrics_are_fresh".to_owned(), metrics_are_younger_than_their_asking),
        trial("bounds::one_too_many".to_owned(), one_connection_too_many_is_told_so),
        trial("bounds::a_drained_face_is_empty".to_owned(), a_drained_face_is_empty),
    ]
}

fn site() -> Site<To> {
    let routes = [
        Route::post("/echo", To::Echo),
        Route::new(Method::Put, "/parts", To::Parts).body(BodyRule::Parts(1 << 20)),
        Route::get("/later", To::Later),
        Route::get("/events", To::Events),
    ];
    Site::new(Face::default(), routes, None)
}

fn at(millis: u64) -> Now {
    Now { at: Instant::from_nanos(millis * 1_000_000), ..Now::default() }
}

/// One connection of a face, and all that it was told.
struct Talk {
    site: Site<To>,
    desk: Desk,
    left: Vec<u8>,
    later: Vec<AskId>,
    parts: Vec<u8>,
}

impl Talk {
    fn new() -> Self {
        let mut talk = Self {
            site: site(),
            desk: Desk { room: ROOM, ..Desk::default() },
            left: Vec::new(),
            later: Vec::new(),
            parts: Vec::new(),
        };
        talk.site.open(at(0), CONN, &mut talk.desk);
        talk
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.left.extend_from_slice(bytes);
        let left = std::mem::take(&mut self.left);
        let mut input = Input::lent(&left, Instant::ZERO, None);
        while let Some(event) = self.site.take(at(0), CONN, &mut input, &mut self.desk) {
            match event {
                Event::Ask(ask) => match ask.to {
                    To::Echo => {
                        let answer = Answer::new(200, web::TEXT, &ask.body);
                        self.site.answer(at(0), ask.id, answer, &mut self.desk);
                    }
                    To::Parts => self.parts.clear(),
                    To::Later => self.later.push(ask.id),
                    To::Events => self.site.listen(at(0), ask.id, 1, &mut self.desk),
                },
                Event::Part(_, bytes) => self.parts.extend_from_slice(bytes),
                Event::Whole(id) => {
                    let answer = Answer::new(200, web::TEXT, &self.parts);
                    self.site.answer(at(0), id, answer, &mut self.desk);
                }
                Event::Message(..) => unreachable!("no route has sockets"),
            }
        }
        let (used, _) = input.outcome();
        self.left = left[used..].to_vec();
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.desk.said).into_owned()
    }
}

/// Requests of every kind, each with a body where it may have one; the last one broken.
const ALL: &[u8] = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
    POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n\
    \r\nGET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi\
    PUT /parts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n0\r\n\r\n\
    PUT /parts HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nend\
    HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n\
    DELETE /kit.css HTTP/1.1\r\nHost: x\r\n\r\n\
    POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx";

fn every_cut_is_answered_alike() {
    let mut whole = Talk::new();
    whole.hear(ALL);
    let expected = whole.said();
    assert_eq!(expected.matches("HTTP/1.1 ").count(), 8, "{expected}");
    assert!(expected.ends_with("Content-Length is there more than once\n"), "{expected}");
    for cut in 0..ALL.len() {
        let mut talk = Talk::new();
        talk.hear(&ALL[..cut]);
        talk.hear(&ALL[cut..]);
        assert_eq!(talk.said(), expected, "cut at {cut}");
    }
    let mut talk = Talk::new();
    ALL.iter().for_each(|byte| talk.hear(&[*byte]));
    assert_eq!(talk.said(), expected, "byte by byte");
    assert!(talk.desk.closed.is_some() && talk.site.is_empty());
}

fn answers_keep_the_order_of_their_asks() {
    for seed in 0..300 {
        let mut stream = Chance::new(seed).stream("order");
        let mut talk = Talk::new();
        let mut expected = Vec::new();
        let mut answered = 0;
        for number in 0..40 {
            if stream.below(2) == 0 {
                talk.hear(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
                expected.push(format!(
                    "later {}",
                    expected.iter().filter(|text: &&String| text.starts_with('l')).count()
                ));
            } else {
                let text = format!("echo {number}");
                let head =
                    format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", text.len());
                talk.hear(format!("{head}{text}").as_bytes());
                expected.push(text);
            }
            while stream.below(3) == 0 && answered < talk.later.len() {
                let chosen = answered + stream.below((talk.later.len() - answered) as u64) as usize;
                talk.later.swap(answered, chosen);
                answer_later(&mut talk, answered);
                answered += 1;
            }
        }
        // Every place may be taken: what waits unread comes once there is one again.
        while answered < talk.later.len() {
            answer_later(&mut talk, answered);
            answered += 1;
            talk.hear(b"");
        }
        let said = talk.said();
        let bodies: Vec<&str> =
            said.split("\r\n\r\n").skip(1).map(|rest| rest.split("HTTP").next().unwrap_or("")).collect();
        assert_eq!(bodies, expected, "seed {seed}");
    }
}

/// Answers that one with its place among those that are answered later.
fn answer_later(talk: &mut Talk, index: usize) {
    let id = talk.later[index];
    let earlier = talk.later.iter().filter(|other| other.to_bits().1 < id.to_bits().1).count();
    let text = format!("later {earlier}");
    talk.site.answer(at(0), id, Answer::text(200, &text), &mut talk.desk);
}

fn a_slow_listener_misses_and_is_cut() {
    let mut talk = Talk::new();
    talk.hear(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(talk.site.has_listeners(1));
    let large = "x".repeat(100_000);
    for _ in 0..1000 {
        talk.site.publish(1, "", &large, &mut talk.desk);
    }
    assert!(talk.desk.said.len() < ROOM + 2 * large.len(), "nothing piles up: {}", talk.desk.said.len());
    assert!(talk.desk.closed.is_some() && !talk.site.has_listeners(1) && talk.site.is_empty());
}

fn who_takes_nothing_is_read_no_further_and_reset() {
    let mut talk = Talk::new();
    let body = vec![b'x'; 60_000];
    let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    for _ in 0..50 {
        talk.hear(&[head.as_bytes(), &body].concat());
    }
    assert!(talk.desk.is_paused && talk.desk.said.len() < ROOM + 2 * body.len());
    // Looked at when it was to be, until it is over.
    for _ in 0..100 {
        let Some(wake) = talk.desk.wake.take() else { break };
        talk.site.timer(Now { at: wake, ..at(0) }, &mut talk.desk);
    }
    assert!(talk.desk.closed == Some(machine::Close::Now) && talk.site.is_empty());
}

fn metrics_are_younger_than_their_asking() {
    let mut talk = Talk::new();
    let ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    talk.hear(ask);
    assert_eq!(talk.desk.gathers, 1);
    // Asked while one is under way: the next one answers.
    talk.hear(ask);
    talk.hear(ask);
    assert_eq!(talk.desk.gathers, 1);
    let count = |value| {
        let mut gauges = Gauges::new();
        gauges.counter("things_total", "things", value);
        vec![gauges]
    };
    talk.site.gathered(at(0), &count(7), &mut talk.desk);
    assert_eq!((talk.desk.gathers, talk.said().matches("things_total{core=\"0\"} 7").count()), (2, 1));
    talk.site.gathered(at(0), &count(8), &mut talk.desk);
    assert_eq!((talk.desk.gathers, talk.said().matches("things_total{core=\"0\"} 8").count()), (2, 2));
}

fn one_connection_too_many_is_told_so() {
    let face =
        Face { limits: web::Limits { connections_max: 1, ..web::Limits::default() }, ..Face::default() };
    let mut site: Site<To> = Site::new(face, [], None);
    let mut first = Desk { room: ROOM, ..Desk::default() };
    site.open(at(0), CONN, &mut first);
    let mut second = Desk { room: ROOM, ..Desk::default() };
    site.open(at(0), ConnId(Key { index: 1, generation: 1 }), &mut second);
    let said = String::from_utf8_lossy(&second.said).into_owned();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("\r\nRetry-After: 1\r\n"), "{said}");
    assert!(second.closed.is_some() && first.closed.is_none() && site.len() == 1);
}

fn a_drained_face_is_empty() {
    let mut talk = Talk::new();
    talk.hear(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    talk.site.drain(at(0), &mut talk.desk);
    assert!(!talk.site.is_empty() && talk.desk.closed.is_none(), "who waits for an answer is waited for");
    answer_later(&mut talk, 0);
    assert!(talk.said().contains("\r\nConnection: close\r\n") && talk.site.is_empty());
    let mut idle = Talk::new();
    idle.site.drain(at(0), &mut idle.desk);
    assert!(idle.site.is_empty() && idle.desk.closed.is_some());
    let mut gone = Talk::new();
    gone.hear(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    gone.site.end(at(0), CONN, End::Gone(Why::Reset), &mut gone.desk);
    assert!(gone.site.is_empty() && !gone.site.has_listeners(1));
}
