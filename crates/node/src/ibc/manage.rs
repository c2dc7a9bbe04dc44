//! What an operator does to clients and channels by hand, one thing at a time.

use super::{
    channels::{ReadError, values},
    clients::{self, Client, Clients, Lead},
    direct::send,
    find::list,
    path::{PathError, PathSide, new_client, wait_for},
    show::on_chain,
};
use crate::cosmos::CosmosNetwork;
use ibc_proto::ibc::core::client::v1::{QueryClientStatesRequest, QueryClientStatesResponse};
use postrider_cosmos::{LightError, UpstreamError};
use postrider_ibc::{
    ChannelEndId, ClientId, HandshakeState,
    messages::{self, Shown, Signer},
    paths,
    state::{ChannelEnd, ClientState, ConnectionEnd},
};
use postrider_message::{Height, UnixMillis};
use postrider_signing::AddressPrefix;
use postrider_verification::tendermint::StateKey;
use prost::Message;
use sha2::{Digest, Sha256};

/// Makes a client on one side, of the other one, whatever clients there are.
///
/// # Errors
/// [`PathError`].
pub async fn create_client(on: &PathSide, of: &PathSide) -> Result<ClientId, PathError> {
    for side in [on, of] {
        side.network.begin(None).await?;
    }
    new_client(on, of).await
}

/// All clients on a network of a kind that is known here, by their ids, as proven state tells them.
///
/// # Errors
/// [`PathError`].
pub async fn clients(network: &CosmosNetwork) -> Result<Vec<(Client, UnixMillis)>, PathError> {
    network.begin(None).await?;
    let listed = list(
        network,
        "/ibc.core.client.v1.Query/ClientStates",
        |page| QueryClientStatesRequest { pagination: Some(page) },
        |told: QueryClientStatesResponse| (told.client_states, told.pagination),
    )
    .await?;
    let known = listed.into_iter().filter(|client| {
        let state = client.client_state.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        ClientState::decode(&state).is_ok()
    });
    let ids: Vec<ClientId> = known.filter_map(|client| client.client_id.parse().ok()).collect();
    let here = network.newest().await?.anchor;
    let mut read = clients::read(network, &here, &ids).await?;
    let now = clients::time(&here);
    Ok(ids.iter().filter_map(|id| Some((read.remove(id)?, now))).collect())
}

/// Leads a client to the newest block of the chain that it follows; `None` if it holds it.
///
/// # Errors
/// [`PathError`].
pub async fn update_client(
    on: &PathSide,
    of: &CosmosNetwork,
    client: &ClientId,
) -> Result<Option<Height>, PathError> {
    on.network.begin(None).await?;
    of.begin(None).await?;
    let here = on.network.newest().await?.anchor;
    let read = clients::read(&on.network, &here, std::slice::from_ref(client)).await?;
    let client = read.get(client).ok_or_else(|| ReadError::NoClient(client.clone()))?;
    let newest = of.newest().await?.anchor.block().height;
    let address = on.network.named_by(&on.key);
    let at = (on.network.as_ref(), &here);
    let lead = Clients::default().lead(at, of, client, newest, Signer(&address)).await?;
    let Lead::By(messages) = lead else { return Ok(None) };
    let sent = send(&on.network, &on.key, messages).await;
    sent.map_err(|error| on.failed(error))?;
    Ok(Some(newest))
}

/// The proposal by which governance puts another client in the place of one that expired or was frozen
/// (`ibc.core.client.v1.MsgRecoverClient`), as `tx gov submit-proposal` takes it.
#[must_use]
pub fn recovery_proposal(
    prefix: &AddressPrefix,
    subject: &ClientId,
    substitute: &ClientId,
    deposit: &str,
) -> serde_json::Value {
    serde_json::json!({
        "messages": [{
            "@type": "/ibc.core.client.v1.MsgRecoverClient",
            "subject_client_id": subject,
            "substitute_client_id": substitute,
            "signer": prefix.address(&module_account("gov")),
        }],
        "metadata": "",
        "deposit": deposit,
        "title": format!("Recover IBC client {subject}"),
        "summary": format!(
            "Client {subject} has expired or is frozen. This puts what client {substitute} holds in its \
             place, so that its connections and channels go on."
        ),
    })
}

/// The account of a module (SDK `NewModuleAddress`): the first 20 bytes of its name's SHA-256 hash.
fn module_account(module: &str) -> [u8; 20] {
    let mut account = [0; 20];
    account.iter_mut().zip(Sha256::digest(module)).for_each(|(to, from)| *to = from);
    account
}

