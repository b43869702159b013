//! How much room is asked for: always a size that the allocator has, so that nothing is lost inside its blocks and
//! what is accounted for is what is taken.

/// The least size from `bytes` on that an allocator with four size classes between powers of two gives out whole:
/// mimalloc has these, jemalloc too. It is more than asked for by a quarter at most, an eighth on average.
pub(super) const fn roomy(bytes: usize) -> usize {
    if bytes <= 64 {
        return bytes.next_multiple_of(16);
    }
    let step = 1usize << (usize::BITS - 1 - (bytes - 1).leading_zeros() - 2);
    bytes.next_multiple_of(step)
}

/// Makes room in a vector of `T` for one more, growing it by a quarter at most.
pub(super) fn make_room<T>(items: &mut Vec<T>) {
    if items.len() == items.capacity() {
        let whole = roomy((items.len() + 1) * size_of::<T>()) / size_of::<T>();
        items.reserve_exact(whole - items.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_allocator() {
        let check = |bytes, expected| assert_eq!(roomy(bytes), expected, "{bytes} bytes");
        check(0, 0);
        check(1, 16);
        check(64, 64);
        check(65, 80);
        check(128, 128);
        check(129, 160);
        check(1_793, 2_048);
        check(2_048, 2_048);
        check(2_049, 2_560);
        check(65_472, 65_536);
        for bytes in 1..70_000 {
            let room = roomy(bytes);
            assert!(room >= bytes && roomy(room) == room && (room <= 64 || room <= bytes + bytes / 4 + 1));
        }
    }
}
