//! The connections of a core, each lent for the event at hand.

use crate::session::Session;
use machine::ConnId;

/// Sessions by the place of their connection, which is small and used again.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    places: Vec<Option<Box<Session>>>,
    count: usize,
}

impl Sessions {
    pub(crate) fn insert(&mut self, session: Box<Session>) {
        let index = session.conn.index();
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        self.places[index] = Some(session);
        self.count += 1;
    }

    /// The session, to be put back or forgotten.
    pub(crate) fn take(&mut self, conn: ConnId) -> Option<Box<Session>> {
        let place = self.places.get_mut(conn.index())?;
        place.take_if(|session| session.conn == conn)
    }

    pub(crate) fn put_back(&mut self, session: Box<Session>) {
        let index = session.conn.index();
        self.places[index] = Some(session);
    }

    /// What was taken does not come back.
    pub(crate) fn forget(&mut self, session: Box<Session>) {
        drop(session);
        self.count -= 1;
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&Session> {
        self.places.get(conn.index())?.as_deref().filter(|session| session.conn == conn)
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.places.get_mut(conn.index())?.as_deref_mut().filter(|session| session.conn == conn)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn conns(&self) -> Vec<ConnId> {
        self.places.iter().flatten().map(|session| session.conn).collect()
    }
}
