//! What the reactor itself counts, added to what its shard counts.

use crate::io::Io;
use machine::Gauges;

impl<Said> Io<Said> {
    /// Writes this core's own counts.
    pub(crate) fn gauges(&self, into: &mut Gauges) {
        let counters = &self.counters;
        let level = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        into.counter("reactor_turns_total", "turns of the loop", counters.turns);
        into.counter("reactor_enters_total", "calls of io_uring_enter", self.ring.enters);
        into.counter("reactor_completions_total", "completions taken", counters.completions);
        into.counter("reactor_parks_total", "sleeps in the ring, 5 ms at most", counters.parks);
        into.counter("reactor_long_parks_total", "sleeps through the executor", counters.long_parks);
        into.counter("reactor_sends_total", "calls that hand bytes to the kernel", counters.sends);
        into.counter("reactor_accepted_total", "connections accepted", counters.accepted);
        into.counter("reactor_received_bytes_total", "bytes received", counters.bytes_in);
        into.counter("reactor_sent_bytes_total", "bytes sent", counters.bytes_out);
        into.counter("reactor_no_buffers_total", "receives that found no buffer", counters.no_buffers);
        into.counter("reactor_lane_messages_total", "messages told to cores", self.lanes.messages);
        into.counter("reactor_lane_wakes_total", "sleeping cores woken", self.lanes.wakes);
        into.level("reactor_connections", "connections held", level(self.conns.len()));
        into.level("reactor_timers", "timers set", level(self.timers.len()));
        into.level("reactor_children", "children asked for and not ended", level(self.children.count()));
        into.level("reactor_log_waiting_bytes", "bytes that wait for the disk", level(self.store.waiting()));
    }
}
