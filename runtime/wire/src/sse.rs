//! Server-Sent Events (the HTML standard, section 9.2): events as the bytes of a `text/event-stream` body. Only
//! written here: browsers and programs read them. The hard thing is small: a line end within the data would end the
//! field, so each line of it is a field of its own.

/// The media type of a stream of events.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// A line that says nothing: it keeps a silent stream from looking dead to what stands between.
pub const SILENCE: &[u8] = b":\n\n";

/// Appends one event. `kind` is what listeners listen for, `message` where it is empty; line ends in it are left out,
/// because it is a name. The data may hold any line ends; the reader gets each as `\n`.
pub fn event(kind: &str, data: &str, into: &mut Vec<u8>) {
    if !kind.is_empty() {
        into.extend_from_slice(b"event: ");
        into.extend(kind.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        into.push(b'\n');
    }
    let mut rest = data;
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest.as_bytes());
        into.extend_from_slice(b"data: ");
        into.extend_from_slice(&rest.as_bytes()[..end.unwrap_or(rest.len())]);
        into.push(b'\n');
        let Some(end) = end else { break };
        let width = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + width..];
    }
    into.push(b'\n');
}

/// Appends how long a reader should wait before it connects again, in milliseconds.
pub fn retry(after_ms: u64, into: &mut Vec<u8>) {
    into.extend_from_slice(b"retry: ");
    into.extend_from_slice(itoa::Buffer::new().format(after_ms).as_bytes());
    into.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_field() {
        #[track_caller]
        fn check(kind: &str, data: &str, expected: &str) {
            let mut bytes = Vec::new();
            event(kind, data, &mut bytes);
            assert_eq!(String::from_utf8(bytes).as_deref(), Ok(expected));
        }
        check("", "1", "data: 1\n\n");
        check("", "", "data: \n\n");
        check("core", "{}", "event: core\ndata: {}\n\n");
        check("a\nb\r", "1\n2\r\n3\r4\n", "event: ab\ndata: 1\ndata: 2\ndata: 3\ndata: 4\ndata: \n\n");
    }

    #[test]
    fn a_reader_is_told_when_to_come_back() {
        let mut bytes = Vec::new();
        retry(2000, &mut bytes);
        assert_eq!(bytes, b"retry: 2000\n\n");
    }
}
