//! What one core knows of the replicas: a copy of the truth, with what this core itself has in flight.
//!
//! It is changed only by the messages of the keeper of the truth, in their order, which are counted. The hard thing
//! is who may still be chosen: one that drains or was ejected has left the ring but keeps its seat, because requests
//! are in flight to it; and when everybody is out, one that is out is better than none (fail open).

use crate::config::Config;
use crate::spread::{self, Choice, Key, Load, Ring, Seat, WHOLE, Why};
use machine::{Address, ConnId, Instant, Stream};
use std::collections::VecDeque;
use std::time::Duration;

/// A newcomer begins with this part of its share, in thousandths.
const WEIGHT_FIRST: u32 = 100;

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// In the ring.
    In,
    /// Ejected for a while.
    Out,
    /// To go; the keeper is told when nothing is in flight.
    Draining,
}

/// A replica, as this core sees it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which life of the seat's replica.
    pub life: u32,
    /// Its name.
    pub name: Box<str>,
    /// Where it is.
    pub at: Address,
    /// How it stands.
    pub stance: Stance,
    /// Open connections to it that nobody uses, the last used last.
    pub idle: Vec<ConnId>,
    /// Requests that wait for it, in their order: connection and ticket.
    pub queue: VecDeque<(ConnId, u64)>,
    /// Connections that failed in a row.
    pub failures: u32,
    /// Responses of 500 and more in a row.
    pub errors: u32,
    /// When a newcomer came; none for one that takes its whole share.
    warming_since: Option<Instant>,
}

/// A core's part of what may be in flight to a replica.
fn part(max: u32, core: u16, cores: u16) -> u32 {
    let (each, rest) = (max / u32::from(cores), max % u32::from(cores));
    each + u32::from(u32::from(core) < rest)
}

/// The replicas of one core.
#[derive(Debug)]
pub struct View {
    ring: Ring,
    members: Vec<Option<Member>>,
    loads: Vec<Load>,
    total: u32,
    epoch: u64,
    max: u32,
    factor: u32,
    slow_start: Duration,
    warming: usize,
}

impl View {
    /// Nobody. A core has its part of what may be in flight to a replica.
    #[must_use]
    pub fn new(config: &Config, core: u16, cores: u16) -> Self {
        let max = part(config.replica_max, core, cores);
        let (factor, slow_start) = (config.load_factor, config.waits.slow_start);
        let ring = Ring::new(config.way);
        Self {
            ring,
            members: Vec::new(),
            loads: Vec::new(),
            total: 0,
            epoch: 0,
            max,
            factor,
            slow_start,
            warming: 0,
        }
    }

    /// Bounds and ring are those of this configuration from now on.
    pub fn reload(&mut self, config: &Config, core: u16, cores: u16) {
        self.max = part(config.replica_max, core, cores);
        (self.factor, self.slow_start) = (config.load_factor, config.waits.slow_start);
        for load in &mut self.loads {
            load.max = self.max;
        }
        if config.way != self.ring.way() {
            let members: Vec<Seat> = self.ring.members().collect();
            self.ring = Ring::new(config.way);
            for seat in members {
                if let Some(member) = self.members.get(seat.index()).and_then(Option::as_ref) {
                    self.ring.join(&member.name, seat);
                }
            }
        }
    }

    /// Counts a change.
    ///
    /// # Panics
    /// When one was lost or came twice: the tables of the cores would differ.
    pub fn advance(&mut self, epoch: u64) {
        assert_eq!(epoch, self.epoch, "changes come in their order, each once");
        self.epoch += 1;
    }

    /// How many changes came.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A replica may be sent requests from now on.
    pub fn join(&mut self, seat: Seat, life: u32, name: &str, at: Address, is_warm: bool, now: Instant) {
        if self.members.len() <= seat.index() {
            self.members.resize_with(seat.index() + 1, || None);
            self.loads.resize(seat.index() + 1, Load::NONE);
        }
        let is_warm = is_warm || self.slow_start.is_zero();
        let (weight, warming_since) = if is_warm { (WHOLE, None) } else { (WEIGHT_FIRST, Some(now)) };
        self.warming += usize::from(!is_warm);
        self.loads[seat.index()] = Load { max: self.max, weight, ..Load::NONE };
        let (idle, queue) = (Vec::new(), VecDeque::new());
        let stance = Stance::In;
        self.members[seat.index()] = Some(Member {
            life,
            name: name.into(),
            at,
            stance,
            idle,
            queue,
            failures: 0,
            errors: 0,
            warming_since,
        });
        self.ring.join(name, seat);
    }

    /// It changes its stance, and with it the ring.
    pub fn stand(&mut self, seat: Seat, stance: Stance) {
        let Some(member) = self.members.get_mut(seat.index()).and_then(Option::as_mut) else { return };
        let (was, is) = (member.stance == Stance::In, stance == Stance::In);
        member.stance = stance;
        match (was, is) {
            (true, false) => self.ring.leave(seat),
            (false, true) => self.ring.join(&member.name, seat),
            (true, true) | (false, false) => {}
        }
    }

    /// It is gone; what was in flight to it must have been given up before.
    pub fn leave(&mut self, seat: Seat) -> Option<Member> {
        self.stand(seat, Stance::Draining);
        let member = self.members.get_mut(seat.index())?.take()?;
        self.warming -= usize::from(member.warming_since.is_some());
        debug_assert_eq!(self.loads[seat.index()].borne(), 0, "nothing is left with one that left");
        Some(member)
    }

