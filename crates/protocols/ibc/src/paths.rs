//! Where IBC keeps what it says: keys of the store `ibc` (ICS-24; ibc-go `host`), and what stands there.

use crate::ids::{BadId, ChannelEndId, ClientId, ConnectionId, Height, Sequence};
use alloy_primitives::B256;
use prost::Message;

/// The module's store.
pub const STORE: &str = "ibc";
/// The store in which a chain commits to what its clients become by an upgrade.
pub const UPGRADE_STORE: &str = "upgrade";
/// Under this all packet commitments of a chain stand.
pub const COMMITMENTS: &str = "commitments/ports/";
/// The most entries of one answer that are read.
pub const MAX_PAIRS: usize = 200_000;

/// What clients of a chain become by its upgrade at a height: in the store [`UPGRADE_STORE`] (Cosmos SDK
/// `x/upgrade` `UpgradedClientKey`), as an `Any` of the client's state without what each client chooses.
#[must_use]
pub fn upgraded_client(height: u64) -> String {
    format!("upgradedIBCState/{height}/upgradedClient")
}

/// What clients of a chain trust first after its upgrade at a height: in the store [`UPGRADE_STORE`] (Cosmos SDK
/// `x/upgrade` `UpgradedConsStateKey`), as an `Any` of a consensus state.
#[must_use]
pub fn upgraded_consensus_state(height: u64) -> String {
    format!("upgradedIBCState/{height}/upgradedConsState")
}

/// The state of a client.
#[must_use]
pub fn client_state(client: &ClientId) -> String {
    format!("clients/{client}/clientState")
}

/// What a client holds of a height.
#[must_use]
pub fn consensus_state(client: &ClientId, height: Height) -> String {
    format!("clients/{client}/consensusStates/{height}")
}

/// A connection's end.
#[must_use]
pub fn connection(connection: &ConnectionId) -> String {
    format!("connections/{connection}")
}

/// The names of the connections that were begun or answered over a client, as
/// `ibc.core.connection.v1.ClientPaths`.
#[must_use]
pub fn client_connections(client: &ClientId) -> String {
    format!("clients/{client}/connections")
}

fn of_channel(end: &ChannelEndId) -> String {
    format!("ports/{}/channels/{}", end.port, end.channel)
}

/// A channel's end.
#[must_use]
pub fn channel(end: &ChannelEndId) -> String {
    format!("channelEnds/{}", of_channel(end))
}

/// That a packet was sent and is not settled: at its source.
#[must_use]
pub fn commitment(source: &ChannelEndId, sequence: Sequence) -> String {
    format!("commitments/{}/sequences/{sequence}", of_channel(source))
}

/// That a packet was received over an unordered channel: at its destination.
#[must_use]
pub fn receipt(destination: &ChannelEndId, sequence: Sequence) -> String {
    format!("receipts/{}/sequences/{sequence}", of_channel(destination))
}

/// How a packet was taken: at its destination.
#[must_use]
pub fn acknowledgement(destination: &ChannelEndId, sequence: Sequence) -> String {
    format!("acks/{}/sequences/{sequence}", of_channel(destination))
}

/// The number of the packet that an ordered channel receives next: 8 bytes, big-endian.
#[must_use]
pub fn next_sequence_recv(destination: &ChannelEndId) -> String {
    format!("nextSequenceRecv/{}", of_channel(destination))
}

/// The number of the packet whose acknowledgement an ordered channel takes next: 8 bytes, big-endian.
#[must_use]
pub fn next_sequence_ack(source: &ChannelEndId) -> String {
    format!("nextSequenceAck/{}", of_channel(source))
}

/// The number of the packet that is sent next: 8 bytes, big-endian.
#[must_use]
pub fn next_sequence_send(source: &ChannelEndId) -> String {
    format!("nextSequenceSend/{}", of_channel(source))
}

/// A commitment as a chain's list of them tells it; to be proven before anything is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCommitment {
    /// Who sent the packet.
    pub source: ChannelEndId,
    /// Its number.
    pub sequence: Sequence,
    /// What is committed to.
    pub commitment: B256,
}

/// Why a list of commitments cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadList {
    /// Not the store's form.
    #[error("it is no list of pairs")]
    Form,
    /// Too long.
    #[error("it has more than {MAX_PAIRS} entries")]
    TooLong,
}

