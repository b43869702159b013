//! `dht import`: the requests of a file are carried out on a server, many at once. What the server refuses is told, and
//! the rest goes on; a file that is none, or is cut, is told with the byte, and what stood before it is done.

use super::talk::{DEFAULT, Talk};
use clap::Args;
use dht::exchange::{Outcome, Reader, Reply, requests};
use reactor::Fatal;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Requests, and about how many bytes of them, that are under way at once.
const AHEAD: usize = 256;
const AHEAD_BYTES: usize = 256 * 1024;

/// Refusals that are told one by one.
const SHOWN: u64 = 10;

/// What is typed about it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Requests in RESP, such as `dht export` writes; - for standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// HOST or HOST:PORT of the server
    #[arg(long, value_name = "HOST", default_value = DEFAULT)]
    to: String,
    /// Who to be there: a line of user:password, or of a password
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
}

/// Carries all of them out; a sentence on standard error says what came of it.
///
/// # Errors
/// Status 5, with a sentence, for a file that cannot be read, a server that is gone, and refused requests.
pub fn run(asked: &Options) -> Result<(), Fatal> {
    let file: Box<dyn Read> = match asked.file.as_str() {
        "-" => Box::new(io::stdin().lock()),
        path => {
            let wrong = |error: io::Error| Fatal::unreadable(format!("cannot read {path}: {error}"));
            Box::new(File::open(path).map_err(wrong)?)
        }
    };
    let talk = Talk::open(&asked.to, asked.auth_file.as_deref())?;
    let mut import = Import { talk, batch: Vec::new(), waiting: 0, done: 0, refused: 0 };
    import.all(file, &asked.file)?;
    let Import { done, refused, .. } = import;
    match refused {
        0 => eprintln!("imported {done} keys"),
        _ => {
            let sentence = format!("imported {done} keys; the server refused {refused}");
            return Err(Fatal::unreadable(sentence));
        }
    }
    Ok(())
}

struct Import {
    talk: Talk,
    /// Whole requests that were not sent, and how many they are.
    batch: Vec<u8>,
    waiting: usize,
    done: u64,
    refused: u64,
}

impl Import {
    fn all(&mut self, mut file: impl Read, name: &str) -> Result<(), Fatal> {
        let (mut bytes, mut at, mut reader) = (Vec::new(), 0_u64, requests());
        loop {
            let used = self.some(&bytes, at, &mut reader, name)?;
            bytes.drain(..used);
            at += used as u64;
            let before = bytes.len();
            bytes.resize(before + (1 << 20), 0);
            let count = file.read(&mut bytes[before..]);
            bytes.truncate(before + count.as_ref().map_or(0, |count| *count));
            match count {
                Ok(0) if bytes.is_empty() => return self.send(),
                Ok(0) => {
                    self.send()?;
                    return Err(Fatal::unreadable(format!(
                        "{name} ends in the middle of the request that begins at byte {at}: it is cut; \
                         {} keys before it were imported",
                        self.done
                    )));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fatal::unreadable(format!("cannot read {name}: {error}"))),
            }
        }
    }

    /// Carries out the whole requests at the front of these bytes; how many bytes they are.
    fn some(&mut self, bytes: &[u8], at: u64, reader: &mut Reader, name: &str) -> Result<usize, Fatal> {
        let mut used_up = 0;
        loop {
            let rest = &bytes[used_up..];
            let outcome = if rest.is_empty() { Outcome::Partial { need: 1 } } else { reader.next(rest) };
            match outcome {
                Outcome::Partial { .. } => return Ok(used_up),
                // A line of words is a request too, but no file of ours has one: this is some other file.
                Outcome::Done { used, value } if rest[0] == b'*' => {
                    if !value.is_empty() {
                        self.batch.extend_from_slice(&rest[..used]);
                        self.waiting += 1;
                    }
                    used_up += used;
                    if self.waiting >= AHEAD || self.batch.len() >= AHEAD_BYTES {
                        self.send()?;
                    }
                }
                Outcome::Done { .. } | Outcome::Fault(_) => {
                    self.send()?;
                    return Err(Fatal::unreadable(format!(
                        "{name} is no file of requests at byte {}: export writes such; {} keys before it were imported",
                        at + used_up as u64,
                        self.done
                    )));
                }
            }
        }
    }

    fn send(&mut self) -> Result<(), Fatal> {
        self.talk.send(&self.batch)?;
        self.batch.clear();
        for _ in 0..std::mem::take(&mut self.waiting) {
            let refusal = self.talk.hear(|reply| match reply {
                Reply::Error(words) => Some(String::from_utf8_lossy(words).into_owned()),
                _ => None,
            })?;
            match refusal {
                None => self.done += 1,
                Some(why) => {
                    self.refused += 1;
                    if self.refused <= SHOWN {
                        eprintln!("request {} was refused: {why}", self.done + self.refused);
                    }
                }
            }
        }
        Ok(())
    }
}
