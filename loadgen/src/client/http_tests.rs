//! HTTP in simulated time: a server that answers in order, now and then with what is not right.

use super::Client;
use crate::http::{Ask, Typed};
use crate::plan::Load;
use crate::protocol::Dialect;
use crate::tally::Kind;
use crate::units::Mix;
use machine::{CoreId, NodeId};
use sim::{Faults, Say, Setup, World};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::Outcome;
use wire::http::{Body, Limits, RequestReader};

#[test]
fn responses_are_counted_by_what_is_wrong_with_them() {
    let target: SocketAddr = "10.9.0.1:80".parse().unwrap();
    let typed = Typed {
        method: "POST".to_owned(),
        host: target.to_string(),
        path: "/echo/{key}".to_owned(),
        headers: vec![],
        body: Some("{key}".to_owned()),
        statuses: (200, 200),
        holds: Some("fine".to_owned()),
    };
    let load = Load {
        dialect: Dialect::Http(Arc::new(Ask::mean(&typed, 16).unwrap())),
        targets: vec![target],
        connections: 4,
        pipeline: 3,
        requests: Some(600),
        duration: None,
        mix: Mix { get: 1, set: 0, del: 0 },
        preload: false,
        ..Load::default()
    };
    let mut world: World<Client> = World::new(1, Setup::new(load).faults(Faults::rough()));
    let mut asked = 0;
    world.serve_at(target, move |_: sim::Client, heard: &mut Vec<u8>, say: &mut Say| {
        loop {
            let Outcome::Done { value, used } = RequestReader::new(Limits::default()).next(heard) else {
                break;
            };
            let (path, framing) = (value.path().to_owned(), value.framing);
            let mut body = Body::new(framing, Limits::default());
            let mut at = used;
            while !body.is_done() && at < heard.len() {
                at += body.next(&heard[at..]).unwrap().used;
            }
            if !body.is_done() {
                break;
            }
            assert!(path == "/" || heard[used..at] == path.as_bytes()["/echo/".len()..], "{path}");
            heard.drain(..at);
            asked += u64::from(path != "/");
            say.bytes(match asked % 6 {
                1 => b"HTTP/1.1 500 Sorry\r\nContent-Length: 4\r\n\r\nfine",
                2 => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
                3 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
            });
        }
    });
    assert!(world.run_within(Duration::from_secs(60), |world| world.drained(NodeId(0))));
    let tally = &world.shard(NodeId(0), CoreId(0)).outcomes.tally;
    assert_eq!((tally.answered, tally.errors.sum()), (400, 200));
    assert_eq!((tally.errors.of(Kind::WrongStatus), tally.errors.of(Kind::WrongValue)), (100, 100));
}
