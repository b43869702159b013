//! Children at work: spawned, spoken to, signalled, ended. A child's pipes are wires of which the other end is a
//! process; one direction of each is over before it begins.

use super::World;
use super::events::Event;
use crate::children::{Child, ChildScript, Fate, Process, Stage};
use crate::desk::{Ends, Told};
use crate::net::{Holder, Wire};
use core::time::Duration;
use machine::id::Key;
use machine::{
    ChildEvent, ChildId, Command, ConnId, CoreId, NodeId, Opened, PipeKind, Shard, Signal, Stream, Why,
};
use wire::peer::Message;

/// What a pipe of the kernel holds.
const PIPE: usize = 64 * 1024;

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    /// Says what each command does. Without it none can be started.
    pub fn children(&mut self, script: impl FnMut(&Command, &mut Stream) -> ChildScript + 'static) {
        self.scripts = Some(Box::new(script));
    }

    /// How many children of a node run.
    #[must_use]
    pub fn children_of(&self, node: NodeId) -> usize {
        self.node(node).children.values().filter(|child| child.running).count()
    }

    pub(super) fn spawn(&mut self, node: NodeId, core: CoreId, child: ChildId, command: Command) {
        let started = self.time;
        self.node_mut(node).children.insert(
            child,
            Child {
                core,
                command,
                process: None,
                pipes: Vec::new(),
                started,
                running: false,
                stopped: false,
                wakes: 0,
                fate: Fate::Lives,
            },
        );
        let takes = Duration::from_nanos(self.chance.children.between(100_000, 3_000_000));
        let life = self.life(node);
        self.enter(self.time + takes, Event::ChildStarts(life, child));
    }

    /// What a command does: asked when it starts, so that a test can say it after the world was made.
    fn script(&mut self, command: &Command) -> Result<Box<dyn Process>, Box<str>> {
        let script = match &mut self.scripts {
            Some(script) => script(command, &mut self.chance.children),
            None => ChildScript::Unstarted("no such file or directory".into()),
        };
        if self.strikes(self.setup.faults.child_fails, "fault: child cannot start") {
            return Err("resource temporarily unavailable".into());
        }
        script.process()
    }

    pub(super) fn child_starts(&mut self, node: NodeId, child: ChildId) {
        let time = self.time;
        let Some(command) = self.node(node).children.get(&child).map(|found| found.command.clone()) else {
            return;
        };
        let script = self.script(&command);
        let found = self.node_mut(node);
        found.pids += 1;
        let pid = found.pids;
        let Some(of) = found.children.get_mut(&child) else { return };
        let core = of.core;
        let mut pipes = Vec::new();
        let what = match script {
            Err(why) => {
                found.children.remove(&child);
                ChildEvent::Unstarted(why)
            }
            Ok(process) => {
                of.process = Some(process);
                of.running = true;
                of.started = time;
                let kinds = of.command.pipes.clone();
                for kind in kinds {
                    let mut wire = Wire::new(Holder::Coming, Holder::Child(node, child, kind), PIPE);
                    // Of a pipe only one direction is ever used.
                    let unused = if kind == PipeKind::Input { 1 } else { 0 };
                    wire.flows[unused].fin_sent = true;
                    wire.flows[unused].fin_arrived = true;
                    let wire = self.wires.insert(wire);
                    pipes.push((kind, wire));
                }
                let found = self.node_mut(node).children.get_mut(&child).expect("it is there");
                found.pipes.clone_from(&pipes);
                ChildEvent::Started { pid }
            }
        };
        let runs = matches!(what, ChildEvent::Started { .. });
        self.core_mut(node, core).desk.told.push_back(Told::Child(child, what, pipes));
        self.rouse(node, core);
        if runs {
            self.act(node, child, |process, stage| process.on_start(stage));
        }
    }

    /// A pipe of a child that has just been told to run becomes a connection.
    pub(super) fn open_pipe(
        &mut self,
        (node, core): (NodeId, CoreId),
        child: ChildId,
        kind: PipeKind,
        wire: Key,
    ) -> ConnId {
        let conn = self.settle_in(node, core, Ends { wire, side: 0 }, Opened::Pipe(child, kind));
        if let Some(of) = self.core_mut(node, core).desk.conn(conn) {
            of.finish = kind != PipeKind::Input;
            of.half_told = true;
        }
        match self.wires.get_mut(wire) {
            Some(found) => found.ends[0] = Holder::Shard(node, core, conn),
            // Nobody reads any more what would be written here.
            None => self.core_mut(node, core).desk.ends(conn, Why::Reset),
        }
        conn
    }

    /// Lets a process do something, and sees to what it did.
    fn act(&mut self, node: NodeId, child: ChildId, event: impl FnOnce(&mut dyn Process, &mut Stage)) {
        let time = self.time;
        let Some(found) = self.node_mut(node).children.get_mut(&child) else { return };
        if !found.running || found.stopped || found.fate != Fate::Lives {
            return;
        }
        let Some(mut process) = found.process.take() else { return };
        let (started, pipes) = (found.started, found.pipes.clone());
        let room = pipes.iter().find(|(kind, _)| *kind == PipeKind::Output).map_or(0, |(_, wire)| {
            let flow = self.wires.get(*wire).map(|wire| &wire.flows[1]);
            flow.map_or(0, |flow| PIPE.saturating_sub(flow.in_window() + flow.waiting.len()))
        });
        let mut stage = Stage::new(time.since(started), room);
        event(&mut *process, &mut stage);
        for (kind, wire) in &pipes {
            let printed = match kind {
                PipeKind::Input => continue,
                PipeKind::Output => &stage.out,
                PipeKind::Error => &stage.error,
            };
            if let Some(found) = self.wires.get_mut(*wire) {
                found.flows[1].waiting.extend(printed);
            }
            self.pump(*wire, 1);
        }
        let life = self.life(node);
        let Some(found) = self.node_mut(node).children.get_mut(&child) else { return };
        found.process = Some(process);
        if let Some(after) = stage.wake {
            found.wakes += 1;
            let wakes = found.wakes;
            self.enter(time + after, Event::ChildWakes(life, child, wakes));
        }
        if stage.fate != Fate::Lives {
            self.doom(node, child, stage.fate);
        }
    }

    /// It will be dead in a moment.
    fn doom(&mut self, node: NodeId, child: ChildId, fate: Fate) {
        let life = self.life(node);
        let Some(found) = self.node_mut(node).children.get_mut(&child) else { return };
        if found.fate == Fate::Lives {
            found.fate = fate;
            let takes = Duration::from_nanos(self.chance.children.between(10_000, 500_000));
            self.enter(self.time + takes, Event::ChildDies(life, child));
        }
    }

    pub(super) fn child_wakes(&mut self, node: NodeId, child: ChildId, number: u64) {
        if self.node(node).children.get(&child).is_some_and(|found| found.wakes == number) {
            self.act(node, child, |process, stage| process.on_wake(stage));
        }
    }

    /// Something has happened at a pipe: input has come, or what it printed was taken.
    pub(super) fn child_hears(&mut self, node: NodeId, child: ChildId, key: Key, side: usize) {
        let Some(wire) = self.wires.get_mut(key) else { return };
        if self.nodes[usize::from(node.0)].children.get(&child).is_some_and(|found| found.stopped) {
            return;
        }
        let flow = &mut wire.flows[1 - side];
        let mut bytes = Vec::new();
        flow.take(usize::MAX, &mut bytes);
        let ended = flow.fin_arrived;
        if !bytes.is_empty() {
            self.note(None, "child hears", child.0, bytes.len() as u64);
            self.pump(key, 1 - side);
            self.act(node, child, |process, stage| process.on_input(&bytes, stage));
        }
        if ended {
            self.act(node, child, |process, stage| process.on_input_end(stage));
            self.settle(key);
        }
    }

    /// The other side has taken from this pipe.
    pub(super) fn child_has_room(&mut self, node: NodeId, child: ChildId) {
        self.act(node, child, |process, stage| process.on_room(stage));
    }

    pub(super) fn child_dies(&mut self, node: NodeId, child: ChildId) {
        let Some(found) = self.node_mut(node).children.remove(&child) else { return };
        let what = match found.fate {
            Fate::Exits(status) => ChildEvent::Exited(status),
            Fate::Killed(signal) => ChildEvent::Killed(signal),
            Fate::Lives => return,
        };
        self.core_mut(node, found.core).desk.told.push_back(Told::Child(child, what, Vec::new()));
        self.rouse(node, found.core);
        for (kind, key) in found.pipes {
            if kind == PipeKind::Input {
                self.break_off(key, 1, Why::Reset);
            } else if let Some(wire) = self.wires.get_mut(key) {
                wire.flows[1].fin_wanted = true;
                self.pump(key, 1);
            }
        }
    }

    pub(super) fn signal(&mut self, node: NodeId, child: ChildId, signal: Signal) {
        let Some(found) = self.node_mut(node).children.get_mut(&child) else { return };
        match signal {
            Signal::Kill => self.doom(node, child, Fate::Killed(9)),
            Signal::Stop => found.stopped = true,
            Signal::Continue => {
                found.stopped = false;
                for (kind, wire) in found.pipes.clone() {
                    if kind == PipeKind::Input {
                        self.child_hears(node, child, wire, 1);
                    }
                }
                self.child_has_room(node, child);
            }
            _ => self.act(node, child, |process, stage| process.on_signal(signal, stage)),
        }
    }
}