    /// The member in that seat.
    #[must_use]
    pub fn member(&self, seat: Seat) -> Option<&Member> {
        self.members.get(seat.index())?.as_ref()
    }

    /// The member in that seat, to be changed.
    pub fn member_mut(&mut self, seat: Seat) -> Option<&mut Member> {
        self.members.get_mut(seat.index())?.as_mut()
    }

    /// All members by seat.
    pub fn members(&self) -> impl Iterator<Item = (Seat, &Member)> {
        self.members
            .iter()
            .enumerate()
            .filter_map(|(seat, member)| Some((Seat(seat as u16), member.as_ref()?)))
    }

    /// What a member bears.
    #[must_use]
    pub fn load(&self, seat: Seat) -> Load {
        self.loads.get(seat.index()).copied().unwrap_or(Load::NONE)
    }

    /// Requests in flight to all.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.loads.iter().map(|load| load.in_flight).sum()
    }

    /// The bound that one more request would be placed with.
    #[must_use]
    pub fn bound(&self, seat: Seat) -> u32 {
        self.load(seat).bound(spread::mean_bound(self.total, self.ring.len(), self.factor))
    }

    /// Chooses for a request, and counts it: as in flight where the replica may have more (then true), else as
    /// waiting.
    pub fn take(&mut self, key: Key, tried: &[Seat], chance: &mut Stream) -> Option<(Seat, bool)> {
        let seat = self.would_take(key, tried, chance)?.seat;
        let load = &mut self.loads[seat.index()];
        // Nobody overtakes those that wait already.
        let goes = load.waiting == 0 && load.in_flight < load.max;
        load.in_flight += u32::from(goes);
        load.waiting += u32::from(!goes);
        self.total += 1;
        Some((seat, goes))
    }

    /// One that waited for a replica goes to it now, if it may have more.
    pub fn admit(&mut self, seat: Seat) -> bool {
        let Some(load) = self.loads.get_mut(seat.index()) else { return false };
        let goes = load.waiting > 0 && load.in_flight < load.max;
        load.in_flight += u32::from(goes);
        load.waiting -= u32::from(goes);
        goes
    }

    /// One that waited for a replica does so no more.
    pub fn give_up(&mut self, seat: Seat) {
        let Some(load) = self.loads.get_mut(seat.index()) else { return };
        debug_assert!(load.waiting > 0, "who gives up has waited");
        load.waiting = load.waiting.saturating_sub(1);
        self.total = self.total.saturating_sub(1);
    }

    /// Chooses for a request.
    pub fn would_take(&mut self, key: Key, tried: &[Seat], chance: &mut Stream) -> Option<Choice> {
        if self.ring.is_empty() {
            return self.fail_open(tried);
        }
        spread::choose(&mut self.ring, key, &self.loads, self.total, self.factor, tried, chance)
    }

    fn fail_open(&self, tried: &[Seat]) -> Option<Choice> {
        let out = self.members().filter(|(_, member)| member.stance == Stance::Out);
        let open = out.map(|(seat, _)| seat).filter(|seat| !tried.contains(seat));
        let least = open.min_by_key(|seat| self.loads[seat.index()].borne());
        least.map(|seat| Choice { seat, why: Why::LeastLoaded })
    }

    /// A request is no longer in flight. True when its replica drains and has none left here.
    pub fn give_back(&mut self, seat: Seat) -> bool {
        let Some(load) = self.loads.get_mut(seat.index()) else { return false };
        debug_assert!(load.in_flight > 0, "what is given back was taken");
        load.in_flight = load.in_flight.saturating_sub(1);
        self.total = self.total.saturating_sub(1);
        load.in_flight == 0 && self.member(seat).is_some_and(|member| member.stance == Stance::Draining)
    }

    /// Who would be asked for a key, in order, each once.
    pub fn candidates(&mut self, key: Key) -> Vec<Seat> {
        let mut order: Vec<Seat> = Vec::new();
        for jump in 0..spread::JUMPS_MAX {
            match self.ring.owner(key.jump(jump)) {
                Some(seat) if !order.contains(&seat) => order.push(seat),
                Some(_) => {}
                None => break,
            }
        }
        let rest: Vec<Seat> = self.ring.members().filter(|seat| !order.contains(seat)).collect();
        order.extend(rest);
        order
    }

    /// The members in the ring with their exact shares.
    pub fn shares(&mut self) -> Vec<(Seat, f64)> {
        let shares = self.ring.shares();
        self.ring.members().zip(shares).collect()
    }

    /// Whether some take less than their share because they are new.
    #[must_use]
    pub fn is_warming(&self) -> bool {
        self.warming > 0
    }

    /// Gives newcomers their part by their age.
    pub fn warm(&mut self, now: Instant) {
        for (member, load) in self.members.iter_mut().zip(&mut self.loads) {
            let Some(member) = member else { continue };
            let Some(since) = member.warming_since else { continue };
            let part = now.since(since).as_millis() * u128::from(WHOLE) / self.slow_start.as_millis().max(1);
            load.weight = (part as u32).clamp(WEIGHT_FIRST, WHOLE);
            if load.weight == WHOLE {
                member.warming_since = None;
                self.warming -= 1;
            }
        }
    }
}
