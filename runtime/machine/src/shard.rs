//! The two sides of the seam. All calls are synchronous: a shard is borrowed for one event and says, through its
//! outbox, what is to be done about it; the world does it after the call, in the order of the turn.

use crate::blob::Blob;
use crate::chance::Chance;
use crate::event::{
    Address, ChildEvent, Close, Command, Dial, End, Kept, Link, Listening, Opened, Signal, Stored,
};
use crate::gauges::Gauges;
use crate::id::{ChildId, ConnId, CoreId, ListenerId, LogMark, NodeId, Peer, Seat, TimerId};
use crate::input::Input;
use crate::order::Order;
use crate::pipeline::{Piece, Ticket};
use crate::spent::Spent;
use crate::time::{Instant, Now};

/// One core's share of a system: pure state, told about the world, never asking.
///
/// A method with a body is for systems to which that cannot happen; the ones that panic are reached only by a
/// system that asked for it (a wake, a log, a child, a listener, a link) and then must say what follows.
pub trait Shard: Sized + 'static {
    /// As the operator meant it, the same on every core.
    type Config;
    /// What a core of this system says to another.
    type Said;
    /// The same as it arrives, read in the bytes that carried it.
    type Heard;

    /// The shard of this seat, empty.
    fn new(seat: Seat, config: &Self::Config, chance: Chance) -> Self;

    /// What was kept before the last end, piece by piece, before `on_start`.
    fn on_replay(&mut self, what: Kept<'_>) {
        let _ = what;
        unreachable!("a system that keeps nothing has nothing replayed");
    }

    /// The world is there. Once, before every other event but replay.
    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Self::Said>);

    /// A connection is open: accepted, dialled, or a child's pipe.
    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Self::Said>);

    /// Bytes have arrived.
    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Self::Said>,
    );

    /// These bytes have arrived, of several connections, and are about to be brought one after another: a look ahead for
    /// who wants to bring near what they will touch. It changes nothing, and what is seen here may never be brought.
    fn foresee(&self, coming: &[&[u8]]) {
        let _ = coming;
    }

    /// Its output fell under the low mark, having been over the high one.
    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Self::Said>) {
        let _ = (now, conn, out);
    }

    /// They have said all, or the connection is gone, or a dial failed. Not told of what the shard closed itself.
    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Self::Said>);

    /// Another core speaks. Messages of one peer come in the order in which it said them.
    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &Self::Heard,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Self::Said>,
    );

    /// A link to another node came up or went down.
    fn on_link(&mut self, now: Now, node: NodeId, link: Link, out: &mut impl Outbox<Said = Self::Said>) {
        let _ = (now, node, link, out);
        unreachable!("a system of one node has no links");
    }

    /// A timer is due.
    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Self::Said>) {
        let _ = (now, timer, out);
        unreachable!("a system that asks for no wake is not woken");
    }

    /// What was logged or saved is safe, or cannot be.
    fn on_stored(&mut self, now: Now, what: Stored, out: &mut impl Outbox<Said = Self::Said>) {
        let _ = (now, what, out);
        unreachable!("a system that logs nothing has nothing stored");
    }

    /// A child started, could not, or ended. It speaks through connections.
    fn on_child(
        &mut self,
        now: Now,
        child: ChildId,
        what: ChildEvent,
        out: &mut impl Outbox<Said = Self::Said>,
    ) {
        let _ = (now, child, what, out);
        unreachable!("a system that spawns nothing has no children");
    }

    /// A listener asked for is there, or cannot be.
    fn on_listen(
        &mut self,
        now: Now,
        listener: ListenerId,
        what: Listening,
        out: &mut impl Outbox<Said = Self::Said>,
    ) {
        let _ = (now, listener, what, out);
    }

    /// What every core of this node counts, by core: the answer to [`Outbox::gather`].
    fn on_gathered(
        &mut self,
        now: Now,
        ticket: Ticket,
        gauges: &[Gauges],
        out: &mut impl Outbox<Said = Self::Said>,
    ) {
        let _ = (now, ticket, gauges, out);
        unreachable!("a system that asks for no gauges is told none");
    }

    /// What a core of the process before this one said by [`Outbox::bequeath`]. Every core is told every core's, before
    /// `on_start`.
    fn on_legacy(&mut self, from: CoreId, legacy: &[u8]) {
        let _ = (from, legacy);
    }

    /// Another process of this program is to take over: say by [`Outbox::bequeath`], now or as soon as it can be said,
    /// what it must know. Everything goes on until the order to drain; what of this changes meanwhile is lost to the
    /// other.
    fn on_hand_over(&mut self, now: Now, out: &mut impl Outbox<Said = Self::Said>) {
        let _ = now;
        out.bequeath(&[]);
    }

    /// The other process did not come to serve: what was bequeathed is this shard's again.
    fn on_take_back(&mut self, now: Now, out: &mut impl Outbox<Said = Self::Said>) {
        let _ = (now, out);
    }

    /// The configuration was to be read again and cannot be; the sentence says why. All stays as it was.
    fn on_unread(&mut self, now: Now, why: &str, out: &mut impl Outbox<Said = Self::Said>) {
        let _ = (now, why, out);
    }

    /// The operator wants something.
    fn on_order(
        &mut self,
        now: Now,
        order: Order<'_, Self::Config>,
        out: &mut impl Outbox<Said = Self::Said>,
    );

    /// How long the event before this took, told after each: also when it was short, so what is done here should be.
    fn on_spent(&mut self, now: Now, what: Spent, out: &mut impl Outbox<Said = Self::Said>) {
        let _ = (now, what, out);
    }

    /// What can be counted here. The world adds its own, gathers all cores and shows them.
    fn gauges(&self, into: &mut Gauges);
}

