//! `dht check`: whether what a directory keeps can be read, and what there is of it. Changes nothing, and is for a
//! program that does not run.

use clap::Args;
use dht::exchange::Restored;
use dht::keep::effect::{Entry, Reader};
use machine::{Kept, NodeId};
use reactor::Fatal;
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

/// Reads everything, as a start would; a line on standard output for each core's log, and what it comes to.
///
/// # Errors
/// Status 5, with a sentence, for what cannot be read.
pub fn run(asked: &Options) -> Result<(), Fatal> {
    let (mut restored, mut snapshot) = (Restored::default(), None);
    let mut tell = |_: u16, kept: Kept<'_>| {
        if let Kept::Part(bytes) = kept
            && let Some(Entry::Snapshot { number }) = Reader::new(bytes).next()
        {
            snapshot = snapshot.max(Some(number));
        }
        restored.take(kept);
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
    let unread = restored.end();
    let number =
        snapshot.map_or("no snapshot".to_owned(), |number| format!("the last snapshot is number {number}"));
    let _ = writeln!(out, "{} keys in all; {number}", restored.len());
    if unread > 0 {
        return Err(Fatal::unreadable(format!("{unread} records hold what this program does not know")));
    }
    Ok(())
}
