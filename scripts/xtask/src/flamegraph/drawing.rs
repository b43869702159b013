//! The picture: a box a frame, as wide as the frame's share, on the box of who called it (Gregg, "The flame graph",
//! CACM 2016). Written here, because it is a page of code and the crate that draws it has a licence that `deny.toml`
//! does not let in.

use super::stack::Stacks;
use std::fmt::Write as _;

/// Pixels.
const WIDTH: f64 = 1400.0;
const ROW: usize = 17;
const MARGIN: f64 = 10.0;
const HEADER: usize = 40;
/// A letter of the font, on average.
const LETTER: f64 = 6.6;
/// A box that is narrower is left out.
const NARROWEST: f64 = 0.3;
/// A box that is narrower has no room for a name.
const NAMED_FROM: f64 = 25.0;

/// A frame at its place.
struct Box<'a> {
    name: &'a str,
    depth: usize,
    from: u64,
    looks: u64,
}

/// The picture.
pub(super) fn svg(stacks: &Stacks, title: &str) -> String {
    let boxes = boxes(stacks);
    let all = stacks.looks().max(1);
    let scale = 2.0f64.mul_add(-MARGIN, WIDTH) / all as f64;
    let depth_max = boxes.iter().map(|frame| frame.depth).max().unwrap_or(0);
    let height = HEADER + (depth_max + 2) * ROW;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fffdf7\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    for frame in &boxes {
        let (x, width) = (frame.from as f64 * scale + MARGIN, frame.looks as f64 * scale);
        if width < NARROWEST {
            continue;
        }
        let y = height - ROW * (frame.depth + 2);
        let share = frame.looks as f64 * 100.0 / all as f64;
        let name = escaped(frame.name);
        let _ = write!(
            text,
            "<g><title>{name}: {} looks, {share:.2} %</title><rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{}\" fill=\"{}\" rx=\"1\"/>",
            frame.looks,
            ROW - 1,
            colour(frame.name)
        );
        if width >= NAMED_FROM {
            let letters = (width / LETTER) as usize;
            let shown = escaped(&shortened(frame.name, letters));
            let _ = write!(text, "<text x=\"{:.1}\" y=\"{}\">{shown}</text>", x + 3.0, y + 12);
        }
        text += "</g>\n";
    }
    text + "</svg>\n"
}

/// Neighbours with the same beginning share boxes.
fn boxes(stacks: &Stacks) -> Vec<Box<'_>> {
    let mut boxes = vec![Box { name: "all", depth: 0, from: 0, looks: stacks.looks() }];
    // Indices into `boxes` of the frames that are still open, outermost first.
    let mut open: Vec<usize> = Vec::new();
    let mut from = 0;
    for (frames, looks) in stacks.iter() {
        let same =
            open.iter().zip(frames).take_while(|(index, frame)| boxes[**index].name == **frame).count();
        open.truncate(same);
        open.iter().for_each(|index| boxes[*index].looks += looks);
        for name in &frames[same..] {
            open.push(boxes.len());
            boxes.push(Box { name, depth: open.len(), from, looks });
        }
        from += looks;
    }
    boxes
}

/// The kernel's frames are orange, ours green, others yellow; a name has always the same shade.
fn colour(name: &str) -> String {
    let sum = name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let ours = ["dht::", "state::", "wire::", "machine::", "reactor::"];
    let hue = match name {
        kernel if kernel.ends_with("_[k]") => 20,
        name if ours.iter().any(|part| name.contains(part)) => 110,
        _ => 48,
    };
    format!("hsl({},{}%,{}%)", hue + sum % 14, 60 + sum / 16 % 20, 62 + sum / 512 % 12)
}

fn shortened(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(letters.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_wide_as_all_that_stands_on_it() {
        let stacks = Stacks::of(&[("a;b", 2), ("a;c", 3), ("d", 5)]);
        let found: Vec<_> = boxes(&stacks)
            .iter()
            .map(|frame| (frame.name.to_owned(), frame.depth, frame.from, frame.looks))
            .collect();
        let expected = [("all", 0, 0, 10), ("a", 1, 0, 5), ("b", 2, 0, 2), ("c", 2, 2, 3), ("d", 1, 5, 5)];
        assert_eq!(found, expected.map(|(name, depth, from, looks)| (name.to_owned(), depth, from, looks)));
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let text = svg(&Stacks::of(&[("<A as B>::c & \"d\"", 1)]), "<title>");
        assert!(!text.contains("<A as") && !text.contains("& "), "{text}");
        assert!(text.contains("&lt;A as B&gt;::c &amp; &quot;d&quot;: 1 looks, 100.00 %"), "{text}");
    }

    #[test]
    fn long_names_end_in_dots() {
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("abcd", 4), "abcd");
    }
}
