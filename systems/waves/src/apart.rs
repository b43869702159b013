//! Units as processes of their own: a troop, whose first member balances, serves the page and owns the others, and
//! whose other members are a unit each.
//!
//! Each member holds the same [`Waves`] that a core holds otherwise, as if it were one core of many; what that says to
//! another "core" is carried to another process. A letter of a wave goes to the unit's own `/ws` as the contract's
//! JSON, so that a unit written elsewhere can stand among ours; all else goes there as checked archives behind a key
//! that only members know. The hard thing is that a process dies, where a core does not: whatever it was asked and had
//! not answered is answered in its name ([`debts`]), and what it had is lost with it.

mod brief;
mod carrier;
mod debts;
mod lines;
pub mod words;

pub use brief::{Key, Troop};

use crate::Waves;
use crate::network::UnitId;
use crate::peer::{ArchivedChange, ArchivedSaid, Change, Said, native};
use crate::shard::{FIRST, NOBODY, Overheard};
use carrier::Carrier;
use debts::Debts;
use lines::{Lines, Saying};
use machine::{
    Blob, Chance, ChildEvent, ChildId, Command, ConnId, CoreId, End, Gauges, Input, Instant, ListenerId,
    Listening, Now, Opened, Order, Outbox, Peer, PipeKind, Seat, Shard, Signal, Ticket, TimerId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use wire::peer::{Batch, Message};
use words::{Clock, Neighbours};

/// The most units of a troop. A wave's tree is nested in JSON as deep as a line of units is long, and readers of JSON
/// stop at 128 levels, of which a unit takes two.
pub const PROCESSES_MAX: usize = 60;

/// A member is dialled again.
const AGAIN: TimerId = TimerId(6);

/// What begins the bytes that members say.
const MAGIC: &[u8; 4] = b"RWT1";

/// Bytes of a unit's log that are taken before a line ends.
const LINE_MAX: usize = 4096;

/// Something that is to be carried to a member, or has come from one.
enum Errand {
    To(u16, Said, Option<Blob>),
    From(u16, Batch, Option<Blob>),
}

/// One member of a troop.
#[derive(Debug)]
pub struct Apart {
    waves: Waves,
    troop: Troop,
    lines: Lines,
    debts: Debts,
    neighbours: Neighbours,
    children: BTreeMap<ChildId, UnitId>,
    /// Units that came, or came back, after the troop.
    late: BTreeSet<UnitId>,
    /// What each child says on its standard error, up to a line's end.
    errors: BTreeMap<ConnId, (UnitId, Vec<u8>)>,
    again_at: Option<Instant>,
    is_draining: bool,
    /// The waves here have nothing left to do.
    is_drained: bool,
}

/// An event and all that follows of it, with the waves' outbox around the world's.
macro_rules! tell {
    ($self:ident, $now:ident, $out:ident, |$waves:ident, $carrier:ident| $event:expr) => {{
        let mut errands = VecDeque::new();
        {
            let mut carrier = Carrier { out: $out, errands: &mut errands, is_drained: &mut $self.is_drained };
            let ($waves, $carrier) = (&mut $self.waves, &mut carrier);
            $event;
        }
        $self.run(errands, $now, $out);
    }};
}

impl Shard for Apart {
    type Config = Troop;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, troop: &Troop, chance: Chance) -> Self {
        let seat = Seat { node: seat.node, core: CoreId(troop.member), cores: PROCESSES_MAX as u16 + 1 };
        Self {
            waves: Waves::new(seat, &troop.config, chance.within("member", u64::from(troop.member))),
            lines: Lines::new(chance.stream("nonces")),
            troop: troop.clone(),
            debts: Debts::default(),
            neighbours: Neighbours::default(),
            children: BTreeMap::new(),
            late: BTreeSet::new(),
            errors: BTreeMap::new(),
            again_at: None,
            is_draining: false,
            is_drained: false,
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        tell!(self, now, out, |waves, carrier| waves.on_start(now, carrier));
        for change in &core::mem::take(&mut self.troop.wounds) {
            self.waves.change(change, now.at);
        }
        if self.troop.is_late {
            // After the beginning, so that waves which are older find it too young.
            self.waves.change(&Change::Revive(u32::from(self.troop.member) - 1), now.at);
        }
        if self.troop.member == FIRST.0 {
            for unit in 0..self.waves.network.units().len() as u32 {
                self.start(UnitId(unit), false, out);
            }
        }
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        match how {
            Opened::Accepted { .. } => {
                tell!(self, now, out, |waves, carrier| waves.on_open(now, conn, how, carrier));
            }
            Opened::Dialled => {}
            Opened::Pipe(child, kind) => self.pipe(now, conn, child, kind, out),
        }
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if self.errors.contains_key(&conn) {
            return self.note(conn, input);
        }
        if !self.lines.has(conn) {
            tell!(self, now, out, |waves, carrier| waves.on_bytes(now, conn, input, carrier));
            return;
        }
        let me = UnitId(u32::from(self.troop.member.saturating_sub(1)));
        for (_, saying) in self.lines.on_bytes(now, conn, input, out) {
            let overheard = match saying {
                Saying::Text(text) => {
                    serde_json::from_str(&text).ok().map(|value| Overheard::Letter(me, value))
                }
                Saying::Bytes(bytes) => Some(Overheard::Bytes(bytes)),
            };
            self.waves.overheard.extend(overheard);
        }
        self.run(VecDeque::new(), now, out);
    }

    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        tell!(self, now, out, |waves, carrier| waves.on_room(now, conn, carrier));
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        if self.lines.has(conn) {
            if end == End::Half {
                out.close(conn, machine::Close::Now);
            }
            self.lines.on_end(now, conn);
            self.run(VecDeque::new(), now, out);
        } else if self.errors.remove(&conn).is_none() {
            tell!(self, now, out, |waves, carrier| waves.on_end(now, conn, end, carrier));
        }
    }

    fn on_peer(
        &mut self,
        _now: Now,
        _from: Peer,
        _heard: &ArchivedSaid,
        _blob: Option<Blob>,
        _out: &mut impl Outbox<Said = Said>,
    ) {
        unreachable!(
            "a member of a troop has one core, and what it says to itself is not carried by the world"
        );
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        if timer == AGAIN {
            self.again_at = None;
            self.lines.again(now, out);
            return self.run(VecDeque::new(), now, out);
        }
        tell!(self, now, out, |waves, carrier| waves.on_timer(now, timer, carrier));
    }

    fn on_child(&mut self, now: Now, child: ChildId, what: ChildEvent, out: &mut impl Outbox<Said = Said>) {
        let why = match what {
            ChildEvent::Started { .. } => return,
            ChildEvent::Unstarted(why) => format!("could not be started: {why}"),
            ChildEvent::Exited(status) => format!("ended with status {status}"),
            ChildEvent::Killed(signal) => format!("was ended by signal {signal}"),
        };
        let Some(unit) = self.children.remove(&child) else { return };
        if !self.is_draining && !self.waves.dead.contains(&unit) {
            (self.troop.warn)(&format!("unit {} {why}", self.waves.network.units()[unit.index()].name));
            let please = Said::Please { change: Change::Kill(unit.0), asker: NOBODY };
            self.run(VecDeque::from([Errand::To(FIRST.0, please, None)]), now, out);
        }
        self.perhaps_drained(out);
    }

    fn on_listen(
        &mut self,
        now: Now,
        listener: ListenerId,
        what: Listening,
        out: &mut impl Outbox<Said = Said>,
    ) {
        tell!(self, now, out, |waves, carrier| waves.on_listen(now, listener, what, carrier));
    }

    fn on_gathered(
        &mut self,
        now: Now,
        ticket: Ticket,
        gauges: &[Gauges],
        out: &mut impl Outbox<Said = Said>,
    ) {
        tell!(self, now, out, |waves, carrier| waves.on_gathered(now, ticket, gauges, carrier));
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Troop>, out: &mut impl Outbox<Said = Said>) {
        let order = match order {
            Order::Reload(troop) => Order::Reload(&troop.config),
            Order::Drain { by } => {
                self.is_draining = true;
                for child in self.children.keys() {
                    out.signal(*child, Signal::Terminate);
                }
                Order::Drain { by }
            }
        };
        tell!(self, now, out, |waves, carrier| waves.on_order(now, order, carrier));
    }

    fn gauges(&self, into: &mut Gauges) {
        self.waves.gauges(into);
    }
}

