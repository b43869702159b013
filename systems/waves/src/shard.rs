//! Routing: what happened goes to the noun it concerns, and what that says goes out.
//!
//! A core owns the units that the ring gives it: their tasks ([`Crew`]), and their part in waves ([`Field`]). Where a
//! connection is and where a unit lives are different things, so most of what is asked here is told to another core,
//! with a word of who asked. The first core orders all changes of the network and starts the waves that balance it.

use crate::asks::{To, site};
use crate::book::Book;
use crate::config::Config;
use crate::letter::{Algorithm, Mail, Purpose};
use crate::network::{Network, UnitId};
use crate::news::{EVERY, News};
use crate::peer::{ArchivedSaid, Asker, Change, Said, Whom};
use crate::share::{Homes, Local, Share};
use crate::task::Crew;
use crate::wave::field::Field;
use crate::wave::{Fact, Happening};
use machine::{
    Address, Blob, Chance, ConnId, CoreId, End, Gauges, Input, Instant, ListenerId, Now, Opened, Order,
    Outbox, Peer, Seat, Shard, Stream, Ticket, TimerId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use web::Site;

/// Waves that are under way here are swept.
const SWEEP: TimerId = TimerId(1);
/// A processor here is free.
const WORK: TimerId = TimerId(2);
/// It is time to balance. The first core's alone.
const BALANCE: TimerId = TimerId(3);
/// Listeners are told the news.
const TELL: TimerId = TimerId(4);
/// A wave that was started here is looked at.
const LOOK: TimerId = TimerId(5);

/// Units whose tasks are looked at in one event; the rest comes with the next.
const UNITS_MAX: usize = 1024;

/// Reports that the first core remembers for pages that come later.
pub(crate) const REPORTS_MAX: usize = 64;

/// The core that orders changes.
pub(crate) const FIRST: CoreId = CoreId(0);

/// Nobody waits for an answer.
pub(crate) const NOBODY: Asker = Asker { core: 0, whom: Whom::Nobody };

/// What came in by which door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The balancer's, and the page's.
    Balancer,
    /// The one of a unit here.
    Unit(UnitId),
}

/// What came by a socket and is not for this core alone to understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Overheard {
    /// A wave's message to a unit here, from one that it is linked to.
    Letter(UnitId, serde_json::Value),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What only the first core knows.
#[derive(Debug, Default)]
pub(crate) struct First {
    /// Cores whose units have tasks.
    pub(crate) busy: BTreeSet<u16>,
    /// The next wave that balances is planned.
    pub(crate) is_planned: bool,
    /// What became of waves, oldest first.
    pub(crate) reports: std::collections::VecDeque<String>,
    pub(crate) broken: u64,
    pub(crate) over: u64,
}

/// A question to all cores that is not answered by all yet.
#[derive(Debug)]
pub(crate) struct Looking {
    pub(crate) ask: web::AskId,
    pub(crate) to: To,
    pub(crate) unit: Option<UnitId>,
    pub(crate) loads: BTreeMap<u32, u32>,
    pub(crate) reports: String,
    pub(crate) left: u16,
}

/// One core's units, waves and connections.
#[derive(Debug)]
pub struct Waves {
    pub(crate) seat: Seat,
    pub(crate) config: Config,
    pub(crate) network: Arc<Network>,
    pub(crate) dead: BTreeSet<UnitId>,
    pub(crate) cuts: BTreeSet<(UnitId, UnitId)>,
    /// How often anything was hurt, healed or added.
    pub(crate) changes: u64,
    pub(crate) homes: Homes,
    pub(crate) field: Field,
    pub(crate) facts: Vec<Fact>,
    pub(crate) crew: Crew,
    pub(crate) mail: Mail,
    pub(crate) happened: Vec<Happening>,
    pub(crate) book: Book,
    pub(crate) news: News,
    /// Cores whose listeners want our news.
    pub(crate) watchers: BTreeSet<u16>,
    pub(crate) site: Site<To>,
    pub(crate) listeners: BTreeMap<ListenerId, Door>,
    pub(crate) doors: BTreeMap<ConnId, Door>,
    /// What members of a troop said by sockets here; the troop takes it after each event.
    pub(crate) overheard: Vec<Overheard>,
    /// Sockets of the balancer, to which results are broadcast.
    pub(crate) sockets: BTreeSet<ConnId>,
    pub(crate) looks: BTreeMap<u64, Looking>,
    pub(crate) looked: u64,
    /// Who waits for the outcome of a single move, and its two ends.
    pub(crate) moves: BTreeMap<u64, (Asker, UnitId, UnitId)>,
    pub(crate) first: First,
    pub(crate) draw: Stream,
    pub(crate) letters: u64,
    was_busy: bool,
    sweep_at: Option<Instant>,
    work_at: Option<Instant>,
    look_at: Option<Instant>,
    tell_at: Option<Instant>,
    is_draining: bool,
}

