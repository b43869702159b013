//! Routing of the client page: people's requests become letters to nodes, nodes' replies become answers and news.

mod board;

use super::courier::{Courier, Letter, Reply};
use super::nursery::Nursery;
use super::{ClientConfig, Payload};
use crate::asks::{FOLLOWED, JOB_MAX, refusal};
use crate::logbook::Logbook;
use crate::page;
use core::time::Duration;
use machine::{
    Blob, Chance, ChildEvent, ChildId, ConnId, End, Gauges, Input, Instant, ListenerId, Listening, Now,
    Opened, Order, Outbox, Peer, Seat, Shard, Stream, Ticket, TimerId,
};
use rkyv::{Archive, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use web::{Answer, Ask, AskId, Asset, BodyRule, Event, Face, Query, Route, Site, Slash, Tokens};
use wire::http::Method;

/// When requests that take too long, children and pictures are looked after.
const TICK: TimerId = TimerId(1);
const EVERY: Duration = Duration::from_millis(100);

/// Between two questions to the nodes while somebody looks or something runs.
const LOOK: Duration = Duration::from_millis(300);

/// Jobs on the page.
const SHOWN: usize = 50;

/// Stream of news.
const NEWS: u16 = 1;
/// Stream of the log.
const LOG: u16 = 2;

const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = include_str!("../page/client.html");
const LOGGING: &str = include_str!("../page/logging.html");
const ASSETS: &[Asset] = &[
    Asset::css("/scheduler.css", include_str!("../page/scheduler.css")),
    Asset::js("/scheduler.js", include_str!("../page/scheduler.js")),
];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Page,
    Form,
    Generate,
    Send,
    Api,
    News,
    Logging,
    Act,
    Stop,
}

/// Who wants a node's reply.
#[derive(Clone, Debug)]
enum Whom {
    /// A program: it is passed on.
    Ask(AskId),
    /// Somebody who pressed a button: they see the page again.
    Button(AskId),
    /// The page itself: which jobs there are.
    Jobs,
    /// Which nodes there are.
    Nodes,
    /// A payload that was sent.
    Sent(Payload),
    /// Whether there is a leader.
    Ready,
}

/// Nothing is said between cores.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct Nothing;

/// The client page. One core is enough for it.
pub struct Client {
    is_first: bool,
    config: ClientConfig,
    site: Site<To>,
    tokens: Tokens,
    courier: Courier<Whom>,
    nursery: Nursery,
    chance: Stream,
    /// Created and not sent.
    payload: Option<Payload>,
    /// Sent, and not yet seen among the jobs.
    sent: Vec<Payload>,
    /// Whose results are awaited here.
    awaited: BTreeSet<String>,
    jobs: Value,
    nodes: Value,
    /// What goes wrong at present.
    trouble: Option<String>,
    news: String,
    looked: Option<Instant>,
    is_looking: [bool; 2],
    /// Pages that wait for the first look.
    pages: Vec<(AskId, Instant)>,
    book: Logbook,
    followers: Vec<(AskId, u64, Option<Instant>)>,
    told: u64,
    is_ready: bool,
    is_asking: bool,
    is_draining: bool,
}

impl Client {
    fn note(&mut self, line: &str) {
        let line = self.book.add(line).to_owned();
        (self.config.line)(&format!("client,{line}"));
    }

