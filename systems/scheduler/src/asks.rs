//! What people and programs ask of a node by HTTP, and how they are answered.

use crate::config::Config;
use crate::entry::{Fact, JobId};
use crate::job::State;
use crate::ledger::Verdict;
use crate::node::{How, Node, Outcome};
use crate::page;
use crate::peer::Said;
use crate::shard::Site;
use crate::spec::Spec;
use crate::view;
use core::time::Duration;
use machine::{Address, ConnId, End, Gauges, Input, Instant, Now, Outbox, Ticket};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use web::{Answer, Ask, AskId, Asset, BodyRule, Event, Face, Route, Slash, Tokens, Watched};
use wire::http::Method;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// The node's page.
    Page,
    /// Its log.
    Logging,
    /// That it stops, or goes on.
    Stop,
    /// A new job.
    Send,
    /// All jobs.
    List,
    /// One job.
    Job,
    /// Its result.
    Result,
    /// That it is not run.
    Cancel,
    /// That it is tried again.
    Retry,
    /// All nodes.
    Nodes,
    /// What the page shows, again whenever it changes.
    Live,
    /// The gauges.
    Metrics,
    /// Whether this node can promise anything.
    Health,
    /// Anything else.
    Other,
}

/// The bytes of a job as JSON: what its parts may have, and what escaping may make of them.
pub(crate) const JOB_MAX: usize = 1024 * 1024;

/// Jobs in one list.
const LIST_MAX: usize = 1000;
const LIST: usize = 100;

/// The longest key, in bytes.
const KEY_MAX: usize = 256;

/// How long a log is followed for who did not ask for a stream of events: long enough to see that it is live, short
/// enough for programs that wait for an end.
pub(crate) const FOLLOWED: Duration = Duration::from_secs(3);

/// Between two pictures of everything for those who look.
const PICTURE: Duration = Duration::from_millis(250);

/// Lines of a log sent to one who follows it in one step.
const LINES: usize = 500;

/// Streams of lines, and of pictures.
const LOG: u16 = 1;
const PICTURES: u16 = 2;

const TICKET: Ticket = Ticket(1);
const TEAPOT: &str = "I am simulating a crash, please do not bother me";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = include_str!("page/node.html");
const LOGGING: &str = include_str!("page/logging.html");

const ASSETS: &[Asset] = &[
    Asset::css("/scheduler.css", include_str!("page/scheduler.css")),
    Asset::js("/scheduler.js", include_str!("page/scheduler.js")),
];

/// Refusals as programs read them.
pub(crate) fn refusal(_: u16, sentence: &str, into: &mut Vec<u8>) -> &'static str {
    let text = json!({ "error": sentence }).to_string();
    into.extend_from_slice(text.as_bytes());
    web::JSON
}

/// Who follows the log.
#[derive(Clone, Copy, Debug)]
struct Follower {
    ask: AskId,
    next: u64,
    until: Option<Instant>,
}

/// A node's face.
pub(crate) struct Asks {
    pub(crate) site: Site,
    tokens: Tokens,
    ports: BTreeMap<ConnId, u16>,
    /// Results that were given to somebody by this node.
    given: BTreeSet<JobId>,
    followers: Vec<Follower>,
    /// Where those who listen to the log's events are.
    told: u64,
    pictured: Instant,
    metrics: Vec<AskId>,
}

impl Asks {
    pub(crate) fn new(config: &Config) -> Self {
        let face = Face {
            assets: ASSETS,
            slash: Slash::Ignored,
            refusal,
            watched: Watched::Elsewhere,
            ..Face::default()
        };
        let send = Route::new(Method::Post, "/api/v1/jobs", To::Send).body(BodyRule::Whole(JOB_MAX));
        let routes = [
            Route::get("/", To::Page),
            Route::get("/logging", To::Logging),
            Route::get("/stop", To::Stop),
            Route::post("/stop", To::Stop),
            send,
            Route::get("/api/v1/jobs", To::List),
            Route::get("/api/v1/jobs/{id}", To::Job),
            Route::get("/api/v1/jobs/{id}/result", To::Result),
            Route::post("/api/v1/jobs/{id}/cancel", To::Cancel),
            Route::post("/api/v1/jobs/{id}/retry", To::Retry),
            Route::get("/api/v1/nodes", To::Nodes),
            Route::get("/news", To::Live),
            Route::get("/metrics", To::Metrics),
            Route::get("/healthz", To::Health),
        ];
        Self {
            site: Site::new(face, routes, Some(To::Other)),
            tokens: Tokens::new(config.tokens.clone()),
            ports: BTreeMap::new(),
            given: BTreeSet::new(),
            followers: Vec::new(),
            told: 0,
            pictured: Instant::ZERO,
            metrics: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, now: Now, conn: ConnId, from: &Address, out: &mut impl Outbox) {
        if let Address::Ip(at) = from {
            self.ports.insert(conn, at.port());
        }
        self.site.open(now, conn, out);
    }

    pub(crate) fn end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox) {
        if matches!(end, End::Gone(_)) {
            self.ports.remove(&conn);
            self.followers.retain(|follower| follower.ask.conn() != conn);
        }
        self.site.end(now, conn, end, out);
    }

