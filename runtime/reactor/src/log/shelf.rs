//! The directory of one core's log: which files there are, making and removing them, and reading them at the start.
//! `core-N-MARK.log` are segments, each beginning at the mark (16 hex digits) where the one before ended;
//! `core-N.snapshot` is the last whole snapshot; `core-N.snapshot.new` one in the making. The hard thing is that any
//! of the steps between them may be the last one before the power goes: each is ordered so that what is found is
//! whole.

use super::format::{self, HEADER, Header, Holds, Kind, NOTICE, PREFIX, Prefix, Read as HeaderRead};
use crate::fatal::Fatal;
use machine::{Kept, Seat};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at once, at the start.
const READ_AHEAD: usize = 1024 * 1024;

/// Where a core's files are, and whose they are.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) directory: File,
    path: PathBuf,
    seat: Seat,
    system: String,
    version: u32,
    /// Held for as long as the log is open: two processes on one log would destroy it.
    _lock: File,
}

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: u64,
    pub(super) path: PathBuf,
}

/// The last segment, ready to be appended to.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) segment: Segment,
    pub(super) file: File,
    /// Bytes of it that count, with the header; 0 when that is still to be written.
    pub(super) length: u64,
    /// Whether its name has been synced since it was opened.
    pub(super) is_named: bool,
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Parts of the snapshot.
    pub parts: u64,
    /// Records logged after it.
    pub records: u64,
    /// Bytes at the end that were no whole record: the power went while they were written. They were never safe,
    /// and are gone.
    pub torn_bytes: u64,
}

/// How far a segment could be read.
struct Scanned {
    /// Bytes of it that count, with the header; 0 when it has none.
    length: u64,
    size: u64,
    version: u32,
}

