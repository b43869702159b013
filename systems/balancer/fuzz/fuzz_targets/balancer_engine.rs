//! Any engine: whatever it answers, in whatever cuts and order, nothing panics, and when it is gone everybody who asked
//! for a container was told once.
#![no_main]

#[path = "../../tests/outside/desk.rs"]
mod desk;

use balancer::config::Docker;
use balancer::docker::{Engine, Farewell, News};
use balancer::peer::Tenancy;
use balancer::spread::Seat;
use desk::Desk;
use libfuzzer_sys::fuzz_target;
use machine::{ConnId, Input, Instant, Now, Signal};
use std::collections::BTreeMap;
use std::time::Duration;

/// Answers that lead further than chance would.
const ANSWERS: [&str; 8] = [
    "{}",
    r#"{"ApiVersion":"1.52","MinAPIVersion":"1.44"}"#,
    r#"[{"Id":"aa"},{"Id":"../b"},{"Id":7}]"#,
    r#"{"Id":"dd"}"#,
    r#"{"Id":"cc","Config":{"Labels":{"label":"net"}}}"#,
    r#"{"State":{"Running":true},"NetworkSettings":{"Networks":{"net":{"IPAddress":"10.0.0.9"}}}}"#,
    r#"{"State":{"Running":false,"ExitCode":3}}"#,
    "{\"Actor\":{\"ID\":\"dd\",\"Attributes\":{\"exitCode\":\"137\"}}}\n{",
];
const STATUSES: [u16; 8] = [200, 201, 204, 304, 404, 409, 500, 100];

struct Talk {
    engine: Engine,
    out: Desk,
    left: BTreeMap<ConnId, Vec<u8>>,
    lives: u32,
    seconds: u64,
    made: BTreeMap<u32, u32>,
    ended: BTreeMap<u32, u32>,
}

impl Talk {
    fn now(&self) -> Now {
        Now { at: Instant::ZERO + Duration::from_secs(self.seconds), ..Now::default() }
    }

    fn hear(&mut self, conn: ConnId, bytes: &[u8]) {
        let left = self.left.entry(conn).or_default();
        left.extend_from_slice(bytes);
        let bytes = std::mem::take(left);
        let mut input = Input::lent(&bytes, Instant::ZERO, None);
        let now = Now { at: Instant::ZERO + Duration::from_secs(self.seconds), ..Now::default() };
        self.engine.on_bytes(now, conn, &mut input, &mut self.out);
        let rest = input.bytes().to_vec();
        self.left.insert(conn, rest);
    }

    fn tenancy(&mut self) -> Tenancy {
        self.lives += 1;
        Tenancy { seat: Seat(0), life: self.lives }
    }

    fn take(&mut self) {
        for news in self.engine.news() {
            match news {
                News::Made(Tenancy { life, .. }, _) => *self.made.entry(life).or_default() += 1,
                News::Ended(Tenancy { life, .. }) => *self.ended.entry(life).or_default() += 1,
                News::Died(..) => {}
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let docker = Docker {
        socket: "/run/docker.sock".into(),
        image: "image".into(),
        network: "net".into(),
        port: 5000,
        label: "label".into(),
        seccomp: None,
    };
    let mut talk = Talk {
        engine: Engine::new(&docker, Duration::from_secs(5), Signal::Interrupt),
        out: Desk::default(),
        left: BTreeMap::new(),
        lives: 0,
        seconds: 1,
        made: BTreeMap::new(),
        ended: BTreeMap::new(),
    };
    let (mut created, mut discarded) = (Vec::new(), Vec::new());
    let mut rest = data;
    while let Some((&[order, detail], after)) = rest.split_first_chunk::<2>() {
        rest = after;
        let conn = talk.out.nth(usize::from(detail & 7));
        let now = talk.now();
        match (order % 8, conn) {
            (0, _) => {
                let tenancy = talk.tenancy();
                created.push(tenancy.life);
                talk.engine.create(tenancy, "S5", now, &mut talk.out);
            }
            (1, _) => {
                let tenancy = talk.tenancy();
                discarded.push(tenancy.life);
                let farewell = if detail & 8 == 0 { Farewell::Polite } else { Farewell::Curt };
                talk.engine.discard(tenancy, "dd", farewell, now, &mut talk.out);
            }
            (2, _) => {
                talk.seconds += u64::from(detail);
                let now = talk.now();
                talk.engine.tick(now, &mut talk.out);
            }
            (3, Some(conn)) => {
                talk.engine.on_end(now, conn, &mut talk.out);
                talk.out.open.remove(&conn);
            }
            (4 | 5, Some(conn)) => {
                let count = usize::from(order >> 3).min(rest.len());
                let bytes = &rest[..count];
                rest = &rest[count..];
                talk.hear(conn, bytes);
            }
            (_, Some(conn)) => {
                let body = ANSWERS[usize::from(detail >> 3) % ANSWERS.len()];
                let status = STATUSES[usize::from(order >> 3) % STATUSES.len()];
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                talk.hear(conn, answer.as_bytes());
            }
            (_, None) => {}
        }
        talk.take();
    }
    while let Some(conn) = talk.out.nth(0) {
        let now = talk.now();
        talk.engine.on_end(now, conn, &mut talk.out);
        talk.out.open.remove(&conn);
        talk.take();
    }
    for life in created {
        assert_eq!(talk.made.get(&life), Some(&1), "{life} was told once whether it was made");
    }
    for life in discarded {
        assert_eq!(talk.ended.get(&life), Some(&1), "{life} was told once that it is gone");
    }
});
