//! The tokens that proven packets say they carry.

use postrider_ibc::{
    ChannelEndId, Packet,
    transfer::{Denom, Token, TransferData},
};
use postrider_message::NetworkName;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// The most channels of which something is remembered, and tokens of a channel: anybody can send any.
const MAX_CHANNELS: usize = 1_000;
const MAX_TOKENS: usize = 200;

/// The tokens that went out over channels, by where their vouchers are made.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<(NetworkName, ChannelEndId), HashSet<Denom>>>);

impl Seen {
    /// Notes what a packet to `network` carries.
    pub fn note(&self, network: &NetworkName, packet: &Packet) {
        let Ok(data) = TransferData::parse(&packet.data) else { return };
        let Token::GoesOut(denom) = data.token(&packet.source, &packet.destination) else { return };
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (network.clone(), packet.destination.clone());
        if seen.len() >= MAX_CHANNELS && !seen.contains_key(&place) {
            return;
        }
        let tokens = seen.entry(place).or_default();
        if tokens.len() < MAX_TOKENS {
            tokens.insert(denom);
        }
    }

    /// The tokens that went to a channel end on `network`, as they are called there.
    pub fn over(&self, network: &NetworkName, end: &ChannelEndId) -> Vec<Denom> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = seen.get(&(network.clone(), end.clone()));
        tokens.into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_ibc::{Height, Sequence, Timeout};

    fn packet(denom: &str, channel: &str) -> Packet {
        let data = format!(r#"{{"denom":"{denom}","amount":"1","sender":"a","receiver":"b"}}"#);
        Packet {
            sequence: Sequence::try_from(1).unwrap(),
            source: "transfer/channel-1".parse().unwrap(),
            destination: format!("transfer/{channel}").parse().unwrap(),
            data: data.into_bytes().into(),
            timeout: Timeout { height: Height::default(), nanoseconds: 1 },
        }
    }

    /// R10: what goes out is noted under the name that it gets, and no more of it than is bearable.
    #[test]
    fn r10_tokens_that_go_out_are_noted_and_bounded() {
        let (seen, beta) = (Seen::default(), "beta".parse().unwrap());
        let over = |channel: &str| {
            let end = format!("transfer/{channel}").parse().unwrap();
            let mut names: Vec<_> =
                seen.over(&beta, &end).iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        seen.note(&beta, &packet("token", "channel-2"));
        seen.note(&beta, &packet("token", "channel-2"));
        seen.note(&beta, &packet("transfer/channel-1/back", "channel-2"));
        seen.note(&beta, &Packet { data: b"none".to_vec().into(), ..packet("x", "channel-2") });
        assert_eq!(over("channel-2"), ["transfer/channel-2/token"]);
        for n in 0..2 * MAX_TOKENS {
            seen.note(&beta, &packet(&format!("t{n}"), "channel-3"));
        }
        assert_eq!(over("channel-3").len(), MAX_TOKENS);
        for n in 0..2 * MAX_CHANNELS {
            seen.note(&beta, &packet("token", &format!("channel-{n}")));
        }
        assert_eq!(seen.0.lock().unwrap().len(), MAX_CHANNELS);
        assert_eq!(over("channel-2"), ["transfer/channel-2/token"]);
    }
}
