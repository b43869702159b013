//! A world that only writes down what the nouns of core 0 ask of it: for what must hold at every cut of what comes from
//! outside.

use balancer::peer::Said;
use machine::id::Key;
use machine::{
    Address, Blob, ChildId, Close, Command, ConnId, CoreId, Dial, Instant, ListenerId, LogMark, NodeId,
    Outbox, Signal, Ticket, TimerId,
};
use std::collections::BTreeMap;

/// What is open, with what was written to it.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) open: BTreeMap<ConnId, Vec<u8>>,
    dialled: u32,
}

impl Desk {
    /// The connection of this number among those that are open, counted around.
    pub(crate) fn nth(&self, number: usize) -> Option<ConnId> {
        let count = self.open.len();
        self.open.keys().nth(number.checked_rem(count)?).copied()
    }
}

impl Outbox for Desk {
    type Said = Said;

    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        self.open.get_mut(&conn).expect("nothing is said after the end").extend_from_slice(bytes);
    }
    fn write_blob(&mut self, conn: ConnId, blob: Blob) {
        self.write(conn, &blob);
    }
    fn room(&self, _: ConnId) -> usize {
        usize::MAX
    }
    fn pause(&mut self, _: ConnId) {}
    fn resume(&mut self, _: ConnId) {}
    fn finish(&mut self, _: ConnId) {}
    fn close(&mut self, conn: ConnId, _: Close) {
        // Who was told that a connection has ended may close it all the same.
        self.open.remove(&conn);
    }
    fn dial(&mut self, _: Dial) -> ConnId {
        self.dialled += 1;
        let conn = ConnId(Key { index: self.dialled, generation: 1 });
        self.open.insert(conn, Vec::new());
        conn
    }
    fn listen(&mut self, _: Address) -> ListenerId {
        unreachable!("the desk has no listeners")
    }
    fn tell(&mut self, _: CoreId, _: Said, _: Option<Blob>) {}
    fn lane_room(&self, _: CoreId) -> usize {
        usize::MAX
    }
    fn send(&mut self, _: NodeId, _: CoreId, _: Said, _: Option<Blob>) {
        unreachable!("a balancer has one node")
    }
    fn wake(&mut self, _: TimerId, _: Option<Instant>) {}
    fn log(&mut self, _: &[u8]) -> LogMark {
        unreachable!("a balancer logs nothing")
    }
    fn save(&mut self, _: &[u8]) {}
    fn saved(&mut self, _: LogMark) {}
    fn spawn(&mut self, _: Command) -> ChildId {
        unreachable!("neither an engine nor a probe starts a process")
    }
    fn signal(&mut self, _: ChildId, _: Signal) {}
    fn gather(&mut self, _: Ticket) {}
    fn drained(&mut self) {}
}