    fn asked(&mut self, now: Now, ask: &Ask<'_, To>, out: &mut impl Outbox) {
        let is_open = ask.to == To::Api;
        if !is_open && !self.tokens.allow(ask.head.fields.get("authorization")) {
            return self.site.refused(
                now,
                ask.id,
                401,
                "show a token of --auth-file: Authorization: Bearer TOKEN",
                out,
            );
        }
        match ask.to {
            To::Page => {
                self.looked = None;
                self.pages.push((ask.id, now.at));
                self.look(now, out);
            }
            To::Form => {
                let form = String::from_utf8_lossy(&ask.body).into_owned();
                let names: Vec<String> = Query::new(&form)
                    .pairs()
                    .flat_map(|(name, value)| [name.into_owned(), value.into_owned()])
                    .collect();
                let has = |wanted: &str| names.iter().any(|name| name == wanted);
                if has("send_payload") {
                    self.send(now, out);
                } else if has("generate_payload") {
                    self.generate();
                } else {
                    let why = "the form has two buttons: generate_payload and send_payload";
                    return self.site.refused(now, ask.id, 400, why, out);
                }
                self.again(now, ask.id, out);
            }
            To::Generate => {
                self.generate();
                self.again(now, ask.id, out);
            }
            To::Send => {
                self.send(now, out);
                self.again(now, ask.id, out);
            }
            To::Api => self.pass_on(now, ask, out),
            To::News => {
                self.site.listen(now, ask.id, NEWS, out);
                if !self.news.is_empty() {
                    self.site.tell(ask.id, "", &self.news, out);
                }
                self.looked = None;
            }
            To::Logging => self.logging(now, ask, out),
            To::Act => {
                let act = ask.parameters.get("act");
                if !matches!(&*act, "cancel" | "retry") {
                    return self.site.refused(now, ask.id, 404, "there is nothing here", out);
                }
                let target = format!("/api/v1/jobs/{}/{act}", ask.parameters.get("id"));
                let letter = Letter { method: "POST", ..Letter::get(Whom::Button(ask.id), target) };
                self.courier.send(now, letter, out);
            }
            To::Stop => {
                let name = ask.parameters.get("id");
                let only = self.config.nodes.iter().position(|(known, _)| **known == *name);
                match only {
                    Some(_) => {
                        let letter = Letter::get(Whom::Button(ask.id), "/stop".into());
                        self.courier.send(now, Letter { only, ..letter }, out);
                    }
                    None => self.site.refused(now, ask.id, 404, "there is no such node", out),
                }
            }
        }
    }

    fn generate(&mut self) {
        let payload = Payload::generate(&mut self.chance);
        self.note(&format!("Created payload: {}", payload.hash()));
        self.payload = Some(payload);
    }

    fn send(&mut self, now: Now, out: &mut impl Outbox) {
        if let Some(payload) = self.payload.take() {
            self.sent.push(payload.clone());
            self.post(now, payload, out);
        }
    }

    fn post(&mut self, now: Now, payload: Payload, out: &mut impl Outbox) {
        let fields = vec![("idempotency-key".to_owned(), payload.key.clone().into_bytes())];
        let body = payload.json();
        let letter = Letter::get(Whom::Sent(payload), "/api/v1/jobs".into());
        self.courier.send(now, self.signed(Letter { method: "POST", body, fields, ..letter }), out);
    }

    /// With our own token, where nodes want one.
    fn signed(&self, mut letter: Letter<Whom>) -> Letter<Whom> {
        if let Some(token) = self.config.tokens.first() {
            letter.fields.push(("authorization".to_owned(), format!("Bearer {token}").into_bytes()));
        }
        letter
    }

    /// After a button: the page again (RFC 9110, section 15.4.4).
    fn again(&mut self, now: Now, id: AskId, out: &mut impl Outbox) {
        self.looked = None;
        self.site.answer(now, id, Answer::empty(303).with(&[("Location", "/")]), out);
    }

    /// A request of the JSON interface goes to a node as it is.
    fn pass_on(&mut self, now: Now, ask: &Ask<'_, To>, out: &mut impl Outbox) {
        let method = match ask.head.method {
            Method::Get | Method::Head => "GET",
            Method::Post => "POST",
            _ => return self.site.refused(now, ask.id, 405, "this can be asked by GET and POST only", out),
        };
        let query = ask.head.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", ask.head.path());
        let letter = Letter::get(Whom::Ask(ask.id), target);
        let mut letter = Letter { method, body: ask.body.to_vec(), ..letter };
        letter.pass(&ask.head.fields);
        let has_key = letter.fields.iter().any(|(name, _)| name == "idempotency-key");
        if method == "POST" && !has_key {
            // So that it is one job whichever node takes it, and however often it is sent.
            let key = format!("client-{:016x}{:016x}", self.chance.next_u64(), self.chance.next_u64());
            letter.fields.push(("idempotency-key".to_owned(), key.into_bytes()));
        }
        self.courier.send(now, letter, out);
    }

    fn logging(&mut self, now: Now, ask: &Ask<'_, To>, out: &mut impl Outbox) {
        let accepts =
            String::from_utf8_lossy(ask.head.fields.get("accept").unwrap_or_default()).to_lowercase();
        if accepts.contains("text/event-stream") {
            self.site.listen(now, ask.id, LOG, out);
            for line in self.book.lines().take((self.told) as usize) {
                self.site.tell(ask.id, "", line, out);
            }
        } else if accepts.contains("text/html") {
            let lines = page::escaped(&self.book.text());
            let html = page::filled(LOGGING, &[("name", "client"), ("lines", &lines)]);
            self.site.answer(now, ask.id, Answer::new(200, HTML, html.as_bytes()), out);
        } else {
            self.site.begin(now, ask.id, Answer::new(200, web::TEXT, b""), out);
            let follows = ask.query().get("follow").is_some();
            self.followers.push((ask.id, 0, (!follows).then_some(now.at + FOLLOWED)));
        }
    }

