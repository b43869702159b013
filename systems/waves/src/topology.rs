//! The files of a network: `topology.json` in its two forms, and `config.json`.
//!
//! A tree is nested, as the classic demonstration has it: `{"name","port","cpu","children":[…]}`. A graph is flat:
//! `{"nodes":[{"name","port","cpu"},…],"links":[[a,b],…]}`, where an end of a link is a node's place in the list, its
//! name, or its port (where any number is not a place, all numbers are ports). What may be left out of a node: the
//! name (`unit-PLACE`), the port (8000 and its place), the processors (1).

use crate::network::{Flaw, Network, Spec, UNITS_MAX};
use core::time::Duration;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The most bytes of a file that is read.
pub const FILE_MAX: usize = 64 << 20;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is not JSON, or nested deeper than 127; what the reader says, with line and column.
    NotJson(String),
    /// The value there is not what it must be.
    Shape(String),
    /// The units and links do not make a network.
    Network(Flaw),
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotJson(why) | Self::Shape(why) => f.write_str(why),
            Self::Network(flaw) => flaw.fmt(f),
        }
    }
}

impl From<Flaw> for Wrong {
    fn from(flaw: Flaw) -> Self {
        Self::Network(flaw)
    }
}

fn parse(text: &str) -> Result<Value, Wrong> {
    serde_json::from_str(text).map_err(|error| {
        let deep =
            if error.to_string().contains("recursion") { "; write so deep a tree as a graph" } else { "" };
        Wrong::NotJson(format!("{error}{deep}"))
    })
}

/// Reads a network in either form.
///
/// # Errors
/// [`Wrong`].
pub fn read(text: &str) -> Result<Network, Wrong> {
    let value = parse(text)?;
    let Value::Object(object) = &value else {
        return Err(Wrong::Shape("a topology is an object".into()));
    };
    match object.get("nodes") {
        Some(nodes) => graph(nodes, object.get("links")),
        None => tree(object),
    }
}

fn tree(root: &Map<String, Value>) -> Result<Network, Wrong> {
    let (mut units, mut links) = (Vec::new(), Vec::new());
    // Breadth first, so that numbers follow the levels.
    let mut rest = std::collections::VecDeque::from([(root, None)]);
    while let Some((node, parent)) = rest.pop_front() {
        let place = units.len();
        units.push(spec(node, place)?);
        if units.len() > UNITS_MAX {
            return Err(Flaw::TooLarge.into());
        }
        links.extend(parent.map(|parent| (parent, place as u32)));
        match node.get("children") {
            None | Some(Value::Null) => {}
            Some(Value::Array(children)) => {
                for child in children {
                    let Value::Object(child) = child else {
                        return Err(Wrong::Shape("children are nodes".into()));
                    };
                    rest.push_back((child, Some(place as u32)));
                }
            }
            Some(_) => return Err(Wrong::Shape("children are a list".into())),
        }
    }
    Ok(Network::new(units, &links)?)
}

fn graph(nodes: &Value, links: Option<&Value>) -> Result<Network, Wrong> {
    let shape = |what: &str| Wrong::Shape(what.to_owned());
    let nodes = nodes.as_array().ok_or_else(|| shape("nodes are a list"))?;
    if nodes.len() > UNITS_MAX {
        return Err(Flaw::TooLarge.into());
    }
    let mut units = Vec::with_capacity(nodes.len());
    for (place, node) in nodes.iter().enumerate() {
        units.push(match node {
            Value::Object(node) => spec(node, place)?,
            Value::String(name) => Spec { name: name.clone(), ..spec(&Map::new(), place)? },
            _ => return Err(shape("a node is an object or a name")),
        });
    }
    let none = Vec::new();
    let links = match links {
        None => &none,
        Some(links) => links.as_array().ok_or_else(|| shape("links are a list"))?,
    };
    let pairs: Option<Vec<[&Value; 2]>> = links
        .iter()
        .map(|link| link.as_array().and_then(|pair| Some([pair.first()?, pair.get(1)?])))
        .collect();
    let pairs = pairs.ok_or_else(|| shape("a link is a pair [a, b]"))?;
    let ends = Ends::new(&units, &pairs);
    let links: Result<Vec<(u32, u32)>, Wrong> =
        pairs.iter().map(|[a, b]| Ok((ends.find(a)?, ends.find(b)?))).collect();
    Ok(Network::new(units, &links?)?)
}

/// How ends of links are named in one file.
struct Ends<'a> {
    by_name: BTreeMap<&'a str, u32>,
    by_number: BTreeMap<u64, u32>,
}

impl<'a> Ends<'a> {
    fn new(units: &'a [Spec], pairs: &[[&Value; 2]]) -> Self {
        let mut numbers = pairs.iter().flatten().filter_map(|end| end.as_u64());
        let are_places = numbers.all(|number| number < units.len() as u64);
        let number = |place: usize, unit: &Spec| if are_places { place as u64 } else { u64::from(unit.port) };
        Self {
            by_name: units.iter().enumerate().map(|(place, unit)| (&*unit.name, place as u32)).collect(),
            by_number: units
                .iter()
                .enumerate()
                .map(|(place, unit)| (number(place, unit), place as u32))
                .collect(),
        }
    }

    fn find(&self, end: &Value) -> Result<u32, Wrong> {
        let found = match end {
            Value::String(name) => self.by_name.get(&**name),
            _ => end.as_u64().and_then(|number| self.by_number.get(&number)),
        };
        found.copied().ok_or_else(|| Wrong::Shape(format!("a link ends at {end}, which is no node")))
    }
}

