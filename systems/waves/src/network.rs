//! The network as everybody knows it: units, and the links between them, in the order in which they came to be.
//!
//! Units and links are only ever added; one that dies or is cut keeps its number, so that a wave that is on its way
//! while the network changes never takes one unit for another. A link is written from one unit to another: `a` names
//! `b` among its children. Waves run over both directions of it, but for the mode that is labelled `directed`.

use std::collections::BTreeMap;

/// The most units of a network: numbers of units fit two bytes, and sets of them 8 KiB.
pub const UNITS_MAX: usize = 65_536;

/// The most links of a network.
pub const LINKS_MAX: usize = 1 << 20;

/// The most processors of a unit.
pub const CPU_MAX: u32 = 4096;

/// The most bytes of a unit's name.
pub const NAME_MAX: usize = 64;

/// A unit, by its place in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u32);

impl UnitId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a unit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What people call it.
    pub name: String,
    /// Its number among ports, by which others name it, also where nobody listens at it.
    pub port: u16,
    /// How many tasks it works on at once.
    pub cpu: u32,
}

/// What is wrong with a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has no unit.
    Empty,
    /// More than [`UNITS_MAX`] units or [`LINKS_MAX`] links.
    TooLarge,
    /// A link names a unit that there is not, or one unit twice.
    BadLink(u32, u32),
    /// Two units have this port.
    PortTwice(u16),
    /// This unit has no processor, or more than [`CPU_MAX`].
    BadCpu(String),
    /// This name is empty or longer than [`NAME_MAX`] bytes.
    BadName(String),
}

impl core::fmt::Display for Flaw {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("a network has at least one unit"),
            Self::TooLarge => {
                write!(f, "a network has at most {UNITS_MAX} units and {LINKS_MAX} links")
            }
            Self::BadLink(a, b) => {
                write!(f, "the link from {a} to {b} does not join two units of the network")
            }
            Self::PortTwice(port) => write!(f, "two units have port {port}"),
            Self::BadCpu(name) => write!(f, "unit {name:?} has not between 1 and {CPU_MAX} processors"),
            Self::BadName(name) => write!(f, "a unit's name has 1 to {NAME_MAX} bytes: {name:?}"),
        }
    }
}

/// Units and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    units: Vec<Spec>,
    links: Vec<(UnitId, UnitId)>,
    by_port: BTreeMap<u16, UnitId>,
}

impl Network {
    /// The network of these; a link that is said twice, either way round, counts once.
    ///
    /// # Errors
    /// The first [`Flaw`].
    pub fn new(units: Vec<Spec>, links: &[(u32, u32)]) -> Result<Self, Flaw> {
        if units.is_empty() {
            return Err(Flaw::Empty);
        }
        if units.len() > UNITS_MAX || links.len() > LINKS_MAX {
            return Err(Flaw::TooLarge);
        }
        let mut network = Self::default();
        for spec in units {
            network.admit(spec)?;
        }
        let mut seen = std::collections::BTreeSet::new();
        for &(a, b) in links {
            let count = network.units.len() as u32;
            if a == b || a >= count || b >= count {
                return Err(Flaw::BadLink(a, b));
            }
            if seen.insert((a.min(b), a.max(b))) {
                network.links.push((UnitId(a), UnitId(b)));
            }
        }
        Ok(network)
    }

    fn admit(&mut self, spec: Spec) -> Result<UnitId, Flaw> {
        if spec.name.is_empty() || spec.name.len() > NAME_MAX {
            return Err(Flaw::BadName(spec.name));
        }
        if spec.cpu == 0 || spec.cpu > CPU_MAX {
            return Err(Flaw::BadCpu(spec.name));
        }
        let id = UnitId(self.units.len() as u32);
        if self.by_port.insert(spec.port, id).is_some() {
            return Err(Flaw::PortTwice(spec.port));
        }
        self.units.push(spec);
        Ok(id)
    }

    /// Adds a unit that is linked to these.
    ///
    /// # Errors
    /// The [`Flaw`]; nothing has changed then.
    pub fn add(&mut self, spec: Spec, linked_to: &[UnitId]) -> Result<UnitId, Flaw> {
        if self.units.len() >= UNITS_MAX || self.links.len() + linked_to.len() > LINKS_MAX {
            return Err(Flaw::TooLarge);
        }
        let next = UnitId(self.units.len() as u32);
        if let Some(wrong) = linked_to.iter().find(|unit| unit.index() >= self.units.len()) {
            return Err(Flaw::BadLink(wrong.0, next.0));
        }
        if self.by_port.contains_key(&spec.port) {
            return Err(Flaw::PortTwice(spec.port));
        }
        let id = self.admit(spec)?;
        for (index, unit) in linked_to.iter().enumerate() {
            if !linked_to[..index].contains(unit) {
                self.links.push((*unit, id));
            }
        }
        Ok(id)
    }

