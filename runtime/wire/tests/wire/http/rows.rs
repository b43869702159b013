//! The tables of `corpus/http`: rows of columns between bars, the last one being bytes with escapes.
//!
//! It stands alone, so that a test that says the same rows to a real process through a socket can take this file in
//! with `#[path]`, and the tables with `include_str!`.

/// A row: its columns, and the bytes of the last one.
pub(crate) struct Row {
    /// All columns but the bytes.
    pub(crate) columns: Vec<String>,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

/// The rows of a table's text, which is ours: a row that can not be read is a panic.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| row(line).unwrap_or_else(|| panic!("no row: {line}"))).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut columns: Vec<String> = line.splitn(4, " | ").map(str::to_owned).collect();
    let text = columns.pop().filter(|_| columns.len() == 3)?;
    let mut rest = text.as_bytes();
    let bytes = unescaped(&mut rest, false)?;
    rest.is_empty().then_some(Row { columns, bytes })
}

/// The bytes up to the end, or inside a repetition up to its closing brace.
fn unescaped(rest: &mut &[u8], inside: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let [first, behind @ ..] = *rest {
        *rest = behind;
        match first {
            b'}' if inside => return Some(bytes),
            b'\\' => bytes.extend(escape(rest)?),
            byte => bytes.push(*byte),
        }
    }
    (!inside).then_some(bytes)
}

fn escape(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (kind, behind) = rest.split_first()?;
    *rest = behind;
    Some(match kind {
        b'r' => vec![b'\r'],
        b'n' => vec![b'\n'],
        b't' => vec![b'\t'],
        b'0' => vec![0],
        b'\\' => vec![b'\\'],
        b'x' => {
            let (digits, behind) = rest.split_first_chunk::<2>()?;
            *rest = behind;
            vec![u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?]
        }
        b'{' => {
            let colon = rest.iter().position(|&byte| byte == b':')?;
            let count: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
            *rest = &rest[colon + 1..];
            unescaped(rest, true)?.repeat(count)
        }
        _ => return None,
    })
}