fn spec(node: &Map<String, Value>, place: usize) -> Result<Spec, Wrong> {
    let name = match node.get("name") {
        None => format!("unit-{place}"),
        Some(Value::String(name)) => name.clone(),
        Some(other) => return Err(Wrong::Shape(format!("a name is text, not {other}"))),
    };
    let number = |key: &str, default: u64, max: u64| match node.get(key) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .filter(|number| *number <= max)
            .ok_or_else(|| Wrong::Shape(format!("{key} of {name:?} is a number up to {max}, not {value}"))),
    };
    let port = number("port", 8000 + place as u64, u64::from(u16::MAX))? as u16;
    let cpu = number("cpu", 1, u64::from(u32::MAX))? as u32;
    Ok(Spec { name, port, cpu })
}

/// The network as a graph, as it can be read again.
#[must_use]
pub fn write(network: &Network) -> String {
    let nodes =
        network.units().iter().map(|unit| json!({"name": unit.name, "port": unit.port, "cpu": unit.cpu}));
    let nodes: Vec<String> = nodes.map(|node| node.to_string()).collect();
    let links: Vec<String> = network.links().iter().map(|(a, b)| format!("[{},{}]", a.0, b.0)).collect();
    format!("{{\"nodes\":[\n{}\n],\"links\":[\n{}\n]}}\n", nodes.join(",\n"), links.join(","))
}

/// What `config.json` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Per cent of a unit's processors from which on its tasks are moved away.
    pub max_cpu: f64,
    /// How long a task takes.
    pub task_time: Duration,
    /// How often tasks are moved; never, when zero.
    pub rebalance_interval: Duration,
}

impl Default for Settings {
    /// 75 %, 10 s, every 5 s.
    fn default() -> Self {
        Self { max_cpu: 75.0, task_time: Duration::from_secs(10), rebalance_interval: Duration::from_secs(5) }
    }
}

/// The longest time that a setting may say: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// Reads `config.json`; what it does not say is as it is by default, what nobody knows is an error.
///
/// # Errors
/// [`Wrong`].
pub fn settings(text: &str) -> Result<Settings, Wrong> {
    let value = parse(text)?;
    let object = value.as_object().ok_or_else(|| Wrong::Shape("a configuration is an object".into()))?;
    let mut settings = Settings::default();
    for (key, value) in object {
        let number = |max: f64| {
            value
                .as_f64()
                .filter(|number| (0.0..=max).contains(number))
                .ok_or_else(|| Wrong::Shape(format!("{key} is a number from 0 to {max}, not {value}")))
        };
        match &**key {
            "max_cpu" => settings.max_cpu = number(10_000.0)?,
            "task_time" => settings.task_time = Duration::from_secs_f64(number(SECONDS_MAX)?),
            "rebalance_interval" => {
                settings.rebalance_interval = Duration::from_secs_f64(number(SECONDS_MAX)?)
            }
            _ => return Err(Wrong::Shape(format!("there is no setting {key:?}"))),
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{UnitId, plain_units};

    const TREE: &str = r#"{"name":"a","port":8000,"cpu":4,"children":[
        {"name":"b","port":8001,"cpu":2,"children":[{"name":"d","port":8003,"cpu":1,"children":[]}]},
        {"name":"c","port":8002,"cpu":2}]}"#;

    #[test]
    fn a_tree_is_numbered_by_its_levels() {
        let network = read(TREE).unwrap();
        let names: Vec<&str> = network.units().iter().map(|unit| &*unit.name).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(network.children(UnitId(0)), [8001, 8002]);
        assert_eq!(network.children(UnitId(1)), [8003]);
    }

    #[test]
    fn a_graph_is_read_as_it_is_written() {
        let network = Network::new(plain_units(5, 3), &[(0, 1), (3, 1), (4, 2)]).unwrap();
        assert_eq!(read(&write(&network)), Ok(network));
    }

    #[test]
    fn ends_are_places_names_or_ports() {
        #[track_caller]
        fn check(links: &str, expected: Option<&[(u32, u32)]>) {
            let text = format!(r#"{{"nodes":["a",{{"name":"b","port":9000}},"c"],"links":{links}}}"#);
            let found = read(&text).ok();
            let found = found.map(|it| it.links().iter().map(|(a, b)| (a.0, b.0)).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected, "{links}");
        }
        check("[[0,1],[1,2]]", Some(&[(0, 1), (1, 2)]));
        check(r#"[["a","c"]]"#, Some(&[(0, 2)]));
        check("[[8000,9000]]", Some(&[(0, 1)]));
        check("[[0,9000]]", None);
        check("[[0]]", None);
        check(r#"[["a","x"]]"#, None);
        check("[[0,0]]", None);
        check("7", None);
    }

    #[test]
    fn every_cut_of_a_file_is_refused_and_none_panics() {
        for cut in 0..TREE.len() {
            assert!(read(&TREE[..cut]).is_err(), "{cut}");
        }
        let deep = format!("{}{}", r#"{"children":["#.repeat(200), "]}".repeat(200));
        assert!(read(&deep).unwrap_err().to_string().contains("as a graph"));
    }

    #[test]
    fn settings_are_numbers_and_known() {
        let read = settings(r#"{"max_cpu":75,"task_time":10,"rebalance_interval":5}"#);
        assert_eq!(read, Ok(Settings::default()));
        assert_eq!(settings("{}"), Ok(Settings::default()));
        for wrong in
            ["[]", r#"{"max_cpu":-1}"#, r#"{"task_time":"x"}"#, r#"{"tusk_time":1}"#, r#"{"task_time":1e99}"#]
        {
            assert!(settings(wrong).is_err(), "{wrong}");
        }
    }
}
