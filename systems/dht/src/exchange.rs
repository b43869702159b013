//! Tables that travel: every key as the request that sets it, `SET key value` or `SET key value PXAT milliseconds`, in
//! RESP. So what is exported is read by `dht import` and by `redis-cli --pipe` alike, into any number of cores, and
//! lives as long there as here, because its end is a moment and not a distance.

use crate::keep::replay::Replay;
use machine::{Chance, Kept, WallTime};
use state::{Slot, Table};
pub use wire::Outcome;
use wire::resp::Limits;
pub use wire::resp::{Reader, Replies, Reply, ReplyLimits, write_request};

/// Before anything expires.
const THEN: WallTime = WallTime::from_micros(0);

/// Appends the request that sets a key.
pub fn write_set(into: &mut Vec<u8>, key: &[u8], value: &[u8], until: Option<WallTime>) {
    match until {
        None => write_request(into, &[b"SET", key, value]),
        Some(at) => {
            let mut digits = itoa::Buffer::new();
            let millis = digits.format(at.millis());
            write_request(into, &[b"SET", key, value, b"PXAT", millis.as_bytes()]);
        }
    }
}

/// Reads requests of at most the size that a server could be told to take.
#[must_use]
pub fn requests() -> Reader {
    Reader::new(Limits { bulk_max: VALUE_MAX, ..Limits::default() })
}

/// Reads replies with values of at most that size.
#[must_use]
pub fn replies() -> Replies {
    Replies::new(ReplyLimits { bulk_max: VALUE_MAX, ..ReplyLimits::default() })
}

/// The longest value, in bytes: the greatest that `--max-value` can be.
const VALUE_MAX: usize = 32 * 1024 * 1024;

/// All keys of a node, made again from what its cores have kept.
#[derive(Debug)]
pub struct Restored {
    table: Table,
    replay: Replay,
}

impl Default for Restored {
    fn default() -> Self {
        Self { table: Table::new(&mut Chance::new(0).stream("look-ups")), replay: Replay::default() }
    }
}

impl Restored {
    /// Takes in a piece, in the order in which they are told.
    pub fn take(&mut self, kept: Kept<'_>) {
        self.replay.take(kept, |_| true, &mut self.table);
    }

    /// Everything was told. Gives how many pieces hold what this program does not know.
    pub fn end(&mut self) -> u64 {
        let replay = core::mem::take(&mut self.replay);
        let unread = replay.unread;
        replay.end(&mut self.table);
        unread
    }

    /// Keys, those that have expired included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Visits every key with its value and its end, until the visitor says false.
    pub fn each(&self, mut visit: impl FnMut(&[u8], &[u8], Option<WallTime>) -> bool) {
        for slot in Slot::all() {
            let (mut cursor, mut goes_on) = (0, true);
            loop {
                cursor = self.table.scan(slot, cursor, THEN, |entry| {
                    goes_on = goes_on && visit(entry.key, entry.as_bytes(), entry.expiry);
                });
                if !goes_on {
                    return;
                }
                if cursor == 0 {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::effect::{Effect, Entries};

    #[test]
    fn what_was_kept_becomes_requests() {
        let mut entries = Entries::default();
        let until = Some(WallTime::from_millis(77));
        entries.effect(&Effect::Put { key: b"a", value: b"1 \r\n", until });
        entries.effect(&Effect::Put { key: b"b", value: b"2", until: None });
        entries.effect(&Effect::Del { key: b"b" });
        let mut restored = Restored::default();
        restored.take(Kept::Record(entries.bytes()));
        assert_eq!(restored.end(), 0);
        let mut bytes = Vec::new();
        restored.each(|key, value, until| {
            write_set(&mut bytes, key, value, until);
            true
        });
        assert_eq!(bytes, b"*5\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n1 \r\n\r\n$4\r\nPXAT\r\n$2\r\n77\r\n");
        let Outcome::Done { value, used } = requests().next(&bytes) else { panic!("it is a request") };
        assert_eq!((value.len(), used), (5, bytes.len()));
    }
}
