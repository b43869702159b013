//! Who may do anything here: who shows one of the tokens.

use core::hint::black_box;

/// The tokens that are good; everybody may when there are none.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Vec<Box<str>>);

impl Tokens {
    /// These.
    #[must_use]
    pub(crate) fn new(tokens: &[Box<str>]) -> Self {
        Self(tokens.to_vec())
    }

    /// Whether that field (`Bearer TOKEN`) opens the door. How long it takes says nothing of how near a guess is.
    #[must_use]
    pub(crate) fn allow(&self, field: Option<&[u8]>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let field = field.unwrap_or_default();
        let shown = match field.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            Some(_) | None => return false,
        };
        self.0.iter().fold(false, |is_good, token| is_good | is_same(token.as_bytes(), shown))
    }
}

fn is_same(token: &[u8], shown: &[u8]) -> bool {
    let differs = |at: usize| token[at] ^ shown.get(at).copied().unwrap_or_default();
    let difference = (0..token.len()).fold(0, |sum, at| black_box(sum | differs(at)));
    difference == 0 && token.len() == shown.len()
}

impl core::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_token_opens_the_door() {
        let tokens = Tokens::new(&["secret".into(), "other".into()]);
        let check = |field: &str, expected: bool| {
            assert_eq!(tokens.allow(Some(field.as_bytes())), expected, "{field}")
        };
        check("Bearer secret", true);
        check("bearer  other ", true);
        for wrong in ["", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret"] {
            check(wrong, false);
        }
        assert!(!tokens.allow(None));
        assert!(Tokens::default().allow(None));
    }
}
