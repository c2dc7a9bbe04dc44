//! Takes a client over its chain's upgrade (ICS-07 "Upgrades"; ibc-go `MsgUpgradeClient`): before the chain
//! stops, it commits to what its clients become, and the last root that they learn of proves it.

use super::{
    channels::ReadError,
    clients::{self, Client, Clients, Lead},
    direct::send,
    path::{PathError, PathSide},
};
use crate::cosmos::CosmosNetwork;
use futures::FutureExt;
use ibc_proto::google::protobuf::Any;
use postrider_cosmos::{LightError, Need, Proven, UpstreamError};
use postrider_ibc::{
    ClientId, Height as IbcHeight,
    messages::{self, Signer, Upgrade},
    paths,
};
use postrider_message::{Height, NetworkName};
use postrider_verification::tendermint::{CosmosAnchor, StateKey, StoreName};
use prost::Message;

/// Why a client was not taken over an upgrade.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// Reading or sending failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The chain commits to nothing at that height.
    #[error(
        "{network} says nothing at height {height} of what its clients become by an upgrade: {hint}"
    )]
    Nothing {
        /// The chain that the client follows.
        network: NetworkName,
        /// Where it was looked.
        height: Height,
        /// What to do.
        hint: Hint,
    },
    /// The client holds a later height than that of the upgrade.
    #[error(
        "client {client} holds height {latest} already, and only one whose newest height is that of the \
         upgrade, {height}, can be taken over it: governance can recover it with another client"
    )]
    TooLate {
        /// The client.
        client: ClientId,
        /// The newest height that it holds.
        latest: IbcHeight,
        /// The height of the upgrade.
        height: Height,
    },
}

impl From<ReadError> for UpgradeError {
    fn from(error: ReadError) -> Self {
        Self::Path(error.into())
    }
}

impl From<LightError> for UpgradeError {
    fn from(error: LightError) -> Self {
        Self::Path(error.into())
    }
}

/// What to do about an upgrade that is not to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// One is planned at this height.
    Planned(Height),
    /// None is planned, as one upstream says.
    Unplanned,
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Planned(height) => {
                write!(f, "an upgrade is planned at height {height}; run this again when the chain has stopped there")
            }
            Self::Unplanned => f.write_str(
                "no upgrade is planned there; if the chain has gone on since, name the height of its upgrade",
            ),
        }
    }
}

/// What became of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The height at which its chain stopped.
    pub at: Height,
    /// The client as it is now.
    pub client: Client,
}

/// Takes a client over an upgrade of the chain that it follows. The upgrade is at the height that is named;
/// otherwise where the client stands, or where the chain does, which has stopped.
///
/// # Errors
/// [`UpgradeError`]. Nothing was sent then, except by [`PathError::Send`].
pub async fn upgrade_client(
    on: &PathSide,
    of: &CosmosNetwork,
    client: &ClientId,
    height: Option<Height>,
) -> Result<Upgraded, UpgradeError> {
    on.network.begin(None).await?;
    of.begin(None).await?;
    let here = on.network.newest().await?.anchor;
    let held = one(&on.network, &here, client).await?;
    let (at, upgrade) = committed(of, &held, height).await?;
    let height = at.block().height;
    if held.state.latest.revision_height > height.0 {
        let (client, latest) = (client.clone(), held.state.latest);
        return Err(UpgradeError::TooLate { client, latest, height });
    }
    let address = on.network.named_by(&on.key);
    let signer = Signer(&address);
    let there = (on.network.as_ref(), &here);
    let mut all = match Clients::default().lead(there, of, &held, height, signer).await? {
        Lead::By(updates) => updates,
        Lead::Held | Lead::Further => Vec::new(),
    };
    all.push(messages::upgrade_client(client, upgrade, signer));
    let sent = send(&on.network, &on.key, all).await.map_err(|error| on.failed(error))?;
    super::path::wait_for(&on.network, sent.height.0.saturating_add(1)).await?;
    let here = on.network.newest().await?.anchor;
    Ok(Upgraded { at: height, client: one(&on.network, &here, client).await? })
}

