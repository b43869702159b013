//! The fleet: the truth about all replicas, kept by one core.
//!
//! It is told what happened (a child ended, a heartbeat came, an operator asks) and leaves behind what is to be done:
//! [`Act`]s, in order. The one hard thing is that everything takes time and meanwhile everything else happens: a
//! replica dies while it drains, is removed while it starts, is added while its namesake stops. So each replica is a
//! small machine of its own ([`State`]), news of an earlier life are dropped, and whatever is late is found by one
//! look over all of them ([`Fleet::tick`]).

mod additions;
mod legacy;
pub mod replica;
mod start;
mod watch;

use crate::config::{Config, Driver};
use crate::control::{self, Asked, Refused, Verb};
use crate::docker::Farewell;
use crate::names;
use crate::peer::{Change, Tenancy};
use crate::spread::{Seat, Way, slots512};
use additions::Addition;
use legacy::Handing;
pub use legacy::Held;
use machine::{Address, Chance, ChildId, ConnId, CoreId, Instant, Now, Signal, Stream};
use replica::{Beat, Replica, State};

/// Where an answer belongs: a core and its client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The core.
    pub core: CoreId,
    /// Its connection.
    pub conn: ConnId,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Find out whether anybody listens at this port, and say [`Fleet::on_sought`].
    Seek(Tenancy, u16),
    /// Start a process that is to listen at this port, and say [`Fleet::on_spawned`].
    Spawn(Tenancy, u16),
    /// Make a container and start it, and say [`Fleet::on_container`].
    Create(Tenancy, Box<str>),
    /// End and remove a container, and say [`Fleet::on_ended`].
    Discard(Tenancy, Box<str>, Farewell),
    /// Ask for a heartbeat, and say [`Fleet::on_beat`].
    Beat(Tenancy, Address),
    /// Nobody waits for that heartbeat any more.
    Forget(Tenancy),
    /// Signal a child.
    Signal(ChildId, Signal),
    /// A child of the process before this one is ours.
    Adopt(ChildId),
    /// Tell every core.
    Tell(Tenancy, Change),
    /// Answer a client.
    Answer(Asker, u16, String),
    /// Everything that was ours has ended.
    Ended,
}

/// All replicas.
#[derive(Debug)]
pub struct Fleet {
    config: Config,
    cores: u16,
    /// In the order in which they joined.
    replicas: Vec<Replica>,
    additions: Vec<Addition>,
    lives: u32,
    next_addition: u32,
    next_port: u16,
    names: Stream,
    acts: Vec<Act>,
    is_ending: bool,
    handing: Handing,
    /// Replicas that another process owns too.
    handed: Vec<Replica>,
    held: Vec<Held>,
    /// The first replicas are those of the process before this one.
    is_heir: bool,
}

impl Fleet {
    /// Nobody yet, on a node of so many cores.
    #[must_use]
    pub fn new(config: &Config, cores: u16, chance: &Chance) -> Self {
        let mut ports = chance.stream("ports");
        let next_port = match &config.driver {
            Driver::Process { ports: (first, last), .. } => {
                ports.between(u64::from(*first), u64::from(*last)) as u16
            }
            Driver::Static(_) | Driver::Docker(_) => 0,
        };
        Self {
            config: config.clone(),
            cores,
            replicas: Vec::new(),
            additions: Vec::new(),
            lives: 0,
            next_addition: 0,
            next_port,
            names: chance.stream("names"),
            acts: Vec::new(),
            is_ending: false,
            handing: Handing::default(),
            handed: Vec::new(),
            held: Vec::new(),
            is_heir: false,
        }
    }

    /// What is to be done, in order; the caller does all of it.
    pub fn acts(&mut self) -> Vec<Act> {
        core::mem::take(&mut self.acts)
    }

