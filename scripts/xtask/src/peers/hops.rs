//! What it costs when the core that a client reached is not the one that owns the key: the same reads through the
//! shared port, where any core may answer the connection, and through the port of each key's owner.
//!
//! The hard thing is that load and server share the machine's cores, so the clock says little: the server's processor
//! time a request is what can be compared. Ways alternate from round to round, and the median round is shown.

use super::chance::Chance;
use super::owners::Owners;
use super::record::Found;
use super::resp::{Client, Reply, encode};
use super::server::{Kind, Server, allowed_cores};
use clap::Args;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Keys that are there: enough not to lie in a cache, all found.
const KEYS: usize = 100_000;
/// Writes sent at once while filling.
const FILL_BATCH: usize = 1000;
/// Requests in flight on a connection, in the rounds.
const PIPELINES: [usize; 2] = [1, 16];
/// Pipelined requests are cheaper, so there are more of them: a round must last many ticks of /proc.
const MORE_PIPELINED: usize = 4;
/// A round ends after so long, whatever is done by then: all rounds together stay under 90 s.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// And so does a measurement of latency.
const LONE_MAX: Duration = Duration::from_secs(4);
/// Reads one after another before latency counts.
const WARM_UP: usize = 2000;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Connections, each with a thread of its own
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Reads of a round with one request in flight; four times as many with 16
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1000..))]
    requests: u64,
    /// Rounds of each way; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// Reads over one connection, for latency
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..))]
    latency_requests: u64,
}

/// By which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Shared,
    Owner,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared port",
            Self::Owner => "owner's port",
        }
    }
}

/// What came of one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    way: Way,
    pipeline: usize,
    requests: u64,
    hops: u64,
    seconds: f64,
    processor_seconds: f64,
}

/// What came of one connection, one request in flight.
#[derive(Clone, Debug)]
struct Lone {
    name: &'static str,
    /// In microseconds.
    p50: f64,
    p99: f64,
    hops_a_request: f64,
    requests: usize,
}

/// The server, its map, and encoded reads by the owner of their key.
struct Bench {
    server: Server,
    owners: Owners,
    reads: Vec<Vec<Vec<u8>>>,
    /// What asking for the count adds to it.
    hops_of_asking: u64,
}

/// Measures both ways.
pub(super) fn measure(dht: &Path, options: &Options) -> Result<Found, String> {
    let cores = allowed_cores();
    let listed = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    if cores.len() < 2 {
        return Err("One core may be used here, so nothing crosses cores.".to_owned());
    }
    let bench = Bench::start(dht, &listed)?;
    let mut rounds = Vec::new();
    for pipeline in PIPELINES {
        for _ in 0..options.rounds {
            for way in [Way::Shared, Way::Owner] {
                let round = bench.round(way, pipeline, options)?;
                println!("{}", round.line());
                rounds.push(round);
            }
        }
    }
    let lone = bench.lone(options)?;
    Ok(found(options, cores.len(), &rounds, &lone))
}

impl Bench {
    fn start(dht: &Path, cores: &str) -> Result<Self, String> {
        let server = Server::start(Kind::Dht, dht, cores, None)?;
        let mut client = server.client()?;
        let owners = Owners::ask(&mut client)?;
        if owners.addresses.len() < 2 {
            return Err(
                "CLUSTER SLOTS names one owner for all, so there is no owner's port to compare".to_owned()
            );
        }
        let keys: Vec<String> = (0..KEYS).map(|number| format!("{:06}", KEYS + number)).collect();
        for keys in keys.chunks(FILL_BATCH) {
            keys.iter().for_each(|key| client.push(&[b"SET", key.as_bytes(), b"xyz"]));
            client.send()?;
            for _ in keys {
                expect(&client.reply()?, &Reply::Simple("OK".to_owned()))?;
            }
        }
        let mut reads = vec![Vec::new(); owners.addresses.len()];
        for key in &keys {
            let mut read = Vec::new();
            encode(&[b"GET", key.as_bytes()], &mut read);
            reads[owners.of(key.as_bytes())].push(read);
        }
        if reads.iter().any(Vec::is_empty) {
            return Err("an owner has none of the keys".to_owned());
        }
        let mut bench = Self { server, owners, reads, hops_of_asking: 0 };
        let first = bench.hops()?;
        bench.hops_of_asking = bench.hops()? - first;
        Ok(bench)
    }

    /// Questions that cores asked each other so far.
    fn hops(&self) -> Result<u64, String> {
        self.server.client()?.info("stats")?.number("core_hops")
    }

    /// How many since.
    fn hops_since(&self, before: u64) -> Result<u64, String> {
        Ok(self.hops()?.saturating_sub(before + self.hops_of_asking))
    }

