//! What other cores say, and what waves do here: each goes to its noun, and what follows is said on.

use crate::balance::Load;
use crate::book::{Next, Report};
use crate::letter::{Algorithm, ArchivedPost, Purpose, Terms, WaveId, words_of};
use crate::network::UnitId;
use crate::peer::{ArchivedSaid, Asker, Change, Counted, Offer, Said, Shift, Whom, native};
use crate::shard::{FIRST, NOBODY, REPORTS_MAX, Waves};
use crate::share::Local;
use crate::task::{MoveId, Task};
use crate::tree;
use crate::wave::{Happening, Lack, Outcome, Reading};
use core::time::Duration;
use machine::{Blob, CoreId, Instant, Now, Outbox};
use std::collections::BTreeMap;

impl Waves {
    /// A core has spoken.
    pub(crate) fn heard(
        &mut self,
        now: Now,
        core: CoreId,
        heard: &ArchivedSaid,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match heard {
            ArchivedSaid::Post(post) => self.take_post(now, post),
            ArchivedSaid::Launch { algorithm, purpose, unit, asker } => {
                let (algorithm, purpose) = (native::<Algorithm>(algorithm), native::<Purpose>(purpose));
                let unit = UnitId(unit.to_native());
                let wave = self.begin(now, algorithm, purpose, unit, native(asker));
                let asker: Asker = native(asker);
                if wave.is_none() || matches!(asker.whom, Whom::Ask(..)) {
                    let wave = wave.map(WaveId::to_bits);
                    out.tell(CoreId(asker.core), Said::Launched { asker, wave }, None);
                }
            }
            ArchivedSaid::Launched { asker, wave } => {
                let wave = wave.as_ref().map(|wave| WaveId::from_bits(wave.to_native()));
                self.answer_launch(now, native::<Asker>(asker).whom, wave, out);
            }
            ArchivedSaid::Brought(asker) => {
                self.answer_tree(now, native::<Asker>(asker).whom, blob.as_deref().unwrap_or_default(), out);
            }
            ArchivedSaid::Decided { wave, count } => {
                let wave = WaveId::from_bits(wave.to_native());
                let alive = (self.network.units().len() - self.dead.len()) as u32;
                let next = self.book.decided(wave, count.to_native(), alive, now.at);
                self.turn_page(now, wave, next, out);
            }
            ArchivedSaid::Settle { wave, is_over } => {
                let id = WaveId::from_bits(wave.to_native());
                let tally = if *is_over { self.field.settle(id, now.at) } else { self.field.peek(id) };
                out.tell(core, Said::Settled { wave: id.to_bits(), counted: tally.into() }, None);
            }
            ArchivedSaid::Settled { wave, counted } => {
                let wave = WaveId::from_bits(wave.to_native());
                let wounds = self.wounds();
                let next = self.book.counted(wave, &native::<Counted>(counted).into(), wounds, now.at);
                self.turn_page(now, wave, next, out);
            }
            ArchivedSaid::Broadcast => {
                self.broadcast(now, blob.as_deref().unwrap_or_default(), out);
            }
            ArchivedSaid::Please { change, asker } => self.order(now, &native(change), native(asker), out),
            ArchivedSaid::Change { change, at } => {
                self.change(&native(change), Instant::from_nanos(at.to_native()));
            }
            ArchivedSaid::AddTasks { unit, count, asker } => {
                let is_done = self.add_tasks(now, UnitId(unit.to_native()), count.to_native());
                done(native(asker), is_done, out);
            }
            ArchivedSaid::Done { asker, is_done } => {
                self.answer_done(now, native::<Asker>(asker).whom, *is_done, out);
            }
            ArchivedSaid::Shift { shifts, asker } => {
                let shifts: Vec<Shift> = shifts.iter().map(native).collect();
                self.shift(now, &shifts, native(asker), out);
            }
            ArchivedSaid::Offer(offers) => {
                let answers = offers.iter().map(|offer| self.take_offer(now, native(offer))).collect();
                out.tell(core, Said::Answer(answers), None);
            }
            ArchivedSaid::Answer(answers) => {
                for answer in answers.iter() {
                    self.offer_answered(now, answer.0.to_native(), answer.1, out);
                }
            }
            ArchivedSaid::Watch(is_on) => {
                if *is_on {
                    self.watchers.insert(core.0);
                } else {
                    self.watchers.remove(&core.0);
                }
            }
            ArchivedSaid::News => self.publish(blob.as_deref().unwrap_or_default(), out),
            ArchivedSaid::Look(asker) => self.tell_loads(native(asker), out),
            ArchivedSaid::Seen { asker, loads, reports } => {
                let loads = loads.iter().map(|pair| (pair.0.to_native(), pair.1.to_native()));
                self.seen(now, native::<Asker>(asker).whom, loads, reports, out);
            }
            ArchivedSaid::Busy(is_busy) => {
                if *is_busy {
                    self.first.busy.insert(core.0);
                } else {
                    self.first.busy.remove(&core.0);
                }
            }
            ArchivedSaid::Report { is_broken } => {
                self.first.over += 1;
                self.first.broken += u64::from(*is_broken);
                let text = String::from_utf8_lossy(blob.as_deref().unwrap_or_default()).into_owned();
                self.first.reports.push_back(text);
                if self.first.reports.len() > REPORTS_MAX {
                    self.first.reports.pop_front();
                }
            }
        }
    }