impl Apart {
    fn clock(&self, now: Now) -> Clock {
        Clock { origin_us: now.wall.micros().saturating_sub(now.at.nanos() / 1000) }
    }

    /// Whether there is such a member, and it lives.
    fn is_there(&self, member: u16) -> bool {
        let Some(unit) = member.checked_sub(1).map(|unit| UnitId(u32::from(unit))) else { return true };
        self.waves.network.spec(unit).is_some() && !self.waves.dead.contains(&unit)
    }

    fn address(&self, member: u16) -> Option<SocketAddr> {
        let Some(unit) = member.checked_sub(1) else { return Some(self.troop.balancer_at) };
        let spec = self.waves.network.spec(UnitId(u32::from(unit)))?;
        Some(SocketAddr::new(self.troop.ip, spec.port))
    }

    /// Carries everything that is to be carried, and all that follows of it.
    fn run(&mut self, mut errands: VecDeque<Errand>, now: Now, out: &mut impl Outbox<Said = Said>) {
        loop {
            for overheard in core::mem::take(&mut self.waves.overheard) {
                errands.extend(self.understand(now, overheard));
            }
            match errands.pop_front() {
                None => break,
                Some(Errand::To(member, said, blob)) => {
                    self.carry(now, member, said, blob, &mut errands, out)
                }
                Some(Errand::From(member, batch, blob)) => {
                    self.take_in(now, member, &batch, blob, &mut errands, out);
                }
            }
        }
        if self.lines.next_again() != self.again_at {
            self.again_at = self.lines.next_again();
            out.wake(AGAIN, self.again_at);
        }
        self.perhaps_drained(out);
    }

