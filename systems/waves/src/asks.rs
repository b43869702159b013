//! What browsers and programs ask: the balancer's interface, that of each unit, and what the page needs besides.
//!
//! One table of routes serves both kinds of door; where a path means something at both (`/echo`, `/ws`), the door
//! decides. A unit that has no port of its own is reached through the balancer, under `/units/{port}`.

use crate::config::Config;
use crate::letter::{Algorithm, Purpose, WaveId};
use crate::network::UnitId;
use crate::news;
use crate::peer::{Asker, Change, Said, Shift, Whom};
use crate::shard::{Door, FIRST, Looking, Overheard, Waves};
use crate::tree::quoted;
use core::fmt::Write as _;
use machine::id::Key;
use machine::{ConnId, CoreId, Now, Outbox};
use rkyv::string::ArchivedString;
use std::collections::BTreeMap;
use web::{Answer, Ask, AskId, Asset, Event, Face, Message, Route, Site};

/// The topic of news among a face's streams of events.
const NEWS: u16 = 1;

/// The most tasks that one request adds.
const TASKS_MAX: u32 = 10_000;

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// The tree, from a wave of its own.
    Echo,
    /// A wave whose result is broadcast.
    EchoWs,
    /// A wave of Finn's that gives every unit a task.
    FinnWs,
    /// The mean load.
    Disbalance,
    /// Sockets to which results are broadcast, or that speak to a unit.
    Socket,
    /// What a unit is and has.
    Specs,
    /// One task more.
    AddTask,
    /// One task moves to another unit.
    Rebalance,
    /// Everything a page must know to begin.
    State,
    /// What happens, as it happens.
    Events,
    /// Any wave.
    Wave,
    /// Tasks for a unit, or for one drawn by chance.
    Tasks,
    /// A unit dies.
    Kill,
    /// It comes back.
    Revive,
    /// A link is cut.
    Cut,
    /// It is healed.
    Heal,
    /// A unit is added.
    Add,
}

const ASSETS: &[Asset] = &[
    Asset::html("/", include_str!("page/index.html")),
    Asset::css("/waves.css", include_str!("page/waves.css")),
    Asset::js("/waves.js", include_str!("page/waves.js")),
    Asset::js("/layout.js", include_str!("page/layout.js")),
    Asset::new("/icon.svg", "image/svg+xml", include_bytes!("page/icon.svg")),
];

/// The face of one core.
pub(crate) fn site(config: &Config) -> Site<To> {
    let face = Face { assets: ASSETS, origins: config.origins.clone(), ..Face::default() };
    let routes = vec![
        Route::get("/echo", To::Echo),
        Route::get("/echo_ws", To::EchoWs),
        Route::get("/finn_ws", To::FinnWs),
        Route::get("/avg-disbalance", To::Disbalance),
        Route::socket("/ws", To::Socket),
        Route::get("/specs", To::Specs),
        Route::get("/add_task", To::AddTask),
        Route::post("/rebalance", To::Rebalance),
        Route::get("/units/{port}/specs", To::Specs),
        Route::get("/units/{port}/add_task", To::AddTask),
        Route::get("/units/{port}/echo", To::Echo),
        Route::post("/units/{port}/rebalance", To::Rebalance),
        Route::get("/state", To::State),
        Route::get("/events", To::Events),
        Route::post("/waves", To::Wave),
        Route::post("/tasks", To::Tasks),
        Route::post("/kill", To::Kill),
        Route::post("/revive", To::Revive),
        Route::post("/cut", To::Cut),
        Route::post("/heal", To::Heal),
        Route::post("/units", To::Add),
    ];
    Site::new(face, routes, None)
}

impl Waves {
    /// Something came on a connection.
    pub(crate) fn asked(&mut self, now: Now, event: Event<'_, To>, out: &mut impl Outbox<Said = Said>) {
        match event {
            Event::Ask(ask) => self.ask(now, &ask, out),
            Event::Message(conn, Message::Text(text)) => self.message(now, conn, &text, out),
            Event::Message(_, Message::Binary(data)) if self.config.is_apart => {
                self.overheard.push(Overheard::Bytes(data.to_vec()));
            }
            // Nobody else speaks in bytes here; whoever does is not understood, and goes on.
            Event::Message(_, Message::Binary(_)) => {}
            Event::Part(..) | Event::Whole(_) => unreachable!("no route has bodies in parts"),
        }
    }

