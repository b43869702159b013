//! When the kernel had what a receive brought. A clock read after the completion tells when this core came to look,
//! and a busy core comes late; who measures wants the difference. TCP tells the time only in a control message, and
//! a plain receive of an io_uring has no room for one: so where a plan asks for times, dialled connections are
//! received from with multishot recvmsg, whose buffers begin with a header and that control message.
//!
//! The one hard thing: the kernel's time is of the wall clock, which may jump. It is turned into a distance from
//! the moment of reading, and what cannot be is taken for no delay.

use io_uring::types::RecvMsgOut;
use machine::{Instant, Now};
use std::io;
use std::os::fd::RawFd;

/// Room for one control message with a timespec: a header of 16 bytes, and 16.
const CONTROL: usize = 32;
/// A longer delay than this is a wall clock that jumped.
const DELAY_MAX_MICROS: u64 = 60_000_000;

/// The message header that receives are asked with: no name, room for the control message.
pub(crate) fn template() -> Box<libc::msghdr> {
    // SAFETY: an all-zero msghdr is a valid empty one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_controllen = CONTROL as _;
    Box::new(header)
}

/// Asks for times on this socket.
pub(crate) fn ask(fd: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int of ours, and its size is passed.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a buffer holds: where its payload begins, how long that is, and when the kernel had the last of it, where
/// it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) from: usize,
    pub(crate) len: usize,
    pub(crate) at: Option<Instant>,
}

/// Reads a buffer that was received with `template`, at `now`. A payload of none is the end of the stream.
pub(crate) fn open(bytes: &[u8], template: &libc::msghdr, now: Now) -> Stamped {
    let Ok(out) = RecvMsgOut::parse(bytes, template) else { return Stamped { from: 0, len: 0, at: None } };
    let payload = out.payload_data();
    let from = payload.as_ptr().addr() - bytes.as_ptr().addr();
    let at = wall_micros(out.control_data()).and_then(|wall| instant_of(wall, now));
    Stamped { from, len: payload.len(), at }
}

/// The wall clock's microseconds in a control message of a time.
fn wall_micros(control: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(i64::from_ne_bytes(control.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(i32::from_ne_bytes(control.get(at..at + 4)?.try_into().ok()?));
    let (level, kind) = (half(8)?, half(12)?);
    let (seconds, nanos) = (word(16)?, word(24)?);
    let is_time = level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS && seconds > 0 && nanos >= 0;
    is_time.then(|| seconds as u64 * 1_000_000 + nanos as u64 / 1000)
}

/// The instant of a moment of the wall clock not long before `now`.
fn instant_of(wall: u64, now: Now) -> Option<Instant> {
    let delay = now.wall.micros().saturating_sub(wall);
    let at = now.at.nanos().checked_sub(delay * 1000)?;
    (delay <= DELAY_MAX_MICROS).then(|| Instant::from_nanos(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::WallTime;

    fn control(level: i32, kind: i32, seconds: i64, nanos: i64) -> Vec<u8> {
        let mut bytes = 32_u64.to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(seconds.to_ne_bytes());
        bytes.extend(nanos.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_time_is_read_where_there_is_one() {
        let time = control(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, 7, 5_999);
        assert_eq!(wall_micros(&time), Some(7_000_005));
        assert_eq!(wall_micros(&control(libc::SOL_SOCKET, 1, 7, 5)), None);
        assert_eq!(wall_micros(&control(0, libc::SCM_TIMESTAMPNS, 7, 5)), None);
        (0..time.len()).for_each(|cut| assert_eq!(wall_micros(&time[..cut]), None));
    }

    #[test]
    fn a_jump_of_the_wall_clock_is_no_delay() {
        let now = Now { at: Instant::from_nanos(100_000_000), wall: WallTime::from_micros(5_000_000_000) };
        assert_eq!(instant_of(4_999_999_980, now), Some(Instant::from_nanos(99_980_000)));
        assert_eq!(instant_of(5_000_000_009, now), Some(now.at), "a clock set back");
        assert_eq!(instant_of(1_000_000_000, now), None, "a clock set forward by an hour");
    }
}
