//! Reading what was kept, at the start: the last snapshot, then the records after it, up to the first that is not
//! whole. The hard thing is to say what that one is. Behind the last synced group it is the tail that a power cut
//! tore, which is normal; before it, damage, and then nothing may be served.

use super::blocks::BLOCK;
use super::format::{self, HEADER, Header, Holds, Kind, NOTICE, PREFIX, Prefix, Read as HeaderRead};
use super::shelf::snapshot_name;
use crate::fatal::Fatal;
use machine::{Kept, Seat};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const READ_AHEAD: usize = 1024 * 1024;

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Parts of the snapshot.
    pub parts: u64,
    /// Records logged after it.
    pub records: u64,
    /// Whether something stood behind the last of them that was no whole record: the power went while it was written.
    /// It was never safe, and is gone.
    pub is_torn: bool,
}

/// Whose log is read.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    pub(super) path: PathBuf,
    pub(super) seat: Seat,
    pub(super) system: String,
    pub(super) version: u32,
}

/// What a log turned out to hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The mark the snapshot stands for.
    pub(super) upto: u64,
    /// The mark after the last record.
    pub(super) end: u64,
    /// Segments with records that are needed, in order.
    pub(super) live: Vec<Live>,
    /// Other files of the log, which hold nothing that is needed.
    pub(super) spare: Vec<String>,
    pub(super) replayed: Replayed,
}

/// A segment, and how far it could be read.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) name: String,
    pub(super) header: Header,
    /// Bytes of it that count, with the header.
    pub(super) length: u64,
    pub(super) size: u64,
    /// What checksums of records behind the last begin with.
    pub(super) salt: u64,
}

