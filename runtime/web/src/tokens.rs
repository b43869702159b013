//! Who may do anything at a face: who shows one of the tokens.

use core::fmt;
use core::hint::black_box;

/// The tokens that are good; everybody may when there are none.
#[derive(Clone, Default)]
pub struct Tokens(Vec<Box<str>>);

impl Tokens {
    /// These.
    #[must_use]
    pub fn new(tokens: Vec<Box<str>>) -> Self {
        Self(tokens)
    }

    /// Whether that is one of them. How long it takes says nothing of how near a guess is.
    #[must_use]
    pub fn know(&self, shown: &[u8]) -> bool {
        self.0.is_empty()
            | self.0.iter().fold(false, |is_good, token| is_good | is_same(token.as_bytes(), shown))
    }

    /// Whether the field `Authorization: Bearer TOKEN` opens the door.
    #[must_use]
    pub fn allow(&self, field: Option<&[u8]>) -> bool {
        let shown = field.and_then(|field| field.split_at_checked(7));
        match shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer ")) {
            Some((_, token)) => self.know(token.trim_ascii()),
            None => self.0.is_empty(),
        }
    }
}

fn is_same(token: &[u8], shown: &[u8]) -> bool {
    let differs = |at: usize| token[at] ^ shown.get(at).copied().unwrap_or_default();
    let difference = (0..token.len()).fold(0, |sum, at| black_box(sum | differs(at)));
    difference == 0 && token.len() == shown.len()
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_token_opens_the_door() {
        let tokens = Tokens::new(vec!["secret".into(), "other".into()]);
        let check = |field: &str, expected: bool| {
            assert_eq!(tokens.allow(Some(field.as_bytes())), expected, "{field}")
        };
        check("Bearer secret", true);
        check("bearer  other ", true);
        for wrong in ["", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret"] {
            check(wrong, false);
        }
        assert!(!tokens.allow(None));
        assert!(!tokens.know(b"") && tokens.know(b"other"));
        assert!(Tokens::default().allow(None) && Tokens::default().know(b""));
        assert_eq!(format!("{tokens:?}"), "2 tokens");
    }
}
