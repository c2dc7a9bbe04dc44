//! Ends the handshakes of one path, whoever began them: looks at both chains, takes the next step, looks again.

use super::{
    channels::ReadError,
    clients::{self, Clients, Lead},
    direct::SendError,
    find::ends_over,
    path::{Made, MadeSide, PathError, PathSide, send_as_of, wait_for},
};
use crate::cosmos::CosmosNetwork;
use ibc_proto::google::protobuf::Any;
use postrider_ibc::{
    ClientId, ConnectionId, Height as IbcHeight,
    handshake::{Ends, Has, Outdated, Side, Step, WantedPath, next, select},
    messages::{self, NewChannel, Shown, Signer},
    paths,
};
use postrider_message::Height;
use postrider_verification::tendermint::{CosmosAnchor, StateKey};

/// More looks than any path takes: strangers may take steps, and what a killed run handed in is waited for.
const MAX_LOOKS: usize = 60;
/// How often a step may fail that somebody else has taken in the meantime.
const MAX_SPOILED: usize = 3;

/// The same of both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Pair<T> {
    pub(super) a: T,
    pub(super) b: T,
}

impl<T> Pair<T> {
    pub(super) fn of(&self, side: Side) -> &T {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

/// What leads a client to a height, as of now.
async fn led(
    (network, here): (&CosmosNetwork, &CosmosAnchor),
    other: &CosmosNetwork,
    client: &ClientId,
    height: Height,
    signer: Signer<'_>,
) -> Result<Lead, ReadError> {
    let read = clients::read(network, here, std::slice::from_ref(client)).await?;
    let client = read.get(client).ok_or_else(|| ReadError::NoClient(client.clone()))?;
    Clients::default().lead((network, here), other, client, height, signer).await
}

/// A path in the making.
pub(super) struct Shaking<'a> {
    sides: Pair<&'a PathSide>,
    wanted: WantedPath,
    /// The connection on the first side, if it may be no other.
    over: Option<ConnectionId>,
    /// Whether this run made the clients.
    created: Pair<bool>,
}

/// What both sides have, and the blocks from which that is proven.
struct Seen {
    anchors: Pair<CosmosAnchor>,
    has: Pair<Has>,
}

impl<'a> Shaking<'a> {
    pub(super) fn new(
        sides: Pair<&'a PathSide>,
        wanted: WantedPath,
        over: Option<ConnectionId>,
        created: Pair<bool>,
    ) -> Self {
        Self { sides, wanted, over, created }
    }