impl Shelf {
    pub(super) fn open(path: &Path, seat: Seat, system: &str, version: u32) -> Result<Self, Fatal> {
        let at = |error: io::Error| unreadable(path, &error.to_string());
        fs::create_dir_all(path).map_err(at)?;
        let directory = File::open(path).map_err(at)?;
        let lock_path = path.join(format!("core-{}.lock", seat.core.0));
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(at)?;
        // SAFETY: flock takes a descriptor we own and numbers.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            return Err(unreadable(path, "another process keeps its data there"));
        }
        Ok(Self { directory, path: path.to_owned(), seat, system: system.to_owned(), version, _lock: lock })
    }

    pub(super) fn header(&self, holds: Holds, base: u64) -> [u8; HEADER] {
        Header { holds, system: self.system.clone(), version: self.version, seat: self.seat, base }.write()
    }

    /// Makes a new, empty segment. Its name is safe only after the directory has been synced.
    pub(super) fn make_segment(&self, base: u64) -> io::Result<Open> {
        let path = self.path.join(format!("core-{}-{base:016x}.log", self.seat.core.0));
        // One of that name can only be empty: it was made in vain before, as a second one is never made at a mark.
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(Open { segment: Segment { base, path }, file, length: 0, is_named: false })
    }

    pub(super) fn make_snapshot(&self) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(true).write(true).open(self.snapshot_path(true))
    }

    /// Puts the snapshot in the making, whole and synced, in the place of the one before.
    pub(super) fn keep_snapshot(&self) -> io::Result<()> {
        fs::rename(self.snapshot_path(true), self.snapshot_path(false))
    }

    fn snapshot_path(&self, is_new: bool) -> PathBuf {
        let suffix = if is_new { ".new" } else { "" };
        self.path.join(format!("core-{}.snapshot{suffix}", self.seat.core.0))
    }

    /// Tells everything that is kept, and leaves the files so that the log can go on. The earlier segments are in
    /// the order of their marks. Also says which mark is the end.
    pub(super) fn replay(
        &self,
        tell: &mut dyn FnMut(Kept<'_>),
    ) -> Result<(Vec<Segment>, Open, u64, Replayed), Fatal> {
        let mut replayed = Replayed::default();
        let at = |error: io::Error| unreadable(&self.path, &error.to_string());
        match fs::remove_file(self.snapshot_path(true)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
        let upto = self.replay_snapshot(tell, &mut replayed)?;
        let mut segments = self.segments().map_err(at)?;
        while segments.len() > 1 && segments[1].base <= upto {
            fs::remove_file(segments.remove(0).path).map_err(at)?;
        }
        if let Some(first) = segments.first()
            && first.base > upto
        {
            return Err(unreadable(&first.path, "the records before it are missing"));
        }
        let mut end = upto;
        let mut last = None;
        for index in 0..segments.len() {
            let scanned = self.replay_segment(&segments[index], upto, tell, &mut replayed)?;
            end = segments[index].base + scanned.length.saturating_sub(HEADER as u64);
            if let Some(next) = segments.get(index + 1)
                && next.base != end
            {
                return Err(damaged(&segments[index].path, scanned.length));
            }
            last = Some(scanned);
        }
        let open = match last {
            Some(last) if end >= upto => self.reopen(&mut segments, last, end),
            // The snapshot stands for more than was in the log: what is there is of no use any more.
            _ => {
                end = upto;
                segments.drain(..).try_for_each(|old| fs::remove_file(old.path)).map_err(at)?;
                self.make_segment(end)
            }
        };
        Ok((segments, open.map_err(at)?, end, replayed))
    }

    /// Opens the last segment for appending, without its torn tail; a new one where it is of an earlier version.
    fn reopen(&self, segments: &mut Vec<Segment>, last: Scanned, end: u64) -> io::Result<Open> {
        let segment = segments.pop().expect("it was scanned");
        let file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
        if last.size != last.length {
            file.set_len(last.length)?;
            file.sync_all()?;
        }
        if last.version != self.version && last.length > HEADER as u64 {
            segments.push(segment);
            return self.make_segment(end);
        }
        // A header of an earlier version with nothing after it is written anew.
        let length = if last.version == self.version { last.length } else { 0 };
        Ok(Open { segment, file, length, is_named: false })
    }

    fn segments(&self) -> io::Result<Vec<Segment>> {
        let prefix = format!("core-{}-", self.seat.core.0);
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let middle = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".log"));
            if let Some(base) = middle.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
                segments.push(Segment { base, path: entry.path() });
            }
        }
        segments.sort_by_key(|segment| segment.base);
        Ok(segments)
    }

    /// The version that wrote it; none when the header was never written.
    fn check_header(&self, path: &Path, bytes: &[u8], holds: Holds, base: u64) -> Result<Option<u32>, Fatal> {
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
        } else if theirs.core != ours.core || header.base != base {
            "it was renamed".to_owned()
        } else {
            return Ok(Some(header.version));
        };
        Err(unreadable(path, &problem))
    }

    /// Tells the parts of the snapshot, if there is one; returns the mark for which it stands.
    fn replay_snapshot(&self, tell: &mut dyn FnMut(Kept<'_>), replayed: &mut Replayed) -> Result<u64, Fatal> {
        let path = self.snapshot_path(false);
        let at = |error: io::Error| unreadable(&path, &error.to_string());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(at(error)),
        };
        let mut reader = Reader::new(file).map_err(at)?;
        let header = reader.header().map_err(at)?;
        if self.check_header(&path, &header, Holds::Snapshot, 0)?.is_none() {
            return Err(damaged(&path, 0));
        }
        loop {
            let place = reader.place;
            match reader.record(0).map_err(at)? {
                Some(Kind::Data) => {
                    replayed.parts += 1;
                    tell(Kept::Part(&reader.payload));
                }
                Some(Kind::End) => match format::end(&reader.payload) {
                    Some((upto, parts)) if parts == replayed.parts => return Ok(upto),
                    _ => return Err(damaged(&path, place)),
                },
                Some(Kind::Notice) | None => return Err(damaged(&path, place)),
            }
        }
    }

    /// Tells the records of a segment that end after the mark.
    fn replay_segment(
        &self,
        segment: &Segment,
        upto: u64,
        tell: &mut dyn FnMut(Kept<'_>),
        replayed: &mut Replayed,
    ) -> Result<Scanned, Fatal> {
        let at = |error: io::Error| unreadable(&segment.path, &error.to_string());
        let mut reader = Reader::new(File::open(&segment.path).map_err(at)?).map_err(at)?;
        let size = reader.size;
        let header = reader.header().map_err(at)?;
        let Some(version) = self.check_header(&segment.path, &header, Holds::Log, segment.base)? else {
            replayed.torn_bytes += size;
            self.refuse_if_was_safe(segment, 0, size)?;
            return Ok(Scanned { length: 0, size, version: self.version });
        };
        // A place in the file is a mark less this.
        let shift = segment.base.wrapping_sub(HEADER as u64);
        let length = loop {
            let place = reader.place;
            match reader.record(shift).map_err(at)? {
                Some(Kind::Data) if reader.place.wrapping_add(shift) > upto => {
                    replayed.records += 1;
                    tell(Kept::Record(&reader.payload));
                }
                Some(Kind::Data | Kind::Notice) => {}
                Some(Kind::End) | None => break place,
            }
        };
        replayed.torn_bytes += size - length;
        self.refuse_if_was_safe(segment, length, size)?;
        Ok(Scanned { length, size, version })
    }

    /// Looks through what could not be read for a notice that says it had been safe: then it is damage.
    fn refuse_if_was_safe(&self, segment: &Segment, length: u64, size: u64) -> Result<(), Fatal> {
        let at = |error: io::Error| unreadable(&segment.path, &error.to_string());
        let file = File::open(&segment.path).map_err(at)?;
        let shift = segment.base.wrapping_sub(HEADER as u64);
        let end = segment.base + length.saturating_sub(HEADER as u64);
        let mut window = vec![0; READ_AHEAD];
        let mut from = length;
        while from + NOTICE as u64 <= size {
            let wanted = window.len().min((size - from) as usize);
            file.read_exact_at(&mut window[..wanted], from).map_err(at)?;
            for (index, bytes) in window[..wanted].windows(NOTICE).enumerate() {
                let place = (from + index as u64).wrapping_add(shift);
                if notice_at(bytes, place).is_some_and(|safe| safe > end) {
                    return Err(damaged(&segment.path, length));
                }
            }
            // The windows of the next round begin where those of this one ended.
            from += (wanted - NOTICE + 1) as u64;
        }
        Ok(())
    }
}

