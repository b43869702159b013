//! Several cores change keys together, and nobody ever sees a part of it: neither of an MSET, nor of a RENAME, nor of
//! an MSETNX and the DEL after it, however requests are pipelined, cut and delayed.

use dht::{Config, Dht, Heard, Said};
use machine::pipeline::Piece;
use machine::{
    Address, Blob, Chance, ChildId, Close, Command, ConnId, CoreId, Dial, End, Gauges, Input, Instant, Link,
    ListenerId, LogMark, NodeId, Now, Opened, Order, Outbox, Peer, Seat, Shard, Signal, Ticket, TimerId,
};
use sim::{Client, Faults, Setup, World, for_seeds};
use std::time::Duration;

const SEEDS: u64 = 200;
const NODE: NodeId = NodeId(0);
const ROUNDS: usize = 12;
const WRITERS: usize = 3;
const READERS: usize = 3;

/// What writers say; each names keys that fall to several cores.
fn write(writer: usize, draw: &mut machine::Stream) -> String {
    let value = draw.below(1_000_000);
    match draw.below(6) {
        0 | 1 => format!("MSET a {value} b {value} c {value} d {value} e {value}\r\n"),
        2 => format!(
            "SET token{writer} 1\r\nRENAME token{writer} moved{writer}\r\nCOPY moved{writer} copy REPLACE\r\n"
        ),
        3 => "RENAME here there\r\n".into(),
        4 => "RENAME there here\r\n".into(),
        _ => "MSETNX p 1 q 2 r 3 s 4\r\nDEL p q r s\r\n".into(),
    }
}

/// The questions of a reader.
const QUESTIONS: &str = "MGET a b c d e\r\nEXISTS here there\r\nEXISTS p q r s\r\n";

/// What is wrong with the answers to so many of them.
fn judge(heard: &str, questions: usize) -> Result<(), String> {
    let mut lines = heard.lines();
    let mut next = || lines.next().ok_or("an answer is missing");
    for _ in 0..questions {
        if next()? != "*5" {
            return Err("not five values".into());
        }
        let mut values = Vec::new();
        for _ in 0..5 {
            next()?;
            values.push(next()?.to_owned());
        }
        if values.iter().any(|value| *value != values[0]) {
            return Err(format!("a part of an MSET: {values:?}"));
        }
        let (one_of_two, all_of_four) = (next()?, next()?);
        if one_of_two != ":1" {
            return Err(format!("a part of a RENAME: {one_of_two}"));
        }
        if all_of_four != ":0" && all_of_four != ":4" {
            return Err(format!("a part of an MSETNX or a DEL: {all_of_four}"));
        }
    }
    Ok(())
}

fn observe<S: Shard<Config = Config, Said = Said, Heard = Heard>>(seed: u64) -> Result<u64, String> {
    let config = Config { resp: Some(([127, 0, 0, 1], 6379).into()), ..Config::default() };
    let faults = if seed.is_multiple_of(3) { Faults::none() } else { Faults::rough() };
    let cores = 2 + (seed % 3) as u16;
    let mut world: World<S> = World::new(seed, Setup::new(config).cores(cores).faults(faults));
    let writers: Vec<Client> = (0..WRITERS).map(|_| world.connect(NODE, 0)).collect();
    let readers: Vec<Client> = (0..READERS).map(|_| world.connect(NODE, 0)).collect();
    world.say(writers[0], b"MSET a 0 b 0 c 0 d 0 e 0 here 1\r\n");
    world.run_until(|world| world.heard(writers[0]) == b"+OK\r\n");
    let mut asked = vec![0; READERS];
    for _ in 0..ROUNDS {
        for (number, writer) in writers.iter().enumerate() {
            let count = world.workload().below(4);
            let said: String = (0..count).map(|_| write(number, world.workload())).collect();
            world.say(*writer, said.as_bytes());
        }
        for (reader, asked) in readers.iter().zip(&mut asked) {
            let count = world.workload().below(3) as usize;
            *asked += count;
            world.say(*reader, QUESTIONS.repeat(count).as_bytes());
        }
        let pause = world.workload().below(300);
        world.run_for(Duration::from_micros(pause));
    }
    for client in writers.iter().chain(&readers) {
        world.finish(*client);
    }
    let all_ended =
        |world: &World<S>| writers.iter().chain(&readers).all(|client| world.ended(*client).is_some());
    if !world.run_within(Duration::from_secs(60), all_ended) {
        return Err("somebody waits for ever".into());
    }
    for (reader, asked) in readers.iter().zip(asked) {
        judge(&String::from_utf8_lossy(world.heard(*reader)), asked)?;
    }
    Ok(world.trace_hash())
}

#[test]
fn nobody_sees_a_part_of_what_several_cores_do() {
    for_seeds(SEEDS, |seed| {
        let hash = observe::<Dht>(seed).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(Ok(hash), observe::<Dht>(seed), "the same seed is the same world");
    });
}

