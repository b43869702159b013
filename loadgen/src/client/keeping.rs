//! What is kept of each read and write where a history is wanted, and the reading of every key after the run: by the
//! same way on which keys are written before it, but that a read which fails is asked again.

use super::{Client, LOOK_BACK_MAX};
use crate::history::{Kind, NOTHING};
use crate::protocol::Answer;
use crate::session::Asked;
use crate::stage::{Said, Stage};
use crate::workload::{Checked, Verb, check_value, version_of};
use machine::{Now, Outbox};

impl Client {
    /// Keeps what was asked with its answer. A read that brought no value of this key is kept nowhere: that it is wrong
    /// is counted, and it says nothing of versions.
    #[inline]
    pub(super) fn keep(&mut self, now: Now, place: u32, asked: Asked, answer: Answer<'_>) {
        let Some(history) = &mut self.outcomes.history else { return };
        if self.stage == Stage::Loading {
            return;
        }
        let operation = asked.operation;
        match (operation.verb, answer) {
            (Verb::Set, Answer::Done) => history.wrote(place, operation, asked.sent, Some(now.at)),
            // A server that refuses may have written all the same, as one whose copies did not answer.
            (Verb::Set, _) => history.wrote(place, operation, asked.sent, None),
            (Verb::Get, answer) => {
                if let Some(version) = version(answer, operation.key, &self.load.values) {
                    history.read(place, Kind::Get, operation.key, version, asked.sent, now.at);
                }
            }
            (Verb::Del, _) => {}
        }
    }

    /// All has been answered: reads every key now, where that is wanted.
    pub(super) fn look_back(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if !self.load.looks_back || self.outcomes.cut_short {
            return self.over(out);
        }
        self.stage = Stage::LookingBack;
        self.next_load = u64::from(self.core);
        self.deepen();
        self.stop_by = Some(now.at + LOOK_BACK_MAX);
        self.dialler.want_only((0..self.places()).filter(|place| self.sessions.conn(*place).is_none()));
        self.go_on(now, out);
    }

    /// A key was read after the run.
    pub(super) fn saw(&mut self, now: Now, place: u32, asked: Asked, answer: Answer<'_>) {
        let key = asked.operation.key;
        match (version(answer, key, &self.load.values), &mut self.outcomes.history) {
            (Some(version), Some(history)) => {
                history.read(place, Kind::Look, key, version, asked.sent, now.at);
            }
            _ => self.again_later.push(key),
        }
    }
}

/// The version that an answer brings of this key.
fn version(answer: Answer<'_>, key: u64, sizes: &crate::sizes::Sizes) -> Option<u64> {
    match answer {
        Answer::Value(value) if check_value(value, key, sizes) == Checked::Right => version_of(value),
        Answer::Nothing => Some(NOTHING),
        Answer::Value(_)
        | Answer::Done
        | Answer::Refused(_)
        | Answer::Right
        | Answer::WrongStatus(_)
        | Answer::WrongBody
        | Answer::Strange => None,
    }
}
