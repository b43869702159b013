//! The connections of one core: what each has been asked and not answered, and which has room for more. Room is
//! given in turn, the longest free first, so that load is spread and a connection that was free when a request
//! was due is the one that carries it.

use crate::plan::Load;
use crate::protocol::{Answer, Reader};
use crate::tally::Kind;
use crate::workload::{Checked, Operation, Verb, check_value};
use machine::{ConnId, Instant};
use std::collections::VecDeque;

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it was due.
    pub due: Instant,
    /// When it was due and its connection had room: what is lost after that is lost by us.
    pub ready: Instant,
    /// When it was first written.
    pub sent: Instant,
    /// What it does.
    pub operation: Operation,
    /// Why it was asked.
    pub role: Role,
    /// Whether it counts.
    pub measured: bool,
    /// How often it was sent on to another node.
    pub legs: u8,
}

/// Why something was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To see whether somebody is there.
    Greeting,
    /// To be let in with the request that follows.
    Asking,
    /// For what it does.
    Request,
}

/// What became of a right request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It did what it should.
    Done,
    /// There is no such key, which may be.
    Miss,
}

impl Asked {
    /// Whether this answer is right.
    ///
    /// # Errors
    /// The kind of failure, when it is not.
    pub fn judge(&self, answer: Answer<'_>, load: &Load) -> Result<Right, Kind> {
        let key = self.operation.key;
        match (self.operation.verb, answer) {
            (_, Answer::Refused(_)) => Err(Kind::Refused),
            (_, Answer::Right) => Ok(Right::Done),
            (_, Answer::WrongStatus(_)) => Err(Kind::WrongStatus),
            (_, Answer::WrongBody) => Err(Kind::WrongValue),
            (Verb::Get, Answer::Value(_)) if !load.check => Ok(Right::Done),
            (Verb::Get, Answer::Value(value)) => match check_value(value, key, &load.values) {
                Checked::Right => Ok(Right::Done),
                Checked::WrongLength => Err(Kind::WrongLength),
                Checked::WrongKey => Err(Kind::WrongKey),
                Checked::WrongBytes => Err(Kind::WrongValue),
            },
            (Verb::Get, Answer::Nothing) if load.every_key_exists() => Err(Kind::Missing),
            (Verb::Get | Verb::Del, Answer::Nothing) => Ok(Right::Miss),
            (Verb::Set | Verb::Del, Answer::Done) => Ok(Right::Done),
            (Verb::Get, Answer::Done)
            | (Verb::Set, Answer::Nothing)
            | (Verb::Set | Verb::Del, Answer::Value(_))
            | (_, Answer::Strange) => Err(Kind::WrongKind),
        }
    }
}

/// One place for a connection. Its number decides target and source, so a new tenant goes where the old one went.
#[derive(Debug)]
struct Session {
    /// The node it leads to; 0 where there is only one kind.
    group: u16,
    conn: Option<ConnId>,
    open: bool,
    dialled_at: Instant,
    reader: Reader,
    in_flight: VecDeque<Asked>,
    /// Since when it has had room.
    free_at: Instant,
    /// Whether it stands in the queue of those with room.
    queued: bool,
}

/// All connections of one core.
#[derive(Debug)]
pub struct Sessions {
    places: Vec<Session>,
    /// The place of each connection, by its index.
    by_conn: Vec<u32>,
    groups: Vec<Group>,
    depth: usize,
    open: usize,
    in_flight: usize,
}

/// The places that lead to one node.
#[derive(Debug, Default)]
struct Group {
    /// Those that had room when they came here, the longest free first.
    free: VecDeque<u32>,
    open: usize,
}

impl Sessions {
    /// This many places, nobody connected, `depth` requests in flight on each at most; they go round so many groups.
    ///
    /// # Panics
    /// When there is no group.
    #[must_use]
    pub fn new(load: &Load, places: usize, depth: usize, groups: usize) -> Self {
        let mut sessions = Self {
            places: Vec::with_capacity(places),
            by_conn: Vec::with_capacity(places),
            groups: Vec::new(),
            depth,
            open: 0,
            in_flight: 0,
        };
        (0..groups).for_each(|_| sessions.groups.push(Group::default()));
        (0..places).for_each(|place| sessions.add(load, (place % groups) as u16));
        sessions.groups.iter_mut().for_each(|group| group.free.reserve(places / groups + 1));
        sessions
    }

    /// A group more, of so many places; gives the first of them.
    pub fn grow(&mut self, load: &Load, places: usize) -> u32 {
        let first = self.places.len() as u32;
        self.groups.push(Group::default());
        let group = (self.groups.len() - 1) as u16;
        (0..places).for_each(|_| self.add(load, group));
        first
    }

    fn add(&mut self, load: &Load, group: u16) {
        self.places.push(Session {
            group,
            conn: None,
            open: false,
            dialled_at: Instant::ZERO,
            reader: load.dialect.reader(),
            in_flight: VecDeque::with_capacity(self.depth),
            free_at: Instant::ZERO,
            queued: false,
        });
    }

