//! Frames between service and worker, in two pieces and whole, must be the same, and what was read can be written.
//!
//! From `systems/faas`: `mkdir -p fuzz/corpus/faas_dispatch; cargo fuzz run faas_dispatch --sanitizer none fuzz/corpus/faas_dispatch corpus/faas_dispatch`
#![no_main]

use faas::dispatch::{self, HEADER, Message, ReportFrame, TaskFrame};
use libfuzzer_sys::fuzz_target;
use wire::Outcome;

fn read(bytes: &[u8], cut: usize) -> (Vec<String>, bool) {
    let (mut at, mut all) = (0, Vec::new());
    for end in [cut, bytes.len()] {
        while at < end {
            match dispatch::read(&bytes[at..end]) {
                Outcome::Done { value, used } => {
                    assert!(used >= HEADER && used <= end - at);
                    again(&value, &bytes[at..at + used]);
                    all.push(format!("{value:?}"));
                    at += used;
                }
                Outcome::Partial { need } => {
                    assert!(need > end - at && need <= HEADER + dispatch::BODY_MAX);
                    break;
                }
                Outcome::Fault(_) => return (all, true),
            }
        }
    }
    (all, false)
}

/// There is one way to write a list of tasks or reports, so that what is read and written again is the same.
fn again(message: &Message<'_>, bytes: &[u8]) {
    let mut written = Vec::new();
    match message {
        Message::NewTask(tasks) => {
            let mut frame = TaskFrame::begin(&mut written);
            tasks.clone().for_each(|task| frame.push(&task));
            frame.end();
        }
        // A longer sentence than is written is read all the same.
        Message::ResultReady { session, reports } if bytes.len() <= dispatch::WORDS_MAX => {
            let mut frame = ReportFrame::begin(&mut written, *session);
            reports.clone().for_each(|report| frame.push(&report));
            frame.end();
        }
        _ => return,
    }
    assert_eq!(written, bytes);
}

fuzz_target!(|bytes: &[u8]| {
    let _ = dispatch::read_opening(bytes);
    // The bytes themselves say where to cut, so that the corpus stays what was sent.
    let cut = bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() % (bytes.len() + 1);
    assert_eq!(read(bytes, bytes.len()), read(bytes, cut));
});
