//! A wave's result as people and the classic clients read it: `{"name","load","cpu","port","children":[…]}`, nested
//! as the wave's spanning tree. Written without recursion: a line of units is a tree as deep as it is long.

use crate::network::{Network, UnitId};
use crate::wave::Reading;
use core::fmt::Write as _;
use std::collections::BTreeMap;

/// The tree below `root`. Empty text when the root was not read.
#[must_use]
pub fn json(network: &Network, root: UnitId, readings: &[Reading]) -> String {
    let by_unit: BTreeMap<UnitId, &Reading> =
        readings.iter().map(|reading| (reading.unit, reading)).collect();
    let mut children: BTreeMap<UnitId, Vec<UnitId>> = BTreeMap::new();
    for reading in by_unit.values().filter(|reading| reading.unit != root) {
        children.entry(reading.parent).or_default().push(reading.unit);
    }
    let mut text = String::new();
    // What is still to be written, last first.
    let mut rest = vec![Part::Unit(root, true)];
    while let Some(part) = rest.pop() {
        match part {
            Part::End => text.push_str("]}"),
            Part::Unit(unit, is_first) => {
                let (Some(reading), Some(spec)) = (by_unit.get(&unit), network.spec(unit)) else { continue };
                let comma = if is_first { "" } else { "," };
                let name = quoted(&spec.name);
                let _ = write!(
                    text,
                    "{comma}{{\"name\":{name},\"load\":{},\"cpu\":{},\"port\":{},\"children\":[",
                    reading.load, reading.cpu, spec.port
                );
                rest.push(Part::End);
                let below = children.remove(&unit).unwrap_or_default();
                rest.extend(
                    below.iter().enumerate().rev().map(|(index, unit)| Part::Unit(*unit, index == 0)),
                );
            }
        }
    }
    text
}

enum Part {
    Unit(UnitId, bool),
    End,
}

/// A text as JSON has it.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::plain_units;

    fn reading(unit: u32, parent: u32) -> Reading {
        Reading { unit: UnitId(unit), parent: UnitId(parent), load: unit, cpu: 2 }
    }

    #[test]
    fn a_tree_is_nested_as_the_wave_went() {
        let network = Network::new(plain_units(4, 2), &[(0, 1), (0, 2), (2, 3)]).unwrap();
        let readings = [reading(3, 2), reading(0, 0), reading(2, 0), reading(1, 0)];
        assert_eq!(
            json(&network, UnitId(0), &readings),
            r#"{"name":"unit-0","load":0,"cpu":2,"port":8000,"children":[{"name":"unit-1","load":1,"cpu":2,"port":8001,"children":[]},{"name":"unit-2","load":2,"cpu":2,"port":8002,"children":[{"name":"unit-3","load":3,"cpu":2,"port":8003,"children":[]}]}]}"#
        );
        assert_eq!(json(&network, UnitId(0), &readings[..1]), "");
    }

    #[test]
    fn a_line_of_ten_thousand_does_not_overflow_the_stack() {
        let network = Network::new(plain_units(10_000, 1), &[]).unwrap();
        let readings: Vec<Reading> =
            (0..10_000u32).map(|unit| reading(unit, unit.saturating_sub(1))).collect();
        assert_eq!(json(&network, UnitId(0), &readings).matches("\"name\"").count(), 10_000);
    }
}
