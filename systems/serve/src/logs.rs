//! Lines on standard error: a moment, a level, a sentence; as text for people or as JSON for what collects them.
//!
//! For what happens seldom (start, stop, what is refused); nothing on the way of a request writes a line.

use clap::ValueEnum;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is worth a line, from little to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// What keeps the program from doing its work.
    Error,
    /// What somebody should look at.
    Warn,
    /// What an operator likes to see.
    #[default]
    Info,
    /// What helps to find out why.
    Debug,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

static WANTED: OnceLock<(Level, Format)> = OnceLock::new();

/// Says once what is wanted; before it, and after the first time, nothing changes.
pub fn want(level: Level, format: Format) {
    WANTED.get_or_init(|| (level, format));
}

/// Writes a line, if it is wanted. A standard error that is gone is no reason to stop.
pub fn say(level: Level, sentence: &str) {
    let (wanted, format) = WANTED.get().copied().unwrap_or_default();
    if level <= wanted {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let _ = std::io::stderr().write_all(line(level, format, seconds.as_millis(), sentence).as_bytes());
    }
}

fn line(level: Level, format: Format, millis: u128, sentence: &str) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    match format {
        Format::Text => format!("{seconds}.{millis:03} {:5} {sentence}\n", level.name()),
        Format::Json => {
            let escaped: String = sentence.chars().flat_map(escape).collect();
            format!(
                "{{\"time\":{seconds}.{millis:03},\"level\":\"{}\",\"message\":\"{escaped}\"}}\n",
                level.name()
            )
        }
    }
}

/// A character as it stands in a JSON string.
fn escape(each: char) -> Vec<char> {
    match each {
        '"' | '\\' => vec!['\\', each],
        control if (control as u32) < 0x20 => format!("\\u{:04x}", control as u32).chars().collect(),
        plain => vec![plain],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_people_or_for_machines() {
        assert_eq!(line(Level::Warn, Format::Text, 1_234, "so"), "1.234 warn  so\n");
        let json = line(Level::Info, Format::Json, 5, "a \"b\"\n");
        assert_eq!(json, "{\"time\":0.005,\"level\":\"info\",\"message\":\"a \\\"b\\\"\\u000a\"}\n");
        assert!(Level::Error < Level::Debug);
    }
}
