//! What one process of the program leaves to the next: the replicas, so that those live through an upgrade.
//!
//! Nothing is given up by it. The old process keeps a copy, hears of its replicas' ends, and has them again when the
//! new one does not come to serve. Those that are being removed stay with it to the end, because requests of its
//! clients are in flight to them. The hard thing is what is half done: an addition is waited for, and who asks for one
//! meanwhile waits, to be passed on to the new process.

use super::replica::{Beat, Replica, State};
use super::{Act, Asker, Fleet};
use crate::config::Driver;
use crate::control::Verb;
use crate::peer::Change;
use crate::spread::Seat;
use machine::{ChildId, Instant, Now};
use serde::{Deserialize, Serialize};

/// Where this process is in handing over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Handing {
    /// Nobody takes over.
    #[default]
    No,
    /// Somebody will, when nothing is half done.
    Wanted,
    /// Somebody has been told all.
    Given,
}

/// What a client asked for while the truth was being handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who.
    pub asker: Asker,
    /// What.
    pub verb: Verb,
    /// Whether the body was said to be JSON.
    pub is_json: bool,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Legacy {
    lives: u32,
    replicas: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    life: u32,
    standing: Standing,
    at: Option<String>,
    child: Option<u64>,
    container: Option<String>,
    ejections: u32,
}

/// [`State`], as far as it outlives the process.
#[derive(Serialize, Deserialize)]
enum Standing {
    Waiting,
    Starting,
    Serving,
}

impl Fleet {
    /// Another process is to take over.
    pub fn hand_over(&mut self) {
        if self.handing == Handing::No {
            self.handing = Handing::Wanted;
        }
    }

    /// What the other must know, once it can be said; from then on replicas are its own to watch.
    pub fn bequest(&mut self) -> Option<String> {
        if self.handing != Handing::Wanted {
            return None;
        }
        let is_half_done = |each: &Replica| match each.state {
            State::Seeking { .. } => true,
            State::Starting { .. } => {
                each.child.is_none()
                    && each.container.is_none()
                    && !matches!(self.config.driver, Driver::Static(_))
            }
            _ => false,
        };
        let waits = !self.additions.is_empty() || self.replicas.iter().any(is_half_done);
        if waits {
            return None;
        }
        self.handing = Handing::Given;
        let (leaving, handed): (Vec<Replica>, Vec<Replica>) =
            core::mem::take(&mut self.replicas).into_iter().partition(|each| each.is_leaving);
        self.acts.extend(handed.iter().map(|each| Act::Forget(each.tenancy)));
        let replicas = handed.iter().map(entry).collect();
        (self.replicas, self.handed) = (leaving, handed);
        serde_json::to_string(&Legacy { lives: self.lives, replicas }).ok()
    }

    /// The other process did not come to serve.
    pub fn resume(&mut self, now: Now) {
        let was = core::mem::take(&mut self.handing);
        if was == Handing::Given {
            let leaving = core::mem::take(&mut self.replicas);
            self.replicas = core::mem::take(&mut self.handed);
            self.replicas.extend(leaving);
            for replica in self.replicas.iter_mut().filter(|each| !each.is_leaving) {
                replica.beat = Beat::Due(now.at);
                if replica.state == State::Dead {
                    replica.enter(State::Waiting { at: now.at }, now.at);
                }
            }
        }
        for Held { asker, verb, is_json, body } in self.held() {
            self.ask(now, asker, verb, is_json, &body);
        }
        self.tick(now.at);
    }