impl Shard for Waves {
    type Config = Config;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &Config, chance: Chance) -> Self {
        let homes = if config.is_apart { Homes::Apart } else { Homes::ring(seat) };
        let share = Arc::new(Share::new(&config.network, seat, &homes));
        let (mut crew, mut facts) = (Crew::default(), Vec::new());
        for unit in share.units() {
            let cpu = config.network.units()[unit.index()].cpu;
            crew.add(cpu);
            facts.push(Fact { load: 0, cpu, born_at: Instant::ZERO, is_alive: true });
        }
        Self {
            seat,
            network: config.network.clone(),
            dead: BTreeSet::new(),
            cuts: BTreeSet::new(),
            changes: 0,
            homes,
            field: Field::new(share, config.bounds),
            facts,
            crew,
            mail: Mail::new(seat.cores),
            happened: Vec::new(),
            book: Book::new(config.bounds, seat.cores),
            news: News::default(),
            watchers: BTreeSet::new(),
            site: site(config),
            listeners: BTreeMap::new(),
            doors: BTreeMap::new(),
            overheard: Vec::new(),
            sockets: BTreeSet::new(),
            looks: BTreeMap::new(),
            looked: 0,
            moves: BTreeMap::new(),
            first: First::default(),
            draw: chance.stream("balance"),
            letters: 0,
            was_busy: false,
            sweep_at: None,
            work_at: None,
            look_at: None,
            tell_at: None,
            is_draining: false,
            config: config.clone(),
        }
    }

    fn on_start(&mut self, _now: Now, out: &mut impl Outbox<Said = Said>) {
        for at in &self.config.http {
            self.listeners.insert(out.listen(Address::Ip(*at)), Door::Balancer);
        }
        for (unit, at) in self.config.units.iter().enumerate() {
            let unit = UnitId(unit as u32);
            if self.homes.owner(unit) == self.seat.core {
                self.listeners.insert(out.listen(Address::Ip(*at)), Door::Unit(unit));
            }
        }
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        match how {
            Opened::Accepted { listener, .. } => {
                let door = self.listeners.get(&listener).copied().unwrap_or(Door::Balancer);
                self.doors.insert(conn, door);
                self.site.open(now, conn, out);
            }
            Opened::Dialled | Opened::Pipe(..) => unreachable!("nothing is dialled or spawned here"),
        }
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        while let Some(event) = self.site.take(now, conn, input, out) {
            self.asked(now, event, out);
        }
        self.after(now, out);
    }

    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        self.site.room(now, conn, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        self.site.end(now, conn, end, out);
        self.after(now, out);
    }

    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &ArchivedSaid,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Peer::Core(core) = from else { unreachable!("a system of one node hears no other") };
        self.heard(now, core, heard, blob, out);
        self.after(now, out);
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        match timer {
            SWEEP => {
                self.sweep_at = None;
                self.on_field(now, Field::sweep);
            }
            WORK => {
                self.work_at = None;
                for local in self.crew.work(now.at, UNITS_MAX) {
                    self.load_changed(local);
                }
            }
            LOOK => {
                self.look_at = None;
                while let Some((wave, next)) = self.book.due(now.at) {
                    self.turn_page(now, wave, next, out);
                }
            }
            TELL => {
                self.tell_at = None;
                self.tell_news(now, out);
            }
            BALANCE => {
                self.first.is_planned = false;
                self.balance(out);
            }
            web::TIMER => self.site.timer(now, out),
            TimerId(other) => unreachable!("timer {other} was never asked for"),
        }
        self.after(now, out);
    }

    fn on_gathered(&mut self, now: Now, _: Ticket, gauges: &[Gauges], out: &mut impl Outbox<Said = Said>) {
        self.site.gathered(now, gauges, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        match order {
            // Units and links are changed by what is asked of the running network.
            Order::Reload(config) => {
                (self.config.settings, self.config.balancer) = (config.settings, config.balancer);
            }
            Order::Drain { by: _ } => {
                self.is_draining = true;
                self.site.drain(now, out);
            }
        }
        self.after(now, out);
    }

    fn gauges(&self, into: &mut Gauges) {
        let counts = self.crew.counts();
        into.level(
            "waves_units",
            "units that live here",
            self.facts.iter().filter(|fact| fact.is_alive).count() as i64,
        );
        into.level("waves_under_way", "waves under way", self.field.len() as i64);
        into.counter("waves_letters_total", "letters that came for units here", self.letters);
        into.counter(
            "waves_dropped_total",
            "letters for the dead, over cut links, or too late",
            self.field.dropped(),
        );
        into.counter("waves_over_total", "waves that are over", self.first.over);
        into.counter(
            "waves_broken_total",
            "waves of which a monitor says that a property is broken",
            self.first.broken,
        );
        into.level("waves_tasks", "tasks of units here", self.crew.present() as i64);
        into.level("waves_tasks_moving", "tasks between two units", self.crew.moving() as i64);
        into.counter("waves_tasks_created_total", "tasks that came to be", counts.created);
        into.counter("waves_tasks_finished_total", "tasks that were finished", counts.finished);
        into.counter("waves_tasks_lost_total", "tasks whose unit died", counts.lost);
        into.counter("waves_tasks_moved_total", "tasks that went to another unit", counts.moved_out);
        into.counter("waves_tasks_bounced_total", "tasks that were refused and came back", counts.bounced);
        self.site.gauges(into);
    }
}

