//! Connections by their number, each in a place of its own that is looked up by an index and not searched.

use machine::ConnId;

/// Things by connection.
#[derive(Debug)]
pub(crate) struct Places<T> {
    places: Vec<Option<(ConnId, Box<T>)>>,
    count: usize,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { places: Vec::new(), count: 0 }
    }
}

impl<T> Places<T> {
    pub(crate) fn insert(&mut self, conn: ConnId, value: T) {
        let index = conn.index();
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        let before = self.places[index].replace((conn, Box::new(value)));
        debug_assert!(before.is_none(), "a place is left before it is taken again");
        self.count += usize::from(before.is_none());
    }

    #[inline]
    pub(crate) fn get(&self, conn: ConnId) -> Option<&T> {
        match self.places.get(conn.index()) {
            Some(Some((holder, value))) if *holder == conn => Some(value),
            Some(Some(_) | None) | None => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        match self.places.get_mut(conn.index()) {
            Some(Some((holder, value))) if *holder == conn => Some(value),
            Some(Some(_) | None) | None => None,
        }
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Box<T>> {
        self.get(conn)?;
        self.count -= 1;
        self.places[conn.index()].take().map(|(_, value)| value)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn conns(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.places.iter().flatten().map(|(conn, value)| (*conn, &**value))
    }
}
