//! How replicas begin and end: by process, by container, or by somebody else.
//!
//! A process is given a port of ours. Nothing can hold a port for a child, so a port is taken for free when nobody
//! answers there, just before the start; and a child that ends before it answered has failed, whoever answers in its
//! place.

use super::replica::{Beat, Replica, State};
use super::{Act, Fleet};
use crate::config::Driver;
use crate::docker::Farewell;
use crate::peer::{Change, Tenancy};
use machine::{Address, ChildEvent, ChildId, Instant, Signal};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Ports asked for one start, before it fails.
const PORTS_TRIED_MAX: u16 = 64;

/// Between two questions whether a newcomer answers, by how long it has been asked: a process of ours takes some
/// milliseconds to listen, and each of them is one in which a replica is missing; a slow one is not asked for ever so
/// often.
pub(super) fn eager(asked_for: Duration) -> Duration {
    match asked_for.as_millis() {
        0..200 => Duration::from_millis(2),
        200..1000 => Duration::from_millis(10),
        _ => Duration::from_millis(50),
    }
}

/// One that had answered and died is replaced at once, but in the long run not more often than once in this time.
const REPLACED_EVERY: Duration = Duration::from_millis(500);

/// How far replacements may be ahead of that: twenty in a row, which somebody who kills replicas to see what happens
/// does not reach, and a program that dies of its first request does.
const REPLACED_AHEAD: Duration = Duration::from_secs(10);

/// The first wait after a start that failed, doubled with each.
const AGAIN_FIRST: Duration = Duration::from_millis(100);

/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(10);

impl Fleet {
    /// Begins a life.
    pub(super) fn start(&mut self, index: usize, now: Instant) {
        self.lives += 1;
        let life = self.lives;
        let replica = &mut self.replicas[index];
        replica.tenancy.life = life;
        replica.misses = 0;
        replica.beat = Beat::Due(now);
        match &self.config.driver {
            Driver::Process { .. } => self.seek(index, 0, now),
            Driver::Docker(_) => {
                let until = now + self.config.waits.start;
                let replica = &mut self.replicas[index];
                replica.enter(State::Starting { until }, now);
                replica.at = None;
                self.acts.push(Act::Create(replica.tenancy, replica.name.clone()));
            }
            Driver::Static(addresses) => {
                let taken = |at: &Address| self.replicas.iter().any(|each| each.at.as_ref() == Some(at));
                let own = self.replicas[index].at.clone();
                let found = own.or_else(|| addresses.iter().find(|at| !taken(at)).cloned());
                self.begin_elsewhere(index, found, now);
            }
        }
    }

    fn begin_elsewhere(&mut self, index: usize, found: Option<Address>, now: Instant) {
        let until = now + self.config.waits.start;
        match found {
            Some(at) => {
                self.replicas[index].at = Some(at);
                self.replicas[index].enter(State::Starting { until }, now);
                self.watch(index, now);
            }
            None => self.fail(index, "found no address that is not taken", now),
        }
    }

    fn seek(&mut self, index: usize, tried: u16, now: Instant) {
        let Driver::Process { ports: (first, last), .. } = self.config.driver else { return };
        if tried >= PORTS_TRIED_MAX {
            return self.fail(index, &format!("found no free port between {first} and {last}"), now);
        }
        let port = self.next_port;
        self.next_port = if port >= last { first } else { port + 1 };
        let replica = &mut self.replicas[index];
        replica.enter(State::Seeking { port, tried }, now);
        self.acts.push(Act::Seek(replica.tenancy, port));
    }

