//! Jobs sent to a scheduler, as requests that an HTTP server is asked: each is acknowledged when it is durable, which is
//! what is measured. Every request is another job, so keys go one after another, and a run's keys are its own.

use crate::cli::RunArgs;
use crate::keys::Choice;

/// What a target of jobs begins with.
pub const SCHEME: &str = "jobs://";

/// The keys of a run where nobody says how many: more than it sends.
const KEYS: u64 = 100_000_000;

/// The job that does least.
const BODY: &str = r#"{"program":"true","interpreter":"sh"}"#;

/// The same as a target that speaks HTTP; what is none of jobs stays as it is.
#[must_use]
pub fn as_http(mut typed: RunArgs, seed: u64) -> RunArgs {
    let Some(addresses) = typed.target.strip_prefix(SCHEME) else { return typed };
    typed.target = format!("http://{}/api/v1/jobs", addresses.trim_end_matches('/'));
    typed.method.get_or_insert_with(|| "POST".to_owned());
    typed.body.get_or_insert_with(|| BODY.to_owned());
    typed.header.push("Content-Type: application/json".to_owned());
    typed.header.push(format!("Idempotency-Key: {:016x}-{{key}}", typed.seed.unwrap_or(seed)));
    typed.expect_status = (201, 201);
    typed.key_choice = Choice::Sequential;
    typed.keys = typed.keys.max(KEYS);
    typed
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Words {
        #[command(flatten)]
        run: RunArgs,
    }

    #[test]
    fn a_job_is_a_post_with_a_key_of_its_own() {
        let typed =
            Words::try_parse_from(["x", "jobs://127.0.0.1:3001", "--seed", "7"]).expect("it is right");
        let meant = as_http(typed.run, 1);
        assert_eq!(meant.target, "http://127.0.0.1:3001/api/v1/jobs");
        assert_eq!(meant.method.as_deref(), Some("POST"));
        assert!(meant.header.contains(&"Idempotency-Key: 0000000000000007-{key}".to_owned()));
        let other = Words::try_parse_from(["x", "http://127.0.0.1:3001/a"]).expect("it is right");
        assert_eq!(as_http(other.run, 1).target, "http://127.0.0.1:3001/a");
    }
}
