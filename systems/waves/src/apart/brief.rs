//! What a unit's process is told when it starts: one JSON document on its standard input, written by the process that
//! started it. It names the whole network, because a unit names others by their place in it; what it does with that is
//! what a unit may do, which is to speak to those it is linked to.

use crate::Config;
use crate::balance::Balancer;
use crate::network::UnitId;
use crate::peer::Change;
use crate::topology::{self, Settings};
use crate::wave::field::Bounds;
use core::time::Duration;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Words by which members of a troop know each other: nobody else may speak for them.
pub type Key = [u8; 16];

/// What a member of a troop is told.
#[derive(Clone, Debug)]
pub struct Troop {
    /// What all members are told. Its `http` is the balancer's alone.
    pub config: Config,
    /// Which member this is: 0 balances and starts the others, `n + 1` is unit `n`.
    pub member: u16,
    /// Known to members only.
    pub key: Key,
    /// Where units listen, each at its port.
    pub ip: IpAddr,
    /// Where the balancer does.
    pub balancer_at: SocketAddr,
    /// The program that is started for a unit, with the one argument `unit`. The balancer's alone.
    pub program: Box<str>,
    /// What has happened to the network before this member came to be.
    pub wounds: Vec<Change>,
    /// It was dead, or was added: it takes no part in waves that are older than it.
    pub is_late: bool,
    /// Takes a line that a unit has for the log.
    pub warn: fn(&str),
}

fn micros(span: Duration) -> u64 {
    span.as_micros() as u64
}

impl Troop {
    /// What another member is told.
    #[must_use]
    pub fn write(&self, unit: UnitId, wounds: &[Change], is_late: bool) -> String {
        let config = &self.config;
        let pair = |change: &Change| match change {
            Change::Kill(unit) => Some(json!([unit])),
            Change::Cut(a, b) => Some(json!([a, b])),
            Change::Revive(_) | Change::Heal(..) | Change::Add { .. } => None,
        };
        json!({
            "unit": unit.0,
            "is_late": is_late,
            "wounds": wounds.iter().filter_map(pair).collect::<Vec<_>>(),
            "key": self.key,
            "ip": self.ip.to_string(),
            "balancer": self.balancer_at.to_string(),
            "topology": topology::write(&config.network),
            "max_cpu": config.settings.max_cpu,
            "task_time_us": micros(config.settings.task_time),
            "rebalance_interval_us": micros(config.settings.rebalance_interval),
            "balance": config.balancer.map_or("none", Balancer::name),
            "edge_timeout_us": micros(config.bounds.edge_timeout),
            "wave_max_us": micros(config.bounds.wave_max),
            "origins": config.origins,
            "label": config.label,
        })
        .to_string()
    }

    /// Reads what [`write`](Self::write) wrote. None when it is anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let told: Value = serde_json::from_str(text).ok()?;
        let word = |key: &str| told.get(key)?.as_str();
        let span = |key: &str| Some(Duration::from_micros(told.get(key)?.as_u64()?));
        let network = topology::read(word("topology")?).ok()?;
        let ip: IpAddr = word("ip")?.parse().ok()?;
        let max_cpu = told.get("max_cpu")?.as_f64()?;
        let wound = |value: &Value| {
            let unit = |place: usize| u32::try_from(value.get(place)?.as_u64()?).ok();
            unit(1).map_or_else(|| unit(0).map(Change::Kill), |b| Some(Change::Cut(unit(0)?, b)))
        };
        let config = Config {
            settings: Settings {
                max_cpu,
                task_time: span("task_time_us")?,
                rebalance_interval: span("rebalance_interval_us")?,
            },
            balancer: match word("balance")? {
                "greedy" => Some(Balancer::Greedy { max_cpu }),
                "diffusion" => Some(Balancer::Diffusion),
                "matching" => Some(Balancer::Matching),
                _ => None,
            },
            bounds: Bounds {
                edge_timeout: span("edge_timeout_us")?,
                wave_max: span("wave_max_us")?,
                ..Bounds::default()
            },
            http: Vec::new(),
            units: network.units().iter().map(|spec| SocketAddr::new(ip, spec.port)).collect(),
            origins: serde_json::from_value(told.get("origins")?.clone()).ok()?,
            is_apart: true,
            label: word("label")?.to_owned(),
            network: Arc::new(network),
        };
        Some(Self {
            config,
            member: u16::try_from(told.get("unit")?.as_u64()?).ok()?.checked_add(1)?,
            key: serde_json::from_value(told.get("key")?.clone()).ok()?,
            ip,
            balancer_at: word("balancer")?.parse().ok()?,
            program: Box::default(),
            wounds: told.get("wounds")?.as_array()?.iter().filter_map(wound).collect(),
            is_late: told.get("is_late")?.as_bool()?,
            warn: |_| {},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, plain_units};

    #[test]
    fn what_a_unit_is_told_is_what_it_reads() {
        let network = Network::new(plain_units(3, 2), &[(0, 1), (1, 2)]).unwrap();
        let config = Config {
            network: Arc::new(network),
            settings: Settings::default(),
            balancer: Some(Balancer::Diffusion),
            bounds: Bounds::default(),
            http: vec![([127, 0, 0, 1], 7999).into()],
            units: Vec::new(),
            origins: vec!["http://localhost:3000".into()],
            is_apart: true,
            label: "family=line".into(),
        };
        let troop = Troop {
            config,
            member: 0,
            key: [7; 16],
            ip: [127, 0, 0, 1].into(),
            balancer_at: ([127, 0, 0, 1], 7999).into(),
            program: "waves".into(),
            wounds: Vec::new(),
            is_late: false,
            warn: |_| {},
        };
        let wounds = [Change::Kill(0), Change::Cut(1, 2)];
        let read = Troop::read(&troop.write(UnitId(2), &wounds, true)).unwrap();
        assert_eq!(
            (read.member, read.key, read.is_late, read.balancer_at),
            (3, [7; 16], true, troop.balancer_at)
        );
        assert_eq!((read.wounds, read.config.balancer), (wounds.to_vec(), Some(Balancer::Diffusion)));
        assert_eq!(
            (read.config.network, read.config.settings),
            (troop.config.network, troop.config.settings)
        );
        assert_eq!(read.config.units[2], SocketAddr::from(([127, 0, 0, 1], 8002)));
        assert!(Troop::read("{}").is_none() && Troop::read("").is_none());
    }
}
