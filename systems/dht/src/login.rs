//! Who may come in: users with their secrets, and whether somebody is one of them.
//!
//! The one hard thing is to learn nothing from how long a refusal takes: every user is compared with what was said,
//! whole, whatever the one before came to. Secrets stand in no log and in no `Debug`.

use core::fmt;
use core::hint::black_box;

/// The user of a client that names none.
pub const DEFAULT: &str = "default";

/// Bytes of a user's name or secret.
pub const WORD_MAX: usize = 1024;

/// One who may come in.
#[derive(Clone, PartialEq, Eq)]
struct User {
    name: Box<str>,
    secret: Box<[u8]>,
}

/// All who may come in; nobody stands there when everybody may.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users(Vec<User>);

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.0.len())
    }
}

impl Users {
    /// Reads lines of `user:secret`, or of a secret alone, which is the default user's. What begins with `#` and what
    /// is empty is passed over; a secret with a colon in it needs its user's name before it. A user may stand there
    /// several times, with several secrets.
    ///
    /// # Errors
    /// A sentence when a line is none of these, or when there is no user.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut users = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, secret) = line.split_once(':').unwrap_or((DEFAULT, line));
            if name.is_empty() || secret.is_empty() || name.contains(' ') {
                return Err(format!("line {number} is neither user:password nor a password"));
            }
            if name.len() > WORD_MAX || secret.len() > WORD_MAX {
                return Err(format!("line {number} has a word over {WORD_MAX} bytes"));
            }
            users.push(User { name: name.into(), secret: secret.as_bytes().into() });
        }
        if users.is_empty() { Err("it names no user".into()) } else { Ok(Self(users)) }
    }

    /// Whether everybody may come in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a user of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        (self.is_open() && name == DEFAULT) || self.0.iter().any(|user| &*user.name == name)
    }

    /// Whether that is the secret of that user. Takes as long for the wrong ones.
    #[must_use]
    pub fn admit(&self, name: &[u8], secret: &[u8]) -> bool {
        self.0.iter().fold(false, |admitted, user| {
            let is_one = same(user.name.as_bytes(), name) & same(&user.secret, secret);
            black_box(admitted | is_one)
        })
    }
}

/// Whether `said` is `kept`, which is not empty. The time it takes follows from what was said alone.
fn same(kept: &[u8], said: &[u8]) -> bool {
    let said = &said[..said.len().min(WORD_MAX + 1)];
    let differences = said
        .iter()
        .zip(kept.iter().cycle())
        .fold(kept.len() ^ said.len(), |differences, (one, other)| differences | usize::from(one ^ other));
    black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_user_with_a_secret_or_a_secret() {
        let users = Users::read("# who may\nsesame\n\nalice:open:wide\nalice:second\n").expect("it is right");
        for (name, secret, expected) in [
            ("default", "sesame", true),
            ("alice", "open:wide", true),
            ("alice", "second", true),
            ("alice", "sesame", false),
            ("default", "second", false),
            ("default", "sesam", false),
            ("default", "sesamesesame", false),
            ("default", "", false),
            ("", "sesame", false),
            ("bob", "sesame", false),
        ] {
            assert_eq!(users.admit(name.as_bytes(), secret.as_bytes()), expected, "{name} {secret}");
        }
        assert!(users.has("alice") && users.has("default") && !users.has("bob") && !users.is_open());
        assert_eq!(format!("{users:?}"), "3 users");
    }

    #[test]
    fn a_file_without_users_is_refused() {
        for (text, words) in
            [("", "names no user"), ("# a\n", "names no user"), ("a\n:b\n", "line 2"), ("a:\n", "line 1")]
        {
            let said = Users::read(text).expect_err(text);
            assert!(said.contains(words), "{text:?}: {said}");
        }
        assert!(Users::default().is_open() && Users::default().has("default"));
    }
}
