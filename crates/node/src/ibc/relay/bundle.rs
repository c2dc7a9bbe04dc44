//! Which messages share a transaction, and in which order they go.

use super::Owed;
use crate::ibc::{show::Claim, submit::Outgoing};
use ibc_proto::google::protobuf::Any;
use postrider_ibc::{
    ChannelEndId, Order, Sequence, messages,
    plan::{BatchLimits, Item, batches},
};
use postrider_message::{DutyId, DutyKind};
use std::collections::HashMap;

/// The most messages of one transaction.
const MAX_IN_ONE: usize = 100;
/// The most bytes of the messages of one transaction.
const MAX_BYTES: usize = 700_000;

/// A place in the queue of an ordered channel: what a chain takes only after all before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    kind: DutyKind,
    end: ChannelEndId,
    sequence: Sequence,
}

impl Turn {
    /// The place of a claim; `None` where its chain takes it in any order.
    pub(super) fn of(claim: &Claim<'_>) -> Option<Self> {
        let Owed { duty, packet, .. } = claim.owed;
        let queues = matches!(duty.kind, DutyKind::Receive | DutyKind::Acknowledge)
            && claim.channel().order() == Order::Ordered;
        let end = claim.owed.here().clone();
        queues.then_some(Self { kind: duty.kind, end, sequence: packet.sequence })
    }
}

/// A message that can be sent once the client holds the height of its proof.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) message: Any,
    pub(super) duty: DutyId,
    pub(super) kind: DutyKind,
    pub(super) attempts: u32,
    pub(super) alone: bool,
    pub(super) turn: Option<Turn>,
}

/// Puts messages of one kind together. What failed before travels with fewer others, so that one that
/// fails again takes nothing from the rest. Over an ordered channel all travel as the one that failed most
/// often, in their order, and none after one that is `missing`.
pub(super) fn bundles(mut ready: Vec<Ready>, missing: &[Turn]) -> Vec<Outgoing> {
    let queue = |turn: &Turn| (turn.kind, turn.end.clone());
    let mut first_missing: HashMap<_, Sequence> = HashMap::new();
    for turn in missing {
        let first = first_missing.entry(queue(turn)).or_insert(turn.sequence);
        *first = turn.sequence.min(*first);
    }
    let can_go =
        |turn: &Turn| first_missing.get(&queue(turn)).is_none_or(|first| turn.sequence < *first);
    ready.retain(|ready| ready.turn.as_ref().is_none_or(can_go));
    let mut most_attempts: HashMap<_, u32> = HashMap::new();
    for (turn, attempts) in ready.iter().filter_map(|r| Some((r.turn.as_ref()?, r.attempts))) {
        let most = most_attempts.entry(queue(turn)).or_default();
        *most = attempts.max(*most);
    }
    for ready in &mut ready {
        let most = ready.turn.as_ref().and_then(|turn| most_attempts.get(&queue(turn)));
        ready.attempts = most.copied().unwrap_or(ready.attempts);
    }
    ready.sort_by(|a, b| (a.kind, a.attempts, &a.turn).cmp(&(b.kind, b.attempts, &b.turn)));
    let mut bundles = Vec::new();
    for alike in ready.chunk_by(|a, b| (a.kind, a.attempts) == (b.kind, b.attempts)) {
        let Some(Ready { kind, attempts, .. }) = alike.first() else { continue };
        let limits = BatchLimits { max_count: max_in_one(*attempts), max_bytes: MAX_BYTES };
        let items = alike.iter().map(|ready| Item {
            bytes: messages::size(&ready.message),
            alone: ready.alone,
            what: (ready.message.clone(), ready.duty),
        });
        for batch in batches(items.collect(), limits) {
            let (messages, duties) = batch.into_iter().unzip();
            bundles.push(Outgoing { messages, purpose: kind.to_string(), duties });
        }
    }
    bundles
}