    /// Letters are read where they lie.
    fn take_post(&mut self, now: Now, post: &ArchivedPost) {
        self.letters += post.letters.len() as u64;
        self.on_field(now, |field, ground| {
            for letter in post.letters.iter() {
                let letter = letter.native();
                field.hear(&letter, words_of(&post.words, &letter), ground);
            }
        });
    }

    /// A unit here starts a wave. None when it cannot.
    fn begin(
        &mut self,
        now: Now,
        algorithm: Algorithm,
        purpose: Purpose,
        unit: UnitId,
        asker: Asker,
    ) -> Option<WaveId> {
        self.local(unit)?;
        let extent = self.field.share().extent(unit);
        if algorithm != Algorithm::Echo && extent.units as usize > crate::wave::finn::FINN_UNITS_MAX {
            return None;
        }
        let wave = self.book.next_id(unit);
        let terms = Terms { algorithm, purpose, started_at: now.at };
        self.book.open(wave, terms, asker, extent, self.wounds());
        let started = self.on_field(now, |field, ground| field.start(wave, terms, unit, ground));
        if started.is_err() {
            self.book.close(wave);
            return None;
        }
        Some(wave)
    }

    /// What waves did here in this event.
    pub(crate) fn say_what_happened(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let mut deciders: BTreeMap<WaveId, u32> = BTreeMap::new();
        for what in core::mem::take(&mut self.happened) {
            match what {
                Happening::Wrote(wave, from, to, kind) => self.news.wrote(wave, from, to, kind),
                Happening::GaveUp(wave, missing) => self.note_gave_up(wave, missing),
                Happening::Decided(wave, unit, outcome) => {
                    if self.field.purpose(wave) == Some(Purpose::Tasks) {
                        self.add_tasks(now, unit, 1);
                    }
                    if self.field.algorithm(wave) == Some(Algorithm::Echo) {
                        self.echo_decided(now, wave, &outcome, out);
                    } else {
                        *deciders.entry(wave).or_default() += 1;
                    }
                }
            }
        }
        for (wave, count) in deciders {
            if let Some(core) = self.core_of(wave.initiator) {
                out.tell(core, Said::Decided { wave: wave.to_bits(), count }, None);
            }
        }
    }

    fn note_gave_up(&mut self, wave: WaveId, missing: crate::wave::Missing) {
        if self.watchers.is_empty() {
            return;
        }
        let why = match missing.why {
            Lack::Silent => "silent",
            Lack::Late => "late",
        };
        let (by, unit) = (missing.by.0, missing.unit.0);
        self.news.note(format!(
            "{{\"what\":\"gave_up\",\"wave\":\"{wave}\",\"by\":{by},\"unit\":{unit},\"why\":\"{why}\"}}"
        ));
    }

