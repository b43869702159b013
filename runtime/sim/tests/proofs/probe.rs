//! A small shard that does on command what the seam lets a shard do, and says what it is told: every promise of
//! the seam is a transcript against it (promises/), run in both worlds.
//!
//! Commands are lines on the first door; what happens on the second door, to dials, timers, children and the log
//! is remembered as facts. `await FACT` answers when the fact is there. Connections of the second door are d0,
//! d1 and so on, dials e0 and so on, pipes after their kind. The shard itself checks what no transcript can: that
//! no timer is early, no more than READ_SLACK comes after a pause, marks grow, and tells keep their order.

use machine::{
    Address, Blob, Chance, ChildEvent, ChildId, Close, Command, ConnId, CoreId, Dial, End, Gauges, Input,
    Instant, ListenerId, Listening, LogMark, Now, Opened, Order, Outbox, Peer, PipeKind, READ_SLACK, Seat,
    Shard, Signal, Spent, Stored, Ticket, TimerId,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Where the probe listens: commands, data, and an address at which nobody listens.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) control: SocketAddr,
    pub(crate) data: SocketAddr,
    pub(crate) nobody: SocketAddr,
}

/// What the probe says to cores.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Count {
    number: u64,
    of: u64,
    /// On its way back to who began.
    back: bool,
}

pub(crate) struct Probe {
    seat: Seat,
    doors: Doors,
    control: Option<ConnId>,
    data: BTreeMap<String, Data>,
    opened: [usize; 2],
    facts: Vec<String>,
    awaited: Vec<String>,
    timers: BTreeMap<u64, Instant>,
    next_count: Vec<u64>,
    returned: Vec<u64>,
    mark: LogMark,
    children: Vec<ChildId>,
    /// Facts known when gauges were last asked for.
    asked_with: i64,
}

#[derive(Debug)]
struct Data {
    conn: ConnId,
    heard: Vec<u8>,
    need: usize,
    paused: bool,
    since_pause: usize,
    open: bool,
}

type Said = Count;

impl Shard for Probe {
    type Config = Doors;
    type Said = Said;
    type Heard = rkyv::Archived<Said>;

    fn new(seat: Seat, doors: &Doors, _: Chance) -> Self {
        let cores = usize::from(seat.cores);
        Self {
            seat,
            doors: doors.clone(),
            control: None,
            data: BTreeMap::new(),
            opened: [0; 2],
            facts: Vec::new(),
            awaited: Vec::new(),
            timers: BTreeMap::new(),
            next_count: vec![0; cores],
            returned: vec![0; cores],
            mark: LogMark::default(),
            children: Vec::new(),
            asked_with: 0,
        }
    }

    fn on_replay(&mut self, _: machine::Kept<'_>) {}

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = Said>) {
        if self.seat.core == CoreId(0) {
            out.listen(Address::Ip(self.doors.control));
            out.listen(Address::Ip(self.doors.data));
        }
    }

