//! Every frame as it was meant, every cut of it, and what is refused.

use super::*;

const TASK: TaskId = TaskId([7; 16]);
const SESSION: Session = Session(u64::MAX - 1);

fn registration() -> Registration<'static> {
    Registration {
        worker: [3; 16],
        mode: Mode::Pull,
        slots: 4,
        window: 64,
        pid: 4711,
        python: "3.11.7",
        dill: "0.3.8",
        token: "",
        jails: Jail::NoNetwork.bit() | Jail::Memory.bit(),
        remarks: "own-user: not started as root",
    }
}

fn tasks() -> Vec<Task<'static>> {
    let first = Task {
        id: TASK,
        attempt: 1,
        function: FunctionId([9; 16]),
        timeout: Duration::from_millis(60_000),
        code: Some(b"a function"),
        payload: b"arguments",
    };
    vec![
        first,
        Task { id: TaskId([8; 16]), attempt: 3, timeout: Duration::ZERO, code: None, payload: b"", ..first },
    ]
}

fn reports() -> Vec<Report<'static>> {
    let with =
        |ended| Report { task: TASK, attempt: 2, started_us: 40, ran_us: u64::MAX, ended, printed: b"hi\n" };
    vec![
        with(Ended::Completed(b"value")),
        with(Ended::Failed { kind: FailureKind::Raised, words: "ValueError: å", raised: b"exception" }),
        with(Ended::Returned { why: Returned::SlotLost, words: "" }),
    ]
}

