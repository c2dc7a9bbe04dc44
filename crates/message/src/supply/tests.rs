use super::*;
use Judgement as J;
use proptest::prelude::*;

fn leg(amount: u128, time: u64) -> Option<Leg> {
    Some(Leg { amount: Amount(amount), time: BlockTime(time) })
}

fn transfer(debit: Option<Leg>, credit: Option<Leg>) -> Transfer {
    Transfer { nonce: MessageNonce(5), debit, credit }
}

fn seen_until(time: u64) -> SourceView {
    SourceView { until: Some(BlockTime(time)), ..SourceView::default() }
}

/// Class (e): what is given is bound to what was taken, in amount and in order.
#[test]
fn class_e_a_credit_is_compared_with_its_debit() {
    let nothing = SourceView::default();
    let judged = |debit, credit| judge(&transfer(debit, credit), &nothing);
    assert_eq!(judged(None, None), None);
    assert_eq!(judged(leg(7, 100), None), Some(J::InFlight));
    assert_eq!(judged(leg(7, 100), leg(7, 101)), Some(J::Even));
    assert_eq!(judged(leg(7, 100), leg(6, 101)), Some(J::Even), "a fee was kept");
    let more = J::Breached(Breach::MoreThanDebited);
    assert_eq!(judged(leg(7, 100), leg(8, 101)), Some(more));
    assert_eq!(judged(leg(0, 100), leg(1, 101)), Some(more), "an event without value");
    // Clocks may differ; no clock differs by minutes.
    assert_eq!(judged(leg(7, 100 + CLOCK_SKEW), leg(7, 100)), Some(J::Even));
    let before = J::Breached(Breach::BeforeDebited);
    assert_eq!(judged(leg(7, 101 + CLOCK_SKEW), leg(7, 100)), Some(before));
}

/// Class (f): what was never sent is a breach as soon as the source is proven beyond the credit, and
/// not before.
#[test]
fn class_f_a_credit_without_a_debit_waits_for_the_source() {
    let forged = transfer(None, leg(7, 100));
    let judged = |view: SourceView| judge(&forged, &view).unwrap();
    let after = seen_until(101 + CLOCK_SKEW);
    let never = J::Breached(Breach::NeverDebited);
    assert_eq!(judged(SourceView::default()), J::Awaited);
    assert_eq!(judged(seen_until(100 + CLOCK_SKEW)), J::Awaited);
    assert_eq!(judged(after), J::Unasked);
    // The lane was read from an earlier message on, so this one would have been read.
    assert_eq!(judged(SourceView { first: Some(MessageNonce(4)), ..after }), never);
    assert_eq!(judged(SourceView { first: Some(MessageNonce(5)), ..after }), never);
    // It was read, before anybody looked for debits.
    let unread = SourceView { first: Some(MessageNonce(5)), unread: true, ..after };
    assert_eq!(judged(unread), J::BeforeView);
    assert_eq!(judged(SourceView { until: None, ..unread }), J::Awaited);
    // It was not, and the source tells how many it ever sent.
    let later = SourceView { first: Some(MessageNonce(6)), ..after };
    assert_eq!(judged(later), J::Unasked);
    assert_eq!(judged(SourceView { sent: Some(4), ..later }), never);
    assert_eq!(judged(SourceView { sent: Some(5), ..later }), J::BeforeView);
    // What belongs to no delivered message needs no look at a source.
    let stray = Transfer { nonce: MessageNonce(0), ..forged };
    let stray = judge(&stray, &SourceView::default());
    assert_eq!(stray, Some(J::Breached(Breach::NotDelivered)));
}

#[test]
fn judgements_are_read_back_from_their_names() {
    for judgement in [J::InFlight, J::Even, J::Awaited, J::Unasked, J::BeforeView] {
        assert_eq!(J::named(judgement.as_str()), Some(judgement));
    }
    for breach in ["never_debited", "more_than_debited", "before_debited", "not_delivered"] {
        let found = J::named(breach).unwrap();
        assert!(matches!(found, J::Breached(_)) && found.as_str() == breach);
    }
    assert_eq!(J::named("Even"), None);
}

#[test]
fn amounts_are_shown_in_whole_tokens() {
    let show = |units: u128, decimals| SharedDecimals(decimals).show(U256::from(units));
    for (units, decimals, shown) in [
        (0, 6, "0"),
        (1, 6, "0.000001"),
        (12_500_000, 6, "12.5"),
        (12_000_000, 6, "12"),
        (12, 0, "12"),
        (100, 2, "1"),
        (u128::MAX, 0, "340282366920938463463374607431768211455"),
    ] {
        assert_eq!(show(units, decimals), shown);
    }
    assert_eq!(show(1, 255).len(), 257);
}

prop_compose! {
    fn any_leg()(present: bool, amount in prop_oneof![0u128..20, Just(u128::MAX)], time in 0u64..60)
        -> Option<Leg>
    {
        present.then_some(Leg { amount: Amount(amount), time: BlockTime(time) })
    }
}

prop_compose! {
    fn any_transfer()(nonce in 0u64..8, debit in any_leg(), credit in any_leg()) -> Transfer {
        Transfer { nonce: MessageNonce(nonce), debit, credit }
    }
}

prop_compose! {
    fn any_view()(until: Option<u8>, first in proptest::option::of(0u64..8),
        sent in proptest::option::of(0u64..8), unread: bool) -> SourceView
    {
        let until = until.map(|time| BlockTime(time.into()));
        SourceView { until, first: first.map(MessageNonce), sent, unread }
    }
}

proptest! {
    /// Whatever happened, a lane without a breach credited no more than it debited; and what is
    /// known in addition never covers a breach that needs no debit.
    #[test]
    fn class_e_without_a_breach_credits_never_exceed_debits(
        transfers in proptest::collection::vec((any_transfer(), any_view()), 0..20)
    ) {
        let (mut sums, mut breached) = (Sums::default(), false);
        for (transfer, view) in transfers {
            let Some(judgement) = judge(&transfer, &view) else { continue };
            breached |= matches!(judgement, J::Breached(_));
            // It is first seen as it stands when nothing is known of the source.
            let early = judge(&transfer, &SourceView::default()).unwrap();
            let now = Sums::of(&transfer, judgement);
            sums = sums.moved(Sums::default(), Sums::of(&transfer, early));
            sums = sums.moved(Sums::of(&transfer, early), now);
            prop_assert!(breached || sums.credited <= sums.debited);
            prop_assert!(sums.in_flight <= sums.debited);
        }
    }

    /// Transfers that cross in both directions, read in any order, are never a breach: whatever is
    /// known of the source holds all it sent until then.
    #[test]
    fn class_e_crossing_transfers_are_no_breach(
        sent_at in 0u64..100, travels in 0u64..100, amount: u128, nonce in 1u64..5, until in 0u64..300
    ) {
        let credited = leg(amount, sent_at + travels);
        let known = until >= sent_at;
        let debit = if known { leg(amount, sent_at) } else { None };
        let view = SourceView { until: Some(BlockTime(until)), first: Some(MessageNonce(1)), ..SourceView::default() };
        let judged = judge(&Transfer { nonce: MessageNonce(nonce), debit, credit: credited }, &view);
        prop_assert_eq!(judged, Some(if known { J::Even } else { J::Awaited }));
    }
}