/// The mark in a notice, if these bytes are one that was written at this place.
fn notice_at(bytes: &[u8], place: u64) -> Option<u64> {
    let (prefix, payload) = bytes.split_first_chunk::<PREFIX>()?;
    let prefix = Prefix::read(*prefix)?;
    let is_one = prefix.kind == Kind::Notice && prefix.length == payload.len() && prefix.fits(place, payload);
    is_one.then(|| format::notice(payload)).flatten()
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

    /// The next record, into `payload`; none where there is no whole one.
    fn record(&mut self, shift: u64) -> io::Result<Option<Kind>> {
        let rest = self.size - self.place;
        if rest < PREFIX as u64 {
            return Ok(None);
        }
        let mut prefix = [0; PREFIX];
        self.file.read_exact(&mut prefix)?;
        let Some(prefix) = Prefix::read(prefix) else { return Ok(None) };
        let length = (PREFIX + prefix.length) as u64;
        if rest < length {
            return Ok(None);
        }
        self.payload.resize(prefix.length, 0);
        self.file.read_exact(&mut self.payload)?;
        if !prefix.fits(self.place.wrapping_add(shift), &self.payload) {
            return Ok(None);
        }
        self.place += length;
        Ok(Some(prefix.kind))
    }
}

fn unreadable(path: &Path, problem: &str) -> Fatal {
    Fatal::unreadable(format!("cannot use {}: {problem}", path.display()))
}

fn damaged(path: &Path, at: u64) -> Fatal {
    let problem = format!(
        "it is damaged at byte {at}, where everything had been safe: put a copy in its place, or move its directory \
         away to begin with nothing",
    );
    unreadable(path, &problem)
}
