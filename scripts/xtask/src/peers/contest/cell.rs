//! A cell of the contest: how many connections, how many requests in flight on each, what is asked, how long values
//! are. A cell has a name, `50x16/get/small`, by which it is chosen and printed.

use std::fmt;

/// Connections and requests in flight on each: one alone, few, few with many in flight, many, very many.
const SHAPES: [(usize, usize); 5] = [(1, 1), (50, 1), (50, 16), (1000, 1), (10_000, 1)];

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Get,
    Set,
    /// Nine reads and a write, few keys being common and most rare.
    Mix,
}

impl What {
    const ALL: [Self; 3] = [Self::Get, Self::Set, Self::Mix];

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Mix => "mix",
        }
    }
}

/// How long values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    Small,
    Kilobyte,
}

impl Size {
    const ALL: [Self; 2] = [Self::Small, Self::Kilobyte];

    const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Kilobyte => "1kb",
        }
    }

    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Small => 3,
            Self::Kilobyte => 1000,
        }
    }
}

/// One.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) what: What,
    pub(crate) size: Size,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, size, connections, pipeline } = self;
        write!(out, "{connections}x{pipeline}/{}/{}", what.name(), size.name())
    }
}

impl Cell {
    /// Every cell there is, by what is asked.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for what in What::ALL {
            for size in Size::ALL {
                let cell = |(connections, pipeline)| Self { what, size, connections, pipeline };
                all.extend(SHAPES.map(cell));
            }
        }
        all
    }

    /// Those that any of the patterns names, or all when there is none. A pattern is some parts of a name, in any
    /// order: `50x16/get/small`, `get/small`, `10000x1`.
    pub(crate) fn chosen(patterns: &[String]) -> Result<Vec<Self>, String> {
        let all = Self::all();
        let mut chosen = vec![false; all.len()];
        for pattern in patterns {
            let names: Vec<bool> = all.iter().map(|cell| cell.has(pattern)).collect();
            if !names.contains(&true) {
                let known: Vec<String> = all.iter().map(Self::to_string).collect();
                return Err(format!("--only {pattern} names no cell. There are: {}.", known.join(" ")));
            }
            chosen.iter_mut().zip(names).for_each(|(chosen, named)| *chosen |= named);
        }
        let cells = all.into_iter().zip(chosen);
        Ok(cells.filter(|(_, chosen)| *chosen || patterns.is_empty()).map(|(cell, _)| cell).collect())
    }

    fn has(&self, pattern: &str) -> bool {
        let name = self.to_string();
        pattern.split('/').all(|part| name.split('/').any(|own| own == part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], expected: &[&str]) {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let cells = Cell::chosen(&patterns).expect("they name cells");
        assert_eq!(cells.iter().map(Cell::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn cells_are_chosen_by_parts_of_their_names() {
        check(&["50x16/get/small"], &["50x16/get/small"]);
        check(&["small/10000x1"], &["10000x1/get/small", "10000x1/set/small", "10000x1/mix/small"]);
        check(&["1x1/get", "1x1/get/small"], &["1x1/get/small", "1x1/get/1kb"]);
        assert_eq!(Cell::chosen(&[]).map(|all| all.len()), Ok(SHAPES.len() * 6));
    }

    #[test]
    fn a_pattern_that_names_nothing_is_told_what_there_is() {
        let said = Cell::chosen(&["50x17".to_owned()]).expect_err("there is none");
        assert!(said.contains("50x17") && said.contains("10000x1/mix/1kb"), "{said}");
    }
}
