//! Values of the balancer as people type them, each with a reader whose error says what would do.

use balancer::config::KeyFrom;
use machine::{Address, Signal};
use std::net::SocketAddr;

pub(super) fn key(text: &str) -> Result<KeyFrom, String> {
    match text.split_once(':') {
        None if text == "request-id" => Ok(KeyFrom::RequestId),
        None if text == "path" => Ok(KeyFrom::Path),
        None if text == "client-ip" => Ok(KeyFrom::ClientIp),
        Some(("header", name)) if !name.is_empty() => Ok(KeyFrom::Header(name.into())),
        _ => Err(format!("{text:?} is none of request-id, path, client-ip, header:NAME")),
    }
}

/// In thousandths.
pub(super) fn factor(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is neither 0 nor a number from 1 to 1000, such as 1.25");
    let number: f64 = text.parse().map_err(|_| wrong())?;
    match number {
        0.0 => Ok(0),
        1.0..=1000.0 => Ok((number * 1000.0).round() as u32),
        _ => Err(wrong()),
    }
}

pub(super) fn ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok((first, last)),
        _ => Err(format!("{text:?} is no range of ports such as 20000-29999")),
    }
}

pub(super) fn signal(text: &str) -> Result<Signal, String> {
    match text.trim_start_matches("SIG") {
        "INT" => Ok(Signal::Interrupt),
        "TERM" => Ok(Signal::Terminate),
        "KILL" => Ok(Signal::Kill),
        "HUP" => Ok(Signal::HangUp),
        "USR1" => Ok(Signal::User1),
        "USR2" => Ok(Signal::User2),
        _ => Err(format!("{text:?} is none of INT, TERM, KILL, HUP, USR1, USR2")),
    }
}

/// A command line as words: split at spaces, but for what stands in quotes.
pub(super) fn words(text: &str) -> Result<Vec<Box<str>>, String> {
    let (mut words, mut word): (Vec<Box<str>>, Option<String>) = (Vec::new(), None);
    let mut quote = None;
    for each in text.chars() {
        match (quote, each) {
            (Some(open), each) if each == open => quote = None,
            (Some(_), each) => word.get_or_insert_default().push(each),
            (None, '"' | '\'') => {
                quote = Some(each);
                word.get_or_insert_default();
            }
            (None, each) if each.is_whitespace() => words.extend(word.take().map(Into::into)),
            (None, each) => word.get_or_insert_default().push(each),
        }
    }
    words.extend(word.map(Into::into));
    match (quote, words.is_empty()) {
        (Some(_), _) => Err(format!("{text:?} has a quote that does not end")),
        (None, true) => Err("the command of a replica is empty".into()),
        (None, false) => Ok(words),
    }
}

/// An address as it is typed.
pub(super) fn address(text: &str) -> Result<Address, String> {
    if let Ok(ip) = text.parse::<SocketAddr>() {
        return Ok(Address::Ip(ip));
    }
    match text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if !host.is_empty() && port > 0 => Ok(Address::Name(host.into(), port)),
        _ => Err(format!("--replica-address {text:?} is no HOST:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_at_spaces_outside_quotes() {
        let check = |text: &str, expected: &[&str]| {
            let found = words(text).expect("it is right");
            assert_eq!(found.iter().map(|word| &**word).collect::<Vec<_>>(), expected, "{text}");
        };
        check("python3 -m http.server {port}", &["python3", "-m", "http.server", "{port}"]);
        check("sh -c 'exec a  \"b\"' \"\" x", &["sh", "-c", "exec a  \"b\"", "", "x"]);
        assert!(words("  ").is_err() && words("a 'b").is_err());
    }

    #[test]
    fn values_are_what_they_say_or_a_sentence() {
        assert_eq!(key("header:X-User"), Ok(KeyFrom::Header("X-User".into())));
        assert_eq!(key("path"), Ok(KeyFrom::Path));
        assert!(key("header:").is_err() && key("cookie").is_err());
        assert_eq!((factor("1.25"), factor("0")), (Ok(1250), Ok(0)));
        assert!(factor("0.5").is_err() && factor("NaN").is_err() && factor("x").is_err());
        assert_eq!(ports("20000-29999"), Ok((20_000, 29_999)));
        assert!(ports("9-8").is_err() && ports("0").is_err());
        assert_eq!(address("web:80"), Ok(Address::Name("web".into(), 80)));
        assert!(address("web").is_err() && address(":80").is_err());
    }
}
