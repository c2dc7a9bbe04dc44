use super::*;
use crate::{
    events::testing::{ENDPOINT, log, packet},
    wire::{OptionsBuilder, PacketError},
};
use alloy_primitives::{B256, Bytes};
use proptest::prelude::*;

const LIBRARY: Address = Address::repeat_byte(0x11);
const STRANGER: Address = Address::repeat_byte(0x66);
const EXECUTOR: Address = Address::repeat_byte(0xe0);
const DVN: Address = Address::repeat_byte(0xd0);
const OTHER_DVN: Address = Address::repeat_byte(0xd1);

fn options() -> Bytes {
    OptionsBuilder::new().lz_receive(100_000, 0).build().unwrap()
}

fn sent(index: u64, encoded: Vec<u8>) -> RawLog {
    log(
        ENDPOINT,
        index,
        &EndpointV2::PacketSent {
            encodedPayload: encoded.into(),
            options: options(),
            sendLibrary: LIBRARY,
        },
    )
}

fn executor_paid(from: Address, index: u64, fee: u64) -> RawLog {
    let fee = U256::from(fee);
    log(from, index, &SendUln302::ExecutorFeePaid { executor: EXECUTOR, fee })
}

fn dvns_paid(from: Address, index: u64, fees: &[u64]) -> RawLog {
    log(
        from,
        index,
        &SendUln302::DVNFeePaid {
            requiredDVNs: vec![DVN],
            optionalDVNs: vec![OTHER_DVN, DVN],
            fees: fees.iter().copied().map(U256::from).collect(),
        },
    )
}

fn one_send(first: u64, nonce: u64, fee: u64) -> Vec<RawLog> {
    vec![
        executor_paid(LIBRARY, first, fee),
        dvns_paid(LIBRARY, first + 1, &[fee, 0, 5]),
        sent(first + 2, packet(nonce).encode()),
    ]
}

fn expected(first: u64, nonce: u64, fee: u64) -> SentPacket {
    SentPacket {
        packet: packet(nonce),
        options: options(),
        send_library: LIBRARY,
        executor_fee: Some(ExecutorFee { executor: EXECUTOR, fee: U256::from(fee) }),
        dvn_fees: DvnFees {
            required: vec![DVN],
            optional: vec![OTHER_DVN, DVN],
            fees: vec![U256::from(fee), U256::ZERO, U256::from(5)],
        },
        log_index: first + 2,
    }
}

#[test]
fn each_packet_gets_the_fees_before_it() {
    let logs = [one_send(10, 1, 7), one_send(13, 2, 8)].concat();
    assert_eq!(sent_packets(ENDPOINT, &logs), vec![Ok(expected(10, 1, 7)), Ok(expected(13, 2, 8))]);
    assert_eq!(sent_packets(STRANGER, &logs), vec![]);
    assert_eq!(sent_packets(ENDPOINT, &[]), vec![]);
}

#[test]
fn fees_of_other_emitters_are_ignored() {
    let mut logs = vec![executor_paid(STRANGER, 1, 999), dvns_paid(STRANGER, 2, &[9, 9, 9])];
    logs.extend(one_send(3, 1, 7));
    let mut spoofed_packet = sent(6, packet(9).encode());
    spoofed_packet.address = STRANGER;
    logs.push(spoofed_packet);
    assert_eq!(sent_packets(ENDPOINT, &logs), vec![Ok(expected(3, 1, 7))]);
}

#[test]
fn fees_after_a_packet_are_not_its_own() {
    let logs = vec![sent(1, packet(1).encode()), executor_paid(LIBRARY, 2, 7)];
    let packets = sent_packets(ENDPOINT, &logs);
    let [Ok(only)] = packets.as_slice() else { panic!("{packets:?}") };
    assert_eq!((only.executor_fee, &only.dvn_fees), (None, &DvnFees::default()));
}

