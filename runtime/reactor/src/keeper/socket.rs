//! Packets with descriptors beside them, over a pair of unix sockets (SOCK_SEQPACKET: each message whole or not at
//! all). The hard thing is who owns a descriptor when: what is received is owned at once, also where it is more
//! than was expected, so that nothing leaks.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The most descriptors beside one packet: one for each standard stream.
pub(crate) const DESCRIPTORS_MAX: usize = 3;

/// What a packet brought.
#[derive(Debug)]
pub(crate) struct Packet {
    /// How many bytes of the buffer it filled; 0 when the other side is gone.
    pub(crate) length: usize,
    /// What came beside it.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Room for a control message of [`DESCRIPTORS_MAX`] descriptors, aligned as the kernel's headers want it.
type Control = [u64; 8];

/// A pair of sockets, close-on-exec and nonblocking, with as much of this buffer as the system allows.
pub(crate) fn pair(buffer: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends: [RawFd; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socketpair writes two descriptors, into `ends`.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    // SAFETY: both were just made and belong to nobody else.
    let ends = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    for end in [&ends.0, &ends.1] {
        let size = libc::c_int::try_from(buffer).unwrap_or(libc::c_int::MAX);
        // SAFETY: the option is one int, read from `size`. Where it is refused the default stays, which also does.
        unsafe {
            libc::setsockopt(
                end.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDBUF,
                (&raw const size).cast(),
                mem::size_of_val(&size) as libc::socklen_t,
            );
        }
    }
    Ok(ends)
}

/// Sends one packet, without waiting. The other side gets duplicates of the descriptors.
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    assert!(descriptors.len() <= DESCRIPTORS_MAX);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control: Control = [0; 8];
    // SAFETY: a msghdr of zeros is a valid, empty one.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let size = mem::size_of_val(descriptors);
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: these only compute; three descriptors need 32 bytes, `control` has 64 and is aligned for a
        // cmsghdr, so the first header and its data lie inside it.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(size as u32) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(size as u32) as _;
            let data = libc::CMSG_DATA(first).cast::<RawFd>();
            for (index, descriptor) in descriptors.iter().enumerate() {
                data.add(index).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    // SAFETY: `header` points at `part` and `control`, which live until the call returns; the kernel only reads.
    let sent = unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one packet, without waiting. Bytes over the buffer's length are lost, and so are descriptors for which
/// this process has no room.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Packet> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control: Control = [0; 8];
    // SAFETY: a msghdr of zeros is a valid, empty one.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of_val(&control) as _;
    // SAFETY: `header` points at `part` (the buffer) and `control`, both writable and alive until the call returns.
    let length = unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC)
    };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Packet { length: length.unsigned_abs(), descriptors: descriptors_of(&header) })
}

/// Takes ownership of the descriptors that a received header brought.
fn descriptors_of(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled `msg_control` up to `msg_controllen` with whole control messages, and the CMSG
    // functions stay inside them. Each descriptor found was installed for us by this call and is named once.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while !next.is_null() {
            if (*next).cmsg_level == libc::SOL_SOCKET && (*next).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(next).cast::<RawFd>();
                let size = (*next).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                for index in 0..size / mem::size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    descriptors
}

/// The result of a system call that says -1 when it fails.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_packet_arrives_whole_with_its_descriptors() {
        let (one, other) = pair(1 << 16).unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(&one, b"first", &[OwnedFd::from(writer)]).unwrap();
        send(&one, b"second", &[]).unwrap();
        let mut buffer = [0; 64];
        let packet = receive(&other, &mut buffer).unwrap();
        assert_eq!((&buffer[..packet.length], packet.descriptors.len()), (&b"first"[..], 1));
        let mut file = std::fs::File::from(packet.descriptors.into_iter().next().unwrap());
        file.write_all(b"through").unwrap();
        drop(file);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert_eq!(receive(&other, &mut buffer).unwrap().length, 6);
    }

    #[test]
    fn nothing_waits() {
        let (one, other) = pair(1 << 16).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(receive(&other, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let full = loop {
            if let Err(error) = send(&one, &[0; 4096], &[]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_end_is_an_empty_packet() {
        let (one, other) = pair(1 << 16).unwrap();
        let mut buffer = [0; 4];
        send(&one, b"last", &[]).unwrap();
        drop(one);
        assert_eq!(receive(&other, &mut buffer).unwrap().length, 4);
        assert_eq!(receive(&other, &mut buffer).unwrap().length, 0);
    }
}
