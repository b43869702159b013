//! The fixed hash: XXH64, and the CRC that gives a key its slot. Both are written from their specifications and
//! held by golden vectors, because their answers are remembered by other nodes, by disks and by clients: changing
//! one bit of an answer would lose data. Neither withstands an opponent who picks the input; look-up tables that
//! clients fill use a keyed hash instead.

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;

/// XXH64 of `bytes` under `seed` (xxHash specification, "XXH64 algorithm description"). The same on every
/// machine, whatever its byte order.
#[must_use]
pub fn hash64(bytes: &[u8], seed: u64) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<32>();
    let start = if stripes.is_empty() { seed.wrapping_add(PRIME_5) } else { lanes(stripes, seed) };
    finish(start.wrapping_add(bytes.len() as u64), rest)
}

/// Steps 1 to 3: four lanes over all whole stripes, then their convergence.
fn lanes(stripes: &[[u8; 32]], seed: u64) -> u64 {
    let mut lanes = [
        seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2),
        seed.wrapping_add(PRIME_2),
        seed,
        seed.wrapping_sub(PRIME_1),
    ];
    for stripe in stripes {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let [a, b, c, d] = lanes;
    let sum = a
        .rotate_left(1)
        .wrapping_add(b.rotate_left(7))
        .wrapping_add(c.rotate_left(12))
        .wrapping_add(d.rotate_left(18));
    lanes.iter().fold(sum, |sum, lane| (sum ^ round(0, *lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4))
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

/// Steps 5 and 6: what is left after the stripes, under 32 bytes, then the avalanche.
fn finish(mut sum: u64, rest: &[u8]) -> u64 {
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        sum ^= round(0, u64::from_le_bytes(*word));
        sum = sum.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        sum ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIME_1);
        sum = sum.rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
    }
    for byte in rest {
        sum ^= u64::from(*byte).wrapping_mul(PRIME_5);
        sum = sum.rotate_left(11).wrapping_mul(PRIME_1);
    }
    sum = (sum ^ (sum >> 33)).wrapping_mul(PRIME_2);
    sum = (sum ^ (sum >> 29)).wrapping_mul(PRIME_3);
    sum ^ (sum >> 32)
}

/// The generator of CRC-16/XMODEM: x^16 + x^12 + x^5 + 1.
const CRC16_POLYNOMIAL: u16 = 0x1021;

/// `CRC16_TABLES[k][b]` is the CRC of the byte `b` followed by `k` zero bytes: eight look-ups that do not wait
/// for each other instead of eight that do.
const CRC16_TABLES: [[u16; 256]; 8] = crc16_tables();

const fn crc16_tables() -> [[u16; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ CRC16_POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// CRC-16/XMODEM: polynomial 0x1021, start 0, nothing reflected (Redis Cluster specification, appendix A).
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut crc = 0u16;
    for word in words {
        let [high, low] = crc.to_be_bytes();
        crc = CRC16_TABLES[7][usize::from(word[0] ^ high)] ^ CRC16_TABLES[6][usize::from(word[1] ^ low)];
        for (table, byte) in CRC16_TABLES[..6].iter().rev().zip(&word[2..]) {
            crc ^= table[usize::from(*byte)];
        }
    }
    rest.iter().fold(crc, |crc, byte| (crc << 8) ^ CRC16_TABLES[0][usize::from((crc >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    /// The buffer and the seed of xxHash's own self-test.
    const SEED: u64 = 2_654_435_761;
    fn sanity(len: usize) -> Vec<u8> {
        let mut state = SEED;
        (0..len)
            .map(|_| {
                let byte = (state >> 56) as u8;
                state = state.wrapping_mul(11_400_714_785_074_694_797);
                byte
            })
            .collect()
    }

    #[test]
    fn hash64_gives_the_published_vectors() {
        #[track_caller]
        fn check(bytes: &[u8], seed: u64, expected: u64) {
            assert_eq!(hash64(bytes, seed), expected, "{} bytes", bytes.len());
        }
        check(&[], 0, 0xEF46_DB37_51D8_E999);
        check(&[], SEED, 0xAC75_FDA2_929B_17EF);
        check(&sanity(1), 0, 0xE934_A84A_DB05_2768);
        check(&sanity(1), SEED, 0x5014_6076_43A9_B4C3);
        check(&sanity(4), 0, 0x9136_A0DC_A574_57EE);
        check(&sanity(14), 0, 0x8282_DCC4_994E_35C8);
        check(&sanity(14), SEED, 0xC3BD_6BF6_3DEB_6DF0);
        check(&sanity(222), 0, 0xB641_AE8C_B691_C174);
        check(&sanity(222), SEED, 0x20CB_8AB7_AE10_C14A);
        check(b"a", 0, 0xD24E_C4F1_A98C_6E5B);
        check(b"abc", 0, 0x44BC_2CF5_AD77_0999);
    }

    #[test]
    fn crc16_gives_the_published_vector() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn crc16_by_eight_bytes_agrees_with_one_bit_at_a_time() {
        let mut stream = Chance::new(1).stream("bytes");
        for len in 0..70 {
            let mut bytes = vec![0; len];
            stream.fill(&mut bytes);
            let mut expected = 0u16;
            for byte in &bytes {
                expected ^= u16::from(*byte) << 8;
                for _ in 0..8 {
                    let carry = expected & 0x8000 != 0;
                    expected = (expected << 1) ^ if carry { CRC16_POLYNOMIAL } else { 0 };
                }
            }
            assert_eq!(crc16(&bytes), expected, "{len} bytes");
        }
    }
}
