//! The connections and channels between two networks, whoever began them, both ends of each beside each other.

use super::{
    find::{clients_named_after, ends_over},
    path::PathError,
};
use crate::cosmos::CosmosNetwork;
use postrider_ibc::{
    ChannelEndId, ConnectionId, HandshakeState,
    handshake::Ends,
    state::{ChannelEnd, ConnectionEnd},
};
use postrider_verification::tendermint::CosmosAnchor;
use std::collections::{BTreeMap, BTreeSet};

/// The most clients of a chain's name that are looked over.
const MAX_CLIENTS: usize = 200;

/// Two ends that belong together, in the order of the networks, or one that no other one belongs to.
pub type Both<I, E> = [Option<(I, E)>; 2];

/// What leads from one network to another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Between {
    /// The connections.
    pub connections: Vec<Both<ConnectionId, ConnectionEnd>>,
    /// The channels.
    pub channels: Vec<Both<ChannelEndId, ChannelEnd>>,
}

/// The connections between two networks and the channels over them. Which clients and channels there are is
/// one upstream's word; what stands at each end is proven.
///
/// # Errors
/// [`PathError`].
pub async fn between(a: &CosmosNetwork, b: &CosmosNetwork) -> Result<Between, PathError> {
    for network in [a, b] {
        network.begin(None).await?;
    }
    let (at_a, at_b) = tokio::try_join!(a.newest(), b.newest())?;
    let (on_a, on_b) =
        tokio::try_join!(towards((a, &at_a.anchor), b), towards((b, &at_b.anchor), a))?;
    Ok(Between {
        connections: pair(&on_a.connections, &on_b.connections, |end| end.counterparty.clone()),
        channels: pair(&on_a.channels, &on_b.channels, ChannelEnd::counterparty),
    })
}

/// All that a network has over clients of a chain with the name of the other one.
async fn towards(
    (network, anchor): (&CosmosNetwork, &CosmosAnchor),
    other: &CosmosNetwork,
) -> Result<Ends, PathError> {
    let mut all = Ends::default();
    let clients = clients_named_after(network, anchor, other).await?;
    for client in clients.iter().take(MAX_CLIENTS) {
        let ends = ends_over(network, anchor, client).await?;
        all.connections.extend(ends.connections);
        all.channels.extend(ends.channels);
    }
    Ok(all)
}

/// Puts those together that name each other, or one of which answers the other; an end counts once.
fn pair<I: Clone + Ord, E: Clone + HasState>(
    a: &BTreeMap<I, E>,
    b: &BTreeMap<I, E>,
    names: impl Fn(&E) -> Option<I>,
) -> Vec<Both<I, E>> {
    let mut used = BTreeSet::new();
    let mut pairs = Vec::new();
    for (id, end) in a {
        let named = names(end);
        let fits = |(there, other): &(&I, &E)| {
            !used.contains(*there)
                && match &named {
                    Some(named) => named == *there && names(other).is_none_or(|back| back == *id),
                    None => {
                        other.state() == HandshakeState::TryOpen
                            && names(other).as_ref() == Some(id)
                    }
                }
        };
        let there = match &named {
            Some(named) => b.get_key_value(named).filter(fits),
            None => b.iter().find(fits),
        };
        let there = there.map(|(there, other)| (there.clone(), other.clone()));
        used.extend(there.iter().map(|(there, _)| there.clone()));
        pairs.push([Some((id.clone(), end.clone())), there]);
    }
    let alone = b.iter().filter(|(id, _)| !used.contains(*id));
    pairs.extend(alone.map(|(id, end)| [None, Some((id.clone(), end.clone()))]));
    pairs
}

trait HasState {
    fn state(&self) -> HandshakeState;
}

impl HasState for ConnectionEnd {
    fn state(&self) -> HandshakeState {
        self.state
    }
}

impl HasState for ChannelEnd {
    fn state(&self) -> HandshakeState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HandshakeState::{Init, Open, TryOpen};

    #[derive(Clone)]
    struct Toy(HandshakeState, Option<u8>);

    impl HasState for Toy {
        fn state(&self) -> HandshakeState {
            self.0
        }
    }

    #[test]
    fn ends_that_belong_together_stand_together() {
        type Toys = [(u8, HandshakeState, Option<u8>)];
        type Pairs = [(Option<u8>, Option<u8>)];
        let cases: [(&Toys, &Toys, &Pairs); 6] = [
            (&[(1, Open, Some(7))], &[(7, Open, Some(1))], &[(Some(1), Some(7))]),
            (&[(1, Init, None)], &[(7, TryOpen, Some(1))], &[(Some(1), Some(7))]),
            (&[(1, TryOpen, Some(7))], &[(7, Init, None)], &[(Some(1), Some(7))]),
            // Two answers to one end: the second one stands alone.
            (
                &[(1, TryOpen, Some(7)), (2, TryOpen, Some(7))],
                &[(7, Init, None)],
                &[(Some(1), Some(7)), (Some(2), None)],
            ),
            // Begun apart.
            (&[(1, Init, None)], &[(7, Init, None)], &[(Some(1), None), (None, Some(7))]),
            // It names one that is another's.
            (&[(1, Open, Some(7))], &[(7, Open, Some(3))], &[(Some(1), None), (None, Some(7))]),
        ];
        for (a, b, expected) in cases {
            let toys = |toys: &Toys| -> BTreeMap<u8, Toy> {
                toys.iter().map(|(id, state, names)| (*id, Toy(*state, *names))).collect()
            };
            let pairs = pair(&toys(a), &toys(b), |end| end.1);
            let ids = |both: &Both<u8, Toy>| {
                let [a, b] = both.each_ref().map(|end| end.as_ref().map(|(id, _)| *id));
                (a, b)
            };
            assert_eq!(pairs.iter().map(ids).collect::<Vec<_>>(), expected, "{a:?} {b:?}");
        }
    }
}