    fn perhaps_drained(&mut self, out: &mut impl Outbox<Said = Said>) {
        if self.is_drained && self.children.is_empty() {
            out.drained();
        }
    }

    /// What a member says, told to the waves here.
    fn take_in(
        &mut self,
        now: Now,
        member: u16,
        batch: &Batch,
        blob: Option<Blob>,
        errands: &mut VecDeque<Errand>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(Ok((heard, _))) = batch.heard::<Said>().next() else { return };
        self.debts.pay(member, heard);
        {
            let mut carrier = Carrier { out: &mut *out, errands, is_drained: &mut self.is_drained };
            self.waves.on_peer(now, Peer::Core(CoreId(member)), heard, blob, &mut carrier);
        }
        if let ArchivedSaid::Change { change: ArchivedChange::Kill(unit), .. } = heard {
            self.bury(UnitId(unit.to_native()), errands, out);
        }
    }

    /// A unit's process is no more, or is to be no more.
    fn bury(&mut self, unit: UnitId, errands: &mut VecDeque<Errand>, out: &mut impl Outbox<Said = Said>) {
        let member = unit.0 as u16 + 1;
        for (child, _) in self.children.iter().filter(|(_, of)| **of == unit) {
            out.signal(*child, Signal::Kill);
        }
        self.lines.forget(member, out);
        self.waves.first.busy.remove(&member);
        self.waves.watchers.remove(&member);
        for owed in self.debts.bury(member) {
            errands.push_back(from(member, &owed.answer(true)));
        }
    }

