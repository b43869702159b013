//! The real program under load, killed, its power cut, its disk full, started again on as many cores or on others:
//! what it had acknowledged is there, and what several cores did as one is there whole or not at all.

mod kept;

use kept::{HEARD_MIN, PROGRAM, Scratch, Server, judge, load, times};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// For what is waited for; what holds takes far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kills while writers write and snapshots are made; `RINGWISE_KILLS` says how many.
#[test]
fn killed_under_load_it_comes_back_with_all_it_acknowledged_on_as_many_cores_or_others() {
    let both = reactor::allowed_cores().iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let first = reactor::allowed_cores()[0].to_string();
    let ways = [(&both, &both), (&both, &first), (&first, &both)];
    for (kill, (before, after)) in ways.into_iter().cycle().take(times("RINGWISE_KILLS", 3)).enumerate() {
        let scratch = Scratch::new("killed");
        let options = |cores| ["--durability", "sync", "--snapshot-after", "150kb", "--cores", cores];
        let server = Server::start(&scratch.0, &options(before));
        // Some while a snapshot has just begun, some in its middle, some after it.
        let said = load(&server, None, Duration::from_millis(500 + kill as u64 * 37 % 200), true);
        drop(server);
        let heard: Vec<usize> = said.iter().map(|said| said.heard.len()).collect();
        assert!(heard.iter().all(|heard| *heard >= HEARD_MIN), "{heard:?}");
        // And once more, from what is now of two eras or of a snapshot.
        for saves in [true, false] {
            let server = Server::start(&scratch.0, &options(after));
            for (writer, said) in said.iter().enumerate() {
                judge(&mut server.connect(), writer, said.heard.len(), said.sent)
                    .unwrap_or_else(|why| panic!("kill {kill}, writer {writer}: {why}"));
            }
            if saves {
                save(&server);
            }
            server.kill();
        }
        let eras = fs::read_dir(&scratch.0).expect("it is there").count();
        assert_eq!(eras, 1, "what a snapshot on other cores stands for is removed");
    }
}

/// Saves, after the snapshot that may be under way by itself.
fn save(server: &Server) {
    let began = Instant::now();
    loop {
        let said = server.connect().ask("SAVE");
        if said == "+OK" {
            return;
        }
        assert_eq!(said, "-ERR Background save already in progress");
        assert!(began.elapsed() < PATIENCE, "a snapshot that began by itself does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_to_be_kept_wants_a_place() {
    let ended = Command::new(PROGRAM).args(["serve", "--port", "0", "--durability", "sync"]).output();
    let ended = ended.expect("the program is built");
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("--data"), "{ended:?}");
}

#[test]
fn damage_is_exit_status_5_and_a_sentence() {
    let scratch = Scratch::new("damage");
    let server = Server::start(&scratch.0, &["--durability", "sync"]);
    load(&server, None, Duration::from_millis(200), true);
    drop(server);
    let check = Command::new(PROGRAM).arg("check").arg(&scratch.0).output().expect("the program is built");
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    assert!(String::from_utf8_lossy(&check.stdout).contains("core 0: "), "{check:?}");
    let era = fs::read_dir(&scratch.0)
        .expect("it is there")
        .next()
        .expect("an era")
        .expect("it can be read")
        .path();
    for entry in fs::read_dir(era).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let mut bytes = fs::read(&path).expect("it can be read");
        if bytes.len() > 2000 && bytes.starts_with(b"RINGWISE") {
            bytes[300] ^= 1;
            fs::write(&path, &bytes).expect("it can be written");
        }
    }
    let check = Command::new(PROGRAM).arg("check").arg(&scratch.0).output().expect("the program is built");
    assert_eq!(check.status.code(), Some(5), "{check:?}");
    let ended = Command::new(PROGRAM)
        .args(["serve", "--port", "0", "--durability", "sync", "--data"])
        .arg(&scratch.0)
        .output()
        .expect("the program is built");
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("damaged"), "{ended:?}");
}

