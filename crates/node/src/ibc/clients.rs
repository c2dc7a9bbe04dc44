//! Clients of other networks: what they hold, whether they can be shown anything, and what leads them on.

use super::channels::{ReadError, values};
use crate::cosmos::CosmosNetwork;
use alloy_primitives::B256;
use futures::FutureExt;
use ibc_proto::google::protobuf::Any;
use postrider_cosmos::{LightError, Need, UpstreamError, light::Anchored};
use postrider_ibc::{
    ClientId, Height as IbcHeight,
    messages::{self, Signer, Trusted},
    paths,
    state::{ClientState, ConsensusState},
};
use postrider_message::{Detail, Height, Reason, UnixMillis};
use postrider_verification::tendermint::{
    AnchorVerdict, ClaimedBlock, CosmosAnchor, RootOfTrust, TrustOptions, ValidatorSet, advance,
    anchor_from_root,
};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// The most heights that are remembered of a client.
const MAX_HEIGHTS: usize = 64;
/// The most clients of which something is remembered.
const MAX_CLIENTS: usize = 1_024;
/// An update that is not in the client after this time is sent anew.
const ON_ITS_WAY: Duration = Duration::from_secs(20);
/// The most updates that lead a client to one height.
const MAX_UPDATES: usize = 16;

/// A client, as proven state tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// What it says of itself.
    pub state: ClientState,
    /// What it holds of its newest height; `None` if that was pruned.
    pub newest: Option<ConsensusState>,
}

impl Client {
    /// When what it holds is too old to be led on by; `None` if it holds nothing.
    #[must_use]
    pub fn expires(&self) -> Option<UnixMillis> {
        let period = u64::try_from(self.state.trusting_period.as_millis()).unwrap_or(u64::MAX);
        Some(UnixMillis(self.newest?.time.0.saturating_add(period)))
    }

    /// Why nothing can be shown to it at this time; `None` if something can.
    #[must_use]
    pub fn unusable(&self, now: UnixMillis) -> Option<Detail> {
        if let Some(height) = self.state.frozen {
            return Some(format!("it is frozen since height {height}").into());
        }
        match self.expires() {
            Some(then) if now < then => None,
            Some(then) => Some(format!("it has expired at {then}").into()),
            None => Some("it holds nothing of its newest height".into()),
        }
    }
}

/// Reads clients and what they hold, in the state that `here` names; those that are not there, or not of a
/// kind known here, are left out.
///
/// # Errors
/// [`ReadError`] if the state was not proven.
pub async fn read(
    network: &CosmosNetwork,
    here: &CosmosAnchor,
    ids: &[ClientId],
) -> Result<HashMap<ClientId, Client>, ReadError> {
    let states: Vec<(ClientId, ClientState)> =
        values(network, here, ids.iter().map(paths::client_state))
            .await?
            .into_iter()
            .zip(ids)
            .filter_map(|(value, id)| Some((id.clone(), ClientState::decode(&value?).ok()?)))
            .collect();
    let newest = states.iter().map(|(id, state)| paths::consensus_state(id, state.latest));
    let newest = values(network, here, newest).await?;
    let clients = states.into_iter().zip(newest).map(|((id, state), newest)| {
        let newest = newest.and_then(|value| ConsensusState::decode(&value).ok());
        (id.clone(), Client { id, state, newest })
    });
    Ok(clients.collect())
}

/// The time of an anchor's block.
pub(super) fn time(anchor: &CosmosAnchor) -> UnixMillis {
    let millis = anchor.time().unix_timestamp_nanos() / 1_000_000;
    UnixMillis(u64::try_from(millis).unwrap_or_default())
}

/// How a client comes to hold a height.
#[derive(Debug)]
pub(super) enum Lead {
    /// It does, or what leads it there is on its way.
    Held,
    /// These messages, in their order.
    By(Vec<Any>),
    /// It is further already, without that height: something later must be shown.
    Further,
}

/// What this node leads clients of one network to.
#[derive(Debug, Default)]
pub(super) struct Clients {
    led: HashMap<ClientId, BTreeMap<Height, Instant>>,
    /// The height of each client that ages until packets can be proven by it.
    ripening: HashMap<ClientId, Height>,
}