    /// How many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// How many requests may be in flight on all.
    #[must_use]
    pub fn room(&self) -> usize {
        self.places.len() * self.depth
    }

    /// The group of this place.
    #[must_use]
    pub fn group(&self, place: u32) -> u16 {
        self.places[place as usize].group
    }

    /// The group, or where it has no open connection, the next that has one.
    #[must_use]
    pub fn group_open(&self, group: u16) -> u16 {
        let all = self.groups.len();
        let round = (0..all).map(|step| (usize::from(group) + step) % all);
        round.into_iter().find(|group| self.groups[*group].open > 0).map_or(group, |group| group as u16)
    }

    /// How many requests may be in flight on a connection from now on. Only while none is.
    pub fn set_depth(&mut self, depth: usize) {
        assert_eq!(self.in_flight, 0, "the depth changes between stages");
        self.depth = depth;
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The place of this connection.
    #[must_use]
    pub fn place_of(&self, conn: ConnId) -> Option<u32> {
        let place = *self.by_conn.get(conn.index())?;
        (self.places.get(place as usize)?.conn == Some(conn)).then_some(place)
    }

    /// The connection at this place.
    #[must_use]
    pub fn conn(&self, place: u32) -> Option<ConnId> {
        self.places[place as usize].conn
    }

    /// Whether the connection of this place is open.
    #[must_use]
    pub fn is_open(&self, place: u32) -> bool {
        self.places[place as usize].open
    }

    /// The reader of this place's connection.
    pub fn reader(&mut self, place: u32) -> &mut Reader {
        &mut self.places[place as usize].reader
    }

    /// A connection is being made for this place.
    pub fn dialled(&mut self, place: u32, conn: ConnId, now: Instant) {
        if self.by_conn.len() <= conn.index() {
            self.by_conn.resize(conn.index() + 1, u32::MAX);
        }
        self.by_conn[conn.index()] = place;
        let session = &mut self.places[place as usize];
        session.conn = Some(conn);
        session.dialled_at = now;
    }

    /// It is open, and has room unless it is being greeted. Gives when it was dialled.
    pub fn opened(&mut self, place: u32, load: &Load, greeting: Option<Asked>, now: Instant) -> Instant {
        let session = &mut self.places[place as usize];
        session.open = true;
        session.reader = load.dialect.reader();
        session.free_at = now;
        session.in_flight.extend(greeting);
        self.open += 1;
        self.groups[usize::from(session.group)].open += 1;
        self.in_flight += usize::from(greeting.is_some());
        if greeting.is_none() {
            self.offer(place);
        }
        self.places[place as usize].dialled_at
    }

    /// The connection of this place is no more. Gives whether it had been open, and what was in flight on it.
    pub fn ended(&mut self, place: u32) -> (bool, impl Iterator<Item = Asked> + '_) {
        let session = &mut self.places[place as usize];
        let was_open = core::mem::take(&mut session.open);
        session.conn = None;
        self.open -= usize::from(was_open);
        self.groups[usize::from(session.group)].open -= usize::from(was_open);
        self.in_flight -= session.in_flight.len();
        (was_open, session.in_flight.drain(..))
    }

    /// The connection of this group that has had room for longest, with its place and since when.
    #[inline]
    pub fn first_free(&mut self, group: u16) -> Option<(u32, ConnId, Instant)> {
        let free = &mut self.groups[usize::from(group)].free;
        while let Some(&place) = free.front() {
            let session = &mut self.places[place as usize];
            match session.conn {
                Some(conn) if session.open && session.in_flight.len() < self.depth => {
                    return Some((place, conn, session.free_at));
                }
                _ => {
                    session.queued = false;
                    free.pop_front();
                }
            }
        }
        None
    }

    /// This was asked on the connection that [`Sessions::first_free`] gave; the next one's turn comes.
    pub fn asked(&mut self, place: u32, asked: Asked) {
        let session = &mut self.places[place as usize];
        session.in_flight.push_back(asked);
        session.queued = false;
        self.in_flight += 1;
        let first = self.groups[usize::from(session.group)].free.pop_front();
        debug_assert_eq!(first, Some(place), "requests go to the first that is free");
        self.offer(place);
    }

    /// Asked on this connection too, beside what it may have room for: what lets the next request in.
    pub fn asked_beside(&mut self, place: u32, asked: Asked) {
        self.places[place as usize].in_flight.push_back(asked);
        self.in_flight += 1;
    }

    /// A reply came here, received then: what it answers. None when nothing was asked. `flushed` is when the
    /// connection's output last went to the kernel: the exact time of sending for the last request in flight.
    pub fn answered(&mut self, place: u32, received: Instant, flushed: Option<Instant>) -> Option<Asked> {
        let session = &mut self.places[place as usize];
        let mut asked = session.in_flight.pop_front()?;
        self.in_flight -= 1;
        if let (true, 0, Some(flushed)) = (session.in_flight.is_empty(), asked.legs, flushed) {
            asked.sent = asked.sent.max(flushed);
        }
        session.free_at = received;
        self.offer(place);
        Some(asked)
    }

    /// The first place from `from` on whose oldest request was sent before `then`.
    #[must_use]
    pub fn overdue(&self, from: u32, then: Instant) -> Option<u32> {
        let late = |session: &Session| session.in_flight.front().is_some_and(|asked| asked.sent < then);
        let found = self.places[from as usize..].iter().position(late)?;
        Some(from + found as u32)
    }

    fn offer(&mut self, place: u32) {
        let session = &mut self.places[place as usize];
        if session.open && !session.queued && session.in_flight.len() < self.depth {
            session.queued = true;
            self.groups[usize::from(session.group)].free.push_back(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Mix;
    use crate::workload::write_value;
    use machine::slab::Slab;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn asked(verb: Verb) -> Asked {
        let operation = Operation { verb, key: 3, version: 9 };
        let role = Role::Request;
        Asked { due: at(0), ready: at(0), sent: at(0), operation, role, measured: true, legs: 0 }
    }

    #[test]
    fn answers_are_judged_by_what_was_asked() {
        let load = Load::default();
        let deletes = Load { mix: Mix { get: 1, set: 1, del: 1 }, ..Load::default() };
        let mut value = Vec::new();
        write_value(&mut value, 3, 9, load.values.most());
        let mut other = Vec::new();
        write_value(&mut other, 4, 9, load.values.most());
        let check = |verb, answer, load: &Load, expected| {
            assert_eq!(asked(verb).judge(answer, load), expected, "{verb:?} {answer:?}");
        };
        check(Verb::Get, Answer::Value(&value), &load, Ok(Right::Done));
        check(Verb::Get, Answer::Value(&other), &load, Err(Kind::WrongKey));
        check(Verb::Get, Answer::Value(&value[1..]), &load, Err(Kind::WrongLength));
        check(Verb::Get, Answer::Value(&[b'x'; 32]), &load, Err(Kind::WrongValue));
        check(Verb::Get, Answer::Nothing, &load, Err(Kind::Missing));
        check(Verb::Get, Answer::Nothing, &deletes, Ok(Right::Miss));
        check(Verb::Get, Answer::Done, &load, Err(Kind::WrongKind));
        check(Verb::Set, Answer::Done, &load, Ok(Right::Done));
        check(Verb::Set, Answer::Value(&value), &load, Err(Kind::WrongKind));
        check(Verb::Set, Answer::Refused(b"OOM"), &load, Err(Kind::Refused));
        check(Verb::Del, Answer::Nothing, &deletes, Ok(Right::Miss));
    }

    #[test]
    fn room_is_given_in_turn_and_never_beyond_the_depth() {
        let load = Load::default();
        let mut conns = Slab::new();
        let mut sessions = Sessions::new(&load, 3, 2, 1);
        for place in 0..3 {
            sessions.dialled(place, ConnId(conns.insert(())), at(1));
            assert_eq!(sessions.opened(place, &load, None, at(2)), at(1));
        }
        let mut order = Vec::new();
        while let Some((place, ..)) = sessions.first_free(0) {
            sessions.asked(place, asked(Verb::Get));
            order.push(place);
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
        assert!(sessions.answered(1, at(7), Some(at(5))).is_some_and(|asked| asked.sent == at(0)));
        assert!(sessions.answered(1, at(9), Some(at(5))).is_some_and(|asked| asked.sent == at(5)));
        assert!(sessions.answered(1, at(9), None).is_none());
        assert_eq!(sessions.first_free(0).map(|(place, _, since)| (place, since)), Some((1, at(9))));
        let conn = sessions.conn(1).unwrap();
        assert_eq!(sessions.ended(1).1.count(), 0);
        assert_eq!(sessions.place_of(conn), None);
        assert!(sessions.first_free(0).is_none());
        assert_eq!((sessions.open(), sessions.in_flight()), (2, 4));
    }

    #[test]
    fn groups_have_room_of_their_own() {
        let load = Load::default();
        let mut conns = Slab::new();
        let mut sessions = Sessions::new(&load, 3, 1, 2);
        assert_eq!(sessions.grow(&load, 1), 3);
        assert_eq!([0, 1, 2, 3].map(|place| sessions.group(place)), [0, 1, 0, 2]);
        let conn = ConnId(conns.insert(()));
        sessions.dialled(1, conn, at(1));
        sessions.opened(1, &load, None, at(2));
        assert!(sessions.first_free(0).is_none() && sessions.first_free(1).is_some());
        assert_eq!([0, 1, 2].map(|group| sessions.group_open(group)), [1, 1, 1]);
        assert_eq!(sessions.room(), 4);
        assert!(sessions.ended(1).0);
        assert_eq!(sessions.group_open(2), 2);
    }
}