    pub(crate) fn take(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        node: &mut Node,
        out: &mut impl Outbox<Said = Said>,
    ) {
        while let Some(event) = self.site.take(now, conn, input, out) {
            match event {
                Event::Ask(ask) => self.asked(now, &ask, node, out),
                Event::Part(..) | Event::Whole(_) | Event::Message(..) => unreachable!("no route has them"),
            }
        }
    }

    fn asked(&mut self, now: Now, ask: &Ask<'_, To>, node: &mut Node, out: &mut impl Outbox<Said = Said>) {
        if !self.tokens.allow(ask.head.fields.get("authorization")) && ask.to != To::Health {
            let challenge = [("WWW-Authenticate", "Bearer")];
            let mut text = Vec::new();
            let media = refusal(401, "show a token of --auth-file: Authorization: Bearer TOKEN", &mut text);
            return self.site.answer(now, ask.id, Answer::new(401, media, &text).with(&challenge), out);
        }
        if ask.to == To::Stop && ask.head.method != Method::Head {
            return self.stop(now, ask.id, node, out);
        }
        if node.is_stopped {
            return self.site.answer(now, ask.id, Answer::text(418, TEAPOT), out);
        }
        match ask.to {
            To::Page => {
                let picture = view::page(node, now);
                let rows = |name: &str| picture[name].as_array().cloned().unwrap_or_default();
                let (jobs, nodes) = (page::jobs(&rows("jobs"), false), page::nodes(&rows("nodes"), false));
                let places = [
                    ("name", &*page::escaped(&node.me.name)),
                    ("jobs", &jobs),
                    ("nodes", &nodes),
                    ("summary", &page::escaped(&summary(&picture))),
                ];
                let html = page::filled(PAGE, &places);
                self.site.answer(now, ask.id, Answer::new(200, HTML, html.as_bytes()), out);
            }
            To::Logging => self.logging(now, ask, node, out),
            To::Send => self.send(now, ask, node, out),
            To::List => self.list(now, ask, node, out),
            To::Job | To::Result => match JobId::read(&ask.parameters.get("id")) {
                Some(id) => {
                    node.read(now, ask.id, id, if ask.to == To::Job { How::Job } else { How::Result })
                }
                None => self.refuse(now, ask.id, 404, "there is no such job", out),
            },
            To::Cancel | To::Retry => self.change(now, ask, node, out),
            To::Nodes => self.site.json(now, ask.id, 200, &view::nodes(node, now), out),
            To::Live => {
                self.site.listen(now, ask.id, PICTURES, out);
                node.is_changed = true;
                self.pictured = Instant::ZERO;
            }
            To::Metrics => {
                self.metrics.push(ask.id);
                out.gather(TICKET);
            }
            To::Health => match node.helpless(now.at) {
                Some(why) => self.refuse(now, ask.id, 503, &why, out),
                None => self.site.answer(now, ask.id, Answer::text(200, "ok\n"), out),
            },
            To::Other => self.refuse(now, ask.id, 404, "there is nothing here", out),
            To::Stop => {
                // HEAD, which is taken wherever GET is, changes nothing.
                let allow = [("Allow", "GET, POST, OPTIONS")];
                let mut text = Vec::new();
                let media = refusal(405, "a node is stopped by GET or POST", &mut text);
                self.site.answer(now, ask.id, Answer::new(405, media, &text).with(&allow), out);
            }
        }
    }

    pub(crate) fn refuse(&mut self, now: Now, id: AskId, status: u16, why: &str, out: &mut impl Outbox) {
        self.site.refused(now, id, status, why, out);
    }

    fn stop(&mut self, now: Now, id: AskId, node: &mut Node, out: &mut impl Outbox<Said = Said>) {
        // Who waits is told what everybody is told from now on.
        let waiting = node.waiting();
        let is_stopped = node.toggle(now, out);
        for ask in waiting.into_iter().chain(core::mem::take(&mut self.metrics)) {
            self.site.answer(now, ask, Answer::text(418, TEAPOT), out);
        }
        for follower in core::mem::take(&mut self.followers) {
            self.site.finish(now, follower.ask, out);
        }
        let said = if is_stopped { "True" } else { "False" };
        self.site.answer(now, id, Answer::text(200, said), out);
    }

