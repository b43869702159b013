//! Additions: all replicas of one `/add`, which join together or not at all.

use super::replica::State;
use super::{Act, Asker, Fleet};
use crate::control::{self, Asked, Refused};
use crate::peer::Change;
use machine::{Instant, Now};

/// One `/add` that is under way.
#[derive(Debug)]
pub(super) struct Addition {
    number: u32,
    asker: Asker,
}

impl Fleet {
    pub(super) fn add(&mut self, now: Now, asker: Asker, asked: Asked) -> Result<(), Refused> {
        let present: Vec<&str> =
            self.replicas.iter().filter(|each| !each.is_leaving).map(|each| &*each.name).collect();
        let hostnames = control::add(asked, &present, self.slots_left(), now.wall, &mut self.names)?;
        let number = self.next_addition;
        self.next_addition += 1;
        self.additions.push(Addition { number, asker });
        for name in &hostnames {
            self.seat(name, Some(number), now.at);
        }
        self.tick(now.at);
        Ok(())
    }

    /// A replica has answered for the first time in its life.
    pub(super) fn arrived(&mut self, index: usize, now: Instant) {
        let replica = &mut self.replicas[index];
        match replica.addition {
            None => {
                replica.failures = 0;
                if replica.is_in_line {
                    replica.enter(State::Ready, now);
                    self.advance_line(now);
                } else {
                    self.join(index, now);
                }
            }
            Some(number) => {
                replica.enter(State::Ready, now);
                let mut all = self.replicas.iter().filter(|each| each.addition == Some(number));
                if all.all(|each| each.state == State::Ready) {
                    self.complete(number, now);
                }
            }
        }
    }

    /// Those of the line who have answered join, up to the first who has not.
    fn advance_line(&mut self, now: Instant) {
        for index in 0..self.replicas.len() {
            let replica = &mut self.replicas[index];
            match replica.state {
                _ if !replica.is_in_line || replica.is_leaving => {}
                State::Ready => {
                    replica.is_in_line = false;
                    self.join(index, now);
                }
                _ => return,
            }
        }
    }

    /// Nobody waits for one who did not start, or goes.
    pub(super) fn leave_line(&mut self, index: usize, now: Instant) {
        if core::mem::take(&mut self.replicas[index].is_in_line) {
            self.advance_line(now);
        }
    }

    fn complete(&mut self, number: u32, now: Instant) {
        for index in 0..self.replicas.len() {
            if self.replicas[index].addition == Some(number) {
                self.replicas[index].addition = None;
                self.join(index, now);
            }
        }
        if let Some(asker) = self.closed(number) {
            self.answer_list(asker);
        }
    }

    fn join(&mut self, index: usize, now: Instant) {
        let is_first = !self.replicas.iter().any(|each| each.state.serves());
        let replica = &mut self.replicas[index];
        let at = replica.at.as_ref().map(ToString::to_string).unwrap_or_default();
        let is_warm = is_first || replica.tenancy.life as usize <= self.config.replicas;
        replica.enter(State::Healthy, now);
        let change = Change::Join { name: replica.name.to_string(), at, is_warm };
        self.acts.push(Act::Tell(replica.tenancy, change));
    }

    /// One did not start: none of them joins, and the answer says which and why.
    pub(super) fn take_back(&mut self, number: u32, culprit: usize, why: &str, now: Instant) {
        let name = self.replicas[culprit].name.clone();
        for index in 0..self.replicas.len() {
            let replica = &mut self.replicas[index];
            if replica.addition == Some(number) {
                replica.addition = None;
                replica.is_leaving = true;
                self.stop(index, now);
            }
        }
        if let Some(asker) = self.closed(number) {
            let words = format!("Server `{name}` did not start: it {why}");
            self.acts.push(Act::Answer(asker, 400, control::failure(&words)));
        }
    }

    fn closed(&mut self, number: u32) -> Option<Asker> {
        let index = self.additions.iter().position(|each| each.number == number)?;
        Some(self.additions.remove(index).asker)
    }
}
