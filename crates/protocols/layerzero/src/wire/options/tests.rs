use super::*;
use alloy_primitives::hex;
use proptest::prelude::*;

const MOST: u128 = u128::MAX;

fn receive(gas: u128, value: u128) -> Options {
    Options { lz_receive: Some(GasAndValue { gas, value }), ..Options::default() }
}

fn calls() -> impl Strategy<Value = GasAndValue> {
    (1..=MOST, prop_oneof![Just(0), any::<u128>()])
        .prop_map(|(gas, value)| GasAndValue { gas, value })
}

fn drops() -> impl Strategy<Value = NativeDrop> {
    (any::<u128>(), any::<[u8; 32]>())
        .prop_map(|(amount, receiver)| NativeDrop { amount, receiver: Address32(receiver.into()) })
}

fn dvn_options() -> impl Strategy<Value = DvnOption> {
    (0u8..NO_DVN, any::<u8>(), prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(index, option_type, data)| DvnOption { index, option_type, data: data.into() })
}

fn deliveries() -> impl Strategy<Value = Options> {
    (
        prop::option::of(calls()),
        prop::collection::vec(drops(), 0..4),
        prop::collection::btree_map(any::<u16>(), calls(), 0..4),
        any::<bool>(),
        prop::collection::vec(dvn_options(), 0..4),
    )
        .prop_map(|(lz_receive, native_drops, composes, ordered, dvn)| Options {
            lz_receive,
            native_drops,
            composes,
            ordered,
            lz_read: None,
            dvn,
        })
}

