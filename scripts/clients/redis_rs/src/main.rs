//! The Rust library `redis`, plain and in its cluster form, unmodified. RESP and CORES come from _beside.py.
//!
//! The cluster form is given the shared port alone and must find the cores' own ports by itself.

#![forbid(unsafe_code)]

use redis::cluster::{ClusterClient, ClusterConnection, cluster_pipe};
use redis::{Commands, Connection, ExistenceCheck, RedisResult, SetExpiry, SetOptions};
use std::process::ExitCode;
use std::time::Duration;

type Test = fn() -> Result<(), Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(30);
const KEYS: usize = 1000;

fn main() -> ExitCode {
    let tests: [(&str, Test); 6] = [
        ("strings and expiry", strings_and_expiry),
        ("several keys over all cores", several_keys),
        ("a pipeline in order", a_pipeline),
        ("RESP3 and errors", resp3_and_errors),
        ("the cluster and every key in it", cluster_keys),
        ("the cluster takes pipelines and hash tags", cluster_pipelines),
    ];
    let mut failed = 0;
    for (name, test) in tests {
        match test() {
            Ok(()) => println!("  {name}: held"),
            Err(error) => {
                failed += 1;
                // A pipeline's error lists every request of it.
                println!("  {name}: FAILED: {:.500}", error.to_string());
            }
        }
    }
    println!("  {} held, {failed} failed", tests.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The value that holds, or a sentence.
#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    let line = std::panic::Location::caller().line();
    if found == expected { Ok(()) } else { Err(format!("line {line}: {found:?}, expected {expected:?}")) }
}

fn address(path: &str) -> Result<String, std::env::VarError> {
    Ok(format!("redis://{}/{path}", std::env::var("RESP")?))
}

fn plain(path: &str) -> Result<Connection, Box<dyn std::error::Error>> {
    Ok(redis::Client::open(address(path)?)?.get_connection_with_timeout(PATIENCE)?)
}

fn cluster() -> Result<ClusterConnection, Box<dyn std::error::Error>> {
    Ok(ClusterClient::new(vec![address("")?])?.get_connection()?)
}

fn strings_and_expiry() -> Result<(), Box<dyn std::error::Error>> {
    let mut r = plain("")?;
    let options = SetOptions::default().with_expiration(SetExpiry::EX(100)).get(true);
    check(r.set_options::<_, _, Option<String>>("k", "v", options)?, None)?;
    let options = SetOptions::default().conditional_set(ExistenceCheck::NX);
    check(r.set_options::<_, _, Option<String>>("k", "w", options)?, None)?;
    check(r.get::<_, Vec<u8>>("k")?, b"v".to_vec())?;
    check((1..=100).contains(&r.ttl::<_, i64>("k")?), true)?;
    check(r.persist::<_, bool>("k")?, true)?;
    check(r.append::<_, _, usize>("k", "\0\r\n")?, 4)?;
    r.rename::<_, _, ()>("k", "moved")?;
    check(r.incr::<_, _, f64>("f", 0.5)?, 0.5)?;
    Ok(check(r.del::<_, usize>(&["moved", "f"])?, 2)?)
}

fn several_keys() -> Result<(), Box<dyn std::error::Error>> {
    let mut r = plain("")?;
    let pairs: Vec<(String, usize)> = (0..KEYS).map(|number| (format!("several:{number}"), number)).collect();
    let keys: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();
    r.mset::<_, _, ()>(&pairs)?;
    check(r.mget::<_, Vec<usize>>(&keys)?, (0..KEYS).collect())?;
    let scanned = r.scan_match::<_, String>("several:*")?.collect::<RedisResult<Vec<String>>>()?;
    let distinct: std::collections::BTreeSet<String> = scanned.into_iter().collect();
    check(distinct.len(), KEYS)?;
    Ok(check(r.unlink::<_, usize>(&keys)?, KEYS)?)
}

fn a_pipeline() -> Result<(), Box<dyn std::error::Error>> {
    let mut pipeline = redis::pipe();
    for number in 0..KEYS {
        pipeline.set(format!("p{number}"), number).ignore().incr(format!("p{number}"), 1);
    }
    Ok(check(pipeline.query::<Vec<usize>>(&mut plain("")?)?, (1..=KEYS).collect())?)
}

fn resp3_and_errors() -> Result<(), Box<dyn std::error::Error>> {
    let mut r = plain("?protocol=resp3")?;
    r.set::<_, _, ()>("word", "not a number")?;
    check(r.get::<_, Option<String>>("missing")?, None)?;
    let Err(error) = r.incr::<_, _, i64>("word", 1) else { return Err("counted a word".into()) };
    check(error.to_string().contains("not an integer or out of range"), true)?;
    let Err(error) = redis::cmd("NOSUCH").query::<()>(&mut r) else { return Err("did NOSUCH".into()) };
    Ok(check(error.to_string().contains("unknown command"), true)?)
}

fn cluster_keys() -> Result<(), Box<dyn std::error::Error>> {
    let mut r = cluster()?;
    for number in 0..KEYS {
        r.set::<_, _, ()>(format!("c{number}"), number)?;
    }
    for number in 0..KEYS {
        check(r.get::<_, usize>(format!("c{number}"))?, number)?;
    }
    let keys: Vec<String> = (0..KEYS).map(|number| format!("c{number}")).collect();
    // The library asks each owner for its keys and puts the answers together.
    check(r.mget::<_, Vec<usize>>(&keys)?, (0..KEYS).collect())?;
    Ok(check(r.del::<_, usize>(&keys)?, KEYS)?)
}

fn cluster_pipelines() -> Result<(), Box<dyn std::error::Error>> {
    let mut r = cluster()?;
    r.mset::<_, _, ()>(&[("{t}a", 1), ("{t}b", 2)])?;
    check(r.mget::<_, Vec<Option<i64>>>(&["{t}a", "{t}b", "{t}c"])?, vec![Some(1), Some(2), None])?;
    let mut pipeline = cluster_pipe();
    for number in 0..KEYS {
        pipeline.set(format!("q{number}"), number).ignore().incr(format!("q{number}"), 1);
    }
    Ok(check(pipeline.query::<Vec<usize>>(&mut r)?, (1..=KEYS).collect())?)
}