    /// Carries what is said to a member: to this one at once, to others by their line.
    fn carry(
        &mut self,
        now: Now,
        member: u16,
        said: Said,
        blob: Option<Blob>,
        errands: &mut VecDeque<Errand>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if member == self.troop.member {
            let mut batch = Batch::new();
            said.write(&mut batch, blob.is_some());
            return errands.push_back(Errand::From(member, batch, blob));
        }
        let own =
            Some(member).filter(|_| self.troop.member == FIRST.0).and_then(|member| member.checked_sub(1));
        if let (Some(own), Said::Change { change, .. }) = (own.map(u32::from), &said) {
            match change {
                Change::Kill(unit) if *unit == own => return self.bury(UnitId(own), errands, out),
                Change::Revive(unit) if *unit == own => return self.start(UnitId(own), true, out),
                Change::Add { .. } if own as usize + 1 == self.waves.network.units().len() => {
                    return self.start(UnitId(own), true, out);
                }
                _ => {}
            }
        }
        let Some(to) = self.address(member).filter(|_| self.is_there(member)) else {
            let owed = debts::Owed::by(&said);
            return errands.extend(owed.into_iter().map(|owed| from(member, &owed.answer(false))));
        };
        let clock = self.clock(now);
        if let Said::Post(post) = &said {
            for letter in &post.letters {
                let words = post.words_of(letter);
                let text = self.neighbours.write(letter, words, &self.waves.network, clock);
                self.lines.say(now, member, to, Saying::Text(text), out);
            }
            return;
        }
        self.debts.ask(member, &said);
        let bytes = self.seal(&said, blob.as_ref(), clock);
        self.lines.say(now, member, to, Saying::Bytes(bytes), out);
    }

    /// Magic, key, who says it, their clock, the archive with its length, the blob.
    fn seal(&self, said: &Said, blob: Option<&Blob>, clock: Clock) -> Vec<u8> {
        let mut batch = Batch::new();
        said.write(&mut batch, blob.is_some());
        let archive = batch.envelopes().next().map_or(&[][..], |envelope| envelope.archive);
        let mut bytes = [&MAGIC[..], &self.troop.key].concat();
        bytes.extend_from_slice(&self.troop.member.to_le_bytes());
        bytes.extend_from_slice(&clock.origin_us.to_le_bytes());
        bytes.push(u8::from(blob.is_some()));
        bytes.extend_from_slice(&(archive.len() as u32).to_le_bytes());
        bytes.extend_from_slice(archive);
        bytes.extend_from_slice(blob.map_or(&[][..], |blob| &blob[..]));
        bytes
    }

    /// What was overheard at a socket, if it is for us.
    fn understand(&mut self, now: Now, overheard: Overheard) -> Option<Errand> {
        let clock = self.clock(now);
        match overheard {
            Overheard::Letter(to, value) => {
                let network = self.waves.network.clone();
                let (letter, words) = self.neighbours.read(&value, to, &network, clock, now.at)?;
                let mut post = crate::letter::Post::default();
                post.add(letter, &words);
                Some(from(letter.from as u16 + 1, &Said::Post(post)))
            }
            Overheard::Bytes(bytes) => unseal(&bytes, &self.troop.key, clock),
        }
    }

    /// Starts the process of a unit.
    fn start(&mut self, unit: UnitId, is_late: bool, out: &mut impl Outbox<Said = Said>) {
        let command = Command {
            program: self.troop.program.clone(),
            args: vec!["unit".into()],
            pipes: vec![PipeKind::Input, PipeKind::Error],
            ..Command::default()
        };
        self.children.insert(out.spawn(command), unit);
        if is_late {
            self.late.insert(unit);
        }
    }