    fn ask(&mut self, now: Now, ask: &Ask<'_, To>, out: &mut impl Outbox<Said = Said>) {
        let door = self.doors.get(&ask.id.conn()).copied().unwrap_or(Door::Balancer);
        match ask.to {
            To::Echo => match self.unit_of(ask, door).or_else(|| self.root_at(door, ask)) {
                Some(unit) => {
                    self.launch(Algorithm::Echo, Purpose::Status, unit, self.result_for(ask.id), out)
                }
                None => self.no_unit(now, ask.id, out),
            },
            To::EchoWs => self.start_for(now, ask, "receiver", Algorithm::Echo, Purpose::Status, out),
            To::FinnWs => self.start_for(now, ask, "unit", self.finn_for(ask), Purpose::Tasks, out),
            To::Disbalance | To::State => self.look(ask.id, ask.to, None, out),
            To::Specs => match self.unit_of(ask, door) {
                Some(unit) => self.look(ask.id, To::Specs, Some(unit), out),
                None => self.no_unit(now, ask.id, out),
            },
            To::AddTask => match self.unit_of(ask, door) {
                Some(unit) => self.ask_tasks(unit, 1, ask.id, out),
                None => self.no_unit(now, ask.id, out),
            },
            To::Rebalance => self.ask_move(now, ask, door, out),
            To::Socket => {
                if self.site.accept(now, ask, out) && door == Door::Balancer {
                    self.sockets.insert(ask.id.conn());
                }
            }
            To::Events => {
                self.site.listen(now, ask.id, NEWS, out);
                for core in self.seat.all_cores() {
                    out.tell(core, Said::Watch(true), None);
                }
                // Whoever begins to listen, or comes back, asks for the state after this, and so misses nothing.
                let text = format!("{{\"at_us\":{},\"hello\":true}}", now.at.nanos() / 1000);
                self.site.publish(NEWS, "", &text, out);
            }
            To::Wave => self.ask_wave(now, ask, out),
            To::Tasks => self.ask_some_tasks(now, ask, out),
            To::Kill | To::Revive | To::Cut | To::Heal | To::Add => self.ask_change(now, ask, out),
        }
    }

    /// Answers with JSON, and a line's end, for those who look at it on a terminal.
    fn json(&mut self, now: Now, id: AskId, text: &[u8], out: &mut impl Outbox<Said = Said>) {
        self.site.answer(now, id, Answer::json(200, &[text, b"\n"].concat()), out);
    }

    fn here(&self, whom: Whom) -> Asker {
        Asker { core: self.seat.core.0, whom }
    }

    fn waiting(&self, id: AskId) -> Asker {
        let (conn, ticket) = id.to_bits();
        self.here(Whom::Ask(conn, ticket))
    }

    fn result_for(&self, id: AskId) -> Asker {
        let (conn, ticket) = id.to_bits();
        self.here(Whom::AskResult(conn, ticket))
    }

    fn no_unit(&mut self, now: Now, id: AskId, out: &mut impl Outbox<Said = Said>) {
        self.site.refused(now, id, 404, "there is no such unit, or it is dead", out);
    }

    /// The unit that a request is about: the one of its door, or the one whose port its path names.
    fn unit_of(&self, ask: &Ask<'_, To>, door: Door) -> Option<UnitId> {
        let named = ask.parameters.get("port");
        let unit = match door {
            Door::Unit(unit) if named.is_empty() => unit,
            Door::Unit(_) | Door::Balancer => self.network.by_port(named.parse().ok()?)?,
        };
        Some(unit).filter(|unit| !self.dead.contains(unit))
    }

    /// The first unit, where a path names none.
    fn root_at(&self, door: Door, ask: &Ask<'_, To>) -> Option<UnitId> {
        (door == Door::Balancer && ask.parameters.get("port").is_empty()).then(|| self.root()).flatten()
    }

    /// The unit that a query's value names by its port, alone or in an address (`ws://localhost:8003/ws`); the first
    /// that lives, when it names none. None when it names one that does not live.
    fn named(&self, text: Option<&str>) -> Option<UnitId> {
        let port = text.and_then(|text| {
            let parts = text.split(|letter: char| !letter.is_ascii_digit());
            parts
                .filter_map(|part| part.parse().ok())
                .filter_map(|port| self.network.by_port(port))
                .next_back()
        });
        match port {
            Some(unit) => Some(unit).filter(|unit| !self.dead.contains(unit)),
            None => self.root(),
        }
    }

    fn finn_for(&self, ask: &Ask<'_, To>) -> Algorithm {
        match ask.query().get("mode").as_deref() {
            Some("directed") => Algorithm::Directed,
            Some(_) | None => Algorithm::Finn,
        }
    }

