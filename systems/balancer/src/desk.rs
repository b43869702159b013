//! The desk of the keeper of the truth: what core 0 has besides its share of the requests.
//!
//! Here what the [`Fleet`] wants done is done, and what the world tells of it is told to the fleet.

use crate::config::{Config, Driver};
use crate::docker::{self, Engine};
use crate::fleet::{Act, Asker, Fleet};
use crate::forward::{Answered, Forwards};
use crate::peer::{Said, Tenancy, conn_bits};
use crate::probe::{News, Probes};
use machine::{Chance, Command, ConnId, CoreId, End, Input, Instant, Now, Outbox, Seat};

/// The fleet and its instruments.
#[derive(Debug)]
pub struct Desk {
    seat: Seat,
    config: Config,
    /// The truth.
    pub fleet: Fleet,
    /// Connections that look at replicas.
    probes: Probes,
    engine: Option<Engine>,
    /// Requests that another process answers now.
    forwards: Forwards,
    /// It does, and clients of ours are told its words.
    is_succeeded: bool,
    epoch: u64,
    /// Cores that have nothing in flight any more, when the program ends.
    quiet: u16,
    is_ended: bool,
}

impl Desk {
    /// Nobody yet.
    #[must_use]
    pub fn new(seat: Seat, config: &Config, chance: &Chance) -> Self {
        let fleet = Fleet::new(config, seat.cores, chance);
        let engine = match &config.driver {
            Driver::Docker(docker) => Some(Engine::new(docker, config.waits.stop, config.stop_signal)),
            Driver::Process { .. } | Driver::Static(_) => None,
        };
        let config = config.clone();
        Self {
            seat,
            config,
            fleet,
            probes: Probes::default(),
            engine,
            forwards: Forwards::default(),
            is_succeeded: false,
            epoch: 0,
            quiet: 0,
            is_ended: false,
        }
    }

    /// The world is there.
    pub fn begin(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if let Some(engine) = &mut self.engine {
            let kept = self.fleet.replicas().iter().filter_map(|each| each.container.clone());
            engine.keep(kept.collect());
            engine.begin(now, out);
        }
        self.fleet.begin(now);
    }

    /// A dial of ours succeeded.
    pub fn on_open(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let news = self.probes.on_open(conn, out);
        self.heard(now, news);
    }

