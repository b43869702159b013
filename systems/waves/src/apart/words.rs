//! What units that are processes of their own say to each other: a letter as JSON in a WebSocket's text.
//!
//! The words are the classic demonstration's, `{"route":"echo","sender","purpose"}`, `{"route":"echo_back","payload",
//! "purpose"}` and `{"route":"finn","inc","ninc","sender"}`, where units are named by their ports; ours add what keeps
//! waves apart and counts them. The hard thing is a neighbour written elsewhere that leaves ours out. Its echo belongs
//! to the wave that it was last told of, if it still owes an answer to it, and is a wave of its own otherwise; its
//! tree says the sums; its messages of Finn's are numbered as they come. So it can take part, in one wave at a time.

use crate::letter::{Algorithm, Kind, Letter, Purpose, Terms, WaveId, Word};
use crate::network::{Network, UnitId};
use crate::tree;
use crate::wave::{Lack, Missing, Reading};
use machine::Instant;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Waves of units that give them no id have numbers from here on.
const UNNAMED: u32 = 1 << 31;

/// Trees are not read deeper than this.
const DEPTH_MAX: usize = 128;

/// Translates this process's instants to microseconds since 1970, which all processes of a machine share, and back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Microseconds since 1970 at this process's instant zero.
    pub origin_us: u64,
}

impl Clock {
    /// An instant as others read it.
    #[must_use]
    pub const fn out(self, at: Instant) -> u64 {
        self.origin_us + at.nanos() / 1000
    }

    /// What others say, as an instant here. What was before this process began is its beginning.
    #[must_use]
    pub const fn back(self, us: u64) -> Instant {
        Instant::from_nanos(us.saturating_sub(self.origin_us).saturating_mul(1000))
    }
}

/// The last wave between this unit and a neighbour, for a neighbour who does not say which it means.
#[derive(Clone, Copy, Debug)]
struct Last {
    wave: WaveId,
    terms: Terms,
    /// It was told of this wave by us and has not answered.
    owes: bool,
    /// Its messages of Finn's, so far.
    messages: u32,
}

/// What is remembered of neighbours.
#[derive(Debug, Default)]
pub struct Neighbours {
    last: BTreeMap<(UnitId, bool), Last>,
    unnamed: u32,
}

/// Whether a text at a unit's socket is a neighbour's word in a wave, and not a client's wish to start one.
#[must_use]
pub fn is_letter(value: &Value, to: UnitId, network: &Network) -> bool {
    let is_linked =
        |from: UnitId| network.links().iter().any(|(a, b)| [(from, to), (to, from)].contains(&(*a, *b)));
    sender(value, network).is_some_and(is_linked)
}

fn sender(value: &Value, network: &Network) -> Option<UnitId> {
    let port = value.get("sender").or_else(|| value.get("payload")?.get("port"))?;
    network.by_port(port.as_u64()?.try_into().ok()?)
}

const fn purpose_word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Count => "count",
        Purpose::Status => "status",
        Purpose::Rebalance => "rebalance",
        Purpose::Tasks => "tasks",
    }
}

fn purpose(value: &Value) -> Option<Purpose> {
    Some(match value.get("purpose")?.as_str()? {
        "count" => Purpose::Count,
        "rebalance" => Purpose::Rebalance,
        "tasks" => Purpose::Tasks,
        _ => Purpose::Status,
    })
}

impl Neighbours {
    /// A letter as text.
    #[must_use]
    pub fn write(&mut self, letter: &Letter, words: &[Word], network: &Network, clock: Clock) -> String {
        let (from, to) = (UnitId(letter.from), UnitId(letter.to));
        let (wave, terms) = (letter.wave_id(), letter.terms());
        let port = |unit: UnitId| network.spec(unit).map_or(0, |spec| spec.port);
        let ports = |words: &[Word]| -> Vec<u16> {
            words.iter().map(|word| port(UnitId(word.to_native()))).collect()
        };
        let mut said = json!({
            "sender": port(from),
            "purpose": purpose_word(terms.purpose),
            "wave": wave.to_string(),
            "started_at": clock.out(terms.started_at),
        });
        let (first, rest) = words.split_at_checked(letter.lists[0] as usize).unwrap_or_default();
        let (second, third) = rest.split_at_checked(letter.lists[1] as usize).unwrap_or_default();
        let is_echo = terms.algorithm == Algorithm::Echo;
        match letter.kind {
            Kind::Explore => {
                said["route"] = "echo".into();
                self.last.insert((to, true), Last { wave, terms, owes: true, messages: 0 });
            }
            Kind::Back => {
                said["route"] = "echo_back".into();
                said["sums"] = json!(letter.sums);
                said["payload"] = payload(from, letter.sums, first, network);
                said["missing"] = Missing::read(second).map(|missing| lack(missing, network)).collect();
            }
            Kind::Sets => {
                said["route"] = "finn".into();
                said["number"] = letter.sums[0].into();
                said["directed"] = (terms.algorithm == Algorithm::Directed).into();
                said["inc"] = json!(ports(first));
                said["ninc"] = json!(ports(second));
                said["gone"] = json!(ports(third));
                let last = self.last.get(&(to, false)).filter(|last| last.wave == wave);
                let messages = last.map_or(0, |last| last.messages);
                self.last.insert((to, false), Last { wave, terms, owes: true, messages });
            }
            Kind::Late | Kind::Beat => {
                said["route"] = if letter.kind == Kind::Late { "late" } else { "beat" }.into();
                said["finn"] = (!is_echo).into();
            }
        }
        said.to_string()
    }