    /// Whether the other process has been told all.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.handing == Handing::Given
    }

    /// What clients asked for meanwhile.
    pub fn held(&mut self) -> Vec<Held> {
        core::mem::take(&mut self.held)
    }

    /// A child that another process owns too has ended: here it only leaves the ring.
    pub(super) fn handed_ended(&mut self, child: ChildId, now: Instant) {
        let Some(replica) = self.handed.iter_mut().find(|each| each.child == Some(child)) else { return };
        replica.child = None;
        if replica.state.is_known() {
            self.acts.push(Act::Tell(replica.tenancy, Change::Leave));
        }
        replica.enter(State::Dead, now);
    }

    /// What the process before this one left. What cannot be read is none: then replicas are started anew.
    pub fn inherit(&mut self, legacy: &[u8]) {
        let Ok(legacy) = serde_json::from_slice::<Legacy>(legacy) else { return };
        self.lives = self.lives.max(legacy.lives);
        for (seat, left) in (0..).zip(legacy.replicas) {
            self.replicas.push(self.revived(left, Seat(seat)));
        }
        self.is_heir = true;
    }

    fn revived(&self, left: Entry, seat: Seat) -> Replica {
        let at = left.at.as_deref().map(crate::peer::address);
        let mut replica = Replica::new(&left.name, seat, None, Instant::ZERO);
        let is_here = match &self.config.driver {
            Driver::Process { .. } => left.child.is_some(),
            Driver::Docker(_) => left.container.is_some(),
            Driver::Static(addresses) => at.as_ref().is_some_and(|at| addresses.contains(at)),
        };
        replica.ejections = left.ejections;
        if !is_here || at.is_none() {
            return replica;
        }
        replica.tenancy.life = left.life;
        (replica.at, replica.container) = (at, left.container.map(Into::into));
        replica.child = left.child.map(ChildId);
        replica.state = match left.standing {
            Standing::Waiting => replica.state,
            Standing::Starting => State::Starting { until: Instant::ZERO },
            Standing::Serving => State::Healthy,
        };
        replica
    }

    /// Goes on where the process before this one was.
    pub(super) fn go_on(&mut self, now: Instant) {
        let start = self.config.waits.start;
        for replica in &mut self.replicas {
            replica.since = now;
            replica.beat = Beat::Due(now);
            self.acts.extend(replica.child.map(Act::Adopt));
            match &mut replica.state {
                State::Waiting { at } => *at = now,
                State::Starting { until } => *until = now + start,
                _ => {
                    let at = replica.at.as_ref().map(ToString::to_string).unwrap_or_default();
                    let join = Change::Join { name: replica.name.to_string(), at, is_warm: true };
                    self.acts.push(Act::Tell(replica.tenancy, join));
                }
            }
        }
    }
}

