//! The retry budget: how many requests may be sent a second time.
//!
//! Retries help when one replica dies and hurt when all are slow: then each adds load to what is overloaded. So they
//! may be a fifth of all requests, with some in hand for the moment in which a replica dies with all that was in
//! flight to it.

/// Retries in hand at most: more than can be in flight to one replica from one core, four times over.
const IN_HAND_MAX: u64 = 1024;

/// A retry costs so much of what each request adds one of.
const COST: u64 = 5;

/// The budget of one core.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: IN_HAND_MAX * COST }
    }

    /// A request has come.
    pub(super) fn earn(&mut self) {
        self.left = (self.left + 1).min(IN_HAND_MAX * COST);
    }

    /// Whether one may be sent again; if so it is paid.
    pub(super) fn spend(&mut self) -> bool {
        let can = self.left >= COST;
        self.left -= if can { COST } else { 0 };
        can
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_all_requests_may_be_sent_again_once_what_is_in_hand_is_spent() {
        let mut budget = Budget::new();
        assert_eq!((0..2000).filter(|_| budget.spend()).count() as u64, IN_HAND_MAX);
        let again = (0..1000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(again.count(), 200);
    }
}