#[test]
fn a_malformed_packet_stops_no_other() {
    let malformed = |damage: fn(&mut Vec<RawLog>)| {
        let mut middle = one_send(13, 2, 8);
        damage(&mut middle);
        let logs = [one_send(10, 1, 7), middle, one_send(16, 3, 9)].concat();
        let mut packets = sent_packets(ENDPOINT, &logs).into_iter();
        assert_eq!(packets.next(), Some(Ok(expected(10, 1, 7))));
        let error = packets.next().unwrap().unwrap_err();
        assert_eq!(packets.next(), Some(Ok(expected(16, 3, 9))));
        assert_eq!(packets.next(), None);
        assert_eq!((error.log_index, error.emitter, error.event), (15, ENDPOINT, "PacketSent"));
        error.problem
    };
    let fee = |event, log_index, problem| EventProblem::Fee {
        event,
        log_index,
        problem: Box::new(problem),
    };

    let problem = malformed(|logs| logs[2] = sent(15, vec![1; 20]));
    assert_eq!(problem, EventProblem::Packet(PacketError::TooShort { actual: 20 }));
    let problem = malformed(|logs| logs[2].data = Bytes::new());
    assert!(matches!(problem, EventProblem::Malformed { .. }), "{problem:?}");
    let problem = malformed(|logs| logs[2].topics.push(B256::ZERO));
    assert!(matches!(problem, EventProblem::Malformed { .. }), "{problem:?}");
    let problem = malformed(|logs| logs[1] = executor_paid(LIBRARY, 14, 1));
    let event = "ExecutorFeePaid";
    assert_eq!(problem, EventProblem::DuplicateFee { event, log_index: 14 });
    let problem = malformed(|logs| logs[1] = dvns_paid(LIBRARY, 14, &[1, 2]));
    let count = EventProblem::CountMismatch { what: "fees", have: 2, need: 3 };
    assert_eq!(problem, fee("DVNFeePaid", 14, count));
    let problem = malformed(|logs| {
        logs[1] = log(
            LIBRARY,
            14,
            &SendUln302::DVNFeePaid {
                requiredDVNs: vec![DVN; MAX_DVNS + 1],
                optionalDVNs: vec![],
                fees: vec![U256::ZERO; MAX_DVNS + 1],
            },
        );
    });
    let too_many = EventProblem::TooLarge { actual: MAX_DVNS + 1, limit: MAX_DVNS };
    assert_eq!(problem, fee("DVNFeePaid", 14, too_many));
    let problem = malformed(|logs| logs[0].data = logs[0].data.slice(..40));
    assert!(
        matches!(problem, EventProblem::Fee { event: "ExecutorFeePaid", log_index: 13, .. }),
        "{problem:?}"
    );
}

#[test]
fn a_list_that_claims_to_be_huge_is_refused() {
    let mut logs = one_send(1, 1, 7);
    let mut data = logs[1].data.to_vec();
    // The length of the first list: its offset is 96.
    data[96..128].copy_from_slice(&U256::from(u64::MAX).to_be_bytes::<32>());
    logs[1].data = data.into();
    assert!(sent_packets(ENDPOINT, &logs)[0].is_err());
}

#[test]
fn one_dvn_in_both_lists_gets_both_fees() {
    let fees = expected(1, 1, 7).dvn_fees;
    assert_eq!(fees.fee_of(DVN), Some(U256::from(12)));
    assert_eq!(fees.fee_of(OTHER_DVN), Some(U256::ZERO));
    assert_eq!(fees.fee_of(STRANGER), None);
}

proptest! {
    #[test]
    fn damaged_logs_never_panic(
        which in 0usize..3,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut logs = one_send(1, 1, 7);
        let mut data = logs[which].data.to_vec();
        let at = at.index(data.len());
        data[at] = byte;
        let cut = cut.index(data.len() + 1);
        logs[which].data = data.clone().into();
        prop_assert_eq!(sent_packets(ENDPOINT, &logs).len(), 1);
        data.truncate(cut);
        logs[which].data = data.into();
        prop_assert_eq!(sent_packets(ENDPOINT, &logs).len(), 1);
    }
}