/// What a shard may ask of the world. Nothing here fails or waits; the two `room`s answer from what this core
/// knows. What is asked of a connection that is gone, or was closed, is dropped without a word.
pub trait Outbox {
    /// What a core of this system says to another.
    type Said;

    /// Sends these bytes, copied once. When more than `output_max` waits the connection ends, [`Overfull`].
    ///
    /// [`Overfull`]: crate::Why::Overfull
    fn write(&mut self, conn: ConnId, bytes: &[u8]);

    /// Sends these bytes, not copied.
    fn write_blob(&mut self, conn: ConnId, blob: Blob);

    /// Sends a piece of an answer that a [`Pipeline`](crate::Pipeline) let go.
    fn write_piece(&mut self, conn: ConnId, piece: Piece<'_>) {
        match piece {
            Piece::Bytes(bytes) => self.write(conn, bytes),
            Piece::Blob(blob) => self.write_blob(conn, blob),
        }
    }

    /// How many bytes can be written before the high mark, over which a polite shard stops and waits for
    /// `on_room`. 0 for a connection that is gone.
    fn room(&self, conn: ConnId) -> usize;

    /// Bring nothing more of this connection for now; at most [`READ_SLACK`](crate::READ_SLACK) bytes still come.
    /// That they have said all is told after the last byte, so perhaps only after `resume`; that it is gone is told
    /// all the same, and what had not been brought is lost then.
    fn pause(&mut self, conn: ConnId);

    /// Bring again what arrives, beginning with what was not used.
    fn resume(&mut self, conn: ConnId);

    /// Send what waits, then say that all is said (FIN); what they say still comes.
    fn finish(&mut self, conn: ConnId);

    /// Ends the connection. Nothing more is told of it.
    fn close(&mut self, conn: ConnId, how: Close);

    /// Makes a connection; `on_open` or `on_end` always follows. It can be written to at once.
    fn dial(&mut self, dial: Dial) -> ConnId;

    /// Listens; `on_listen` follows. Cores of a node that listen at the same address share it, and each
    /// connection comes to the one that has fewest.
    fn listen(&mut self, at: Address) -> ListenerId;

    /// Says something to a core of this node (also to itself): in order, never lost.
    fn tell(&mut self, core: CoreId, said: Self::Said, blob: Option<Blob>);

    /// How many bytes can be told to that core before it has more waiting than it should. A system that talks
    /// without being asked looks here first and leaves the rest to `wake`.
    fn lane_room(&self, core: CoreId) -> usize;

    /// Says something to a core of another node: in order while the link lives, lost with it. Over `link_max`
    /// waiting bytes the link is cut. Without a link it is dropped.
    fn send(&mut self, node: NodeId, core: CoreId, said: Self::Said, blob: Option<Blob>);

    /// `on_timer` at that instant or soon after. Replaces this timer's earlier wake; none forgets it.
    fn wake(&mut self, timer: TimerId, at: Option<Instant>);

    /// Appends a record to this core's log; `on_stored` tells when everything before the mark is safe.
    fn log(&mut self, record: &[u8]) -> LogMark;

    /// Adds a part to the snapshot that is being made, beginning one where there is none.
    fn save(&mut self, part: &[u8]);

    /// How many bytes can be saved before more waits for the disk than should. Who saves much looks here first, and
    /// leaves the rest to `wake`.
    fn save_room(&self) -> usize {
        usize::MAX
    }

    /// Gives up the snapshot that is being made: what was saved since the last `saved` is forgotten, and the whole one
    /// before it stands.
    fn unsave(&mut self) {}

    /// The parts saved stand for everything logged before `upto`. When they are safe, `on_stored` tells, and
    /// that part of the log goes.
    fn saved(&mut self, upto: LogMark);

    /// Starts a process in a group of its own; `on_child` tells what became of it.
    fn spawn(&mut self, command: Command) -> ChildId;

    /// Signals a child's whole group. Of a child that ended, nothing happens.
    fn signal(&mut self, child: ChildId, signal: Signal);

    /// Takes over a child of the process before this one, with the id that it had there. `on_child` tells that it was
    /// started, or that it is no more, and later its end. Its pipes stay with the other process.
    fn adopt(&mut self, child: ChildId) {
        let _ = child;
    }

    /// What the process that takes over must know of this core: once for each [`Shard::on_hand_over`].
    fn bequeath(&mut self, legacy: &[u8]) {
        let _ = legacy;
    }

    /// Asks for the configuration to be read again, as the operator can by a signal. Every core is ordered to reload,
    /// or told by [`Shard::on_unread`] why not.
    fn reread(&mut self) {}

    /// Asks every core of this node, this one too, what it counts; `on_gathered` follows with the ticket, which the
    /// shard picks. Each core counts at some moment after this one. One that does not answer within a second has
    /// counted nothing. Costs every core a turn and a copy of its gauges, so it is for who looks, not for the path
    /// of a request.
    fn gather(&mut self, ticket: Ticket);

    /// All is finished here, by order or because the work is done. When every core has said so the program ends.
    fn drained(&mut self);
}