/// What CometBFT's `store/ibc/subspace` answers (`cosmos.store.internal.kv.v1beta1.Pairs`).
#[derive(Clone, PartialEq, Message)]
struct Pairs {
    #[prost(message, repeated, tag = "1")]
    pairs: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Reads the answer to a subspace query for [`COMMITMENTS`]. Entries of another form are left out:
/// they are no packets of ours.
///
/// # Errors
/// [`BadList`].
pub fn listed_commitments(answer: &[u8]) -> Result<Vec<ListedCommitment>, BadList> {
    let list = Pairs::decode(answer).map_err(|_| BadList::Form)?;
    if list.pairs.len() > MAX_PAIRS {
        return Err(BadList::TooLong);
    }
    Ok(list.pairs.iter().filter_map(listed).collect())
}

fn listed(pair: &Pair) -> Option<ListedCommitment> {
    let key = std::str::from_utf8(&pair.key).ok()?;
    let (source, sequence) = parse_commitment(key).ok()?;
    let commitment = B256::try_from(pair.value.as_slice()).ok()?;
    Some(ListedCommitment { source, sequence, commitment })
}

/// The place that a commitment's key names; the only form of it is taken.
///
/// # Errors
/// [`BadId`].
pub fn parse_commitment(key: &str) -> Result<(ChannelEndId, Sequence), BadId> {
    let parts: Vec<&str> = key.split('/').collect();
    let ["commitments", "ports", port, "channels", channel, "sequences", number] = parts[..] else {
        return Err(BadId::Sequence);
    };
    let end = ChannelEndId { port: port.parse()?, channel: channel.parse()? };
    let sequence = Sequence::try_from(number.parse::<u64>().unwrap_or(0))?;
    if commitment(&end, sequence) == key { Ok((end, sequence)) } else { Err(BadId::Sequence) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The keys of ibc-go's `24-host`.
    #[test]
    fn keys_are_those_of_ics_24() {
        let end: ChannelEndId = "transfer/channel-1".parse().unwrap();
        let three = Sequence::try_from(3).unwrap();
        let client: ClientId = "07-tendermint-0".parse().unwrap();
        let height = Height { revision_number: 1, revision_height: 9 };
        let at = "ports/transfer/channels/channel-1";
        let cases = [
            (client_state(&client), "clients/07-tendermint-0/clientState".to_owned()),
            (
                consensus_state(&client, height),
                "clients/07-tendermint-0/consensusStates/1-9".into(),
            ),
            (connection(&"connection-2".parse().unwrap()), "connections/connection-2".into()),
            (client_connections(&client), "clients/07-tendermint-0/connections".into()),
            (channel(&end), format!("channelEnds/{at}")),
            (commitment(&end, three), format!("commitments/{at}/sequences/3")),
            (receipt(&end, three), format!("receipts/{at}/sequences/3")),
            (acknowledgement(&end, three), format!("acks/{at}/sequences/3")),
            (next_sequence_recv(&end), format!("nextSequenceRecv/{at}")),
            (next_sequence_ack(&end), format!("nextSequenceAck/{at}")),
            (next_sequence_send(&end), format!("nextSequenceSend/{at}")),
        ];
        for (key, expected) in cases {
            assert_eq!(key, expected);
        }
        assert_eq!(parse_commitment(&commitment(&end, three)), Ok((end, three)));
        for bad in [
            "",
            "commitments/ports/transfer/channels/channel-1/sequences/03",
            "commitments/ports/transfer/channels/channel-1/sequences/0",
            "receipts/ports/transfer/channels/channel-1/sequences/3",
        ] {
            assert!(parse_commitment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_is_read_and_what_is_none_left_out() {
        let end: ChannelEndId = "transfer/channel-1".parse().unwrap();
        let sequence = Sequence::try_from(3).unwrap();
        let key = commitment(&end, sequence).into_bytes();
        let pair = |key: &[u8], value: &[u8]| Pair { key: key.to_vec(), value: value.to_vec() };
        let pairs = vec![
            pair(&key, &[7; 32]),
            pair(&key, &[7; 31]),
            pair(b"\xff", &[7; 32]),
            pair(b"x", &[7; 32]),
        ];
        let listed = listed_commitments(&Pairs { pairs }.encode_to_vec()).unwrap();
        assert_eq!(
            listed,
            [ListedCommitment { source: end, sequence, commitment: B256::repeat_byte(7) }]
        );
        assert_eq!(listed_commitments(b"\xff\xff"), Err(BadList::Form));
        assert_eq!(listed_commitments(b""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn r10_no_answer_is_too_strange(bytes: Vec<u8>, text: String) {
            let _ = listed_commitments(&bytes);
            let _ = parse_commitment(&text);
        }
    }
}
