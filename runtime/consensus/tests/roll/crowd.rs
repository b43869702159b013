//! Clients that append to a roll and read its length, each one thing at a time, at any node, again and again until it
//! is answered or they lose patience; and the judge of what they were told.

use super::roll::Roll;
use core::time::Duration;
use machine::{CoreId, Instant, NodeId};
use sim::{Client, World};

/// How long a client waits for an answer before it asks elsewhere.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often it asks before it gives up; what it asked may be done or not.
const TRIES: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Append,
    Read,
}

/// Something that was asked, and what came of it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    what: What,
    number: u64,
    began: Instant,
    /// When it was answered, and with which place or length.
    answered: Option<(Instant, u64)>,
}

struct Person {
    talk: Option<(Client, Instant)>,
    now: Asked,
    tries: u32,
    next_node: NodeId,
}

/// All clients of a roll.
pub(crate) struct Crowd {
    people: Vec<Person>,
    past: Vec<Asked>,
    next: u64,
    /// The roll as far as any node has ever shown it.
    truth: Vec<u64>,
    pub(crate) answered: u64,
}

impl Crowd {
    pub(crate) fn new(world: &mut World<Roll>, people: usize) -> Self {
        let mut crowd =
            Self { people: Vec::new(), past: Vec::new(), next: 1, truth: Vec::new(), answered: 0 };
        for _ in 0..people {
            let now = crowd.another(world);
            let nodes = u64::from(world.nodes());
            let next_node = NodeId(world.workload().below(nodes) as u16);
            crowd.people.push(Person { talk: None, now, tries: 0, next_node });
        }
        crowd
    }

    fn another(&mut self, world: &mut World<Roll>) -> Asked {
        let what = if world.workload().below(3) == 0 { What::Read } else { What::Append };
        self.next += 1;
        Asked { what, number: self.next, began: world.now(), answered: None }
    }

    /// Lets everybody hear and speak, for so long.
    pub(crate) fn live(&mut self, world: &mut World<Roll>, span: Duration) {
        let until = world.now() + span;
        while world.now() < until {
            let pause = world.workload().between(1, 12);
            world.run_for(Duration::from_millis(pause));
            self.look(world);
            for person in 0..self.people.len() {
                self.serve(world, person);
            }
        }
    }

    /// No node may ever show another order than any has shown.
    fn look(&mut self, world: &World<Roll>) {
        for node in (0..world.nodes()).map(NodeId).filter(|node| world.is_alive(*node)) {
            let names = &world.shard(node, CoreId(0)).names;
            if names.len() > self.truth.len() {
                assert_eq!(names[..self.truth.len()], self.truth, "{node:?} has another order");
                self.truth.clone_from(names);
            } else if let Some(last) = names.last() {
                assert_eq!(*last, self.truth[names.len() - 1], "{node:?} has another order");
            }
        }
    }

    fn serve(&mut self, world: &mut World<Roll>, person: usize) {
        let now = world.now();
        let nodes = world.nodes();
        let Some((client, since)) = self.people[person].talk else { return self.ask(world, person) };
        // A line that is cut is heard when the rest is there.
        let is_whole = world.heard(client).ends_with(b"\n");
        let heard = if is_whole { world.take_heard(client) } else { Vec::new() };
        let heard = String::from_utf8(heard).expect("nodes say text");
        let asked = self.people[person].now;
        for line in heard.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let verb = if asked.what == What::Append { "K" } else { "V" };
            match words[..] {
                [word, number, value] if word == verb && number == asked.number.to_string() => {
                    let value = value.parse().expect("a number");
                    self.people[person].now.answered = Some((now, value));
                    self.answered += 1;
                    return self.go_on(world, person);
                }
                // It was asked before, and is answered late.
                [_, _, _] => {}
                ["N", leader] => {
                    let other = world.workload().below(u64::from(nodes)) as u16;
                    self.people[person].next_node = NodeId(leader.parse().unwrap_or(other));
                    return self.leave(world, person);
                }
                _ => panic!("a node said {line}"),
            }
        }
        if world.ended(client).is_some() || now.since(since) > PATIENCE {
            self.people[person].next_node = NodeId(world.workload().below(u64::from(nodes)) as u16);
            self.leave(world, person);
        }
    }

    fn ask(&mut self, world: &mut World<Roll>, person: usize) {
        let Person { now, next_node, tries, .. } = self.people[person];
        if tries >= TRIES {
            return self.go_on(world, person);
        }
        self.people[person].tries += 1;
        if !world.is_alive(next_node) {
            self.people[person].next_node = NodeId((next_node.0 + 1) % world.nodes());
            return;
        }
        let client = world.connect(next_node, 0);
        let verb = if now.what == What::Append { "A" } else { "R" };
        world.say(client, format!("{verb} {}\n", now.number).as_bytes());
        self.people[person].talk = Some((client, world.now()));
    }

    fn leave(&mut self, world: &mut World<Roll>, person: usize) {
        if let Some((client, _)) = self.people[person].talk.take()
            && world.is_open(client)
        {
            world.reset(client);
        }
    }

    fn go_on(&mut self, world: &mut World<Roll>, person: usize) {
        self.leave(world, person);
        self.past.push(self.people[person].now);
        self.people[person].now = self.another(world);
        self.people[person].tries = 0;
    }

    /// After the calm: all nodes show the same, and what was answered fits it and the order of time.
    pub(crate) fn judge(mut self, world: &mut World<Roll>) {
        let so_far = self.answered;
        self.live(world, Duration::from_secs(3));
        assert!(self.answered > so_far, "in a calm world somebody is answered within three seconds");
        let nodes: Vec<NodeId> = (0..world.nodes()).map(NodeId).collect();
        let wants = |world: &World<Roll>| {
            let of = |node: &NodeId| &world.shard(*node, CoreId(0)).names;
            let belongs = |node: &&NodeId| {
                let members = &world.shard(**node, CoreId(0)).members;
                members.voters.contains(node) || members.learners.contains(node)
            };
            let longest = nodes.iter().map(|node| of(node).len()).max();
            nodes.iter().filter(belongs).all(|node| Some(of(node).len()) == longest)
        };
        world.run_until(wants);
        self.look(world);
        for node in nodes {
            let names = &world.shard(node, CoreId(0)).names;
            assert_eq!(names[..], self.truth[..names.len()], "{node:?} ends with another order");
        }
        self.check_answers();
    }

    fn check_answers(&self) {
        let place = |name: u64| self.truth.iter().position(|known| *known == name).map(|place| place as u64);
        // Where each answered thing stands in the one order: an append in its place, a read before the place it saw
        // free. `(began, answered, from, to)`: it happened between these.
        let mut done = Vec::new();
        for asked in &self.past {
            let Some((at, value)) = asked.answered else { continue };
            match asked.what {
                What::Append => {
                    let place = place(asked.number);
                    assert_eq!(place, Some(value), "{asked:?} was acknowledged and is not there");
                    done.push((asked.began, at, 2 * value + 1));
                }
                What::Read => done.push((asked.began, at, 2 * value)),
            }
        }
        done.sort_unstable();
        let mut ends = done.clone();
        ends.sort_unstable_by_key(|(_, end, _)| *end);
        let mut ended = ends.iter().peekable();
        let mut least = 0;
        for (began, end, stands) in done {
            while let Some((_, _, earlier)) = ended.next_if(|(_, end, _)| *end < began) {
                least = least.max(*earlier);
            }
            assert!(
                stands >= least,
                "stale: began {began:?}, answered {end:?}, stands at {stands}, after {least}"
            );
        }
    }
}
