//! What the operator meant.

use machine::Address;

/// As the operator meant it, the same on every core.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub http: Address,
    /// Where workers connect.
    pub dispatch: Vec<Address>,
}