impl Clients {
    /// What leads a client on a network to the block at `height` of the other one. `here` is the newest
    /// state of the network with the client.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) async fn lead(
        &mut self,
        (network, here): (&CosmosNetwork, &CosmosAnchor),
        other: &CosmosNetwork,
        client: &Client,
        height: Height,
        signer: Signer<'_>,
    ) -> Result<Lead, ReadError> {
        let latest = Height(client.state.latest.revision_height);
        if height == latest || self.is_led(&client.id, height) {
            return Ok(Lead::Held);
        }
        if height < latest {
            let wanted = IbcHeight { revision_height: height.0, ..client.state.latest };
            let key = paths::consensus_state(&client.id, wanted);
            let held = values(network, here, std::iter::once(key)).await?;
            let is_held = held.into_iter().flatten().next().is_some();
            return Ok(if is_held { Lead::Held } else { Lead::Further });
        }
        let updates = updates(other, client, height, signer).await?;
        self.note(&client.id, height);
        Ok(Lead::By(updates))
    }

    pub(super) fn is_led(&self, client: &ClientId, height: Height) -> bool {
        let led = self.led.get(client).and_then(|led| led.get(&height));
        led.is_some_and(|at| at.elapsed() < ON_ITS_WAY)
    }

    fn note(&mut self, client: &ClientId, height: Height) {
        if self.led.len() >= MAX_CLIENTS {
            self.led.clear();
        }
        let led = self.led.entry(client.clone()).or_default();
        led.insert(height, Instant::now());
        while led.len() > MAX_HEIGHTS {
            led.pop_first();
        }
    }

    /// What was to lead one client is not sent.
    pub(super) fn forget(&mut self, client: &ClientId) {
        self.led.remove(client);
    }

    /// What was on its way may be lost: nothing counts as led.
    pub(super) fn forget_led(&mut self) {
        self.led.clear();
    }

    /// The height of a client that ages.
    pub(super) fn ripening(&self, client: &ClientId) -> Option<Height> {
        self.ripening.get(client).copied()
    }

    pub(super) fn ripen(&mut self, client: &ClientId, height: Height) {
        if self.ripening.len() >= MAX_CLIENTS {
            self.ripening.clear();
        }
        self.ripening.insert(client.clone(), height);
    }

    /// Nothing ages any more.
    pub(super) fn ripened(&mut self, client: &ClientId) {
        self.ripening.remove(client);
    }
}

/// The updates that lead a client from its newest height to another one. Where too few of the validators
/// that the client knows signed the block there, blocks between come first.
async fn updates(
    other: &CosmosNetwork,
    client: &Client,
    height: Height,
    signer: Signer<'_>,
) -> Result<Vec<Any>, ReadError> {
    let state = &client.state;
    let options = TrustOptions::new(
        other.config.chain_id.as_str(),
        state.trusting_period,
        state.trust_level,
        state.max_clock_drift,
    )
    .map_err(|error| unusable(client, &error.to_string()))?;
    let mut messages = Vec::new();
    let mut trusted = match held_block(other, client).await? {
        Held::Anchored(anchor) => *anchor,
        Held::Claimed(claimed) => trusted(other, client, &options, *claimed)?,
        Held::Validators(next) => {
            let first = first_after_upgrade(other, client, height).await?;
            let kernel = Trusted { height: client.state.latest, next_validators: &next };
            messages.push(messages::update_client(&client.id, &kernel, first.claimed(), signer));
            first
        }
        Held::Nothing => return Err(unusable(client, "it holds nothing")),
        Held::Other(height) => return Err(ReadError::Fork { client: client.id.clone(), height }),
    };
    let mut ahead = Vec::new();
    if trusted.block().height != height {
        ahead.push(other.anchor(height).await?.anchor);
    }
    while let Some(target) = ahead.last() {
        // The chain's clock decides; ours only tells what is out of the question.
        match advance(&trusted, &options, target.claimed().clone(), UnixMillis::now()) {
            AnchorVerdict::NotEnoughTrust(tally) => {
                let (low, high) = (trusted.block().height.0, target.block().height.0);
                let middle = low.midpoint(high);
                if middle == low || ahead.len().saturating_add(messages.len()) >= MAX_UPDATES {
                    return Err(LightError::NotEnoughTrust(tally).into());
                }
                ahead.push(other.anchor(Height(middle)).await?.anchor);
                continue;
            }
            AnchorVerdict::Refuted(refutation) => {
                return Err(unusable(client, &refutation.to_string()));
            }
            AnchorVerdict::Expired(expired) => return Err(LightError::Expired(expired).into()),
            AnchorVerdict::Accepted(_) | AnchorVerdict::TooEarly(_) => {}
        }
        let update = messages::update_client(
            &client.id,
            &trusted.claimed().into(),
            target.claimed(),
            signer,
        );
        messages.push(update);
        if let Some(reached) = ahead.pop() {
            trusted = reached;
        }
    }
    Ok(messages)
}

/// The block that a client holds as its newest. What a chain of ours proves that the client holds is enough
/// to know it by, though it is older than anything that our own light client remembers.
fn trusted(
    other: &CosmosNetwork,
    client: &Client,
    options: &TrustOptions,
    claimed: ClaimedBlock,
) -> Result<CosmosAnchor, ReadError> {
    let root = RootOfTrust::new(claimed.block().height, claimed.block().hash)
        .map_err(|error| unusable(client, &error.to_string()))?;
    match anchor_from_root(&other.name, options, &root, claimed, UnixMillis::now()) {
        AnchorVerdict::Accepted(anchor) => Ok(anchor),
        AnchorVerdict::Expired(expired) => Err(LightError::Expired(expired).into()),
        AnchorVerdict::Refuted(refutation) => Err(LightError::BadRoot(refutation).into()),
        AnchorVerdict::TooEarly(early) => Err(LightError::TooEarly(early).into()),
        AnchorVerdict::NotEnoughTrust(tally) => Err(LightError::NotEnoughTrust(tally).into()),
    }
}

