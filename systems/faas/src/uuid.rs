//! Ids of functions and tasks: UUIDs of version 4 (RFC 9562), drawn so that the ring gives them to the core that draws.

use core::fmt;
use machine::{CoreId, NodeId, Seat, Stream};
use state::hash::hash64;
use state::ring::Ring;

/// An id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

impl Uuid {
    /// A fresh one.
    pub fn draw(stream: &mut Stream) -> Self {
        let drawn = u128::from(stream.next_u64()) << 64 | u128::from(stream.next_u64());
        let version = drawn & !(0xf << 76) | 0x4 << 76;
        Self(version & !(0x3 << 62) | 0x2 << 62)
    }

    /// The one that a text names: hyphens, braces and the prefix of a URN may be there or not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("urn:").unwrap_or(text);
        let text = text.strip_prefix("uuid:").unwrap_or(text).trim_matches(['{', '}']);
        let (mut value, mut digits) = (0u128, 0);
        for letter in text.chars().filter(|letter| *letter != '-') {
            value = value << 4 | u128::from(letter.to_digit(16)?);
            digits += 1;
            if digits > 32 {
                return None;
            }
        }
        (digits == 32).then_some(Self(value))
    }

    /// As it is written: 8-4-4-4-12 digits in lower case.
    #[must_use]
    pub fn text(self) -> [u8; 36] {
        let mut text = [b'-'; 36];
        let mut digit = 0;
        for (at, letter) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                let value = (self.0 >> (124 - 4 * digit)) as usize & 15;
                *letter = b"0123456789abcdef"[value];
                digit += 1;
            }
        }
        text
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// Which core has what: the ring of this node.
#[derive(Clone, Debug)]
pub struct Owners(Ring);

impl Owners {
    /// Of a node with so many cores.
    #[must_use]
    pub fn new(seat: Seat) -> Self {
        // The first node's number whatever ours is: a node started under another number finds its own again.
        Self(Ring::new(&seat.all_cores().map(|core| (NodeId(0), core)).collect::<Vec<_>>()))
    }

    /// Who has that id.
    #[must_use]
    pub fn of(&self, id: Uuid) -> CoreId {
        self.of_bytes(&id.0.to_be_bytes())
    }

    /// Who has what is called so.
    #[must_use]
    pub fn of_bytes(&self, name: &[u8]) -> CoreId {
        self.0.owner(hash64(name, 0)).map_or(CoreId(0), |(_, core)| core)
    }

    /// A fresh id that is that core's own.
    pub fn draw(&self, core: CoreId, stream: &mut Stream) -> Uuid {
        loop {
            let id = Uuid::draw(stream);
            if self.of(id) == core {
                return id;
            }
        }
    }
}

/// Ids are drawn by us and spread already: looking one up needs no further hashing. Clients choose what is looked up,
/// never what is put in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain(u64);

impl core::hash::Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64 ^ (id >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    #[test]
    fn an_id_is_a_uuid_of_version_4_and_its_text_means_it() {
        let mut stream = Chance::new(1).stream("ids");
        for _ in 0..1000 {
            let id = Uuid::draw(&mut stream);
            let text = id.to_string();
            assert_eq!((&text[14..15], text.len()), ("4", 36));
            assert!("89ab".contains(&text[19..20]), "{text}");
            for form in [text.clone(), text.replace('-', ""), text.to_uppercase(), format!("urn:uuid:{text}")]
            {
                assert_eq!(Uuid::parse(&form), Some(id), "{form}");
            }
        }
        for text in
            ["", "7", "not-a-uuid", "0000000000000000000000000000000", "g0000000-0000-4000-8000-000000000000"]
        {
            assert_eq!(Uuid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_core_draws_what_is_its_own() {
        let seat = Seat { node: NodeId(0), core: CoreId(2), cores: 4 };
        let (owners, mut stream) = (Owners::new(seat), Chance::new(2).stream("ids"));
        assert!((0..100).all(|_| owners.of(owners.draw(seat.core, &mut stream)) == seat.core));
    }
}