async fn one(
    network: &CosmosNetwork,
    here: &CosmosAnchor,
    id: &ClientId,
) -> Result<Client, ReadError> {
    let mut read = clients::read(network, here, std::slice::from_ref(id)).await?;
    read.remove(id).ok_or_else(|| ReadError::NoClient(id.clone()))
}

/// What a chain committed to, and the block whose root proves it.
async fn committed(
    of: &CosmosNetwork,
    held: &Client,
    named: Option<Height>,
) -> Result<(CosmosAnchor, Upgrade), UpgradeError> {
    let newest = of.newest().await?.anchor;
    let latest = Height(held.state.latest.revision_height);
    let wanted = match named {
        Some(height) => vec![height],
        None => vec![latest, newest.block().height],
    };
    for height in wanted.iter().copied().filter(|height| *height <= newest.block().height) {
        let anchor = match of.anchor(height).await {
            Ok(found) => found.anchor,
            // What it holds is older than what is remembered here; what is newer counts.
            Err(LightError::TooFarBack { .. }) if named.is_none() => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(upgrade) = committed_at(of, &anchor).await? {
            return Ok((anchor, upgrade));
        }
    }
    let hint = planned(of).await?.map_or(Hint::Unplanned, Hint::Planned);
    let height = named.unwrap_or(newest.block().height);
    Err(UpgradeError::Nothing { network: of.name.clone(), height, hint })
}

/// What stands in the state that a block's root proves, of an upgrade at its own height.
async fn committed_at(
    of: &CosmosNetwork,
    anchor: &CosmosAnchor,
) -> Result<Option<Upgrade>, UpgradeError> {
    let height = anchor.block().height.0;
    let keys = [paths::upgraded_client(height), paths::upgraded_consensus_state(height)]
        .into_iter()
        .map(|path| StateKey::new(StoreName::new(paths::UPGRADE_STORE)?, path))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ReadError::from)?;
    let proven = of.light.prove(anchor, &keys).await?;
    let [client, consensus] = proven.as_slice() else { return Ok(None) };
    let (Some(client_state), Some(consensus_state)) = (any_of(client)?, any_of(consensus)?) else {
        return Ok(None);
    };
    Ok(Some(Upgrade {
        client_state,
        client_proof: client.proof.merkle_proof_bytes(),
        consensus_state,
        consensus_proof: consensus.proof.merkle_proof_bytes(),
    }))
}

fn any_of(proven: &Proven) -> Result<Option<Any>, ReadError> {
    let value = proven.fact.value().map(Any::decode).transpose();
    value.map_err(|error| {
        let what = format!("what stands in the store `upgrade` is no `Any`: {error}");
        LightError::Upstream(UpstreamError::Garbage(what.into())).into()
    })
}

/// `cosmos.upgrade.v1beta1.QueryCurrentPlanRequest` is empty.
#[derive(Clone, PartialEq, Message)]
struct CurrentPlanRequest {}

/// `cosmos.upgrade.v1beta1.QueryCurrentPlanResponse`.
#[derive(Clone, PartialEq, Message)]
struct CurrentPlan {
    #[prost(message, optional, tag = "1")]
    plan: Option<Plan>,
}

/// `cosmos.upgrade.v1beta1.Plan`, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct Plan {
    #[prost(int64, tag = "3")]
    height: i64,
}

/// The height of the upgrade that is planned, as one upstream says.
async fn planned(of: &CosmosNetwork) -> Result<Option<Height>, UpgradeError> {
    const PATH: &str = "/cosmos.upgrade.v1beta1.Query/CurrentPlan";
    let asked = of.upstreams.first(Need::Newest, |u| {
        async move { u.grpc::<_, CurrentPlan>(PATH, &CurrentPlanRequest {}, None).await }.boxed()
    });
    let told = asked.await.map_err(PathError::from)?;
    let height = told.plan.and_then(|plan| u64::try_from(plan.height).ok());
    Ok(height.filter(|height| *height > 0).map(Height))
}
