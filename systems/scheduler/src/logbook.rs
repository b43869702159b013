//! The lines that a node, or the event log for all nodes, tells people: bounded, numbered, and sent on to the event
//! log until it has them.

use std::collections::{BTreeMap, VecDeque};

/// Lines that are kept; older ones are forgotten.
pub const LINES_MAX: usize = 2000;

/// Bytes of one line.
const LINE_MAX: usize = 1000;

/// A log.
#[derive(Clone, Debug, Default)]
pub struct Logbook {
    lines: VecDeque<String>,
    /// The number of the first that is kept.
    first: u64,
}

impl Logbook {
    /// Adds a line; control characters, which could make two of one, become spaces.
    pub fn add(&mut self, line: &str) -> &str {
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
            self.first += 1;
        }
        let plain = line.chars().map(|each| if each.is_control() { ' ' } else { each });
        let mut plain: String = plain.collect();
        plain.truncate(plain.floor_char_boundary(LINE_MAX));
        self.lines.push_back(plain);
        self.lines.back().expect("it was just added")
    }

    /// The lines from that number on, at most so many, and the number of the first.
    #[must_use]
    pub fn since(&self, number: u64, most: usize) -> (u64, Vec<String>) {
        let first = number.max(self.first);
        let skipped = (first - self.first) as usize;
        (first, self.lines.iter().skip(skipped).take(most).cloned().collect())
    }

    /// The number that the next line gets.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// All that is kept, one a line.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// All that is kept.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// How far the event log has each node's log.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    next: BTreeMap<u16, (u64, u64)>,
}

impl Heard {
    /// Which of these lines are new: how many to pass over.
    pub fn new_of(&mut self, node: u16, life: u64, first: u64, count: usize) -> usize {
        let next = self.next.entry(node).or_insert((life, 0));
        if next.0 != life {
            *next = (life, 0);
        }
        let known = usize::try_from(next.1.saturating_sub(first)).unwrap_or(usize::MAX).min(count);
        next.1 = next.1.max(first + count as u64);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_numbers_and_the_oldest_go() {
        let mut book = Logbook::default();
        for number in 0..LINES_MAX + 10 {
            book.add(&format!("line {number}"));
        }
        assert_eq!(book.next(), LINES_MAX as u64 + 10);
        assert_eq!(book.since(0, 1), (10, vec!["line 10".to_owned()]));
        assert_eq!(book.since(book.next() - 1, 9).1, [format!("line {}", LINES_MAX + 9)]);
        assert_eq!(book.add("two\nlines"), "two lines");
    }

    #[test]
    fn what_was_heard_is_not_new_again_but_of_another_life_it_is() {
        let mut heard = Heard::default();
        assert_eq!(heard.new_of(1, 7, 0, 3), 0);
        assert_eq!(heard.new_of(1, 7, 1, 4), 2);
        assert_eq!(heard.new_of(1, 7, 0, 5), 5);
        assert_eq!(heard.new_of(1, 8, 0, 2), 0);
        assert_eq!(heard.new_of(2, 7, 9, 2), 0);
    }
}
