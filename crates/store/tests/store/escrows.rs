//! What is in escrow, and vouchers for it.

use crate::world::*;
use alloy_primitives::U256;
use postrider_message::*;
use postrider_store::*;

fn ibc_lane(channel: &str) -> Lane {
    let end = |name: &str| LaneEnd {
        network: network(name),
        point: Point::try_from(format!("transfer/{channel}")).unwrap(),
    };
    Lane { protocol: Protocol::Ibc, source: end("alpha"), destination: end("beta") }
}

fn row(denom: &str, escrow: u64, vouchers: u64, at: u64) -> EscrowRow {
    EscrowRow {
        lane: ibc_lane("channel-0"),
        denom: format!("transfer/channel-0/{denom}"),
        escrow: U256::from(escrow),
        vouchers: U256::from(vouchers),
        source_height: Height(7),
        destination_height: Height(8),
        at: UnixMillis(at),
        breached: None,
    }
}

const HOUR: u64 = 3_600_000;

#[tokio::test]
async fn more_vouchers_than_is_kept_is_an_alarm_once_an_hour_and_stays_visible() {
    let mut world = World::new().await;
    let keep = async |world: &World, escrow, vouchers, at| {
        let rows = vec![row("token", escrow, vouchers, at), row("other", 5, 5, at)];
        world.store.keep_escrows(rows, UnixMillis(at)).await.unwrap()
    };
    let start = 10 * HOUR;
    assert_eq!(keep(&world, 5, 4, start).await, []);
    assert_eq!(keep(&world, 5, 5, start + 1).await, []);
    let alarms = keep(&world, 5, 6, start + 2).await;
    assert_eq!(alarms.len(), 1);
    assert_eq!((alarms[0].kind, &alarms[0].network), (AlarmKind::SupplyBreached, &network("beta")));
    let detail = alarms[0].detail.to_string();
    for part in ["6 on beta at 8", "5 in escrow on alpha at 7", "transfer/channel-0/token"] {
        assert!(detail.contains(part), "{detail}");
    }
    // Other amounts are the same breach; a restart forgets nothing.
    assert_eq!(keep(&world, 5, 7, start + 3).await, []);
    world = world.reopen().await;
    assert_eq!(keep(&world, 5, 8, start + 4).await, []);
    assert_eq!(keep(&world, 8, 8, start + 5).await, [], "that it is even again clears nothing");
    let EscrowList { escrows, more } = world.store.escrows(1).await.unwrap();
    assert_eq!((escrows.len(), more), (1, 1));
    let expected =
        EscrowRow { breached: Some(UnixMillis(start + 2)), ..row("token", 8, 8, start + 5) };
    assert_eq!(escrows[0], expected, "what was breached comes first");
    assert_eq!(keep(&world, 5, 8, start + 2 + HOUR).await.len(), 1);
    assert_eq!(world.store.alarms(0).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_tokens_of_a_lane_are_remembered() {
    let world = World::new().await;
    let other = EscrowRow { lane: ibc_lane("channel-1"), ..row("other", 1, 1, 1) };
    world.store.keep_escrows(vec![row("token", 1, 1, 1), other], UnixMillis(1)).await.unwrap();
    let denoms = world.store.escrow_denoms(&ibc_lane("channel-0")).await.unwrap();
    assert_eq!(denoms, ["transfer/channel-0/token"]);
    let too_many = vec![row("token", 1, 1, 1); MAX_BATCH + 1];
    let refused = world.store.keep_escrows(too_many, UnixMillis(1)).await;
    assert!(matches!(refused, Err(StoreError::BadBatch { .. })), "{refused:?}");
}
