//! A core's last words: what it does after the last turn, so that nothing that was said is lost for want of a moment
//! and nothing is freed under the kernel's hands.

use crate::clock;
use crate::turn::Core;
use machine::{ConnId, Shard};
use std::time::Duration;
use wire::peer::Message;

/// How long a core that was told to stop goes on sending what it had said.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The same for what it had logged.
const LAST_SYNC: Duration = Duration::from_secs(5);

impl<S> Core<S>
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    /// After the last turn: what was said is still sent and what was logged still stored, for as long as somebody
    /// takes it, in bounds. Then everything the kernel holds of ours is asked back, so that nothing is freed under
    /// its hands.
    pub(crate) fn last_words(&mut self) {
        let (said, safe) = (clock::instant() + LAST_WORDS, clock::instant() + LAST_SYNC);
        self.drain_until(|core| {
            let unsent = core.io.conns.iter().any(|(_, held)| held.is_unsent()) && clock::instant() < said;
            let unsafe_yet = !core.io.store.is_done() && clock::instant() < safe;
            unsent || unsafe_yet
        });
        self.io.store.tell_lost(self.io.seat.core);
        self.io.stop_listening();
        self.io.is_ending = true;
        self.io.conns.keys().into_iter().for_each(|key| self.io.kill(ConnId(key)));
        let gone = clock::instant() + LAST_WORDS;
        self.drain_until(|core| {
            core.io.store.is_in_flight() || (!core.io.conns.is_empty() && clock::instant() < gone)
        });
    }

    fn drain_until(&mut self, mut goes_on: impl FnMut(&Self) -> bool) {
        loop {
            self.io.now = clock::now();
            self.flush();
            if !goes_on(self) {
                return;
            }
            self.io.ring.enter(Some(Duration::from_millis(1)));
            self.complete();
        }
    }
}