    /// Adds a link, unless there is one.
    ///
    /// # Errors
    /// The [`Flaw`]; nothing has changed then.
    pub fn link(&mut self, a: UnitId, b: UnitId) -> Result<(), Flaw> {
        if a == b || a.index().max(b.index()) >= self.units.len() {
            return Err(Flaw::BadLink(a.0, b.0));
        }
        if self.links.len() >= LINKS_MAX {
            return Err(Flaw::TooLarge);
        }
        if !self.links.contains(&(a, b)) && !self.links.contains(&(b, a)) {
            self.links.push((a, b));
        }
        Ok(())
    }

    /// All units, by id.
    #[must_use]
    pub fn units(&self) -> &[Spec] {
        &self.units
    }

    /// All links, in the order in which they were made.
    #[must_use]
    pub fn links(&self) -> &[(UnitId, UnitId)] {
        &self.links
    }

    /// What that unit is.
    #[must_use]
    pub fn spec(&self, unit: UnitId) -> Option<&Spec> {
        self.units.get(unit.index())
    }

    /// Whose port that is.
    #[must_use]
    pub fn by_port(&self, port: u16) -> Option<UnitId> {
        self.by_port.get(&port).copied()
    }

    /// A port that no unit has, after all that are in use; none when there is no further one.
    #[must_use]
    pub fn next_port(&self) -> Option<u16> {
        self.by_port.last_key_value().and_then(|(port, _)| port.checked_add(1))
    }

    /// The ports of the units that this one names as its children.
    #[must_use]
    pub fn children(&self, unit: UnitId) -> Vec<u16> {
        let children = self.links.iter().filter(|(a, _)| *a == unit);
        children.map(|(_, b)| self.units[b.index()].port).collect()
    }
}

/// `count` units with one name scheme and `cpu` processors each, with ports from 8000 on (from 1 on, where they would
/// not fit).
#[must_use]
pub fn plain_units(count: usize, cpu: u32) -> Vec<Spec> {
    let first = if count <= 57_000 { 8000 } else { 0 };
    (0..count.min(UNITS_MAX))
        .map(|index| Spec { name: format!("unit-{index}"), port: (first + index) as u16, cpu })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_said_twice_is_one_link() {
        let network = Network::new(plain_units(3, 1), &[(0, 1), (1, 0), (1, 2)]).unwrap();
        assert_eq!(network.links(), [(UnitId(0), UnitId(1)), (UnitId(1), UnitId(2))]);
        assert_eq!(network.children(UnitId(1)), [8002]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        #[track_caller]
        fn check(units: Vec<Spec>, links: &[(u32, u32)], expected: Flaw) {
            assert_eq!(Network::new(units, links), Err(expected));
        }
        check(Vec::new(), &[], Flaw::Empty);
        check(plain_units(2, 1), &[(0, 2)], Flaw::BadLink(0, 2));
        check(plain_units(2, 1), &[(1, 1)], Flaw::BadLink(1, 1));
        check(plain_units(1, 0), &[], Flaw::BadCpu("unit-0".into()));
        let twice = vec![plain_units(1, 1)[0].clone(); 2];
        check(twice, &[], Flaw::PortTwice(8000));
        check(vec![Spec { name: String::new(), port: 1, cpu: 1 }], &[], Flaw::BadName(String::new()));
    }

    #[test]
    fn a_network_grows_and_a_refusal_leaves_it_as_it_was() {
        let mut network = Network::new(plain_units(2, 1), &[(0, 1)]).unwrap();
        let spec = Spec { name: "new".into(), port: network.next_port().unwrap(), cpu: 2 };
        let added = network.add(spec.clone(), &[UnitId(1), UnitId(1)]).unwrap();
        assert_eq!((added, network.links().len(), network.by_port(8002)), (UnitId(2), 2, Some(added)));
        let before = network.clone();
        assert_eq!(network.add(spec, &[]), Err(Flaw::PortTwice(8002)));
        assert_eq!(network.link(UnitId(0), UnitId(9)), Err(Flaw::BadLink(0, 9)));
        assert_eq!(network.link(UnitId(1), UnitId(0)), Ok(()));
        assert_eq!(network, before);
    }
}
