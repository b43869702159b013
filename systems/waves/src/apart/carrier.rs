//! The outbox that the waves of a member see: what they say to other cores becomes an errand, the rest is the world's.

use super::Errand;
use crate::peer::Said;
use machine::{
    Address, Blob, ChildId, Close, Command, ConnId, CoreId, Dial, Instant, ListenerId, LogMark, NodeId,
    Outbox, Signal, Ticket, TimerId,
};
use std::collections::VecDeque;

pub(super) struct Carrier<'a, O> {
    pub(super) out: &'a mut O,
    pub(super) errands: &'a mut VecDeque<Errand>,
    pub(super) is_drained: &'a mut bool,
}

impl<O: Outbox<Said = Said>> Outbox for Carrier<'_, O> {
    type Said = Said;

    fn tell(&mut self, core: CoreId, said: Said, blob: Option<Blob>) {
        self.errands.push_back(Errand::To(core.0, said, blob));
    }

    /// A member is drained when its children are gone, too.
    fn drained(&mut self) {
        *self.is_drained = true;
    }

    fn lane_room(&self, _core: CoreId) -> usize {
        usize::MAX
    }

    fn send(&mut self, node: NodeId, core: CoreId, said: Said, blob: Option<Blob>) {
        self.out.send(node, core, said, blob);
    }

    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        self.out.write(conn, bytes);
    }

    fn write_blob(&mut self, conn: ConnId, blob: Blob) {
        self.out.write_blob(conn, blob);
    }

    fn room(&self, conn: ConnId) -> usize {
        self.out.room(conn)
    }

    fn pause(&mut self, conn: ConnId) {
        self.out.pause(conn);
    }

    fn resume(&mut self, conn: ConnId) {
        self.out.resume(conn);
    }

    fn finish(&mut self, conn: ConnId) {
        self.out.finish(conn);
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        self.out.close(conn, how);
    }

    fn dial(&mut self, dial: Dial) -> ConnId {
        self.out.dial(dial)
    }

    fn listen(&mut self, at: Address) -> ListenerId {
        self.out.listen(at)
    }

    fn wake(&mut self, timer: TimerId, at: Option<Instant>) {
        self.out.wake(timer, at);
    }

    fn log(&mut self, record: &[u8]) -> LogMark {
        self.out.log(record)
    }

    fn save(&mut self, part: &[u8]) {
        self.out.save(part);
    }

    fn saved(&mut self, upto: LogMark) {
        self.out.saved(upto);
    }

    fn spawn(&mut self, command: Command) -> ChildId {
        self.out.spawn(command)
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        self.out.signal(child, signal);
    }

    fn gather(&mut self, ticket: Ticket) {
        self.out.gather(ticket);
    }
}
