//! What an operator sees and does: the admin port's paths, as pure functions from what is known to text.
//!
//! Most of it concerns all cores, so a request waits until they have counted; only `/explain`, `/healthz` and the page
//! itself are answered at once. Shares, loads and choices are those of the core that keeps the truth.

use crate::config::{Config, KeyFrom};
use crate::fleet::Fleet;
use crate::fleet::replica::Replica;
use crate::spread::{Key, MEMBERS_MAX, Ring, Seat, Way, Why, slots512, slots512::Pair};
use crate::view::View;
use hdrhistogram::Histogram;
use machine::{Gauges, Instant, Stream};
use serde::Serialize;
use serde_json::{Value, json};
use wire::http::{decode, pairs};

/// A kind of body.
pub type Kind = &'static str;

/// JSON.
pub const JSON: Kind = "application/json";
/// What Prometheus reads.
pub const METRICS: Kind = "text/plain; version=0.0.4";

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// What a request on the admin port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// A text that is always the same.
    Fixed(&'static str, Kind),
    /// `/metrics`.
    Metrics,
    /// `/distribution`.
    Distribution,
    /// `/replicas`: what the page shows.
    Replicas,
    /// `/explain?key=K`.
    Explain(String),
    /// `POST /kill?hostname=NAME`.
    Kill(String),
    /// `POST /reload`.
    Reload,
    /// No such path; with what there is.
    Unknown,
    /// The path is there, the method is not.
    Method,
    /// A parameter is missing or cannot be read.
    Wrong(&'static str),
}

/// What there is.
pub const PATHS: &str = "There are /, /explain, /distribution, /replicas, /metrics, /healthz, and to be posted /kill and /reload; \
                         and /rep, /add and /rm";

/// `{"message":{"held_back":[…]},"status":"successful"}`: what was changed and waits for the next start.
#[must_use]
pub fn reloaded(config: &Config) -> String {
    line(&json!({ "message": { "held_back": config.held_back }, "status": "successful" }))
}

/// Reads a request's method and target.
#[must_use]
pub fn page(method: &str, target: &str) -> Page {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_read = matches!(method, "GET" | "HEAD");
    match path {
        "/" | "/page.css" | "/page.js" | "/kit.css" | "/kit.js" | "/icon.svg" | "/metrics" | "/healthz"
        | "/distribution" | "/replicas" | "/explain"
            if !is_read =>
        {
            Page::Method
        }
        "/" => Page::Fixed(PAGE, "text/html; charset=utf-8"),
        "/page.css" => Page::Fixed(STYLE, "text/css; charset=utf-8"),
        "/page.js" => Page::Fixed(SCRIPT, "text/javascript; charset=utf-8"),
        "/kit.css" => kit(&web::STYLE),
        "/kit.js" => kit(&web::SCRIPT),
        "/icon.svg" => kit(&web::ICON),
        "/healthz" => Page::Fixed("ok\n", "text/plain"),
        "/metrics" => Page::Metrics,
        "/distribution" => Page::Distribution,
        "/replicas" => Page::Replicas,
        "/explain" => parameter(query, "key").map_or(Page::Wrong("say which: /explain?key=K"), Page::Explain),
        "/kill" if method == "POST" => {
            parameter(query, "hostname").map_or(Page::Wrong("say which: /kill?hostname=NAME"), Page::Kill)
        }
        "/reload" if method == "POST" => Page::Reload,
        "/kill" | "/reload" => Page::Method,
        _ => Page::Unknown,
    }
}

/// A file of the page kit.
fn kit(asset: &'static web::Asset) -> Page {
    Page::Fixed(std::str::from_utf8(asset.bytes).unwrap_or_default(), asset.media)
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, value) = pairs(query).find(|(found, _)| *found == name)?;
    let bytes = decode(value.unwrap_or_default()).ok()?;
    String::from_utf8(bytes.into_owned()).ok()
}

/// The name under which a core counts a replica's requests.
#[must_use]
pub fn counter(name: &str) -> String {
    format!("balancer_answered_total{{replica=\"{name}\"}}")
}

/// The name of how many replicas serve.
pub const HEALTHY: &str = "balancer_replicas_healthy";
/// The name of how many there should be.
pub const REPLICAS: &str = "balancer_replicas";
/// The name of the latencies.
pub const LATENCIES: &str = "balancer_request_us";
/// The name of those of the last seconds.
pub const RECENT: &str = "balancer_recent_request_us";