    fn send(&mut self, now: Now, ask: &Ask<'_, To>, node: &mut Node, out: &mut impl Outbox<Said = Said>) {
        let key = match ask.head.fields.get("idempotency-key").map(core::str::from_utf8) {
            None => node.own_key(),
            Some(Ok(key)) if !key.is_empty() && key.len() <= KEY_MAX => key.to_owned(),
            Some(_) => {
                let why = format!("an Idempotency-Key has 1 to {KEY_MAX} bytes");
                return self.refuse(now, ask.id, 400, &why, out);
            }
        };
        match Spec::read(&ask.body) {
            Ok(spec) => node.ask(now, Fact::Sent { key, spec }, ask.id, How::Sent),
            Err(why) => self.refuse(now, ask.id, 400, &why, out),
        }
    }

    fn change(&mut self, now: Now, ask: &Ask<'_, To>, node: &mut Node, out: &mut impl Outbox<Said = Said>) {
        let Some(id) = JobId::read(&ask.parameters.get("id")) else {
            return self.refuse(now, ask.id, 404, "there is no such job", out);
        };
        if ask.to == To::Cancel {
            return node.ask(now, Fact::Cancelled { id }, ask.id, How::Changed);
        }
        // What is tried again is the attempt that is seen now; so it is read first.
        node.read(now, ask.id, id, How::Retry);
    }

    fn list(&mut self, now: Now, ask: &Ask<'_, To>, node: &Node, out: &mut impl Outbox) {
        let query = ask.query();
        let limit = match query.parse::<usize>("limit") {
            Ok(limit) => limit.unwrap_or(LIST).min(LIST_MAX),
            Err(wrong) => return self.refuse(now, ask.id, 400, &format!("limit={wrong} is no number"), out),
        };
        let state =
            match query.get("state").map(|name| (State::ALL.iter().find(|each| each.name() == name), name)) {
                None => None,
                Some((Some(state), _)) => Some(*state),
                Some((None, name)) => {
                    let known: Vec<&str> = State::ALL.iter().map(|state| state.name()).collect();
                    let why = format!("state={name} is none of {}", known.join(", "));
                    return self.refuse(now, ask.id, 400, &why, out);
                }
            };
        if let Some(why) = node.minority(now.at) {
            return self.refuse(now, ask.id, 503, &why, out);
        }
        let wanted =
            node.ledger.newest().filter(|job| state.is_none_or(|state| job.state == state)).take(limit);
        let is_whole = query.get("whole").is_some();
        let show = |job| {
            if is_whole { view::whole(job, &node.config, None) } else { view::brief(job, &node.config) }
        };
        let jobs: Vec<serde_json::Value> = wanted.map(show).collect();
        self.site.json(now, ask.id, 200, &json!({ "jobs": jobs, "count": node.ledger.len() }), out);
    }

    /// Tells those who asked what came of it.
    pub(crate) fn answer(&mut self, now: Now, node: &mut Node, out: &mut impl Outbox<Said = Said>) {
        for outcome in core::mem::take(&mut node.outcomes) {
            match outcome {
                Outcome::Applied(ask, how, verdict) => self.applied(now, ask, how, &verdict, node, out),
                Outcome::Refused(ask, why) => self.refuse(now, ask, 503, &why, out),
                Outcome::Readable(ask, id, how) => self.readable(now, ask, id, how, node, out),
            }
        }
        self.tell_lines(now, node, out);
    }

    fn applied(
        &mut self,
        now: Now,
        ask: AskId,
        how: How,
        verdict: &Verdict,
        node: &Node,
        out: &mut impl Outbox,
    ) {
        let status = if how == How::Sent { 201 } else { 200 };
        match verdict {
            Verdict::Changed(id) | Verdict::Known(id) | Verdict::Late(id) => {
                let state = node.ledger.job(*id).map_or("forgotten", |job| job.state.name());
                let body = json!({"id": id.to_string(), "state": state}).to_string();
                let at = format!("/api/v1/jobs/{id}");
                let fields = [("Location", at.as_str())];
                let fields = if status == 201 { &fields[..] } else { &[] };
                self.site.answer(now, ask, Answer::json(status, body.as_bytes()).with(fields), out);
            }
            Verdict::Refused(refusal) => self.refuse(now, ask, refusal.status(), &refusal.sentence(), out),
            Verdict::Stale | Verdict::Nothing => {
                self.refuse(now, ask, 409, "the job has changed meanwhile: look at it again", out);
            }
        }
    }

