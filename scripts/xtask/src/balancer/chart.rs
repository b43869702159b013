//! Two charts as SVG text: groups of bars, and lines. As much as the experiments need, with no script and no font of
//! their own, and colours that are told apart on white and on black.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 54.0;
/// To the right of bars, and of lines, which have their names there.
const RIGHT_OF_BARS: f64 = 20.0;
const RIGHT_OF_LINES: f64 = 255.0;
/// Marks of the upward axis, at most.
const TICKS_MAX: f64 = 6.0;
const NAME_HEIGHT: f64 = 18.0;
const COLOURS: [&str; 8] =
    ["#777777", "#c0392b", "#d98200", "#8e5bb5", "#1f77b4", "#1a9988", "#b0527a", "#4d8c2b"];

/// Bars in groups.
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) unit: String,
    /// Names and values from 0 to 1.
    pub(super) groups: Vec<(String, Vec<f64>)>,
    /// Where a bar would end if all were alike.
    pub(super) even: f64,
}

/// Lines over whole numbers.
pub(super) struct Lines {
    pub(super) title: String,
    pub(super) across: String,
    pub(super) unit: String,
    /// Names and points, in order.
    pub(super) lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Draws bars.
pub(super) fn bars(bars: &Bars) -> String {
    let most = 1.0;
    let mut text = begun(&bars.title, &bars.unit, most, RIGHT_OF_BARS, |value| format!("{value:.1}"));
    let room = WIDTH - LEFT - RIGHT_OF_BARS;
    let each = room / bars.groups.len().max(1) as f64;
    for (index, (name, values)) in bars.groups.iter().enumerate() {
        let left = LEFT + each * index as f64;
        let width = each * 0.8 / values.len().max(1) as f64;
        for (at, value) in values.iter().enumerate() {
            let (x, y) = (left + each * 0.1 + width * at as f64, upward(*value, most));
            let colour = COLOURS[1 + at % (COLOURS.len() - 1)];
            let _ = writeln!(
                text,
                r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" fill="{colour}"><title>{name}: {value:.3}</title></rect>"#,
                width - 2.0,
                HEIGHT - BOTTOM - y
            );
            let middle = x + width / 2.0 - 1.0;
            let _ = writeln!(
                text,
                r#"<text x="{middle:.1}" y="{:.1}" text-anchor="middle" font-size="10">{value:.2}</text>"#,
                y - 3.0
            );
        }
        let middle = left + each / 2.0;
        let _ = writeln!(
            text,
            r#"<text x="{middle:.1}" y="{:.1}" text-anchor="middle" font-size="11">{name}</text>"#,
            HEIGHT - BOTTOM + 18.0
        );
    }
    let even = upward(bars.even, most);
    let right = WIDTH - RIGHT_OF_BARS;
    let _ = writeln!(
        text,
        r##"<line x1="{LEFT}" x2="{right}" y1="{even:.1}" y2="{even:.1}" stroke="#444" stroke-dasharray="5 4"/><text x="{right}" y="{:.1}" text-anchor="end" font-size="12">dashed: even, {:.3}</text>"##,
        TOP + 16.0,
        bars.even
    );
    text + "</svg>\n"
}

/// Draws lines.
pub(super) fn lines(lines: &Lines) -> String {
    let points = || lines.lines.iter().flat_map(|(_, points)| points.iter().copied());
    let most = points().map(|(_, y)| y).fold(1.0, f64::max) * 1.05;
    let (first, last) =
        points().fold((f64::INFINITY, 0.0_f64), |(first, last), (x, _)| (first.min(x), last.max(x)));
    let room = WIDTH - LEFT - RIGHT_OF_LINES;
    let across = |x: f64| LEFT + room * (x - first) / (last - first).max(1.0);
    let mut text = begun(&lines.title, &lines.unit, most, RIGHT_OF_LINES, |value| format!("{value:.0}"));
    for x in first as u64..=last as u64 {
        let _ = writeln!(
            text,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle" font-size="12">{x}</text>"#,
            across(x as f64),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        text,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle" font-size="12">{}</text>"#,
        LEFT + room / 2.0,
        HEIGHT - 12.0,
        lines.across
    );
    for (index, (name, points)) in lines.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let dash = if index == 0 { r#" stroke-dasharray="6 4""# } else { "" };
        let places: Vec<String> =
            points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), upward(*y, most))).collect();
        let _ = writeln!(
            text,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>"#,
            places.join(" ")
        );
        for (x, y) in points {
            let _ = writeln!(
                text,
                r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{colour}"><title>{name}, {x}: {y:.0}</title></circle>"#,
                across(*x),
                upward(*y, most)
            );
        }
        let (x, y) = (WIDTH - RIGHT_OF_LINES + 18.0, TOP + 10.0 + NAME_HEIGHT * index as f64);
        let _ = writeln!(
            text,
            r#"<line x1="{x}" x2="{}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"{dash}/><text x="{}" y="{}" font-size="12">{name}</text>"#,
            x + 22.0,
            x + 28.0,
            y + 4.0
        );
    }
    text + "</svg>\n"
}

/// How far down a value stands.
fn upward(value: f64, most: f64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / most
}

/// The ground, the title and the upward axis.
fn begun(title: &str, unit: &str, most: f64, right: f64, shown: fn(f64) -> String) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{title}</text>\n\
         <text x=\"16\" y=\"{:.0}\" font-size=\"12\" text-anchor=\"middle\" transform=\"rotate(-90 16 {:.0})\">{unit}</text>\n",
        HEIGHT / 2.0,
        HEIGHT / 2.0
    );
    let step = round_step(most / TICKS_MAX);
    for count in 0..=(most / step) as u32 {
        let value = step * f64::from(count);
        let y = upward(value, most);
        let _ = writeln!(
            text,
            r##"<line x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end" font-size="11">{}</text>"##,
            WIDTH - right,
            LEFT - 6.0,
            y + 4.0,
            shown(value)
        );
    }
    text
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(rough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_value() {
        let text = bars(&Bars {
            title: "t".into(),
            unit: "u".into(),
            groups: vec![("a".into(), vec![0.5, 0.25])],
            even: 0.5,
        });
        let heights: Vec<f64> = text
            .lines()
            .filter(|line| line.contains("<title>"))
            .filter_map(|line| line.split("height=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(heights.len(), 2);
        assert!((heights[0] / heights[1] - 2.0).abs() < 0.01, "{heights:?}");
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([round_step(0.16), round_step(900.0), round_step(1.0)], [0.2, 1000.0, 1.0]);
    }
}
