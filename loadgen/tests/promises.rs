//! What a server promised and did not keep is found out: a register that answers from an old copy, a store that forgets
//! what it acknowledged. And one that keeps its word is not blamed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

/// A server of values, and the copy from which it answers when it is broken.
#[derive(Default)]
struct Store {
    values: Values,
    copy: Option<Values>,
}

type Shared = Arc<Mutex<Store>>;

fn serve(store: &Shared) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let store = store.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (store, stream) = (store.clone(), stream.unwrap());
            std::thread::spawn(move || answer(stream, &store));
        }
    });
    address
}

fn answer(mut stream: TcpStream, store: &Shared) {
    stream.set_nodelay(true).unwrap();
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        heard.extend_from_slice(&chunk[..count]);
        let mut replies = Vec::new();
        while let Some((used, words)) = request(&heard) {
            heard.drain(..used);
            replies.extend(reply(&words, &mut store.lock().unwrap()));
        }
        if stream.write_all(&replies).is_err() {
            return;
        }
    }
}

/// The first whole request, an array of bulk strings: its length and its words.
fn request(bytes: &[u8]) -> Option<(usize, Vec<Vec<u8>>)> {
    let line = |at: usize| {
        let end = bytes[at..].windows(2).position(|pair| pair == b"\r\n")? + at;
        let number: usize = std::str::from_utf8(&bytes[at + 1..end]).ok()?.parse().ok()?;
        Some((number, end + 2))
    };
    let (count, mut at) = line(0)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, from) = line(at)?;
        words.push(bytes.get(from..from + length)?.to_vec());
        at = from + length + 2;
    }
    (at <= bytes.len()).then_some((at, words))
}

fn reply(words: &[Vec<u8>], store: &mut Store) -> Vec<u8> {
    match &words[0][..] {
        b"PING" => b"+PONG\r\n".to_vec(),
        b"SET" => {
            store.values.insert(words[1].clone(), words[2].clone());
            b"+OK\r\n".to_vec()
        }
        b"GET" => match store.copy.as_ref().unwrap_or(&store.values).get(&words[1]) {
            Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
            None => b"$-1\r\n".to_vec(),
        },
        _ => b"-ERR unknown\r\n".to_vec(),
    }
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loadgen-promises-{name}-{}", std::process::id()))
}

fn loadgen(line: &str) -> Output {
    let words = line.split_whitespace();
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(words).output().unwrap();
    assert!(output.status.code().is_some(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What `loadgen check` says of two seconds of this store, and its status.
fn checked(name: &str, store: &Shared) -> (String, Option<i32>) {
    let (target, file) = (serve(store), path(name));
    let file = file.display();
    let run = loadgen(&format!(
        "run resp://{target} -c 8 -k 10 -m get=50,set=50 -d 2s --rate 4k --seed 1 --history {file}"
    ));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let check = loadgen(&format!("check {file}"));
    std::fs::remove_file(path(name)).unwrap();
    (String::from_utf8_lossy(&check.stdout).into_owned(), check.status.code())
}

#[test]
fn a_register_is_told_from_one_that_answers_from_an_old_copy() {
    let right = Shared::default();
    let (said, status) = checked("right", &right);
    assert!(said.ends_with("\nLINEARIZABLE\n") && status == Some(0), "{status:?} {said}");

    let broken = Shared::default();
    let copied = broken.clone();
    std::thread::spawn(move || {
        while Arc::strong_count(&copied) > 1 {
            std::thread::sleep(Duration::from_millis(20));
            let mut store = copied.lock().unwrap();
            store.copy = Some(store.values.clone());
        }
    });
    let (said, status) = checked("broken", &broken);
    assert!(said.contains("NOT LINEARIZABLE: 10 keys") && status == Some(10), "{status:?} {said}");
    assert!(said.contains("key 0: version "), "{said}");
}

/// Two runs: in the second the store goes back to what it held half a second before, and says so by UDP.
#[test]
fn acknowledged_writes_that_are_gone_are_counted() {
    for forgets in [false, true] {
        let store = Shared::default();
        let (target, out) = (serve(&store), path(if forgets { "forgets" } else { "keeps" }));
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let heard_at = free.local_addr().unwrap();
        drop(free);
        let forgetting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(2_500));
            let old = store.lock().unwrap().values.clone();
            std::thread::sleep(Duration::from_millis(500));
            if forgets {
                store.lock().unwrap().values = old;
            }
            say("went back", heard_at);
        });
        // Few writes to many keys: most of what is lost is not written again before the end.
        let run = loadgen(&format!(
            "run resp://{target} -c 8 -k 2000 -m get=50,set=50 -d 4s --rate 1k --seed 1 --events {heard_at} -o {}",
            out.display()
        ));
        forgetting.join().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let text = std::fs::read_to_string(out.join("run.json")).unwrap();
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let writes = &found["writes"];
        assert!(writes["acknowledged"].as_u64() > Some(1_500), "{writes}");
        assert_eq!(writes["unread_keys"], 0, "{writes}");
        assert_eq!(writes["lost"].as_u64() > Some(50), forgets, "{writes}");
        assert!(forgets || writes["lost"] == 0, "{writes}");
        let events = std::fs::read_to_string(out.join("events.csv")).unwrap();
        assert!(events.contains(",went back: "), "{events}");
        std::fs::remove_dir_all(out).unwrap();
    }
}

fn say(word: &str, to: SocketAddr) {
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(word.as_bytes(), to).unwrap();
}
