//! `dht export`: all keys as the requests that set them, from a directory that no server uses, or from a server. From a
//! directory it is what a start would find; from a server it is what was there while it was asked, each key as it was
//! at some moment.

use super::talk::Talk;
use clap::Args;
use dht::exchange::{Reply, Restored, write_request, write_set};
use machine::{NodeId, WallTime};
use reactor::Fatal;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Keys asked for at once.
const KEYS: &str = "512";

/// What is typed about it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What --data named, of a server that does not run; or HOST or HOST:PORT of one that does (a Redis too, of which
    /// strings are taken)
    #[arg(value_name = "DIR|HOST")]
    from: String,
    /// The node whose data it is, of a directory
    #[arg(long, default_value_t = 0)]
    id: u16,
    /// Who to be at a server: a line of user:password, or of a password
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
}

/// Writes everything to standard output, and what there was of it to standard error.
///
/// # Errors
/// Status 5, with a sentence, for what cannot be read or reached, and for what had to be left out.
pub fn run(asked: &Options) -> Result<(), Fatal> {
    let mut out = Out { into: BufWriter::with_capacity(1 << 20, io::stdout().lock()), keys: 0, wrong: None };
    let path = Path::new(&asked.from);
    if path.is_dir() {
        from_directory(path, asked.id, &mut out)?;
    } else if asked.from.contains('/') {
        return Err(Fatal::unreadable(format!("there is no directory {}", asked.from)));
    } else {
        from_server(&asked.from, asked.auth_file.as_deref(), &mut out)?;
    }
    let keys = out.end()?;
    eprintln!("exported {keys} keys");
    Ok(())
}

fn from_directory(path: &Path, id: u16, out: &mut Out<impl Write>) -> Result<(), Fatal> {
    let mut restored = Restored::default();
    let looked = reactor::look(path, NodeId(id), "dht", 1, &mut |_, kept| restored.take(kept))?;
    if looked.is_empty() {
        let sentence = format!("{} holds no logs: name what --data named", path.display());
        return Err(Fatal::unreadable(sentence));
    }
    let unread = restored.end();
    if unread > 0 {
        return Err(Fatal::unreadable(format!("{unread} records hold what this program does not know")));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = WallTime::from_micros(now.as_micros() as u64);
    let mut request = Vec::new();
    restored.each(|key, value, until| {
        if until.is_some_and(|until| until <= now) {
            return true;
        }
        request.clear();
        write_set(&mut request, key, value, until);
        out.key(&request)
    });
    Ok(())
}

fn from_server(at: &str, auth_file: Option<&Path>, out: &mut Out<impl Write>) -> Result<(), Fatal> {
    let mut talk = Talk::open(at, auth_file)?;
    let (mut cursor, mut left_out, mut request) = (b"0".to_vec(), 0_u64, Vec::new());
    loop {
        request.clear();
        write_request(&mut request, &[b"SCAN", &cursor, b"COUNT", KEYS.as_bytes()]);
        talk.send(&request)?;
        let (next, keys) = talk.hear(page)??;
        request.clear();
        for key in &keys {
            write_request(&mut request, &[b"GET", key]);
            write_request(&mut request, &[b"PEXPIRETIME", key]);
        }
        talk.send(&request)?;
        for key in &keys {
            let value = talk.hear(|reply| match reply {
                Reply::Bulk(value) => Ok(Some(value.to_vec())),
                Reply::Null => Ok(None),
                other => Err(said(other)),
            })?;
            let until = talk.hear(|reply| match reply {
                Reply::Integer(millis) => Ok(u64::try_from(millis).ok().map(WallTime::from_millis)),
                other => Err(said(other)),
            })?;
            match (value, until) {
                (Ok(Some(value)), Ok(until)) => {
                    request.clear();
                    write_set(&mut request, key, &value, until);
                    if !out.key(&request) {
                        return Ok(());
                    }
                }
                // It has gone since.
                (Ok(None), _) => {}
                (Err(why), _) | (_, Err(why)) => {
                    left_out += 1;
                    if left_out == 1 {
                        eprintln!("left out {}: {why}", key.escape_ascii());
                    }
                }
            }
        }
        if next == b"0" {
            break;
        }
        cursor = next;
    }
    match left_out {
        0 => Ok(()),
        count => {
            out.flush()?;
            let keys = out.keys;
            Err(Fatal::unreadable(format!("exported {keys} keys, and left out {count} that are no strings")))
        }
    }
}

/// The next cursor and the keys of an answer to SCAN.
fn page(reply: Reply<'_>) -> Result<(Vec<u8>, Vec<Vec<u8>>), Fatal> {
    let wrong = || Fatal::unreadable(format!("SCAN was answered {}", said(reply)));
    let Reply::Array(both) = reply else { return Err(wrong()) };
    let mut both = both.iter();
    match (both.next(), both.next()) {
        (Some(Reply::Bulk(next)), Some(Reply::Array(keys))) => {
            let keys = keys.iter().filter_map(|key| match key {
                Reply::Bulk(key) => Some(key.to_vec()),
                _ => None,
            });
            Ok((next.to_vec(), keys.collect()))
        }
        _ => Err(wrong()),
    }
}

fn said(reply: Reply<'_>) -> String {
    match reply {
        Reply::Error(words) | Reply::Simple(words) => String::from_utf8_lossy(words).into_owned(),
        other => format!("{other:?}"),
    }
}

/// Where the requests go.
struct Out<W> {
    into: W,
    keys: u64,
    wrong: Option<io::Error>,
}

impl<W: Write> Out<W> {
    /// One key's request; false when no more can be written.
    fn key(&mut self, request: &[u8]) -> bool {
        self.keys += 1;
        self.wrong = self.into.write_all(request).err();
        self.wrong.is_none()
    }

    fn flush(&mut self) -> Result<(), Fatal> {
        let wrong = self.wrong.take().map_or_else(|| self.into.flush(), Err);
        match wrong {
            // Who reads has enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Fatal::unreadable(format!("cannot write the keys: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    fn end(mut self) -> Result<u64, Fatal> {
        self.flush().map(|()| self.keys)
    }
}
