//! The queue against the simplest thing that is surely right, over random work; and what its promises mean one by one.

use super::*;
use machine::{Chance, Stream, WallTime};

const PATIENCE: Patience =
    Patience { attempts_max: 3, pause: Duration::from_nanos(10), pause_max: Duration::from_nanos(25) };

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

#[test]
fn groups_take_turns_and_keep_their_order() {
    let mut queue: Queue<u8> = Queue::new();
    for token in 0..4 {
        queue.add(1, token);
    }
    queue.add(2, 10);
    queue.add(3, 20);
    let taken: Vec<u64> = core::iter::from_fn(|| queue.take(0)).map(|lease| lease.token).collect();
    assert_eq!(taken, [0, 10, 20, 1, 2, 3]);
}

#[test]
fn a_late_result_changes_nothing() {
    let mut queue: Queue<u8> = Queue::new();
    let item = queue.add(1, 7);
    let first = queue.take(0).expect("it is ready");
    assert_eq!(queue.lost(item, first.attempt, 0, &PATIENCE, at(0)), Lost::Again(at(10)));
    assert!(!queue.done(item, first.attempt, 0), "its lease had ended");
    assert_eq!(queue.take(1), None);
    queue.wake(at(10));
    let second = queue.take(1).expect("its pause is over");
    assert_eq!(second.attempt, 2);
    assert!(!queue.done(item, first.attempt, 0), "an old attempt");
    assert!(!queue.done(item, second.attempt, 0), "another holder");
    assert!(queue.done(item, second.attempt, 1));
    assert!(!queue.done(item, second.attempt, 1), "a second time");
    assert_eq!(queue.counts(), Counts::default());
}

#[test]
fn attempts_used_up_are_dead_until_revived() {
    let mut queue: Queue<u8> = Queue::new();
    let item = queue.add(1, 7);
    for attempt in 1..=3 {
        queue.wake(at(1000 * u64::from(attempt)));
        assert_eq!(queue.take(0).map(|lease| lease.attempt), Some(attempt));
        let lost = queue.lost(item, attempt, 0, &PATIENCE, at(1000 * u64::from(attempt)));
        assert_eq!(lost == Lost::Dead, attempt == 3, "{lost:?}");
    }
    assert_eq!(queue.take(0), None);
    assert!(queue.revive(item) && !queue.revive(item));
    assert_eq!(queue.take(0).map(|lease| lease.attempt), Some(4));
    assert!(matches!(queue.lost(item, 4, 0, &PATIENCE, at(0)), Lost::Again(_)));
}

#[test]
fn attempts_go_on_where_they_were_kept() {
    let mut queue: Queue<u8> = Queue::new();
    let item = queue.add(1, 7);
    queue.resume(item, 5, 2);
    assert_eq!(queue.tried(item), 2);
    assert_eq!(queue.take(0).map(|lease| lease.attempt), Some(6));
    assert_eq!(queue.lost(item, 6, 0, &PATIENCE, at(0)), Lost::Dead, "the third that counts");
}

#[test]
fn keys_are_forgotten_by_age_and_by_number() {
    let mut keys = Keys::new();
    for second in 0..5u64 {
        keys.put(&[second as u8], second, WallTime::from_millis(second * 1000));
    }
    keys.put(&[0], 99, WallTime::from_millis(9000));
    assert_eq!(keys.get(&[0]), Some(0), "the first meaning stays");
    keys.forget(WallTime::from_millis(6000), Duration::from_secs(5), 10);
    assert_eq!((keys.get(&[1]), keys.get(&[2])), (None, Some(2)));
    keys.forget(WallTime::from_millis(6000), Duration::from_secs(5), 1);
    assert_eq!(keys.iter().map(|(_, _, value)| value).collect::<Vec<_>>(), [4]);
}

/// The simplest thing that is surely right: a list that is searched.
#[derive(Debug, Default)]
struct Model {
    items: Vec<ModelItem>,
    arrivals: u64,
    turns: Vec<u32>,
}

#[derive(Debug, Clone)]
struct ModelItem {
    key: Key,
    group: u32,
    token: u64,
    attempt: u32,
    forgiven: u32,
    arrived: u64,
    state: State<u8>,
}

impl Model {
    fn ready(&mut self, index: usize) {
        self.arrivals += 1;
        let group = self.items[index].group;
        let had = self.items.iter().any(|item| item.group == group && item.state == State::Ready);
        self.items[index].arrived = self.arrivals;
        self.items[index].state = State::Ready;
        if !had {
            self.turns.push(group);
        }
    }

    fn settle(&mut self) {
        let items = &self.items;
        self.turns
            .retain(|group| items.iter().any(|item| item.group == *group && item.state == State::Ready));
    }

