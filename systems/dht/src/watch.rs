//! Who watches the table: its page, its metrics and its health, on a port of their own. Every core serves them, with
//! the gauges of all cores; nobody is counted while nobody looks.

use crate::peer::Said;
use crate::shard::Dht;
use core::convert::Infallible;
use core::fmt::Write as _;
use machine::gauges::Value;
use machine::{Address, ConnId, End, Gauges, Input, ListenerId, Now, Outbox};
use std::net::SocketAddr;
use web::{Asset, Event, Face, Site};

const ASSETS: &[Asset] = &[
    Asset::html("/", include_str!("../page/index.html")),
    Asset::js("/page.js", include_str!("../page/page.js")),
];

/// What of a core's gauges the page shows, and as what.
const SHOWN: &[(&str, &str)] = &[
    ("hops", "ringwise_dht_hops_total"),
    ("hits", "ringwise_dht_hits_total"),
    ("misses", "ringwise_dht_misses_total"),
    ("expired", "ringwise_dht_expired_total"),
    ("evicted", "ringwise_dht_evicted_total"),
    ("keys", "ringwise_dht_keys"),
    ("bytes", "ringwise_dht_bytes"),
    ("clients", "ringwise_dht_connections"),
    ("slots", "ringwise_dht_slots"),
    ("received", "reactor_received_bytes_total"),
    ("sent", "reactor_sent_bytes_total"),
    ("stalls", "reactor_stalls_total"),
];

/// One core's share of the face.
#[derive(Debug)]
pub(crate) struct Watch {
    door: Option<ListenerId>,
    site: Site<Infallible>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let face = Face { assets: ASSETS, view, ..Face::default() };
        Self { door: None, site: Site::new(face, [], None) }
    }

    pub(crate) fn listen(&mut self, at: Option<SocketAddr>, out: &mut impl Outbox<Said = Said>) {
        self.door = at.map(|at| out.listen(Address::Ip(at)));
    }

    /// A connection was accepted. Whether it is a watcher's.
    pub(crate) fn open(
        &mut self,
        now: Now,
        conn: ConnId,
        listener: ListenerId,
        out: &mut impl Outbox<Said = Said>,
    ) -> bool {
        let is_ours = self.door == Some(listener);
        if is_ours {
            self.site.open(now, conn, out);
        }
        is_ours
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.site.is_empty()
    }
}

impl Dht {
    /// Bytes came that are no client's: a watcher's, or another node's.
    pub(crate) fn hear_other(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if !self.watch.site.owns(conn) {
            return self.hear_node(conn, input, out);
        }
        if let Some(event) = self.watch.site.take(now, conn, input, out) {
            match event {
                Event::Ask(ask) => match ask.to {},
                Event::Part(..) | Event::Whole(_) | Event::Message(..) => {
                    unreachable!("the face has no routes of its own")
                }
            }
        }
        self.drain_further(out);
    }

    /// Somebody ended who is no client.
    pub(crate) fn other_ends(
        &mut self,
        now: Now,
        conn: ConnId,
        end: End,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if !self.watch.site.owns(conn) {
            return self.node_ends(conn, out);
        }
        self.watch.site.end(now, conn, end, out);
        self.drain_further(out);
    }

    /// Somebody has room who is no client.
    pub(crate) fn other_has_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        if !self.watch.site.room(now, conn, out) {
            self.node_has_room(conn, out);
        }
    }

    pub(crate) fn time_for_watchers(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.watch.site.timer(now, out);
        self.drain_further(out);
    }

    pub(crate) fn tell_watchers(&mut self, now: Now, cores: &[Gauges], out: &mut impl Outbox<Said = Said>) {
        self.watch.site.gathered(now, cores, out);
        self.drain_further(out);
    }

    pub(crate) fn let_watchers_go(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.watch.site.drain(now, out);
    }

    pub(crate) fn gauges_for_watchers(&self, into: &mut Gauges) {
        let slots = self.placement.slots_of((self.seat.node, self.seat.core)).count();
        into.level("ringwise_dht_slots", "slots owned", slots as i64);
        self.watch.site.gauges(into);
    }
}

/// What the page is told.
fn view(now: Now, cores: &[Gauges], into: &mut String) {
    let resident: i64 = cores.iter().map(|core| core.number("process_resident_memory_bytes")).sum();
    let _ = write!(into, "{{\"at_ms\":{},\"resident\":{resident},\"cores\":[", now.at.nanos() / 1_000_000);
    for (index, core) in cores.iter().enumerate() {
        into.push_str(if index == 0 { "{" } else { ",{" });
        let asked: i64 = commands(core).map(|(_, count)| count).sum();
        let _ = write!(into, "\"commands\":{asked}");
        for (name, gauge) in SHOWN {
            let _ = write!(into, ",\"{name}\":{}", core.number(gauge));
        }
        let hop = |quantile| {
            core.distribution("reactor_hop_ns").map_or(0, |hops| hops.value_at_quantile(quantile)) as f64
                / 1000.0
        };
        let _ = write!(into, ",\"hop_p50_us\":{:.2},\"hop_p99_us\":{:.2}", hop(0.5), hop(0.99));
        let longest = core.entries().iter().find(|entry| entry.name.starts_with("reactor_longest_us"));
        let longest = longest.map_or(0, |entry| core.number(&entry.name));
        let _ = write!(into, ",\"longest_us\":{longest}}}");
    }
    into.push_str("],\"commands\":{");
    let mut is_first = true;
    for (name, _) in cores.first().into_iter().flat_map(commands) {
        let sum: i64 =
            cores.iter().flat_map(commands).filter(|(other, _)| *other == name).map(|(_, count)| count).sum();
        if sum > 0 {
            let _ = write!(into, "{}\"{name}\":{sum}", if is_first { "" } else { "," });
            is_first = false;
        }
    }
    into.push_str("}}");
}

/// How often each command was read by a core.
fn commands(core: &Gauges) -> impl Iterator<Item = (&str, i64)> {
    core.entries().iter().filter_map(|entry| {
        let rest = entry.name.strip_prefix("ringwise_dht_commands_total{command=\"")?;
        match entry.value {
            Value::Counter(count) => {
                Some((rest.strip_suffix("\"}")?, i64::try_from(count).unwrap_or(i64::MAX)))
            }
            Value::Level(_) | Value::Spread(_) => None,
        }
    })
}
