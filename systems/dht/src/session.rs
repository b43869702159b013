//! A client's connection, as this core knows it: what it speaks, who it says it is, what it waits for.
//!
//! The one hard thing is when a connection may be read, held back or ended, as several reasons overlap: answers
//! outstanding, an output that is full, an end that was asked for by either side. Each is a plain fact here, and
//! [`Session::is_full`] and [`Session::is_over`] are the only places where they are put together.

use crate::command::Mute;
use crate::config::Limits;
use crate::gather::Sum;
use crate::peer::Told;
use crate::reply::Shape;
use machine::{Address, Blob, ConnId, Instant, Pipeline, Ticket};
use std::collections::VecDeque;
use std::net::SocketAddr;
use wire::resp::{self, Reader, Version};

/// One connection.
#[derive(Debug)]
pub struct Session {
    /// Its id in this world.
    pub conn: ConnId,
    /// What it speaks.
    pub speaks: Speaks,
    /// What it waits for.
    pub pipeline: Pipeline,
    /// Answers that came while its output was full, in the order in which they came: at most `places_max`.
    pub late: VecDeque<Late>,
    /// Nothing is read: it has too much outstanding.
    pub is_paused: bool,
    /// There is input that was not used because it was full; it comes again after a resume, also after an end.
    pub has_left: bool,
    /// How many bytes of input it was shown and has not used.
    pub left: usize,
    /// As many bytes, which were read before a drain began, are still carried out.
    pub owed: usize,
    /// They have said all.
    pub is_half: bool,
    /// Nothing more is read, and it ends when everything is answered.
    pub is_closing: bool,
    /// A deal of it is not announced to all cores yet; nothing more is read until it is.
    pub is_dealing: bool,
    /// It is another node, which asks for keys of ours alone.
    pub is_node: bool,
    /// It came by this core's own port.
    pub is_core: bool,
    /// It has yet to say who it is.
    pub is_stranger: bool,
    /// Whether it hears answers.
    pub mute: Mute,
    /// When it last asked.
    pub asked: Instant,
    /// Its last command, as its place in the table.
    pub last: Option<usize>,
    /// What is told about it and seldom needed; apart, so that a request does not touch it.
    pub about: Box<About>,
}

/// What a connection speaks.
#[derive(Debug)]
pub enum Speaks {
    /// RESP.
    Resp {
        /// Reads requests.
        reader: Reader,
        /// The version replies are told in.
        version: Version,
    },
    /// Framed text.
    Frames,
}

/// What is known of a client.
#[derive(Debug)]
pub struct About {
    /// Its number, unique on this node while it runs.
    pub number: u64,
    /// Where it is.
    pub from: Address,
    /// Where it came to, if that is one address.
    pub at: Option<SocketAddr>,
    /// Who it is.
    pub user: Box<str>,
    /// What it calls itself.
    pub name: Box<[u8]>,
    /// Its library.
    pub library: Box<[u8]>,
    /// Its library's version.
    pub library_version: Box<[u8]>,
    /// Since when.
    pub since: Instant,
}

/// An answer that waits for room.
#[derive(Debug)]
pub struct Late {
    /// Its place.
    pub ticket: Ticket,
    /// How it is told.
    pub shape: Shape,
    /// The answer.
    pub answer: Answer,
}

/// An answer that came from elsewhere.
#[derive(Debug)]
pub enum Answer {
    /// Of the owner of one key.
    One(Told, Option<Blob>),
    /// Put together from several cores.
    Gathered(Sum),
}

impl Session {
    /// A new connection that speaks RESP, version 2 until it says otherwise.
    #[must_use]
    pub fn resp(conn: ConnId, about: About, limits: &Limits) -> Self {
        let reader = Reader::new(resp::Limits {
            bulk_max: limits.value_max,
            request_max: limits.request_max,
            ..resp::Limits::default()
        });
        Self::new(conn, about, Speaks::Resp { reader, version: Version::Two })
    }

    /// A new connection that speaks framed text.
    #[must_use]
    pub fn frames(conn: ConnId, about: About) -> Self {
        Self::new(conn, about, Speaks::Frames)
    }

    fn new(conn: ConnId, about: About, speaks: Speaks) -> Self {
        Self {
            conn,
            speaks,
            pipeline: Pipeline::new(),
            late: VecDeque::new(),
            is_paused: false,
            has_left: false,
            left: 0,
            owed: 0,
            is_half: false,
            is_closing: false,
            is_dealing: false,
            is_node: false,
            is_core: false,
            is_stranger: false,
            mute: Mute::Off,
            asked: about.since,
            last: None,
            about: Box::new(about),
        }
    }

