//! Jobs sent to a scheduler, as requests that an HTTP server is asked: each is acknowledged when it is durable, which is
//! what is measured. Every request is another job, so none carries an Idempotency-Key: a run that is repeated with its
//! seed would else be answered from what the scheduler remembers.

use crate::cli::RunArgs;

/// What a target of jobs begins with.
pub const SCHEME: &str = "jobs://";

/// The job that does least.
const BODY: &str = r#"{"program":"true","interpreter":"sh"}"#;

/// The same as a target that speaks HTTP; what is none of jobs stays as it is.
#[must_use]
pub fn as_http(mut typed: RunArgs) -> RunArgs {
    let Some(addresses) = typed.target.strip_prefix(SCHEME) else { return typed };
    typed.target = format!("http://{}/api/v1/jobs", addresses.trim_end_matches('/'));
    typed.method.get_or_insert_with(|| "POST".to_owned());
    typed.body.get_or_insert_with(|| BODY.to_owned());
    typed.header.push("Content-Type: application/json".to_owned());
    typed.expect_status = (201, 201);
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
    fn a_job_is_a_post_that_nobody_takes_for_another() {
        let typed =
            Words::try_parse_from(["x", "jobs://127.0.0.1:3001", "--seed", "7"]).expect("it is right");
        let meant = as_http(typed.run);
        assert_eq!(meant.target, "http://127.0.0.1:3001/api/v1/jobs");
        assert_eq!(meant.method.as_deref(), Some("POST"));
        assert_eq!(meant.header, ["Content-Type: application/json"]);
        let other = Words::try_parse_from(["x", "http://127.0.0.1:3001/a"]).expect("it is right");
        assert_eq!(as_http(other.run).target, "http://127.0.0.1:3001/a");
    }
}
