use super::*;
use crate::act::{ExpireWhen, Life, Set, SetAnswer, SetWhen};
use wire::Outcome;
use wire::resp::{self, Reader};

const NOW_MS: u64 = 1_000_000;

/// What an inline request means, in a few words.
fn meaning(text: &str, limits: &Limits) -> String {
    let line = format!("{text}\r\n");
    let Outcome::Done { value, .. } = Reader::new(resp::Limits::default()).next(line.as_bytes()) else {
        panic!("{text:?} is a request");
    };
    let (_, parsed) = parse(Words::new(&value, limits, WallTime::from_millis(NOW_MS)));
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match parsed {
        Ok(Command::One(Op { key, payload, act })) => match payload.bytes() {
            b"" => format!("{} {act:?}", show(key)),
            bytes => format!("{}={} {act:?}", show(key), show(bytes)),
        },
        Ok(Command::Many(many)) => {
            let ops: Vec<String> =
                many.ops().map(|op| format!("{}={}", show(op.key), show(op.payload.bytes()))).collect();
            format!("{:?} {} of {}", many.act, ops.join(" "), many.len())
        }
        Ok(Command::Pair(pair)) => {
            let Pair { removes, replaces, counts, .. } = pair;
            format!("{} to {} {removes} {replaces} {counts}", show(pair.from), show(pair.to))
        }
        Ok(Command::Whole(work, _)) => format!("whole {work:?}"),
        Ok(Command::All(question, _)) => format!("all {question:?}"),
        Ok(Command::Here(here)) => {
            format!("here {}", format!("{here:?}").split(['(', ' ']).next().unwrap_or_default())
        }
        Err(refusal) => refusal.words().into_owned(),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(meaning(text, &Limits::default()), expected, "{text}");
}

#[track_caller]
fn check_set(text: &str, when: SetWhen, life: Life, answer: SetAnswer) {
    check(text, &format!("k=v {:?}", Act::Set(Set { when, life, answer })));
}

#[test]
fn set_takes_its_words_in_any_order() {
    use {Life::*, SetAnswer::*, SetWhen::*};
    check_set("set k v", Always, Ever, Done);
    check_set("SET k v nx", Absent, Ever, Done);
    check_set("SET k v GET XX", Present, Ever, Before);
    check_set("SET k v EX 10", Always, Until(1_010_000), Done);
    check_set("SET k v px 10 NX get", Absent, Until(1_000_010), Before);
    check_set("SET k v EXAT 7", Always, Until(7_000), Done);
    check_set("SET k v PXAT 7", Always, Until(7), Done);
    check_set("SET k v KEEPTTL", Always, Kept, Done);
    check_set("SET k v EX 10 EX 20", Always, Until(1_020_000), Done);
    check_set("SETNX k v", Absent, Ever, Count);
}

#[test]
fn set_refuses_what_redis_refuses() {
    for text in [
        "SET k v NX XX",
        "SET k v EX",
        "SET k v EX 1 PX 1",
        "SET k v KEEPTTL EX 1",
        "SET k v EX 1 KEEPTTL",
        "SET k v w",
    ] {
        check(text, "ERR syntax error");
    }
    for text in
        ["SET k v EX 0", "SET k v PX -1", "SET k v EX 9223372036854775807", "SET k v PX 9223372036854775807"]
    {
        check(text, "ERR invalid expire time in 'set' command");
    }
    check("SET k v EX ten", "ERR value is not an integer or out of range");
    check("SET k v EX ten WHAT", "ERR syntax error");
    check("SET k", "ERR wrong number of arguments for 'set' command");
}

#[test]
fn numbers_are_added_with_their_sign() {
    check("INCR n", "n Add(1)");
    check("DECR n", "n Add(-1)");
    check("INCRBY n -5", "n Add(-5)");
    check("DECRBY n -5", "n Add(5)");
    check("DECRBY n -9223372036854775808", "ERR decrement would overflow");
    check("INCRBY n 1.5", "ERR value is not an integer or out of range");
}

#[test]
fn keys_are_one_or_several() {
    check("DEL a", "a Del");
    check("DEL a b a", "Del a= b= a= of 3");
    check("EXISTS a b", "Exists a= b= of 2");
    check("MGET a", "Get a= of 1");
    check("MSET a 1 b 2", &format!("{:?} a=1 b=2 of 2", Act::Set(Set::default())));
    check("MSET a 1 b", "ERR wrong number of arguments for 'mset' command");
    check("DEL", "ERR wrong number of arguments for 'del' command");
}

#[test]
fn lifetimes_have_rules() {
    let expire = |at_ms, when| format!("k {:?}", Act::Expire { at_ms, when });
    let any = ExpireWhen::default();
    check("EXPIRE k 10", &expire(1_010_000, any));
    check("PEXPIRE k -2000000", &expire(-1_000_000, any));
    check("EXPIRE k 10 xx gt", &expire(1_010_000, ExpireWhen { present: true, longer: true, ..any }));
    check("EXPIRE k 10 GT LT", "ERR GT and LT options at the same time are not compatible");
    check("EXPIRE k 10 NX LT", "ERR NX and XX, GT or LT options at the same time are not compatible");
    check("EXPIRE k ten FOO", "ERR Unsupported option FOO");
    check("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command");
    check("PEXPIRE k 9223372036854775807", "ERR invalid expire time in 'pexpire' command");
}

#[test]
fn a_key_has_a_bound_in_every_command() {
    let limits = Limits { key_max: 3, ..Limits::default() };
    for text in ["GET long", "SET long v", "MGET a long", "DEL a long", "INCR long", "EXPIRE long 1"] {
        let expected = "ERR key is too long (maximum is 3 bytes)";
        assert_eq!(meaning(text, &limits), expected, "{text}");
    }
    assert_eq!(meaning("MSET abc long", &limits).split(' ').next_back(), Some("1"));
}

#[test]
fn what_needs_no_key_is_answered_here_or_by_all() {
    check("PING", "here Ping");
    check("QUIT with words", "here Quit");
    check("CLIENT ID", "here Client");
    check(
        "CLIENT LIST TYPE pubsub",
        "all Clients(Filter { is_none: true, numbers: None, from: None, at: None, user: None, skips_asker: false })",
    );
    check("DBSIZE", "whole Size");
    check("FLUSHALL ASYNC", "whole Flush");
    check("FLUSHALL NOW", "ERR syntax error");
    check("INFO server", "all Stats");
    check(
        "CONFIG SET maxclients 7",
        "all Change(Change { clients_max: Some(7), memory_max: None, policy: None, idle_max_s: None, slow_us: None, \
         slow_max: None, latency_ms: None })",
    );
    check("CONFIG SET save \"\"", "here Nothing");
    check("SLOWLOG GET", "all Slow(10)");
    check("SLOWLOG GET -1", "all Slow(128)");
    check("SLOWLOG GET 1000000", "all Slow(128)");
    check("LATENCY RESET command fork", "all LatencyForget([\"command\", \"fork\"])");
    check(
        "CONFIG SET maxclients 0",
        "ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 4294967295 inclusive",
    );
    check(
        "CONFIG SET databases 16",
        "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
    );
    check("SELECT 1", "ERR DB index is out of range");
}

#[test]
fn an_unknown_command_is_told_with_the_beginning_of_its_words() {
    check("foo a 'b c'", "ERR unknown command 'foo', with args beginning with: 'a' 'b c' ");
    let long = "x".repeat(200);
    let shown = "x".repeat(128);
    check(
        &format!("{long} {long} y"),
        &format!("ERR unknown command '{shown}', with args beginning with: '{shown}' "),
    );
    check("CLIENT FOO", "ERR unknown subcommand 'FOO'. Try CLIENT HELP.");
    check("CLIENT SETNAME", "ERR wrong number of arguments for 'client|setname' command");
}