/// Closes a channel on both sides, from whatever state it is in. Returns how many steps that took.
///
/// # Errors
/// [`PathError`]; the module behind the channel may refuse it, as token transfers do.
pub async fn close_channel(
    side: &PathSide,
    other: &PathSide,
    channel: &ChannelEndId,
) -> Result<usize, PathError> {
    for side in [side, other] {
        side.network.begin(None).await?;
    }
    let end = read_end(side, channel).await?;
    let mut steps = 0;
    if end.state != HandshakeState::Closed {
        let address = side.network.named_by(&side.key);
        let message = messages::channel_close_init(channel, Signer(&address));
        let sent = send(&side.network, &side.key, vec![message]).await;
        let sent = sent.map_err(|error| side.failed(error))?;
        wait_for(&side.network, sent.height.0.saturating_add(1)).await?;
        steps += 1;
    }
    let Some(there) = end.counterparty() else { return Ok(steps) };
    let far = read_end(other, &there).await?;
    if far.state != HandshakeState::Closed && far.counterparty().as_ref() == Some(channel) {
        confirm_close(side, other, channel, (&there, &far)).await?;
        steps += 1;
    }
    Ok(steps)
}

async fn read_end(side: &PathSide, channel: &ChannelEndId) -> Result<ChannelEnd, PathError> {
    let anchor = side.network.newest().await?.anchor;
    let read = values(&side.network, &anchor, std::iter::once(paths::channel(channel))).await?;
    let value = read.into_iter().flatten().next();
    let value = value.ok_or_else(|| nothing(&format!("there is no channel {channel}")))?;
    Ok(ChannelEnd::decode(&value).map_err(ReadError::from)?)
}

/// Shows the other side that this one is closed.
async fn confirm_close(
    side: &PathSide,
    other: &PathSide,
    channel: &ChannelEndId,
    (there, far): (&ChannelEndId, &ChannelEnd),
) -> Result<(), PathError> {
    let at = other.network.newest().await?.anchor;
    let key = paths::connection(&far.connection);
    let read = values(&other.network, &at, std::iter::once(key)).await?;
    let connection = read.into_iter().flatten().next().and_then(|v| ConnectionEnd::decode(&v).ok());
    let connection = connection.ok_or_else(|| nothing("the connection there was not read"))?;
    let shown_at = side.network.newest().await?.anchor;
    let key = StateKey::ibc(paths::channel(channel)).map_err(ReadError::from)?;
    let proven = side.network.light.prove(&shown_at, &[key]).await?;
    let proof = proven.first().map(|proven| proven.proof.merkle_proof_bytes()).unwrap_or_default();
    let height = shown_at.block().height;
    let shown = Shown { proof, height: on_chain(&side.network, height) };
    let address = other.network.named_by(&other.key);
    let signer = Signer(&address);
    let client = &connection.client;
    let read = clients::read(&other.network, &at, std::slice::from_ref(client)).await?;
    let client = read.get(client).ok_or_else(|| ReadError::NoClient(client.clone()))?;
    let here = (other.network.as_ref(), &at);
    let mut all = match Clients::default().lead(here, &side.network, client, height, signer).await?
    {
        Lead::By(updates) => updates,
        Lead::Held => Vec::new(),
        Lead::Further => return Err(nothing("the client there was led further: run this again")),
    };
    all.push(messages::channel_close_confirm(there, &shown, signer));
    let sent = send(&other.network, &other.key, all).await;
    let sent = sent.map_err(|error| other.failed(error))?;
    // Run again at once, it is to see that nothing is left to do.
    wait_for(&other.network, sent.height.0.saturating_add(1)).await
}

fn nothing(what: &str) -> PathError {
    ReadError::Light(LightError::Upstream(UpstreamError::Garbage(what.into()))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account that chains of prefix `cosmos` have for their governance.
    #[test]
    fn governance_signs_recoveries() {
        let prefix: AddressPrefix = "cosmos".parse().unwrap();
        let (subject, substitute) =
            ("07-tendermint-0".parse().unwrap(), "07-tendermint-9".parse().unwrap());
        let proposal = recovery_proposal(&prefix, &subject, &substitute, "10stake");
        let message = &proposal["messages"][0];
        assert_eq!(message["signer"], "cosmos10d07y265gmmuvt4z0w9aw880jnsr700j6zn9kn");
        assert_eq!(message["subject_client_id"], "07-tendermint-0");
        assert_eq!(message["substitute_client_id"], "07-tendermint-9");
    }
}
