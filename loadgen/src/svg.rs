//! Charts as SVG text: axes that are even or logarithmic, lines, points, marks. No more than reports need, and nothing
//! that wants a network, a script or a font. The one hard thing is to be read on a telephone: so a chart is drawn
//! narrow, with few and large words, and is scaled up elsewhere.

use std::fmt::Write as _;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// The most marks of an axis.
const TICKS_MAX: usize = 6;

/// An axis: its range, how it is divided, and how its numbers are written.
pub struct Axis {
    /// What it shows, with the unit.
    pub title: String,
    /// From, over 0 on a logarithmic axis.
    pub least: f64,
    /// To, over `least`.
    pub most: f64,
    /// Whether equal factors are equally far apart.
    pub log: bool,
    /// A number in words.
    pub shown: fn(f64) -> String,
}

impl Axis {
    /// An axis that holds all these values, with room; those that are not numbers, or not over 0 on a logarithmic
    /// one, are left out.
    pub fn around(
        title: &str,
        values: impl Iterator<Item = f64>,
        log: bool,
        shown: fn(f64) -> String,
    ) -> Self {
        let fits = |value: &f64| value.is_finite() && (!log || *value > 0.0);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(fits) {
            (least, most) = (least.min(value), most.max(value));
        }
        if least > most {
            (least, most) = (1.0, 10.0);
        }
        if log {
            least = 10_f64.powf(least.log10().floor());
            most = 10_f64.powf((most.log10() + 0.02).ceil());
        } else {
            least = least.min(0.0);
            most = if most > least { least + (most - least) * 1.05 } else { least + 1.0 };
        }
        Self { title: title.to_owned(), least, most, log, shown }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = match self.log {
            true => {
                (value.max(self.least).log10() - self.least.log10())
                    / (self.most.log10() - self.least.log10())
            }
            false => (value - self.least) / (self.most - self.least),
        };
        place.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let (first, last) = (self.least.log10().round() as i32, self.most.log10().round() as i32);
            let step = ((last - first) as usize).div_ceil(TICKS_MAX).max(1);
            return (first..=last).step_by(step).map(|power| 10_f64.powi(power)).collect();
        }
        let rough = (self.most - self.least) / TICKS_MAX as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.least / step).ceil() as i64;
        (first..)
            .map(|count| count as f64 * step)
            .take_while(|value| *value <= self.most)
            .take(2 * TICKS_MAX)
            .collect()
    }
}

/// A line with a name.
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its points, in order.
    pub points: Vec<(f64, f64)>,
    /// Which of the six colours.
    pub colour: usize,
}

/// What else is drawn.
pub enum Mark {
    /// A line from top to bottom, with a word.
    At(f64, String),
    /// A shade from here to there.
    Shade(f64, f64),
    /// A point: filled where it can be trusted.
    Point(f64, f64, bool, usize),
}

/// A chart.
pub struct Chart {
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Its lines.
    pub lines: Vec<Line>,
    /// What else is drawn.
    pub marks: Vec<Mark>,
}