fn sum(gauges: &[Gauges], name: &str) -> i64 {
    gauges.iter().map(|each| each.number(name)).sum()
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// `{"replicas":[{"hostname":…,"requests":n,"share":x,"ideal":x}]}`
#[must_use]
pub fn distribution(fleet: &Fleet, view: &mut View, gauges: &[Gauges]) -> String {
    line(&Distribution { replicas: shares(fleet, view, gauges) })
}

/// One replica's part, its fields in the order in which they are told.
#[derive(Debug, Serialize)]
struct Share {
    hostname: String,
    requests: i64,
    share: f64,
    ideal: f64,
}

#[derive(Debug, Serialize)]
struct Distribution {
    replicas: Vec<Share>,
}

#[derive(Debug, Serialize)]
struct Candidate {
    hostname: String,
    in_flight: u32,
    bound: u32,
}

#[derive(Debug, Serialize)]
struct Explanation<'a> {
    key: &'a str,
    candidates: Vec<Candidate>,
    chosen: Option<String>,
    why: String,
}

fn shares(fleet: &Fleet, view: &mut View, gauges: &[Gauges]) -> Vec<Share> {
    let ideals = view.shares();
    let counts: Vec<(&str, Seat, i64)> = listed(fleet)
        .map(|each| (&*each.name, each.tenancy.seat, sum(gauges, &counter(&each.name))))
        .collect();
    let total: i64 = counts.iter().map(|(_, _, count)| count).sum();
    let entry = |(name, seat, count): (&str, Seat, i64)| {
        let ideal = ideals.iter().find(|(of, _)| *of == seat).map_or(0.0, |(_, share)| *share);
        let share = if total > 0 { count as f64 / total as f64 } else { 0.0 };
        Share { hostname: name.to_owned(), requests: count, share: round(share), ideal: round(ideal) }
    };
    counts.into_iter().map(entry).collect()
}

fn listed(fleet: &Fleet) -> impl Iterator<Item = &Replica> {
    fleet.replicas().iter().filter(|each| each.is_listed())
}

/// Five digits behind the point: as the golden tables have them.
fn round(share: f64) -> f64 {
    (share * 1e5).round() / 1e5
}

/// All that the page shows, in one answer.
#[must_use]
pub fn replicas(
    config: &Config,
    fleet: &Fleet,
    view: &mut View,
    rings: &mut Rings,
    gauges: &[Gauges],
    now: Instant,
) -> String {
    let shares = shares(fleet, view, gauges);
    let mut entries: Vec<Value> = shares.iter().map(|share| json!(share)).collect();
    for (entry, replica) in entries.iter_mut().zip(listed(fleet)) {
        entry["state"] = json!(replica.state.word());
        entry["since_s"] = json!(now.since(replica.since).as_secs());
        entry["misses"] = json!(replica.misses);
        entry["id"] = json!(replica.tenancy.life);
        entry["at"] = json!(replica.at.as_ref().map(ToString::to_string));
        entry["trouble"] = json!(replica.trouble);
    }
    let (recent, ever) = (merged(gauges, RECENT), merged(gauges, LATENCIES));
    let at = |of: &Option<Histogram<u64>>, part| of.as_ref().map_or(0, |of| of.value_at_quantile(part));
    let failures: i64 = ["502", "503", "504"].iter().map(|status| sum(gauges, &failed(status))).sum();
    line(&json!({
        "replicas": entries,
        "ring": shown(config.way, entries.len()),
        "key": match &config.key {
            KeyFrom::RequestId => "a random request id".to_owned(),
            KeyFrom::Path => "the path".to_owned(),
            KeyFrom::Header(name) => format!("the header {name}"),
            KeyFrom::ClientIp => "the client's address".to_owned(),
        },
        "requests": sum(gauges, "balancer_requests_total"),
        "retries": sum(gauges, "balancer_retries_total"),
        "failed": failures,
        "clients": sum(gauges, "balancer_clients"),
        "waiting": sum(gauges, "balancer_waiting"),
        "p50_us": at(&recent, 0.5),
        "p99_us": at(&recent, 0.99),
        "p99_ever_us": at(&ever, 0.99),
        "held_back": config.held_back,
        "rings": rings.of(&listed(fleet).map(|each| &*each.name).collect::<Vec<_>>()),
    }))
}

