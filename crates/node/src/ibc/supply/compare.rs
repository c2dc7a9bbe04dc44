//! Reads both sides of tokens in states that may be compared.

use super::{
    Direction, LookError, Path,
    cut::{Cut, Known, Point, judge, known},
};
use crate::{
    cosmos::CosmosNetwork,
    ibc::{channels::ReadError, clients, shaking::Pair, show::on_chain},
};
use alloy_primitives::U256;
use postrider_ibc::{
    ClientId, bank,
    handshake::Side,
    transfer::{Denom, MAX_DENOM_BYTES, escrow},
};
use postrider_message::{Height, UnixMillis};
use postrider_store::EscrowRow;
use postrider_verification::tendermint::{CosmosAnchor, StateKey, StoreName};
use std::{sync::Arc, time::Duration};

/// The most tokens of all channels with the same clients in one look; each direction of a channel with tokens has
/// the same part.
const MAX_ITEMS: usize = 400;
/// How long a chain is waited for, in one look, that has not reached what the other one was shown of it.
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: usize = 10;

/// A token in one direction of a channel.
pub(super) struct Item<'a> {
    direction: &'a Direction,
    denom: &'a Denom,
}

/// What is looked at this time: everything, or as much as is looked at in one turn.
pub(super) fn items<'a>(group: &[&'a Path], turn: usize) -> Vec<Item<'a>> {
    let directions: Vec<&Direction> = group.iter().flat_map(|path| &path.directions).collect();
    let busy = directions.iter().filter(|direction| !direction.denoms.is_empty()).count();
    let each = MAX_ITEMS.checked_div(busy).unwrap_or(MAX_ITEMS).max(1);
    let mut items = Vec::new();
    for direction in directions {
        let turns = direction.denoms.chunks(each);
        let which = turn.checked_rem(turns.len()).unwrap_or(0);
        let now = direction.denoms.chunks(each).nth(which).unwrap_or_default();
        items.extend(now.iter().map(|denom| Item { direction, denom }));
    }
    items
}

/// What the state that an anchor names says of the other chain.
async fn point(
    (network, anchor): (&CosmosNetwork, &CosmosAnchor),
    client: &ClientId,
) -> Result<Point, ReadError> {
    let read = clients::read(network, anchor, std::slice::from_ref(client)).await?;
    let client = read.get(client).ok_or_else(|| ReadError::NoClient(client.clone()))?;
    Ok(Point {
        height: on_chain(network, anchor.block().height),
        time: clients::time(anchor),
        knows: client.state.latest,
        drift: client.state.max_clock_drift,
    })
}

/// A state that knows of a block which the other chain did not show yet: whose it is, and which.
pub(super) type Waiting = (Side, Point);

/// States of both chains that may be compared, as new as can be. What one chain does not show in time is kept
/// in `waiting`: the longer it waits, the less it can be that the block is still to come.
///
/// # Errors
/// [`LookError`].
pub(super) async fn cut(
    networks: &Pair<Arc<CosmosNetwork>>,
    clients: &Pair<ClientId>,
    waiting: &mut Option<Waiting>,
) -> Result<Pair<CosmosAnchor>, LookError> {
    let (a, b) = (&networks.a, &networks.b);
    let mut anchors = Pair { a: a.known_state().await?, b: b.known_state().await? };
    let mut points = Pair {
        a: point((a, &anchors.a), &clients.a).await?,
        b: point((b, &anchors.b), &clients.b).await?,
    };
    let beyond = |side: Side, height| LookError::Beyond {
        client: clients.of(side).clone(),
        network: networks.of(side).name.clone(),
        height,
        of: networks.of(side.other()).name.clone(),
    };
    if let Some((side, before)) = *waiting {
        match known(&before, points.of(side.other())) {
            Known::Enough => *waiting = None,
            Known::Early => {}
            Known::Beyond => return Err(beyond(side, before.knows)),
        }
    }
    for _ in 0..PATIENCE {
        let (side, to) = match judge(&points.a, &points.b) {
            Cut::Consistent => return Ok(anchors),
            Cut::Behind { side, to } => (side, to),
            Cut::Beyond { side } => return Err(beyond(side, points.of(side).knows)),
        };
        let network = networks.of(side);
        let mut anchor = network.known_state().await?;
        if on_chain(network, anchor.block().height) >= to {
            // Not later than needed: the later it is, the more it may know.
            let wanted = Height(to.revision_height);
            anchor = network.anchor(wanted).await.map_err(ReadError::from)?.anchor;
        } else {
            waiting.get_or_insert((side.other(), *points.of(side.other())));
            tokio::time::sleep(LOOK).await;
        }
        let read = point((network, &anchor), clients.of(side)).await?;
        match side {
            Side::A => (points.a, anchors.a) = (read, anchor),
            Side::B => (points.b, anchors.b) = (read, anchor),
        }
    }
    let late = waiting.map_or(Side::A, |(side, _)| side.other());
    Err(LookError::Slow(networks.of(late).name.clone()))
}

