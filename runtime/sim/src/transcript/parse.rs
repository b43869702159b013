//! A transcript's text into steps: as written → as meant. A line that means nothing is an error with its number.

use super::Step;
use core::time::Duration;

type Wrong = (usize, String);

/// The longest name of a connection.
const NAME_MAX: usize = 16;
/// The most repetitions of `\(n)`.
const REPEAT_MAX: usize = 64 << 20;

pub(super) fn steps(text: &str) -> Result<Vec<(usize, Step)>, Wrong> {
    let mut steps: Vec<(usize, Step)> = Vec::new();
    let mut end: &[u8] = b"\r\n";
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("ends ") {
            end = match name.trim() {
                "crlf" => b"\r\n",
                "lf" => b"\n",
                "nothing" => b"",
                other => return Err((number, format!("lines end with crlf, lf or nothing, not {other}"))),
            };
            continue;
        }
        let step = said(line, end)
            .or_else(|| directive(line))
            .unwrap_or_else(|| Err(format!("neither sent (>), expected (< or ~) nor a directive: {line}")));
        let step = step.map_err(|what| (number, what))?;
        // Lines that follow each other are sent together.
        match (steps.last_mut(), step) {
            (Some((_, Step::Send(last, bytes))), Step::Send(name, more)) if *last == name => {
                bytes.extend(more)
            }
            (_, step) => steps.push((number, step)),
        }
    }
    Ok(steps)
}

/// `name> bytes` and its like.
fn said(line: &str, end: &[u8]) -> Option<Result<Step, String>> {
    let at = line.find(['>', '<', '~'])?;
    let name = &line[..at];
    if name.len() > NAME_MAX || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let text = &line[at + 1..];
    let text = text.strip_prefix(' ').unwrap_or(text);
    let name = name.to_owned();
    Some(match line.as_bytes()[at] {
        b'>' => bytes(text, end).map(|bytes| Step::Send(name, bytes)),
        b'<' => bytes(text, end).map(|bytes| Step::Expect(name, bytes)),
        _ => like(text, end).map(|parts| Step::Like(name, parts)),
    })
}

fn like(text: &str, end: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut parts = Vec::new();
    let mut rest = text.split('*').peekable();
    while let Some(part) = rest.next() {
        let last = rest.peek().is_none();
        parts.push(bytes(part, if last { end } else { b"" })?);
    }
    Ok(parts)
}

fn directive(line: &str) -> Option<Result<Step, String>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Some(match words[..] {
        ["wait", time] => span(time).map(Step::Wait),
        ["quiet", time] => span(time).map(|time| Step::Quiet(String::new(), time)),
        ["quiet", name, time] => span(time).map(|time| Step::Quiet(name.to_owned(), time)),
        ["finish"] => Ok(Step::Finish(String::new())),
        ["finish", name] => Ok(Step::Finish(name.to_owned())),
        ["ended"] => Ok(Step::Ended(String::new())),
        ["ended", name] => Ok(Step::Ended(name.to_owned())),
        ["leave", name] => Ok(Step::Leave(name.to_owned())),
        ["door", nth] => door("", nth),
        ["door", name, nth] => door(name, nth),
        _ => return None,
    })
}

fn door(name: &str, nth: &str) -> Result<Step, String> {
    let nth = nth.parse().map_err(|_| format!("the nth listener, from 0, not {nth}"))?;
    Ok(Step::Door(name.to_owned(), nth))
}

fn span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().map_err(|_| format!("a time is a number and us, ms or s, not {text}"))?;
    match unit {
        "us" => Ok(Duration::from_micros(count)),
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        _ => Err(format!("a time is a number and us, ms or s, not {text}")),
    }
}

/// Text with escapes into bytes, and the line's end unless a lone `\` takes it away.
fn bytes(text: &str, end: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() + end.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        if rest.is_empty() {
            return Ok(bytes);
        }
        rest = escape(rest, &mut bytes)?;
    }
    bytes.extend_from_slice(end);
    Ok(bytes)
}

/// What follows a backslash; gives what follows that.
fn escape<'a>(rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], String> {
    let (kind, rest) = rest.split_first().ok_or("an escape ends with its line")?;
    match kind {
        b'r' => bytes.push(b'\r'),
        b'n' => bytes.push(b'\n'),
        b't' => bytes.push(b'\t'),
        b'0' => bytes.push(0),
        b'\\' => bytes.push(b'\\'),
        b'x' => {
            let (digits, rest) = rest.split_at_checked(2).ok_or("\\x is followed by two digits")?;
            let digits = core::str::from_utf8(digits).map_err(|_| "\\x is followed by two digits")?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| "\\x is followed by two digits")?);
            return Ok(rest);
        }
        b'(' => {
            let close = rest.iter().position(|byte| *byte == b')').ok_or("\\( is closed by )")?;
            let count =
                core::str::from_utf8(&rest[..close]).ok().and_then(|count| count.parse::<usize>().ok());
            let count = count.filter(|count| *count <= REPEAT_MAX).ok_or("\\(n)c repeats c n times")?;
            let (byte, rest) = rest[close + 1..].split_first().ok_or("\\(n)c repeats c n times")?;
            bytes.resize(bytes.len() + count, *byte);
            return Ok(rest);
        }
        other => return Err(format!("no such escape: \\{}", other.escape_ascii())),
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, Step)]) {
        assert_eq!(steps(text).unwrap(), expected);
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn lines_are_what_they_say() {
        check("# nothing\n\n> PING\n", &[(3, Step::Send(text(""), b"PING\r\n".to_vec()))]);
        check("a> x\\", &[(1, Step::Send(text("a"), b"x".to_vec()))]);
        check(
            "> a\n> b\nc> d",
            &[
                (1, Step::Send(text(""), b"a\r\nb\r\n".to_vec())),
                (3, Step::Send(text("c"), b"d\r\n".to_vec())),
            ],
        );
        check("ends lf\n< \\x00\\\\\\(3)a", &[(2, Step::Expect(text(""), b"\0\\aaa\n".to_vec()))]);
        check("~ +v * w", &[(1, Step::Like(text(""), vec![b"+v ".to_vec(), b" w\r\n".to_vec()]))]);
        check("wait 10ms", &[(1, Step::Wait(Duration::from_millis(10)))]);
        check("door b 1", &[(1, Step::Door(text("b"), 1))]);
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        for (text, line) in
            [("what", 1), ("> a\nwait long", 2), ("> \\q", 1), ("ends some", 1), ("> \\x1", 1)]
        {
            assert_eq!(steps(text).unwrap_err().0, line, "{text}");
        }
    }
}