    /// Bytes of a replica that was probed, or of the engine.
    pub fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if self.forwards.has(conn) {
            let answered = self.forwards.on_bytes(conn, input, out);
            return self.pass_back(answered, out);
        }
        match &mut self.engine {
            Some(engine) if engine.has(conn) => {
                engine.on_bytes(now, conn, input, out);
                self.told(now);
            }
            Some(_) | None => {
                let news = self.probes.on_bytes(conn, input, out);
                self.heard(now, news);
            }
        }
    }

    /// Their side ended, in whatever way.
    pub fn on_end(&mut self, now: Now, conn: ConnId, _: End, out: &mut impl Outbox<Said = Said>) {
        if self.forwards.has(conn) {
            let answered = self.forwards.on_end(conn, out);
            return self.pass_back(answered, out);
        }
        match &mut self.engine {
            Some(engine) if engine.has(conn) => {
                engine.on_end(now, conn, out);
                self.told(now);
            }
            Some(_) | None => {
                let news = self.probes.on_end(conn, out);
                self.heard(now, news);
            }
        }
    }

    /// The configuration was read again.
    pub fn reload(&mut self, config: &Config) {
        self.config = config.clone();
        self.fleet.reload(config);
    }

    /// The program ends. When another process has taken over, that one answers what only the truth can answer.
    pub fn drain(&mut self) {
        self.is_succeeded = self.fleet.is_given();
    }

    fn pass_back(&self, answered: Option<Answered>, out: &mut impl Outbox<Said = Said>) {
        if let Some(Answered { asker, status, text }) = answered {
            out.tell(asker.core, Said::Answers { conn: conn_bits(asker.conn), status, body: text }, None);
        }
    }

    /// A core has nothing in flight any more. When all have said so, replicas end.
    pub fn on_quiet(&mut self, now: Now) {
        self.quiet += 1;
        if self.quiet == self.seat.cores {
            self.fleet.end(now.at);
        }
    }

    /// Whether everything of ours has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// What a probe heard.
    fn heard(&mut self, now: Now, news: Option<News>) {
        match news {
            Some(News::Sought(tenancy, is_free)) => self.fleet.on_sought(tenancy, is_free, now.at),
            Some(News::Beat(tenancy, outcome)) => self.fleet.on_beat(tenancy, outcome, now.at),
            None => {}
        }
    }

    /// Looks for what is late or due.
    pub fn tick(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if let Some(engine) = &mut self.engine {
            engine.tick(now, out);
            self.told(now);
        }
        self.fleet.tick(now.at);
    }

    /// When [`Desk::tick`] is wanted next.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let engine = self.engine.as_ref().and_then(Engine::next_tick);
        self.fleet.next_tick().into_iter().chain(engine).min()
    }

    /// What the engine told.
    fn told(&mut self, now: Now) {
        for news in self.engine.as_mut().map(Engine::news).unwrap_or_default() {
            match news {
                docker::News::Made(tenancy, made) => self.fleet.on_container(tenancy, made, now.at),
                docker::News::Died(id, how) => self.fleet.on_died(&id, &how, now.at),
                docker::News::Ended(tenancy) => self.fleet.on_ended(tenancy, now.at),
            }
        }
    }

    /// Does all that the fleet wants, also what it wants because of that; gives what is to be told to our own clients.
    pub fn work(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        loop {
            let acts = self.fleet.acts();
            if acts.is_empty() {
                break;
            }
            for act in acts {
                self.act(now, act, out);
            }
        }
        if self.is_succeeded {
            for held in self.fleet.held() {
                self.forwards.ask(&self.config, &held, now, out);
            }
        }
    }

    fn act(&mut self, now: Now, act: Act, out: &mut impl Outbox<Said = Said>) {
        match act {
            Act::Seek(tenancy, port) => self.probes.seek(tenancy, port, now, out),
            Act::Spawn(tenancy, port) => {
                let child = out.spawn(self.command(tenancy, port));
                self.fleet.on_spawned(tenancy, child);
            }
            Act::Create(tenancy, name) => {
                if let Some(engine) = &mut self.engine {
                    engine.create(tenancy, &name, now, out);
                }
            }
            Act::Discard(tenancy, id, farewell) => {
                if let Some(engine) = &mut self.engine {
                    engine.discard(tenancy, &id, farewell, now, out);
                }
            }
            Act::Beat(tenancy, at) => {
                self.probes.beat(tenancy, at, now.at + self.config.watching.interval, out);
            }
            Act::Forget(tenancy) => self.probes.forget(tenancy, out),
            Act::Signal(child, signal) => out.signal(child, signal),
            Act::Adopt(child) => out.adopt(child),
            Act::Tell(tenancy, change) => {
                let (seat, life, epoch) = (tenancy.seat.0, tenancy.life, self.epoch);
                self.epoch += 1;
                for core in self.seat.all_cores() {
                    out.tell(core, Said::Changed { epoch, seat, life, change: change.clone() }, None);
                }
            }
            Act::Answer(asker, status, body) => {
                out.tell(asker.core, Said::Answers { conn: conn_bits(asker.conn), status, body }, None);
            }
            Act::Ended => self.is_ended = true,
        }
    }

    fn command(&self, tenancy: Tenancy, port: u16) -> Command {
        let Driver::Process { command, .. } = &self.config.driver else {
            unreachable!("only the driver of processes starts any")
        };
        let fill = |word: &str| -> Box<str> {
            word.replace("{port}", &port.to_string())
                .replace("{host}", "127.0.0.1")
                .replace("{id}", &tenancy.life.to_string())
                .into()
        };
        let mut words = command.iter().map(|word| fill(word));
        Command { program: words.next().unwrap_or_default(), args: words.collect(), ..Command::default() }
    }

    /// An asker on that core.
    #[must_use]
    pub fn asker(core: CoreId, conn: ConnId) -> Asker {
        Asker { core, conn }
    }
}