fn entry(replica: &Replica) -> Entry {
    let standing = match replica.state {
        State::Starting { .. } | State::Ready => Standing::Starting,
        State::Healthy | State::Suspect | State::Ejected { .. } => Standing::Serving,
        State::Waiting { .. }
        | State::Seeking { .. }
        | State::Draining { .. }
        | State::Stopping { .. }
        | State::Dying
        | State::Dead => Standing::Waiting,
    };
    let lives_on = !matches!(standing, Standing::Waiting);
    Entry {
        name: replica.name.to_string(),
        life: replica.tenancy.life,
        standing,
        at: replica.at.as_ref().map(ToString::to_string),
        child: replica.child.filter(|_| lives_on).map(|child| child.0),
        container: replica.container.as_deref().filter(|_| lives_on).map(str::to_owned),
        ejections: replica.ejections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::peer::Tenancy;
    use machine::{Chance, ChildEvent, ConnId, CoreId, WallTime};
    use std::time::Duration;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn now(ms: u64) -> Now {
        Now { at: at(ms), wall: WallTime::from_millis(ms) }
    }

    fn config() -> Config {
        let here: std::net::SocketAddr = "127.0.0.1:1".parse().unwrap();
        let driver = Driver::Process { command: vec!["replica".into()], ports: (20_000, 20_100) };
        Config { replicas: 2, ..Config::new(here.into(), here.into(), driver) }
    }

    fn fleet() -> Fleet {
        Fleet::new(&config(), 1, &Chance::new(1))
    }

    /// Does what the fleet wants until it wants nothing more, as a world in which all goes well; gives what was told.
    fn carry_out(fleet: &mut Fleet, ms: u64) -> Vec<(Tenancy, Change)> {
        let mut told = Vec::new();
        loop {
            fleet.tick(at(ms));
            let acts = fleet.acts();
            if acts.is_empty() {
                return told;
            }
            for act in acts {
                match act {
                    Act::Seek(tenancy, _) => fleet.on_sought(tenancy, true, at(ms)),
                    Act::Spawn(tenancy, _) => fleet.on_spawned(tenancy, ChildId(u64::from(tenancy.life))),
                    Act::Beat(tenancy, _) => fleet.on_beat(tenancy, Ok(()), at(ms)),
                    Act::Tell(tenancy, change) => told.push((tenancy, change)),
                    _ => {}
                }
            }
        }
    }

    fn asker() -> Asker {
        Asker { core: CoreId(0), conn: ConnId(machine::id::Key::from_bits(1 << 32)) }
    }

    fn serving() -> Fleet {
        let mut fleet = fleet();
        fleet.begin(now(0));
        carry_out(&mut fleet, 0);
        carry_out(&mut fleet, 100);
        assert!(fleet.replicas().iter().all(|each| each.state == State::Healthy));
        fleet
    }

    #[test]
    fn the_next_process_has_the_same_replicas_and_their_children() {
        let mut old = serving();
        assert_eq!(old.bequest(), None, "nobody takes over");
        old.hand_over();
        let legacy = old.bequest().expect("nothing is half done");
        assert_eq!(old.bequest(), None, "it is said once");
        let mut new = fleet();
        new.inherit(legacy.as_bytes());
        new.begin(now(200));
        let acts = new.acts();
        let adopted: Vec<u64> = acts
            .iter()
            .filter_map(|act| if let Act::Adopt(child) = act { Some(child.0) } else { None })
            .collect();
        assert_eq!(adopted, [1, 2]);
        let joined =
            acts.iter().filter(|act| matches!(act, Act::Tell(_, Change::Join { is_warm: true, .. })));
        assert_eq!(joined.count(), 2);
        assert_eq!(new.listed().collect::<Vec<_>>(), ["Server-1", "Server-2"]);
        // A replica that is replaced by it gets a number that none had before.
        new.on_child(ChildId(1), &ChildEvent::Killed(9), at(300));
        carry_out(&mut new, 2000);
        assert_eq!(new.replicas().iter().map(|each| each.tenancy.life).max(), Some(3));
    }

    #[test]
    fn one_that_could_not_be_adopted_is_replaced() {
        let mut old = serving();
        old.hand_over();
        let legacy = old.bequest().unwrap();
        let mut new = fleet();
        new.inherit(legacy.as_bytes());
        new.begin(now(200));
        new.on_child(ChildId(2), &ChildEvent::Unstarted("it is gone".into()), at(201));
        let told = carry_out(&mut new, 5000);
        assert!(told.iter().any(|(tenancy, change)| tenancy.life == 2 && *change == Change::Leave));
        carry_out(&mut new, 5100);
        assert!(new.replicas().iter().all(|each| each.state == State::Healthy));
    }

    #[test]
    fn the_old_process_hears_of_ends_and_has_all_again_if_nobody_takes_over() {
        let mut old = serving();
        old.hand_over();
        assert!(old.bequest().is_some());
        old.on_child(ChildId(1), &ChildEvent::Killed(9), at(300));
        let told = carry_out(&mut old, 300);
        assert_eq!(told.iter().map(|(tenancy, _)| tenancy.life).collect::<Vec<_>>(), [1], "it left the ring");
        assert_eq!(told[0].1, Change::Leave);
        old.resume(now(400));
        carry_out(&mut old, 400);
        carry_out(&mut old, 500);
        assert_eq!(old.listed().collect::<Vec<_>>(), ["Server-1", "Server-2"]);
        assert!(old.replicas().iter().all(|each| each.state == State::Healthy));
        assert_eq!(old.replicas()[0].tenancy.life, 3, "it was started anew");
    }

    #[test]
    fn who_asks_meanwhile_waits_and_an_addition_is_waited_for() {
        let mut old = serving();
        old.ask(now(150), asker(), Verb::Add, true, br#"{"n":1,"hostnames":["S5"]}"#);
        old.hand_over();
        assert_eq!(old.bequest(), None, "an addition is under way");
        old.ask(now(151), asker(), Verb::Add, true, br#"{"n":1,"hostnames":["S6"]}"#);
        carry_out(&mut old, 200);
        carry_out(&mut old, 300);
        let legacy = old.bequest().expect("the addition is whole");
        assert!(legacy.contains("S5") && !legacy.contains("S6"));
        old.ask(now(301), asker(), Verb::List, false, b"");
        let held = old.held();
        assert_eq!(held.iter().map(|each| each.verb).collect::<Vec<_>>(), [Verb::Add, Verb::List]);
    }

    #[test]
    fn what_is_no_legacy_starts_anew() {
        let mut new = fleet();
        new.inherit(b"nonsense");
        new.begin(now(0));
        assert_eq!(new.listed().count(), 2);
    }
}