/// The block of a client's newest height.
enum Held {
    /// It is the one that our own light client accepts.
    Anchored(Box<CosmosAnchor>),
    /// It is older than that, and an upstream has it.
    Claimed(Box<ClaimedBlock>),
    /// No block: these validators of the first one after an upgrade.
    Validators(Box<ValidatorSet>),
    /// The client holds nothing of that height.
    Nothing,
    /// The client holds another one at this height.
    Other(Height),
}

async fn held_block(other: &CosmosNetwork, client: &Client) -> Result<Held, ReadError> {
    let height = Height(client.state.latest.revision_height);
    let Some(held) = client.newest else { return Ok(Held::Nothing) };
    if held.root.is_none() {
        let found = validators_of_upgrade(other, client, held.next_validators).await?;
        return Ok(Held::Validators(Box::new(found)));
    }
    match other.anchor(height).await {
        Ok(Anchored { anchor, .. }) if is_of(&held, anchor.claimed()) => {
            Ok(Held::Anchored(Box::new(anchor)))
        }
        Ok(_) => Ok(Held::Other(height)),
        Err(LightError::TooFarBack { .. }) => {
            let asked =
                other.upstreams.first(Need::Height(height), |u| u.light_block(height).boxed());
            let claimed = asked.await.map_err(LightError::from)?;
            if is_of(&held, &claimed) {
                Ok(Held::Claimed(Box::new(claimed)))
            } else {
                Ok(Held::Other(height))
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// The validators that a client trusts after an upgrade: those of the last block before it, or of the first
/// one after it. Whoever tells them, their hash is the one that the client holds.
async fn validators_of_upgrade(
    other: &CosmosNetwork,
    client: &Client,
    hash: B256,
) -> Result<ValidatorSet, ReadError> {
    let latest = client.state.latest.revision_height;
    let mut last = None;
    // The client is told of the first block after the upgrade, and holds the last one's validators before it.
    for height in [latest.saturating_sub(1), latest, latest.saturating_add(1)] {
        let height = Height(height);
        let asked = other.upstreams.first(Need::Height(height), |u| u.light_block(height).boxed());
        let block = match asked.await {
            Ok(block) => block,
            Err(error) => {
                last = Some(error);
                continue;
            }
        };
        for set in [block.validators(), block.next_validators()] {
            if set.hash().as_bytes() == hash.as_slice() {
                return Ok(set.clone());
            }
        }
    }
    Err(match last {
        Some(error) => LightError::from(error).into(),
        None => {
            unusable(client, "an upgrade put other validators into it than this chain had then")
        }
    })
}

/// The first block that a client is led to after an upgrade. One that follows the client's height at once must
/// be signed by the very validators that it holds, so another one is taken if there is any.
async fn first_after_upgrade(
    other: &CosmosNetwork,
    client: &Client,
    height: Height,
) -> Result<CosmosAnchor, ReadError> {
    let first = Height(client.state.latest.revision_height.saturating_add(2)).min(height);
    match other.anchor(first).await {
        Err(LightError::TooFarBack { .. }) => Ok(other.anchor(height).await?.anchor),
        found => Ok(found?.anchor),
    }
}

/// Whether what a client holds of a height is of this block.
pub(super) fn is_of(held: &ConsensusState, block: &ClaimedBlock) -> bool {
    let header = block.header();
    held.root.is_some_and(|root| header.app_hash.as_bytes() == root.as_slice())
        && header.next_validators_hash.as_bytes() == held.next_validators.as_slice()
}

/// Whether a client follows the chain that this node knows under its name: it holds a block of it.
///
/// # Errors
/// [`ReadError`] if that cannot be told now.
pub(super) async fn follows(other: &CosmosNetwork, client: &Client) -> Result<bool, ReadError> {
    let held = held_block(other, client).await?;
    Ok(matches!(held, Held::Anchored(_) | Held::Claimed(_) | Held::Validators(_)))
}

/// Why a duty waits for a client.
pub(super) fn reason(network: &CosmosNetwork, client: &ClientId, detail: Detail) -> Reason {
    Reason::ClientUnusable { client: client.to_string(), network: network.name.clone(), detail }
}

fn unusable(client: &Client, what: &str) -> ReadError {
    let what = format!("client {}: {what}", client.id);
    ReadError::Light(LightError::Upstream(UpstreamError::Garbage(what.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_what_is_not_sent_to_one_client_is_on_its_way_to_the_others_still() {
        let ids = ["07-tendermint-0", "07-tendermint-1"];
        let [odd, sound] = ids.map(|id| id.parse::<ClientId>().unwrap());
        let mut clients = Clients::default();
        clients.note(&odd, Height(7));
        clients.note(&sound, Height(7));
        clients.forget(&odd);
        assert!(!clients.is_led(&odd, Height(7)));
        assert!(clients.is_led(&sound, Height(7)));
        clients.forget_led();
        assert!(!clients.is_led(&sound, Height(7)));
    }
}