impl Chart {
    /// The chart as an `svg` element, with its names below as HTML.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut text = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} over {}\">\n",
            escaped(&self.y.title),
            escaped(&self.x.title)
        );
        self.marks
            .iter()
            .filter(|mark| matches!(mark, Mark::Shade(..)))
            .for_each(|mark| self.mark(mark, &mut text));
        self.axes(&mut text);
        for line in &self.lines {
            self.line(line, &mut text);
        }
        self.marks
            .iter()
            .filter(|mark| !matches!(mark, Mark::Shade(..)))
            .for_each(|mark| self.mark(mark, &mut text));
        text += "</svg>\n<p class=\"names\">";
        for line in &self.lines {
            let _ = write!(text, "<span class=\"c{}\">■</span>&nbsp;{} ", line.colour, escaped(&line.name));
        }
        text + "</p>\n"
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&self, text: &mut String) {
        let (floor, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for value in self.y.ticks() {
            let y = self.y(value);
            let _ = writeln!(
                text,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            );
            let shown = escaped(&(self.y.shown)(value));
            let (x, y) = (LEFT - 5.0, y + 4.0);
            let _ = writeln!(text, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{shown}</text>");
        }
        for value in self.x.ticks() {
            let x = self.x(value);
            let _ = writeln!(
                text,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{floor}\"/>"
            );
            let shown = escaped(&(self.x.shown)(value));
            let y = floor + 15.0;
            // A word at the right end would be cut.
            let anchor = if x > right - 20.0 { "end" } else { "middle" };
            let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{shown}</text>");
        }
        let (middle, y) = ((LEFT + right) / 2.0, HEIGHT - 8.0);
        let title = escaped(&self.x.title);
        let _ = writeln!(
            text,
            "<text class=\"title\" x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\">{title}</text>"
        );
    }

    fn line(&self, line: &Line, text: &mut String) {
        let points: Vec<String> =
            line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y))).collect();
        let _ = writeln!(text, "<polyline class=\"s{}\" points=\"{}\"/>", line.colour, points.join(" "));
    }

    fn mark(&self, mark: &Mark, text: &mut String) {
        let floor = HEIGHT - BOTTOM;
        let _ = match mark {
            Mark::At(x, word) => {
                let (at, word) = (self.x(*x), escaped(word));
                let (anchor, beside) = if at > WIDTH * 0.7 { ("end", at - 3.0) } else { ("start", at + 3.0) };
                writeln!(
                    text,
                    "<line class=\"event\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{floor}\"/>\
                     <text class=\"event\" x=\"{beside:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{word}</text>",
                    TOP + 10.0
                )
            }
            Mark::Shade(from, to) => {
                let (from, to) = (self.x(*from), self.x(*to));
                let (width, height) = ((to - from).max(0.0), floor - TOP);
                writeln!(
                    text,
                    "<rect class=\"shade\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"/>"
                )
            }
            Mark::Point(x, y, trusted, colour) => {
                let (x, y) = (self.x(*x), self.y(*y));
                let kind = if *trusted { "full" } else { "hollow" };
                writeln!(text, "<circle class=\"{kind} p{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")
            }
        };
    }
}

/// Text as it stands in HTML, also within quotes.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: f64) -> String {
        value.to_string()
    }

    #[test]
    fn axes_hold_their_values_and_have_few_marks() {
        let log = Axis::around("t", [3.0, 700.0, 0.0, f64::NAN].into_iter(), true, plain);
        assert_eq!((log.least, log.most), (1.0, 1000.0));
        assert_eq!(log.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((log.place(10.0) - 1.0 / 3.0).abs() < 1e-9);
        let even = Axis::around("t", [0.0, 57.0].into_iter(), false, plain);
        assert_eq!(even.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        let empty = Axis::around("t", [].into_iter(), true, plain);
        assert!(empty.most > empty.least);
        for values in [vec![0.0], vec![5.0, 5.0], vec![1e12], vec![-3.0, 4.0]] {
            for log in [true, false] {
                let axis = Axis::around("t", values.iter().copied(), log, plain);
                let ticks = axis.ticks();
                assert!((1..=2 * TICKS_MAX).contains(&ticks.len()), "{values:?} {log}: {ticks:?}");
            }
        }
    }

    #[test]
    fn words_of_others_are_only_words() {
        let chart = Chart {
            x: Axis::around("<x>", [1.0, 2.0].into_iter(), false, plain),
            y: Axis::around("y\"", [1.0, 2.0].into_iter(), false, plain),
            lines: vec![Line { name: "<script>".to_owned(), points: vec![(1.0, 2.0)], colour: 0 }],
            marks: vec![
                Mark::At(1.0, "a&b".to_owned()),
                Mark::Point(1.0, 1.0, false, 0),
                Mark::Shade(0.0, 1.0),
            ],
        };
        let text = chart.draw();
        assert!(!text.contains("<script>") && text.contains("a&amp;b") && text.contains("&lt;x&gt;"));
        assert!(text.contains("hollow") && text.contains("aria-label=\"y&quot;"));
    }
}
