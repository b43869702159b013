//! A core's children, as the shard asks for them and the keeper tells of them. Their pipes become connections.

use crate::conn::Kind;
use crate::io::{Happening, Io};
use crate::keeper::KeeperSeat;
use crate::ring::{Op, Tag};
use machine::{ChildId, Command, Opened, PipeKind, Signal};

/// One core's way to its children.
pub(crate) struct Children {
    seat: Option<KeeperSeat>,
    /// Ids given without a keeper.
    refused: u64,
    /// Something was asked since the last flush.
    touched: bool,
    /// A poll for room in the keeper's socket is outstanding.
    awaiting_room: bool,
}

impl Children {
    pub(crate) fn new(seat: Option<KeeperSeat>) -> Self {
        Self { seat, refused: 0, touched: false, awaiting_room: false }
    }

    /// Asks for a child; the sentence says why there will be none.
    pub(crate) fn spawn(&mut self, command: &Command) -> (ChildId, Option<Box<str>>) {
        let Some(seat) = &mut self.seat else {
            self.refused += 1;
            return (
                ChildId(u64::MAX - self.refused),
                Some("this program was started without a keeper".into()),
            );
        };
        let child = seat.next_child();
        seat.spawn(child, command);
        self.touched = true;
        (child, None)
    }

    /// Takes over a child of the program before this one; the sentence says why that cannot be.
    pub(crate) fn adopt(&mut self, child: ChildId) -> Option<Box<str>> {
        let Some(seat) = &mut self.seat else {
            return Some("this program was started without a keeper".into());
        };
        seat.adopt(child);
        self.touched = true;
        None
    }

    pub(crate) fn signal(&mut self, child: ChildId, signal: Signal) {
        if let Some(seat) = &mut self.seat {
            seat.signal(child, signal);
            self.touched = true;
        }
    }

    /// Whether the keeper is gone, and with it every child: this program can keep none any more.
    pub(crate) fn are_lost(&self) -> bool {
        self.seat.as_ref().is_some_and(KeeperSeat::keeper_is_gone)
    }

    pub(crate) fn count(&self) -> usize {
        self.seat.as_ref().map_or(0, KeeperSeat::children)
    }
}

impl<Said> Io<Said> {
    /// Asks the ring to say when the keeper says something.
    pub(crate) fn watch_keeper(&mut self) {
        if let Some(seat) = &self.children.seat {
            self.ring.poll(seat.fd(), libc::POLLIN, Tag::new(Op::Keeper, 0, 0));
        }
    }

    /// Sends the keeper what this turn asked of it.
    pub(crate) fn flush_children(&mut self) {
        if !std::mem::take(&mut self.children.touched) {
            return;
        }
        let Some(seat) = &mut self.children.seat else { return };
        seat.flush();
        if seat.unsent() && !self.children.awaiting_room {
            self.children.awaiting_room = true;
            self.ring.poll(seat.fd(), libc::POLLOUT, Tag::new(Op::Keeper, 1, 0));
        }
        // What was refused on this side is told at once.
        self.take_keeper_events();
    }

    /// The keeper has something to say (0) or room to listen (1).
    pub(crate) fn hear_keeper(&mut self, which: u32) {
        if which == 1 {
            self.children.awaiting_room = false;
            self.children.touched = true;
            return;
        }
        self.take_keeper_events();
        if !self.children.are_lost() {
            self.watch_keeper();
        }
    }

    /// The shard is not told of children that ended with their keeper: that they were killed says nothing of what they
    /// did, and this program ends.
    fn take_keeper_events(&mut self) {
        while let Some(event) = self.children.seat.as_mut().and_then(KeeperSeat::receive) {
            if self.children.are_lost() {
                continue;
            }
            self.happenings.push_back(Happening::Child(event.child, event.what));
            for (pipe, fd) in event.pipes {
                let conn = self.settle_in(fd, Kind::Pipe, Opened::Pipe(event.child, pipe));
                if pipe == PipeKind::Input
                    && let Some(held) = self.conns.get_mut(conn.0)
                {
                    // Nothing ever comes from there.
                    held.paused = true;
                    self.watch_end(conn);
                }
            }
        }
    }
}