    fn readable(
        &mut self,
        now: Now,
        ask: AskId,
        id: JobId,
        how: How,
        node: &mut Node,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(job) = node.ledger.job(id) else {
            let why = crate::ledger::Refusal::NoJob.sentence();
            return self.refuse(now, ask, 404, &why, out);
        };
        let lack = node.leader.as_ref().and_then(|leader| leader.lack());
        match (how, &job.outcome) {
            (How::Job, _) => self.site.json(now, ask, 200, &view::whole(job, &node.config, lack), out),
            (How::Result, Some(outcome)) => self.site.json(now, ask, 200, &view::result(outcome), out),
            (How::Result, None) if job.state.is_end() => {
                let why = job.history.last().map_or("", |event| &event.why);
                let why = format!("the job is {} and has no result: {why}", job.state.name());
                self.refuse(now, ask, 409, &why, out);
            }
            (How::Result, None) => {
                let state = json!({"id": id.to_string(), "state": job.state.name()});
                self.site.json(now, ask, 202, &state, out);
            }
            (How::Retry, _) => {
                let attempt = job.attempt;
                return node.ask(now, Fact::Retried { id, attempt }, ask, How::Changed);
            }
            (How::Sent | How::Changed, _) => unreachable!("these are applied"),
        }
        let is_given = job.outcome.is_some();
        if is_given && self.given.insert(id) {
            if self.given.len() > LIST_MAX {
                self.given.pop_first();
            }
            let port = self.ports.get(&ask.conn()).copied().unwrap_or_default();
            node.note(&format!("Sent result: {id} for client to port: {port}"));
        }
    }

    fn logging(&mut self, now: Now, ask: &Ask<'_, To>, node: &Node, out: &mut impl Outbox) {
        let accepts =
            String::from_utf8_lossy(ask.head.fields.get("accept").unwrap_or_default()).to_lowercase();
        if accepts.contains("text/event-stream") {
            self.site.listen(now, ask.id, LOG, out);
            let (first, lines) = node.shown_log().since(0, usize::MAX);
            // What is published next must follow what is told here.
            self.told = self.told.max(first);
            let known = (self.told - first) as usize;
            for line in &lines[..known.min(lines.len())] {
                self.site.tell(ask.id, "", line, out);
            }
        } else if accepts.contains("text/html") {
            let lines = page::escaped(&node.shown_log().text());
            let page = page::filled(LOGGING, &[("name", &page::escaped(&node.me.name)), ("lines", &lines)]);
            self.site.answer(now, ask.id, Answer::new(200, HTML, page.as_bytes()), out);
        } else {
            let follows = ask.query().get("follow").is_some();
            self.site.begin(now, ask.id, Answer::new(200, web::TEXT, b""), out);
            let until = (!follows).then_some(now.at + FOLLOWED);
            self.followers.push(Follower { ask: ask.id, next: 0, until });
            self.tell_lines(now, node, out);
        }
    }

    /// New lines go to those who follow.
    fn tell_lines(&mut self, now: Now, node: &Node, out: &mut impl Outbox) {
        let book = node.shown_log();
        if self.told < book.next() {
            let (first, lines) = book.since(self.told, usize::MAX);
            self.told = first + lines.len() as u64;
            for line in lines {
                self.site.publish(LOG, "", &line, out);
            }
        }
        for follower in &mut self.followers {
            if follower.next < book.next() && out.room(follower.ask.conn()) > 0 {
                let (first, lines) = book.since(follower.next, LINES);
                follower.next = first + lines.len() as u64;
                let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
                self.site.part(now, follower.ask, text.as_bytes(), out);
            }
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Now, node: &mut Node, out: &mut impl Outbox) {
        let is_over = |follower: &Follower| follower.until.is_some_and(|until| until <= now.at);
        for follower in self.followers.extract_if(.., |follower| is_over(follower)) {
            self.site.finish(now, follower.ask, out);
        }
        let is_due = now.at.since(self.pictured) >= PICTURE;
        if node.is_changed && is_due && !node.is_stopped && self.site.has_listeners(PICTURES) {
            node.is_changed = false;
            self.pictured = now.at;
            let picture = view::page(node, now);
            let news = page::news(&picture, &picture, &summary(&picture), false);
            self.site.publish(PICTURES, "", &news, out);
        }
    }

    pub(crate) fn gathered(&mut self, now: Now, ticket: Ticket, gauges: &[Gauges], out: &mut impl Outbox) {
        if ticket != TICKET {
            return;
        }
        let text = Gauges::prometheus(gauges);
        for ask in core::mem::take(&mut self.metrics) {
            self.site.answer(now, ask, Answer::new(200, PROMETHEUS, text.as_bytes()), out);
        }
    }
}

/// One line on how things stand.
fn summary(picture: &serde_json::Value) -> String {
    let counts = &picture["counts"];
    let jobs = format!(
        "{} wait, {} are with workers, {} have ended, {} results came late",
        counts["waiting"], counts["held"], counts["ended"], counts["late"]
    );
    match (picture["minority"].as_str(), picture["leader"].as_str()) {
        (Some(why), _) => format!("{why}; {jobs}"),
        (None, Some(leader)) => format!("{leader} leads; {jobs}"),
        (None, None) => format!("no leader at present; {jobs}"),
    }
}
