//! Files that are part of the program: pages, styles, scripts. Each knows its own fingerprint, so that a browser that
//! has it asks once and is told that nothing changed.

/// A file in the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Where it is served: `/kit.css`.
    pub path: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Its fingerprint in quotes, as ETag has it.
    tag: [u8; TAG_LENGTH],
}

/// A quote, sixteen digits, a quote.
const TAG_LENGTH: usize = 18;

impl Asset {
    /// That file; the fingerprint is taken when the program is compiled.
    #[must_use]
    pub const fn new(path: &'static str, media: &'static str, bytes: &'static [u8]) -> Self {
        Self { path, media, bytes, tag: tag(fingerprint(bytes)) }
    }

    /// A page.
    #[must_use]
    pub const fn html(path: &'static str, text: &'static str) -> Self {
        Self::new(path, "text/html; charset=utf-8", text.as_bytes())
    }

    /// A style sheet.
    #[must_use]
    pub const fn css(path: &'static str, text: &'static str) -> Self {
        Self::new(path, "text/css; charset=utf-8", text.as_bytes())
    }

    /// A script.
    #[must_use]
    pub const fn js(path: &'static str, text: &'static str) -> Self {
        Self::new(path, "text/javascript; charset=utf-8", text.as_bytes())
    }

    /// Its ETag, quotes included.
    #[must_use]
    pub fn tag(&self) -> &str {
        core::str::from_utf8(&self.tag).expect("hexadecimal digits")
    }

    /// Whether somebody who has what `If-None-Match` names has this (RFC 9110, section 13.1.2).
    #[must_use]
    pub fn is_among(&self, tags: &str) -> bool {
        let mut tags = tags.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.tag())
    }
}

/// The style sheet of every page.
pub const STYLE: Asset = Asset::css("/kit.css", include_str!("../kit/kit.css"));
/// The sign of every page.
pub const ICON: Asset = Asset::new("/icon.svg", "image/svg+xml", include_bytes!("../kit/icon.svg"));
/// The script of every page.
pub const SCRIPT: Asset = Asset::js("/kit.js", include_str!("../kit/kit.js"));

/// FNV-1a. It only has to tell one version of a file from the next.
#[allow(long_running_const_eval, reason = "a step for each byte of a file of some ten kilobytes")]
const fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

const fn tag(hash: u64) -> [u8; TAG_LENGTH] {
    let mut text = [b'"'; TAG_LENGTH];
    let mut at = 0;
    while at < 16 {
        text[at + 1] = b"0123456789abcdef"[(hash >> (60 - 4 * at) & 15) as usize];
        at += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_bytes() {
        const ONE: Asset = Asset::html("/", "one");
        const OTHER: Asset = Asset::html("/", "other");
        assert_ne!(ONE.tag(), OTHER.tag());
        assert_eq!(ONE.tag().len(), TAG_LENGTH);
        assert!(ONE.is_among(ONE.tag()));
        assert!(ONE.is_among(&format!("\"x\", W/{}", ONE.tag())));
        assert!(ONE.is_among("*"));
        assert!(!ONE.is_among(OTHER.tag()) && !ONE.is_among(""));
    }

    #[test]
    fn the_kit_names_nothing_outside() {
        for asset in [STYLE, SCRIPT, ICON] {
            let text = core::str::from_utf8(asset.bytes).expect("text");
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for outside in ["http:", "https:", "url(", "@import", "innerHTML", "eval("] {
                assert!(!text.contains(outside), "{} holds {outside}", asset.path);
            }
        }
    }
}
