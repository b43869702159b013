//! What was slow, and where a core's time goes by command: SLOWLOG, LATENCY and the times of INFO commandstats.
//!
//! The one hard thing is that nobody looks at a clock between two requests. The world tells how long an event took,
//! and one event may have held many requests of a connection, or questions of another core. So:
//!
//! - The time of an event is shared in equal parts by the pieces of work in it; the sums are exact, and what a command
//!   took on average is as good as its requests were mixed with others.
//! - SLOWLOG notes an event that took too long once, with the time of all of it, and shows the one request of it that
//!   was likely the slowest (the longest, or one on all keys); a last word says how many there were.
//! - A command that several cores carry out costs each of them its part. A slow part is noted by the core that did it,
//!   which knows the core that asked and not the client.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

use crate::command::{COMMANDS, Flag, index_of};
use crate::peer::Item;
use crate::shard::Dht;
use core::cmp::Reverse;
use core::time::Duration;
use machine::{ConnId, CoreId, Event, Now, Spent, WallTime};
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::VecDeque;
use wire::resp::Writer;

/// Words of a request that are noted, and bytes of each: Redis' numbers.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 128;
/// Bytes that are put aside of what a connection sent, in case it turns out to be slow.
const ASIDE_MAX: usize = 256;
/// The same for a request that is likely to be.
const ASIDE_MORE_MAX: usize = 8 * 1024;
/// Samples of each series: Redis' number.
const SAMPLES_MAX: usize = 160;
/// What is heavier than any request is long.
pub(crate) const HEAVY: usize = usize::MAX;

const AUTH: usize = index_of("auth");
const HELLO: usize = index_of("hello");

/// An event that took too long.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Slow {
    /// Its number, unique on this node.
    pub id: u64,
    /// When it ended, in microseconds after 1970.
    pub at_us: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The words of a request in it.
    pub words: Vec<Vec<u8>>,
    /// Who asked.
    pub from: String,
    /// What that client calls itself.
    pub name: Vec<u8>,
}

/// Events of one kind that took longer than `latency_ms`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The kind, in Redis' word where it has one.
    pub event: String,
    /// The longest ever, in milliseconds.
    pub longest_ms: u64,
    /// The second, after 1970, and the longest of it in milliseconds; oldest first.
    pub samples: Vec<(u64, u64)>,
}

impl Series {
    fn add(&mut self, second: u64, took_ms: u64) {
        self.longest_ms = self.longest_ms.max(took_ms);
        match self.samples.iter_mut().find(|(known, _)| *known == second) {
            Some((_, longest)) => *longest = took_ms.max(*longest),
            None => self.samples.push((second, took_ms)),
        }
    }

    fn cut(&mut self) {
        let more = self.samples.len().saturating_sub(SAMPLES_MAX);
        self.samples.drain(..more);
    }
}

/// Puts another core's series among these.
pub fn merge(into: &mut Vec<Series>, more: Vec<Series>) {
    for theirs in more {
        let Some(ours) = into.iter_mut().find(|ours| ours.event == theirs.event) else {
            into.push(theirs);
            continue;
        };
        ours.longest_ms = ours.longest_ms.max(theirs.longest_ms);
        theirs.samples.iter().for_each(|(second, took_ms)| ours.add(*second, *took_ms));
        ours.samples.sort_unstable();
        ours.cut();
    }
}

/// The newest, of all cores together, as SLOWLOG GET tells them.
pub fn write(mut all: Vec<Slow>, most: usize, into: &mut Writer<'_>) {
    all.sort_unstable_by_key(|slow| Reverse((slow.at_us, slow.id)));
    all.truncate(most);
    into.array(all.len());
    for slow in &all {
        into.array(6);
        for number in [slow.id, slow.at_us / 1_000_000, slow.took_us] {
            into.integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
        into.array(slow.words.len());
        slow.words.iter().for_each(|word| into.bulk(word));
        into.bulk(slow.from.as_bytes());
        into.bulk(&slow.name);
    }
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Client(ConnId),
    Core(CoreId),
}

/// How the bytes put aside are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aside {
    /// As a client sent them.
    Resp,
    Frame,
    /// Words already: each its whole length, the length that is here, and its bytes.
    Words,
}

