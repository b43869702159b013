//! The simplest thing that is surely right: a sorted map for each client's own keys, and what every command on it
//! must answer. No client touches another's keys, so each one's replies follow from its own requests alone, however
//! they are spread over cores and cut on the way.

use machine::Stream;
use std::collections::BTreeMap;

/// One client's keys.
#[derive(Debug, Default)]
pub(crate) struct Model {
    values: BTreeMap<Vec<u8>, Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    value: Vec<u8>,
    expires: bool,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Two,
    Three,
    Frames,
}

/// Keys of each client; few, so that they meet again.
const KEYS: u64 = 12;
/// From this length on a value is a blob.
const LONG: u64 = 16 * 1024;

impl Model {
    /// Draws a request of client `client` into `said` and gives the reply it must have.
    pub(crate) fn ask(
        &mut self,
        client: usize,
        speech: Speech,
        draw: &mut Stream,
        said: &mut Vec<u8>,
    ) -> Vec<u8> {
        match speech {
            Speech::Frames => self.ask_framed(client, draw, said),
            Speech::Two | Speech::Three => {
                let (words, expected) = self.ask_resp(client, draw);
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                wire::resp::write_request(said, &words);
                told(expected, speech)
            }
        }
    }

    /// How many keys it has.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    fn ask_resp(&mut self, client: usize, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let key = key(client, draw);
        match draw.below(32) {
            0..=4 => (words(&[b"GET", &key]), self.get(&key)),
            5..=8 => {
                let value = value(draw);
                (words(&[b"set", &key, &value]), self.put(key, value, false))
            }
            9 => self.set_by_rule(key, draw),
            10 => (words(&[b"DEL", &key]), Told::Count(i64::from(self.values.remove(&key).is_some()))),
            11 => self.several(client, draw),
            12 => {
                let keys: Vec<Vec<u8>> = (0..1 + draw.below(9)).map(|_| self::key(client, draw)).collect();
                let told = keys.iter().map(|key| self.get(key)).collect();
                (with(b"MGET", keys), Told::List(told))
            }
            13 => {
                let mut all = vec![b"MSET".to_vec()];
                for _ in 0..1 + draw.below(6) {
                    let (key, value) = (self::key(client, draw), value(draw));
                    all.extend([key.clone(), value.clone()]);
                    self.put(key, value, false);
                }
                (all, Told::Ok)
            }
            14 => self.append(key, draw),
            15 => self.add(key, draw),
            16 => {
                let told = self.get(&key);
                self.values.remove(&key);
                (words(&[b"GETDEL", &key]), told)
            }
            17 => self.life(key, draw),
            18 => {
                let length = self.values.get(&key).map_or(0, |kept| kept.value.len());
                (words(&[b"STRLEN", &key]), Told::Count(length as i64))
            }
            19..=22 => self.part(key, draw),
            23 | 24 => self.move_value(client, key, draw),
            25 => self.store_if_all_absent(client, draw),
            26 => {
                let told = self.get(&key);
                let value = value(draw);
                self.put(key.clone(), value.clone(), false);
                (words(&[b"GETSET", &key, &value]), told)
            }
            27 => self.get_with_life(key, draw),
            28 => {
                let value = value(draw);
                self.put(key.clone(), value.clone(), true);
                (words(&[b"SETEX", &key, b"100000", &value]), Told::Ok)
            }
            29 => {
                let there = i64::from(self.values.contains_key(&key));
                (words(&[b"TOUCH", &key, &key]), Told::Count(2 * there))
            }
            30 => self.end(key, draw),
            _ => {
                let word = value(draw);
                (words(&[b"ECHO", &word]), Told::Value(word))
            }
        }
    }

    /// GETRANGE and SETRANGE.
    fn part(&mut self, key: Vec<u8>, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let before = self.values.get(&key).map_or(Vec::new(), |kept| kept.value.clone());
        let place = |draw: &mut Stream| draw.below(before.len() as u64 + 20) as i64;
        if draw.below(2) == 0 {
            let (start, end) = (place(draw) - 10, place(draw) - 10);
            let length = before.len() as i64;
            let from_end = |at: i64| if at < 0 { (length + at).max(0) } else { at };
            let (from, to) = (from_end(start), from_end(end).min(length - 1));
            let is_turned = start < 0 && end < 0 && start > end;
            let part = if is_turned || from > to { &[][..] } else { &before[from as usize..=to as usize] };
            let all = words(&[b"GETRANGE", &key, start.to_string().as_bytes(), end.to_string().as_bytes()]);
            return (all, Told::Value(part.to_vec()));
        }
        let (offset, part) = (place(draw) as usize, value(draw));
        let all = words(&[b"SETRANGE", &key, offset.to_string().as_bytes(), &part]);
        if part.is_empty() {
            return (all, Told::Count(before.len() as i64));
        }
        let kept = self.values.entry(key).or_insert(Kept { value: Vec::new(), expires: false });
        kept.value.resize(before.len().max(offset + part.len()), 0);
        kept.value[offset..offset + part.len()].copy_from_slice(&part);
        (all, Told::Count(kept.value.len() as i64))
    }

    /// RENAME, RENAMENX and COPY.
    fn move_value(&mut self, client: usize, from: Vec<u8>, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let to = key(client, draw);
        let kept = self.values.get(&from).cloned();
        let is_free = !self.values.contains_key(&to);
        let choice = draw.below(4);
        let name: &[&[u8]] = &[b"RENAME", b"RENAMENX", b"COPY", b"COPY"];
        let mut all = words(&[name[choice as usize], &from, &to]);
        if choice == 3 {
            all.push(b"REPLACE".to_vec());
        }
        let told = match (choice, kept) {
            (2 | 3, _) if from == to => Told::Error("ERR source and destination objects are the same"),
            (0 | 1, None) => Told::Error("ERR no such key"),
            (_, None) => Told::Count(0),
            (1 | 2, Some(_)) if !is_free => Told::Count(0),
            (_, Some(kept)) => {
                if choice < 2 {
                    self.values.remove(&from);
                }
                self.values.insert(to, kept);
                if choice == 0 { Told::Ok } else { Told::Count(1) }
            }
        };
        (all, told)
    }

    fn store_if_all_absent(&mut self, client: usize, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let pairs: Vec<_> = (0..1 + draw.below(3)).map(|_| (key(client, draw), value(draw))).collect();
        let is_free = pairs.iter().all(|(key, _)| !self.values.contains_key(key));
        let mut all = vec![b"MSETNX".to_vec()];
        for (key, value) in pairs {
            all.extend([key.clone(), value.clone()]);
            if is_free {
                self.put(key, value, false);
            }
        }
        (all, Told::Count(i64::from(is_free)))
    }

    fn get_with_life(&mut self, key: Vec<u8>, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let told = self.get(&key);
        let mut all = words(&[b"GETEX", &key]);
        match draw.below(4) {
            0 => {}
            1 => {
                all.push(b"PERSIST".to_vec());
                self.values.get_mut(&key).into_iter().for_each(|kept| kept.expires = false);
            }
            2 => {
                all.extend(words(&[b"PX", b"100000000"]));
                self.values.get_mut(&key).into_iter().for_each(|kept| kept.expires = true);
            }
            _ => {
                all.extend(words(&[b"PXAT", b"1"]));
                self.values.remove(&key);
            }
        }
        (all, told)
    }

    /// EXPIREAT and EXPIRETIME, far in the future.
    fn end(&mut self, key: Vec<u8>, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let there = self.values.get_mut(&key);
        if draw.below(2) == 0 {
            let told = Told::Count(i64::from(there.is_some()));
            there.into_iter().for_each(|kept| kept.expires = true);
            return (words(&[b"EXPIREAT", &key, b"32503680000"]), told);
        }
        let expires = there.is_some_and(|kept| core::mem::replace(&mut kept.expires, false));
        (words(&[b"PERSIST", &key]), Told::Count(i64::from(expires)))
    }

    fn get(&self, key: &[u8]) -> Told {
        self.values.get(key).map_or(Told::Nil, |kept| Told::Value(kept.value.clone()))
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>, expires: bool) -> Told {
        self.values.insert(key, Kept { value, expires });
        Told::Ok
    }

    fn set_by_rule(&mut self, key: Vec<u8>, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let value = value(draw);
        let mut all = words(&[b"SET", &key, &value]);
        let before = self.values.get(&key).cloned();
        let stores = match draw.below(3) {
            0 => true,
            1 => {
                all.push(b"nx".to_vec());
                before.is_none()
            }
            _ => {
                all.push(b"XX".to_vec());
                before.is_some()
            }
        };
        let expires = match draw.below(3) {
            0 => false,
            1 => {
                all.extend(words(&[b"EX", b"100000"]));
                true
            }
            _ => {
                all.push(b"KEEPTTL".to_vec());
                before.as_ref().is_some_and(|before| before.expires)
            }
        };
        let told = if draw.below(2) == 0 {
            all.push(b"GET".to_vec());
            before.map_or(Told::Nil, |before| Told::Value(before.value))
        } else if stores {
            Told::Ok
        } else {
            Told::Nil
        };
        if stores {
            self.put(key, value, expires);
        }
        (all, told)
    }

    fn several(&mut self, client: usize, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let keys: Vec<Vec<u8>> = (0..1 + draw.below(6)).map(|_| key(client, draw)).collect();
        let removes = draw.below(2) == 0;
        let mut count = 0;
        for key in &keys {
            count += match removes {
                true => i64::from(self.values.remove(key).is_some()),
                false => i64::from(self.values.contains_key(key)),
            };
        }
        (with(if removes { b"UNLINK" } else { b"EXISTS" }, keys), Told::Count(count))
    }

    fn append(&mut self, key: Vec<u8>, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let more = value(draw);
        let all = words(&[b"APPEND", &key, &more]);
        let kept = self.values.entry(key).or_insert(Kept { value: Vec::new(), expires: false });
        kept.value.extend(more);
        (all, Told::Count(kept.value.len() as i64))
    }

    fn add(&mut self, key: Vec<u8>, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let number = draw.below(2000) as i64 - 1000;
        let all = words(&[b"INCRBY", &key, number.to_string().as_bytes()]);
        let before = self.values.get(&key).cloned().unwrap_or(Kept { value: b"0".to_vec(), expires: false });
        let Some(before_number) =
            std::str::from_utf8(&before.value).ok().and_then(|text| text.parse::<i64>().ok())
        else {
            return (all, Told::Error("ERR value is not an integer or out of range"));
        };
        let sum = before_number + number;
        self.put(key, sum.to_string().into_bytes(), before.expires);
        (all, Told::Count(sum))
    }

    fn life(&mut self, key: Vec<u8>, draw: &mut Stream) -> (Vec<Vec<u8>>, Told) {
        let there = self.values.get_mut(&key);
        match draw.below(4) {
            0 => {
                let told = there.is_some();
                there.into_iter().for_each(|kept| kept.expires = true);
                (words(&[b"EXPIRE", &key, b"100000"]), Told::Count(i64::from(told)))
            }
            1 => {
                let told = there.is_some();
                self.values.remove(&key);
                (words(&[b"PEXPIRE", &key, b"-1"]), Told::Count(i64::from(told)))
            }
            2 => {
                let told = there.is_some_and(|kept| core::mem::replace(&mut kept.expires, false));
                (words(&[b"PERSIST", &key]), Told::Count(i64::from(told)))
            }
            _ => {
                let told = if there.is_some() { "string" } else { "none" };
                (words(&[b"TYPE", &key]), Told::Simple(told))
            }
        }
    }

    fn ask_framed(&mut self, client: usize, draw: &mut Stream, said: &mut Vec<u8>) -> Vec<u8> {
        let key = key(client, draw);
        let (text, reply) = match draw.below(3) {
            0 => {
                let value = value(draw);
                let text = [b"put ", &key[..], b" ", &value].concat();
                self.put(key, value, false);
                (text, b"SUCCESS".to_vec())
            }
            1 => {
                let reply = self.values.get(&key).map_or(b"NONE".to_vec(), |kept| kept.value.clone());
                ([b"get ", &key[..]].concat(), reply)
            }
            _ => {
                let reply: &[u8] = if self.values.remove(&key).is_some() { b"SUCCESS" } else { b"NONE" };
                ([b"rem ", &key[..]].concat(), reply.to_vec())
            }
        };
        wire::frame::write(said, &[&text]);
        let mut told = Vec::new();
        wire::frame::write(&mut told, &[&reply]);
        told
    }
}