    /// All replicas, in the order in which they joined; also those that leave.
    #[must_use]
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// The names of those that count, in the order in which they joined.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        self.replicas.iter().filter(|each| each.is_listed()).map(|each| &*each.name)
    }

    /// The first replicas, `Server-1` and on, or those of the process before this one.
    pub fn begin(&mut self, now: Now) {
        if self.is_heir {
            self.go_on(now.at);
            return self.tick(now.at);
        }
        for number in 1..=self.config.replicas {
            self.seat(&names::first(number), None, now.at);
        }
        let is_ordered = matches!(self.config.way, Way::Slots512(_));
        self.replicas.iter_mut().for_each(|each| each.is_in_line = is_ordered);
        self.tick(now.at);
    }

    /// The configuration was read again: bounds and waits are those of the new one from now on.
    pub fn reload(&mut self, config: &Config) {
        self.config = config.clone();
    }

    fn seat(&mut self, name: &str, addition: Option<u32>, now: Instant) {
        let is_free = |seat: &u16| self.replicas.iter().all(|each| each.tenancy.seat.0 != *seat);
        let seat = (0..u16::MAX).find(is_free).expect("there are more seats than replicas");
        self.replicas.push(Replica::new(name, Seat(seat), addition, now));
    }

    /// A client asks.
    pub fn ask(&mut self, now: Now, asker: Asker, verb: Verb, is_json: bool, body: &[u8]) {
        let waits = match self.handing {
            Handing::No => false,
            Handing::Wanted => verb != Verb::List,
            Handing::Given => true,
        };
        if waits {
            return self.held.push(Held { asker, verb, is_json, body: body.to_vec() });
        }
        let outcome = match verb {
            Verb::List => {
                self.answer_list(asker);
                Ok(())
            }
            Verb::Add => control::read(is_json, body).and_then(|asked| self.add(now, asker, asked)),
            Verb::Remove => control::read(is_json, body).and_then(|asked| self.remove(now, asker, asked)),
        };
        if let Err(Refused(words)) = outcome {
            self.acts.push(Act::Answer(asker, 400, control::failure(&words)));
        }
    }

    fn answer_list(&mut self, asker: Asker) {
        let text = control::listed(&self.listed().collect::<Vec<_>>());
        self.acts.push(Act::Answer(asker, 200, text));
    }

    /// How many more replicas the ring has room for, where it has a bound.
    fn slots_left(&self) -> Option<usize> {
        match self.config.way {
            Way::Slots512(_) => Some(slots512::REPLICAS_MAX.saturating_sub(self.present().len())),
            Way::Best | Way::Rendezvous | Way::Maglev | Way::TwoChoices => None,
        }
    }

    /// Names that are taken: of those that count, and of those that are being added.
    fn present(&self) -> Vec<&str> {
        self.replicas.iter().filter(|each| !each.is_leaving).map(|each| &*each.name).collect()
    }

    fn remove(&mut self, now: Now, asker: Asker, asked: Asked) -> Result<(), Refused> {
        let listed: Vec<&str> =
            self.replicas.iter().filter(|each| each.is_listed()).map(|each| &*each.name).collect();
        let going = control::remove(asked, &listed, &mut self.names)?;
        for name in going {
            self.retire(&name, now.at);
        }
        self.answer_list(asker);
        self.tick(now.at);
        Ok(())
    }

    /// A replica that counts goes: at once where nobody knows it, else when nothing is in flight.
    fn retire(&mut self, name: &str, now: Instant) {
        let Some(index) = self.replicas.iter().position(|each| each.is_listed() && &*each.name == name)
        else {
            return;
        };
        let drain = self.config.waits.drain;
        let replica = &mut self.replicas[index];
        replica.is_leaving = true;
        if replica.state.is_known() {
            self.acts.push(Act::Tell(replica.tenancy, Change::Drain));
            replica.enter(State::Draining { until: now + drain, busy: self.cores }, now);
        } else {
            self.stop(index, now);
        }
    }

    /// Kills a replica, to see it replaced: what a button does. False when there is none of that name.
    pub fn kill(&mut self, name: &str, now: Instant) -> bool {
        let found = self.replicas.iter().position(|each| each.is_listed() && &*each.name == name);
        let Some(index) = found else { return false };
        match self.replicas[index].child {
            Some(child) => self.acts.push(Act::Signal(child, Signal::Kill)),
            None => self.lose(index, "was killed", now),
        }
        true
    }

    /// All replicas are to end, because the program does; [`Act::Ended`] follows.
    pub fn end(&mut self, now: Instant) {
        self.is_ending = true;
        for index in 0..self.replicas.len() {
            self.replicas[index].is_leaving = true;
            self.stop(index, now);
        }
        self.tick(now);
    }

    /// A core has nothing in flight to a draining replica.
    pub fn on_emptied(&mut self, tenancy: Tenancy, now: Instant) {
        let Some(index) = self.find(tenancy) else { return };
        if let State::Draining { until, busy } = self.replicas[index].state {
            self.replicas[index].state = State::Draining { until, busy: busy.saturating_sub(1) };
            self.tick(now);
        }
    }

    fn find(&self, tenancy: Tenancy) -> Option<usize> {
        self.replicas.iter().position(|each| each.tenancy == tenancy)
    }

    fn find_child(&self, child: ChildId) -> Option<usize> {
        self.replicas.iter().position(|each| each.child == Some(child))
    }

    /// Looks at every replica for what is late or due, and starts what may start.
    pub fn tick(&mut self, now: Instant) {
        for index in 0..self.replicas.len() {
            self.look(index, now);
        }
        self.replicas.retain(|each| !(each.is_leaving && matches!(each.state, State::Dead)));
        let mut room = self.config.start_batch.saturating_sub(self.moving());
        for index in 0..self.replicas.len() {
            let is_due = matches!(self.replicas[index].state, State::Waiting { at } if at <= now);
            if is_due && room > 0 {
                room -= 1;
                self.start(index, now);
            }
        }
        if self.is_ending && self.replicas.is_empty() {
            self.is_ending = false;
            self.acts.push(Act::Ended);
        }
    }

    fn look(&mut self, index: usize, now: Instant) {
        match self.replicas[index].state {
            State::Starting { until } if until <= now => {
                let seconds = self.config.waits.start.as_secs_f64();
                self.fail(index, &format!("did not answer within {seconds} s"), now);
            }
            State::Ejected { until } if until <= now => {
                self.replicas[index].enter(State::Healthy, now);
                self.acts.push(Act::Tell(self.replicas[index].tenancy, Change::Return));
            }
            State::Draining { until, busy } if until <= now || busy == 0 => self.stop(index, now),
            State::Stopping { until } if until <= now => self.kill_child(index, now),
            State::Waiting { .. }
            | State::Seeking { .. }
            | State::Starting { .. }
            | State::Ready
            | State::Healthy
            | State::Suspect
            | State::Ejected { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Dying
            | State::Dead => {}
        }
        self.watch(index, now);
    }

    /// When [`Fleet::tick`] is wanted next.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        // Without room who waits to be started waits for another to come or go, and that is an event of its own.
        let has_room = self.moving() < self.config.start_batch;
        self.replicas.iter().filter_map(|each| next_of(each, has_room)).min()
    }

    /// How many are being started or stopped.
    fn moving(&self) -> usize {
        self.replicas.iter().filter(|each| each.state.is_moving()).count()
    }
}

fn next_of(replica: &Replica, has_room: bool) -> Option<Instant> {
    let beat = match replica.beat {
        Beat::Due(at) | Beat::Asked(at) => replica.state.is_watched().then_some(at),
    };
    let own = match replica.state {
        State::Waiting { at } => has_room.then_some(at),
        State::Starting { until }
        | State::Ejected { until }
        | State::Draining { until, .. }
        | State::Stopping { until } => Some(until),
        State::Seeking { .. }
        | State::Ready
        | State::Healthy
        | State::Suspect
        | State::Dying
        | State::Dead => None,
    };
    beat.into_iter().chain(own).min()
}
