//! Any bytes in any cuts to a face: it never panics, answers in the order in which it was asked, keeps nothing of who
//! is gone, and what it says stays within what may wait.
//!
//! From `runtime/web`: `cargo fuzz run face --fuzz-dir fuzz --sanitizer none fuzz/corpus/face corpus/face`
#![no_main]

#[path = "../../tests/face/desk.rs"]
mod desk;

use desk::Desk;
use libfuzzer_sys::fuzz_target;
use machine::id::Key;
use machine::{ConnId, End, Input, Instant, Now, Why};
use web::{Answer, AskId, BodyRule, Event, Face, Message, Method, Route, Site};

const CONN: ConnId = ConnId(Key { index: 0, generation: 1 });
const ROOM: usize = 256 * 1024;
/// Asks that wait for their answer before the oldest but one is given.
const LATER_MAX: usize = 3;

#[derive(Clone, Copy)]
enum To {
    Whole,
    Parts,
    Events,
    Socket,
}

struct Talk {
    site: Site<To>,
    desk: Desk,
    left: Vec<u8>,
    asked: u64,
    /// Asks to be answered later, with their number.
    later: Vec<(AskId, u64)>,
    /// The body in parts at hand.
    parts: Option<(AskId, u64)>,
}

impl Talk {
    fn new() -> Self {
        let routes = [
            Route::get("/", To::Whole),
            Route::post("/", To::Whole).body(BodyRule::Whole(100)),
            Route::new(Method::Put, "/{id}", To::Parts).body(BodyRule::Parts(1000)),
            Route::get("/events", To::Events),
            Route::socket("/ws", To::Socket),
        ];
        let limits = web::Limits { places_max: 6, message_max: 200, ..web::Limits::default() };
        let face = Face { limits, ..Face::default() };
        let mut talk = Self {
            site: Site::new(face, routes, None),
            desk: Desk { room: ROOM, ..Desk::default() },
            left: Vec::new(),
            asked: 0,
            later: Vec::new(),
            parts: None,
        };
        talk.site.open(Now::default(), CONN, &mut talk.desk);
        talk
    }

    fn answer(&mut self, (id, number): (AskId, u64)) {
        let text = format!("<ask {number}>");
        self.site.answer(Now::default(), id, Answer::text(200, &text), &mut self.desk);
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.left.extend_from_slice(bytes);
        let left = std::mem::take(&mut self.left);
        let mut input = Input::lent(&left, Instant::ZERO, None);
        let now = Now::default();
        while let Some(event) = self.site.take(now, CONN, &mut input, &mut self.desk) {
            match event {
                Event::Ask(ask) => {
                    let number = self.asked;
                    self.asked += 1;
                    match ask.to {
                        To::Whole if ask.body.len() % 3 == 1 || number % 3 == 1 => {
                            self.later.push((ask.id, number))
                        }
                        To::Whole => self.answer((ask.id, number)),
                        To::Parts => self.parts = Some((ask.id, number)),
                        To::Events => self.site.listen(now, ask.id, 1, &mut self.desk),
                        To::Socket => drop(self.site.accept(now, &ask, &mut self.desk)),
                    }
                }
                Event::Part(id, bytes) => {
                    assert_eq!(self.parts.map(|(known, _)| known), Some(id), "parts follow their ask");
                    assert!(!bytes.is_empty());
                }
                Event::Whole(id) => {
                    let (known, number) = self.parts.take().expect("a body is whole once");
                    assert_eq!(known, id);
                    self.answer((id, number));
                }
                Event::Message(conn, Message::Text(text)) => {
                    drop(self.site.send_text(now, conn, &text, &mut self.desk))
                }
                Event::Message(conn, Message::Binary(data)) => {
                    self.site.send_binary(now, conn, &data, &mut self.desk);
                }
            }
            if self.later.len() > LATER_MAX {
                // Not the oldest: it must wait for it all the same.
                let chosen = self.later.remove(1);
                self.answer(chosen);
            }
        }
        let (used, _) = input.outcome();
        self.left = left[used..].to_vec();
        self.site.publish(1, "", "event", &mut self.desk);
    }

    /// Answers what waits, and reads what could not be read meanwhile.
    fn settle(&mut self) {
        while !self.later.is_empty() {
            let last = self.later.len() - 1;
            let chosen = self.later.remove(last);
            self.answer(chosen);
            if !self.desk.is_paused {
                self.hear(b"");
            }
        }
    }

    fn check(mut self) {
        self.settle();
        let said = String::from_utf8_lossy(&self.desk.said);
        let numbers: Vec<u64> =
            said.split("<ask ").skip(1).filter_map(|rest| rest.split('>').next()?.parse().ok()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "answers keep order: {numbers:?}");
        self.site.end(Now::default(), CONN, End::Gone(Why::Reset), &mut self.desk);
        assert!(self.site.is_empty() && !self.site.has_listeners(1), "nothing is kept of who is gone");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut whole = Talk::new();
    whole.hear(bytes);
    whole.check();
    // The bytes themselves say where to cut, so that the corpus stays what was sent.
    let mut talk = Talk::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let (piece, behind) = rest.split_at(usize::from(first % 23 + 1).min(rest.len()));
        talk.hear(piece);
        rest = behind;
    }
    let half = talk.desk.closed.is_none() && bytes.len() % 2 == 1;
    if half {
        talk.site.end(Now::default(), CONN, End::Half, &mut talk.desk);
    }
    talk.check();
});