    /// The result of an echo that was started here.
    fn echo_decided(
        &mut self,
        now: Now,
        wave: WaveId,
        outcome: &Outcome,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let asker = self.book.asker(wave).unwrap_or(NOBODY);
        match self.field.purpose(wave) {
            Some(Purpose::Status) => {
                let text = tree::json(&self.network, wave.initiator, &outcome.readings);
                match asker.whom {
                    Whom::AskResult(..) | Whom::Socket(_) => {
                        let blob = Blob::from(text.into_bytes());
                        out.tell(CoreId(asker.core), Said::Brought(asker), Some(blob));
                    }
                    Whom::Ask(..) | Whom::Look(_) | Whom::Nobody => {
                        let blob = Blob::from(
                            format!("{{\"route\":\"echo_back\",\"payload\":{text}}}").into_bytes(),
                        );
                        for core in self.seat.all_cores() {
                            out.tell(core, Said::Broadcast, Some(blob.clone()));
                        }
                    }
                }
            }
            Some(Purpose::Rebalance) => self.plan_moves(&outcome.readings, out),
            Some(Purpose::Count | Purpose::Tasks) | None => {}
        }
        let next = self.book.outcome(wave, outcome, now.at);
        self.turn_page(now, wave, next, out);
    }

    /// Tells the cores of those who have too much what to give to whom.
    fn plan_moves(&mut self, readings: &[Reading], out: &mut impl Outbox<Said = Said>) {
        let Some(balancer) = self.config.balancer else { return };
        // Plans are made over who was read, by their places among them.
        let places: BTreeMap<UnitId, u32> =
            readings.iter().enumerate().map(|(place, reading)| (reading.unit, place as u32)).collect();
        let loads: Vec<Load> =
            readings.iter().map(|reading| Load { tasks: reading.load, cpu: reading.cpu.max(1) }).collect();
        let links: Vec<(UnitId, UnitId)> = self
            .network
            .links()
            .iter()
            .filter_map(|(a, b)| Some((UnitId(*places.get(a)?), UnitId(*places.get(b)?))))
            .collect();
        let round = balancer.round(&loads, &links, &mut self.draw);
        let mut by_core: BTreeMap<CoreId, Vec<Shift>> = BTreeMap::new();
        for each in round.moves {
            let (from, to) = (readings[each.from.index()].unit, readings[each.to.index()].unit);
            let Some(core) = self.core_of(from) else { continue };
            by_core.entry(core).or_default().push(Shift { from: from.0, to: to.0, count: each.count });
        }
        for (core, shifts) in by_core {
            out.tell(core, Said::Shift { shifts, asker: NOBODY }, None);
        }
    }

    /// Takes tasks from units here and offers them where they should go. Who asked for a single one is answered when
    /// it has arrived, or when there is none.
    fn shift(&mut self, now: Now, shifts: &[Shift], asker: Asker, out: &mut impl Outbox<Said = Said>) {
        let mut by_core: BTreeMap<CoreId, Vec<Offer>> = BTreeMap::new();
        let mut is_offered = false;
        for shift in shifts {
            let (Some(local), Some(core)) = (self.local(UnitId(shift.from)), self.core_of(UnitId(shift.to)))
            else {
                continue;
            };
            for _ in 0..shift.count {
                let Some((MoveId(id), task)) = self.crew.take(local, now.at) else { break };
                let left = machine::time::nanos(task.left);
                by_core.entry(core).or_default().push(Offer { id, left, to: shift.to });
                self.moves.insert(id, (asker, UnitId(shift.from), UnitId(shift.to)));
                is_offered = true;
            }
            self.load_changed(local);
        }
        if !is_offered {
            done(asker, false, out);
        }
        for (core, offers) in by_core {
            out.tell(core, Said::Offer(offers), None);
        }
    }

    fn take_offer(&mut self, now: Now, offer: Offer) -> (u64, bool) {
        let task = Task { left: Duration::from_nanos(offer.left) };
        let local = self.local(UnitId(offer.to));
        let is_taken = local.is_some_and(|local| self.crew.arrive(local, task, now.at));
        local.into_iter().for_each(|local| self.load_changed(local));
        (offer.id, is_taken)
    }

    fn offer_answered(&mut self, now: Now, id: u64, is_taken: bool, out: &mut impl Outbox<Said = Said>) {
        let back: Option<Local> = self.crew.answered(MoveId(id), is_taken, now.at);
        back.into_iter().for_each(|local| self.load_changed(local));
        if let Some((asker, from, to)) = self.moves.remove(&id) {
            if is_taken && !self.watchers.is_empty() {
                self.news.moved(from, to);
            }
            done(asker, is_taken, out);
        }
    }