/// A distribution of all cores together.
fn merged(gauges: &[Gauges], name: &str) -> Option<Histogram<u64>> {
    let mut all = gauges.iter().filter_map(|each| each.distribution(name));
    let mut merged = all.next().cloned()?;
    all.for_each(|other| merged.add(other).expect("one range on every core"));
    Some(merged)
}

/// The ring of this program, as [`others`] names it.
fn shown(way: Way, members: usize) -> &'static str {
    match way {
        Way::Best if members > MEMBERS_MAX => "maglev",
        Way::Best | Way::Rendezvous | Way::Maglev | Way::TwoChoices => way.name(),
        Way::Slots512(Pair::Plain) => "slots512, pair 0",
        Way::Slots512(Pair::Primes) => "slots512, pair 1",
        Way::Slots512(Pair::Sha256) => "slots512, pair 2",
    }
}

/// The name under which failures of that status are counted.
#[must_use]
pub fn failed(status: &str) -> String {
    format!("balancer_failed_total{{status=\"{status}\"}}")
}

/// What every ring would give the same replicas: so that the classic one's fault is seen beside the others. Worked out
/// once for each set of replicas, because filling a table takes milliseconds that clients would wait.
#[derive(Debug, Default)]
pub struct Rings {
    names: Vec<Box<str>>,
    shares: Value,
}

impl Rings {
    fn of(&mut self, names: &[&str]) -> Value {
        if self.shares.is_null() || !self.names.iter().map(|name| &**name).eq(names.iter().copied()) {
            self.names = names.iter().map(|name| (*name).into()).collect();
            self.shares = others(names);
        }
        self.shares.clone()
    }
}

fn others(names: &[&str]) -> Value {
    let ways = [
        ("rendezvous", Way::Rendezvous),
        ("maglev", Way::Maglev),
        ("p2c", Way::TwoChoices),
        ("slots512, pair 0", Way::Slots512(Pair::Plain)),
        ("slots512, pair 1", Way::Slots512(Pair::Primes)),
        ("slots512, pair 2", Way::Slots512(Pair::Sha256)),
    ];
    let shares = |way: Way| -> Vec<f64> {
        let mut ring = Ring::new(way);
        let room = if matches!(way, Way::Slots512(_)) { slots512::REPLICAS_MAX } else { names.len() };
        (0..).zip(names).take(room).for_each(|(seat, name)| ring.join(name, Seat(seat)));
        ring.shares().into_iter().map(round).collect()
    };
    Value::Object(ways.iter().map(|(name, way)| ((*name).to_owned(), json!(shares(*way)))).collect())
}

/// `{"key":…,"candidates":[{"hostname":…,"in_flight":n,"bound":n}],"chosen":…,"why":…}`
pub fn explain(config: &Config, view: &mut View, typed: &str, chance: &mut Stream) -> String {
    let key = match config.key {
        KeyFrom::RequestId => Key::of_typed(typed),
        KeyFrom::Path | KeyFrom::Header(_) | KeyFrom::ClientIp => Key::of_text(typed.as_bytes()),
    };
    let order = view.candidates(key);
    let name =
        |view: &View, seat: Seat| view.member(seat).map_or_else(String::new, |each| each.name.to_string());
    let candidates: Vec<Candidate> = order
        .iter()
        .map(|seat| {
            let (in_flight, bound) = (view.load(*seat).in_flight, view.bound(*seat));
            Candidate { hostname: name(view, *seat), in_flight, bound }
        })
        .collect();
    let choice = view.would_take(key, &[], chance);
    let chosen = choice.map(|choice| name(view, choice.seat));
    let why = match choice.map(|choice| choice.why) {
        Some(Why::Owner) => "it owns the key and is under its bound".to_owned(),
        Some(Why::Jumped(jumps)) => format!("the owner is at its bound; the key jumped {jumps} times"),
        Some(Why::Drawn) => "it is the less loaded of two drawn at random".to_owned(),
        Some(Why::LeastLoaded) => "no candidate is under its bound; it is the least loaded".to_owned(),
        None => "no replica can take a request now".to_owned(),
    };
    line(&Explanation { key: typed, candidates, chosen, why })
}