/// Proves amounts of tokens of the store `bank`.
async fn amounts(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    keys: Vec<Vec<u8>>,
) -> Result<Vec<Option<U256>>, ReadError> {
    let store = StoreName::new(bank::STORE)?;
    let keys = keys
        .into_iter()
        .map(|key| StateKey::new(store.clone(), key))
        .collect::<Result<Vec<_>, _>>()?;
    let proven = network.light.prove(anchor, &keys).await?;
    let amounts = proven.iter().zip(&keys).map(|(proven, key)| {
        let amount = bank::amount(proven.fact.value());
        if let Err(error) = &amount {
            let (network, key) = (&network.name, alloy_primitives::hex::encode(key.path()));
            tracing::warn!(%network, %key, %error, "a token is not looked at");
        }
        amount.ok()
    });
    Ok(amounts.collect())
}

/// Where each side keeps what is to be known of a token: what is in escrow, and how many vouchers there are.
/// `None` for names that no bank has.
fn keys(item: &Item<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, before) = item.denom.hops.split_first()?;
    let kept = Denom { hops: before.to_vec(), base: item.denom.base.clone() }.on_chain();
    if kept.len() > bank::MAX_DENOM_BYTES || item.denom.to_string().len() > MAX_DENOM_BYTES {
        return None;
    }
    let account = escrow(&item.direction.source);
    Some((bank::balance(&account, &kept), bank::supply(&item.denom.on_chain())))
}

/// Both sides of tokens, in the states that anchors name.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn read(
    networks: &Pair<Arc<CosmosNetwork>>,
    anchors: &Pair<CosmosAnchor>,
    items: &[Item<'_>],
) -> Result<Vec<EscrowRow>, ReadError> {
    let mut asked = Vec::new();
    let (mut keys_a, mut keys_b) = (Vec::new(), Vec::new());
    for item in items {
        let Some((kept, vouchers)) = keys(item) else { continue };
        let (a, b) = match item.direction.from {
            Side::A => (kept, vouchers),
            Side::B => (vouchers, kept),
        };
        keys_a.push(a);
        keys_b.push(b);
        asked.push(item);
    }
    let (a, b) = tokio::try_join!(
        amounts(&networks.a, &anchors.a, keys_a),
        amounts(&networks.b, &anchors.b, keys_b),
    )?;
    let at = UnixMillis::now();
    let rows = asked.into_iter().zip(a.into_iter().zip(b)).filter_map(|(item, (a, b))| {
        let from = item.direction.from;
        let (escrow, vouchers) = match from {
            Side::A => (a?, b?),
            Side::B => (b?, a?),
        };
        let height = |side| anchors.of(side).state().block();
        Some(EscrowRow {
            lane: item.direction.lane.clone(),
            denom: item.denom.to_string(),
            escrow,
            vouchers,
            source_height: height(from),
            destination_height: height(from.other()),
            at,
            breached: None,
        })
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_ibc::{ChannelEndId, lane};

    fn end(text: &str) -> ChannelEndId {
        text.parse().unwrap()
    }

    fn direction(from: Side, count: usize) -> Direction {
        let (source, destination) = (end("transfer/channel-1"), end("transfer/channel-2"));
        let (alpha, beta) = ("alpha".parse().unwrap(), "beta".parse().unwrap());
        let denom = |n| format!("transfer/channel-2/t{n}").parse().unwrap();
        Direction {
            from,
            lane: lane((&alpha, &source), (&beta, &destination)).unwrap(),
            source,
            destination,
            denoms: (0..count).map(denom).collect(),
        }
    }

    fn path(count: usize) -> Path {
        Path {
            ends: Pair { a: end("transfer/channel-1"), b: end("transfer/channel-2") },
            clients: Pair {
                a: "07-tendermint-0".parse().unwrap(),
                b: "07-tendermint-0".parse().unwrap(),
            },
            directions: [direction(Side::A, count), direction(Side::B, 1)],
        }
    }

    /// Every token is looked at within few looks, and no look is long.
    #[test]
    fn r10_tokens_take_turns_where_they_are_many() {
        for (paths, tokens, looks) in [(1, 0, 1), (1, 200, 1), (1, 2_000, 10), (9, 400, 19)] {
            let paths = vec![path(tokens); paths];
            let group: Vec<&Path> = paths.iter().collect();
            let mut seen = 0;
            for turn in 0..looks {
                let items = items(&group, turn);
                assert!(items.len() <= MAX_ITEMS);
                seen += items.iter().filter(|item| item.direction.from == Side::A).count();
            }
            assert_eq!(seen, tokens * paths.len(), "{tokens} in {looks} looks");
        }
    }

    #[test]
    fn what_is_kept_has_the_name_that_its_own_chain_gives_it() {
        let far: Denom = "transfer/channel-2/transfer/channel-5/uatom".parse().unwrap();
        let before: Denom = "transfer/channel-5/uatom".parse().unwrap();
        let direction = direction(Side::A, 0);
        let account = escrow(&end("transfer/channel-1"));
        let expected = (bank::balance(&account, &before.on_chain()), bank::supply(&far.on_chain()));
        assert_eq!(keys(&Item { direction: &direction, denom: &far }), Some(expected));
        // R10: no bank has such a token.
        let long: Denom = format!("transfer/channel-2/{}", "u".repeat(129)).parse().unwrap();
        assert_eq!(keys(&Item { direction: &direction, denom: &long }), None);
    }
}
