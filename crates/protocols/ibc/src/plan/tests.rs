use super::*;
use crate::{ids::HandshakeState, packet::Timeout, packet::tests::packet};
use alloy_primitives::B256;
use postrider_message::{
    BlockHash, BlockRef, Height as BlockHeight, LaneId, MessageId, Observation, PayloadHash,
    Subject, TxHash,
};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const ACK: &[u8] = br#"{"result":"AQ=="}"#;

fn at(height: u64, seconds: u64) -> ChainTime {
    ChainTime {
        height: Height { revision_number: 1, revision_height: height },
        nanoseconds: seconds * SECOND,
    }
}

fn end(to: &str, state: HandshakeState, order: Order) -> ChannelEnd {
    let to: ChannelEndId = to.parse().unwrap();
    ChannelEnd {
        state,
        order,
        counterparty_port: to.port,
        counterparty_channel: Some(to.channel),
        connection: "connection-0".parse().unwrap(),
        version: "ics20-1".into(),
    }
}

fn view_of(order: Order) -> LaneView {
    let side = |network: &str, to| EndView {
        network: network.parse().unwrap(),
        end: Some(end(to, HandshakeState::Open, order)),
        next: Some(1.try_into().unwrap()),
        client: None,
    };
    LaneView {
        source: side("alpha", "transfer/channel-7"),
        destination: side("beta", "transfer/channel-0"),
        newest: at(100, 1000),
        proven: at(99, 999),
        block_time: Duration::from_secs(5),
    }
}

fn view() -> LaneView {
    view_of(Order::Unordered)
}

fn timing_out(height: u64, seconds: u64) -> Packet {
    let height = Height { revision_number: u64::from(height != 0), revision_height: height };
    Packet { timeout: Timeout { height, nanoseconds: seconds * SECOND }, ..packet(1) }
}

fn duty(kind: DutyKind, state: DutyState) -> Duty {
    Duty {
        message: MessageId(B256::ZERO),
        kind,
        part: 0,
        network: "beta".parse().unwrap(),
        worker: "relayer".into(),
        state,
        attempts: 0,
        not_before: UnixMillis(0),
    }
}

fn due(kind: DutyKind) -> Duty {
    duty(kind, DutyState::Waiting(Reason::AwaitingPlan))
}

fn record(fact: Fact, certainty: Certainty) -> FactRecord {
    FactRecord {
        subject: Subject {
            lane: LaneId(B256::ZERO),
            nonce: MessageNonce(1),
            payload: Some(PayloadHash(B256::ZERO)),
        },
        fact,
        observation: Observation {
            network: "beta".parse().unwrap(),
            block: BlockRef { height: BlockHeight(1), hash: BlockHash(B256::ZERO) },
            index: 0,
            transaction: TxHash(B256::ZERO),
        },
        certainty,
        at: UnixMillis(0),
    }
}

fn written(certainty: Certainty) -> FactRecord {
    record(crate::Acknowledgement::fact(Bytes::from_static(ACK)), certainty)
}

fn decide(kind: DutyKind, packet: &Packet, facts: &[FactRecord], view: &LaneView) -> Action {
    let duties = [due(kind)];
    let job = PacketJob { packet, duties: &duties, facts };
    let [decision] = &plan(&[job], view, &Filter::default(), UnixMillis(0))[..] else { panic!() };
    decision.action.clone()
}

/// The action in short.
fn short(action: &Action) -> String {
    match action {
        Action::End(state) => format!("{} {}", state.as_str(), state.reason().unwrap().code()),
        Action::Wait { reason, .. } => format!("wait {}", reason.code()),
        Action::Receive { alone } => format!("receive{}", if *alone { " alone" } else { "" }),
        Action::Acknowledge { .. } => "acknowledge".into(),
        Action::TimeOut(how) => format!("time_out {:?} {}", how.absence, how.closed),
    }
}

