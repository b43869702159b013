//! Stacks as `perf script` tells them, each frame unfolded into the functions that stand at its address, and equal
//! stacks counted.

use super::segment::Segments;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Addresses at which the kernel lies, on every 64-bit Linux.
const KERNEL_FROM: u64 = 1 << 63;

/// Stacks, outermost frame first, and how often each was seen.
#[derive(Debug, Default)]
pub(super) struct Stacks(BTreeMap<Vec<String>, u64>);

/// A frame as perf tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    /// The kernel's own, or a place in the file of a program.
    address: u64,
    symbol: String,
    /// The file's name without its folder.
    file: String,
}

impl Stacks {
    /// Out of what `perf record` wrote of this program.
    pub(super) fn read(data: &Path, program: &Path) -> Result<Self, String> {
        let mut command = Command::new("perf");
        command.args(["script", "--no-inline", "-F", "comm,tid,ip,sym,dso", "-i"]).arg(data);
        let output = command.output().map_err(|error| format!("perf: {error}"))?;
        if !output.status.success() {
            return Err(format!("perf script: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let stacks = parse(&String::from_utf8_lossy(&output.stdout));
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let places = stacks.iter().flat_map(|stack| places(stack, &name).into_iter().map(|(_, place)| place));
        let folded = unfold(program, &places.collect())?;
        let mut all = Self::default();
        for stack in &stacks {
            all.add(stack, &name, &folded);
        }
        Ok(all)
    }

    fn add(&mut self, stack: &[Frame], program: &str, folded: &BTreeMap<u64, Vec<String>>) {
        let mut frames = Vec::new();
        let places: BTreeMap<usize, u64> = places(stack, program).into_iter().collect();
        for (depth, frame) in stack.iter().enumerate() {
            match places.get(&depth).and_then(|place| folded.get(place)) {
                Some(functions) => frames.extend(functions.iter().cloned()),
                None if frame.address >= KERNEL_FROM => frames.push(format!("{}_[k]", frame.symbol)),
                None => frames.push(frame.symbol.clone()),
            }
        }
        frames.reverse();
        *self.0.entry(frames).or_default() += 1;
    }

    /// Of folded stacks.
    #[cfg(test)]
    pub(super) fn of(lines: &[(&str, u64)]) -> Self {
        let line = |(frames, looks): &(&str, u64)| (frames.split(';').map(str::to_owned).collect(), *looks);
        Self(lines.iter().map(line).collect())
    }

    /// How often was looked.
    pub(super) fn looks(&self) -> u64 {
        self.0.values().sum()
    }

    /// In order, so that stacks with the same beginning are neighbours.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[String], u64)> {
        self.0.iter().map(|(frames, looks)| (&frames[..], *looks))
    }

    /// A line a stack: frames with semicolons between, and how often.
    pub(super) fn folded(&self) -> String {
        self.iter().fold(String::new(), |mut text, (frames, looks)| {
            let _ = writeln!(text, "{} {looks}", frames.join(";"));
            text
        })
    }
}

/// Blocks with empty lines between: a line that names the thread, then a frame a line, innermost first.
fn parse(text: &str) -> Vec<Vec<Frame>> {
    let blocks = text.split("\n\n").map(|block| {
        block
            .lines()
            .filter(|line| line.starts_with(char::is_whitespace))
            .filter_map(frame)
            .collect::<Vec<_>>()
    });
    blocks.filter(|stack| !stack.is_empty()).collect()
}

/// `  ADDRESS SYMBOL (FILE)`. A symbol may hold spaces and brackets.
fn frame(line: &str) -> Option<Frame> {
    let (address, rest) = line.trim().split_once(' ')?;
    let (symbol, file) = rest.rsplit_once(" (")?;
    let file = file.trim_end_matches(')').rsplit('/').next()?;
    let symbol = if symbol == "[unknown]" { format!("[{file}]") } else { symbol.to_owned() };
    Some(Frame { address: u64::from_str_radix(address, 16).ok()?, symbol, file: file.to_owned() })
}

/// Frames of the program, by depth, with the place to ask for. An outer frame's address is where it will go on, so the
/// call stands before it.
fn places(stack: &[Frame], program: &str) -> Vec<(usize, u64)> {
    let own = stack.iter().enumerate().filter(|(_, frame)| frame.file == program);
    own.map(|(depth, frame)| (depth, frame.address - u64::from(depth > 0))).collect()
}

/// The functions that stand at each place, innermost first.
fn unfold(program: &Path, places: &BTreeSet<u64>) -> Result<BTreeMap<u64, Vec<String>>, String> {
    let wrong = |error: std::io::Error| format!("addr2line: {error}");
    let mut command = Command::new("addr2line");
    command.args(["-a", "-f", "-i", "-C", "-e"]).arg(program).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().map_err(wrong)?;
    let mut stdin = child.stdin.take().ok_or("addr2line has no input")?;
    let segments = Segments::read(program)?;
    let addresses: BTreeMap<u64, u64> =
        places.iter().map(|place| (segments.address(*place), *place)).collect();
    let asked: String = addresses.keys().map(|address| format!("{address:#x}\n")).collect();
    // Answers may fill the pipe before all is asked.
    let asking = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().map_err(wrong)?;
    let _ = asking.join();
    let by_address = functions(&String::from_utf8_lossy(&output.stdout));
    let place = |(address, functions)| Some((*addresses.get(&address)?, functions));
    Ok(by_address.into_iter().filter_map(place).collect())
}

/// After each address, two lines a function: its name, and where in the source.
fn functions(text: &str) -> BTreeMap<u64, Vec<String>> {
    let mut all: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let (mut place, mut is_name) = (0, true);
    for line in text.lines() {
        if let Some(address) = line.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            (place, is_name) = (address, true);
            continue;
        }
        if is_name && line != "??" {
            all.entry(place).or_default().push(without_hash(line).to_owned());
        }
        is_name = !is_name;
    }
    all
}

/// `name::h0123456789abcdef` without what the compiler added.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "dht-0-1 15363 \n\tffffffff821d9a67 rb_first ([kernel.kallsyms])\n\
                        \t          10aba4 __send (/usr/lib/libc.so.6)\n\
                        \t            1234 <A as b::C>::read (x) (/x/dht)\n\n\
                        dht-0-1 15363 \n\t             99 [unknown] (/x/dht)\n\n";

    #[test]
    fn frames_are_read_with_whatever_their_names_hold() {
        let stacks = parse(SAID);
        assert_eq!(stacks.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(stacks[0][2].symbol, "<A as b::C>::read (x)");
        assert_eq!((stacks[0][2].address, stacks[0][2].file.as_str()), (0x1234, "dht"));
        assert_eq!(stacks[1][0].symbol, "[dht]");
    }

    #[test]
    fn a_frame_is_unfolded_into_the_functions_that_stand_there() {
        let said = "0x0000000000001233\nwire::read::h0123456789abcdef\na.rs:1\ndht::plain\nb.rs:2\n\
                    0x0000000000000099\n??\n??:0\n";
        let folded = functions(said);
        let mut all = Stacks::default();
        parse(SAID).iter().for_each(|stack| all.add(stack, "dht", &folded));
        assert_eq!(all.folded(), "[dht] 1\ndht::plain;wire::read;__send;rb_first_[k] 1\n");
        assert_eq!(all.looks(), 2);
    }
}
