//! Reads that must see everything acknowledged before they began (Ongaro's thesis, section 6.4): the leader says how
//! far the ledger is committed, once a majority has confirmed that it still leads; when that much is applied here, the
//! state here may be read. One question is on its way at a time; the reads that come meanwhile share the next.

use crate::group::ReadId;
use machine::Instant;
use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Reads {
    next_read: u64,
    next_context: u64,
    waiting: Vec<ReadId>,
    asked: Option<Asked>,
    /// Readable once so much is applied.
    sure: VecDeque<(u64, Vec<ReadId>)>,
}

#[derive(Debug)]
struct Asked {
    context: u64,
    by: Vec<ReadId>,
    /// Whom, in which term, and whether that leader could answer then.
    whom: Whom,
    /// When it is asked again.
    again_at: Instant,
}

/// Who is asked: the library's number of the leader, its term, whether it is known to answer.
pub(crate) type Whom = (u64, u64, bool);

impl Reads {
    /// Contexts must differ over nodes and restarts, so they begin anywhere.
    pub(crate) fn new(first_context: u64) -> Self {
        Self {
            next_read: 1,
            next_context: first_context,
            waiting: Vec::new(),
            asked: None,
            sure: VecDeque::new(),
        }
    }

    pub(crate) fn begin(&mut self) -> ReadId {
        let id = ReadId(self.next_read);
        self.next_read += 1;
        self.waiting.push(id);
        id
    }

    /// The context to ask with now, if it is time to ask.
    pub(crate) fn question(&mut self, now: Instant, again_at: Instant, whom: Whom) -> Option<u64> {
        match &mut self.asked {
            Some(asked) if asked.whom == whom && asked.again_at > now => return None,
            Some(asked) => {
                // The same reads, but a new context: an answer to the old question is as good and is lost, no more.
                asked.by.append(&mut self.waiting);
                (asked.context, asked.whom, asked.again_at) = (self.next_context, whom, again_at);
            }
            None if self.waiting.is_empty() => return None,
            None => {
                let by = core::mem::take(&mut self.waiting);
                self.asked = Some(Asked { context: self.next_context, by, whom, again_at });
            }
        }
        self.next_context = self.next_context.wrapping_add(1);
        Some(self.next_context.wrapping_sub(1))
    }

    /// The leader answered.
    pub(crate) fn answered(&mut self, context: u64, index: u64) {
        if let Some(asked) = self.asked.take_if(|asked| asked.context == context) {
            self.sure.push_back((index, asked.by));
        }
    }

    /// The reads that may be answered now that so much is applied.
    pub(crate) fn ready(&mut self, applied: u64) -> Vec<ReadId> {
        let mut ready = Vec::new();
        while let Some((_, reads)) = self.sure.pop_front_if(|(index, _)| *index <= applied) {
            ready.extend(reads);
        }
        ready
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.again_at)
    }
}