    /// A stream of a unit's process: it is told who it is, and what it has for the log is taken.
    fn pipe(
        &mut self,
        now: Now,
        conn: ConnId,
        child: ChildId,
        kind: PipeKind,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(unit) = self.children.get(&child).copied() else { return };
        match kind {
            PipeKind::Output => {}
            PipeKind::Error => drop(self.errors.insert(conn, (unit, Vec::new()))),
            PipeKind::Input => {
                let dead = self.waves.dead.iter().filter(|dead| **dead != unit);
                let mut wounds: Vec<Change> = dead.map(|dead| Change::Kill(dead.0)).collect();
                wounds.extend(self.waves.cuts.iter().map(|(a, b)| Change::Cut(a.0, b.0)));
                self.troop.config.network = self.waves.network.clone();
                let is_late = self.late.contains(&unit);
                out.write(conn, self.troop.write(unit, &wounds, is_late).as_bytes());
                out.finish(conn);
                if self.waves.watchers.contains(&FIRST.0) {
                    // Said before it listens: the line is dialled until it does.
                    let watch = Errand::To(unit.0 as u16 + 1, Said::Watch(true), None);
                    self.run(VecDeque::from([watch]), now, out);
                }
            }
        }
    }

    fn note(&mut self, conn: ConnId, input: &mut Input<'_>) {
        let Some((unit, line)) = self.errors.get_mut(&conn) else { return };
        let bytes = input.bytes();
        input.used(bytes.len());
        let name = self.waves.network.spec(*unit).map_or("", |spec| &spec.name);
        for byte in bytes {
            if *byte != b'\n' && line.len() < LINE_MAX {
                line.push(*byte);
                continue;
            }
            (self.troop.warn)(&format!("{name}: {}", String::from_utf8_lossy(line)));
            line.clear();
        }
    }
}

fn from(member: u16, said: &Said) -> Errand {
    let mut batch = Batch::new();
    said.write(&mut batch, false);
    Errand::From(member, batch, None)
}

/// What a member sealed; none when it was somebody else, or is no message.
fn unseal(bytes: &[u8], key: &Key, clock: Clock) -> Option<Errand> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (theirs, rest) = rest.split_first_chunk::<16>()?;
    // All bytes are looked at, so that the time taken tells nothing of the key.
    if theirs.iter().zip(key).fold(0, |sum, (a, b)| sum | (a ^ b)) != 0 {
        return None;
    }
    let (member, rest) = rest.split_first_chunk::<2>()?;
    let (origin_us, rest) = rest.split_first_chunk::<8>()?;
    let ([has_blob], rest) = rest.split_first_chunk::<1>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (archive, blob) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let member = u16::from_le_bytes(*member);
    let theirs = Clock { origin_us: u64::from_le_bytes(*origin_us) };
    let mut batch = Batch::new();
    batch.carry(archive, *has_blob != 0);
    let (heard, _) = batch.heard::<Said>().next()?.ok()?;
    let here = |at: Instant| clock.back(theirs.out(at));
    let blob = (*has_blob != 0).then(|| Blob::from(blob.to_vec()));
    // Times are told by the clock of who tells them.
    let translated = match heard {
        ArchivedSaid::Change { change, at } => {
            let at = here(Instant::from_nanos(at.to_native())).nanos();
            Some(Said::Change { change: native(change), at })
        }
        _ => None,
    };
    match translated {
        Some(said) => Some(from(member, &said)),
        None if matches!(heard, ArchivedSaid::News) => {
            let blob = blob.map(|blob| dated(&blob, theirs, clock));
            Some(Errand::From(member, batch, blob))
        }
        None => Some(Errand::From(member, batch, blob)),
    }
}

/// News with their time by the clock here: they begin `{"at_us":NUMBER`.
fn dated(news: &[u8], theirs: Clock, ours: Clock) -> Blob {
    const BEGIN: &[u8] = b"{\"at_us\":";
    let Some(rest) = news.strip_prefix(BEGIN) else { return Blob::from(news.to_vec()) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: u64 =
        core::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let here = (number + theirs.origin_us).saturating_sub(ours.origin_us);
    Blob::from([BEGIN, here.to_string().as_bytes(), &rest[digits..]].concat())
}