    fn start_for(
        &mut self,
        now: Now,
        ask: &Ask<'_, To>,
        key: &str,
        algorithm: Algorithm,
        purpose: Purpose,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match self.named(ask.query().get(key).as_deref()) {
            Some(unit) => self.launch(algorithm, purpose, unit, self.waiting(ask.id), out),
            None => self.no_unit(now, ask.id, out),
        }
    }

    fn ask_wave(&mut self, now: Now, ask: &Ask<'_, To>, out: &mut impl Outbox<Said = Said>) {
        let algorithm = match ask.query().get("algorithm").as_deref() {
            Some("echo") | None => Algorithm::Echo,
            Some("finn") => Algorithm::Finn,
            Some("directed") => Algorithm::Directed,
            Some(_) => {
                return self.site.refused(now, ask.id, 400, "algorithm is echo, finn or directed", out);
            }
        };
        let purpose = match ask.query().get("purpose").as_deref() {
            Some("count") => Purpose::Count,
            Some("status") | None => Purpose::Status,
            Some("rebalance") => Purpose::Rebalance,
            Some("tasks") => Purpose::Tasks,
            Some(_) => {
                return self.site.refused(
                    now,
                    ask.id,
                    400,
                    "purpose is count, status, rebalance or tasks",
                    out,
                );
            }
        };
        self.start_for(now, ask, "unit", algorithm, purpose, out);
    }

    /// Whether a wave could be started.
    pub(crate) fn answer_launch(
        &mut self,
        now: Now,
        whom: Whom,
        wave: Option<WaveId>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let (Whom::Ask(conn, ticket) | Whom::AskResult(conn, ticket)) = whom else { return };
        let id = AskId::from_bits((conn, ticket));
        match wave {
            Some(wave) => {
                let text = format!(
                    "{{\"status\":\"success\",\"message\":\"wave {wave} is under way\",\"wave\":\"{wave}\"}}"
                );
                self.json(now, id, text.as_bytes(), out);
            }
            None => {
                let sentence = "the wave cannot be started: too many are under way, the unit is dead, or the network is \
                                too large for this algorithm";
                self.site.refused(now, id, 503, sentence, out);
            }
        }
    }

    /// A tree has come for who asked for it.
    pub(crate) fn answer_tree(
        &mut self,
        now: Now,
        whom: Whom,
        text: &[u8],
        out: &mut impl Outbox<Said = Said>,
    ) {
        match whom {
            Whom::AskResult(conn, ticket) => {
                let id = AskId::from_bits((conn, ticket));
                self.json(now, id, text, out);
            }
            Whom::Socket(conn) => {
                let tree = String::from_utf8_lossy(text);
                let text = format!("{{\"route\":\"echo_back\",\"payload\":{tree},\"purpose\":\"status\"}}");
                self.site.send_text(now, ConnId(Key::from_bits(conn)), &text, out);
            }
            Whom::Ask(..) | Whom::Look(_) | Whom::Nobody => {}
        }
    }

    /// A result for everybody at the balancer's socket.
    pub(crate) fn broadcast(&mut self, now: Now, text: &[u8], out: &mut impl Outbox<Said = Said>) {
        let text = String::from_utf8_lossy(text);
        for conn in self.sockets.clone() {
            self.site.send_text(now, conn, &text, out);
        }
    }

    /// What another program says by a socket: at a unit's, the words of the classic demonstration.
    fn message(&mut self, now: Now, conn: ConnId, text: &str, out: &mut impl Outbox<Said = Said>) {
        let door = self.doors.get(&conn).copied().unwrap_or(Door::Balancer);
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let unit = match door {
            Door::Unit(unit) => Some(unit).filter(|unit| !self.dead.contains(unit)),
            Door::Balancer => self.root(),
        };
        if let Door::Unit(unit) = door
            && self.config.is_apart
            && crate::apart::words::is_letter(&value, unit, &self.network)
        {
            return self.overheard.push(Overheard::Letter(unit, value));
        }
        let asker = self.here(Whom::Socket(conn.0.to_bits()));
        match (value.get("route").and_then(serde_json::Value::as_str), unit) {
            (Some("echo"), Some(unit)) => self.launch(Algorithm::Echo, Purpose::Status, unit, asker, out),
            (Some("finn"), Some(unit)) => self.launch(Algorithm::Finn, Purpose::Tasks, unit, asker, out),
            (Some(_) | None, _) => {
                let sentence =
                    r#"{"status":"error","message":"say {\"route\":\"echo\"} or {\"route\":\"finn\"}"}"#;
                self.site.send_text(now, conn, sentence, out);
            }
        }
    }