    /// Whether somebody answers at the port that was to be asked.
    pub fn on_sought(&mut self, tenancy: Tenancy, is_free: bool, now: Instant) {
        let Some(index) = self.find(tenancy) else { return };
        let State::Seeking { port, tried } = self.replicas[index].state else { return };
        if !is_free {
            return self.seek(index, tried + 1, now);
        }
        let until = now + self.config.waits.start;
        let replica = &mut self.replicas[index];
        replica.at = Some(Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        replica.enter(State::Starting { until }, now);
        replica.beat = Beat::Due(now + eager(Duration::ZERO));
        self.acts.push(Act::Spawn(replica.tenancy, port));
    }

    /// The child that was to be started.
    pub fn on_spawned(&mut self, tenancy: Tenancy, child: ChildId) {
        if let Some(index) = self.find(tenancy) {
            self.replicas[index].child = Some(child);
        }
    }

    /// What became of a child.
    pub fn on_child(&mut self, child: ChildId, what: &ChildEvent, now: Instant) {
        let Some(index) = self.find_child(child) else {
            if !matches!(what, ChildEvent::Started { .. }) {
                self.handed_ended(child, now);
            }
            return;
        };
        let why = match what {
            ChildEvent::Started { .. } => return,
            ChildEvent::Unstarted(why) => format!("could not be started: {why}"),
            ChildEvent::Exited(status) => format!("exited with status {status}"),
            ChildEvent::Killed(signal) => format!("was ended by signal {signal}"),
        };
        self.ended(index, &why, now);
    }

    /// The container that was to be made: its id and where it is, or why there is none.
    pub fn on_container(
        &mut self,
        tenancy: Tenancy,
        made: Result<(Box<str>, Address), String>,
        now: Instant,
    ) {
        let Some(index) = self.find(tenancy) else {
            if let Ok((id, _)) = made {
                self.acts.push(Act::Discard(tenancy, id, Farewell::Curt));
            }
            return;
        };
        match made {
            Ok((id, at)) => {
                let replica = &mut self.replicas[index];
                replica.container = Some(id);
                replica.at = Some(at);
                replica.beat = Beat::Due(now);
                match replica.state {
                    State::Starting { .. } => self.watch(index, now),
                    _ => self.discard(index, Farewell::Curt, now),
                }
            }
            Err(why) => {
                match self.replicas[index].state {
                    State::Starting { .. } => self.fail(index, &why, now),
                    _ => self.ended(index, &why, now),
                }
                self.tick(now);
            }
        }
    }

    /// A container ended by itself.
    pub fn on_died(&mut self, id: &str, how: &str, now: Instant) {
        let found = self.replicas.iter().position(|each| each.container.as_deref() == Some(id));
        let Some(index) = found else { return };
        match self.replicas[index].state {
            State::Starting { .. } => self.fail(index, &format!("{how} before it answered"), now),
            _ => self.lose(index, how, now),
        }
        self.tick(now);
    }

    /// A container is gone.
    pub fn on_ended(&mut self, tenancy: Tenancy, now: Instant) {
        if let Some(index) = self.find(tenancy) {
            self.ended(index, "its container was removed", now);
        }
    }

    /// A life is over, whoever ended it.
    fn ended(&mut self, index: usize, why: &str, now: Instant) {
        let replica = &mut self.replicas[index];
        replica.child = None;
        replica.container = None;
        let state = replica.state;
        match state {
            State::Starting { .. } => self.fail(index, &format!("{why} before it answered"), now),
            State::Dying | State::Stopping { .. } => self.rest(index, now),
            State::Ready
            | State::Healthy
            | State::Suspect
            | State::Ejected { .. }
            | State::Draining { .. }
            | State::Waiting { .. }
            | State::Seeking { .. }
            | State::Dead => self.lose(index, why, now),
        }
        self.tick(now);
    }

    /// A replica that had answered is no more, or is taken for it: it leaves the ring and is replaced.
    pub(super) fn lose(&mut self, index: usize, why: &str, now: Instant) {
        let replica = &mut self.replicas[index];
        replica.trouble = Some(why.to_owned());
        if replica.state.is_known() {
            self.acts.push(Act::Tell(replica.tenancy, Change::Leave));
        }
        if let Some(addition) = replica.addition {
            return self.take_back(addition, index, why, now);
        }
        replica.replaced_by = replica.replaced_by.max(now) + REPLACED_EVERY;
        self.bury(index, now);
        self.leave_line(index, now);
    }

    /// A start failed: the whole addition is taken back, or it is tried again.
    pub(super) fn fail(&mut self, index: usize, why: &str, now: Instant) {
        let replica = &mut self.replicas[index];
        replica.trouble = Some(why.to_owned());
        replica.failures += 1;
        match replica.addition {
            Some(addition) => self.take_back(addition, index, why, now),
            None => {
                self.bury(index, now);
                self.leave_line(index, now);
            }
        }
    }

    /// Makes sure that a life is over, then goes on to [`Fleet::rest`].
    fn bury(&mut self, index: usize, now: Instant) {
        let replica = &self.replicas[index];
        if replica.child.is_some() {
            self.kill_child(index, now);
        } else if replica.container.is_some() {
            self.discard(index, Farewell::Curt, now);
        } else {
            self.rest(index, now);
        }
    }

    /// After the end of a life: another one, or none.
    fn rest(&mut self, index: usize, now: Instant) {
        let is_ours = !matches!(self.config.driver, Driver::Static(_));
        let replica = &mut self.replicas[index];
        self.acts.push(Act::Forget(replica.tenancy));
        if replica.is_leaving {
            return replica.enter(State::Dead, now);
        }
        if is_ours || replica.at.is_none() {
            replica.at = None;
            let at = now + again(replica, now);
            replica.enter(State::Waiting { at }, now);
        } else {
            replica.enter(State::Dead, now);
            replica.beat = Beat::Due(now + self.config.watching.interval);
        }
    }

    /// Ends a replica's life politely.
    pub(super) fn stop(&mut self, index: usize, now: Instant) {
        let (signal, until) = (self.config.stop_signal, now + self.config.waits.stop);
        let replica = &mut self.replicas[index];
        if matches!(replica.state, State::Stopping { .. } | State::Dying) {
            return;
        }
        if replica.state.is_known() {
            self.acts.push(Act::Tell(replica.tenancy, Change::Leave));
        }
        if let Some(child) = replica.child {
            self.acts.push(Act::Signal(child, signal));
            replica.enter(State::Stopping { until }, now);
        } else if replica.container.is_some() {
            self.discard(index, Farewell::Polite, now);
        } else {
            self.rest(index, now);
        }
        self.leave_line(index, now);
    }

    pub(super) fn kill_child(&mut self, index: usize, now: Instant) {
        let replica = &mut self.replicas[index];
        if let Some(child) = replica.child {
            self.acts.push(Act::Signal(child, Signal::Kill));
        }
        replica.enter(State::Dying, now);
    }

    fn discard(&mut self, index: usize, farewell: Farewell, now: Instant) {
        let replica = &mut self.replicas[index];
        let id = replica.container.take().unwrap_or_default();
        self.acts.push(Act::Discard(replica.tenancy, id, farewell));
        replica.enter(State::Dying, now);
    }
}

/// How long the next start waits: by how many failed in a row, or because too many have died lately.
fn again(replica: &Replica, now: Instant) -> Duration {
    let failed = match replica.failures {
        0 => Duration::ZERO,
        failures => AGAIN_MAX.min(AGAIN_FIRST * (1 << failures.min(10).saturating_sub(1))),
    };
    failed.max(replica.replaced_by.since(now).saturating_sub(REPLACED_AHEAD))
}