    /// Takes steps until the path is open. `tell` is told each.
    ///
    /// # Errors
    /// [`PathError`].
    pub(super) async fn finish(&self, tell: &(dyn Fn(String) + Sync)) -> Result<Made, PathError> {
        let (mut taken, mut spoiled) = (0, 0);
        for _ in 0..MAX_LOOKS {
            let Some(seen) = self.look().await? else { continue };
            let Some((side, steps)) = self.next(&seen) else {
                return self.made(&seen, taken).ok_or(PathError::Endless(taken));
            };
            let words: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
            tell(format!("{} on {}", words.join(" and "), self.sides.of(side).network.name));
            match self.take(&seen, side, &steps).await {
                Ok(true) => taken += steps.len(),
                Ok(false) => {}
                Err(error) if spoiled < MAX_SPOILED && may_be_spoiled(&error) => {
                    tracing::debug!(%error, "a step failed; looking whether somebody took it");
                    spoiled += 1;
                    let next = seen.anchors.of(side).block().height.0.saturating_add(1);
                    wait_for(&self.sides.of(side).network, next).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(PathError::Endless(taken))
    }

    fn next(&self, seen: &Seen) -> Option<(Side, Vec<Step>)> {
        let (side, mut steps) = next(&seen.has.a, &seen.has.b)?;
        if self.wanted.channel.is_none() {
            steps.retain(|step| !step.is_of_channel());
        }
        (!steps.is_empty()).then_some((side, steps))
    }

    fn client(&self, side: Side) -> &ClientId {
        match side {
            Side::A => &self.wanted.client_a,
            Side::B => &self.wanted.client_b,
        }
    }

    /// What both sides have now; `None` if one was read too early, and newer blocks are there now.
    async fn look(&self) -> Result<Option<Seen>, PathError> {
        let (a, b) = (&self.sides.a.network, &self.sides.b.network);
        let (at_a, at_b) = tokio::try_join!(a.newest(), b.newest())?;
        let anchors = Pair { a: at_a.anchor, b: at_b.anchor };
        let (mut ends_a, ends_b) = tokio::try_join!(
            ends_over(a, &anchors.a, &self.wanted.client_a),
            ends_over(b, &anchors.b, &self.wanted.client_b)
        )?;
        if let Some(over) = &self.over {
            ends_a = only(ends_a, over);
        }
        match select(&ends_a, &ends_b, &self.wanted) {
            Ok((a, b)) => Ok(Some(Seen { anchors, has: Pair { a, b } })),
            Err(Outdated(side)) => {
                let next = anchors.of(side).block().height.0.saturating_add(1);
                wait_for(&self.sides.of(side).network, next).await?;
                Ok(None)
            }
        }
    }

    /// Tells one side its next steps, with the proof of what the other one has. Whether it did.
    async fn take(&self, seen: &Seen, side: Side, steps: &[Step]) -> Result<bool, PathError> {
        let own = *self.sides.of(side);
        let address = own.network.named_by(&own.key);
        let signer = Signer(&address);
        let mut all: Vec<Any> = Vec::new();
        if !matches!(steps, [Step::ConnectionInit | Step::ChannelInit]) {
            match self.lead(seen, side, signer).await? {
                Lead::Held => {}
                Lead::By(updates) => all = updates,
                // Others led it further in the meantime: what is shown must be as new.
                Lead::Further => {
                    let next = seen.anchors.of(side.other()).block().height.0.saturating_add(1);
                    wait_for(&self.sides.of(side.other()).network, next).await?;
                    return Ok(false);
                }
            }
        }
        let shown = self.show(seen, side.other()).await?;
        let shown = (shown.first(), shown.last());
        for step in steps {
            let message = self.message(seen, side, *step, shown, signer);
            all.extend(message);
        }
        let anchor = seen.anchors.of(side);
        let sent = send_as_of(own, anchor, all).await?;
        // What was done is in the state that the block after it names.
        let then = sent.as_ref().map_or(anchor.block().height, |sent| sent.height);
        wait_for(&own.network, then.0.saturating_add(1)).await?;
        Ok(sent.is_some())
    }

    /// What leads the client on one side to the block of the other one from which is shown.
    async fn lead(&self, seen: &Seen, side: Side, signer: Signer<'_>) -> Result<Lead, PathError> {
        let (own, other) = (*self.sides.of(side), *self.sides.of(side.other()));
        let at = (own.network.as_ref(), seen.anchors.of(side));
        let height = seen.anchors.of(side.other()).block().height;
        Ok(led(at, &other.network, self.client(side), height, signer).await?)
    }

    /// The proofs of what a side has: of its connection first, and of its channel last.
    async fn show(&self, seen: &Seen, side: Side) -> Result<Vec<Shown>, PathError> {
        let (network, anchor) = (&self.sides.of(side).network, seen.anchors.of(side));
        let has = seen.has.of(side);
        let paths = [
            has.connection.as_ref().map(|(id, _)| paths::connection(id)),
            has.channel.as_ref().map(|(id, _)| paths::channel(id)),
        ];
        let keys = paths.iter().flatten().map(|path| StateKey::ibc(path.as_str()));
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(ReadError::from)?;
        let proven = network.light.prove(anchor, &keys).await?;
        let chain_id = network.config.chain_id.as_str();
        let height = IbcHeight::on_chain(chain_id, anchor.block().height.0);
        let shown = proven.iter();
        Ok(shown.map(|proven| Shown { proof: proven.proof.merkle_proof_bytes(), height }).collect())
    }

    fn new_channel(&self) -> Option<NewChannel> {
        let wanted = self.wanted.channel.as_ref()?;
        Some(NewChannel {
            port: wanted.port_a.clone(),
            counterparty_port: wanted.port_b.clone(),
            order: wanted.order,
            version: wanted.version.clone().unwrap_or_default(),
        })
    }

    /// The message of a step; `None` if what it speaks of is not there, which [`next`] rules out.
    fn message(
        &self,
        seen: &Seen,
        side: Side,
        step: Step,
        (connection, channel): (Option<&Shown>, Option<&Shown>),
        signer: Signer<'_>,
    ) -> Option<Any> {
        let (here, there) = (seen.has.of(side), seen.has.of(side.other()));
        let own = here.connection.as_ref().map(|(id, _)| id);
        match step {
            Step::ConnectionInit => Some(messages::connection_open_init(
                self.client(side),
                self.client(side.other()),
                self.wanted.delay,
                signer,
            )),
            Step::ChannelInit => {
                Some(messages::channel_open_init(&self.new_channel()?, own?, signer))
            }
            step => answer(step, (here, there), (connection, channel), signer),
        }
    }

    fn made(&self, seen: &Seen, steps: usize) -> Option<Made> {
        let side = |side: Side| {
            let has = seen.has.of(side);
            let (connection, _) = has.connection.as_ref()?;
            let channel = has.channel.as_ref().map(|(id, _)| id);
            if channel.is_none() && self.wanted.channel.is_some() {
                return None;
            }
            Some(MadeSide {
                network: self.sides.of(side).network.name.clone(),
                client: self.client(side).clone(),
                client_created: *self.created.of(side),
                connection: connection.clone(),
                port: channel.map(|id| id.port.to_string()),
                channel: channel.map(|id| id.channel.to_string()),
            })
        };
        Some(Made { sides: [side(Side::A)?, side(Side::B)?], steps })
    }
}

/// The message of a step that answers the other side, or follows from its answer; `None` for a first step, and
/// if what it speaks of is not there.
pub(super) fn answer(
    step: Step,
    (here, there): (&Has, &Has),
    (connection, channel): (Option<&Shown>, Option<&Shown>),
    signer: Signer<'_>,
) -> Option<Any> {
    let own = here.connection.as_ref().map(|(id, _)| id);
    let (connection_there, channel_there) = (there.connection.as_ref(), there.channel.as_ref());
    let channel_here = here.channel.as_ref().map(|(id, _)| id);
    Some(match step {
        Step::ConnectionInit | Step::ChannelInit => return None,
        Step::ConnectionTry => {
            let (id, end) = connection_there?;
            messages::connection_open_try(end, id, connection?, signer)
        }
        Step::ConnectionAck => {
            messages::connection_open_ack(own?, &connection_there?.0, connection?, signer)
        }
        Step::ConnectionConfirm => messages::connection_open_confirm(own?, connection?, signer),
        Step::ChannelTry => {
            let (id, end) = channel_there?;
            messages::channel_open_try(end, id, own?, channel?, signer)
        }
        Step::ChannelAck => {
            let (id, end) = channel_there?;
            messages::channel_open_ack(channel_here?, (id, end), channel?, signer)
        }
        Step::ChannelConfirm => messages::channel_open_confirm(channel_here?, channel?, signer),
    })
}

/// Whether a step may have failed since somebody else took it.
fn may_be_spoiled(error: &PathError) -> bool {
    matches!(
        error,
        PathError::Send { error: SendError::WouldFail(_) | SendError::Failed { .. }, .. }
    )
}

/// What is over one connection.
fn only(mut ends: Ends, over: &ConnectionId) -> Ends {
    ends.connections.retain(|id, _| id == over);
    ends.channels.retain(|_, end| end.connection == *over);
    ends
}