fn max_in_one(attempts: u32) -> usize {
    match attempts {
        0 => MAX_IN_ONE,
        1 => MAX_IN_ONE / 4,
        2 => MAX_IN_ONE / 20,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use proptest::prelude::*;

    fn ready(number: u8, attempts: u32) -> Ready {
        let message = Any { type_url: "/m".to_owned(), value: vec![number] };
        let duty = DutyId(B256::repeat_byte(number));
        Ready { message, duty, kind: DutyKind::Receive, attempts, alone: false, turn: None }
    }

    fn in_turn(number: u8, attempts: u32, end: &str) -> Ready {
        let sequence = u64::from(number).try_into().unwrap();
        let turn = Turn { kind: DutyKind::Receive, end: end.parse().unwrap(), sequence };
        Ready { turn: Some(turn), ..ready(number, attempts) }
    }

    fn numbers(bundles: &[Outgoing]) -> Vec<Vec<u8>> {
        let of = |bundle: &Outgoing| bundle.messages.iter().map(|m| m.value[0]).collect();
        bundles.iter().map(of).collect()
    }

    #[test]
    fn r6_what_failed_travels_with_fewer_others() {
        for (attempts, sizes) in
            [(0, vec![100, 20]), (1, vec![25; 4]), (2, vec![5; 24]), (3, vec![1; 120])]
        {
            let all = (0..120).map(|n| ready(n, attempts)).collect();
            let lengths: Vec<_> = numbers(&bundles(all, &[])).iter().map(Vec::len).collect();
            assert_eq!(lengths[..sizes.len()], sizes, "{attempts}");
        }
        let mixed = vec![ready(1, 1), ready(2, 0), ready(3, 1), ready(4, 0)];
        assert_eq!(numbers(&bundles(mixed, &[])), [vec![2, 4], vec![1, 3]], "the untried go first");
    }

    #[test]
    fn what_comes_near_its_timeout_travels_alone() {
        let near = Ready { alone: true, ..ready(2, 0) };
        let all = vec![ready(1, 0), near, ready(3, 0), ready(4, 0)];
        assert_eq!(numbers(&bundles(all, &[])), [vec![1], vec![2], vec![3, 4]]);
    }

    #[test]
    fn over_an_ordered_channel_nothing_overtakes_what_failed() {
        let (one, other) = ("port/channel-0", "port/channel-1");
        let all = vec![in_turn(9, 0, one), in_turn(7, 0, one), in_turn(8, 1, one), ready(1, 0)];
        assert_eq!(numbers(&bundles(all.clone(), &[])), [vec![1], vec![7, 8, 9]]);
        let missing = [in_turn(8, 0, one).turn.unwrap()];
        assert_eq!(
            numbers(&bundles(all, &missing)),
            [vec![1, 7]],
            "none goes after one that does not"
        );
        let apart = vec![in_turn(9, 0, other), in_turn(7, 1, one)];
        assert_eq!(numbers(&bundles(apart, &missing)), [vec![9], vec![7]], "channels are apart");
    }

    proptest! {
        #[test]
        fn channels_keep_their_order_whatever_failed(
            attempts in proptest::collection::vec(0u32..4, 1..60),
            rotated in 0usize..60,
        ) {
            let end = |n: usize| if n.is_multiple_of(2) { "port/channel-0" } else { "port/channel-1" };
            let mut all: Vec<_> = attempts.iter().enumerate()
                .map(|(n, attempts)| in_turn(u8::try_from(n + 1).unwrap(), *attempts, end(n)))
                .collect();
            let count = all.len();
            all.rotate_left(rotated % count);
            let sent = numbers(&bundles(all, &[])).concat();
            prop_assert_eq!(sent.len(), count, "nothing is lost or doubled");
            for parity in [0, 1] {
                let of_one: Vec<_> = sent.iter().filter(|n| *n % 2 == parity).collect();
                prop_assert!(of_one.is_sorted(), "{:?}", of_one);
            }
        }
    }
}
