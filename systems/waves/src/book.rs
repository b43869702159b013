//! The waves that were started here: who asked, what came of each, and when it is over.
//!
//! An echo is over when its initiator has decided; one of Finn's when everybody has. Then all cores are asked what
//! they counted, and the monitors judge the sum. The hard thing is that letters may still be under way: cores are
//! asked again until two rounds of answers are the same and as many messages came as went (Mattern 1987, the method
//! of four counters). Where something was given up, that may never be so, and nobody waits for it.

use crate::letter::{Terms, WaveId};
use crate::network::UnitId;
use crate::peer::Asker;
use crate::share::Extent;
use crate::tree::quoted;
use crate::wave::field::Bounds;
use crate::wave::monitor::{Tally, Verdict, Verdicts, bound, judge};
use crate::wave::{Lack, Missing, Outcome};
use core::fmt::Write as _;
use machine::Instant;
use std::collections::BTreeMap;

/// Missing parts that a report lists; of more, their number is told.
const MISSING_MAX: usize = 64;

/// How a wave stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is under way.
    Running,
    /// It should be over: cores are asked for the first or a further time.
    Counting,
    /// Cores were asked for the last time.
    Closing,
}

/// A wave that was started here.
#[derive(Debug)]
struct Page {
    terms: Terms,
    asker: Asker,
    extent: Extent,
    /// Everything in reach was alive and linked when it began, and the network as it was.
    wounds: Option<u64>,
    phase: Phase,
    decided: u32,
    decided_at: Option<Instant>,
    units: u32,
    missing: Vec<Missing>,
    /// Answers that are to come.
    left: u16,
    sum: Tally,
    before: Option<Tally>,
    look_at: Instant,
}

/// What is to be done about a wave.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Ask all cores; and have them forget the wave, when it is over.
    Ask {
        /// It is over.
        is_over: bool,
    },
    /// It is over and judged.
    Report(Box<Report>),
}

/// What became of a wave.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Which.
    pub wave: WaveId,
    /// What it was.
    pub terms: Terms,
    /// What it could reach.
    pub extent: Extent,
    /// Units that the decision rests on.
    pub units: u32,
    /// When the last decision came.
    pub decided_at: Option<Instant>,
    /// What is missing.
    pub missing: Vec<Missing>,
    /// What was counted.
    pub tally: Tally,
    /// What the monitors say.
    pub verdicts: Verdicts,
}

/// The waves that were started on this core.
#[derive(Debug)]
pub struct Book {
    pages: BTreeMap<WaveId, Page>,
    bounds: Bounds,
    cores: u16,
    number: u32,
}

impl Book {
    /// Empty.
    #[must_use]
    pub fn new(bounds: Bounds, cores: u16) -> Self {
        Self { pages: BTreeMap::new(), bounds, cores, number: 0 }
    }

    /// Waves that are not over.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether all are over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The id of the next wave of a unit here.
    pub fn next_id(&mut self, initiator: UnitId) -> WaveId {
        self.number += 1;
        WaveId { initiator, number: self.number }
    }

    /// A wave begins. `wounds` counts what has happened to the network, none while anything in it is dead or cut.
    pub fn open(&mut self, wave: WaveId, terms: Terms, asker: Asker, extent: Extent, wounds: Option<u64>) {
        let look_at = terms.started_at + self.bounds.wave_max + self.bounds.beat() * 2;
        let page = Page {
            terms,
            asker,
            extent,
            wounds,
            phase: Phase::Running,
            decided: 0,
            decided_at: None,
            units: 0,
            missing: Vec::new(),
            left: 0,
            sum: Tally::default(),
            before: None,
            look_at,
        };
        self.pages.insert(wave, page);
    }

    /// A wave could not be started.
    pub fn close(&mut self, wave: WaveId) {
        self.pages.remove(&wave);
    }

    /// Who asked for a wave.
    #[must_use]
    pub fn asker(&self, wave: WaveId) -> Option<Asker> {
        self.pages.get(&wave).map(|page| page.asker)
    }

    /// When the next wave is to be looked at by [`due`](Self::due).
    #[must_use]
    pub fn next_look(&self) -> Option<Instant> {
        self.pages.values().map(|page| page.look_at).min()
    }

    /// The initiator of an echo has decided.
    pub fn outcome(&mut self, wave: WaveId, outcome: &Outcome, now: Instant) -> Next {
        let Some(page) = self.pages.get_mut(&wave) else { return Next::Nothing };
        page.units = outcome.units;
        page.missing = outcome.missing.clone();
        page.decided_at = Some(now);
        // Two messages a link have come when the last of them decides: there is nothing to wait for.
        page.ask(self.cores, true)
    }

