//! A comparison as a picture: discrepancy over rounds, one line a balancer, as SVG that follows the reader's light or
//! dark. Both axes are logarithmic, because balance comes fast at first and late at the end.

use super::compare::Course;
use core::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 44.0;

/// Under this a discrepancy is drawn at the bottom.
const LEAST: f64 = 0.1;

/// How lines are told apart: by colour, and by dashes for those who do not see it.
const STROKES: [(&str, &str); 3] = [("a", "none"), ("b", "7 4"), ("c", "2 3")];

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.t{font-size:14px;font-weight:600}\
.g{stroke:#ddd}.p{fill:#fff}.a{stroke:#1765c1}.b{stroke:#b4430e}.c{stroke:#1c7a4d}.l{fill:none;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#3a3f45}.p{fill:#15181c}.a{stroke:#6cb2ff}\
.b{stroke:#ff9a63}.c{stroke:#5fd39b}}";

/// The picture. The title is for people; whatever it holds is escaped.
#[must_use]
pub fn svg(title: &str, courses: &[Course]) -> String {
    let rounds = courses.iter().map(|course| course.discrepancies.len()).max().unwrap_or(2).max(2) - 1;
    let highest = courses.iter().flat_map(|course| &course.discrepancies).fold(1.0f64, |a, b| a.max(*b));
    let axes = Axes { rounds: rounds as f64, highest };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\
         <title>{0}</title><style>{STYLE}</style><rect class=\"p\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\
         <text class=\"t\" x=\"{LEFT}\" y=\"24\">{0}</text>",
        escaped(title)
    );
    axes.draw(&mut text);
    let mut taken: Vec<f64> = Vec::new();
    for (course, (class, dashes)) in courses.iter().zip(STROKES.iter().cycle()) {
        line(course, &axes, (class, dashes), &mut taken, &mut text);
    }
    text.push_str("</svg>\n");
    text
}

struct Axes {
    rounds: f64,
    highest: f64,
}

impl Axes {
    /// Round 0 has a place of its own: rounds are counted from 1 there.
    fn x(&self, round: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (round + 1.0).ln() / (self.rounds + 1.0).ln()
    }

    fn y(&self, value: f64) -> f64 {
        let span = (self.highest / LEAST).ln();
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value.max(LEAST) / LEAST).ln() / span
    }

    fn draw(&self, text: &mut String) {
        let right = WIDTH - RIGHT;
        let tens = |from: i32| (from..9).map(|power| 10f64.powi(power));
        for value in tens(-1).take_while(|value| *value <= self.highest * 1.001) {
            let y = self.y(value);
            let _ = write!(
                text,
                "<line class=\"g\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for round in [0.0].into_iter().chain(tens(0)).take_while(|round| *round <= self.rounds) {
            let (x, y) = (self.x(round), HEIGHT - BOTTOM + 18.0);
            let _ = write!(text, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{round}</text>");
        }
        let _ = write!(
            text,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">round</text>\
             <text x=\"{LEFT}\" y=\"38\">tasks a processor, highest unit above lowest</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0
        );
    }
}

fn line(
    course: &Course,
    axes: &Axes,
    (class, dashes): (&str, &str),
    taken: &mut Vec<f64>,
    text: &mut String,
) {
    let _ = write!(text, "<path class=\"l {class}\" stroke-dasharray=\"{dashes}\" d=\"");
    for (round, value) in course.discrepancies.iter().enumerate() {
        let letter = if round == 0 { 'M' } else { 'L' };
        let _ = write!(text, "{letter}{:.1} {:.1}", axes.x(round as f64), axes.y(*value));
    }
    // Names that would lie on each other are moved apart.
    let mut y = axes.y(course.discrepancies.last().copied().unwrap_or(LEAST)) + 4.0;
    while taken.iter().any(|other| (other - y).abs() < 14.0) {
        y -= 14.0;
    }
    taken.push(y);
    let x = axes.x(axes.rounds) + 8.0;
    let _ = write!(
        text,
        "\"/><line class=\"l {class}\" stroke-dasharray=\"{dashes}\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
         <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
        x + 22.0,
        y - 4.0,
        y - 4.0,
        x + 28.0,
        course.balancer.name()
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::compare::{Plan, all, run};
    use crate::families::Family;

    #[test]
    fn a_picture_has_a_line_for_each_and_stays_within_its_frame() {
        let plan = Plan { family: Family::Ring, units: 20, tasks: 4, rounds: 50, seed: 3 };
        let text = svg("a <ring> & more", &run(&plan, &all()));
        assert_eq!(text.matches("<path").count(), 3);
        assert!(text.contains("a &lt;ring&gt; &amp; more") && !text.contains("NaN"));
        let paths = text.split(" d=\"").skip(1).map(|path| path.split('"').next().unwrap());
        for number in paths.flat_map(|path| path.split(['M', 'L', ' '])).filter(|part| !part.is_empty()) {
            let number: f64 = number.parse().unwrap();
            assert!((0.0..=WIDTH).contains(&number), "{number}");
        }
    }
}