impl Waves {
    /// Where a unit lives, if it does.
    pub(crate) fn core_of(&self, unit: UnitId) -> Option<CoreId> {
        self.field.share().place(unit).map(|place| place.core)
    }

    /// The place of a unit here.
    pub(crate) fn local(&self, unit: UnitId) -> Option<Local> {
        let place = self.field.share().place(unit).filter(|place| place.core == self.seat.core)?;
        Some(place.local)
    }

    /// What a field is asked, with all it needs.
    pub(crate) fn on_field<T>(
        &mut self,
        now: Now,
        event: impl FnOnce(&mut Field, &mut crate::wave::field::Ground<'_>) -> T,
    ) -> T {
        let mut ground = crate::wave::field::Ground {
            now: now.at,
            facts: &self.facts,
            mail: &mut self.mail,
            happened: &mut self.happened,
            is_watched: !self.watchers.is_empty(),
        };
        event(&mut self.field, &mut ground)
    }

    /// A unit here has other tasks than before.
    pub(crate) fn load_changed(&mut self, local: Local) {
        let load = self.crew.load(local);
        self.facts[local.index()].load = load;
        if !self.watchers.is_empty() {
            let unit = self.field.share().unit(local);
            self.news.load(unit, load);
        }
    }

    /// How the network is: a number that changes with it; none while anything in it is dead or cut.
    pub(crate) fn wounds(&self) -> Option<u64> {
        (self.dead.is_empty() && self.cuts.is_empty()).then_some(self.changes)
    }

    /// After each event: what it left to be said is said, and the world is asked to wake us in time.
    fn after(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.say_what_happened(now, out);
        self.mail.take(|core, post| out.tell(core, Said::Post(post), None));
        while let Some(over) = self.site.over() {
            match over {
                web::Over::Socket(conn) => drop(self.sockets.remove(&conn)),
                web::Over::Parts(_) => {}
            }
        }
        self.doors.retain(|conn, _| self.site.owns(*conn));
        self.report_business(out);
        self.plan_wakes(now, out);
        if self.is_draining && self.site.is_empty() {
            out.drained();
        }
    }

    fn report_business(&mut self, out: &mut impl Outbox<Said = Said>) {
        let is_busy = self.crew.present() + self.crew.moving() > 0;
        if is_busy != self.was_busy {
            self.was_busy = is_busy;
            out.tell(FIRST, Said::Busy(is_busy), None);
        }
    }

    fn plan_wakes(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if !self.field.is_empty() && self.sweep_at.is_none() {
            self.sweep_at = Some(now.at + self.config.bounds.beat());
            out.wake(SWEEP, self.sweep_at);
        }
        if self.crew.next_due() != self.work_at {
            self.work_at = self.crew.next_due();
            out.wake(WORK, self.work_at);
        }
        if self.book.next_look() != self.look_at {
            self.look_at = self.book.next_look();
            out.wake(LOOK, self.look_at);
        }
        if !self.watchers.is_empty() && !self.news.is_empty() && self.tell_at.is_none() {
            self.tell_at = Some(now.at + EVERY);
            out.wake(TELL, self.tell_at);
        }
        // Nothing to balance where nobody has a task: then nobody is woken.
        let interval = self.config.settings.rebalance_interval;
        let is_wanted = self.config.balancer.is_some() && !interval.is_zero() && !self.first.busy.is_empty();
        if is_wanted && !self.first.is_planned && self.seat.core == FIRST {
            self.first.is_planned = true;
            out.wake(BALANCE, Some(now.at + interval));
        }
    }

    /// A wave that collects loads, started by the first unit that lives.
    fn balance(&mut self, out: &mut impl Outbox<Said = Said>) {
        if let Some(unit) = self.root() {
            let (algorithm, purpose) = (Algorithm::Echo, Purpose::Rebalance);
            self.launch(algorithm, purpose, unit, NOBODY, out);
        }
    }

    /// The first unit that lives.
    pub(crate) fn root(&self) -> Option<UnitId> {
        (0..self.network.units().len() as u32).map(UnitId).find(|unit| !self.dead.contains(unit))
    }

    /// Has a unit start a wave, wherever it lives.
    pub(crate) fn launch(
        &mut self,
        algorithm: Algorithm,
        purpose: Purpose,
        unit: UnitId,
        asker: Asker,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let core = self.core_of(unit).unwrap_or(FIRST);
        out.tell(core, Said::Launch { algorithm, purpose, unit: unit.0, asker }, None);
    }

    /// Tells the cores that want it what has happened here.
    fn tell_news(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if self.news.is_empty() || self.watchers.is_empty() {
            return;
        }
        let blob = Blob::from(self.news.take(now.at).into_bytes());
        for core in &self.watchers {
            out.tell(CoreId(*core), Said::News, Some(blob.clone()));
        }
    }

    /// Changes the network as all cores do.
    pub(crate) fn change(&mut self, change: &Change, at: Instant) {
        self.changes += 1;
        match change {
            Change::Kill(unit) => self.kill(UnitId(*unit)),
            Change::Revive(unit) => self.revive(UnitId(*unit), at),
            Change::Cut(a, b) => {
                self.cuts.insert((UnitId(*a.min(b)), UnitId(*a.max(b))));
                self.field.cut(UnitId(*a), UnitId(*b));
            }
            Change::Heal(a, b) => {
                self.cuts.remove(&(UnitId(*a.min(b)), UnitId(*a.max(b))));
                self.field.heal(UnitId(*a), UnitId(*b));
            }
            Change::Add { name, port, cpu, linked_to } => {
                let spec = crate::network::Spec { name: name.clone(), port: *port, cpu: *cpu };
                let linked_to: Vec<UnitId> = linked_to.iter().map(|unit| UnitId(*unit)).collect();
                let added = Arc::make_mut(&mut self.network).add(spec, &linked_to);
                let Ok(unit) = added else { return };
                let share = Arc::new(Share::new(&self.network, self.seat, &self.homes));
                self.field.change(share);
                if self.local(unit).is_some() {
                    self.crew.add(*cpu);
                    self.facts.push(Fact { load: 0, cpu: *cpu, born_at: at, is_alive: true });
                }
            }
        }
    }

    fn kill(&mut self, unit: UnitId) {
        self.dead.insert(unit);
        if let Some(local) = self.local(unit) {
            self.facts[local.index()].is_alive = false;
            self.field.bury(local);
            self.crew.bury(local);
            self.load_changed(local);
        }
    }

    fn revive(&mut self, unit: UnitId, at: Instant) {
        self.dead.remove(&unit);
        if let Some(local) = self.local(unit) {
            self.crew.revive(local);
            let fact = &mut self.facts[local.index()];
            (fact.is_alive, fact.born_at) = (true, at);
        }
    }
}
