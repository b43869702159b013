//! `faas serve`: the service.

use crate::logs;
use crate::options::Common;
use clap::Args;
use faas::{Config, Faas};
use reactor::{Doors, Fatal, Plan};
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// What the service can be told.
#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    common: Common,
    /// Where clients are served; 0 takes a free port, and READY tells it
    #[arg(long, env = "RINGWISE_PORT", default_value_t = 8000)]
    port: u16,
    /// Where workers connect [default: 5555, or a free port with --port 0]
    #[arg(long, env = "RINGWISE_DISPATCH_PORT")]
    dispatch_port: Option<u16>,
}

/// Serves until it is told to stop.
pub fn serve(asked: &Serve) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    common.refuse_strangers(false)?;
    let doors = Doors::default();
    let http = doors.reserve(SocketAddr::new(common.listen, asked.port))?;
    let port = asked.dispatch_port.unwrap_or(if asked.port == 0 { 0 } else { 5555 });
    let dispatch = doors.reserve(SocketAddr::new(common.listen, port))?;
    let mut plan = Plan::new("faas", Config { http: http.into(), dispatch: vec![dispatch.into()] });
    plan.doors = doors;
    plan.cores = common.cores();
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    plan.on_ready = Box::new(move || {
        let pid = std::process::id();
        let _ = writeln!(std::io::stdout(), "READY faas http={http} dispatch={dispatch} pid={pid}");
    });
    reactor::run::<Faas>(plan).map(drop)
}
