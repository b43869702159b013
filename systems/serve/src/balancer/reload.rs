//! The configuration read again, at SIGHUP or by the admin port: the same command line and environment, and the file as
//! it is now.
//!
//! Bounds, waits, ring and key change at once. What is bound to sockets, threads or an engine cannot, so it stays, and
//! that is said.

use super::{Serve, Typed, What};
use crate::{logs, options};
use balancer::Config;
use reactor::Fatal;
use std::net::SocketAddr;

/// The configuration as it is now: what may change while the program runs does, and what may not is said.
pub(super) fn again(
    first: &Serve,
    traffic: SocketAddr,
    admin: SocketAddr,
    cores: usize,
) -> Result<Config, Fatal> {
    let What::Serve(asked) = options::again::<Typed>()?.what else {
        return Err(Fatal::misuse("this program was not started to serve"));
    };
    let mut config = asked.config(traffic, admin, cores)?;
    config.held_back = asked.held_back(first);
    if asked.run.driver != first.run.driver {
        config.driver = first.driver()?;
    }
    for sentence in &config.held_back {
        logs::say(logs::Level::Warn, sentence);
    }
    logs::say(logs::Level::Info, "the configuration was read again");
    Ok(config)
}

impl Serve {
    /// What differs from how the program was started and cannot change before the next start.
    fn held_back(&self, first: &Self) -> Vec<Box<str>> {
        fn shown(value: &impl std::fmt::Debug) -> String {
            format!("{value:?}")
        }
        let (mine, theirs) = (&self.common, &first.common);
        let values = [
            ("listen", shown(&theirs.listen), shown(&mine.listen)),
            ("port", shown(&first.port), shown(&self.port)),
            ("admin-listen", shown(&first.admin_listen), shown(&self.admin_listen)),
            ("admin-port", shown(&first.admin_port), shown(&self.admin_port)),
            ("cores", shown(&theirs.cores()), shown(&mine.cores())),
            ("drain-timeout of the whole program", shown(&theirs.drain_timeout), shown(&mine.drain_timeout)),
            ("spin-us", shown(&theirs.spin_us), shown(&mine.spin_us)),
            ("log-level", shown(&theirs.log_level), shown(&mine.log_level)),
            ("log-format", shown(&theirs.log_format), shown(&mine.log_format)),
            ("driver", shown(&first.run.driver), shown(&self.run.driver)),
            ("replica-address", shown(&first.run.replica_address), shown(&self.run.replica_address)),
            ("docker-socket", shown(&first.run.engine.docker_socket), shown(&self.run.engine.docker_socket)),
            ("docker-image", shown(&first.run.docker_image), shown(&self.run.docker_image)),
            (
                "docker-network",
                shown(&first.run.engine.docker_network),
                shown(&self.run.engine.docker_network),
            ),
            ("docker-port", shown(&first.run.docker_port), shown(&self.run.docker_port)),
        ];
        let held = values.iter().filter(|(_, was, is)| was != is).map(|(name, was, is)| {
            format!("{name} stays {was} until the next start or SIGUSR2; {is} is asked for").into()
        });
        let count = (self.replicas != first.replicas).then(|| {
            format!(
                "replicas is how many there are at first: {} is asked for, /add and /rm change it",
                self.replicas
            )
            .into()
        });
        held.chain(count).collect()
    }
}
