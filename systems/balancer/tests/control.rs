//! The words of `/add` and `/rm` as tables: each line a request and what it comes to.

use balancer::control::{self, Asked, Refused};
use machine::{Chance, WallTime};

const PRESENT: [&str; 3] = ["Server-1", "Server-2", "Server-3"];

#[track_caller]
fn added(body: &str, slots_left: Option<usize>) -> Result<Vec<String>, String> {
    let mut chance = Chance::new(5).stream("names");
    control::read(true, body.as_bytes())
        .and_then(|asked| control::add(asked, &PRESENT, slots_left, WallTime::from_millis(7), &mut chance))
        .map_err(|Refused(words)| words)
}

#[track_caller]
fn removed(body: &str) -> Result<Vec<String>, String> {
    let mut chance = Chance::new(5).stream("names");
    control::read(true, body.as_bytes())
        .and_then(|asked| control::remove(asked, &PRESENT, &mut chance))
        .map_err(|Refused(words)| words)
}

#[test]
fn add_is_refused_in_the_words_and_the_order_of_the_contract() {
    let check = |body: &str, slots_left, expected: &str| {
        assert_eq!(added(body, slots_left), Err(expected.to_owned()), "{body}");
    };
    check("", None, "Payload is empty");
    check("null", None, "Payload is empty");
    check("{}", None, "Number of servers to add must be greater than 0");
    check(r#"{"n":0,"hostnames":["a","b"]}"#, None, "Number of servers to add must be greater than 0");
    check(r#"{"n":-3}"#, None, "Number of servers to add must be greater than 0");
    check(
        r#"{"n":1,"hostnames":["a","a"]}"#,
        Some(0),
        "Length of hostname list is more than newly added instances",
    );
    check(r#"{"n":2,"hostnames":["a","a"]}"#, Some(0), "Hostname list contains duplicates");
    check(r#"{"n":2,"hostnames":["Server-1"]}"#, Some(1), "Insufficient slots. Only 1 slots left");
    check(r#"{"n":2,"hostnames":["Server-1"]}"#, Some(2), "Hostnames `{'Server-1'}` are already in replicas");
    check(
        r#"{"n":2,"hostnames":["Server-3","Server-1"]}"#,
        None,
        "Hostnames `{'Server-3', 'Server-1'}` are already in replicas",
    );
    check(r#"{"n":1,"hostnames":["a b"]}"#, None, "Hostnames `{'a b'}` are not host names");
    check(r#"{"n":100000}"#, None, "There can be at most 1024 replicas");
    check(r#"{"n":1.5}"#, None, "`n` is not a whole number");
    check(r#"{"n":1,"hostnames":"a"}"#, None, "`hostnames` is not a list of strings");
    check(r#"{"n":1,"hostnames":[1]}"#, None, "`hostnames` is not a list of strings");
    check("[1]", None, "Payload is not a JSON object");
}

#[test]
fn a_body_without_a_json_type_is_an_empty_payload() {
    let check = |kind: Option<&str>, expected| {
        assert_eq!(control::is_json(kind.map(str::as_bytes)), expected, "{kind:?}");
    };
    check(Some("application/json"), true);
    check(Some("Application/JSON; charset=utf-8"), true);
    check(Some("application/problem+json"), true);
    check(Some("text/plain"), false);
    check(None, false);
    let empty = Err(Refused("Payload is empty".into()));
    assert_eq!(control::read(false, br#"{"n":1}"#), empty);
}

#[test]
fn both_spellings_are_read() {
    let expected = Ok(Asked { count: 2, hostnames: vec!["S5".into()] });
    for body in [
        r#"{"n":2,"hostnames":["S5"]}"#,
        r#"{"N":2,"replicas":["S5"]}"#,
        r#"{"n":"2","hostnames":["S5"]}"#,
        r#"{"n":2.0,"replicas":["S5"],"more":{}}"#,
    ] {
        assert_eq!(control::read(true, body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn names_that_are_missing_are_made_up() {
    let names = added(r#"{"n":3,"hostnames":["S5"]}"#, Some(3)).expect("it is right");
    assert_eq!((names.len(), names[0].as_str()), (3, "S5"));
    assert!(names[1..].iter().all(|name| name.starts_with("Server-") && name.ends_with("-007")), "{names:?}");
}

#[test]
fn there_are_names_for_as_many_as_there_may_be() {
    let names = added(r#"{"n":1021}"#, None).unwrap();
    let different: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!((names.len(), different.len()), (1021, 1021));
}

#[test]
fn rm_is_refused_in_the_words_and_the_order_of_the_contract() {
    let check = |body: &str, expected: &str| assert_eq!(removed(body), Err(expected.to_owned()), "{body}");
    check("", "Payload is empty");
    check("{}", "Number of servers to delete must be greater than 0");
    check(r#"{"n":0,"hostnames":["x"]}"#, "Number of servers to delete must be greater than 0");
    check(
        r#"{"n":4,"hostnames":["x"]}"#,
        "Number of servers to delete must be less than or equal to number of replicas",
    );
    check(
        r#"{"n":1,"hostnames":["x","Server-1"]}"#,
        "Length of hostname list is more than removable instances",
    );
    check(r#"{"n":2,"hostnames":["x","Server-1"]}"#, "Hostnames `{'x'}` are not in replicas");
}

#[test]
fn rm_takes_the_named_and_random_others() {
    let gone = removed(r#"{"n":2,"hostnames":["Server-2"]}"#).expect("it is right");
    assert_eq!((gone.len(), gone[0].as_str()), (2, "Server-2"));
    assert!(gone[1] == "Server-1" || gone[1] == "Server-3");
    let all = removed(r#"{"n":3}"#).expect("it is right");
    assert!(PRESENT.iter().all(|name| all.iter().any(|gone| gone == name)));
}

#[test]
fn answers_are_compact_and_end_in_a_newline() {
    assert_eq!(
        control::listed(&PRESENT),
        "{\"message\":{\"N\":3,\"replicas\":[\"Server-1\",\"Server-2\",\"Server-3\"]},\"status\":\"successful\"}\n"
    );
    assert_eq!(
        control::failure("No \"x\""),
        "{\"message\":\"<Error> No \\\"x\\\"\",\"status\":\"failure\"}\n"
    );
}