    /// Asks the nodes what the page shows.
    fn look(&mut self, now: Now, out: &mut impl Outbox) {
        if self.looked.is_some_and(|looked| now.at.since(looked) < LOOK) || self.is_looking != [false, false]
        {
            return;
        }
        self.looked = Some(now.at);
        self.is_looking = [true, true];
        let jobs = Letter::get(Whom::Jobs, format!("/api/v1/jobs?whole=1&limit={SHOWN}"));
        let nodes = Letter::get(Whom::Nodes, "/api/v1/nodes".into());
        for letter in [jobs, nodes] {
            let letter = self.signed(letter);
            self.courier.send(now, letter, out);
        }
    }

    /// What nodes replied.
    fn replies(&mut self, now: Now, out: &mut impl Outbox) {
        while !self.courier.replies.is_empty() {
            for reply in core::mem::take(&mut self.courier.replies) {
                self.reply(now, reply, out);
            }
        }
    }

    fn reply(&mut self, now: Now, reply: Reply<Whom>, out: &mut impl Outbox) {
        let Reply { whom, status, media, fields, body, node } = reply;
        match whom {
            Whom::Ask(ask) => {
                let mut said: Vec<(&str, &str)> =
                    fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                if status == 503 {
                    said.push(("Retry-After", "1"));
                }
                self.site.answer(now, ask, Answer::new(status, &media, &body).with(&said), out);
            }
            Whom::Button(ask) => self.again(now, ask, out),
            Whom::Sent(payload) => self.sent_is(now, payload, status, node, out),
            Whom::Jobs => {
                self.is_looking[0] = false;
                self.learn(now, status, &body, |client, value| client.jobs_are(value), out);
            }
            Whom::Nodes => {
                self.is_looking[1] = false;
                self.learn(now, status, &body, |client, value| client.nodes = value, out);
            }
            Whom::Ready => {
                self.is_asking = false;
                if status == 200 && !self.is_ready {
                    self.is_ready = true;
                    (self.config.ready)();
                }
            }
        }
    }

    fn tick(&mut self, now: Now, out: &mut impl Outbox) {
        out.wake(TICK, Some(now.at + EVERY));
        self.nursery.tick(now.at, out);
        self.courier.tick(now, out);
        let is_open = !self.sent.is_empty() || !self.awaited.is_empty();
        if is_open || self.site.has_listeners(NEWS) || !self.pages.is_empty() {
            self.look(now, out);
        }
        if self.pages.iter().any(|(_, since)| now.at.since(*since) >= Duration::from_secs(1)) {
            // Nobody answers, and the page says so with what was known.
            self.trouble.get_or_insert_with(|| "no node answers".to_owned());
            self.show(now, out);
        }
        if !self.is_ready && !self.is_asking && self.nursery.is_ready() {
            self.is_asking = true;
            self.courier.send(now, Letter::get(Whom::Ready, "/healthz".into()), out);
        }
        self.tell_lines(now, out);
        for (ask, ..) in
            self.followers.extract_if(.., |(.., until)| until.is_some_and(|until| until <= now.at))
        {
            self.site.finish(now, ask, out);
        }
        if self.is_draining && self.nursery.is_over() {
            out.drained();
        }
    }

    fn tell_lines(&mut self, now: Now, out: &mut impl Outbox) {
        let (first, lines) = self.book.since(self.told, usize::MAX);
        self.told = first + lines.len() as u64;
        for line in lines {
            self.site.publish(LOG, "", &line, out);
        }
        for (ask, next, _) in &mut self.followers {
            let (first, lines) = self.book.since(*next, usize::MAX);
            *next = first + lines.len() as u64;
            if !lines.is_empty() {
                self.site.part(now, *ask, (lines.join("\n") + "\n").as_bytes(), out);
            }
        }
    }
}

impl Client {
    /// A node that can never serve ends this process too, with its status.
    fn refuse_if_need_be(&self) {
        if let Some((status, why)) = self.nursery.refusal().filter(|_| !self.is_draining) {
            (self.config.refuse)(status, &why);
        }
    }
}

impl Shard for Client {
    type Config = ClientConfig;
    type Said = Nothing;
    type Heard = ArchivedNothing;

