//! Commands that this core answers from what it knows of the connection and itself.

use crate::command::{ClientWord, Credentials, Hello, Here, Words, describe};
use crate::config::REDIS_VERSION;
use crate::glob;
use crate::parameter;
use crate::peer::Said;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::shard::Dht;
use machine::{Now, Outbox};
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
            Here::Auth(credentials) => match log_in(credentials) {
                Ok(()) => self.say(session, |writer| writer.ok(), out),
                Err(refusal) => self.refuse(session, &refusal, out),
            },
            Here::Quit => {
                self.say(session, |writer| writer.ok(), out);
                session.is_closing = true;
            }
            Here::Reset => {
                session.speak(Version::Two);
                session.about.name = Box::default();
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

    fn hello(&mut self, session: &mut Session, hello: Hello<'_>, out: &mut impl Outbox<Said = Said>) {
        if let Some(Err(refusal)) = hello.credentials.map(log_in) {
            return self.refuse(session, &refusal, out);
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
            words("mode", "standalone");
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
        let wanted: Vec<(&str, String)> = parameter::all(&self.config.limits)
            .into_iter()
            .filter(|(name, _)| {
                words.from(1).any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
            })
            .collect();
        let write = |writer: &mut Writer<'_>| {
            writer.map(wanted.len());
            for (name, value) in &wanted {
                writer.bulk(name.as_bytes());
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
    }
}

/// Nobody has a password here: the default user may say any, and there are no others.
fn log_in(credentials: Credentials<'_>) -> Result<(), Refusal> {
    match credentials.user {
        Some(b"default") => Ok(()),
        Some(_) => {
            Err(Refusal::Says("WRONGPASS invalid username-password pair or user is disabled.".into()))
        }
        None => Err(Refusal::Says(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?"
                .into(),
        )),
    }
}

/// Seconds since 1970, and the microseconds of this one.
fn time(now: Now, writer: &mut Writer<'_>) {
    let micros = now.wall.micros();
    writer.array(2);
    for number in [micros / 1_000_000, micros % 1_000_000] {
        writer.bulk(itoa::Buffer::new().format(number).as_bytes());
    }
}
