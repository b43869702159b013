//! Who owns which key: the map that CLUSTER SLOTS tells, as a cluster client reads it.

use super::resp::{Client, Reply};
use std::net::SocketAddr;

/// Slots of the Redis Cluster specification.
const SLOTS: usize = 16_384;

/// By slot, an index into the addresses.
#[derive(Debug)]
pub(super) struct Owners {
    pub(super) addresses: Vec<SocketAddr>,
    by_slot: Vec<usize>,
}

impl Owners {
    /// Asks for it.
    pub(super) fn ask(client: &mut Client) -> Result<Self, String> {
        let reply = client.ask(&[b"CLUSTER", b"SLOTS"])?;
        Self::read(&reply).ok_or_else(|| "CLUSTER SLOTS does not name an owner for every slot".to_owned())
    }

    /// Which of the addresses owns the key. No `{hash tag}` is looked for: our keys have none.
    pub(super) fn of(&self, key: &[u8]) -> usize {
        self.by_slot[usize::from(crc16(key)) % SLOTS]
    }

    fn read(reply: &Reply) -> Option<Self> {
        let Reply::Array(runs) = reply else { return None };
        let mut addresses = Vec::new();
        let mut by_slot = vec![None; SLOTS];
        for run in runs {
            let Reply::Array(fields) = run else { return None };
            let [Reply::Integer(first), Reply::Integer(last), Reply::Array(owner), ..] = &fields[..] else {
                return None;
            };
            let [Reply::Bulk(ip), Reply::Integer(port), ..] = &owner[..] else { return None };
            let ip = std::str::from_utf8(ip).ok()?.parse().ok()?;
            let address = SocketAddr::new(ip, u16::try_from(*port).ok()?);
            let known = addresses.iter().position(|other| *other == address);
            let index = known.unwrap_or(addresses.len());
            if known.is_none() {
                addresses.push(address);
            }
            let slots = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            by_slot.get_mut(slots)?.fill(Some(index));
        }
        let by_slot = by_slot.into_iter().collect::<Option<_>>()?;
        Some(Self { addresses, by_slot })
    }
}

/// CRC-16/XMODEM, as the Redis Cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum: u16, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| {
            if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: i64, last: i64, port: i64) -> Reply {
        let owner = Reply::Array(vec![Reply::Bulk(b"127.0.0.1".to_vec()), Reply::Integer(port)]);
        Reply::Array(vec![Reply::Integer(first), Reply::Integer(last), owner])
    }

    #[test]
    fn the_specification_and_we_agree_on_the_sum() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn each_key_has_the_owner_of_its_slot() {
        let whole = Reply::Array(vec![run(0, 99, 7000), run(100, 12_738, 7001), run(12_739, 16_383, 7000)]);
        let owners = Owners::read(&whole).expect("it is whole");
        assert_eq!(owners.addresses.len(), 2);
        // Its slot is 0x31c3, which is 12739.
        assert_eq!(owners.addresses[owners.of(b"123456789")].port(), 7000);
    }

    #[test]
    fn a_map_with_a_hole_or_too_much_is_refused() {
        assert!(Owners::read(&Reply::Array(vec![run(0, 16_382, 7000)])).is_none());
        assert!(Owners::read(&Reply::Array(vec![run(0, 16_384, 7000)])).is_none());
        assert!(Owners::read(&Reply::Error("ERR".into())).is_none());
    }
}