    /// A neighbour's text as a letter with its words. None when it is no letter.
    pub fn read(
        &mut self,
        value: &Value,
        to: UnitId,
        network: &Network,
        clock: Clock,
        now: Instant,
    ) -> Option<(Letter, Vec<Word>)> {
        let from = sender(value, network)?;
        let route = value.get("route")?.as_str()?;
        let is_echo = match route {
            "echo" | "echo_back" => true,
            "finn" => false,
            "late" | "beat" => !value.get("finn")?.as_bool()?,
            _ => return None,
        };
        let kind = match route {
            "echo" => Kind::Explore,
            "echo_back" => Kind::Back,
            "finn" => Kind::Sets,
            "late" => Kind::Late,
            _ => Kind::Beat,
        };
        let is_named = value.get("wave").is_some();
        let (wave, terms) = if is_named {
            named(value, is_echo, clock)?
        } else {
            self.unnamed(value, from, kind, is_echo, now)?
        };
        let mut letter = Letter::plain(wave, terms, kind, from, to);
        let mut lists: [Vec<Word>; 3] = Default::default();
        match kind {
            Kind::Explore | Kind::Late | Kind::Beat => {}
            Kind::Back => {
                let mut readings = Vec::new();
                read_tree(value.get("payload")?, to, 0, network, &mut readings)?;
                letter.sums = sums(value, &readings);
                if terms.purpose.gathers() {
                    lists[0] = readings.iter().flat_map(|reading| reading.words()).collect();
                }
                let missing = value.get("missing").and_then(Value::as_array).into_iter().flatten();
                lists[1] =
                    missing.filter_map(|each| read_lack(each, network)).flat_map(Missing::words).collect();
            }
            Kind::Sets => {
                for (list, key) in lists.iter_mut().zip(["inc", "ninc", "gone"]) {
                    let ports = value.get(key).and_then(Value::as_array).into_iter().flatten();
                    let units = ports.filter_map(|port| network.by_port(port.as_u64()?.try_into().ok()?));
                    *list = units.map(|unit| Word::from_native(unit.0)).collect();
                }
                letter.sums[0] = match value.get("number") {
                    Some(number) => number.as_u64()?.try_into().ok()?,
                    None => self.count(from, wave, terms),
                };
            }
        }
        letter.lists = lists.each_ref().map(|list| list.len() as u32);
        Some((letter, lists.concat()))
    }

    /// Which message of Finn's this is, of a neighbour who does not say.
    fn count(&mut self, from: UnitId, wave: WaveId, terms: Terms) -> u32 {
        let last = self.last.entry((from, false)).or_insert(Last { wave, terms, owes: false, messages: 0 });
        last.messages += 1;
        last.messages
    }

    /// The wave that a neighbour means who does not say which.
    fn unnamed(
        &mut self,
        value: &Value,
        from: UnitId,
        kind: Kind,
        is_echo: bool,
        now: Instant,
    ) -> Option<(WaveId, Terms)> {
        let last = self.last.get_mut(&(from, is_echo));
        let goes_on = last.filter(|last| last.owes || (kind == Kind::Sets && last.messages > 0));
        if let Some(last) = goes_on {
            // An echo is answered once; sets come as often as they grow.
            last.owes &= !is_echo;
            return Some((last.wave, last.terms));
        }
        if !matches!(kind, Kind::Explore | Kind::Sets) {
            return None;
        }
        self.unnamed += 1;
        let wave = WaveId { initiator: from, number: UNNAMED | self.unnamed };
        let algorithm = if is_echo { Algorithm::Echo } else { Algorithm::Finn };
        let usual = if is_echo { Purpose::Status } else { Purpose::Tasks };
        let terms = Terms { algorithm, purpose: purpose(value).unwrap_or(usual), started_at: now };
        self.last.insert((from, is_echo), Last { wave, terms, owes: false, messages: 0 });
        Some((wave, terms))
    }
}

