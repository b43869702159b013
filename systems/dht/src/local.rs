//! Commands that this core answers from what it knows of the connection and itself.

use crate::answer;
use crate::cluster::View;
use crate::command::{ClientWord, ClusterWord, Credentials, Fixed, Hello, Here, Mute, Words, describe};
use crate::config::REDIS_VERSION;
use crate::glob;
use crate::keep::snapshot::Wish;
use crate::login::DEFAULT;
use crate::parameter;
use crate::peer::Said;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::shard::Dht;
use machine::{Now, Outbox, Ticket};
use wire::resp::{Version, Writer};

impl Dht {
    pub(crate) fn here(
        &mut self,
        now: Now,
        session: &mut Session,
        here: Here<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match here {
            Here::Ping(None) => self.say(session, |writer| writer.simple("PONG"), out),
            Here::Ping(Some(word)) | Here::Echo(word) => self.say(session, |writer| writer.bulk(word), out),
            Here::Nothing => self.say(session, |writer| writer.ok(), out),
            Here::Hello(hello) => self.hello(session, hello, out),
            Here::Auth(credentials) => match self.log_in(session, credentials) {
                Ok(()) => self.say(session, |writer| writer.ok(), out),
                Err(refusal) => self.refuse(session, &refusal, out),
            },
            Here::Cluster(word) => self.cluster(session, word, out),
            Here::Told(fixed) => self.say(session, |writer| fixed_reply(fixed, writer), out),
            Here::Mute(Mute::SkipNext) if session.mute == Mute::On => {}
            Here::Mute(mute) => {
                session.mute = mute;
                if mute == Mute::Off {
                    self.say(session, |writer| writer.ok(), out);
                }
            }
            Here::Tracking => self.say(session, tracking, out),
            Here::Role => self.say(session, role, out),
            Here::WhoAmI => {
                let user = session.about.user.clone();
                self.say(session, |writer| writer.bulk(user.as_bytes()), out);
            }
            Here::LastSave => {
                let second = self.snapshots.second as i64;
                self.say(session, |writer| writer.integer(second), out);
            }
            Here::Shutdown { .. } if self.config.end.is_none() => {
                let says = "ERR this server is ended by who runs it";
                self.refuse(session, &Refusal::Says(says.into()), out);
            }
            Here::Shutdown { saves: true } => self.wish(session, Wish::End, out),
            Here::Shutdown { saves: false } => {
                let ticket = session.pipeline.wait();
                self.end_for(session, ticket);
            }
            Here::Save(wish) => self.wish(session, wish, out),
            Here::Quit => {
                self.say(session, |writer| writer.ok(), out);
                session.is_closing = true;
            }
            Here::Reset => {
                session.speak(Version::Two);
                session.mute = Mute::Off;
                session.about.name = Box::default();
                session.about.user = DEFAULT.into();
                session.set_stranger(!self.config.users.is_open());
                self.say(session, |writer| writer.simple("RESET"), out);
            }
            Here::Client(word) => self.client(now, session, word, out),
            Here::Describe(words) => self.say(session, |writer| describe(words, writer), out),
            Here::Parameters(words) => self.parameters(session, words, out),
            Here::Lines(lines) => {
                let write = |writer: &mut Writer<'_>| {
                    writer.array(lines.len());
                    lines.iter().for_each(|line| writer.simple(line));
                };
                self.say(session, write, out);
            }
            Here::Time => self.say(session, |writer| time(now, writer), out),
        }
    }

    /// Has the process end for a client, which is not answered: its connection ends with the process.
    pub(crate) fn end_for(&mut self, session: &mut Session, ticket: Ticket) {
        self.ending = Some((session.conn, ticket));
        session.is_closing = true;
        if let Some(end) = self.config.end {
            end();
        }
    }

    /// Lets somebody in, or says why not. Where everybody may come in, the default user may say any secret.
    fn log_in(&self, session: &mut Session, credentials: Credentials<'_>) -> Result<(), Refusal> {
        let users = &self.config.users;
        let name = credentials.user.unwrap_or(DEFAULT.as_bytes());
        if users.is_open() && credentials.user.is_none() {
            return Err(Refusal::Says(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?"
                    .into(),
            ));
        }
        let is_welcome =
            if users.is_open() { name == DEFAULT.as_bytes() } else { users.admit(name, credentials.secret) };
        if !is_welcome {
            let says = "WRONGPASS invalid username-password pair or user is disabled.";
            return Err(Refusal::Says(says.into()));
        }
        session.about.user = String::from_utf8_lossy(name).into();
        session.set_stranger(false);
        Ok(())
    }

    fn cluster(&mut self, session: &mut Session, word: ClusterWord<'_>, out: &mut impl Outbox<Said = Said>) {
        let view = View {
            placement: &self.placement,
            config: &self.config,
            seat: self.seat,
            is_core: session.is_core,
        };
        let text = self.shown.answer(view, word, session.version());
        answer::at_once(session, &mut self.direct, text, session.shape(), out);
    }

    fn hello(&mut self, session: &mut Session, hello: Hello<'_>, out: &mut impl Outbox<Said = Said>) {
        let logged_in = hello.credentials.map(|credentials| self.log_in(session, credentials));
        if let Some(Err(refusal)) = logged_in {
            return self.refuse(session, &refusal, out);
        }
        if let Some(word) = hello.unknown {
            let word = String::from_utf8_lossy(word);
            let says = format!("ERR Syntax error in HELLO option '{word}'");
            return self.refuse(session, &Refusal::Says(says.into()), out);
        }
        if session.is_stranger {
            return self.refuse(session, &Refusal::Says(HELLO_FIRST.into()), out);
        }
        if let Some(name) = hello.name {
            session.about.name = name.into();
        }
        if let Some(version) = hello.version {
            session.speak(version);
        }
        let number = session.about.number as i64;
        let proto = match session.version() {
            Version::Two => 2,
            Version::Three => 3,
        };
        let mode = if session.is_core { "cluster" } else { "standalone" };
        let write = |writer: &mut Writer<'_>| {
            writer.map(7);
            let mut words = |name: &str, value: &str| {
                writer.bulk(name.as_bytes());
                writer.bulk(value.as_bytes());
            };
            words("server", "redis");
            words("version", REDIS_VERSION);
            writer.bulk(b"proto");
            writer.integer(proto);
            writer.bulk(b"id");
            writer.integer(number);
            let mut words = |name: &str, value: &str| {
                writer.bulk(name.as_bytes());
                writer.bulk(value.as_bytes());
            };
            words("mode", mode);
            words("role", "master");
            writer.bulk(b"modules");
            writer.array(0);
        };
        self.say(session, write, out);
    }

    fn client(
        &mut self,
        now: Now,
        session: &mut Session,
        word: ClientWord<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match word {
            ClientWord::Id => {
                let number = session.about.number as i64;
                self.say(session, |writer| writer.integer(number), out);
            }
            ClientWord::Info => {
                let line = session.line(now.at, self.seat.core.0) + "\n";
                self.say(session, |writer| writer.verbatim(*b"txt", line.as_bytes()), out);
            }
            ClientWord::Name => {
                let name = session.about.name.clone();
                let write = |writer: &mut Writer<'_>| match &*name {
                    [] => writer.null(),
                    name => writer.bulk(name),
                };
                self.say(session, write, out);
            }
            ClientWord::Rename(name) => {
                session.about.name = name.into();
                self.say(session, |writer| writer.ok(), out);
            }
            ClientWord::Library(name) => {
                session.about.library = name.into();
                self.say(session, |writer| writer.ok(), out);
            }
            ClientWord::LibraryVersion(version) => {
                session.about.library_version = version.into();
                self.say(session, |writer| writer.ok(), out);
            }
        }
    }

    fn parameters(&mut self, session: &mut Session, words: Words<'_>, out: &mut impl Outbox<Said = Said>) {
        // Who asks by a name hears it as it was written.
        let asked_as = |name: &'static str| {
            words.from(1).find_map(|pattern| match () {
                () if pattern.eq_ignore_ascii_case(name.as_bytes()) => Some(pattern),
                () if glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()) => Some(name.as_bytes()),
                () => None,
            })
        };
        let port = self.config.resp.map_or(0, |at| at.port());
        let wanted: Vec<(&[u8], String)> = parameter::all(&self.config.limits, port)
            .into_iter()
            .filter_map(|(name, value)| asked_as(name).map(|name| (name, value)))
            .collect();
        let write = |writer: &mut Writer<'_>| {
            writer.map(wanted.len());
            for (name, value) in &wanted {
                writer.bulk(name);
                writer.bulk(value.as_bytes());
            }
        };
        self.say(session, write, out);
    }

    pub(crate) fn reset_stats(&mut self) {
        self.store.reset_counts();
        self.counts.by_command.fill(0);
        self.counts.unknown = 0;
        self.counts.accepted = 0;
        self.counts.rejected = 0;
        self.counts.hops = 0;
        self.counts.bytes_in = 0;
        self.counts.idled = 0;
        self.counts.overfull = 0;
        self.counts.refused.fill(0);
        self.counts.errors.clear();
        self.slowness.reset();
        self.bytes_peak = 0;
    }
}

