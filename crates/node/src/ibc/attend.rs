//! Ends the handshakes that others began: takes the steps that both chains' states say are owed here. Those
//! that are owed on the other network are taken by whoever relays there.

use super::{
    channels::ReadError,
    clients::{self, Clients, Lead},
    find::{clients_named_after, ends_over},
    path::PathError,
    shaking::answer,
    submit::Outgoing,
};
use crate::{context::Context, cosmos::CosmosNetwork};
use postrider_ibc::{
    ClientId, Height as IbcHeight,
    handshake::{Begun, Ends, Owed, Step, owed},
    messages::{Shown, Signer},
    paths,
};
use postrider_verification::tendermint::{CosmosAnchor, StateKey};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How often is looked for what is owed, and how much longer than a look the pause after it is: where there
/// are many clients, packets do not wait for handshakes.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_TO_LOOK: u32 = 10;
/// A step that is not in the state after this time is taken again.
const TAKE_AGAIN: Duration = Duration::from_secs(30);
/// The most steps that are taken at a look, and the most that are remembered: anybody may begin as many
/// handshakes as he pays for.
const MAX_AT_ONCE: usize = 20;
const MAX_TAKEN: usize = 1_000;
/// The most clients of a chain's name that are looked over.
const MAX_CLIENTS: usize = 200;

/// What is remembered of handshakes with one other network.
#[derive(Debug, Default)]
pub(super) struct Attended {
    /// When the next look is due; at once if none was taken.
    next: Option<Instant>,
    taken: HashMap<String, Instant>,
}

/// Where handshakes are ended.
pub(super) struct Attending<'a> {
    pub(super) context: &'a Context,
    pub(super) network: &'a CosmosNetwork,
    pub(super) here: &'a CosmosAnchor,
    pub(super) signer: Signer<'a>,
}

impl Attending<'_> {
    /// What is to be sent for handshakes with another network; nothing if it is not time to look.
    ///
    /// # Errors
    /// [`PathError`]; looking again may help.
    pub(super) async fn look(
        &self,
        (other, there): (&CosmosNetwork, &CosmosAnchor),
        attended: &mut Attended,
        known: &mut Clients,
    ) -> Result<Vec<Outgoing>, PathError> {
        let started = Instant::now();
        if attended.next.is_some_and(|next| started < next) {
            return Ok(Vec::new());
        }
        let read = tokio::try_join!(
            begun(self.network, self.here, other),
            begun(other, there, self.network)
        );
        let pause = PAUSE.max(started.elapsed().saturating_mul(PAUSE_TO_LOOK));
        attended.next = started.checked_add(pause);
        let (own, their) = read?;
        attended.taken.retain(|_, at| at.elapsed() < TAKE_AGAIN);
        let mut outgoing = Vec::new();
        let mut steps = owed(&own, &their);
        steps.retain(|owed| self.allows(other, owed) && !attended.taken.contains_key(&name(owed)));
        for owed in steps.into_iter().take(MAX_AT_ONCE) {
            let (network, step, of) = (&self.network.name, owed.step, &other.name);
            let taken = self.take((other, there), &owed, known).await;
            // What was to lead the client is not sent.
            if !matches!(taken, Ok(Some(_)))
                && let Some(id) = client(&owed)
            {
                known.forget(id);
            }
            match taken {
                Ok(None) => {}
                Ok(Some(calls)) => {
                    tracing::info!(%network, ?step, %of, "a handshake that others began goes on");
                    outgoing.extend(calls);
                    if attended.taken.len() < MAX_TAKEN {
                        attended.taken.insert(name(&owed), Instant::now());
                    }
                }
                // R6: what is wrong with one client, or one handshake, keeps no other from its end.
                Err(error) => tracing::warn!(%network, ?step, %of, %error, "a step was not taken"),
            }
        }
        Ok(outgoing)
    }

    /// Whether packets of the channel would be relayed: channels that the settings leave out are left alone.
    fn allows(&self, other: &CosmosNetwork, owed: &Owed) -> bool {
        let allows = |network: &CosmosNetwork, end| {
            let ibc = self.context.config.ibc.get(&network.name);
            ibc.is_some_and(|ibc| ibc.filter.allows(end))
        };
        let ends = (&owed.here.channel, &owed.there.channel);
        ends.0.as_ref().is_none_or(|(id, _)| allows(self.network, id))
            && ends.1.as_ref().is_none_or(|(id, _)| allows(other, id))
    }

    /// What takes a step; nothing if the client here is beyond what is to be shown.
    async fn take(
        &self,
        (other, there): (&CosmosNetwork, &CosmosAnchor),
        owed: &Owed,
        known: &mut Clients,
    ) -> Result<Option<Vec<Outgoing>>, PathError> {
        let Some(id) = client(owed) else { return Ok(None) };
        let read = clients::read(self.network, self.here, std::slice::from_ref(id)).await?;
        let client = read.get(id).ok_or_else(|| ReadError::NoClient(id.clone()))?;
        let (at, height) = ((self.network, self.here), there.block().height);
        let mut calls = Vec::new();
        match known.lead(at, other, client, height, self.signer).await? {
            Lead::Held => {}
            Lead::Further => return Ok(None),
            Lead::By(messages) => {
                let purpose = format!("update {id} for a handshake");
                calls.push(Outgoing { messages, purpose, duties: Vec::new() });
            }
        }
        let shown = show((other, there), owed).await?;
        let is_of_channel = owed.step.is_of_channel();
        let shown = if is_of_channel { (None, shown.first()) } else { (shown.first(), None) };
        let message = answer(owed.step, (&owed.here, &owed.there), shown, self.signer);
        let Some(message) = message else { return Ok(None) };
        let purpose = format!("{:?}", owed.step);
        calls.push(Outgoing { messages: vec![message], purpose, duties: Vec::new() });
        Ok(Some(calls))
    }
}