fn named(value: &Value, is_echo: bool, clock: Clock) -> Option<(WaveId, Terms)> {
    let (initiator, number) = value.get("wave")?.as_str()?.split_once('.')?;
    let wave = WaveId { initiator: UnitId(initiator.parse().ok()?), number: number.parse().ok()? };
    let is_directed = value.get("directed").and_then(Value::as_bool).unwrap_or(false);
    let algorithm = match (is_echo, is_directed) {
        (true, _) => Algorithm::Echo,
        (false, true) => Algorithm::Directed,
        (false, false) => Algorithm::Finn,
    };
    let started_at = clock.back(value.get("started_at")?.as_u64()?);
    Some((wave, Terms { algorithm, purpose: purpose(value)?, started_at }))
}

/// The tree below `from`, or where only sums travel, its root with them.
fn payload(from: UnitId, sums: [u32; 3], readings: &[Word], network: &Network) -> Value {
    let readings: Vec<Reading> = Reading::read(readings).collect();
    let whole = tree::json(network, from, &readings);
    serde_json::from_str(&whole).unwrap_or_else(|_| {
        let spec = network.spec(from);
        let (name, port) = spec.map_or((String::new(), 0), |spec| (spec.name.clone(), spec.port));
        json!({"name": name, "load": sums[1], "cpu": sums[2], "port": port, "children": []})
    })
}

fn read_tree(
    value: &Value,
    parent: UnitId,
    depth: usize,
    network: &Network,
    readings: &mut Vec<Reading>,
) -> Option<()> {
    let number = |key: &str| u32::try_from(value.get(key)?.as_u64()?).ok();
    let unit = network.by_port(number("port")?.try_into().ok()?)?;
    readings.push(Reading { unit, parent, load: number("load")?, cpu: number("cpu")? });
    if depth >= DEPTH_MAX {
        return None;
    }
    let children = value.get("children").and_then(Value::as_array).into_iter().flatten();
    for child in children {
        read_tree(child, unit, depth + 1, network, readings)?;
    }
    Some(())
}

fn sums(value: &Value, readings: &[Reading]) -> [u32; 3] {
    let said: Option<[u32; 3]> = value.get("sums").and_then(|sums| serde_json::from_value(sums.clone()).ok());
    said.unwrap_or_else(|| {
        let sum = |part: fn(&Reading) -> u32| readings.iter().map(part).fold(0, u32::saturating_add);
        [readings.len() as u32, sum(|reading| reading.load), sum(|reading| reading.cpu)]
    })
}

fn lack(missing: Missing, network: &Network) -> Value {
    let port = |unit| network.spec(unit).map_or(0, |spec| spec.port);
    let why = match missing.why {
        Lack::Silent => "silent",
        Lack::Late => "late",
    };
    json!([port(missing.by), port(missing.unit), why])
}

