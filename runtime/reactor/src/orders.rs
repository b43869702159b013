//! What reaches a core from outside of all cores, and what it reports there: the step of controls of its turn.

use crate::control::{Control, Report};
use crate::fatal::Fatal;
use crate::stall::spent;
use crate::turn::Core;
use machine::{Event, Gauges, Order, Shard};
use wire::peer::Message;

impl<S> Core<S>
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    /// What the main thread is to know.
    pub(crate) fn report(&mut self) {
        if let Some(legacy) = self.io.bequeathed.take() {
            let _ = self.reports.send(Report::Bequeathed(self.io.seat.core, legacy));
        }
        if std::mem::take(&mut self.io.wants_reread) {
            let _ = self.reports.send(Report::Reread);
        }
        if self.io.children.are_lost() && !self.loss_told {
            self.loss_told = true;
            let sentence = "the keeper of this program's processes was killed, and they with it";
            let _ = self.reports.send(Report::Failed(Fatal::machine(sentence)));
        }
        if self.is_deafening && !self.io.is_accepting() {
            self.is_deafening = false;
            let _ = self.reports.send(Report::Deaf);
        }
        if self.io.drained && !self.drained_told {
            self.drained_told = true;
            let _ = self.reports.send(Report::Drained);
        }
    }

    pub(crate) fn hear_controls(&mut self) -> bool {
        let mut busy = false;
        while let Ok(control) = self.controls.try_recv() {
            busy = true;
            match control {
                Control::Gather(to) => {
                    let mut gauges = Gauges::new();
                    self.shard.gauges(&mut gauges);
                    self.io.gauges(&mut gauges);
                    self.io.say_gauges(to, gauges);
                }
                Control::Gathered(number, core, gauges) => self.io.gathered(number, core, gauges),
                Control::Drain(by) => {
                    self.io.stop_listening();
                    self.io.fanout = 0;
                    self.shard.on_order(self.io.now, Order::Drain { by }, &mut self.io);
                    spent(&mut self.shard, &mut self.io, Event::Order, 1);
                }
                Control::Reload | Control::Unread(_) | Control::HandOver | Control::TakeBack => {
                    self.io.fanout = 0;
                    self.hear_order(control);
                    spent(&mut self.shard, &mut self.io, Event::Order, 1);
                }
                Control::Deafen => {
                    self.io.stop_listening();
                    self.is_deafening = true;
                }
                Control::Stop => self.stopping = true,
                Control::Resolved(conn, found, from) => self.io.resolved(conn, found, from),
                Control::Accepted(at, fd) => self.io.passed_on(at, fd),
            }
        }
        busy
    }

    fn hear_order(&mut self, control: Control) {
        let now = self.io.now;
        match control {
            Control::Reload => {
                if let Ok(config) = self.configs.try_recv() {
                    self.shard.on_order(now, Order::Reload(&config), &mut self.io);
                }
            }
            Control::Unread(why) => self.shard.on_unread(now, &why, &mut self.io),
            Control::HandOver => self.shard.on_hand_over(now, &mut self.io),
            Control::TakeBack => self.shard.on_take_back(now, &mut self.io),
            Control::Gather(_)
            | Control::Gathered(..)
            | Control::Deafen
            | Control::Drain(_)
            | Control::Stop
            | Control::Resolved(..)
            | Control::Accepted(..) => unreachable!("the caller has those"),
        }
    }
}
