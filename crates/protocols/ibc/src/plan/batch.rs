//! Which messages share a transaction.

/// How much a transaction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most messages.
    pub max_count: usize,
    /// The most bytes of messages together.
    pub max_bytes: usize,
}

impl Default for BatchLimits {
    /// What every chain takes: CometBFT's pools refuse transactions above 1 MiB, and a simulation travels as
    /// hexadecimal within a request of 1 MB.
    fn default() -> Self {
        Self { max_count: 100, max_bytes: 400_000 }
    }
}

/// Something to be put in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<T> {
    /// What it is.
    pub what: T,
    /// How many bytes it takes there.
    pub bytes: usize,
    /// It shares its transaction with nothing.
    pub alone: bool,
}

/// Puts items together in their order, as many as fit in each batch. One that is too large by itself makes a
/// batch of its own: whoever sends it learns from the chain that it is refused.
#[must_use]
pub fn batches<T>(items: Vec<Item<T>>, limits: BatchLimits) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let (mut open, mut bytes) = (Vec::new(), 0usize);
    let mut is_alone = false;
    for item in items {
        let is_full = open.len() >= limits.max_count.max(1)
            || bytes.saturating_add(item.bytes) > limits.max_bytes;
        if !open.is_empty() && (is_full || is_alone || item.alone) {
            batches.push(std::mem::take(&mut open));
            bytes = 0;
        }
        bytes = bytes.saturating_add(item.bytes);
        is_alone = item.alone;
        open.push(item.what);
    }
    if !open.is_empty() {
        batches.push(open);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(what: u32, bytes: usize, alone: bool) -> Item<u32> {
        Item { what, bytes, alone }
    }

    #[test]
    fn items_are_put_together_in_order() {
        let limits = BatchLimits { max_count: 3, max_bytes: 10 };
        let cases = [
            (vec![], vec![]),
            (vec![item(1, 11, false)], vec![vec![1]]),
            (
                vec![item(1, 5, false), item(2, 5, false), item(3, 1, false)],
                vec![vec![1, 2], vec![3]],
            ),
            (
                vec![item(1, 1, false), item(2, 1, true), item(3, 1, false), item(4, 1, false)],
                vec![vec![1], vec![2], vec![3, 4]],
            ),
            ((1..=4).map(|n| item(n, 0, false)).collect(), vec![vec![1, 2, 3], vec![4]]),
        ];
        for (items, expected) in cases {
            assert_eq!(batches(items, limits), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_moved_and_limits_hold(
            items in prop::collection::vec((0usize..40, any::<bool>()), 0..60),
            max_count in 0usize..6,
            max_bytes in 0usize..60,
        ) {
            let items: Vec<_> =
                items.iter().enumerate().map(|(n, &(bytes, alone))| Item { what: n, bytes, alone }).collect();
            let made = batches(items.clone(), BatchLimits { max_count, max_bytes });
            prop_assert_eq!(made.concat(), (0..items.len()).collect::<Vec<_>>());
            for batch in made {
                prop_assert!(batch.len() <= max_count.max(1));
                let bytes: usize = batch.iter().map(|n| items[*n].bytes).sum();
                prop_assert!(bytes <= max_bytes || batch.len() == 1);
                prop_assert!(batch.len() == 1 || batch.iter().all(|n| !items[*n].alone));
            }
        }
    }
}