#[test]
fn a_packet_goes_while_it_is_in_time() {
    let cases = [
        (timing_out(0, 5000), "receive"),
        (timing_out(200, 0), "receive"),
        (timing_out(104, 0), "receive"),
        // Two blocks on top of the next one reach it.
        (timing_out(103, 0), "receive alone"),
        (timing_out(102, 0), "receive alone"),
        (timing_out(0, 1011), "receive"),
        (timing_out(0, 1010), "receive alone"),
        (timing_out(0, 1001), "receive alone"),
        // The next block is too late, though no header that is accepted says so.
        (timing_out(101, 0), "wait timeout_passed"),
        (timing_out(0, 1000), "wait timeout_passed"),
        (timing_out(99, 0), "not_needed timeout_passed"),
        (timing_out(0, 999), "not_needed timeout_passed"),
        // Another revision began: heights of the old one are all past.
        (
            Packet {
                timeout: Timeout { height: "0-500".parse().unwrap(), nanoseconds: 0 },
                ..packet(1)
            },
            "not_needed timeout_passed",
        ),
    ];
    for (packet, expected) in cases {
        let action = decide(DutyKind::Receive, &packet, &[], &view());
        assert_eq!(short(&action), expected, "{:?}", packet.timeout);
    }
}

#[test]
fn a_timeout_goes_once_an_accepted_header_is_past_it() {
    let closed = |mut view: LaneView| {
        view.destination.end.as_mut().unwrap().state = HandshakeState::Closed;
        view
    };
    let mut read_later = view_of(Order::Ordered);
    read_later.destination.next = Some(2.try_into().unwrap());
    let mut unread = view_of(Order::Ordered);
    unread.destination.next = None;
    let ordered = "time_out NextReceive(Sequence(1))";
    let cases = [
        (timing_out(99, 0), view(), "time_out NoReceipt false".to_owned()),
        (timing_out(0, 999), view(), "time_out NoReceipt false".into()),
        (timing_out(100, 0), view(), "wait awaiting_timeout".into()),
        (timing_out(0, 1000), view(), "wait awaiting_timeout".into()),
        (timing_out(500, 0), closed(view()), "time_out NoReceipt true".into()),
        (timing_out(99, 0), view_of(Order::Ordered), format!("{ordered} false")),
        (timing_out(500, 0), closed(view_of(Order::Ordered)), format!("{ordered} true")),
        (timing_out(99, 0), read_later, "not_needed received_in_time".into()),
        (timing_out(99, 0), unread, "wait channel_not_open".into()),
    ];
    for (packet, view, expected) in cases {
        let action = decide(DutyKind::TimeOut, &packet, &[], &view);
        assert_eq!(short(&action), expected, "{:?}", packet.timeout);
    }
    let Action::TimeOut(how) = decide(DutyKind::TimeOut, &timing_out(99, 0), &[], &view()) else {
        panic!()
    };
    assert_eq!(how.header, at(99, 0).height);
    let waits = decide(DutyKind::TimeOut, &timing_out(0, 1500), &[], &view());
    let until = Some(UnixMillis(1_500_000));
    assert_eq!(waits, Action::Wait { reason: Reason::AwaitingTimeout, until });
}

