//! Power cuts of a real process: its journal of disk calls is taken under load, with snapshots going on; the directory
//! is made again as a cut at some moment may have left it, the real program is started on it, and asked for everything
//! that had been acknowledged before. `RINGWISE_CUTS` says how many cuts.

mod kept;

use kept::{PROGRAM, Said, Scratch, Server, judge, load, times};
use machine::{Chance, Stream};
use reactor::log::calls::{self, Call};
use reactor::log::power::Platter;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Cuts of one journal.
const CUTS: usize = 60;

/// A journal, and what writers heard while it was written.
struct Worked {
    journal: Vec<u8>,
    era: String,
    said: Vec<Said>,
}

fn worked(scratch: &Path, durability: &str) -> Worked {
    let (data, journal) = (scratch.join("data"), scratch.join("journal"));
    let calls = journal.display().to_string();
    let options = ["--durability", durability, "--log-calls", &calls, "--snapshot-after", "150kb"];
    let server = Server::start(&data, &options);
    let said = load(&server, Some(&journal), Duration::from_millis(800), false);
    let told = server.connect().text("INFO persistence");
    let saves = told.lines().find_map(|line| line.strip_prefix("rdb_saves:")).expect("it is told");
    assert!(saves.trim().parse::<u64>().expect("a number") > 0, "no snapshot was made: {told}");
    server.kill();
    let journal = fs::read(&journal).expect("it was written");
    let era = fs::read_dir(&data).expect("it is there").next().expect("an era").expect("it can be read");
    Worked { journal, era: era.file_name().into_string().expect("a name"), said }
}

/// Cuts the power so many times, each at a moment of its own, and starts the program on what is left. `heard` says how
/// many of a writer's answers count at a cut. Gives the first complaint.
fn cut_all(
    worked: &Worked,
    journal: &[u8],
    cuts: usize,
    heard: &dyn Fn(&Said, usize) -> usize,
) -> Result<usize, String> {
    let mut chance = Chance::new(7).stream("cuts");
    let begun = worked.said.iter().filter_map(|said| said.heard.first()).min().expect("somebody heard");
    let mut moments: Vec<usize> =
        (0..cuts).map(|_| chance.between(*begun, worked.journal.len() as u64) as usize).collect();
    moments.sort_unstable();
    let (mut platter, mut at, mut counted) = (Platter::default(), 0, 0);
    for (cut, moment) in moments.into_iter().enumerate() {
        while let Some((call, used)) = calls::read(&journal[at..])
            && at + used <= moment
        {
            platter.take(&call);
            at += used;
        }
        let here = format!("cut {cut} at byte {moment}");
        counted +=
            one_cut(worked, &platter, &mut chance, moment, heard).map_err(|why| format!("{here}: {why}"))?;
    }
    Ok(counted)
}

fn one_cut(
    worked: &Worked,
    platter: &Platter,
    chance: &mut Stream,
    moment: usize,
    heard: &dyn Fn(&Said, usize) -> usize,
) -> Result<usize, String> {
    // In memory, where there is such a place: what is proved is what a start makes of bytes, not how it writes.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let left = Scratch::within(&place, &format!("left-{moment}"));
    let era = left.0.join(&worked.era);
    fs::create_dir_all(&era).expect("it can be made");
    platter.leave(&era, chance).expect("it can be made");
    let server = Server::try_start(&left.0, &["--durability", "sync", "--snapshot-after", "0"])?;
    let mut counted = 0;
    for (writer, said) in worked.said.iter().enumerate() {
        let heard = heard(said, moment);
        counted += heard;
        judge(&mut server.connect(), writer, heard, said.sent)
            .map_err(|why| format!("writer {writer}: {why}"))?;
    }
    Ok(counted)
}

fn acknowledged(said: &Said, moment: usize) -> usize {
    said.heard.partition_point(|length| *length <= moment as u64)
}

#[test]
fn after_a_power_cut_at_any_moment_it_has_all_it_had_acknowledged() {
    let scratch = Scratch::new("sync");
    let worked = worked(&scratch.0, "sync");
    let cuts = times("RINGWISE_CUTS", CUTS);
    let counted =
        cut_all(&worked, &worked.journal, cuts, &acknowledged).unwrap_or_else(|why| panic!("{why}"));
    let heard: usize = worked.said.iter().map(|said| said.heard.len()).sum();
    println!(
        "{cuts} cuts of {} bytes of journal, {heard} answers; {counted} looked for",
        worked.journal.len()
    );
    assert!(counted > cuts, "nothing had been acknowledged");
}

#[test]
fn under_batch_a_power_cut_takes_back_no_more_than_what_the_last_groups_held() {
    let scratch = Scratch::new("batch");
    let worked = worked(&scratch.0, "batch");
    let groups = groups(&worked.journal);
    // When it was acknowledged, a group may have been on its way and another waiting for it; the next one holds it.
    let is_old = |length: u64, moment: usize| {
        groups.iter().all(|ends| {
            let next = ends.partition_point(|end| *end < length as usize);
            ends.get(next + 2).is_some_and(|end| *end <= moment)
        })
    };
    let safe = |said: &Said, moment: usize| said.heard.partition_point(|length| is_old(*length, moment));
    let cuts = times("RINGWISE_CUTS", CUTS);
    let counted = cut_all(&worked, &worked.journal, cuts, &safe).unwrap_or_else(|why| panic!("{why}"));
    assert!(counted > cuts, "nothing was old enough");
    // It is not sync: judged by what was acknowledged, something is missing.
    let complaint = cut_all(&worked, &worked.journal, 60, &acknowledged);
    assert!(complaint.is_err(), "an answer before its time was not noticed");
}

/// By core, where in the journal each group of its log was safe.
fn groups(journal: &[u8]) -> Vec<Vec<usize>> {
    let mut by_core = std::collections::BTreeMap::<String, Vec<usize>>::new();
    let mut at = 0;
    while let Some((call, used)) = calls::read(&journal[at..]) {
        at += used;
        let (Call::Wrote(name, _, true) | Call::Synced(name)) = call else { continue };
        let core = name.rsplit_once('-').filter(|_| name.ends_with(".log")).map(|(core, _)| core.to_owned());
        if let Some(core) = core {
            by_core.entry(core).or_default().push(at);
        }
    }
    by_core.into_values().collect()
}

#[test]
fn a_sync_that_was_left_out_is_noticed() {
    let scratch = Scratch::new("lies");
    let worked = worked(&scratch.0, "sync");
    // A disk that says of every fifth group that it is safe, and has not begun.
    let mut lying = Vec::new();
    let (mut at, mut count) = (0, 0);
    while let Some((call, used)) = calls::read(&worked.journal[at..]) {
        let mut entry = worked.journal[at..at + used].to_vec();
        if matches!(call, Call::Wrote(_, _, true)) {
            count += 1;
            // Written, and not safe.
            entry[0] = if count % 5 == 0 { 4 } else { 5 };
        }
        lying.extend_from_slice(&entry);
        at += used;
    }
    let complaint = cut_all(&worked, &lying, 60, &acknowledged);
    assert!(complaint.is_err(), "{count} groups, and nothing was missed");
    assert!(Path::new(PROGRAM).exists());
}
