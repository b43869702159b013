//! That both ends of a link know the cluster's key, without saying it: each sends a challenge in its hello and answers
//! the other's with an HMAC (RFC 2104) over both hellos.
//!
//! The hard thing is that answers must be good for nothing else. They cover both challenges, both nodes and cores, the
//! system and the version, and begin with which end speaks, so that neither an answer of an earlier link nor an end's
//! own answer sent back to it is one. What follows on the link is as safe as the network it goes over: nothing is
//! hidden, and who can change packets on their way can change it.
//!
//! Order: hello of who dialled; hello and proof of who accepted; proof of who dialled; messages.

use crate::link::{self, Hello};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

/// Bytes of a challenge.
pub const CHALLENGE: usize = 32;
/// Bytes of a proof.
pub const PROOF: usize = 32;
/// The shortest key. A shorter one could be guessed from one overheard link.
pub const KEY_MIN: usize = 16;

/// Random bytes, new for each link.
pub type Challenge = [u8; CHALLENGE];

/// Which end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It dialled.
    Dialler,
    /// It accepted.
    Acceptor,
}

/// A cluster's key. Never shown.
#[derive(Clone)]
pub struct Key(Box<[u8]>);

impl Key {
    /// The key of these bytes, at least [`KEY_MIN`] once white space around them is left out, as an editor may add it.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii();
        (bytes.len() >= KEY_MIN).then(|| Self(bytes.into()))
    }

    fn mac(&self, end: End, dialler: &Hello<'_>, acceptor: &Hello<'_>) -> Hmac<Sha256> {
        let mut said = vec![match end {
            End::Dialler => b'd',
            End::Acceptor => b'a',
        }];
        link::write_hello(&mut said, dialler);
        link::write_hello(&mut said, acceptor);
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(&said);
        mac
    }

    /// What that end sends to prove that it knows the key.
    #[must_use]
    pub fn proof(&self, end: End, dialler: &Hello<'_>, acceptor: &Hello<'_>) -> [u8; PROOF] {
        self.mac(end, dialler, acceptor).finalize().into_bytes().into()
    }

    /// Whether that end has proved it. Takes as long for every wrong proof.
    #[must_use]
    pub fn is_proved(
        &self,
        end: End,
        dialler: &Hello<'_>,
        acceptor: &Hello<'_>,
        proof: &[u8; PROOF],
    ) -> bool {
        self.mac(end, dialler, acceptor).verify_slice(proof).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