/// R1, class (f): what is only heard of neither sends nor ends anything.
#[test]
fn r1_class_f_only_proven_facts_move_a_packet() {
    use Certainty::{Hinted, Verified};
    use DutyKind::{Acknowledge, Receive, TimeOut};
    let late = timing_out(99, 0);
    let cases = [
        (Acknowledge, packet(1), vec![], "wait awaiting_acknowledgement"),
        (
            Acknowledge,
            packet(1),
            vec![record(Fact::Received, Verified)],
            "wait awaiting_acknowledgement",
        ),
        (Acknowledge, packet(1), vec![written(Hinted)], "wait awaiting_finality"),
        (Acknowledge, packet(1), vec![written(Verified)], "acknowledge"),
        (Acknowledge, packet(1), vec![written(Hinted), written(Verified)], "acknowledge"),
        (
            Acknowledge,
            packet(1),
            vec![written(Verified), record(Fact::Acknowledged, Hinted)],
            "wait awaiting_finality",
        ),
        (
            Receive,
            timing_out(500, 0),
            vec![record(Fact::Received, Hinted)],
            "wait awaiting_finality",
        ),
        (
            Receive,
            timing_out(500, 0),
            vec![record(Fact::TimedOut, Hinted)],
            "wait awaiting_finality",
        ),
        (TimeOut, late.clone(), vec![record(Fact::Received, Hinted)], "wait awaiting_finality"),
        (
            TimeOut,
            late.clone(),
            vec![record(Fact::Received, Verified)],
            "not_needed received_in_time",
        ),
        (TimeOut, late.clone(), vec![written(Verified)], "not_needed received_in_time"),
        (TimeOut, late, vec![record(Fact::Sent, Verified)], "time_out NoReceipt false"),
    ];
    for (kind, packet, facts, expected) in cases {
        assert_eq!(short(&decide(kind, &packet, &facts, &view())), expected, "{kind} {facts:?}");
    }
}

/// Classes (d), (l): a channel of the same name that leads elsewhere takes nothing.
#[test]
fn class_d_l_a_channel_that_leads_elsewhere_takes_nothing() {
    let (open, late) = (timing_out(500, 0), timing_out(99, 0));
    let facts = [written(Certainty::Verified)];
    for elsewhere in ["transfer/channel-1", "transfer2/channel-0", "transfer2/channel-7"] {
        let mut view = view();
        view.destination.end = Some(end(elsewhere, HandshakeState::Open, Order::Unordered));
        view.source.end = Some(end(elsewhere, HandshakeState::Open, Order::Unordered));
        let refused = "failed channel_not_open";
        assert_eq!(short(&decide(DutyKind::Receive, &open, &[], &view)), refused);
        assert_eq!(short(&decide(DutyKind::Acknowledge, &open, &facts, &view)), refused);
        assert_eq!(short(&decide(DutyKind::TimeOut, &late, &[], &view)), refused);
    }
    // That another channel is closed says nothing about this one.
    let mut view = view();
    view.destination.end =
        Some(end("transfer/channel-1", HandshakeState::Closed, Order::Unordered));
    assert_eq!(short(&decide(DutyKind::TimeOut, &open, &[], &view)), "wait awaiting_timeout");
}

#[test]
fn channels_take_what_their_state_allows() {
    use HandshakeState::{Closed, Init, Open, TryOpen};
    let (open, late) = (timing_out(500, 0), timing_out(99, 0));
    let facts = [written(Certainty::Verified)];
    let cases = [
        (
            Some(Init),
            ["wait channel_not_open", "wait channel_not_open", "time_out NoReceipt false"],
        ),
        (
            Some(TryOpen),
            ["wait channel_not_open", "wait channel_not_open", "time_out NoReceipt false"],
        ),
        (Some(Open), ["receive", "acknowledge", "time_out NoReceipt false"]),
        // The source lets a closed channel's packets time out, and takes no acknowledgement over it.
        (
            Some(Closed),
            ["not_needed channel_not_open", "failed channel_not_open", "time_out NoReceipt true"],
        ),
        (None, ["wait channel_not_open", "wait channel_not_open", "wait channel_not_open"]),
    ];
    for (state, expected) in cases {
        let mut view = view();
        for end in [&mut view.source.end, &mut view.destination.end] {
            match state {
                Some(state) => end.as_mut().unwrap().state = state,
                None => *end = None,
            }
        }
        let actions = [
            decide(DutyKind::Receive, &open, &[], &view),
            decide(DutyKind::Acknowledge, &open, &facts, &view),
            decide(DutyKind::TimeOut, &late, &[], &view),
        ];
        assert_eq!(actions.each_ref().map(short), expected, "{state:?}");
    }
}

