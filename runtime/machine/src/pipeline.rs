//! Replies keep request order, whoever answers first. A connection's requests may be answered here and now, or
//! by another core later; what is answered behind an unanswered one waits for it. The common case, everything
//! answered here, passes straight through without a place in any queue.

use crate::blob::Blob;
use std::collections::VecDeque;

/// A part of an answer on its way out.
#[derive(Debug)]
pub enum Piece<'a> {
    /// To be copied.
    Bytes(&'a [u8]),
    /// To be moved.
    Blob(Blob),
}

/// The place of a request whose answer is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The order of one connection's replies.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// The ticket of the front place.
    first: u64,
    places: VecDeque<Place>,
    /// Bytes that wait behind an unanswered request.
    held: usize,
}

#[derive(Debug, Default)]
struct Place {
    answered: bool,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    Blob(Blob),
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Blob(blob) => blob.len(),
        }
    }

    fn let_go(self, out: &mut impl FnMut(Piece<'_>)) {
        match self {
            Self::Bytes(bytes) => out(Piece::Bytes(&bytes)),
            Self::Blob(blob) => out(Piece::Blob(blob)),
        }
    }
}

impl Pipeline {
    /// Nothing asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether every request is answered and gone: then an answer may be written directly.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.places.is_empty()
    }

    /// How many places wait: unanswered requests, and answers behind them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of answers that wait behind an unanswered request.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// A request that is answered at once: let go when nothing is before it, else kept in its place.
    pub fn ready(&mut self, piece: Piece<'_>, out: &mut impl FnMut(Piece<'_>)) {
        match self.places.back_mut() {
            None => out(piece),
            // Answers of one run share a place: what is let go together needs no order of its own.
            Some(last) if last.answered => self.held += keep(&mut last.parts, piece),
            Some(_) => {
                let mut place = Place { answered: true, parts: Vec::with_capacity(1) };
                self.held += keep(&mut place.parts, piece);
                self.places.push_back(place);
            }
        }
    }

    /// A request that somebody else answers later.
    pub fn wait(&mut self) -> Ticket {
        self.places.push_back(Place::default());
        Ticket(self.first + self.places.len() as u64 - 1)
    }

    /// A part of the answer to a waiting request. It is let go at once when nothing is before it.
    pub fn part(&mut self, ticket: Ticket, piece: Piece<'_>, out: &mut impl FnMut(Piece<'_>)) {
        let Some(place) = self.place(ticket) else { return };
        if ticket.0 == self.first {
            out(piece);
        } else {
            self.held += keep(&mut self.places[place].parts, piece);
        }
    }

    /// The answer is whole. It and all that waited only for it are let go in order.
    pub fn done(&mut self, ticket: Ticket, out: &mut impl FnMut(Piece<'_>)) {
        let Some(place) = self.place(ticket) else { return };
        self.places[place].answered = true;
        while self.places.front().is_some_and(|front| front.answered) {
            let front = self.places.pop_front().expect("there is a front");
            self.first += 1;
            self.let_go(front.parts, out);
        }
        // The new front is not whole, but what it has is next in order.
        if let Some(front) = self.places.front_mut() {
            let parts = core::mem::take(&mut front.parts);
            self.let_go(parts, out);
        }
    }

    /// [`part`](Self::part) and [`done`](Self::done) for an answer of one piece.
    pub fn answer(&mut self, ticket: Ticket, piece: Piece<'_>, out: &mut impl FnMut(Piece<'_>)) {
        self.part(ticket, piece, out);
        self.done(ticket, out);
    }

    fn let_go(&mut self, parts: Vec<Part>, out: &mut impl FnMut(Piece<'_>)) {
        for part in parts {
            self.held -= part.len();
            part.let_go(out);
        }
    }

    /// The index of the ticket's place; none when it was answered already or never given.
    fn place(&self, ticket: Ticket) -> Option<usize> {
        let index = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        self.places.get(index).filter(|place| !place.answered)?;
        Some(index)
    }
}

/// Keeps a piece behind those that wait; gives its bytes.
fn keep(parts: &mut Vec<Part>, piece: Piece<'_>) -> usize {
    match (piece, parts.last_mut()) {
        (Piece::Bytes(bytes), Some(Part::Bytes(last))) => {
            last.extend_from_slice(bytes);
            bytes.len()
        }
        (Piece::Bytes(bytes), _) => {
            parts.push(Part::Bytes(bytes.to_vec()));
            bytes.len()
        }
        (Piece::Blob(blob), _) => {
            let len = blob.len();
            parts.push(Part::Blob(blob));
            len
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn collect(into: &mut Vec<u8>) -> impl FnMut(Piece<'_>) {
        |piece| match piece {
            Piece::Bytes(bytes) => into.extend_from_slice(bytes),
            Piece::Blob(blob) => into.extend_from_slice(&blob),
        }
    }

    #[test]
    fn an_answer_waits_for_those_before_it() {
        let mut sent = Vec::new();
        let mut pipeline = Pipeline::new();
        let mut collector = collect(&mut sent);
        let out = &mut collector;
        pipeline.ready(Piece::Bytes(b"1"), out);
        let two = pipeline.wait();
        pipeline.ready(Piece::Bytes(b"3"), out);
        let four = pipeline.wait();
        pipeline.part(four, Piece::Blob(Blob::from(b"4".to_vec())), out);
        assert_eq!(pipeline.held(), 2);
        pipeline.answer(two, Piece::Bytes(b"2"), out);
        pipeline.part(four, Piece::Bytes(b"4"), out);
        pipeline.done(four, out);
        pipeline.done(four, out);
        drop(collector);
        assert!(pipeline.is_idle());
        assert_eq!(pipeline.held(), 0);
        assert_eq!(sent, b"12344");
    }

    #[test]
    fn any_order_of_answers_gives_the_order_of_requests() {
        for seed in 0..500 {
            let mut stream = Chance::new(seed).stream("order");
            let mut sent = Vec::new();
            let mut expected = Vec::new();
            let mut pipeline = Pipeline::new();
            let mut waiting: Vec<(Ticket, String)> = Vec::new();
            for request in 0..40 {
                let answer = format!("<{request}>");
                expected.extend_from_slice(answer.as_bytes());
                if stream.below(2) == 0 {
                    pipeline.ready(Piece::Bytes(answer.as_bytes()), &mut collect(&mut sent));
                } else {
                    waiting.push((pipeline.wait(), answer));
                }
                while !waiting.is_empty() && stream.below(3) == 0 {
                    let (ticket, answer) = waiting.swap_remove(stream.below(waiting.len() as u64) as usize);
                    pipeline.answer(ticket, Piece::Bytes(answer.as_bytes()), &mut collect(&mut sent));
                }
            }
            for (ticket, answer) in waiting {
                pipeline.answer(ticket, Piece::Bytes(answer.as_bytes()), &mut collect(&mut sent));
            }
            assert_eq!(sent, expected, "seed {seed}");
            assert!(pipeline.is_idle() && pipeline.held() == 0);
        }
    }
}