    /// All connections at once.
    fn round(&self, way: Way, pipeline: usize, options: &Options) -> Result<Round, String> {
        let connections = usize::from(options.connections);
        let wanted = usize::try_from(options.requests).unwrap_or_default()
            * if pipeline > 1 { MORE_PIPELINED } else { 1 };
        let batches = wanted.div_ceil(connections * pipeline);
        let mut clients = Vec::new();
        for number in 0..connections {
            let owner = number % self.owners.addresses.len();
            let at = match way {
                Way::Shared => self.server.at(),
                Way::Owner => self.owners.addresses[owner],
            };
            // Through the shared port a connection asks for keys of all owners, in turn as uniformly.
            let reads = match way {
                Way::Shared => self.reads.iter().flatten().collect::<Vec<_>>(),
                Way::Owner => self.reads[owner].iter().collect(),
            };
            clients.push((connect(at)?, reads, Chance::new(number as u64)));
        }
        let (hops, processor) = (self.hops()?, self.server.processor_seconds()?);
        let start = Barrier::new(connections + 1);
        let (done, seconds) = std::thread::scope(|scope| {
            let threads: Vec<_> = clients
                .into_iter()
                .map(|(mut client, reads, mut chance)| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        let until = Instant::now() + ROUND_MAX;
                        let mut done = 0;
                        while done < batches && Instant::now() < until {
                            read(&mut client, &reads, &mut chance, pipeline)?;
                            done += 1;
                        }
                        Ok::<usize, String>(done)
                    })
                })
                .collect();
            start.wait();
            let began = Instant::now();
            let mut done = 0;
            for thread in threads {
                done += thread.join().map_err(|_| "a thread of the load failed".to_owned())??;
            }
            Ok::<_, String>((done, began.elapsed().as_secs_f64()))
        })?;
        let processor_seconds = self.server.processor_seconds()? - processor;
        let requests = (done * pipeline) as u64;
        Ok(Round { way, pipeline, requests, hops: self.hops_since(hops)?, seconds, processor_seconds })
    }

    /// One connection through the shared port, keys of one owner after the other: the core it reached owns one part.
    /// Then one through an owner's port.
    fn lone(&self, options: &Options) -> Result<Vec<Lone>, String> {
        let count = usize::try_from(options.latency_requests).unwrap_or_default();
        let mut all = Vec::new();
        let mut shared = connect(self.server.at())?;
        for reads in &self.reads {
            let name = |hops: f64| {
                if hops > 0.5 { "shared port, another core's key" } else { "shared port, own key" }
            };
            all.push(self.lone_through(&mut shared, reads, count, name)?);
        }
        let mut owner = connect(self.owners.addresses[0])?;
        all.push(self.lone_through(&mut owner, &self.reads[0], count, |_| "owner's port")?);
        Ok(all)
    }

    fn lone_through(
        &self,
        client: &mut Client,
        reads: &[Vec<u8>],
        count: usize,
        name: impl Fn(f64) -> &'static str,
    ) -> Result<Lone, String> {
        let reads: Vec<&Vec<u8>> = reads.iter().collect();
        let mut chance = Chance::new(1);
        let mut until = Instant::now() + LONE_MAX / 4;
        for _ in 0..WARM_UP.min(count) {
            read(client, &reads, &mut chance, 1)?;
            if Instant::now() > until {
                break;
            }
        }
        let hops = self.hops()?;
        let mut took = Vec::with_capacity(count);
        until = Instant::now() + LONE_MAX;
        while took.len() < count && Instant::now() < until {
            let began = Instant::now();
            read(client, &reads, &mut chance, 1)?;
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
        let hops_a_request = self.hops_since(hops)? as f64 / took.len() as f64;
        took.sort_by(f64::total_cmp);
        let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        Ok(Lone {
            name: name(hops_a_request),
            p50: at(50),
            p99: at(99),
            hops_a_request,
            requests: took.len(),
        })
    }
}

/// A connection that has been answered, so that taking it is not measured.
fn connect(at: SocketAddr) -> Result<Client, String> {
    let mut client = Client::connect(at)?;
    expect(&client.ask(&[b"PING"])?, &Reply::Simple("PONG".to_owned()))?;
    Ok(client)
}

/// Some reads at once, and their replies; every key is there.
fn read(client: &mut Client, reads: &[&Vec<u8>], chance: &mut Chance, pipeline: usize) -> Result<(), String> {
    for _ in 0..pipeline {
        client.push_encoded(reads[chance.below(reads.len())]);
    }
    client.send()?;
    for _ in 0..pipeline {
        match client.reply()? {
            Reply::Bulk(value) if value == b"xyz" => {}
            other => return Err(format!("GET is answered by {other:?}")),
        }
    }
    Ok(())
}