/// To a HELLO that does not say who it is, where one must.
const HELLO_FIRST: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
    AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same \
    time";

fn fixed_reply(fixed: Fixed, writer: &mut Writer<'_>) {
    match fixed {
        Fixed::Number(number) => writer.integer(number),
        Fixed::Simple(word) => writer.simple(word),
        Fixed::Text(text) => writer.verbatim(*b"txt", text.as_bytes()),
        Fixed::Empty => writer.array(0),
        Fixed::EmptyMap => writer.map(0),
    }
}

/// CLIENT TRACKINGINFO, of one who is told nothing of changes.
fn tracking(writer: &mut Writer<'_>) {
    writer.map(3);
    writer.bulk(b"flags");
    writer.set(1);
    writer.bulk(b"off");
    writer.bulk(b"redirect");
    writer.integer(-1);
    writer.bulk(b"prefixes");
    writer.array(0);
}

/// ROLE, of one without copies.
fn role(writer: &mut Writer<'_>) {
    writer.array(3);
    writer.bulk(b"master");
    writer.integer(0);
    writer.array(0);
}

/// Seconds since 1970, and the microseconds of this one.
fn time(now: Now, writer: &mut Writer<'_>) {
    let micros = now.wall.micros();
    writer.array(2);
    for number in [micros / 1_000_000, micros % 1_000_000] {
        writer.bulk(itoa::Buffer::new().format(number).as_bytes());
    }
}