    fn on_open(&mut self, _: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        let name = match how {
            Opened::Accepted { listener: ListenerId(0), .. } => {
                self.control = Some(conn);
                return;
            }
            Opened::Accepted { .. } => {
                self.opened[0] += 1;
                format!("d{}", self.opened[0] - 1)
            }
            Opened::Dialled => {
                let name = self.name_of(conn);
                assert!(!self.data[&name].open, "a dial opens once");
                name
            }
            Opened::Pipe(_, PipeKind::Input) => "input".to_owned(),
            Opened::Pipe(_, PipeKind::Output) => "output".to_owned(),
            Opened::Pipe(_, PipeKind::Error) => "error".to_owned(),
        };
        self.data.insert(name.clone(), Data::new(conn, true));
        self.fact(&format!("open {name}"), out);
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        assert!(!input.bytes().is_empty(), "bytes are brought when there are some");
        if Some(conn) == self.control {
            while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&input.bytes()[..end]).trim_end().to_owned();
                input.used(end + 1);
                self.command(now, &line, out);
            }
            return;
        }
        let name = self.name_of(conn);
        let data = self.data.get_mut(&name).expect("bytes come on connections that opened");
        assert!(data.open, "nothing comes before the open, or after the end");
        if data.need > 0 {
            if input.bytes().len() < data.need {
                input.need(data.need);
                return;
            }
            let blob = input.take(data.need);
            data.need = 0;
            data.heard.extend_from_slice(&blob);
            self.fact(&format!("blob {name} {}", blob.len()), out);
            return self.on_rest(&name, input, out);
        }
        self.on_rest(&name, input, out);
    }

    fn on_end(&mut self, _: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        if Some(conn) == self.control {
            if end == End::Half {
                out.finish(conn);
            }
            return;
        }
        let name = self.name_of(conn);
        match end {
            End::Half => self.fact(&format!("half {name}"), out),
            End::Gone(why) => {
                if let Some(data) = self.data.get_mut(&name) {
                    data.open = false;
                }
                assert_eq!(out.room(conn), 0, "who is gone has no room");
                out.write(conn, b"dropped without a word");
                self.fact(&format!("gone {name} {why:?}"), out);
            }
        }
    }

    fn on_room(&mut self, _: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let name = self.name_of(conn);
        assert!(out.room(conn) > 0, "there is room when it is said");
        self.fact(&format!("room {name}"), out);
    }

    fn on_peer(
        &mut self,
        _: Now,
        from: Peer,
        heard: &Self::Heard,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Peer::Core(from) = from else { unreachable!("one node") };
        let (number, of) = (heard.number.to_native(), heard.of.to_native());
        assert_eq!(
            blob.map(|blob| blob.to_vec()),
            Some(number.to_le_bytes().to_vec()),
            "its own blob comes along"
        );
        if heard.back {
            let next = &mut self.returned[from.index()];
            assert_eq!(number, *next, "tells come back in order, and all of them");
            *next = (number + 1) % of;
            if number + 1 == of {
                self.fact(&format!("counted {}", from.0), out);
            }
        } else {
            let next = &mut self.next_count[from.index()];
            assert_eq!(number, *next, "tells come in order, and all of them");
            *next = (number + 1) % of;
            let blob = Blob::from(number.to_le_bytes().to_vec());
            out.tell(from, Count { number, of, back: true }, Some(blob));
        }
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        let at = self.timers.remove(&timer.0).expect("a timer comes once, and only if it was asked for");
        assert!(now.at >= at, "no timer is early");
        self.fact(&format!("timer {}", timer.0), out);
    }

    fn on_stored(&mut self, _: Now, what: Stored, out: &mut impl Outbox<Said = Said>) {
        match what {
            Stored::Logged(upto) if upto >= self.mark => self.fact("logged", out),
            Stored::Logged(_) => {}
            Stored::Saved(_) => self.fact("saved", out),
            Stored::Unsaved => self.fact("unsaved", out),
            Stored::Full => self.fact("full", out),
            Stored::Failed => self.fact("failed", out),
        }
    }

    fn on_child(&mut self, _: Now, child: ChildId, what: ChildEvent, out: &mut impl Outbox<Said = Said>) {
        assert!(self.children.contains(&child), "a child of ours");
        match what {
            ChildEvent::Started { .. } => {
                assert!(!self.has("open output"), "its pipes open after it is said to run");
                self.fact("started", out);
            }
            ChildEvent::Unstarted(_) => self.fact("unstarted", out),
            ChildEvent::Exited(status) => self.fact(&format!("exited {status}"), out),
            ChildEvent::Killed(signal) => self.fact(&format!("killed {signal}"), out),
        }
    }

    fn on_listen(&mut self, _: Now, _: ListenerId, what: Listening, out: &mut impl Outbox<Said = Said>) {
        match what {
            Listening::Bound(_) => self.fact("bound", out),
            Listening::Failed(_) => self.fact("unbound", out),
        }
    }

    fn on_order(&mut self, _: Now, order: Order<'_, Doors>, out: &mut impl Outbox<Said = Said>) {
        if matches!(order, Order::Drain { .. }) {
            out.drained();
        }
    }

    fn on_spent(&mut self, _: Now, what: Spent, out: &mut impl Outbox<Said = Said>) {
        assert!(what.count > 0 && !what.took.is_zero(), "{what:?}");
        // In capitals: what is asked for by a word in small letters is something else.
        let fact = format!("spent {}", what.event.name().to_ascii_uppercase());
        if !self.facts.contains(&fact) {
            self.fact(&fact, out);
        }
    }

    fn on_gathered(&mut self, _: Now, ticket: Ticket, gauges: &[Gauges], out: &mut impl Outbox<Said = Said>) {
        assert_eq!(gauges.len(), usize::from(self.seat.cores), "the gauges of every core");
        for (core, gauges) in gauges.iter().enumerate() {
            assert_eq!(gauges.number("probe_core"), core as i64, "each at its core's place");
        }
        let counted = gauges[self.seat.core.index()].number("probe_facts");
        assert!(counted >= self.asked_with, "what was there when it was asked is counted");
        self.fact(&format!("gathered {}", ticket.0), out);
    }

    fn gauges(&self, into: &mut Gauges) {
        into.level("probe_core", "which core counted", i64::from(self.seat.core.0));
        into.level("probe_facts", "facts known", self.facts.len() as i64);
    }
}

