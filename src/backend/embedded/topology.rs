//! The tree of ranks (kary:2). It is only computed, so a rank costs nothing.

const FANOUT: u32 = 2;

/// The rank above this one; `None` for rank 0.
pub(super) fn parent(rank: u32) -> Option<u32> {
    Some(rank.checked_sub(1)? / FANOUT)
}

/// The number of hops from this rank to rank 0.
pub(super) fn level(rank: u32) -> u32 {
    std::iter::successors(parent(rank), |&rank| parent(rank)).count() as u32
}

/// The number of ranks below this one.
pub(super) fn descendants(rank: u32, size: u32) -> u32 {
    let (mut first, mut last, mut count) = (rank, rank, 0);
    loop {
        first = first * FANOUT + 1;
        last = last * FANOUT + FANOUT;
        if first >= size {
            return count;
        }
        count += last.min(size - 1) - first + 1;
    }
}
