//! What a balancer leaves at a Docker engine when it is killed: containers that nobody stops, and their network.
//!
//! It exists because a program that is killed cannot stop what the engine runs for it; so its keeper, which outlives
//! it, does this as its last act, and whoever wants to clean up can do it by hand. The hard thing is to touch nothing
//! else: only what carries the balancer's label with the network's name goes.

use reactor::Fatal;
use serde_json::{Value, json};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// What marks containers and networks as ours; its value is the network's name.
pub const LABEL: &str = "ringwise.balancer";

/// Until the engine has done what one call asks for; removing what runs takes it a moment.
const ANSWER: Duration = Duration::from_secs(10);

/// A container that was being created when its balancer was killed appears a moment later: looked for again after this.
const LATECOMERS: Duration = Duration::from_millis(200);

/// So often; who creates them meanwhile is alive.
const ROUNDS_MAX: usize = 10;

/// Bytes of an answer.
const ANSWER_MAX: u64 = 4 << 20;

/// Whose leftovers, and where.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The engine's socket.
    pub socket: PathBuf,
    /// The network of the replicas.
    pub network: String,
}

impl Sweep {
    /// Removes every container and every network that carries the label; says how many.
    ///
    /// # Errors
    /// Status 3 when there is no engine, status 1 when it refused.
    pub fn run(&self) -> Result<(usize, usize), Fatal> {
        let filter = escaped(&json!({ "label": [format!("{LABEL}={}", self.network)] }).to_string());
        let mut removed = 0;
        for round in 0..ROUNDS_MAX {
            let containers = self.ids(&format!("/containers/json?all=true&filters={filter}"))?;
            if containers.is_empty() && round > 0 {
                break;
            }
            for id in &containers {
                self.done("DELETE", &format!("/containers/{id}?force=true&v=true"))?;
            }
            removed += containers.len();
            std::thread::sleep(LATECOMERS);
        }
        let networks = self.ids(&format!("/networks?filters={filter}"))?;
        for id in &networks {
            self.done("DELETE", &format!("/networks/{id}"))?;
        }
        Ok((removed, networks.len()))
    }

    fn ids(&self, path: &str) -> Result<Vec<String>, Fatal> {
        let said = self.done("GET", path)?;
        let ids = said.as_array().into_iter().flatten().filter_map(|each| each["Id"].as_str());
        let is_id = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(ids.filter(is_id).map(str::to_owned).collect())
    }

    /// A call that must succeed; that what should go is gone already is as good.
    fn done(&self, method: &str, path: &str) -> Result<Value, Fatal> {
        let (status, body) = self.ask(method, path).map_err(|error| self.absent(&error))?;
        let said: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        match status {
            200..=299 | 404 => Ok(said),
            _ => Err(Fatal::machine(format!(
                "the Docker Engine at {} answered {status}: {}",
                self.socket.display(),
                said["message"].as_str().unwrap_or("no reason")
            ))),
        }
    }

    /// Whether an engine is there.
    ///
    /// # Errors
    /// Status 3 with a sentence when it is not.
    pub fn find_engine(&self) -> Result<(), Fatal> {
        UnixStream::connect(&self.socket).map(drop).map_err(|error| self.absent(&error))
    }

    fn absent(&self, error: &io::Error) -> Fatal {
        Fatal::machine(format!(
            "no Docker Engine answers at {}: {error}; start it, or say where it is by --docker-socket",
            self.socket.display()
        ))
    }

    /// One call: the status and the body. By HTTP/1.0, so that the answer ends with its connection.
    fn ask(&self, method: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
        let mut engine = UnixStream::connect(&self.socket)?;
        engine.set_read_timeout(Some(ANSWER))?;
        engine.set_write_timeout(Some(ANSWER))?;
        write!(engine, "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n")?;
        let mut heard = Vec::new();
        engine.take(ANSWER_MAX).read_to_end(&mut heard)?;
        read_answer(&heard).ok_or_else(|| io::Error::other("what it says is not HTTP"))
    }
}

/// The status and the body of a whole answer.
fn read_answer(heard: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&heard[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some((status, heard[end + 4..].to_vec()))
}

/// With escapes for all but what may stand in a query as it is.
fn escaped(text: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    text.bytes()
        .map(|byte| if allowed(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_or_it_is_none() {
        let whole = b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\n{\"message\":\"no\"}";
        assert_eq!(read_answer(whole), Some((404, b"{\"message\":\"no\"}".to_vec())));
        let head = whole.len() - 16;
        for cut in 0..head {
            assert_eq!(read_answer(&whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(read_answer(b"ICY 200 OK\r\n\r\n"), None);
        assert_eq!(escaped("{\"a\":[\"b=c\"]}"), "%7B%22a%22%3A%5B%22b%3Dc%22%5D%7D");
    }
}
