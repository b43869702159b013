//! `dht check`: whether what a directory keeps can be read, and what there is of it. Changes nothing, and is for a
//! program that does not run.

use clap::Args;
use dht::keep::effect::Reader;
use machine::{Kept, NodeId};
use reactor::Fatal;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

/// What is typed about it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What --data named
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// The node whose data it is
    #[arg(long, default_value_t = 0)]
    id: u16,
}

/// Reads everything; a line on standard output for each core's log.
///
/// # Errors
/// Status 5, with a sentence, for what cannot be read.
pub fn run(asked: &Options) -> Result<(), Fatal> {
    let mut entries: BTreeMap<u16, u64> = BTreeMap::new();
    let mut unread = 0;
    let mut tell = |core: u16, kept: Kept<'_>| {
        let (Kept::Part(bytes) | Kept::Record(bytes)) = kept;
        let mut reader = Reader::new(bytes);
        *entries.entry(core).or_default() += reader.by_ref().count() as u64;
        unread += u64::from(!reader.is_whole());
    };
    let looked = reactor::look(&asked.data, NodeId(asked.id), "dht", 1, &mut tell)?;
    if looked.is_empty() {
        let sentence = format!("{} holds no logs: name what --data named", asked.data.display());
        return Err(Fatal::unreadable(sentence));
    }
    let mut out = std::io::stdout();
    for log in &looked {
        let torn = if log.replayed.is_torn { ", behind them an unfinished write" } else { "" };
        let (parts, records) = (log.replayed.parts, log.replayed.records);
        // Whoever asked may not care to read it all.
        let _ =
            writeln!(out, "{} core {}: {parts} snapshot parts, {records} records{torn}", log.era, log.core);
    }
    let _ = writeln!(out, "{} entries in all", entries.values().sum::<u64>());
    if unread > 0 {
        return Err(Fatal::unreadable(format!("{unread} records hold what this program does not know")));
    }
    Ok(())
}
