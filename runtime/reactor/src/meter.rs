//! What the reactor itself counts, added to what its shard counts.

use crate::io::Io;
use machine::Gauges;

impl<Said> Io<Said> {
    /// Writes this core's own counts; the first core adds those of the process.
    pub(crate) fn gauges(&self, into: &mut Gauges) {
        let counters = &self.counters;
        let level = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.stopwatch.gauges(into);
        if self.seat.core.0 == 0 {
            memory(into);
        }
        into.counter("reactor_turns_total", "turns of the loop", counters.turns);
        into.counter("reactor_enters_total", "calls of io_uring_enter", self.ring.enters);
        into.counter("reactor_completions_total", "completions taken", counters.completions);
        into.counter("reactor_parks_total", "sleeps in the ring, 5 ms at most", counters.parks);
        into.counter("reactor_long_parks_total", "sleeps through the executor", counters.long_parks);
        let idle = counters.idle_nanos / 1000;
        into.counter(
            "reactor_idle_us_total",
            "from the begin of turns that found nothing to do to the next",
            idle,
        );
        into.counter(
            "reactor_sends_total",
            "times that bytes of a connection were handed to the kernel",
            counters.sends,
        );
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

/// What the process takes, as the kernel counts: read here and nowhere else, as it costs some microseconds.
fn memory(into: &mut Gauges) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().trim_end_matches(" kB").parse::<i64>().ok().map(|kilobytes| kilobytes * 1024)
    };
    for (field, name, help) in [
        ("VmRSS:", "process_resident_memory_bytes", "bytes of the process in memory"),
        ("VmHWM:", "process_resident_memory_peak_bytes", "the most there ever were"),
    ] {
        if let Some(bytes) = bytes(field) {
            into.level(name, help, bytes);
        }
    }
}