    fn ask_tasks(&mut self, unit: UnitId, count: u32, id: AskId, out: &mut impl Outbox<Said = Said>) {
        let asker = self.waiting(id);
        let core = self.core_of(unit).unwrap_or(FIRST);
        out.tell(core, Said::AddTasks { unit: unit.0, count, asker }, None);
    }

    fn ask_some_tasks(&mut self, now: Now, ask: &Ask<'_, To>, out: &mut impl Outbox<Said = Said>) {
        let count = ask.query().get("count").map_or(Some(1), |text| text.parse().ok());
        let Some(count) = count.filter(|count| (1..=TASKS_MAX).contains(count)) else {
            return self.site.refused(now, ask.id, 400, "count is a number from 1 to 10000", out);
        };
        let unit = match ask.query().get("unit").as_deref() {
            Some(port) => self.named(Some(port)),
            None => {
                let alive: Vec<UnitId> = (0..self.network.units().len() as u32)
                    .map(UnitId)
                    .filter(|unit| !self.dead.contains(unit))
                    .collect();
                self.draw.pick(&alive).copied()
            }
        };
        match unit {
            Some(unit) => self.ask_tasks(unit, count, ask.id, out),
            None => self.no_unit(now, ask.id, out),
        }
    }

    fn ask_move(&mut self, now: Now, ask: &Ask<'_, To>, door: Door, out: &mut impl Outbox<Said = Said>) {
        let target = ask.query().get("target").and_then(|port| self.network.by_port(port.parse().ok()?));
        match (self.unit_of(ask, door), target) {
            (Some(from), Some(to)) if from != to => {
                let shifts = vec![Shift { from: from.0, to: to.0, count: 1 }];
                let core = self.core_of(from).unwrap_or(FIRST);
                out.tell(core, Said::Shift { shifts, asker: self.waiting(ask.id) }, None);
            }
            (None, _) => self.no_unit(now, ask.id, out),
            (Some(_), _) => self.site.refused(now, ask.id, 400, "target is the port of another unit", out),
        }
    }

    fn ask_change(&mut self, now: Now, ask: &Ask<'_, To>, out: &mut impl Outbox<Said = Said>) {
        let unit = |key: &str| {
            let port = ask.query().get(key)?.parse().ok()?;
            self.network.by_port(port).map(|unit| unit.0)
        };
        let change = match ask.to {
            To::Kill => unit("unit").map(Change::Kill),
            To::Revive => unit("unit").map(Change::Revive),
            To::Cut => unit("a").zip(unit("b")).map(|(a, b)| Change::Cut(a, b)),
            To::Heal => unit("a").zip(unit("b")).map(|(a, b)| Change::Heal(a, b)),
            _ => self.addition(ask),
        };
        match change {
            Some(change) => out.tell(FIRST, Said::Please { change, asker: self.waiting(ask.id) }, None),
            None => {
                self.site.refused(now, ask.id, 400, "name units by their ports: unit=, or a= and b=", out)
            }
        }
    }

    /// A further unit: `links` are ports with commas between them, the first that lives when none is named.
    fn addition(&self, ask: &Ask<'_, To>) -> Option<Change> {
        let query = ask.query();
        let port = match query.get("port") {
            Some(port) => port.parse().ok()?,
            None => self.network.next_port()?,
        };
        let name =
            query.get("name").map_or_else(|| format!("unit-{}", self.network.units().len()), Into::into);
        let cpu = query.get("cpu").map_or(Some(1), |text| text.parse().ok())?;
        let linked_to = match query.get("links") {
            None => self.root().into_iter().map(|unit| unit.0).collect(),
            Some(ports) => ports
                .split(',')
                .map(|port| port.parse().ok().and_then(|port| self.network.by_port(port)).map(|unit| unit.0))
                .collect::<Option<Vec<u32>>>()?,
        };
        Some(Change::Add { name, port, cpu, linked_to })
    }

