//! What a moment of the server was spent for: the innermost frame that says so decides.
//!
//! Time in the kernel goes to the call that led there: on loopback the other side's receiving happens within our
//! sending, and is what sending costs here.

/// Groups, as the tables name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    KernelSend,
    KernelReceive,
    /// Waiting and collecting: `io_uring_enter` without what it received for us.
    Enter,
    Parse,
    Table,
    Pipeline,
    Gauges,
    Allocator,
    /// The rest of the hash table.
    Shard,
    /// The rest of the turn.
    Turn,
    Other,
}

/// Marks within the names of frames, and whose they are. The first line that fits a frame decides.
const MARKS: &[(Group, &[&str])] = &[
    (
        Group::Allocator,
        &["mi_", "mimalloc", "alloc::alloc::", "__rust_alloc", "__rust_dealloc", "malloc", "cfree"],
    ),
    (
        Group::Gauges,
        &["gauge", "stall::", "meter::", "hdrhistogram", "clock_gettime", "clock::", "machine::time"],
    ),
    (Group::Pipeline, &["pipeline"]),
    (Group::Parse, &["wire::", "memchr", "itoa"]),
    (Group::Table, &["state::", "ahash", "dht::store", "dht::value"]),
    (Group::Shard, &["dht::"]),
    (Group::Turn, &["reactor::", "machine::", "io_uring", "glommio"]),
];

/// The kernel's functions through which everything passes that sends.
const SENDS: &[&str] = &["__sys_sendto", "__sys_sendmsg", "io_send", "tcp_sendmsg", "sock_sendmsg"];
const RECEIVES: &[&str] = &["io_recv", "tcp_recvmsg", "sock_recvmsg", "__sys_recvfrom"];
const ENTERS: &[&str] = &["io_uring_enter", "io_cqring_wait"];

impl Group {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KernelSend => "kernel send",
            Self::KernelReceive => "kernel receive",
            Self::Enter => "enter",
            Self::Parse => "parse and write protocol",
            Self::Table => "table",
            Self::Pipeline => "pipeline",
            Self::Gauges => "gauges and clock",
            Self::Allocator => "allocator",
            Self::Shard => "other of the hash table",
            Self::Turn => "other of the turn",
            Self::Other => "other",
        }
    }

    /// Of a stack, outermost frame first. Frames of the kernel end in `_[k]`.
    pub(super) fn of(frames: &[String]) -> Self {
        let kernel = || frames.iter().filter_map(|frame| frame.strip_suffix("_[k]"));
        let in_kernel = |names: &[&str]| kernel().any(|frame| names.iter().any(|name| frame.contains(name)));
        let own = frames.last().map_or("", String::as_str);
        if in_kernel(SENDS) || own == "__send" {
            return Self::KernelSend;
        }
        if in_kernel(RECEIVES) {
            return Self::KernelReceive;
        }
        if in_kernel(ENTERS) || own == "syscall" {
            return Self::Enter;
        }
        if kernel().next().is_some() {
            return Self::Other;
        }
        frames.iter().rev().find_map(|frame| Self::of_frame(frame)).unwrap_or(Self::Other)
    }

    fn of_frame(frame: &str) -> Option<Self> {
        let has = |marks: &&(Self, &[&str])| marks.1.iter().any(|mark| frame.contains(mark));
        MARKS.iter().find(has).map(|(group, _)| *group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frames: &str, expected: Group) {
        let frames: Vec<String> = frames.split(';').map(str::to_owned).collect();
        assert_eq!(Group::of(&frames), expected);
    }

    #[test]
    fn the_innermost_frame_that_says_so_decides() {
        check("reactor::turn;dht::dispatch;wire::resp::Plain::read;core::slice::get", Group::Parse);
        check("reactor::turn;dht::dispatch;state::table::Table::get;memmove", Group::Table);
        check("reactor::turn;dht::dispatch", Group::Shard);
        check("reactor::turn;dht::shard;mi_free", Group::Allocator);
        check("_start;main", Group::Other);
    }

    #[test]
    fn time_in_the_kernel_goes_to_the_call() {
        check("reactor;__send;__sys_sendto_[k];tcp_v4_rcv_[k];sock_def_readable_[k]", Group::KernelSend);
        check(
            "reactor;syscall;__x64_sys_io_uring_enter_[k];io_recv_[k];tcp_recvmsg_[k]",
            Group::KernelReceive,
        );
        check("reactor;syscall;__x64_sys_io_uring_enter_[k];schedule_[k]", Group::Enter);
        check("reactor;syscall", Group::Enter);
        check("dht::store;asm_exc_page_fault_[k]", Group::Other);
    }
}
