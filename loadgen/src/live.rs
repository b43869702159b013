//! What is seen while a run goes on: one line a second on standard error, or a bar on a terminal. It is also where
//! the workers' processor time is looked at, because that is the main thread's only regular moment.

use crate::environment::Usage;
use crate::plan::{Load, Run};
use crate::stage::Stage;
use crate::tally::histogram;
use crate::units::{shown_count, shown_micros};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use machine::Gauges;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two looks.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Shows a run.
pub struct Live {
    load: Load,
    bar: Option<ProgressBar>,
    shown_second: Option<i64>,
    /// At the first and at the latest look within the measured time.
    usage: Option<(Usage, Usage)>,
    /// Whether workers look on instead of sleeping: then their processors are always used, and what counts is the
    /// time in which they had something to do.
    spins: bool,
    idle: Option<(Idle, Idle)>,
}

/// How long each core had nothing to do, up to a moment.
#[derive(Clone, Debug)]
struct Idle {
    at: Instant,
    micros: Vec<i64>,
}

impl Idle {
    fn now(cores: &[Gauges]) -> Self {
        let micros = cores.iter().map(|core| core.number("reactor_idle_us_total")).collect();
        Self { at: Instant::now(), micros }
    }

    /// The share of the time since `earlier` in which the busiest core had something to do.
    fn busiest_since(&self, earlier: &Self) -> Option<f64> {
        let span = self.at.duration_since(earlier.at).as_secs_f64();
        let idle = self.micros.iter().zip(&earlier.micros).map(|(now, then)| (now - then) as f64 / 1e6);
        if span < 0.5 {
            None
        } else {
            idle.reduce(f64::min).map(|least| (1.0 - least / span).clamp(0.0, 1.0))
        }
    }
}

/// What all cores' gauges say.
struct Look {
    stage: Stage,
    open: u64,
    loaded: u64,
    second: i64,
    errors: u64,
    response: Histogram<u64>,
}

impl Look {
    /// None when a core did not answer.
    fn at(cores: &[Gauges]) -> Option<Self> {
        if cores.is_empty() || cores.iter().any(|core| core.entries().is_empty()) {
            return None;
        }
        let least = |name: &str| cores.iter().map(|core| core.number(name)).min().unwrap_or_default();
        let sum = |name: &str| cores.iter().map(|core| core.number(name)).sum::<i64>().max(0) as u64;
        let mut response = histogram();
        for theirs in cores.iter().filter_map(|core| core.distribution("loadgen_second_response_us")) {
            response.add(theirs).expect("all histograms have the same bounds");
        }
        Some(Self {
            stage: Stage::numbered(least("loadgen_stage") as u8)?,
            open: sum("loadgen_open"),
            loaded: sum("loadgen_loaded_total"),
            second: least("loadgen_second"),
            errors: sum("loadgen_second_errors"),
            response,
        })
    }
}

impl Live {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(run: &Run) -> Self {
        let load = &run.load;
        let seconds = load.duration.map(|duration| (load.warm_up + duration).as_secs());
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{elapsed:>4} {bar:24} {msg}");
            let bar = ProgressBar::new(seconds.unwrap_or(0));
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let spins = !run.spin.is_zero();
        Self { load: load.clone(), bar, shown_second: None, usage: None, spins, idle: None }
    }

    /// Shows what there is to show.
    pub fn look(&mut self, cores: &[Gauges]) {
        let Some(look) = Look::at(cores) else { return };
        if look.stage == Stage::Running {
            self.watch_usage(look.second, cores);
        }
        if let Some(line) = self.line(&look) {
            match &self.bar {
                Some(bar) => {
                    bar.set_position(look.second.max(0) as u64 + 1);
                    bar.set_message(line);
                }
                None => eprintln!("{line}"),
            }
        }
    }

    /// The busiest worker's share of its processor, in the measured time.
    #[must_use]
    pub fn busy(&self) -> Option<f64> {
        let idle = self.idle.as_ref().and_then(|(first, last)| last.busiest_since(first));
        idle.or_else(|| self.usage.as_ref().and_then(|(first, last)| last.busiest_since(first)))
    }

    /// Nothing more will be shown.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn watch_usage(&mut self, second: i64, cores: &[Gauges]) {
        if Duration::from_secs(second.max(0) as u64) < self.load.warm_up {
            return;
        }
        if self.spins {
            let now = Idle::now(cores);
            match &mut self.idle {
                None => self.idle = Some((now.clone(), now)),
                Some((_, last)) => *last = now,
            }
            return;
        }
        let now = Usage::now();
        match &mut self.usage {
            None => self.usage = Some((now.clone(), now)),
            Some((_, last)) => *last = now,
        }
    }

    fn line(&mut self, look: &Look) -> Option<String> {
        match look.stage {
            Stage::Connecting => Some(format!(
                "connecting {} of {}",
                shown_count(look.open),
                shown_count(u64::from(self.load.connections))
            )),
            Stage::Loading => {
                Some(format!("loading {} of {} keys", shown_count(look.loaded), shown_count(self.load.keys)))
            }
            Stage::Running | Stage::Stopping => {
                if self.shown_second == Some(look.second) || look.response.is_empty() && look.errors == 0 {
                    return None;
                }
                self.shown_second = Some(look.second);
                Some(second_line(look))
            }
            Stage::LookingBack => Some("looking back: reading every key".to_owned()),
            Stage::Over => None,
        }
    }
}

fn second_line(look: &Look) -> String {
    let at = |quantile| shown_micros(look.response.value_at_quantile(quantile));
    format!(
        "{:>4} s  {:>11}/s  errors {}  p50 {}  p99 {}  p99.9 {}  max {}",
        look.second + 1,
        shown_count(look.response.len()),
        shown_count(look.errors),
        at(0.5),
        at(0.99),
        at(0.999),
        shown_micros(look.response.max())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(stage: Stage, second: i64, micros: u64) -> Gauges {
        let mut response = histogram();
        response.record(micros).unwrap();
        let mut gauges = Gauges::new();
        gauges.level("loadgen_stage", "", stage as i64);
        gauges.level("loadgen_second", "", second);
        gauges.level("loadgen_open", "", 5);
        gauges.level("loadgen_second_errors", "", 1);
        gauges.spread("loadgen_second_response_us", "", &response);
        gauges
    }

    fn line(live: &mut Live, cores: &[Gauges]) -> Option<String> {
        live.line(&Look::at(cores)?)
    }

    #[test]
    fn a_second_is_shown_once_and_for_all_cores() {
        let mut live = Live::new(&crate::report::tests::report().run);
        let cores = [core(Stage::Running, 3, 100), core(Stage::Running, 3, 200)];
        let expected = "   4 s            2/s  errors 2  p50 100 µs  p99 200 µs  p99.9 200 µs  max 200 µs";
        assert_eq!(line(&mut live, &cores).as_deref(), Some(expected));
        assert_eq!(line(&mut live, &cores), None);
    }

    #[test]
    fn the_slowest_core_decides_the_stage_and_a_silent_one_hides_it() {
        let mut live = Live::new(&crate::report::tests::report().run);
        let cores = [core(Stage::Connecting, 0, 1), core(Stage::Running, 0, 1)];
        assert_eq!(line(&mut live, &cores).as_deref(), Some("connecting 10 of 50"));
        assert_eq!(line(&mut live, &[core(Stage::Running, 0, 1), Gauges::new()]), None);
    }
}