    fn new(seat: Seat, config: &ClientConfig, chance: Chance) -> Self {
        let face = Face { assets: ASSETS, slash: Slash::Ignored, refusal, ..Face::default() };
        let api = |method| Route::new(method, "/api/{rest..}", To::Api).body(BodyRule::Whole(JOB_MAX));
        let routes = [
            Route::get("/", To::Page),
            Route::post("/", To::Form),
            Route::post("/generate_payload", To::Generate),
            Route::post("/send_payload", To::Send),
            Route::get("/news", To::News),
            Route::get("/logging", To::Logging),
            Route::post("/jobs/{id}/{act}", To::Act),
            Route::post("/nodes/{id}/stop", To::Stop),
            api(Method::Get),
            api(Method::Post),
        ];
        Self {
            is_first: seat.core.0 == 0,
            site: Site::new(face, routes, None),
            tokens: Tokens::new(config.tokens.clone()),
            courier: Courier::new(config.nodes.iter().map(|(_, at)| at.clone()).collect()),
            nursery: Nursery::new(&config.nurslings, config.again),
            chance: chance.stream("client"),
            payload: None,
            sent: Vec::new(),
            awaited: BTreeSet::new(),
            jobs: Value::Null,
            nodes: Value::Null,
            trouble: None,
            news: String::new(),
            looked: None,
            is_looking: [false, false],
            pages: Vec::new(),
            book: Logbook::default(),
            followers: Vec::new(),
            told: 0,
            is_ready: false,
            is_asking: false,
            is_draining: false,
            config: config.clone(),
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Nothing>) {
        if self.is_first {
            out.listen(self.config.http.clone());
            self.tick(now, out);
        }
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Nothing>) {
        match how {
            Opened::Accepted { .. } => self.site.open(now, conn, out),
            Opened::Pipe(child, kind) => self.nursery.on_pipe(conn, child, kind),
            Opened::Dialled => {}
        }
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        if let Some((lines, used)) = self.nursery.on_bytes(conn, input.bytes()) {
            lines.iter().for_each(|line| (self.config.line)(line));
            return input.used(used);
        }
        if self.courier.owns(conn) {
            self.courier.on_bytes(now, conn, input, out);
        } else {
            while let Some(event) = self.site.take(now, conn, input, out) {
                match event {
                    Event::Ask(ask) => self.asked(now, &ask, out),
                    Event::Part(..) | Event::Whole(_) | Event::Message(..) => {
                        unreachable!("no route has them")
                    }
                }
            }
        }
        self.replies(now, out);
    }

    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Nothing>) {
        self.site.room(now, conn, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Nothing>) {
        if self.nursery.on_end(conn) {
            return self.refuse_if_need_be();
        }
        if !self.courier.on_end(now, conn, end, out) {
            self.followers.retain(|(ask, ..)| ask.conn() != conn || end == End::Half);
            self.site.end(now, conn, end, out);
        }
        self.replies(now, out);
    }

    fn on_peer(
        &mut self,
        _: Now,
        _: Peer,
        _: &ArchivedNothing,
        _: Option<Blob>,
        _: &mut impl Outbox<Said = Nothing>,
    ) {
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Nothing>) {
        match timer {
            TICK => self.tick(now, out),
            _ => self.site.timer(now, out),
        }
        self.replies(now, out);
    }

    fn on_child(
        &mut self,
        now: Now,
        child: ChildId,
        what: ChildEvent,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        if let Some(line) = self.nursery.on_child(now.at, child, &what) {
            (self.config.line)(&line);
        }
        self.refuse_if_need_be();
        if self.is_draining && self.nursery.is_over() {
            out.drained();
        }
    }

    fn on_listen(&mut self, _: Now, _: ListenerId, what: Listening, _: &mut impl Outbox<Said = Nothing>) {
        if let Listening::Failed(why) = what {
            (self.config.line)(&why);
        }
    }

    fn on_gathered(&mut self, now: Now, _: Ticket, gauges: &[Gauges], out: &mut impl Outbox<Said = Nothing>) {
        self.site.gathered(now, gauges, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, ClientConfig>, out: &mut impl Outbox<Said = Nothing>) {
        match order {
            Order::Reload(_) => {}
            Order::Drain { by: _ } => {
                self.is_draining = true;
                self.site.drain(now, out);
                self.nursery.end(out);
                if self.nursery.is_over() {
                    out.drained();
                }
            }
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        self.site.gauges(into);
        into.level("scheduler_client_requests", "requests to nodes under way", self.courier.len() as i64);
    }
}
