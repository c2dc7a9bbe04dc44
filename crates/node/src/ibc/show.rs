//! What is proven of the other network, and the message that shows it.

use super::{
    channels::{Channel, ReadError},
    proofs::{self, Encoded},
    relay::Owed,
};
use crate::cosmos::CosmosNetwork;
use ibc_proto::google::protobuf::Any;
use postrider_ibc::{
    ClientId, HandshakeState, Height as IbcHeight, Sequence, acknowledgement_commitment,
    messages::{self, Shown, Signer},
    paths,
    plan::{Absence, Action, TimeOut},
    state::ChannelEnd,
};
use postrider_message::{DutyState, Height, Reason};
use postrider_verification::tendermint::{BadKey, StateKey};
use std::sync::Arc;

/// A decision to send, with what must be proven first.
pub(super) struct Claim<'a> {
    pub(super) owed: &'a Owed<'a>,
    channel: Arc<Channel>,
    action: Action,
    /// What is shown of the other network: a value, or that there is none.
    key: StateKey,
    /// The channel's end there, where it is shown to be closed.
    closed: Option<StateKey>,
}

/// Why there is no message.
pub(super) enum Refusal {
    /// The duty ends.
    Ends(DutyState),
    /// It is looked at again.
    Waits(Reason),
}

impl<'a> Claim<'a> {
    pub(super) fn of(
        owed: &'a Owed<'a>,
        channel: &Arc<Channel>,
        action: Action,
    ) -> Result<Self, BadKey> {
        let packet = &owed.packet;
        let mut closed = None;
        let path = match &action {
            Action::Acknowledge { .. } => {
                paths::acknowledgement(&packet.destination, packet.sequence)
            }
            Action::TimeOut(TimeOut { absence, closed: is_closed, .. }) => {
                if *is_closed {
                    closed = Some(StateKey::ibc(paths::channel(&packet.destination))?);
                }
                match absence {
                    Absence::NoReceipt => paths::receipt(&packet.destination, packet.sequence),
                    Absence::NextReceive(_) => paths::next_sequence_recv(&packet.destination),
                }
            }
            _ => paths::commitment(&packet.source, packet.sequence),
        };
        let (channel, key) = (Arc::clone(channel), StateKey::ibc(path)?);
        Ok(Self { owed, channel, action, key, closed })
    }

    /// The client that it is shown to.
    pub(super) fn client(&self) -> &ClientId {
        self.channel.here.client()
    }

    /// The channel that it goes over.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether it shares its transaction with nothing.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.action, Action::Receive { alone: true })
    }

    /// The height from which a proof holds that was fetched before and is of use still: what is absent may
    /// have come since, and what failed once is proven anew.
    pub(super) fn kept(&self, other: &CosmosNetwork) -> Option<Height> {
        if matches!(self.action, Action::TimeOut(_)) || self.owed.duty.attempts > 0 {
            return None;
        }
        other.proofs.of(&self.key).map(|(height, _)| height)
    }
}

/// A height of a network, as clients count it.
pub(super) fn on_chain(network: &CosmosNetwork, height: Height) -> IbcHeight {
    IbcHeight::on_chain(network.config.chain_id.as_str(), height.0)
}

/// What was proven for a claim.
pub(super) struct Shows {
    value: Encoded,
    closed: Option<Encoded>,
}

/// Proves claims by the block at `height` of the other network.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn prove<'a>(
    other: &CosmosNetwork,
    height: Height,
    claims: Vec<Claim<'a>>,
) -> Result<Vec<(Claim<'a>, Shows)>, ReadError> {
    let kept = |claim: &Claim<'_>| {
        let kept = other.proofs.of(&claim.key).filter(|(from, _)| *from == height);
        kept.map(|(_, proven)| proven).filter(|_| claim.kept(other).is_some())
    };
    let kept: Vec<Option<Encoded>> = claims.iter().map(kept).collect();
    let missing: Vec<StateKey> = claims
        .iter()
        .zip(&kept)
        .flat_map(|(claim, kept)| {
            let value = kept.is_none().then(|| claim.key.clone());
            value.into_iter().chain(claim.closed.clone())
        })
        .collect();
    let mut fetched = Vec::new().into_iter();
    if !missing.is_empty() {
        let anchor = other.anchor(height).await?.anchor;
        fetched = proofs::fetch(other, &anchor, &missing).await?.into_iter();
    }
    let mut shows = Vec::with_capacity(claims.len());
    for (claim, kept) in claims.into_iter().zip(kept) {
        let Some(value) = kept.or_else(|| fetched.next()) else { break };
        let closed = claim.closed.is_some().then(|| fetched.next()).flatten();
        shows.push((claim, Shows { value, closed }));
    }
    Ok(shows)
}

/// The message for a claim, if what was proven is what it takes.
pub(super) fn message(
    claim: &Claim<'_>,
    shows: &Shows,
    height: IbcHeight,
    signer: Signer<'_>,
) -> Result<Any, Refusal> {
    let packet = &claim.owed.packet;
    let value = shows.value.fact.value();
    let shown = Shown { proof: shows.value.proof.to_vec(), height };
    match &claim.action {
        Action::Acknowledge { acknowledgement } => {
            if value != Some(acknowledgement_commitment(acknowledgement).as_slice()) {
                return Err(waits("its destination holds another acknowledgement than it told"));
            }
            Ok(messages::acknowledge(packet, acknowledgement, &shown, signer))
        }
        Action::TimeOut(how) => {
            let next = match how.absence {
                Absence::NoReceipt if value.is_some() => return Err(received()),
                Absence::NoReceipt => packet.sequence,
                Absence::NextReceive(_) => {
                    let next = value.and_then(sequence);
                    let next = next.ok_or_else(|| waits("its channel is not there any more"))?;
                    if next > packet.sequence {
                        return Err(received());
                    }
                    next
                }
            };
            if !how.closed {
                return Ok(messages::time_out(packet, next, &shown, signer));
            }
            let closed = shows.closed.as_ref().filter(|proven| is_closed(proven));
            let closed = closed.ok_or_else(|| waits("its channel is not closed there"))?;
            let closed = closed.proof.to_vec();
            Ok(messages::time_out_on_close(packet, next, &shown, closed, signer))
        }
        _ if value == Some(packet.commitment().as_slice()) => {
            Ok(messages::receive(packet, &shown, signer))
        }
        // Settled at its source in the meantime: the follower there will say how. Or sent after that height.
        _ => Err(waits("its source does not commit to it there")),
    }
}

fn is_closed(proven: &Encoded) -> bool {
    let end = proven.fact.value().map(ChannelEnd::decode);
    matches!(end, Some(Ok(ChannelEnd { state: HandshakeState::Closed, .. })))
}

fn sequence(value: &[u8]) -> Option<Sequence> {
    u64::from_be_bytes(value.try_into().ok()?).try_into().ok()
}

fn received() -> Refusal {
    Refusal::Ends(DutyState::NotNeeded(Reason::ReceivedInTime))
}

fn waits(what: &str) -> Refusal {
    Refusal::Waits(Reason::SimulationFailed { detail: what.into() })
}