fn expect(reply: &Reply, wanted: &Reply) -> Result<(), String> {
    if reply == wanted { Ok(()) } else { Err(format!("dht answered {reply:?} in place of {wanted:?}")) }
}

impl Round {
    /// Server's processor seconds for a million requests.
    fn cost(&self) -> f64 {
        self.processor_seconds * 1e6 / self.requests as f64
    }

    fn crossed(&self) -> f64 {
        self.hops as f64 / self.requests as f64
    }

    fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    fn line(&self) -> String {
        format!(
            "{}, {} in flight: {:.0}/s, {:.2} processor seconds a million",
            self.way.name(),
            self.pipeline,
            self.rate(),
            self.cost()
        )
    }

    fn json(&self) -> Value {
        json!({
            "way": self.way.name(),
            "pipeline": self.pipeline,
            "requests": self.requests,
            "hops": self.hops,
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
        })
    }
}

/// The round whose cost is in the middle.
fn median(rounds: &[Round], way: Way, pipeline: usize) -> Option<Round> {
    let mut some: Vec<Round> =
        rounds.iter().filter(|round| round.way == way && round.pipeline == pipeline).copied().collect();
    some.sort_by(|one, other| one.cost().total_cmp(&other.cost()));
    some.get(some.len() / 2).copied()
}

fn found(options: &Options, cores: usize, rounds: &[Round], lone: &[Lone]) -> Found {
    let connections = options.connections;
    let mut rows = Vec::new();
    let mut remarks = Vec::new();
    for pipeline in PIPELINES {
        let both = [Way::Shared, Way::Owner].map(|way| median(rounds, way, pipeline));
        for round in both.iter().flatten() {
            rows.push(vec![
                round.way.name().to_owned(),
                format!("{connections} × {pipeline}"),
                format!("{:.1} %", round.crossed() * 100.0),
                format!("{:.2}", round.cost()),
                format!("{:.0}", round.rate()),
                "–".to_owned(),
                "–".to_owned(),
            ]);
        }
        if let [Some(shared), Some(owner)] = both {
            let ratio = shared.cost() / owner.cost();
            remarks.push(format!(
                "{connections} connections × {pipeline}: a request through the shared port costs the server {ratio:.2} \
                 times what it costs through its owner's."
            ));
        }
    }
    for lone in lone {
        rows.push(vec![
            lone.name.to_owned(),
            "1 × 1".to_owned(),
            format!("{:.1} %", lone.hops_a_request * 100.0),
            "–".to_owned(),
            "–".to_owned(),
            format!("{:.0}", lone.p50),
            format!("{:.0}", lone.p99),
        ]);
    }
    let latencies = lone.iter().map(|lone| {
        json!({"name": lone.name, "p50_us": lone.p50, "p99_us": lone.p99, "hops_a_request": lone.hops_a_request, "requests": lone.requests})
    });
    Found {
        name: "dht-hops",
        title: "Requests that cross cores".to_owned(),
        how: format!(
            "dht on {cores} cores, GET of {KEYS} keys uniformly, values of 3 bytes; median of {} alternating rounds. \
             The load runs on the same {cores} cores as the server, so compare processor time a request, not rates.",
            options.rounds
        ),
        columns: vec![
            "through",
            "connections × in flight",
            "crossed cores",
            "server processor seconds a million requests",
            "requests/s",
            "p50 µs",
            "p99 µs",
        ],
        rows,
        remarks,
        json: json!({
            "cores": cores,
            "keys": KEYS,
            "connections": connections,
            "rounds": rounds.iter().map(Round::json).collect::<Vec<_>>(),
            "latencies": latencies.collect::<Vec<_>>(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_its_own_way_and_depth() {
        let round = |way, pipeline, processor_seconds| Round {
            way,
            pipeline,
            requests: 1_000_000,
            hops: 0,
            seconds: 1.0,
            processor_seconds,
        };
        let costs = [9.0, 1.0, 5.0];
        let mut rounds: Vec<Round> = costs.iter().map(|cost| round(Way::Shared, 1, *cost)).collect();
        rounds.push(round(Way::Owner, 1, 2.0));
        rounds.push(round(Way::Shared, 16, 3.0));
        let cost = |way, pipeline| median(&rounds, way, pipeline).map(|round| round.cost());
        assert_eq!(cost(Way::Shared, 1), Some(5.0));
        assert_eq!(cost(Way::Owner, 1), Some(2.0));
        assert_eq!(cost(Way::Owner, 16), None);
    }
}