fn frame_of_tasks(tasks: &[Task<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut frame = TaskFrame::begin(&mut bytes);
    for task in tasks {
        let before = frame.length();
        frame.push(task);
        assert_eq!(frame.length() - before, task.length());
    }
    frame.end();
    bytes
}

fn frame_of_reports(reports: &[Report<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut frame = ReportFrame::begin(&mut bytes, SESSION);
    reports.iter().for_each(|report| frame.push(report));
    frame.end();
    bytes
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

/// One frame of each kind and variant.
fn frames() -> Vec<Vec<u8>> {
    vec![
        written(|into| write_registration(into, &registration())),
        written(|into| write_request(into, 17)),
        frame_of_tasks(&tasks()),
        frame_of_tasks(&[]),
        written(write_no_task),
        frame_of_reports(&reports()),
        written(|into| write_welcome(into, Duration::from_millis(500), SESSION)),
        written(|into| write_refused(into, "no such token")),
        written(|into| write_taken(into, &[(TASK, 1), (TASK, 2)])),
        written(|into| write_heartbeat(into, Heartbeat { running: 1, waiting: 2, is_leaving: true })),
        written(|into| write_cancel(into, TASK, 5)),
    ]
}

fn done(bytes: &[u8]) -> Message<'_> {
    match read(bytes) {
        Outcome::Done { value, used } if used == bytes.len() => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn frames_arrive_as_they_were_meant() {
    let frames = frames();
    let heard: Vec<Message<'_>> = frames.iter().map(|bytes| done(bytes)).collect();
    assert_eq!(heard[0], Message::Registration(registration()));
    assert_eq!(registration().jails().collect::<Vec<_>>(), [Jail::Memory, Jail::NoNetwork]);
    assert_eq!(heard[1], Message::RequestTask { more: 17 });
    let Message::NewTask(heard_tasks) = heard[2].clone() else { panic!("{:?}", heard[2]) };
    assert_eq!(heard_tasks.collect::<Vec<_>>(), tasks());
    let Message::NewTask(mut none) = heard[3].clone() else { panic!("{:?}", heard[3]) };
    assert_eq!(none.next(), None);
    assert_eq!(heard[4], Message::NoTask);
    let Message::ResultReady { session, reports: heard_reports } = heard[5].clone() else {
        panic!("{:?}", heard[5])
    };
    assert_eq!(session, SESSION);
    assert_eq!(heard_reports.collect::<Vec<_>>(), reports());
    assert_eq!(
        heard[6],
        Message::Ack(Ack::Welcome { heartbeat: Duration::from_millis(500), session: SESSION })
    );
    assert_eq!(heard[7], Message::Ack(Ack::Refused("no such token")));
    let Message::Ack(Ack::Reports(taken)) = heard[8].clone() else { panic!("{:?}", heard[8]) };
    assert_eq!(taken.collect::<Vec<_>>(), [(TASK, 1), (TASK, 2)]);
    assert_eq!(heard[9], Message::Heartbeat(Heartbeat { running: 1, waiting: 2, is_leaving: true }));
    assert_eq!(heard[10], Message::Cancel(TASK, 5));
}

#[test]
fn a_cut_is_never_a_fault() {
    for bytes in frames() {
        for cut in 0..bytes.len() {
            match read(&bytes[..cut]) {
                Outcome::Partial { need } => {
                    assert!(cut < need && need <= bytes.len(), "cut at {cut}: {need}")
                }
                other => panic!("cut at {cut}: {other:?}"),
            }
        }
        let twice = [&bytes[..], &bytes[..]].concat();
        assert!(matches!(read(&twice), Outcome::Done { used, .. } if used == bytes.len()));
    }
}

/// Whatever is cut out of a body, while its header says so, is told and no panic.
#[test]
fn every_shortened_and_every_lengthened_body_is_told() {
    for bytes in frames() {
        for length in HEADER..bytes.len() {
            let mut shortened = bytes[..length].to_vec();
            shortened[..4].copy_from_slice(&((length - HEADER) as u32).to_le_bytes());
            match read(&shortened) {
                Outcome::Fault(Fault::Body(_)) => {}
                // Lists end where their body ends.
                Outcome::Done { value: Message::NewTask(_) | Message::ResultReady { .. }, .. } => {}
                Outcome::Done { value: Message::Ack(Ack::Reports(_)), .. } => {}
                other => panic!("{length} of {}: {other:?}", bytes.len()),
            }
        }
        let mut lengthened = [&bytes[..], &[0]].concat();
        lengthened[..4].copy_from_slice(&((bytes.len() + 1 - HEADER) as u32).to_le_bytes());
        assert!(matches!(read(&lengthened), Outcome::Fault(Fault::Body(_))), "{bytes:?}");
    }
}

#[test]
fn what_no_worker_says_is_refused_with_a_reason() {
    let check = |bytes: &[u8], words: &str| match read(bytes) {
        Outcome::Fault(fault) => assert!(fault.to_string().contains(words), "{fault}"),
        other => panic!("{other:?}"),
    };
    check(&[0, 0, 0, 0, 9, 0, 0, 0], "malformed header");
    check(&[0, 0, 0, 0, 0, 0, 0, 0], "malformed header");
    check(&[0, 0, 0, 0, 4, 1, 0, 0], "malformed header");
    check(&[255, 255, 255, 255, 3, 0, 0, 0], "over the limit");
    let many = vec![Task { code: None, payload: b"", ..tasks()[0] }; MANY_MAX + 1];
    check(&frame_of_tasks(&many), "too many");
    let many = vec![Report { ended: Ended::Completed(b""), printed: b"", ..reports()[0] }; MANY_MAX + 1];
    check(&frame_of_reports(&many), "too many");
    let idle = Registration { slots: 0, ..registration() };
    check(&written(|into| write_registration(into, &idle)), "without a slot");
}

#[test]
fn many_acknowledgements_take_several_frames() {
    let all: Vec<(TaskId, u32)> = (0..MANY_MAX as u32 + 1).map(|attempt| (TASK, attempt)).collect();
    let bytes = written(|into| write_taken(into, &all));
    let (mut at, mut heard) = (0, Vec::new());
    while at < bytes.len() {
        let Outcome::Done { value: Message::Ack(Ack::Reports(taken)), used } = read(&bytes[at..]) else {
            panic!("at {at}")
        };
        heard.extend(taken);
        at += used;
    }
    assert_eq!(heard, all);
}

#[test]
fn an_opening_is_ours_or_told() {
    let ours = written(write_opening);
    assert_eq!(read_opening(&ours), Outcome::Done { value: VERSION, used: OPENING });
    for cut in 0..OPENING {
        assert_eq!(read_opening(&ours[..cut]), Outcome::Partial { need: OPENING }, "cut at {cut}");
    }
    assert_eq!(read_opening(b"GET / HTTP/1.1"), Outcome::Fault(Fault::Stranger));
    assert_eq!(read_opening(b"G"), Outcome::Fault(Fault::Stranger));
    assert_eq!(read_opening(b"RWFW\x02\x00\x00\x00"), Outcome::Fault(Fault::Newer(2)));
    assert_eq!(read_opening(b"RWFW\x01\x00\x01\x00"), Outcome::Fault(Fault::Stranger));
}

#[test]
fn a_task_says_its_id_as_a_uuid() {
    let id = TaskId(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
    assert_eq!(id.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
}