    /// Whether what was asked for was done.
    pub(crate) fn answer_done(
        &mut self,
        now: Now,
        whom: Whom,
        is_done: bool,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if let Whom::Ask(conn, ticket) = whom {
            let text: &[u8] = if is_done { br#"{"status":"ok"}"# } else { br#"{"status":"error"}"# };
            self.json(now, AskId::from_bits((conn, ticket)), text, out);
        }
    }

    /// Asks all cores what their units have, for a request that needs to know.
    fn look(&mut self, ask: AskId, to: To, unit: Option<UnitId>, out: &mut impl Outbox<Said = Said>) {
        self.looked += 1;
        let (loads, reports, left) = (BTreeMap::new(), String::new(), self.seat.cores);
        self.looks.insert(self.looked, Looking { ask, to, unit, loads, reports, left });
        for core in self.seat.all_cores() {
            out.tell(core, Said::Look(self.here(Whom::Look(self.looked))), None);
        }
    }

    /// Tells what the units here have.
    pub(crate) fn tell_loads(&self, asker: Asker, out: &mut impl Outbox<Said = Said>) {
        let share = self.field.share();
        let here = share.units().iter().zip(&self.facts).filter(|(_, fact)| fact.is_alive);
        let loads = here.map(|(unit, fact)| (unit.0, fact.load)).collect();
        let reports: Vec<&str> = self.first.reports.iter().map(|report| &**report).collect();
        out.tell(CoreId(asker.core), Said::Seen { asker, loads, reports: reports.join(",") }, None);
    }

    /// A core has told; when all have, the request is answered.
    pub(crate) fn seen(
        &mut self,
        now: Now,
        whom: Whom,
        loads: impl Iterator<Item = (u32, u32)>,
        reports: &ArchivedString,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Whom::Look(number) = whom else { return };
        let Some(look) = self.looks.get_mut(&number) else { return };
        look.loads.extend(loads);
        look.reports.push_str(reports);
        look.left -= 1;
        if look.left > 0 {
            return;
        }
        let Some(look) = self.looks.remove(&number) else { return };
        let text = match (look.to, look.unit) {
            (To::Specs, Some(unit)) => match look.loads.get(&unit.0) {
                Some(load) => self.specs(unit, *load),
                None => return self.no_unit(now, look.ask, out),
            },
            (To::Disbalance, _) => self.disbalance(&look.loads),
            _ => self.state(now, &look),
        };
        self.json(now, look.ask, text.as_bytes(), out);
    }

    fn specs(&self, unit: UnitId, load: u32) -> String {
        let spec = &self.network.units()[unit.index()];
        format!(
            "{{\"load\":{load},\"cpu\":{},\"children\":{:?},\"name\":{},\"port\":{}}}",
            spec.cpu,
            self.network.children(unit),
            quoted(&spec.name),
            spec.port
        )
    }

    fn disbalance(&self, loads: &BTreeMap<u32, u32>) -> String {
        let cpu = |unit: &u32| self.network.spec(UnitId(*unit)).map_or(0, |spec| u64::from(spec.cpu));
        let cpus: u64 = loads.keys().map(cpu).sum();
        let tasks: u64 = loads.values().map(|load| u64::from(*load)).sum();
        format!("{{\"load\":{}}}", if cpus == 0 { 0.0 } else { tasks as f64 / cpus as f64 })
    }

    /// Everything a page must know to begin.
    fn state(&self, now: Now, look: &Looking) -> String {
        let settings = &self.config.settings;
        let mut text = format!(
            "{{\"label\":{},\"at_us\":{},\"cores\":{},\"every_ms\":{},\"balancer\":{},\"max_cpu\":{},\"task_time\":{},\
             \"rebalance_interval\":{},\"units\":[",
            quoted(&self.config.label),
            now.at.nanos() / 1000,
            self.seat.cores,
            news::EVERY.as_millis(),
            self.config.balancer.map_or("null".to_owned(), |balancer| quoted(balancer.name())),
            settings.max_cpu,
            settings.task_time.as_secs_f64(),
            settings.rebalance_interval.as_secs_f64()
        );
        for (index, spec) in self.network.units().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let load = look.loads.get(&(index as u32));
            let is_alive = u8::from(load.is_some());
            let _ = write!(
                text,
                "{comma}[{},{},{},{},{is_alive},{}]",
                quoted(&spec.name),
                spec.port,
                spec.cpu,
                load.copied().unwrap_or(0),
                self.core_of(UnitId(index as u32)).map_or(0, |core| core.0)
            );
        }
        text.push_str("],\"links\":[");
        for (index, (a, b)) in self.network.links().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let is_cut = u8::from(self.cuts.contains(&(*a.min(b), *a.max(b))));
            let _ = write!(text, "{comma}[{},{},{is_cut}]", a.0, b.0);
        }
        let _ = write!(text, "],\"reports\":[{}]}}", look.reports);
        text
    }

    /// News from a core, for the listeners here; when there are none any more, nobody has to tell us.
    pub(crate) fn publish(&mut self, text: &[u8], out: &mut impl Outbox<Said = Said>) {
        if self.site.has_listeners(NEWS) {
            let text = String::from_utf8_lossy(text);
            self.site.publish(NEWS, "", &text, out);
            return;
        }
        for core in self.seat.all_cores() {
            out.tell(core, Said::Watch(false), None);
        }
    }
}