/// The names of a core's segments and spares.
pub(super) fn names(path: &Path, core: u16) -> io::Result<Vec<String>> {
    let prefix = format!("core-{core}-");
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        if let Ok(name) = entry?.file_name().into_string()
            && name.starts_with(&prefix)
            && serial(&name).is_some()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

pub(super) fn serial(name: &str) -> Option<u32> {
    let digits = name.rsplit_once('-')?.1.strip_suffix(".log")?;
    u32::from_str_radix(digits, 16).ok()
}

impl Whose {
    /// Tells everything that is kept, and says which files hold it. Changes nothing.
    pub(super) fn replay(&self, tell: &mut dyn FnMut(Kept<'_>)) -> Result<Found, Fatal> {
        let mut found = Found::default();
        found.upto = self.snapshot(tell, &mut found.replayed)?;
        let headers = self.headers(&mut found.spare)?;
        let needed = headers.windows(2).take_while(|pair| pair[1].1.base <= found.upto).count();
        found.spare.extend(headers[..needed].iter().map(|(name, _)| name.clone()));
        let needed = &headers[needed..];
        if let Some((name, first)) = needed.first()
            && first.base > found.upto
        {
            return Err(unreadable(&self.path.join(name), "the records before it are missing"));
        }
        found.end = found.upto;
        for (index, (name, header)) in needed.iter().enumerate() {
            let next = needed.get(index + 1).map(|(_, next)| next.base);
            let upto = found.upto;
            let live = self.segment(name, header, next, upto, tell, &mut found.replayed)?;
            found.end = found.end.max(header.base + live.length - HEADER as u64);
            found.live.push(live);
        }
        // The snapshot may stand for more than is in the log: then what is there is of no use any more.
        if found.live.last().is_some_and(|last| last.header.base + last.length - (HEADER as u64) < found.upto)
        {
            found.spare.extend(found.live.drain(..).map(|live| live.name));
        }
        Ok(found)
    }

    /// The headers of this core's segments, in the order in which they were begun.
    fn headers(&self, spare: &mut Vec<String>) -> Result<Vec<(String, Header)>, Fatal> {
        let names = names(&self.path, self.seat.core.0)
            .map_err(|error| unreadable(&self.path, &error.to_string()))?;
        let mut headers = Vec::new();
        for name in names {
            let path = self.path.join(&name);
            let file = File::open(&path).map_err(|error| unreadable(&path, &error.to_string()))?;
            let mut reader = Reader::new(file).map_err(|error| unreadable(&path, &error.to_string()))?;
            let bytes = reader.header().map_err(|error| unreadable(&path, &error.to_string()))?;
            match self.check_header(&path, &bytes, Holds::Log)? {
                Some(header) => headers.push((name, header)),
                None => spare.push(name),
            }
        }
        headers.sort_by_key(|(_, header)| header.number);
        Ok(headers)
    }

    /// None when it was never written.
    fn check_header(&self, path: &Path, bytes: &[u8], holds: Holds) -> Result<Option<Header>, Fatal> {
        let header = match Header::read(bytes, holds) {
            HeaderRead::Header(header) => header,
            HeaderRead::Torn => return Ok(None),
            HeaderRead::Foreign(what) => return Err(unreadable(path, &format!("it is {what}"))),
        };
        let (ours, theirs) = (self.seat, header.seat);
        let problem = if header.system != self.system {
            format!("it was written by {}, not by {}", header.system, self.system)
        } else if header.version > self.version {
            let (theirs, ours) = (header.version, self.version);
            format!(
                "version {theirs} of {} wrote it and this is version {ours}: start the newer one",
                self.system
            )
        } else if theirs.node != ours.node {
            format!("it belongs to node {}, not to node {}", theirs.node.0, ours.node.0)
        } else if theirs.cores != ours.cores {
            format!("it was written by a program on {} cores, this one has {}", theirs.cores, ours.cores)
        } else if theirs.core != ours.core {
            "it was renamed".to_owned()
        } else {
            return Ok(Some(header));
        };
        Err(unreadable(path, &problem))
    }

    /// Tells the parts of the snapshot, if there is one; returns the mark for which it stands.
    fn snapshot(&self, tell: &mut dyn FnMut(Kept<'_>), replayed: &mut Replayed) -> Result<u64, Fatal> {
        let path = self.path.join(snapshot_name(self.seat.core.0, false));
        let at = |error: io::Error| unreadable(&path, &error.to_string());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(at(error)),
        };
        let mut reader = Reader::new(file).map_err(at)?;
        let bytes = reader.header().map_err(at)?;
        let Some(header) = self.check_header(&path, &bytes, Holds::Snapshot)? else {
            return Err(damaged(&path, 0));
        };
        loop {
            let place = reader.place;
            match reader.record(header.salt, 0, u64::MAX).map_err(at)? {
                Some(Kind::Data) => {
                    replayed.parts += 1;
                    tell(Kept::Part(&reader.payload));
                }
                Some(Kind::End) => match format::end(&reader.payload) {
                    Some((upto, parts)) if parts == replayed.parts => return Ok(upto),
                    _ => return Err(damaged(&path, place)),
                },
                Some(Kind::Notice | Kind::Life) | None => return Err(damaged(&path, place)),
            }
        }
    }

    /// Tells the records of a segment that end after `upto` and not after the base of the next, which it must reach.
    fn segment(
        &self,
        name: &str,
        header: &Header,
        next: Option<u64>,
        upto: u64,
        tell: &mut dyn FnMut(Kept<'_>),
        replayed: &mut Replayed,
    ) -> Result<Live, Fatal> {
        let path = self.path.join(name);
        let at = |error: io::Error| unreadable(&path, &error.to_string());
        let mut reader = Reader::new(File::open(&path).map_err(at)?).map_err(at)?;
        reader.header().map_err(at)?;
        // A place in the file is a mark less this.
        let shift = header.base.wrapping_sub(HEADER as u64);
        let limit = next.unwrap_or(u64::MAX);
        let mut salt = header.salt;
        loop {
            match reader.record(salt, shift, limit).map_err(at)? {
                Some(Kind::Data) if reader.place.wrapping_add(shift) > upto => {
                    replayed.records += 1;
                    tell(Kept::Record(&reader.payload));
                }
                Some(Kind::Life) => match format::mark(&reader.payload) {
                    Some(new) => salt = new,
                    None => return Err(damaged(&path, reader.place)),
                },
                Some(Kind::Data | Kind::Notice) => {}
                Some(Kind::End) | None => break,
            }
        }
        let (length, size) = (reader.place, reader.size);
        match next {
            Some(next) if length.wrapping_add(shift) != next => return Err(damaged(&path, length)),
            Some(_) => {}
            None => {
                replayed.is_torn |= is_torn_at(&path, length, size).map_err(at)?;
                refuse_if_was_safe(&path, length, size, shift, salt)?;
            }
        }
        Ok(Live { name: name.into(), header: header.clone(), length, size, salt })
    }
}

/// Whether the last block goes on after its last whole record.
fn is_torn_at(path: &Path, length: u64, size: u64) -> io::Result<bool> {
    let end = length.next_multiple_of(BLOCK as u64).min(size);
    let mut rest = vec![0; (end - length) as usize];
    File::open(path)?.read_exact_at(&mut rest, length)?;
    Ok(rest.iter().any(|byte| *byte != 0))
}

/// Looks through what could not be read for a word that says it had been safe: then it is damage.
fn refuse_if_was_safe(path: &Path, length: u64, size: u64, shift: u64, salt: u64) -> Result<(), Fatal> {
    let at = |error: io::Error| unreadable(path, &error.to_string());
    let file = File::open(path).map_err(at)?;
    let end = length.wrapping_add(shift);
    let mut window = vec![0; READ_AHEAD];
    let mut from = length;
    while from + NOTICE as u64 <= size {
        let wanted = window.len().min((size - from) as usize);
        file.read_exact_at(&mut window[..wanted], from).map_err(at)?;
        for (index, bytes) in window[..wanted].windows(NOTICE).enumerate() {
            let place = (from + index as u64).wrapping_add(shift);
            if safe_at(bytes, place, salt).is_some_and(|safe| safe > end) {
                return Err(damaged(path, length));
            }
        }
        // The windows of the next round begin where those of this one ended.
        from += (wanted - NOTICE + 1) as u64;
    }
    Ok(())
}

/// Before which mark everything had been safe, if these bytes say so and were written at this place.
fn safe_at(bytes: &[u8], place: u64, salt: u64) -> Option<u64> {
    let (prefix, payload) = bytes.split_first_chunk::<PREFIX>()?;
    let prefix = Prefix::read(*prefix);
    if prefix.length != payload.len() {
        return None;
    }
    match prefix.kind {
        Kind::Data | Kind::End => None,
        Kind::Notice | Kind::Life if !prefix.fits(salt, place, payload) => None,
        Kind::Notice => format::mark(payload),
        Kind::Life => Some(place),
    }
}

/// Reads a file record by record.
struct Reader {
    file: BufReader<File>,
    size: u64,
    place: u64,
    payload: Vec<u8>,
}

impl Reader {
    fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(READ_AHEAD, file), size, place: 0, payload: Vec::new() })
    }

    /// The first bytes of the file, as many of a header as there are.
    fn header(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (HEADER as u64).min(self.size) as usize];
        self.file.read_exact(&mut bytes)?;
        self.place = bytes.len() as u64;
        Ok(bytes)
    }

    /// The next record, into `payload`; none where there is no whole one that ends at or before the mark `limit`.
    fn record(&mut self, salt: u64, shift: u64, limit: u64) -> io::Result<Option<Kind>> {
        let rest = self.size - self.place;
        if rest < PREFIX as u64 {
            return Ok(None);
        }
        let mut prefix = [0; PREFIX];
        self.file.read_exact(&mut prefix)?;
        let prefix = Prefix::read(prefix);
        let length = (PREFIX + prefix.length) as u64;
        let mark = self.place.wrapping_add(shift);
        if rest < length || mark.saturating_add(length) > limit {
            return Ok(None);
        }
        self.payload.resize(prefix.length, 0);
        self.file.read_exact(&mut self.payload)?;
        if !prefix.fits(salt, mark, &self.payload) {
            return Ok(None);
        }
        self.place += length;
        Ok(Some(prefix.kind))
    }
}

pub(super) fn unreadable(path: &Path, problem: &str) -> Fatal {
    Fatal::unreadable(format!("cannot use {}: {problem}", path.display()))
}

fn damaged(path: &Path, at: u64) -> Fatal {
    let problem = format!(
        "it is damaged at byte {at}, where everything had been safe: put a copy in its place, or move its directory \
         away to begin with nothing",
    );
    unreadable(path, &problem)
}
