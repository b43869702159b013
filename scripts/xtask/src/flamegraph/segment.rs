//! Where in a program's memory stands what perf tells by its place in the file: the linker lays parts of the file at
//! addresses of their own, and addr2line wants the address. Asked by the place alone it names other functions, near
//! enough to look right.

use std::path::Path;
use std::process::Command;

/// A part of the file that is laid into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    offset: u64,
    address: u64,
    bytes: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Segments(Vec<Segment>);

impl Segments {
    pub(super) fn read(program: &Path) -> Result<Self, String> {
        let output = Command::new("readelf").args(["--program-headers", "--wide"]).arg(program).output();
        let output = output.map_err(|error| format!("readelf: {error}"))?;
        let segments = Self::parse(&String::from_utf8_lossy(&output.stdout));
        if segments.0.is_empty() {
            return Err(format!("{} is no program", program.display()));
        }
        Ok(segments)
    }

    /// Lines `LOAD OFFSET ADDRESS PHYSICAL BYTES ...`, in hexadecimal.
    fn parse(text: &str) -> Self {
        let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let segment = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["LOAD", offset, address, _, bytes, ..] = words[..] else { return None };
            Some(Segment { offset: number(offset)?, address: number(address)?, bytes: number(bytes)? })
        };
        Self(text.lines().filter_map(segment).collect())
    }

    /// The address of a place in the file; the place itself when no part holds it.
    pub(super) fn address(&self, place: u64) -> u64 {
        let holds = |segment: &&Segment| (segment.offset..segment.offset + segment.bytes).contains(&place);
        self.0.iter().find(holds).map_or(place, |segment| place - segment.offset + segment.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_file_is_told_from_its_address() {
        let segments = Segments::parse(
            "Program Headers:\n  Type Offset VirtAddr\n\
             LOAD           0x000000 0x0000000000000000 0x0000000000000000 0x082f6c 0x082f6c R   0x1000\n  \
             LOAD           0x082f70 0x0000000000083f70 0x0000000000083f70 0x242ac0 0x242ac0 R E 0x1000\n",
        );
        assert_eq!(segments.0.len(), 2);
        assert_eq!(segments.address(0x1_d7803), 0x1_d8803);
        assert_eq!(segments.address(0x100), 0x100);
        assert_eq!(segments.address(0xf0_0000), 0xf0_0000);
    }
}
