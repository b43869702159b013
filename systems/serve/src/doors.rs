//! Ports found before anything starts, and how the READY line tells them.

use reactor::{Doors, Fatal};
use std::net::{IpAddr, SocketAddr};

/// One port for each of `count` cores, from `base` on; 0 takes free ones.
pub fn for_cores(doors: &Doors, listen: IpAddr, base: u16, count: usize) -> Result<Vec<SocketAddr>, Fatal> {
    (0..count)
        .map(|core| {
            let port = match base {
                0 => 0,
                base => u16::try_from(usize::from(base) + core).map_err(|_| {
                    Fatal::misuse(format!("--core-port {base} leaves no ports for {count} cores"))
                })?,
            };
            doors.reserve(SocketAddr::new(listen, port))
        })
        .collect()
}

/// `127.0.0.1:7000-7001` for ports in a row, `127.0.0.1:7000,7003` for others.
#[must_use]
pub fn listed(at: &[SocketAddr]) -> String {
    let [first, rest @ ..] = at else { return String::new() };
    let in_a_row = at.windows(2).all(|pair| u32::from(pair[0].port()) + 1 == u32::from(pair[1].port()));
    match rest {
        [] => first.to_string(),
        [.., last] if in_a_row => format!("{first}-{}", last.port()),
        _ => rest.iter().fold(first.to_string(), |text, next| format!("{text},{}", next.port())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_told_as_a_range_or_a_list() {
        #[track_caller]
        fn check(ports: &[u16], expected: &str) {
            let at: Vec<SocketAddr> = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
            assert_eq!(listed(&at), expected);
        }
        check(&[7000], "127.0.0.1:7000");
        check(&[7000, 7001, 7002], "127.0.0.1:7000-7002");
        check(&[7000, 7003], "127.0.0.1:7000,7003");
        check(&[7001, 7000], "127.0.0.1:7001,7000");
    }
}