#[test]
fn a_client_that_cannot_be_shown_anything_is_waited_for() {
    let unusable = Reason::ClientUnusable {
        client: "07-tendermint-0".into(),
        network: "beta".parse().unwrap(),
        detail: "it is frozen".into(),
    };
    let facts = [written(Certainty::Verified)];
    let mut there = view();
    there.destination.client = Some(unusable.clone());
    let mut here = view();
    here.source.client = Some(unusable.clone());
    let (open, late) = (timing_out(500, 0), timing_out(99, 0));
    let waits = Action::Wait { reason: unusable, until: None };
    assert_eq!(decide(DutyKind::Receive, &open, &[], &there), waits);
    assert_eq!(short(&decide(DutyKind::Receive, &open, &[], &here)), "receive");
    assert_eq!(decide(DutyKind::Acknowledge, &open, &facts, &here), waits);
    assert_eq!(decide(DutyKind::TimeOut, &late, &[], &here), waits);
    assert_eq!(short(&decide(DutyKind::TimeOut, &late, &[], &there)), "time_out NoReceipt false");
}

#[test]
fn what_the_operator_leaves_out_is_left_out_with_a_reason() {
    let filter = Filter { deny: vec!["transfer/*".parse().unwrap()], ..Filter::default() };
    let packet = timing_out(500, 0);
    let duties = [DutyKind::Receive, DutyKind::Acknowledge, DutyKind::TimeOut].map(due);
    let job = PacketJob { packet: &packet, duties: &duties, facts: &[] };
    let decisions = plan(&[job], &view(), &filter, UnixMillis(0));
    assert_eq!(decisions.len(), 3);
    for decision in decisions {
        assert_eq!(short(&decision.action), "not_needed filtered_out");
    }
}

#[test]
fn only_duties_whose_time_has_come_are_planned() {
    let packet = timing_out(500, 0);
    let submitted = DutyState::Submitted(Reason::AwaitingPlan);
    let later = Duty { not_before: UnixMillis(6), ..due(DutyKind::Receive) };
    let duties = [
        later,
        duty(DutyKind::Receive, submitted),
        duty(DutyKind::Receive, DutyState::Done),
        due(DutyKind::Attest),
    ];
    let job = PacketJob { packet: &packet, duties: &duties, facts: &[] };
    assert_eq!(plan(&[job], &view(), &Filter::default(), UnixMillis(5)), []);
    assert_eq!(plan(&[job], &view(), &Filter::default(), UnixMillis(6)).len(), 1);
}

fn sequences(kind: DutyKind, numbers: &[u64], view: &LaneView) -> Vec<(u64, String)> {
    let duties = [due(kind)];
    let facts = [written(Certainty::Verified)];
    let packets: Vec<Packet> = numbers
        .iter()
        .map(|n| Packet { sequence: (*n).try_into().unwrap(), ..timing_out(500, 0) })
        .collect();
    let facts = if kind == DutyKind::Acknowledge { &facts[..] } else { &[] };
    let jobs: Vec<_> =
        packets.iter().map(|packet| PacketJob { packet, duties: &duties, facts }).collect();
    let decisions = plan(&jobs, view, &Filter::default(), UnixMillis(0));
    decisions.iter().map(|d| (d.sequence.get(), short(&d.action))).collect()
}