/// A reply, before it is told in a version.
enum Told {
    Ok,
    Nil,
    Count(i64),
    Value(Vec<u8>),
    Simple(&'static str),
    Error(&'static str),
    List(Vec<Told>),
}

fn told(reply: Told, speech: Speech) -> Vec<u8> {
    match reply {
        Told::Ok => b"+OK\r\n".to_vec(),
        Told::Nil if speech == Speech::Three => b"_\r\n".to_vec(),
        Told::Nil => b"$-1\r\n".to_vec(),
        Told::Count(count) => format!(":{count}\r\n").into_bytes(),
        Told::Value(value) => [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat(),
        Told::Simple(word) => format!("+{word}\r\n").into_bytes(),
        Told::Error(words) => format!("-{words}\r\n").into_bytes(),
        Told::List(all) => {
            let mut bytes = format!("*{}\r\n", all.len()).into_bytes();
            all.into_iter().for_each(|each| bytes.extend(told(each, speech)));
            bytes
        }
    }
}

fn key(client: usize, draw: &mut Stream) -> Vec<u8> {
    format!("client{client}:key{}", draw.below(KEYS)).into_bytes()
}

/// Mostly short, sometimes a number, seldom a blob.
fn value(draw: &mut Stream) -> Vec<u8> {
    let length = match draw.below(60) {
        0 => draw.between(LONG - 2, LONG * 3),
        1..=19 => return draw.below(1_000_000).to_string().into_bytes(),
        20..=29 => draw.below(400),
        _ => draw.below(30),
    };
    let mut value = vec![0; length as usize];
    draw.fill(&mut value);
    value
}

fn words(all: &[&[u8]]) -> Vec<Vec<u8>> {
    all.iter().map(|word| word.to_vec()).collect()
}

fn with(name: &[u8], rest: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    std::iter::once(name.to_vec()).chain(rest).collect()
}
