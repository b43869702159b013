//! What stands behind the question mark, and parts of a path, as meant: percent-decoded. Nothing is copied that needs
//! no decoding.

use std::borrow::Cow;

/// `name=value` pairs, in the order in which they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The pairs of what stands behind the question mark; also of a form's body
    /// (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// All pairs, decoded. A name without `=` has an empty value.
    pub fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        wire::http::pairs(self.0).map(|(name, value)| {
            (decoded(name, Plus::Space), decoded(value.unwrap_or_default(), Plus::Space))
        })
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.pairs().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The first value of that name as a number or anything else that is parsed; none where it is missing.
    ///
    /// # Errors
    /// The value, when it cannot be parsed.
    pub fn parse<T: core::str::FromStr>(self, name: &str) -> Result<Option<T>, Cow<'a, str>> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| text),
        }
    }
}

/// What a plus sign means: a space in queries and forms, itself in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    Space,
    Itself,
}

/// Percent-decoded (RFC 3986, section 2.1). A text with a percent sign that begins no code stands for itself, as
/// browsers have it; bytes that are no UTF-8 become U+FFFD.
pub(crate) fn decoded(text: &str, plus: Plus) -> Cow<'_, str> {
    if plus == Plus::Space && text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(plain(&spaced).into_owned());
    }
    plain(text)
}

fn plain(text: &str) -> Cow<'_, str> {
    match wire::http::decode(text) {
        Ok(Cow::Owned(bytes)) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(wrong) => String::from_utf8_lossy(wrong.as_bytes()).into_owned(),
        }),
        Ok(Cow::Borrowed(_)) | Err(wire::http::BadEscape) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        #[track_caller]
        fn check(text: &str, expected: &[(&str, &str)]) {
            let found: Vec<_> = Query::new(text).pairs().collect();
            let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
        check("", &[]);
        check("a=1&b=2", &[("a", "1"), ("b", "2")]);
        check("a&=&&b=c=d", &[("a", ""), ("", ""), ("b", "c=d")]);
        check("na%6De=a+b%2Bc%20", &[("name", "a b+c ")]);
        check("half=%&bad=%zz&cut=%4", &[("half", "%"), ("bad", "%zz"), ("cut", "%4")]);
        check("euro=%e2%82%ac&wrong=%ff", &[("euro", "€"), ("wrong", "\u{fffd}")]);
    }

    #[test]
    fn a_value_is_parsed_or_told() {
        let query = Query::new("wait=5&count=many");
        assert_eq!(query.parse::<u32>("wait"), Ok(Some(5)));
        assert_eq!(query.parse::<u32>("count"), Err("many".into()));
        assert_eq!(query.parse::<u32>("other"), Ok(None));
    }

    #[test]
    fn a_plus_in_a_path_is_itself() {
        assert_eq!(decoded("a+b%2fc", Plus::Itself), "a+b/c");
    }
}