#[test]
fn ordered_channels_are_served_in_order() {
    let mut view = view_of(Order::Ordered);
    view.source.next = Some(4.try_into().unwrap());
    view.destination.next = Some(3.try_into().unwrap());
    let expected = [
        (2, "wait awaiting_finality".to_owned()),
        (3, "receive".into()),
        (4, "receive".into()),
        (6, "wait lower_nonce_not_executed".into()),
        (7, "wait lower_nonce_not_executed".into()),
    ];
    assert_eq!(sequences(DutyKind::Receive, &[7, 4, 2, 6, 3], &view), expected);
    let expected = [
        (3, "wait awaiting_finality".to_owned()),
        (4, "acknowledge".into()),
        (6, "wait lower_nonce_not_executed".into()),
    ];
    assert_eq!(sequences(DutyKind::Acknowledge, &[6, 3, 4], &view), expected);
    // Nobody knows whose turn it is.
    view.destination.next = None;
    assert_eq!(sequences(DutyKind::Receive, &[1], &view), [(1, "wait channel_not_open".into())]);
    let any = super::tests::view();
    assert_eq!(
        sequences(DutyKind::Receive, &[9, 5], &any),
        [(5, "receive".into()), (9, "receive".into())]
    );
}

fn any_state() -> impl Strategy<Value = HandshakeState> {
    prop_oneof![
        Just(HandshakeState::Init),
        Just(HandshakeState::TryOpen),
        Just(HandshakeState::Open),
        Just(HandshakeState::Closed),
    ]
}

proptest! {
    /// Over an ordered channel whatever goes is next, and follows what goes before it without a gap.
    #[test]
    fn ordered_packets_go_without_gaps(mut numbers in prop::collection::vec(1u64..30, 0..20), next in 1u64..30) {
        numbers.sort_unstable();
        numbers.dedup();
        let mut view = view_of(Order::Ordered);
        view.destination.next = Some(next.try_into().unwrap());
        let sent: Vec<u64> = sequences(DutyKind::Receive, &numbers, &view)
            .into_iter().filter(|(_, action)| action.starts_with("receive")).map(|(n, _)| n).collect();
        let expected: Vec<u64> = (next..).take(sent.len()).collect();
        prop_assert_eq!(&sent, &expected);
        prop_assert!(!numbers.contains(&(next + sent.len() as u64)), "what could go went");
    }

    /// No packet is both brought and timed out, whatever its timeout, the chains' clocks and the channel's state.
    #[test]
    fn a_packet_is_never_received_and_timed_out_at_once(
        height in 0u64..10, seconds in 0u64..10, newest in (1u64..10, 1u64..10), behind in (0u64..5, 0u64..5),
        source in any_state(), destination in any_state(), is_ordered: bool, next in 1u64..3,
    ) {
        prop_assume!(height != 0 || seconds != 0);
        let packet = timing_out(height, seconds);
        let mut view = view_of(if is_ordered { Order::Ordered } else { Order::Unordered });
        view.source.end.as_mut().unwrap().state = source;
        view.destination.end.as_mut().unwrap().state = destination;
        view.destination.next = Some(next.try_into().unwrap());
        view.newest = at(newest.0, newest.1);
        view.proven = at(newest.0.saturating_sub(behind.0), newest.1.saturating_sub(behind.1));
        let duties = [DutyKind::Receive, DutyKind::TimeOut].map(due);
        let job = PacketJob { packet: &packet, duties: &duties, facts: &[] };
        let decisions = plan(&[job], &view, &Filter::default(), UnixMillis(0));
        let [receive, time_out] = &decisions[..] else { panic!() };
        let receives = matches!(receive.action, Action::Receive { .. });
        let times_out = matches!(time_out.action, Action::TimeOut(_));
        prop_assert!(!(receives && times_out), "{:?}", decisions);
        // What goes can succeed: the next block is in time, or the header is past the timeout.
        let next = view.newest.later(1, view.block_time);
        prop_assert!(!receives || !packet.timeout.has_passed(next.height, next.nanoseconds));
        prop_assert!(!receives || destination == HandshakeState::Open);
        if let Action::TimeOut(how) = &time_out.action {
            let passed = packet.timeout.has_passed(view.proven.height, view.proven.nanoseconds);
            prop_assert!(passed || how.closed);
            prop_assert_eq!(how.header, view.proven.height);
        }
    }
}