    fn take(&mut self, holder: u8) -> Option<Lease> {
        self.settle();
        let group = (!self.turns.is_empty()).then(|| self.turns.remove(0))?;
        let item = self
            .items
            .iter_mut()
            .filter(|item| item.group == group && item.state == State::Ready)
            .min_by_key(|item| item.arrived)?;
        item.attempt += 1;
        item.state = State::Leased(holder);
        let lease = Lease { item: item.key, attempt: item.attempt, token: item.token };
        self.turns.push(group);
        self.settle();
        Some(lease)
    }

    fn counts(&self) -> Counts {
        let count =
            |wanted: fn(&State<u8>) -> bool| self.items.iter().filter(|item| wanted(&item.state)).count();
        Counts {
            ready: count(|state| *state == State::Ready),
            delayed: count(|state| matches!(state, State::Delayed(_))),
            leased: count(|state| matches!(state, State::Leased(_))),
            dead: count(|state| *state == State::Dead),
        }
    }
}

/// One seed of random work on both. With a canary, the queue is asked wrongly, and the model must notice.
fn agree(seed: u64, accept_late: bool) -> Result<(), String> {
    let mut stream = Chance::new(seed).stream("work");
    let (mut queue, mut model): (Queue<u8>, Model) = (Queue::new(), Model::default());
    let mut now = 0;
    for step in 0..600u64 {
        let any = |stream: &mut Stream, model: &Model| {
            let index = stream.below(model.items.len().max(1) as u64) as usize;
            (index < model.items.len()).then_some(index)
        };
        match stream.below(9) {
            0 | 1 => {
                let group = stream.below(4) as u32;
                let key = queue.add(group, step);
                let state = State::Dead;
                let item = ModelItem { key, group, token: step, attempt: 0, forgiven: 0, arrived: 0, state };
                model.items.push(item);
                model.ready(model.items.len() - 1);
            }
            2 | 3 => {
                let holder = stream.below(3) as u8;
                let (ours, theirs) = (queue.take(holder), model.take(holder));
                if ours != theirs {
                    return Err(format!("took {ours:?}, not {theirs:?}"));
                }
            }
            4 => {
                let Some(index) = any(&mut stream, &model) else { continue };
                let item = model.items[index].clone();
                let (attempt, holder) = (stream.between(0, 3) as u32, stream.below(3) as u8);
                let is_right = item.state == State::Leased(holder) && item.attempt == attempt;
                let truth = item.attempt;
                let said = if accept_late { truth } else { attempt };
                let ours = queue.done(item.key, said, holder);
                if ours != is_right {
                    return Err(format!("done said {ours}, the model {is_right}"));
                }
                if is_right {
                    model.items.remove(index);
                }
            }
            5 => {
                let Some(index) = any(&mut stream, &model) else { continue };
                let State::Leased(holder) = model.items[index].state else { continue };
                let item = &mut model.items[index];
                let ours = queue.lost(item.key, item.attempt, holder, &PATIENCE, at(now));
                let tried = item.attempt - item.forgiven;
                let expected = match tried {
                    3.. => Lost::Dead,
                    tried => Lost::Again(at(now + [10, 20][tried as usize - 1])),
                };
                if ours != expected {
                    return Err(format!("lost said {ours:?}, the model {expected:?}"));
                }
                item.state = match expected {
                    Lost::Again(at) => State::Delayed(at),
                    Lost::Dead | Lost::Late => State::Dead,
                };
            }
            6 => {
                let Some(index) = any(&mut stream, &model) else { continue };
                let item = model.items.remove(index);
                if queue.remove(item.key) != Some(item.state) {
                    return Err("removed from elsewhere".into());
                }
            }
            7 => {
                let Some(index) = any(&mut stream, &model) else { continue };
                match model.items[index].state {
                    State::Dead => {
                        model.items[index].forgiven = model.items[index].attempt;
                        model.ready(index);
                        if !queue.revive(model.items[index].key) {
                            return Err("not revived".into());
                        }
                    }
                    State::Leased(holder) => {
                        let (key, attempt) = (model.items[index].key, model.items[index].attempt);
                        model.items[index].forgiven += 1;
                        model.ready(index);
                        if !queue.give_back(key, attempt, holder) {
                            return Err("not given back".into());
                        }
                    }
                    State::Ready | State::Delayed(_) => {}
                }
            }
            _ => {
                now += stream.below(12);
                queue.wake(at(now));
                let mut due: Vec<(Instant, Key, usize)> = Vec::new();
                for (index, item) in model.items.iter().enumerate() {
                    if let State::Delayed(until) = item.state
                        && until <= at(now)
                    {
                        due.push((until, item.key, index));
                    }
                }
                due.sort_unstable();
                for (_, _, index) in due {
                    model.ready(index);
                }
            }
        }
        model.settle();
        if queue.counts() != model.counts() {
            return Err(format!("{:?}, the model {:?}", queue.counts(), model.counts()));
        }
    }
    Ok(())
}

#[test]
fn agrees_with_a_list_over_random_work() {
    for seed in 0..300 {
        agree(seed, false).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_queue_that_accepts_late_attempts_is_found_out() {
    assert!((0..20).any(|seed| agree(seed, true).is_err()));
}
