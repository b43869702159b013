//! Patterns as Redis' clients write them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before what is meant as itself.
//!
//! The one hard thing is time: patterns come from strangers. Only the last `*` is ever gone back to, which is enough
//! (an earlier one need not take more than it must), so it costs at most pattern times text.

/// Whether `pattern` describes the whole of `text`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // As in Redis, where `*` alone is "all" and no longer pattern describes the empty text.
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut pattern_at, mut text_at) = (0, 0);
    // Where to go on when what follows the last `*` fails: behind it, with one more byte taken by it.
    let mut retry: Option<(usize, usize)> = None;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            retry = Some((pattern_at, text_at));
            continue;
        }
        match one(&pattern[pattern_at..], text[text_at]) {
            Some(used) => {
                pattern_at += used;
                text_at += 1;
            }
            None => match &mut retry {
                Some((behind, taken)) => {
                    *taken += 1;
                    (pattern_at, text_at) = (*behind, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[pattern_at..].iter().all(|byte| *byte == b'*')
}

/// How much of the pattern describes this one byte; none when it does not, or is at its end.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (within, used) = in_class(class, byte);
            within.then_some(used + 1)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether a class (behind its `[`) has the byte, and how long it is with its `]`. One without end ends with
/// the pattern.
fn in_class(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_redis() {
        #[track_caller]
        fn check(pattern: &str, text: &str, expected: bool) {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern:?} on {text:?}");
        }
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("h?llo", "hello", true);
        check("h?llo", "hllo", false);
        check("h*llo", "heeeello", true);
        check("h[ae]llo", "hallo", true);
        check("h[ae]llo", "hillo", false);
        check("h[^e]llo", "hello", false);
        check("h[a-c]llo", "hbllo", true);
        check("h[c-a]llo", "hbllo", true);
        check("h\\*llo", "h*llo", true);
        check("h\\*llo", "hello", false);
        check("*a*b*c", "xxaxxbxxc", true);
        check("*a*b*c", "xxaxxbxx", false);
        check("[abc", "b", true);
        check("a**", "a", true);
        check("\\", "\\", true);
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_pattern_times_text() {
        let pattern = b"*a".repeat(500);
        let text = b"a".repeat(20_000);
        assert!(matches(&pattern, &text));
        let mut never = pattern.clone();
        never.push(b'b');
        assert!(!matches(&never, &text));
    }
}