#[test]
fn a_table_travels_through_a_file_into_other_cores_with_its_ends() {
    let (scratch, other) = (Scratch::new("export"), Scratch::new("import"));
    let server = Server::start(&scratch.0, &["--durability", "batch"]);
    let mut talk = server.connect();
    for number in 0..500 {
        assert_eq!(talk.ask(&format!("SET key{number} value{number}")), "+OK");
    }
    assert_eq!(talk.ask("PEXPIREAT key1 33333333333333"), ":1");
    assert_eq!(talk.ask("DEL key2"), ":1");
    assert_eq!(talk.ask("SAVE"), "+OK");
    assert_eq!(talk.ask("SET key3 after"), "+OK");
    let program = || Command::new(PROGRAM);
    let exported = |from: &str| program().args(["export", from]).output().expect("the program is built");
    let running = exported(&scratch.0.display().to_string());
    assert_eq!(running.status.code(), Some(5), "{running:?}");
    assert!(String::from_utf8_lossy(&running.stderr).contains("stop it first"), "{running:?}");
    let asked = exported(&server.resp);
    assert_eq!(asked.status.code(), Some(0), "{:?}", asked.stderr);
    let ended = Command::new("kill").arg(server.child.id().to_string()).status().expect("kill is there");
    assert!(ended.success());
    let mut server = server;
    server.child.wait().expect("it ends");
    let read = exported(&scratch.0.display().to_string());
    assert_eq!(read.status.code(), Some(0), "{:?}", read.stderr);
    let sorted = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).expect("it is text");
        let mut requests: Vec<String> = text.split("*").map(str::to_owned).collect();
        requests.sort();
        requests
    };
    assert_eq!(sorted(&read.stdout), sorted(&asked.stdout));
    let file = other.0.join("table");
    fs::write(&file, &read.stdout).expect("it can be written");
    let first = reactor::allowed_cores()[0].to_string();
    let server = Server::start(&other.0.join("data"), &["--durability", "sync", "--cores", &first]);
    let import = |file: &std::path::Path| {
        program().arg("import").arg(file).args(["--to", &server.resp]).output().expect("the program is built")
    };
    let imported = import(&file);
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    assert!(String::from_utf8_lossy(&imported.stderr).contains("imported 499 keys"), "{imported:?}");
    let mut talk = server.connect();
    assert_eq!(talk.ask("DBSIZE"), ":499");
    assert_eq!(talk.ask("PEXPIRETIME key1"), ":33333333333333");
    assert_eq!(talk.get_all(&["key3".to_owned()])["key3"], "after");
    // What is none, or only a part of one, is told with the place.
    for (bytes, words) in [
        (&read.stdout[..read.stdout.len() - 3], "it is cut"),
        (&b"SET a b\r\n"[..], "no file of requests at byte 0"),
        (&b"*1\r\n$4\r\nNOPE\r\n"[..], "refused 1"),
    ] {
        fs::write(&file, bytes).expect("it can be written");
        let imported = import(&file);
        assert_eq!(imported.status.code(), Some(5), "{imported:?}");
        assert!(String::from_utf8_lossy(&imported.stderr).contains(words), "{imported:?}");
    }
    let nobody = exported("127.0.0.1:1");
    assert_eq!(nobody.status.code(), Some(5), "{nobody:?}");
}

#[test]
fn shutdown_with_save_leaves_a_snapshot_and_a_short_log() {
    for durability in ["memory", "batch", "sync"] {
        let scratch = Scratch::new("shutdown");
        let mut server = Server::start(&scratch.0, &["--durability", durability]);
        let mut talk = server.connect();
        for number in 0..100 {
            assert_eq!(talk.ask(&format!("SET key{number} value")), "+OK");
        }
        use std::io::Write as _;
        talk.stream.write_all(b"SHUTDOWN SAVE\r\n").expect("it reads");
        assert_eq!(talk.line(), None, "it ends without an answer");
        assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
        let check =
            Command::new(PROGRAM).arg("check").arg(&scratch.0).output().expect("the program is built");
        let told = String::from_utf8_lossy(&check.stdout);
        assert!(told.contains("100 keys"), "{told}");
        let server = Server::start(&scratch.0, &["--durability", durability]);
        let mut talk = server.connect();
        assert_eq!(talk.ask("DBSIZE"), ":100");
        assert_eq!(talk.ask("SHUTDOWN NOSAVE NOW SAVE"), "-ERR syntax error");
    }
}