fn read_lack(value: &Value, network: &Network) -> Option<Missing> {
    let unit = |place: usize| network.by_port(value.get(place)?.as_u64()?.try_into().ok()?);
    let why = if value.get(2)?.as_str()? == "late" { Lack::Late } else { Lack::Silent };
    Some(Missing { by: unit(0)?, unit: unit(1)?, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::plain_units;

    const CLOCK: Clock = Clock { origin_us: 1_000_000 };

    fn network() -> Network {
        Network::new(plain_units(3, 2), &[(0, 1), (1, 2)]).unwrap()
    }

    fn letter(kind: Kind, algorithm: Algorithm, purpose: Purpose) -> Letter {
        let wave = WaveId { initiator: UnitId(0), number: 7 };
        let terms = Terms { algorithm, purpose, started_at: Instant::from_nanos(5_000_000) };
        Letter::plain(wave, terms, kind, UnitId(1), UnitId(0))
    }

    fn with(mut letter: Letter, sums: [u32; 3], lists: [&[Word]; 3]) -> (Letter, Vec<Word>) {
        letter.sums = sums;
        letter.lists = lists.map(|list| list.len() as u32);
        (letter, lists.concat())
    }

    #[test]
    fn every_letter_arrives_as_it_was_written() {
        #[track_caller]
        fn check((letter, words): (Letter, Vec<Word>)) {
            let text = Neighbours::default().write(&letter, &words, &network(), CLOCK);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(is_letter(&value, UnitId(0), &network()), "{text}");
            let read = Neighbours::default().read(&value, UnitId(0), &network(), CLOCK, Instant::ZERO);
            assert_eq!(read, Some((letter, words)), "{text}");
        }
        let readings: Vec<Word> = [
            Reading { unit: UnitId(1), parent: UnitId(0), load: 3, cpu: 2 },
            Reading { unit: UnitId(2), parent: UnitId(1), load: 1, cpu: 2 },
        ]
        .iter()
        .flat_map(|reading| reading.words())
        .collect();
        let missing = Missing { by: UnitId(1), unit: UnitId(2), why: Lack::Late }.words();
        let units =
            |units: &[u32]| -> Vec<Word> { units.iter().map(|unit| Word::from_native(*unit)).collect() };
        check(with(letter(Kind::Explore, Algorithm::Echo, Purpose::Rebalance), [0; 3], [&[]; 3]));
        check(with(letter(Kind::Back, Algorithm::Echo, Purpose::Count), [2, 4, 4], [&[], &missing, &[]]));
        check(with(
            letter(Kind::Back, Algorithm::Echo, Purpose::Status),
            [2, 4, 4],
            [&readings, &missing, &[]],
        ));
        check(with(letter(Kind::Late, Algorithm::Echo, Purpose::Status), [0; 3], [&[]; 3]));
        check(with(letter(Kind::Beat, Algorithm::Finn, Purpose::Tasks), [0; 3], [&[]; 3]));
        for algorithm in [Algorithm::Finn, Algorithm::Directed] {
            let lists = [&*units(&[0, 1]), &units(&[1]), &units(&[2])];
            check(with(letter(Kind::Sets, algorithm, Purpose::Tasks), [4, 0, 0], lists));
        }
    }

    #[test]
    fn a_neighbour_that_knows_no_wave_ids_answers_the_wave_it_was_told_of() {
        let (network, mut neighbours) = (network(), Neighbours::default());
        let (mut ours, _) = with(letter(Kind::Explore, Algorithm::Echo, Purpose::Status), [0; 3], [&[]; 3]);
        (ours.from, ours.to) = (0, 1);
        let _ = neighbours.write(&ours, &[], &network, CLOCK);
        let back = json!({"route": "echo_back", "purpose": "status", "payload":
            {"name": "x", "load": 4, "cpu": 2, "port": 8001, "children": [
                {"name": "y", "load": 1, "cpu": 2, "port": 8002, "children": []}]}});
        let mut read = |value: &Value| neighbours.read(value, UnitId(0), &network, CLOCK, Instant::ZERO);
        let (letter, words) = read(&back).unwrap();
        assert_eq!((letter.wave_id(), letter.sums), (ours.wave_id(), [2, 5, 4]));
        assert_eq!(Reading::read(&words).map(|reading| reading.parent.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(read(&back), None, "nothing is owed any more");
        let (own, _) = read(&json!({"route": "echo", "sender": 8001, "purpose": "status"})).unwrap();
        assert_eq!((own.wave_id().initiator, own.kind), (UnitId(1), Kind::Explore));
        let sets = json!({"route": "finn", "sender": 8001, "inc": [8001], "ninc": []});
        let numbers = [read(&sets), read(&sets)].map(|read| read.unwrap().0);
        assert_eq!(numbers.map(|letter| letter.sums[0]), [1, 2]);
        assert_eq!(numbers[0].wave, numbers[1].wave);
    }

    #[test]
    fn what_is_no_letter_is_none() {
        #[track_caller]
        fn check(text: &str) {
            let value: Value = serde_json::from_str(text).unwrap();
            let read = Neighbours::default().read(&value, UnitId(0), &network(), CLOCK, Instant::ZERO);
            assert_eq!(read, None, "{text}");
        }
        check("null");
        check(r#"{"route":"echo"}"#);
        check(r#"{"route":"echo","sender":1}"#);
        check(r#"{"route":"pear","sender":8001}"#);
        check(r#"{"route":"echo","sender":8001,"purpose":"status","wave":"x"}"#);
        check(r#"{"route":"echo","sender":8001,"purpose":"status","wave":"0.99999999999","started_at":1}"#);
        check(r#"{"route":"echo_back","sender":8001,"purpose":"status","wave":"0.1","started_at":1}"#);
        check(r#"{"route":"finn","sender":8001,"purpose":"tasks","wave":"0.1","started_at":1,"number":-1}"#);
    }
}