/// Where time went, and what was slow.
#[derive(Debug)]
pub(crate) struct Slowness {
    /// By command, in nanoseconds.
    nanos: Vec<u64>,
    /// Pieces of work in the event at hand, by command: requests that were read, and what was done for other cores.
    pieces: Vec<(u8, u64)>,
    /// What of the event is shown, if it is: how heavy it is, whose, its bytes.
    weight: usize,
    whose: Option<Whose>,
    aside: Aside,
    bytes: Vec<u8>,
    /// Newest last.
    entries: VecDeque<Slow>,
    made: u64,
    series: Vec<Series>,
}

impl Slowness {
    pub(crate) fn new() -> Self {
        Self {
            nanos: vec![0; COMMANDS.len()],
            pieces: Vec::with_capacity(COMMANDS.len()),
            weight: 0,
            whose: None,
            aside: Aside::Words,
            bytes: Vec::with_capacity(ASIDE_MAX),
            entries: VecDeque::new(),
            made: 0,
            series: Vec::new(),
        }
    }

    /// Time by command, in nanoseconds.
    pub(crate) fn nanos(&self) -> &[u64] {
        &self.nanos
    }

    /// Counts from zero again; what the event at hand did so far is forgotten, as its requests are.
    pub(crate) fn reset(&mut self) {
        self.nanos.fill(0);
        self.pieces.clear();
    }

    /// A connection's bytes will be read.
    #[inline]
    pub(crate) fn begin(&mut self, conn: ConnId, bytes: &[u8], is_frames: bool) {
        self.put_aside(Whose::Client(conn), if is_frames { Aside::Frame } else { Aside::Resp }, 1);
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(ASIDE_MAX)]);
    }

    /// A request of the connection at hand is so heavy; if none was heavier, it is the one to be shown.
    #[inline]
    pub(crate) fn weigh(&mut self, weight: usize, bytes: &[u8]) {
        if weight <= self.weight.max(ASIDE_MAX) {
            return;
        }
        self.weight = weight;
        self.bytes.clear();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(ASIDE_MORE_MAX)]);
    }

    /// A key's worth of work for another core.
    #[inline]
    pub(crate) fn piece(&mut self, command: u8, of: CoreId, key: &[u8], payload: &[u8]) {
        self.count(command);
        let weight = 1 + key.len() + payload.len();
        if weight > self.weight && !matches!(self.whose, Some(Whose::Client(_))) {
            self.put_aside(Whose::Core(of), Aside::Words, weight);
            self.word(name(command).as_bytes());
            self.word(key);
            if !payload.is_empty() {
                self.word(payload);
            }
        }
    }

    /// A part of a command that several cores carry out.
    pub(crate) fn part(&mut self, command: u8, of: CoreId, items: &[Item]) {
        self.count(command);
        let bytes: usize = items.iter().map(|item| item.key.len() + item.payload.len()).sum();
        let weight = if items.is_empty() { HEAVY } else { 1 + bytes };
        // Of a request of this core's own client there are the client's words.
        if weight > self.weight && !matches!(self.whose, Some(Whose::Client(_))) {
            self.put_aside(Whose::Core(of), Aside::Words, weight);
            self.word(name(command).as_bytes());
            for item in items.iter().take(WORDS_MAX) {
                self.word(&item.key);
                if !item.payload.is_empty() {
                    self.word(&item.payload);
                }
            }
        }
    }

    /// One more piece of work of this event. There are few commands in an event, and mostly one.
    #[inline]
    pub(crate) fn count(&mut self, command: u8) {
        match self.pieces.iter_mut().rev().find(|(known, _)| *known == command) {
            Some((_, count)) => *count += 1,
            None => self.pieces.push((command, 1)),
        }
    }

    #[inline]
    fn put_aside(&mut self, whose: Whose, aside: Aside, weight: usize) {
        (self.whose, self.aside, self.weight) = (Some(whose), aside, weight);
        self.bytes.clear();
    }

    fn word(&mut self, word: &[u8]) {
        let here = &word[..word.len().min(WORD_BYTES_MAX + 1)];
        self.bytes.extend_from_slice(&(word.len() as u64).to_le_bytes());
        self.bytes.push(here.len() as u8);
        self.bytes.extend_from_slice(here);
    }

    /// Shares out the time of an event: how many pieces of work there were, and of which command the last was.
    #[inline]
    fn share(&mut self, took: Duration) -> (u64, Option<usize>) {
        let nanos = took.as_nanos() as u64;
        let Some((last, part)) = self.pieces.pop() else { return (0, None) };
        let last = usize::from(last);
        if self.pieces.is_empty() {
            self.nanos[last] += nanos;
            return (part, Some(last));
        }
        let count = part + self.pieces.iter().map(|(_, part)| part).sum::<u64>();
        // No core is away for so long, and no event holds so many pieces, that the product does not fit.
        let share = |part: u64| nanos.saturating_mul(part) / count;
        self.nanos[last] += share(part);
        for (command, part) in self.pieces.drain(..) {
            self.nanos[usize::from(command)] += share(part);
        }
        (count, Some(last))
    }

    fn sample(&mut self, event: &str, at: WallTime, took_ms: u64) {
        let series = match self.series.iter_mut().position(|series| series.event == event) {
            Some(at) => &mut self.series[at],
            None => {
                self.series.push(Series { event: event.into(), longest_ms: 0, samples: Vec::new() });
                self.series.last_mut().expect("it was just put there")
            }
        };
        series.add(at.millis() / 1000, took_ms);
        series.cut();
    }

    /// The newest, at most so many.
    pub(crate) fn newest(&self, count: usize) -> Vec<Slow> {
        self.entries.iter().rev().take(count).cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets them.
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
    }

    /// All series.
    pub(crate) fn series(&self) -> &[Series] {
        &self.series
    }

    /// Forgets series, all or these: which those were.
    pub(crate) fn forget_series(&mut self, named: &[String]) -> Vec<Series> {
        let goes = |series: &Series| named.is_empty() || named.contains(&series.event);
        let (gone, left) = core::mem::take(&mut self.series).into_iter().partition(goes);
        self.series = left;
        gone
    }
}

