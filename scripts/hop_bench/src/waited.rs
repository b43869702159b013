//! Channels whose receiver sleeps until it is woken, each between two executors pinned on a core of their own.

use crate::course::{Asker, Course, Outcome};
use crate::message::read;
use core_affinity::CoreId;
use glommio::channels::shared_channel;
use glommio::{LocalExecutorBuilder, Placement};
use std::time::Duration;
use tokio::sync::mpsc;
use wire::peer::Batch;

/// Envelopes that a channel holds: over any number in flight here.
const CHANNEL_MAX: usize = 4096;
/// Bytes of an executor's own buffers; it moves none.
const IO_MEMORY: usize = 64 << 10;

/// The channel of one executor and another, as its makers mean it to be used.
pub(crate) fn glommio(course: Course, spin: Duration) -> Outcome {
    let (ask, asked) = shared_channel::new_bounded::<Batch>(CHANNEL_MAX);
    let (answer, answered) = shared_channel::new_bounded::<Batch>(CHANNEL_MAX);
    let answering = executor(course.answerer, spin)
        .spawn(move || async move {
            let (asked, answer) = (asked.connect().await, answer.connect().await);
            while let Some(batch) = asked.recv().await {
                if answer.send(read(&batch).answer().into_batch()).await.is_err() {
                    return;
                }
            }
        })
        .expect("an executor starts");
    let asking = executor(course.asker, spin)
        .spawn(move || async move {
            let (ask, answered) = (ask.connect().await, answered.connect().await);
            let mut asker = Asker::new(course);
            for _ in 0..course.envelopes() {
                assert!(ask.try_send(asker.ask().into_batch()).is_ok(), "there is room for all in flight");
            }
            while let Some(batch) = answered.recv().await {
                if !asker.take(read(&batch)) {
                    break;
                }
                assert!(ask.try_send(asker.ask().into_batch()).is_ok(), "there is room for all in flight");
            }
            asker.end()
        })
        .expect("an executor starts");
    let outcome = asking.join().expect("it ends by itself");
    answering.join().expect("it ends by itself");
    outcome
}

fn executor(core: usize, spin: Duration) -> LocalExecutorBuilder {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(core)).io_memory(IO_MEMORY);
    if spin.is_zero() { builder } else { builder.spin_before_park(spin) }
}

/// Two executors of one thread each.
pub(crate) fn tokio(course: Course) -> Outcome {
    let (ask, mut asked) = mpsc::channel::<Batch>(CHANNEL_MAX);
    let (answer, mut answered) = mpsc::channel::<Batch>(CHANNEL_MAX);
    let answering = std::thread::spawn(move || {
        alone_on(course.answerer).block_on(async move {
            while let Some(batch) = asked.recv().await {
                if answer.send(read(&batch).answer().into_batch()).await.is_err() {
                    return;
                }
            }
        });
    });
    let asking = std::thread::spawn(move || {
        alone_on(course.asker).block_on(async move {
            let mut asker = Asker::new(course);
            for _ in 0..course.envelopes() {
                assert!(ask.try_send(asker.ask().into_batch()).is_ok(), "there is room for all in flight");
            }
            while let Some(batch) = answered.recv().await {
                if !asker.take(read(&batch)) {
                    break;
                }
                assert!(ask.try_send(asker.ask().into_batch()).is_ok(), "there is room for all in flight");
            }
            asker.end()
        })
    });
    let outcome = asking.join().expect("it ends by itself");
    answering.join().expect("it ends by itself");
    outcome
}

fn alone_on(core: usize) -> tokio::runtime::Runtime {
    core_affinity::set_for_current(CoreId { id: core });
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts")
}
