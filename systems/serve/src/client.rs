//! `dht client`: a prompt for the table, which also takes commands from a pipe.
//!
//! A plain program of one thread and blocking sockets: it asks, waits, and shows the answer, as the classic client
//! did, so that its figures are those of one request in flight. It knows one server, or a list of nodes among which it
//! finds each key's own. The hard thing is to be honest in a pipe: a command that nobody answered is a sentence on
//! standard error and an exit status, never a silent gap among the answers.

mod benchmark;
mod command;
mod connection;
mod prompt;
mod reach;

use crate::logs::{self, Level};
use crate::nodes_file::{self, Placement};
use crate::static_nodes::This;
use crate::values;
use clap::Args;
use dht::nodes::{Node, Nodes};
use reactor::Fatal;
use std::io::{IsTerminal as _, stdin, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use prompt::Prompt;
use reach::Reach;

/// Bytes of a benchmark's value when nobody says otherwise: those of the published figures.
const VALUE_SIZE: usize = 20;

/// What `dht client` can be told.
#[derive(Args, Clone, Debug)]
#[command(after_help = command::HELP)]
pub struct Options {
    /// Where the server is: a name or an address
    #[arg(long, default_value = "127.0.0.1", value_name = "HOST")]
    host: String,
    /// Its port for framed text
    #[arg(long, default_value_t = crate::dht::FRAME_PORT)]
    port: u16,
    /// A list of nodes instead of one server: {"0": {"ip": "127.0.0.1", "port": 5050}, ...}
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["host", "port"])]
    nodes: Option<PathBuf>,
    /// Which of the nodes has a key
    #[arg(long, value_enum, default_value = "md5-mod", requires = "nodes")]
    placement: Placement,
    /// Bytes of each value that `benchmark put` stores
    #[arg(long, default_value_t = VALUE_SIZE, value_name = "BYTES")]
    value_size: usize,
    /// How long a server may take to connect, or to answer
    #[arg(long, default_value = "10s", value_parser = values::span)]
    timeout: Duration,
}

/// Runs until `exit` or the end of the input.
///
/// # Errors
/// Status 1 when a command of a pipe met a server that cannot be reached, 2 when one meant nothing or the options do
/// not.
pub fn run(options: &Options) -> Result<(), Fatal> {
    let reach = match &options.nodes {
        Some(file) => whole_table(nodes_file::read(file)?, options.placement)?,
        None => Reach::one(&options.host, options.port),
    };
    let is_pipe = !stdin().is_terminal();
    let shows_prompt = !is_pipe && stdout().is_terminal();
    let mut prompt = Prompt::new(reach.within(options.timeout), options.value_size, shows_prompt);
    prompt.talk(stdin().lock(), stdout().lock());
    // To whom sits before a terminal everything was said already.
    if is_pipe { prompt.verdict() } else { Ok(()) }
}

/// Starts the prompt of a server on a thread of its own, about its whole table: all nodes of the list, or itself. At
/// its end the server is ended as by SIGTERM. Call it when the server serves.
pub fn start_in_server(own: SocketAddr, this: Option<This>) {
    let converse = move || {
        let reach = match this {
            Some(this) => whole_table(this.nodes, this.placement),
            None => Ok(Reach::one(&own.ip().to_string(), own.port())),
        };
        let shows_prompt = stdin().is_terminal() && stdout().is_terminal();
        match reach {
            // Not the lock of standard output: others may have a word there too.
            Ok(reach) => Prompt::new(reach, VALUE_SIZE, shows_prompt).talk(stdin().lock(), stdout()),
            Err(why) => logs::say(Level::Error, &why.sentence),
        }
        reactor::terminate();
    };
    if let Err(error) = std::thread::Builder::new().name("prompt".into()).spawn(converse) {
        logs::say(Level::Error, &format!("no thread for the prompt: {error}"));
    }
}

fn whole_table(nodes: Vec<Node>, placement: Placement) -> Result<Reach, Fatal> {
    let nodes = Nodes::new(nodes, placement.into());
    nodes.map(Reach::table).map_err(|refused| Fatal::misuse(format!("the list of nodes: {refused}")))
}