    /// Units have decided in a wave of Finn's. `alive` units can.
    pub fn decided(&mut self, wave: WaveId, count: u32, alive: u32, now: Instant) -> Next {
        let Some(page) = self.pages.get_mut(&wave).filter(|page| page.phase == Phase::Running) else {
            return Next::Nothing;
        };
        page.decided += count;
        page.decided_at = Some(now);
        if page.decided < alive.min(page.extent.units) {
            return Next::Nothing;
        }
        page.units = page.decided;
        page.ask(self.cores, false)
    }

    /// A wave that is to be looked at now, with what to do.
    pub fn due(&mut self, now: Instant) -> Option<(WaveId, Next)> {
        let (wave, page) = self.pages.iter_mut().find(|(_, page)| page.look_at <= now)?;
        page.units = page.units.max(page.decided);
        let is_late = now >= page.terms.started_at + self.bounds.wave_max + self.bounds.beat() * 2;
        Some((*wave, page.ask(self.cores, is_late)))
    }

    /// A core has answered. `wounds` as when the wave began.
    pub fn counted(&mut self, wave: WaveId, tally: &Tally, wounds: Option<u64>, now: Instant) -> Next {
        let Some(page) = self.pages.get_mut(&wave).filter(|page| page.left > 0) else { return Next::Nothing };
        page.sum.add(tally);
        page.left -= 1;
        if page.left > 0 {
            return Next::Nothing;
        }
        if page.phase == Phase::Closing {
            let page = self.pages.remove(&wave).expect("it was just found");
            return Next::Report(Box::new(page.report(wave, wounds)));
        }
        let is_still = page.before == Some(page.sum) && page.sum.sent == page.sum.received;
        if is_still || page.sum.gave_up > 0 {
            return page.ask(self.cores, true);
        }
        let same = page.before.is_none() || page.sum.sent == page.sum.received;
        page.before = Some(page.sum);
        if same {
            return page.ask(self.cores, false);
        }
        page.look_at = now + self.bounds.beat();
        Next::Nothing
    }
}

/// Far enough away that nothing waits for it.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

impl Page {
    fn ask(&mut self, cores: u16, is_over: bool) -> Next {
        if self.phase == Phase::Closing {
            return Next::Nothing;
        }
        self.phase = if is_over { Phase::Closing } else { Phase::Counting };
        self.left = cores;
        self.sum = Tally::default();
        self.look_at = NEVER;
        Next::Ask { is_over }
    }

    fn report(self, wave: WaveId, wounds: Option<u64>) -> Report {
        let is_whole = self.wounds.is_some() && self.wounds == wounds;
        let verdicts = judge(self.terms.algorithm, self.extent, is_whole, &self.sum);
        Report {
            wave,
            terms: self.terms,
            extent: self.extent,
            units: self.units,
            decided_at: self.decided_at,
            missing: self.missing,
            tally: self.sum,
            verdicts,
        }
    }
}

impl Report {
    /// As pages read it.
    #[must_use]
    pub fn json(&self) -> String {
        let tally = &self.tally;
        let started_at = self.terms.started_at;
        let took_us = self.decided_at.map(|at| at.nanos_since(started_at) / 1000);
        let took_us = took_us.map_or("null".to_owned(), |us| us.to_string());
        let mut text = format!(
            "{{\"wave\":{},\"algorithm\":{},\"purpose\":{},\"initiator\":{},\"units\":{},\"of\":{},\"links\":{},\
             \"messages\":{},\"most\":{},\"channel_max\":{},\"beats\":{},\"gave_up\":{},\"took_us\":{took_us}",
            quoted(&self.wave.to_string()),
            quoted(&format!("{:?}", self.terms.algorithm)),
            quoted(&format!("{:?}", self.terms.purpose)),
            self.wave.initiator.0,
            self.units,
            self.extent.units,
            self.extent.links,
            tally.sent,
            bound(self.terms.algorithm, self.extent),
            tally.channel_max,
            tally.beats,
            tally.gave_up,
        );
        for (name, verdict) in self.verdicts.named() {
            let _ = write!(text, ",\"{name}\":\"{}\"", said(verdict));
        }
        let missing = self.missing.iter().take(MISSING_MAX).map(|missing| {
            let why = match missing.why {
                Lack::Silent => "silent",
                Lack::Late => "late",
            };
            format!("[{},{},\"{why}\"]", missing.by.0, missing.unit.0)
        });
        let missing: Vec<String> = missing.collect();
        let _ =
            write!(text, ",\"missing_count\":{},\"missing\":[{}]}}", self.missing.len(), missing.join(","));
        text
    }
}

const fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Excused => "excused",
        Verdict::Broken => "broken",
    }
}
