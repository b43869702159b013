//! A world of one connection that only writes down what is said: for what must hold at every cut of the input.

use machine::{
    Address, Blob, ChildId, Close, Command, ConnId, CoreId, Dial, Instant, ListenerId, LogMark, NodeId,
    Outbox, Signal, Ticket, TimerId,
};

/// What was said.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// All that was written.
    pub(crate) said: Vec<u8>,
    /// How it was closed.
    pub(crate) closed: Option<Close>,
    /// Whether it takes no input for now.
    pub(crate) is_paused: bool,
    /// When the face is to be woken.
    pub(crate) wake: Option<Instant>,
    /// Gatherings asked for.
    pub(crate) gathers: usize,
    /// Bytes that may still be written before there is no room.
    pub(crate) room: usize,
}

impl Outbox for Desk {
    type Said = ();

    fn write(&mut self, _: ConnId, bytes: &[u8]) {
        assert!(self.closed.is_none() || bytes.is_empty(), "nothing is said after the end");
        self.said.extend_from_slice(bytes);
    }
    fn write_blob(&mut self, conn: ConnId, blob: Blob) {
        self.write(conn, &blob);
    }
    fn room(&self, _: ConnId) -> usize {
        if self.closed.is_some() { 0 } else { self.room.saturating_sub(self.said.len()) }
    }
    fn pause(&mut self, _: ConnId) {
        self.is_paused = true;
    }
    fn resume(&mut self, _: ConnId) {
        self.is_paused = false;
    }
    fn finish(&mut self, _: ConnId) {}
    fn close(&mut self, _: ConnId, how: Close) {
        assert!(self.closed.is_none(), "it is closed once");
        self.closed = Some(how);
    }
    fn dial(&mut self, _: Dial) -> ConnId {
        unreachable!("a face dials nobody")
    }
    fn listen(&mut self, _: Address) -> ListenerId {
        unreachable!("a face has no listeners of its own")
    }
    fn tell(&mut self, _: CoreId, (): (), _: Option<Blob>) {
        unreachable!("a face speaks to no core")
    }
    fn lane_room(&self, _: CoreId) -> usize {
        usize::MAX
    }
    fn send(&mut self, _: NodeId, _: CoreId, (): (), _: Option<Blob>) {
        unreachable!("a face speaks to no node")
    }
    fn wake(&mut self, timer: TimerId, at: Option<Instant>) {
        assert_eq!(timer, web::TIMER);
        self.wake = at;
    }
    fn log(&mut self, _: &[u8]) -> LogMark {
        unreachable!("a face logs nothing")
    }
    fn save(&mut self, _: &[u8]) {}
    fn saved(&mut self, _: LogMark) {}
    fn spawn(&mut self, _: Command) -> ChildId {
        unreachable!("a face has no children")
    }
    fn signal(&mut self, _: ChildId, _: Signal) {}
    fn gather(&mut self, ticket: Ticket) {
        assert_eq!(ticket, web::TICKET);
        self.gathers += 1;
    }
    fn drained(&mut self) {}
}
