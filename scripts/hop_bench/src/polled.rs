//! Channels between two pinned threads that never sleep: each takes a core for itself.

use crate::course::{Asker, Course, Outcome};
use crate::message::read;
use core_affinity::CoreId;
use wire::peer::Batch;

/// Envelopes that a bounded channel holds: over any number in flight here.
const CHANNEL_MAX: usize = 4096;

/// The half of a channel that polling needs.
pub(crate) enum Came {
    Batch(Batch),
    Nothing,
    /// The other side has ended.
    Ended,
}

pub(crate) fn crossbeam(course: Course) -> Outcome {
    use crossbeam_channel::{Receiver, TryRecvError, bounded};
    let ((ask, asked), (answer, answered)) = (bounded(CHANNEL_MAX), bounded(CHANNEL_MAX));
    let came = |from: &Receiver<Batch>| match from.try_recv() {
        Ok(batch) => Came::Batch(batch),
        Err(TryRecvError::Empty) => Came::Nothing,
        Err(TryRecvError::Disconnected) => Came::Ended,
    };
    between(
        course,
        move |batch| ask.send(batch).is_ok(),
        move || came(&answered),
        move |batch| answer.send(batch).is_ok(),
        move || came(&asked),
    )
}

pub(crate) fn flume(course: Course) -> Outcome {
    use flume::{Receiver, TryRecvError, unbounded};
    let ((ask, asked), (answer, answered)) = (unbounded(), unbounded());
    let came = |from: &Receiver<Batch>| match from.try_recv() {
        Ok(batch) => Came::Batch(batch),
        Err(TryRecvError::Empty) => Came::Nothing,
        Err(TryRecvError::Disconnected) => Came::Ended,
    };
    between(
        course,
        move |batch| ask.send(batch).is_ok(),
        move || came(&answered),
        move |batch| answer.send(batch).is_ok(),
        move || came(&asked),
    )
}

pub(crate) fn rtrb(course: Course) -> Outcome {
    use rtrb::{Consumer, RingBuffer};
    let (mut ask, mut asked) = RingBuffer::new(CHANNEL_MAX);
    let (mut answer, mut answered) = RingBuffer::new(CHANNEL_MAX);
    let came = |from: &mut Consumer<Batch>| match from.pop() {
        Ok(batch) => Came::Batch(batch),
        Err(_) if from.is_abandoned() => Came::Ended,
        Err(_) => Came::Nothing,
    };
    between(
        course,
        move |batch| ask.push(batch).is_ok(),
        move || came(&mut answered),
        move |batch| answer.push(batch).is_ok(),
        move || came(&mut asked),
    )
}

pub(crate) fn tokio(course: Course) -> Outcome {
    use tokio::sync::mpsc::error::TryRecvError;
    use tokio::sync::mpsc::{Receiver, channel};
    let ((ask, mut asked), (answer, mut answered)) = (channel(CHANNEL_MAX), channel(CHANNEL_MAX));
    let came = |from: &mut Receiver<Batch>| match from.try_recv() {
        Ok(batch) => Came::Batch(batch),
        Err(TryRecvError::Empty) => Came::Nothing,
        Err(TryRecvError::Disconnected) => Came::Ended,
    };
    between(
        course,
        move |batch| ask.try_send(batch).is_ok(),
        move || came(&mut answered),
        move |batch| answer.try_send(batch).is_ok(),
        move || came(&mut asked),
    )
}

/// Two threads. Ends are moved in, so that a thread that ends ends the other.
fn between(
    course: Course,
    mut ask: impl FnMut(Batch) -> bool + Send,
    mut answered: impl FnMut() -> Came + Send,
    mut answer: impl FnMut(Batch) -> bool + Send + 'static,
    mut asked: impl FnMut() -> Came + Send + 'static,
) -> Outcome {
    let answering = std::thread::spawn(move || {
        core_affinity::set_for_current(CoreId { id: course.answerer });
        loop {
            match asked() {
                Came::Batch(batch) if !answer(read(&batch).answer().into_batch()) => return,
                Came::Batch(_) => {}
                Came::Nothing => std::hint::spin_loop(),
                Came::Ended => return,
            }
        }
    });
    let outcome = std::thread::scope(|scope| {
        let asking = scope.spawn(move || {
            core_affinity::set_for_current(CoreId { id: course.asker });
            let mut asker = Asker::new(course);
            for _ in 0..course.envelopes() {
                assert!(ask(asker.ask().into_batch()), "the channel has room for all in flight");
            }
            loop {
                match answered() {
                    Came::Batch(batch) if !asker.take(read(&batch)) => return asker.end(),
                    Came::Batch(_) => {
                        assert!(ask(asker.ask().into_batch()), "the channel has room for all in flight");
                    }
                    Came::Nothing => std::hint::spin_loop(),
                    Came::Ended => return asker.end(),
                }
            }
        });
        asking.join().expect("the asking thread ends by itself")
    });
    answering.join().expect("the answering thread ends by itself");
    outcome
}