/// The client here over which a step is proven.
fn client(owed: &Owed) -> Option<&ClientId> {
    match owed.step {
        Step::ConnectionTry => {
            owed.there.connection.as_ref().map(|(_, end)| &end.counterparty_client)
        }
        _ => owed.here.connection.as_ref().map(|(_, end)| &end.client),
    }
}

/// What tells a step from all others.
fn name(owed: &Owed) -> String {
    let Owed { step, here, there } = owed;
    let of = |connection: Option<String>, channel: Option<String>| {
        channel.or(connection).unwrap_or_default()
    };
    let name = |has: &postrider_ibc::handshake::Has| {
        of(
            has.connection.as_ref().map(|(id, _)| id.to_string()),
            has.channel.as_ref().map(|(id, _)| id.to_string()),
        )
    };
    format!("{step:?} {} {}", name(here), name(there))
}

/// The proof of what the other network has: of the channel, or of the connection.
async fn show(
    (other, there): (&CosmosNetwork, &CosmosAnchor),
    owed: &Owed,
) -> Result<Vec<Shown>, PathError> {
    let path = match (&owed.there.channel, &owed.there.connection) {
        (Some((id, _)), _) => paths::channel(id),
        (None, Some((id, _))) => paths::connection(id),
        (None, None) => return Ok(Vec::new()),
    };
    let key = StateKey::ibc(path).map_err(ReadError::from)?;
    let proven = other.light.prove(there, &[key]).await?;
    let height = IbcHeight::on_chain(other.config.chain_id.as_str(), there.block().height.0);
    let shown = proven.iter();
    Ok(shown.map(|proven| Shown { proof: proven.proof.merkle_proof_bytes(), height }).collect())
}

/// What a network has over clients of a chain with the other one's name.
async fn begun(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    other: &CosmosNetwork,
) -> Result<Begun, PathError> {
    let mut clients = clients_named_after(network, anchor, other).await?;
    clients.truncate(MAX_CLIENTS);
    let mut ends = Ends::default();
    for client in &clients {
        let over = ends_over(network, anchor, client).await?;
        ends.connections.extend(over.connections);
        ends.channels.extend(over.channels);
    }
    Ok(Begun { clients: clients.into_iter().collect(), ends })
}