/// A test that cannot fail is a bug: cores that do not keep what is claimed must be found out.
#[test]
fn cores_that_keep_no_claims_are_found_out() {
    let noticed = (0..SEEDS).filter(|seed| observe::<Careless>(*seed).is_err()).count();
    assert!(noticed > 0, "nobody noticed");
}

#[test]
fn a_deal_whose_client_is_gone_leaves_no_key_behind() {
    for_seeds(SEEDS, |seed| {
        let config = Config { resp: Some(([127, 0, 0, 1], 6379).into()), ..Config::default() };
        let mut world: World<Dht> = World::new(seed, Setup::new(config).cores(3).faults(Faults::rough()));
        for _ in 0..5 {
            let gone = world.connect(NODE, 0);
            world.say(gone, "MSET a 1 b 2 c 3 d 4\r\nRENAME a e\r\nMGET a b c d e\r\n".repeat(5).as_bytes());
            let pause = world.workload().below(400);
            world.run_for(Duration::from_micros(pause));
            world.reset(gone);
        }
        // What was sent before a reset may still arrive.
        world.run_for(Duration::from_secs(5));
        let client = world.connect(NODE, 0);
        world.say(client, b"MSET a 5 b 5 c 5 d 5 e 5\r\nMGET a b c d e\r\nDEL a b c d e\r\nDBSIZE\r\n");
        world.run_until(|world| world.heard(client).ends_with(b":5\r\n:0\r\n"));
        world.drain(NODE);
        world.run_until(|world| world.drained(NODE));
    });
}

/// Cores that let go of keys at once which they should keep until a deal is finished.
struct Careless(Dht);

struct Forgets<'o, O>(&'o mut O);

impl<O: Outbox<Said = Said>> Outbox for Forgets<'_, O> {
    type Said = Said;
    fn tell(&mut self, core: CoreId, mut said: Said, blob: Option<Blob>) {
        if let Said::Claim { stays, .. } = &mut said {
            *stays = false;
        }
        self.0.tell(core, said, blob);
    }
    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        self.0.write(conn, bytes);
    }
    fn write_blob(&mut self, conn: ConnId, blob: Blob) {
        self.0.write_blob(conn, blob);
    }
    fn write_piece(&mut self, conn: ConnId, piece: Piece<'_>) {
        self.0.write_piece(conn, piece);
    }
    fn room(&self, conn: ConnId) -> usize {
        self.0.room(conn)
    }
    fn pause(&mut self, conn: ConnId) {
        self.0.pause(conn);
    }
    fn resume(&mut self, conn: ConnId) {
        self.0.resume(conn);
    }
    fn finish(&mut self, conn: ConnId) {
        self.0.finish(conn);
    }
    fn close(&mut self, conn: ConnId, how: Close) {
        self.0.close(conn, how);
    }
    fn dial(&mut self, dial: Dial) -> ConnId {
        self.0.dial(dial)
    }
    fn listen(&mut self, at: Address) -> ListenerId {
        self.0.listen(at)
    }
    fn lane_room(&self, core: CoreId) -> usize {
        self.0.lane_room(core)
    }
    fn send(&mut self, node: NodeId, core: CoreId, said: Said, blob: Option<Blob>) {
        self.0.send(node, core, said, blob);
    }
    fn wake(&mut self, timer: TimerId, at: Option<Instant>) {
        self.0.wake(timer, at);
    }
    fn log(&mut self, record: &[u8]) -> LogMark {
        self.0.log(record)
    }
    fn save(&mut self, part: &[u8]) {
        self.0.save(part);
    }
    fn save_room(&self) -> usize {
        self.0.save_room()
    }
    fn saved(&mut self, upto: LogMark) {
        self.0.saved(upto);
    }
    fn unsave(&mut self) {
        self.0.unsave();
    }
    fn spawn(&mut self, command: Command) -> ChildId {
        self.0.spawn(command)
    }
    fn signal(&mut self, child: ChildId, signal: Signal) {
        self.0.signal(child, signal);
    }
    fn gather(&mut self, ticket: Ticket) {
        self.0.gather(ticket);
    }
    fn drained(&mut self) {
        self.0.drained();
    }
}

impl Shard for Careless {
    type Config = Config;
    type Said = Said;
    type Heard = Heard;
    fn new(seat: Seat, config: &Config, chance: Chance) -> Self {
        Self(Dht::new(seat, config, chance))
    }
    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.0.on_start(now, out);
    }
    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        self.0.on_open(now, conn, how, out);
    }
    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.0.on_bytes(now, conn, input, &mut Forgets(out));
    }
    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        self.0.on_room(now, conn, out);
    }
    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        self.0.on_end(now, conn, end, out);
    }
    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &Heard,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.0.on_peer(now, from, heard, blob, &mut Forgets(out));
    }
    fn on_link(&mut self, now: Now, node: NodeId, link: Link, out: &mut impl Outbox<Said = Said>) {
        self.0.on_link(now, node, link, out);
    }
    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        self.0.on_timer(now, timer, &mut Forgets(out));
    }
    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        self.0.on_order(now, order, out);
    }
    fn gauges(&self, into: &mut Gauges) {
        self.0.gauges(into);
    }
}