impl Dht {
    /// A request of this command, by its place in the table, was read.
    #[inline]
    pub(crate) fn count(&mut self, command: usize) {
        self.counts.by_command[command] += 1;
        self.slowness.count(command as u8);
    }

    /// The event before this took so long.
    #[inline]
    pub(crate) fn spent(&mut self, now: Now, what: Spent) {
        let (count, last) = self.slowness.share(what.took);
        self.bytes_peak = self.bytes_peak.max(self.store.bytes());
        let limits = &self.config.limits;
        let took_us = u64::try_from(what.took.as_micros()).unwrap_or(u64::MAX);
        let took_ms = took_us / 1000;
        let is_slow = count > 0 && u64::try_from(limits.slow_us).is_ok_and(|least| took_us >= least);
        let is_sampled = limits.latency_ms > 0 && took_ms >= limits.latency_ms;
        if is_slow {
            self.note_slow(now, took_us, count, last);
        }
        if is_sampled {
            let is_fast = last.is_some_and(|command| COMMANDS[command].flags.contains(&Flag::Fast));
            let event = match (count, what.event) {
                (0, Event::Timer) => "expire-cycle",
                (0, event) => event.name(),
                (_, _) if is_fast => "fast-command",
                (_, _) => "command",
            };
            self.slowness.sample(event, now.wall, took_ms);
        }
        self.slowness.weight = 0;
        self.slowness.whose = None;
    }

    #[cold]
    fn note_slow(&mut self, now: Now, took_us: u64, count: u64, last: Option<usize>) {
        let cores = u64::from(self.seat.cores);
        let slowness = &mut self.slowness;
        let mut words = words(slowness.aside, &slowness.bytes);
        // Whatever is said with these is nobody else's.
        let is_secret = |name: &[u8]| {
            [AUTH, HELLO].iter().any(|command| name.eq_ignore_ascii_case(COMMANDS[*command].name.as_bytes()))
        };
        if words.first().is_some_and(|name| is_secret(name)) {
            words.truncate(1);
            words.push(b"(redacted)".to_vec());
        }
        if words.is_empty() {
            words.extend(last.map(|command| COMMANDS[command].name.as_bytes().to_vec()));
        }
        if count > 1 {
            words.push(format!("(one of {count} done together in this time)").into_bytes());
        }
        let (mut from, mut name) = (String::new(), Vec::new());
        match slowness.whose {
            Some(Whose::Core(core)) => from = format!("core{}", core.0),
            Some(Whose::Client(conn)) => {
                if let Some(session) = self.sessions.take(conn) {
                    (from, name) = (session.about.from.to_string(), session.about.name.to_vec());
                    self.sessions.put_back(session);
                }
            }
            None => {}
        }
        let id = slowness.made * cores + u64::from(self.seat.core.0);
        slowness.made += 1;
        slowness.entries.push_back(Slow { id, at_us: now.wall.micros(), took_us, words, from, name });
        self.bound_slow();
    }

