//! A small system that shows all that a face can: every way to bring a body, every way to answer, streams, sockets.

use machine::{
    Address, Blob, Chance, ConnId, CoreId, End, Gauges, Input, Now, Opened, Order, Outbox, Peer, Seat, Shard,
    Ticket, TimerId,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use web::{Answer, Ask, AskId, BodyRule, Event, Face, Message, Method, Over, Route, Site};

/// What a core is told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) door: SocketAddr,
    pub(crate) limits: web::Limits,
}

/// Bounds that a transcript reaches without waiting long.
pub(crate) fn limits() -> web::Limits {
    web::Limits {
        head: Duration::from_millis(800),
        body: Duration::from_millis(800),
        idle: Duration::from_secs(4),
        stall: Duration::from_secs(2),
        beat: Duration::from_millis(1500),
        message_max: 1000,
        places_max: 8,
        live: Duration::from_millis(100),
        ..web::Limits::default()
    }
}

/// What is typed for bounds that a busy machine does not reach either.
pub(crate) const PATIENT: &str = "patient";

/// The bounds of a stand that was told so: a face's own when it is patient.
pub(crate) fn limits_of(word: Option<&str>) -> web::Limits {
    if word == Some(PATIENT) { web::Limits::default() } else { limits() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Home,
    Kilobyte,
    Item,
    Echo,
    Json,
    Parts,
    Stalled,
    Other,
    Later,
    Chunks,
    Big,
    Busy,
    Events,
    Publish,
    Socket,
    Shy,
}

/// The topic of `/events`.
const TOPIC: u16 = 1;

/// What cores say: an ask that another answers, or an event for all listeners.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) enum Said {
    Ask(u64, u64),
    Answer(u64, u64, u16),
    Event(String),
}

pub(crate) struct Stand {
    seat: Seat,
    config: Config,
    site: Site<To>,
    /// Long polls by their timer.
    polls: BTreeMap<u64, AskId>,
    polled: u64,
    /// Bodies that nobody takes for now, by the timer that ends it.
    stalls: BTreeMap<u64, ConnId>,
    /// How long the next part of each such body is to wait, in milliseconds.
    to_stall: BTreeMap<AskId, u64>,
    /// Bytes of bodies in parts.
    parts: BTreeMap<AskId, usize>,
    /// Parts left of large answers.
    big: BTreeMap<AskId, usize>,
    sockets: u64,
    is_draining: bool,
}

fn site(config: &Config) -> Site<To> {
    let face = Face { limits: config.limits, origins: vec!["http://friend:3000".into()], ..Face::default() };
    let routes = [
        Route::get("/", To::Home),
        Route::post("/", To::Echo).body(BodyRule::Whole(1000)),
        Route::get("/kilobyte", To::Kilobyte),
        Route::get("/items/{id}", To::Item),
        Route::post("/echo", To::Echo).body(BodyRule::Whole(1000)),
        Route::post("/json", To::Json),
        Route::new(Method::Put, "/parts", To::Parts).body(BodyRule::Parts(1_000_000)),
        Route::new(Method::Put, "/uploads", To::Parts).body(BodyRule::Parts(UPLOAD_MAX)),
        Route::new(Method::Put, "/stalled", To::Stalled).body(BodyRule::Parts(UPLOAD_MAX)),
        Route::get("/other", To::Other),
        Route::get("/later", To::Later),
        Route::get("/chunks", To::Chunks),
        Route::get("/big", To::Big),
        Route::get("/busy", To::Busy),
        Route::get("/events", To::Events),
        Route::post("/publish", To::Publish),
        Route::socket("/socket", To::Socket),
        Route::socket("/shy", To::Shy),
    ];
    Site::new(face, routes, None)
}

/// Bytes of a part of a large answer.
const PART: usize = 10_000;
/// Bytes of the longest body in parts: more than may stay in memory anywhere.
const UPLOAD_MAX: u64 = 2 << 30;

impl Stand {
    fn ask(&mut self, now: Now, ask: Ask<'_, To>, out: &mut impl Outbox<Said = Said>) {
        let id = ask.id;
        match ask.to {
            To::Home => self.site.answer(now, id, Answer::text(200, "home\n"), out),
            To::Item => {
                let text = format!("item {}", ask.parameters.get("id"));
                self.site.answer(now, id, Answer::text(200, &text), out);
            }
            To::Echo => self.site.answer(now, id, Answer::new(200, "", &ask.body), out),
            To::Json => match ask.json::<BTreeMap<String, u32>>() {
                Ok(numbers) => self.site.json(now, id, 200, &numbers.values().sum::<u32>(), out),
                Err(wrong) => self.site.refused(now, id, 422, &wrong, out),
            },
            To::Kilobyte => self.site.answer(now, id, Answer::new(200, web::TEXT, &[b'k'; 1024]), out),
            To::Parts => {
                self.parts.insert(id, 0);
            }
            To::Stalled => {
                let wait_ms = ask.query().parse("ms").unwrap_or_default().unwrap_or(0);
                self.parts.insert(id, 0);
                self.to_stall.insert(id, wait_ms);
            }
            To::Other => {
                let (conn, ticket) = id.to_bits();
                let other = CoreId((self.seat.core.0 + 1) % self.seat.cores);
                out.tell(other, Said::Ask(conn, ticket), None);
            }
            To::Later => {
                let wait_ms = ask.query().parse("ms").unwrap_or_default().unwrap_or(0);
                let timer = self.wake_in(now, wait_ms, out);
                self.polls.insert(timer, id);
            }
            To::Chunks => {
                self.site.begin(now, id, Answer::new(200, web::TEXT, b""), out);
                for part in ["one ", "", "two"] {
                    self.site.part(now, id, part.as_bytes(), out);
                }
                self.site.finish(now, id, out);
            }
            To::Big => {
                let parts = ask.query().parse("parts").unwrap_or_default().unwrap_or(1);
                self.site.begin(now, id, Answer::new(200, web::TEXT, b""), out);
                self.big.insert(id, parts);
                self.go_on(now, out);
            }
            To::Busy => self.site.refused(now, id, 503, "busy", out),
            To::Events => self.site.listen(now, id, TOPIC, out),
            To::Publish => {
                for core in self.seat.all_cores() {
                    out.tell(core, Said::Event(String::from_utf8_lossy(&ask.body).into_owned()), None);
                }
                self.site.answer(now, id, Answer::empty(204), out);
            }
            To::Socket => self.sockets += u64::from(self.site.accept(now, &ask, out)),
            To::Shy => self.site.refused(now, id, 403, "no", out),
        }
    }