fn reads() -> impl Strategy<Value = Options> {
    (deliveries(), calls(), 1..=u32::MAX).prop_map(|(options, call, size)| Options {
        lz_receive: None,
        native_drops: Vec::new(),
        lz_read: Some(Read { gas: call.gas, size, value: call.value }),
        ..options
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(options in prop_oneof![deliveries(), reads()]) {
        let bytes = options.encode().unwrap();
        prop_assert_eq!(Options::decode(&bytes), Ok(options));
    }

    #[test]
    fn what_decodes_means_the_same_once_encoded_again(
        options in deliveries(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = options.encode().unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(options) = Options::decode(&bytes) {
            prop_assert_eq!(Options::decode(&options.encode().unwrap()), Ok(options));
        }
    }

    #[test]
    fn hostile_bytes_never_panic(
        format in 0u8..5,
        bytes in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..200),
    ) {
        let _ = Options::decode(&bytes);
        let _ = Options::decode(&[&[0, format], bytes.as_slice()].concat());
    }

    #[test]
    fn repeated_options_are_summed(parts in prop::collection::vec((1u64.., any::<u64>()), 1..20)) {
        let mut builder = OptionsBuilder::new();
        for (gas, value) in &parts {
            builder = builder
                .lz_receive((*gas).into(), (*value).into())
                .compose(3, (*gas).into(), (*value).into());
        }
        let options = Options::decode(&builder.build().unwrap()).unwrap();
        let total = GasAndValue {
            gas: parts.iter().map(|(gas, _)| u128::from(*gas)).sum(),
            value: parts.iter().map(|(_, value)| u128::from(*value)).sum(),
        };
        prop_assert_eq!(options.lz_receive, Some(total));
        prop_assert_eq!(options.composes, BTreeMap::from([(3, total)]));
    }

    #[test]
    fn every_cut_inside_an_option_is_noticed(options in deliveries()) {
        let bytes = options.encode().unwrap();
        for length in 0..bytes.len() {
            // A cut between two options leaves a shorter list; any other is an error.
            if let Ok(shorter) = Options::decode(&bytes[..length]) {
                prop_assert_eq!(shorter.encode().unwrap().len(), length);
            }
        }
    }
}

#[test]
fn legacy_types_become_receive_and_drop() {
    let gas = U256::from(200_000).to_be_bytes::<32>();
    let amount = U256::from(MOST).to_be_bytes::<32>();
    let type_1 = [&[0, 1], gas.as_slice()].concat();
    assert_eq!(Options::decode(&type_1), Ok(receive(200_000, 0)));
    for (receiver, padded) in [
        (vec![9], B256::with_last_byte(9)),
        (vec![7; 20], B256::left_padding_from(&[7; 20])),
        (vec![7; 32], B256::repeat_byte(7)),
    ] {
        let type_2 = [&[0, 2], gas.as_slice(), &amount, &receiver].concat();
        let drop = NativeDrop { amount: MOST, receiver: Address32(padded) };
        let expected = Options { native_drops: vec![drop], ..receive(200_000, 0) };
        assert_eq!(Options::decode(&type_2), Ok(expected));
    }
}

#[test]
fn malformed_options_are_named() {
    use OptionsError as E;
    let zeros = "00".repeat(32);
    let most = "ff".repeat(16);
    let over = format!("{}01{}", "00".repeat(15), "00".repeat(16));
    let cases = [
        (String::new(), E::Truncated { at: 0 }),
        ("00".into(), E::Truncated { at: 0 }),
        ("0000".into(), E::UnknownFormat { actual: 0 }),
        ("0004".into(), E::UnknownFormat { actual: 4 }),
        ("0001".into(), E::LegacySize { format: 1, actual: 2 }),
        (format!("0001{zeros}00"), E::LegacySize { format: 1, actual: 35 }),
        (format!("0001{zeros}"), E::ZeroGas { option: "receive" }),
        (format!("0001{over}"), E::LegacyOverflow { format: 1, field: "gas" }),
        (format!("0002{zeros}"), E::LegacySize { format: 2, actual: 34 }),
        (format!("0002{zeros}{zeros}"), E::LegacySize { format: 2, actual: 66 }),
        (format!("0002{zeros}{zeros}{zeros}00"), E::LegacySize { format: 2, actual: 99 }),
        (format!("0002{zeros}{over}01"), E::LegacyOverflow { format: 2, field: "amount" }),
        ("000300".into(), E::UnknownWorker { worker: 0, at: 2 }),
        ("000303000101".into(), E::UnknownWorker { worker: 3, at: 2 }),
        ("0003ff".into(), E::UnknownWorker { worker: 255, at: 2 }),
        ("000301".into(), E::Truncated { at: 2 }),
        ("00030100".into(), E::Truncated { at: 2 }),
        ("000301000201".into(), E::Truncated { at: 2 }),
        ("0003010000".into(), E::OptionSize { option: "executor", actual: 0, at: 5 }),
        ("000301000100".into(), E::UnknownExecutorOption { actual: 0, at: 5 }),
        ("000301000106".into(), E::UnknownExecutorOption { actual: 6, at: 5 }),
        ("000301000101".into(), E::OptionSize { option: "receive", actual: 0, at: 6 }),
        (format!("000301001102{most}"), E::OptionSize { option: "native drop", actual: 16, at: 6 }),
        ("000301000103".into(), E::OptionSize { option: "compose", actual: 0, at: 6 }),
        ("00030100020400".into(), E::OptionSize { option: "ordered", actual: 1, at: 6 }),
        (format!("000301001105{most}"), E::OptionSize { option: "read", actual: 16, at: 6 }),
        ("0003020000".into(), E::OptionSize { option: "DVN", actual: 0, at: 5 }),
        ("000302000100".into(), E::OptionSize { option: "DVN", actual: 1, at: 5 }),
        ("0003020002ff01".into(), E::InvalidDvnIndex { at: 5 }),
        (format!("000301001101{}", "00".repeat(16)), E::ZeroGas { option: "receive" }),
        (format!("0003010013030001{}", "00".repeat(16)), E::ZeroGas { option: "compose" }),
        (format!("000301001505{}00000001", "00".repeat(16)), E::ZeroGas { option: "read" }),
        (format!("000301001505{most}00000000"), E::ZeroReadSize),
    ];
    for (hex, expected) in cases {
        let bytes = hex::decode(&hex).unwrap();
        assert_eq!(Options::decode(&bytes), Err(expected), "{hex}");
    }
}

#[test]
fn sums_that_overflow_and_contradictions_are_refused() {
    use OptionsError as E;
    let new = OptionsBuilder::new;
    let overflow = |option, field| E::Overflow { option, field };
    let to = Address32(B256::repeat_byte(1));
    let cases = [
        (new().lz_receive(MOST, 0).lz_receive(1, 0), overflow("receive", "gas")),
        (new().lz_receive(1, MOST).lz_receive(1, 1), overflow("receive", "value")),
        (new().compose(1, MOST, 0).compose(1, 1, 0), overflow("compose", "gas")),
        (new().lz_read(1, u32::MAX, 0).lz_read(1, 1, 0), overflow("read", "size")),
        (new().lz_read(1, 1, 0).lz_receive(1, 0), E::ReadAndDelivery),
        (new().native_drop(1, to).lz_read(1, 1, 0), E::ReadAndDelivery),
        (new().compose(1, 5, 0).compose(1, 0, 0), E::ZeroGas { option: "compose" }),
        (new().dvn(255, 1, &[]), E::InvalidDvnIndex { at: 5 }),
        (new().dvn(0, 1, &[0; 65_534]), E::DvnOptionTooLong { actual: 65_536 }),
    ];
    for (builder, expected) in cases {
        assert_eq!(builder.build(), Err(expected));
    }
}

#[test]
fn number_and_size_are_bounded() {
    let list = |count| (0..count).fold(OptionsBuilder::new(), |list, _| list.ordered()).build();
    assert!(list(MAX_OPTION_COUNT).is_ok());
    assert_eq!(list(MAX_OPTION_COUNT + 1), Err(OptionsError::TooMany));
    let large = OptionsBuilder::new().dvn(0, 1, &[0; 40_000]).dvn(0, 1, &[0; 40_000]).build();
    assert_eq!(large, Err(OptionsError::TooLarge { actual: 80_012 }));
}

#[test]
fn all_native_value_is_counted() {
    let to = Address32(B256::repeat_byte(1));
    let bytes = OptionsBuilder::new()
        .lz_receive(1, MOST)
        .native_drop(MOST, to)
        .native_drop(1, to)
        .compose(0, 1, 10)
        .compose(1, 1, 100)
        .build()
        .unwrap();
    let expected = U256::from(MOST) + U256::from(MOST) + U256::from(111);
    assert_eq!(Options::decode(&bytes).unwrap().total_value(), expected);
    let read = OptionsBuilder::new().lz_read(1, 1, 7).build().unwrap();
    assert_eq!(Options::decode(&read).unwrap().total_value(), U256::from(7));
}
