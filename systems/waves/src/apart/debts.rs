//! What members of a troop owe each other: questions that were asked and not answered yet.
//!
//! Between cores of one process an answer always comes. A process may die with the question, and who asked would wait
//! for ever; so each question is remembered with whom it was asked of, and answered in the name of the dead.

use crate::peer::{ArchivedSaid, Asker, Counted, Said, Whom, native};
use crate::wave::monitor::Tally;
use std::collections::BTreeMap;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    Look(Asker),
    Settle(u64),
    Offer(u64),
    Launch(Asker),
    Done(Asker),
}

impl Owed {
    /// What somebody who is told this owes.
    pub(crate) fn by(said: &Said) -> Vec<Self> {
        match said {
            Said::Look(asker) => vec![Self::Look(*asker)],
            Said::Settle { wave, .. } => vec![Self::Settle(*wave)],
            Said::Offer(offers) => offers.iter().map(|offer| Self::Offer(offer.id)).collect(),
            Said::Launch { asker, .. } => vec![Self::Launch(*asker)],
            Said::AddTasks { asker, .. } | Said::Shift { asker, .. } => vec![Self::Done(*asker)],
            _ => Vec::new(),
        }
        .into_iter()
        .filter(|owed| !owed.is_for_nobody())
        .collect()
    }

    fn is_for_nobody(&self) -> bool {
        matches!(self, Self::Launch(asker) | Self::Done(asker) if asker.whom == Whom::Nobody)
    }

    /// What is no longer owed by somebody who says this.
    fn paid(heard: &ArchivedSaid) -> Vec<Self> {
        match heard {
            ArchivedSaid::Seen { asker, .. } => vec![Self::Look(native(asker))],
            ArchivedSaid::Settled { wave, .. } => vec![Self::Settle(wave.to_native())],
            ArchivedSaid::Answer(answers) => {
                answers.iter().map(|answer| Self::Offer(answer.0.to_native())).collect()
            }
            ArchivedSaid::Launched { asker, .. } | ArchivedSaid::Brought(asker) => {
                vec![Self::Launch(native(asker))]
            }
            ArchivedSaid::Done { asker, .. } => vec![Self::Done(native(asker))],
            _ => Vec::new(),
        }
    }

    /// The answer in the name of the dead. A task that was offered to somebody who may have taken it is lost with
    /// them; one that was never said to them (`was_said`) comes back.
    pub(crate) fn answer(self, was_said: bool) -> Said {
        match self {
            Self::Look(asker) => Said::Seen { asker, loads: Vec::new(), reports: String::new() },
            Self::Settle(wave) => Said::Settled { wave, counted: Counted::from(Tally::default()) },
            Self::Offer(id) => Said::Answer(vec![(id, was_said)]),
            Self::Launch(asker) => Said::Launched { asker, wave: None },
            Self::Done(asker) => Said::Done { asker, is_done: false },
        }
    }
}

/// What each member owes.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    by_member: BTreeMap<u16, Vec<Owed>>,
}

impl Debts {
    /// A member is asked.
    pub(crate) fn ask(&mut self, member: u16, said: &Said) {
        let owed = Owed::by(said);
        if !owed.is_empty() {
            self.by_member.entry(member).or_default().extend(owed);
        }
    }

    /// A member has spoken.
    pub(crate) fn pay(&mut self, member: u16, heard: &ArchivedSaid) {
        let Some(owed) = self.by_member.get_mut(&member) else { return };
        for paid in Owed::paid(heard) {
            if let Some(place) = owed.iter().position(|each| *each == paid) {
                owed.remove(place);
            }
        }
    }

    /// A member has died: what it owed.
    pub(crate) fn bury(&mut self, member: u16) -> Vec<Owed> {
        self.by_member.remove(&member).unwrap_or_default()
    }
}
