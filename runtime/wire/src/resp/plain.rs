//! Plain requests: a command of three letters, a short key and at most one short value, all there, as nearly all
//! requests of nearly all clients are. They are read from fixed places in a handful of comparisons, so that a batch of
//! them can be read ahead of being carried out. The one hard thing is to be no more lenient and no stricter than the
//! [`Reader`](super::Reader): what is not plain is simply left to it, and a test holds that what is plain means the
//! same to both.

use super::number::short_number;
use super::request::Limits;

/// A request such as `GET key` or `SET key value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain<'a> {
    /// The command's name, in small letters where it is letters.
    pub name: [u8; 3],
    /// The first argument.
    pub key: &'a [u8],
    /// The second argument, if there is one.
    pub value: Option<&'a [u8]>,
    /// Bytes of the input that said it.
    pub used: usize,
}

/// Where the length of the first argument stands.
const LENGTH_AT: usize = 14;
const TWO: u64 = u64::from_le_bytes(*b"*2\r\n$3\r\n");
const THREE: u64 = u64::from_le_bytes(*b"*3\r\n$3\r\n");

impl<'a> Plain<'a> {
    /// The plain request at the front of `bytes`, where a request begins. None says nothing but that it is not plain,
    /// or not all there.
    // Always: read back from memory right after it was written there field by field, the answer is waited for.
    #[inline(always)]
    #[must_use]
    pub fn read(bytes: &'a [u8], limits: &Limits) -> Option<Self> {
        let head: &[u8; LENGTH_AT] = bytes.first_chunk()?;
        let words = match u64::from_le_bytes(*head.first_chunk()?) {
            TWO => 2,
            THREE => 3,
            _ => return None,
        };
        // The second byte of a line's end is counted and not looked at, as everywhere.
        if head[13] != b'$' || words > limits.arguments_max || limits.bulk_max < 3 {
            return None;
        }
        let name = [head[8] | 0x20, head[9] | 0x20, head[10] | 0x20];
        let (key, mut used) = argument(bytes, LENGTH_AT, limits)?;
        let mut value = None;
        if words == 3 {
            if bytes.get(used) != Some(&b'$') {
                return None;
            }
            let (second, end) = argument(bytes, used + 1, limits)?;
            (value, used) = (Some(second), end);
        }
        (used <= limits.request_max).then_some(Self { name, key, value, used })
    }
}

/// The argument whose length stands at `at`, and where the next one begins.
#[inline]
fn argument<'a>(bytes: &'a [u8], at: usize, limits: &Limits) -> Option<(&'a [u8], usize)> {
    let (length, start) = short_number(bytes, at)?;
    let next = start + length + 2;
    if length > limits.bulk_max || next > bytes.len() {
        return None;
    }
    Some((&bytes[start..start + length], next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::resp::Reader;

    /// What is plain means the same to the reader, at every cut and with every byte changed.
    #[test]
    fn a_plain_request_is_what_the_reader_reads() {
        let texts: [&[u8]; 5] = [
            b"*2\r\n$3\r\nGET\r\n$5\r\napple\r\n*1\r\n",
            b"*3\r\n$3\r\nset\r\n$1\r\na\r\n$12\r\nabcdefghijkl\r\n",
            b"*3\r\n$3\r\nSeT\r\n$0\r\n\r\n$0\r\n\r\n*",
            b"*2\r\n$3\r\nGET\r\n$05\r\napple\r\n",
            b"*3\r\n$3\r\nGET\r\n$-1\r\n$1\r\na\r\n",
        ];
        let mut plain = 0;
        for text in texts {
            for end in 0..=text.len() {
                plain += check(&text[..end]);
            }
            for at in 0..text.len() {
                for byte in 0..=u8::MAX {
                    let mut other = text.to_vec();
                    other[at] = byte;
                    plain += check(&other);
                }
            }
        }
        assert!(plain > 5_000, "few were plain: {plain}");
    }

    /// 1 when it was plain.
    fn check(bytes: &[u8]) -> usize {
        for limits in [Limits::default(), Limits { bulk_max: 4, request_max: 30, ..Limits::default() }] {
            let Some(plain) = Plain::read(bytes, &limits) else { continue };
            let Outcome::Done { value, used } = Reader::new(limits).next(bytes) else {
                panic!("plain, but not to the reader: {:?}", String::from_utf8_lossy(bytes));
            };
            let name: Vec<u8> = value[0].iter().map(|byte| byte | 0x20).collect();
            assert_eq!((used, value.len()), (plain.used, 2 + usize::from(plain.value.is_some())));
            assert_eq!(
                (&name[..], value.get(1), value.get(2)),
                (&plain.name[..], Some(plain.key), plain.value)
            );
        }
        usize::from(Plain::read(bytes, &Limits::default()).is_some())
    }

    #[test]
    fn a_short_whole_request_is_plain() {
        let read = |text: &'static str| Plain::read(text.as_bytes(), &Limits::default());
        let get = Plain { name: *b"get", key: b"ab", value: None, used: 21 };
        assert_eq!(read("*2\r\n$3\r\nGET\r\n$2\r\nab\r\n"), Some(get));
        let set = Plain { name: *b"set", key: b"ab", value: Some(b"x"), used: 28 };
        assert_eq!(read("*3\r\n$3\r\nSET\r\n$2\r\nab\r\n$1\r\nx\r\n"), Some(set));
        assert_eq!(read("*2\r\n$4\r\nPING\r\n$2\r\nab\r\n"), None);
        assert_eq!(read("GET ab\r\n"), None);
    }
}
