//! Tests of what transactions are given.

use super::*;
use crate::config::Config;
use alloy_primitives::B256;
use proptest::prelude::*;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn config(gas: &str) -> CosmosConfig {
    let text = format!(
        "[networks.hub]\nkind = \"cosmos\"\nchain_id = \"hub-4\"\nprefix = \"cosmos\"\n\
         gas = {{ {gas} }}\ntrust = {{ height = 7, hash = \"{}\", period_hours = 336 }}\n\
         upstreams = [{{ name = \"a\", operator = \"x\", url = \"http://localhost:1\" }}]\n",
        "11".repeat(32)
    );
    let config = Config::parse(&text, "here".as_ref(), "/tmp".as_ref()).unwrap();
    config.cosmos.into_values().next().unwrap()
}

fn duty(n: u8) -> DutyId {
    DutyId(B256::repeat_byte(n))
}

fn receive(duties: std::ops::Range<u8>) -> Outgoing {
    let message = Any { type_url: "/ibc.core.channel.v1.MsgRecvPacket".into(), value: Vec::new() };
    Outgoing {
        messages: duties.clone().map(|_| message.clone()).collect(),
        purpose: "receive".into(),
        duties: duties.map(duty).collect(),
    }
}

fn update() -> Outgoing {
    let message = Any { type_url: "/ibc.core.client.v1.MsgUpdateClient".into(), value: Vec::new() };
    Outgoing { messages: vec![message], purpose: "update".into(), duties: Vec::new() }
}

fn used(gas_used: u64, succeeded: bool, ran_out: bool) -> UsedSequence {
    let address = "cosmos1".to_owned();
    UsedSequence { address, sequence: 1, transaction: 0, succeeded, gas_used, ran_out, idle: false }
}

fn included(gauge: &mut Gauge, call: &Outgoing, config: &CosmosConfig, told: &UsedSequence) {
    let hash = TxHash(B256::repeat_byte(9));
    gauge.tried(hash, call, gauge.gas(call, config));
    gauge.included(hash, told);
}

#[test]
fn gas_is_learnt_from_what_was_used() {
    let config = config("price = \"1stake\", multiplier_permille = 1200");
    let mut gauge = Gauge::default();
    assert_eq!(gauge.gas(&receive(0..2), &config), 100_000 + 2 * 260_000, "nothing is known");
    included(&mut gauge, &receive(0..2), &config, &used(260_000, true, false));
    assert_eq!(gauge.gas(&receive(0..1), &config), 72_000 + 120_000);
    assert_eq!(gauge.gas(&receive(0..10), &config), 72_000 + 1_200_000);
    included(&mut gauge, &receive(0..1), &config, &used(560_000, true, false));
    assert_eq!(gauge.gas(&receive(0..1), &config), 72_000 + 600_000, "dearer at once");
    included(&mut gauge, &receive(0..1), &config, &used(160_000, true, false));
    assert_eq!(gauge.gas(&receive(0..1), &config), 72_000 + 540_000, "cheaper slowly");
    let idle = UsedSequence { idle: true, ..used(90_000, true, false) };
    included(&mut gauge, &receive(0..1), &config, &idle);
    assert_eq!(gauge.gas(&receive(0..1), &config), 72_000 + 540_000, "that says nothing");
    assert_eq!(gauge.gas(&update(), &config), 700_000, "another kind");
    gauge.simulated(&update(), 160_000);
    assert_eq!(gauge.gas(&update(), &config), 72_000 + 120_000);
}

#[test]
fn what_ran_out_of_gas_is_given_more() {
    let config = config("price = \"1stake\", max = 1000000");
    let mut gauge = Gauge::default();
    let out = used(400_000, false, true);
    included(&mut gauge, &receive(0..1), &config, &out);
    assert_eq!(gauge.gas(&receive(0..1), &config), 100_000 + 540_000, "1.5 times 360,000");
    assert_eq!(gauge.gas(&receive(1..2), &config), 360_000, "others need no more");
    included(&mut gauge, &receive(0..1), &config, &out);
    assert_eq!(gauge.gas(&receive(0..1), &config), 1_000_000, "no more than is allowed");
    assert!(!gauge.is_hopeless(&receive(0..1), &config));
    included(&mut gauge, &receive(0..1), &config, &out);
    assert!(gauge.is_hopeless(&receive(0..1), &config));
    assert!(!gauge.is_hopeless(&receive(1..2), &config));
    let failed = InVain { failed: 3, failed_gas: 1_200_000, ..InVain::default() };
    assert_eq!(gauge.in_vain(), failed);
    included(&mut gauge, &receive(0..1), &config, &used(300_000, true, false));
    assert!(!gauge.is_hopeless(&receive(0..1), &config), "it went through");
    assert!(!gauge.take_lost());
    included(&mut gauge, &update(), &config, &used(800_000, false, true));
    assert!(gauge.take_lost(), "what stands on the update is lost too");
    assert_eq!(gauge.gas(&update(), &config), 1_000_000, "nothing tells updates apart");
}