impl Data {
    fn new(conn: ConnId, open: bool) -> Self {
        Self { conn, heard: Vec::new(), need: 0, paused: false, since_pause: 0, open }
    }
}

impl Probe {
    fn name_of(&self, conn: ConnId) -> String {
        let found = self.data.iter().rev().find(|(_, data)| data.conn == conn);
        found.map_or_else(|| panic!("{conn:?} is nobody's"), |(name, _)| name.clone())
    }

    fn has(&self, fact: &str) -> bool {
        self.facts.iter().any(|known| known == fact)
    }

    fn on_rest(&mut self, name: &str, input: &mut Input<'_>, out: &mut impl Outbox<Said = Said>) {
        let data = self.data.get_mut(name).expect("it is there");
        let count = input.bytes().len();
        if data.paused {
            data.since_pause += count;
            assert!(data.since_pause <= READ_SLACK, "at most READ_SLACK comes after a pause");
        }
        data.heard.extend_from_slice(input.bytes());
        input.used(count);
        let heard = data.heard.len();
        self.awaited.retain(|awaited| {
            let reached = awaited.strip_prefix("heard ").and_then(|rest| rest.split_once(' '));
            let reached = reached.is_some_and(|(of, count)| {
                of == name && count.parse().is_ok_and(|count: usize| heard >= count)
            });
            if reached && let Some(control) = self.control {
                out.write(control, format!("{awaited}\r\n").as_bytes());
            }
            !reached
        });
    }

    /// Remembers what happened, and says so to who waits for it.
    fn fact(&mut self, fact: &str, out: &mut impl Outbox<Said = Said>) {
        self.facts.push(fact.to_owned());
        if let Some(at) = self.awaited.iter().position(|awaited| awaited == fact) {
            self.awaited.remove(at);
            self.answer(fact, out);
        }
    }

    fn answer(&self, line: &str, out: &mut impl Outbox<Said = Said>) {
        if let Some(control) = self.control {
            out.write(control, format!("{line}\r\n").as_bytes());
        }
    }