    fn add_tasks(&mut self, now: Now, unit: UnitId, count: u32) -> bool {
        let Some(local) = self.local(unit) else { return false };
        let task = Task { left: self.config.settings.task_time };
        let is_done = (0..count).all(|_| self.crew.create(local, task, now.at));
        self.load_changed(local);
        is_done
    }

    /// Does what the book says about a wave.
    pub(crate) fn turn_page(
        &mut self,
        _now: Now,
        wave: WaveId,
        next: Next,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match next {
            Next::Nothing => {}
            Next::Ask { is_over } => {
                for core in self.seat.all_cores() {
                    out.tell(core, Said::Settle { wave: wave.to_bits(), is_over }, None);
                }
            }
            Next::Report(report) => self.report(&report, out),
        }
    }

    fn report(&mut self, report: &Report, out: &mut impl Outbox<Said = Said>) {
        let json = report.json();
        let is_broken = report.verdicts.any_broken();
        out.tell(FIRST, Said::Report { is_broken }, Some(Blob::from(json.clone().into_bytes())));
        if !self.watchers.is_empty() {
            self.news.note(format!("{{\"what\":\"report\",\"report\":{json}}}"));
        }
    }

    /// A change is asked for: if it can be, all cores are told, in one order.
    fn order(&mut self, now: Now, change: &Change, asker: Asker, out: &mut impl Outbox<Said = Said>) {
        let known = |unit: &u32| self.network.spec(UnitId(*unit)).is_some();
        let linked = |a: &u32, b: &u32| {
            let (a, b) = (UnitId(*a), UnitId(*b));
            self.network.links().contains(&(a, b)) || self.network.links().contains(&(b, a))
        };
        let is_right = match change {
            Change::Kill(unit) => known(unit) && !self.dead.contains(&UnitId(*unit)),
            Change::Revive(unit) => self.dead.contains(&UnitId(*unit)),
            Change::Cut(a, b) | Change::Heal(a, b) => linked(a, b),
            Change::Add { name, port, cpu, linked_to } => {
                let spec = crate::network::Spec { name: name.clone(), port: *port, cpu: *cpu };
                let linked_to: Vec<UnitId> = linked_to.iter().map(|unit| UnitId(*unit)).collect();
                let added = crate::network::Network::clone(&self.network).add(spec, &linked_to);
                // A troop has room for so many members and no more.
                added.is_ok_and(|unit| !self.config.is_apart || self.homes.owner(unit).0 < self.seat.cores)
            }
        };
        if is_right {
            let at = now.at.nanos();
            for core in self.seat.other_cores() {
                out.tell(core, Said::Change { change: change.clone(), at }, None);
            }
            // At once here: the next that is asked for is judged by it.
            self.change(change, now.at);
            if !self.watchers.is_empty() {
                self.news.note(changed(change));
            }
        }
        done(asker, is_right, out);
    }
}

/// A change as pages read it.
fn changed(change: &Change) -> String {
    match change {
        Change::Kill(unit) => format!("{{\"what\":\"kill\",\"unit\":{unit}}}"),
        Change::Revive(unit) => format!("{{\"what\":\"revive\",\"unit\":{unit}}}"),
        Change::Cut(a, b) => format!("{{\"what\":\"cut\",\"a\":{a},\"b\":{b}}}"),
        Change::Heal(a, b) => format!("{{\"what\":\"heal\",\"a\":{a},\"b\":{b}}}"),
        Change::Add { name, port, cpu, linked_to } => format!(
            "{{\"what\":\"add\",\"name\":{},\"port\":{port},\"cpu\":{cpu},\"linked_to\":{linked_to:?}}}",
            tree::quoted(name)
        ),
    }
}

/// Tells whoever waits whether it was done.
fn done(asker: Asker, is_done: bool, out: &mut impl Outbox<Said = Said>) {
    if asker.whom != Whom::Nobody {
        out.tell(CoreId(asker.core), Said::Done { asker, is_done }, None);
    }
}