    /// A timer of its own, so many milliseconds from now.
    fn wake_in(&mut self, now: Now, wait_ms: u64, out: &mut impl Outbox<Said = Said>) -> u64 {
        let timer = self.polled;
        out.wake(TimerId(timer), Some(now.at + Duration::from_millis(wait_ms)));
        self.polled += 1;
        timer
    }

    /// A part of a body; the first of some is followed by a time in which nothing more is taken.
    fn part(&mut self, now: Now, id: AskId, bytes: &[u8], out: &mut impl Outbox<Said = Said>) {
        *self.parts.get_mut(&id).expect("a part follows its ask") += bytes.len();
        if let Some(wait_ms) = self.to_stall.remove(&id) {
            self.site.hold(id.conn());
            let timer = self.wake_in(now, wait_ms, out);
            self.stalls.insert(timer, id.conn());
        }
    }

    /// Large answers, while there is room.
    fn go_on(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        for (id, left) in &mut self.big {
            while *left > 0 && out.room(id.conn()) > 0 {
                self.site.part(now, *id, &[b'x'; PART], out);
                *left -= 1;
            }
            if *left == 0 {
                self.site.finish(now, *id, out);
            }
        }
        self.big.retain(|_, left| *left > 0);
    }

    fn after(&mut self, out: &mut impl Outbox<Said = Said>) {
        while let Some(over) = self.site.over() {
            match over {
                Over::Socket(_) => self.sockets -= 1,
                Over::Parts(id) => {
                    self.parts.remove(&id);
                    self.to_stall.remove(&id);
                }
            }
        }
        let site = &self.site;
        self.big.retain(|id, _| site.owns(id.conn()));
        if self.is_draining && self.site.is_empty() {
            out.drained();
        }
    }
}

impl Shard for Stand {
    type Config = Config;
    type Said = Said;
    type Heard = rkyv::Archived<Said>;

    fn new(seat: Seat, config: &Config, _: Chance) -> Self {
        Self {
            seat,
            site: site(config),
            config: config.clone(),
            polls: BTreeMap::new(),
            polled: 0,
            stalls: BTreeMap::new(),
            to_stall: BTreeMap::new(),
            parts: BTreeMap::new(),
            big: BTreeMap::new(),
            sockets: 0,
            is_draining: false,
        }
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = Said>) {
        out.listen(Address::Ip(self.config.door));
    }

    fn on_open(&mut self, now: Now, conn: ConnId, _: Opened, out: &mut impl Outbox<Said = Said>) {
        self.site.open(now, conn, out);
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        while let Some(event) = self.site.take(now, conn, input, out) {
            match event {
                Event::Ask(ask) => self.ask(now, ask, out),
                Event::Part(id, bytes) => self.part(now, id, bytes, out),
                Event::Whole(id) => {
                    let count = self.parts.remove(&id).expect("a body is whole once");
                    self.to_stall.remove(&id);
                    self.site.answer(now, id, Answer::text(200, &format!("{count} bytes")), out);
                }
                Event::Message(conn, Message::Text(text)) => {
                    self.site.send_text(now, conn, &text, out);
                }
                Event::Message(conn, Message::Binary(data)) => {
                    self.site.send_binary(now, conn, &data, out);
                }
            }
        }
        self.after(out);
    }

    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        self.site.room(now, conn, out);
        self.go_on(now, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        self.site.end(now, conn, end, out);
        self.after(out);
    }

    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &Self::Heard,
        _: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Peer::Core(from) = from else { unreachable!("one node") };
        match heard {
            ArchivedSaid::Ask(conn, ticket) => {
                let answer = Said::Answer(conn.to_native(), ticket.to_native(), self.seat.core.0);
                out.tell(from, answer, None);
            }
            ArchivedSaid::Answer(conn, ticket, _) => {
                let id = AskId::from_bits((conn.to_native(), ticket.to_native()));
                self.site.answer(now, id, Answer::text(200, "another core said so"), out);
                self.after(out);
            }
            ArchivedSaid::Event(text) => self.site.publish(TOPIC, "said", text, out),
        }
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        if timer == web::TIMER {
            self.site.timer(now, out);
        } else if let Some(id) = self.polls.remove(&timer.0) {
            self.site.answer(now, id, Answer::text(200, "at last"), out);
        } else if let Some(conn) = self.stalls.remove(&timer.0) {
            self.site.go_on(now, conn, out);
        }
        self.after(out);
    }

    fn on_gathered(&mut self, now: Now, _: Ticket, gauges: &[Gauges], out: &mut impl Outbox<Said = Said>) {
        self.site.gathered(now, gauges, out);
        self.after(out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        if let Order::Drain { .. } = order {
            self.is_draining = true;
            self.site.drain(now, out);
            self.after(out);
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        into.level("stand_core", "which core this is", i64::from(self.seat.core.0));
        into.level("stand_sockets", "sockets open", self.sockets as i64);
        self.site.gauges(into);
    }
}