    fn command(&mut self, now: Now, line: &str, out: &mut impl Outbox<Said = Said>) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["await", "heard", name, count] => self.await_heard(name, count, out),
            ["await", ..] => {
                let fact = &line[6..];
                if self.has(fact) { self.answer(fact, out) } else { self.awaited.push(fact.to_owned()) }
            }
            ["never", ..] => {
                let never = !self.has(&line[6..]);
                self.answer(if never { "never" } else { "it happened" }, out);
            }
            ["facts", about] => {
                let facts: Vec<_> = self.facts.iter().filter(|fact| fact.contains(about)).cloned().collect();
                self.answer(&facts.join(", "), out);
            }
            ["count", number] => self.count(number.parse().expect("a number"), out),
            ["dial", "nobody"] => self.dial(self.doors.nobody, out),
            ["dial", "data"] => self.dial(self.doors.data, out),
            ["wake", timer, "never"] => {
                self.timers.remove(&timer.parse().expect("a timer"));
                out.wake(TimerId(timer.parse().expect("a timer")), None);
            }
            ["wake", timer, millis] => {
                let millis = millis.parse().expect("milliseconds");
                self.wake(now, timer.parse().expect("a timer"), millis, out);
            }
            ["log", text] => {
                let mark = out.log(text.as_bytes());
                assert!(mark > self.mark, "marks grow");
                self.mark = mark;
            }
            ["gather", ticket] => {
                self.asked_with = self.facts.len() as i64;
                out.gather(Ticket(ticket.parse().expect("a ticket")));
            }
            ["signal", signal] => {
                let signal = if signal == "kill" { Signal::Kill } else { Signal::Terminate };
                out.signal(*self.children.last().expect("a child"), signal);
            }
            ["spawn", program, ref args @ ..] => self.spawn(program, args, out),
            [verb, name, ref rest @ ..] => self.act(verb, name, rest, out),
            _ => self.answer("what?", out),
        }
    }

    fn await_heard(&mut self, name: &str, count: &str, out: &mut impl Outbox<Said = Said>) {
        let line = format!("heard {name} {count}");
        let heard = self.data.get(name).map_or(0, |data| data.heard.len());
        if heard >= count.parse().expect("a count") {
            self.answer(&line, out);
        } else {
            self.awaited.push(line);
        }
    }

    /// Tells every core, this one too, so many numbers; each sends them back.
    fn count(&mut self, of: u64, out: &mut impl Outbox<Said = Said>) {
        for number in 0..of {
            for core in self.seat.all_cores() {
                let blob = Blob::from(number.to_le_bytes().to_vec());
                out.tell(core, Count { number, of, back: false }, Some(blob));
            }
        }
    }

    fn dial(&mut self, to: SocketAddr, out: &mut impl Outbox<Said = Said>) {
        // So far away that only an answer ends it.
        let by = Instant::from_nanos(u64::MAX);
        let conn = out.dial(Dial { to: Address::Ip(to), from: None, tls: None, by });
        out.write(conn, b"early");
        self.data.insert(format!("e{}", self.opened[1]), Data::new(conn, false));
        self.opened[1] += 1;
    }

    fn spawn(&mut self, program: &str, args: &[&str], out: &mut impl Outbox<Said = Said>) {
        self.facts.retain(|fact| !fact.ends_with("put"));
        let child = out.spawn(Command {
            program: program.into(),
            args: args.iter().map(|arg| (*arg).into()).collect(),
            pipes: vec![PipeKind::Input, PipeKind::Output],
            ..Command::default()
        });
        self.children.push(child);
    }

    fn wake(&mut self, now: Now, timer: u64, millis: u64, out: &mut impl Outbox<Said = Said>) {
        let at = now.at + Duration::from_millis(millis);
        self.timers.insert(timer, at);
        out.wake(TimerId(timer), Some(at));
    }

    /// What is done to one connection.
    fn act(&mut self, verb: &str, name: &str, rest: &[&str], out: &mut impl Outbox<Said = Said>) {
        let number = |at: usize| rest.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let Some(data) = self.data.get_mut(name) else {
            return self.answer(&format!("no {name}"), out);
        };
        let conn = data.conn;
        match verb {
            "pause" => {
                data.paused = true;
                data.since_pause = 0;
                out.pause(conn);
            }
            "resume" => {
                data.paused = false;
                out.resume(conn);
            }
            "need" => data.need = number(0) as usize,
            "write" => out.write(conn, &vec![b'x'; number(0) as usize]),
            "say" => out.write(conn, rest.join(" ").as_bytes()),
            "finish" => out.finish(conn),
            "close" if rest == ["now"] => out.close(conn, Close::Now),
            "close" => out.close(conn, Close::Flushed),
            "full" => {
                let answer = if out.room(conn) == 0 { "full" } else { "room" };
                self.answer(answer, out);
            }
            "got" => {
                let got = format!("got {name} {} {}", data.heard.len(), data.heard.escape_ascii());
                self.answer(&got, out);
            }
            _ => self.answer("what?", out),
        }
    }
}