    /// Forgets the oldest over the bound.
    pub(crate) fn bound_slow(&mut self) {
        let most = self.config.limits.slow_max as usize;
        let entries = &mut self.slowness.entries;
        let more = entries.len().saturating_sub(most);
        entries.drain(..more);
    }
}

fn name(command: u8) -> &'static str {
    COMMANDS.get(usize::from(command)).map_or("", |entry| entry.name)
}

/// The words of what was put aside, as they are shown.
fn words(aside: Aside, bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut words, whole) = match aside {
        Aside::Resp => resp_words(bytes),
        Aside::Frame => frame_words(bytes),
        Aside::Words => plain_words(bytes),
    };
    let more = whole.saturating_sub(if whole > WORDS_MAX { WORDS_MAX - 1 } else { words.len() });
    if more > 0 {
        words.truncate(WORDS_MAX - 1);
        let more = whole - words.len();
        words.push(format!("... ({more} more arguments)").into_bytes());
    }
    words
}

/// A word of which this much is here.
fn shown(here: &[u8], whole: usize) -> Vec<u8> {
    let kept = &here[..here.len().min(WORD_BYTES_MAX)];
    let mut word = kept.to_vec();
    if kept.len() < whole {
        word.extend_from_slice(format!("... ({} more bytes)", whole - kept.len()).as_bytes());
    }
    word
}

/// Words of a request as it was sent, as far as it is here, and how many there are in all.
fn resp_words(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let line = |rest: &mut &[u8]| -> Option<Vec<u8>> {
        let end = rest.windows(2).position(|end| end == b"\r\n")?;
        let line = rest[..end].to_vec();
        *rest = &rest[end + 2..];
        Some(line)
    };
    let number = |text: &[u8]| str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
    let mut rest = bytes;
    if rest.first() != Some(&b'*') {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let words = rest[..end].split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let words: Vec<Vec<u8>> = words.map(|word| shown(word, word.len())).collect();
        let whole = words.len();
        return (words, whole);
    }
    let whole = line(&mut rest).and_then(|line| number(&line[1..])).unwrap_or(0);
    let mut words = Vec::new();
    while words.len() < whole.min(WORDS_MAX)
        && let Some(head) = line(&mut rest)
        && let Some(length) = head.get(1..).and_then(number)
    {
        let here = rest.len().min(length);
        words.push(shown(&rest[..here], length));
        rest = &rest[rest.len().min(length.saturating_add(2))..];
    }
    (words, whole)
}

/// The same for framed text.
fn frame_words(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let Some((head, text)) = bytes.split_first_chunk::<4>() else { return (Vec::new(), 0) };
    let length = u32::from_be_bytes(*head) as usize;
    let text = &text[..text.len().min(length)];
    let missing = length - text.len();
    let mut words: Vec<Vec<u8>> = Vec::new();
    let parts: Vec<&[u8]> = text.splitn(3, |byte| *byte == b' ').collect();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        words.push(shown(part, part.len() + if is_last { missing } else { 0 }));
    }
    let whole = words.len();
    (words, whole)
}

fn plain_words(mut bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut words = Vec::new();
    while let Some((whole, rest)) = bytes.split_first_chunk::<8>() {
        let Some((here, rest)) = rest.split_first() else { break };
        let (word, rest) = rest.split_at(rest.len().min(usize::from(*here)));
        words.push(shown(word, u64::from_le_bytes(*whole) as usize));
        bytes = rest;
    }
    let whole = words.len();
    (words, whole)
}

#[cfg(test)]
mod tests;