    /// The version of RESP it speaks; 2 where it speaks none.
    #[must_use]
    pub fn version(&self) -> Version {
        match self.speaks {
            Speaks::Resp { version, .. } => version,
            Speaks::Frames => Version::Two,
        }
    }

    /// Its last command's place in the table, as cores tell it each other.
    #[must_use]
    #[inline]
    pub fn command(&self) -> u8 {
        self.last.map_or(0, |index| index as u8)
    }

    /// How an answer to what it asks now is told.
    #[must_use]
    #[inline]
    pub fn shape(&self) -> Shape {
        match self.mute {
            Mute::Off | Mute::SkipNext => Shape::from(self.version()),
            Mute::On | Mute::Skip => Shape::Silent,
        }
    }

    /// From now on it has to say who it is before anything else, or has said it.
    pub fn set_stranger(&mut self, is_stranger: bool) {
        self.is_stranger = is_stranger;
        if let Speaks::Resp { reader, .. } = &mut self.speaks {
            reader.set_limits(resp::Limits { stranger: is_stranger, ..reader.limits() });
        }
    }

    /// Bytes that it is taken to cost: itself, its name, and the answers that wait here.
    #[must_use]
    pub fn cost(&self) -> usize {
        let about = &self.about;
        let names = about.name.len() + about.library.len() + about.library_version.len();
        size_of::<Self>() + size_of::<About>() + names + self.pipeline.held()
    }

    /// From now on it speaks this version.
    pub fn speak(&mut self, wanted: Version) {
        if let Speaks::Resp { version, .. } = &mut self.speaks {
            *version = wanted;
        }
    }

    /// Whether so much is outstanding that nothing more should be read.
    #[must_use]
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.pipeline.len() >= limits.places_max || self.pipeline.held() >= limits.held_max
    }

    /// Whether so little is outstanding that a full connection may be read again.
    #[must_use]
    pub fn has_drained(&self, limits: &Limits) -> bool {
        self.late.is_empty()
            && self.pipeline.len() <= limits.places_max / 2
            && self.pipeline.held() <= limits.held_max / 2
    }

    /// Whether all that will ever be asked here is answered.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.pipeline.is_idle() && (self.is_closing || (self.is_half && !self.has_left))
    }

    /// Its line of CLIENT LIST, without a line end.
    #[must_use]
    pub fn line(&self, now: Instant, core: u16) -> String {
        let about = &self.about;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let seconds = |since: Instant| now.since(since).as_secs();
        let last = self.last.map_or("NULL", |index| crate::command::COMMANDS[index].name);
        let resp = match self.version() {
            Version::Two => 2,
            Version::Three => 3,
        };
        format!(
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 watch=0 \
             qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 obl=0 oll={} omem={} tot-mem={} events=r cmd={last} user={} \
             redir=-1 resp={resp} lib-name={} lib-ver={} pipeline={} core={core}",
            about.number,
            about.from,
            about.at.map_or_else(String::new, |at| at.to_string()),
            text(&about.name),
            seconds(about.since),
            seconds(self.asked),
            self.late.len(),
            self.pipeline.held(),
            self.cost(),
            about.user,
            text(&about.library),
            text(&about.library_version),
            self.pipeline.len(),
        )
    }
}

/// The connections of a core, by the small index of their ids.
#[derive(Debug, Default)]
pub struct Sessions {
    places: Vec<Option<Box<Session>>>,
    len: usize,
}

impl Sessions {
    /// How many there are, the one that is taken out for a moment included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one.
    pub fn insert(&mut self, session: Session) {
        let index = session.conn.index();
        if index >= self.places.len() {
            self.places.resize_with(index + 1, || None);
        }
        if self.places[index].replace(Box::new(session)).is_none() {
            self.len += 1;
        }
    }

    /// Takes one out to work on it; [`put_back`](Self::put_back) or [`forget`](Self::forget) must follow.
    #[inline]
    pub fn take(&mut self, conn: ConnId) -> Option<Box<Session>> {
        let place = self.places.get_mut(conn.index())?;
        if place.as_ref()?.conn == conn { place.take() } else { None }
    }

    /// Puts it back.
    #[inline]
    pub fn put_back(&mut self, session: Box<Session>) {
        let index = session.conn.index();
        self.places[index] = Some(session);
    }

    /// One that was taken out does not come back.
    pub fn forget(&mut self, session: Box<Session>) {
        drop(session);
        self.len -= 1;
    }

    /// All of them, by place.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.places.iter().flatten().map(|session| &**session)
    }

    /// Their ids.
    #[must_use]
    pub fn conns(&self) -> Vec<ConnId> {
        self.iter().map(|session| session.conn).collect()
    }
}
