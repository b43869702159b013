//! What CONFIG tells and sets. Few parameters are ours; others are answered because tools ask for them before they
//! do anything else, and they are told what is true here.

use crate::config::Limits;
use crate::refusal::Refusal;

/// Every parameter, by name.
#[must_use]
pub fn all(limits: &Limits) -> Vec<(&'static str, String)> {
    vec![
        ("appendonly", "no".into()),
        ("databases", "1".into()),
        ("maxclients", limits.clients_max.to_string()),
        ("maxmemory", "0".into()),
        ("maxmemory-policy", "noeviction".into()),
        ("proto-max-bulk-len", limits.value_max.to_string()),
        ("save", String::new()),
        ("timeout", "0".into()),
    ]
}

/// What `CONFIG SET name value` changes: the number of clients, or nothing if the value is what holds already.
pub fn change(name: &[u8], value: &[u8], limits: &Limits) -> Result<Option<u32>, Refusal> {
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]).to_ascii_lowercase();
    let Some((_, holds)) = all(limits).into_iter().find(|(known, _)| *known == name) else {
        let says = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
        return Err(Refusal::Says(says.into()));
    };
    if name == "maxclients" {
        return clients_max(value).map(Some);
    }
    if holds.as_bytes() == value { Ok(None) } else { Err(failed(&name, "can't set immutable config")) }
}

fn clients_max(value: &[u8]) -> Result<u32, Refusal> {
    let Some(number) = wire::resp::integer(value) else {
        return Err(failed("maxclients", "argument couldn't be parsed into an integer"));
    };
    match u32::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(failed("maxclients", "argument must be between 1 and 4294967295 inclusive")),
    }
}

fn failed(name: &str, why: &str) -> Refusal {
    Refusal::Says(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into())
}