#[test]
fn long_messages_are_given_more() {
    let config = config("price = \"1stake\", multiplier_permille = 1200");
    let mut gauge = Gauge::default();
    let mut long = receive(0..1);
    long.messages[0].value = vec![0; 10_000];
    assert_eq!(gauge.gas(&long, &config), 360_000 + 120_000);
    included(&mut gauge, &long, &config, &used(260_000, true, false));
    assert_eq!(gauge.gas(&long, &config), 72_000 + 120_000 + 120_000);
    assert_eq!(gauge.gas(&receive(1..2), &config), 72_000 + 120_000, "shorter ones less");
    let hash = TxHash(B256::ZERO);
    gauge.tried(hash, &long, 312_000);
    gauge.ran_out(hash);
    assert_eq!(gauge.gas(&long, &config), 72_000 + 468_000, "the pool refused it");
}

#[test]
fn too_many_messages_are_split() {
    let mut config = config("price = \"1stake\", max = 700000");
    let mut gauge = Gauge::default();
    let parts = gauge.split(receive(0..5), &config);
    let sizes: Vec<usize> = parts.iter().map(|part| part.messages.len()).collect();
    assert_eq!(sizes, [2, 2, 1], "620,000 and not 880,000");
    let duties: Vec<DutyId> = parts.iter().flat_map(|part| part.duties.clone()).collect();
    assert_eq!(duties, receive(0..5).duties);
    config.gas.max_gas = 1;
    assert_eq!(gauge.split(receive(0..3), &config).len(), 3, "one goes, whatever it takes");
    config.gas.max_gas = u64::MAX;
    assert!(gauge.asks_block() && !gauge.asks_block());
    gauge.block_holds(Some(400_000));
    assert_eq!(gauge.split(receive(0..3), &config).len(), 3, "no more than a block holds");
    assert_eq!(gauge.gas(&receive(0..3), &config), 400_000);
}

#[test]
fn a_refused_price_is_raised_up_to_the_highest() {
    let config = config("price = \"1stake\", max_price = \"1.5stake\"");
    let mut gauge = Gauge::default();
    let price = |gauge: &Gauge, at| gauge.price(&config, at).to_string();
    assert_eq!(price(&gauge, NOW), "1stake");
    gauge.refused(&config, NOW);
    assert_eq!(price(&gauge, NOW), "1.25stake");
    assert!(!gauge.is_too_dear(NOW));
    gauge.refused(&config, NOW);
    assert_eq!(price(&gauge, NOW), "1.5stake", "and no more");
    gauge.refused(&config, NOW);
    assert!(gauge.is_too_dear(NOW));
    assert!(!gauge.is_too_dear(UnixMillis(NOW.0 + TOO_DEAR)));
    assert_eq!(price(&gauge, UnixMillis(NOW.0 + STAYS_RAISED)), "1stake", "later it is tried");
    let fee = gauge.fee(1_000, &config, NOW);
    assert_eq!((fee.gas, fee.amount), (1_000, alloy_primitives::U256::from(1_500)));
}

#[test]
fn a_markets_price_counts_between_the_lowest_and_the_highest() {
    let config = config("price = \"1stake\", max_price = \"4stake\", dynamic = true");
    let mut gauge = Gauge::default();
    assert!(gauge.asks_market(&config, NOW));
    assert!(!gauge.asks_market(&config, UnixMillis(NOW.0 + 4_999)), "once in five seconds");
    assert!(gauge.asks_market(&config, UnixMillis(NOW.0 + 5_000)));
    for (told, price) in
        [("0.5stake", "1stake"), ("2stake", "2.2stake"), ("9stake", "4stake"), ("2other", "1stake")]
    {
        gauge.market_asks(told.parse().unwrap());
        assert_eq!(gauge.price(&config, NOW).to_string(), price, "{told}");
    }
    let fixed = self::config("price = \"1stake\"");
    assert!(!Gauge::default().asks_market(&fixed, NOW));
}

proptest! {
    #[test]
    fn no_parts_lose_or_move_a_message(count in 0u8..60, max in 1u64..20_000_000) {
        let mut config = config("price = \"1stake\"");
        config.gas.max_gas = max;
        let gauge = Gauge::default();
        let parts = gauge.split(receive(0..count), &config);
        let duties: Vec<DutyId> = parts.iter().flat_map(|part| part.duties.clone()).collect();
        prop_assert_eq!(duties, receive(0..count).duties);
        for part in &parts {
            prop_assert!(gauge.gas(part, &config) <= max);
            prop_assert_eq!(part.messages.len(), part.duties.len());
        }
    }

    #[test]
    fn r10_no_gas_overflows(used_gas: u64, given: u64, count in 1u8..9) {
        let config = config("price = \"1stake\"");
        let mut gauge = Gauge::default();
        let hash = TxHash(B256::ZERO);
        for ran_out in [true, false] {
            for call in [receive(0..count), update()] {
                gauge.tried(hash, &call, given);
                gauge.included(hash, &used(used_gas, !ran_out, ran_out));
                let _ = gauge.gas(&call, &config);
            }
        }
    }
}
