//! What a core of this system says to another. Archived by rkyv, read in place by the core that hears it.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use rkyv::{Archive, Serialize};

/// One message.
#[derive(Archive, Serialize, Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing yet.
    Nothing,
}
