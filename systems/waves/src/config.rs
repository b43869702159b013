//! What the operator meant, the same on every core. Parsed once in `serve`; nothing here is read from anywhere.

use crate::balance::Balancer;
use crate::network::Network;
use crate::topology::Settings;
use crate::wave::field::Bounds;
use std::net::SocketAddr;
use std::sync::Arc;

/// Everything a core is told before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The units and links to begin with.
    pub network: Arc<Network>,
    /// What tasks take, and when they are moved.
    pub settings: Settings,
    /// How they are moved; not by itself, when none.
    pub balancer: Option<Balancer>,
    /// The bounds of waves.
    pub bounds: Bounds,
    /// Where every core serves the page and the balancer's interface.
    pub http: Vec<SocketAddr>,
    /// Where the first units are served, by unit: each by the core on which it lives.
    pub units: Vec<SocketAddr>,
    /// Pages of other origins that may start waves and read answers.
    pub origins: Vec<Box<str>>,
    /// Every unit is a process of its own, and what cores say to each other travels by sockets.
    pub is_apart: bool,
    /// How the network was made, for people: `family=grid&units=64&seed=1`.
    pub label: String,
}
