//! What the operator wants relayed.

use crate::{
    ids::{ChannelEndId, Sequence},
    packet::Packet,
    transfer::{TRANSFER_PORT, TransferData},
};
use postrider_message::{Detail, DutyKind};
use serde::Deserialize;
use std::{fmt, str::FromStr};

/// The longest memo that is relayed where the file does not say: 32 KiB, what ibc-go lets be sent.
pub(super) const MAX_MEMO_BYTES: usize = 32 << 10;
/// The longest receiver that is relayed where the file does not say: 2 KiB, what ibc-go lets be sent.
pub(super) const MAX_RECEIVER_BYTES: usize = 2 << 10;
/// What the rest of a transfer may take: names, amount, denomination.
const REST_BYTES: usize = 8 << 10;
/// The longest text of a pattern or a list that is read.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    /// Not a pattern for channels.
    #[error(
        "`{0}` names no channels: write port and channel with `/` between them, such as \
         transfer/channel-0; `*` stands for any characters"
    )]
    Pattern(Detail),
    /// Not a list of sequences.
    #[error("`{0}` is no list of sequences: write numbers and ranges, such as 1,3..7")]
    Sequences(Detail),
    /// A range that ends before it begins.
    #[error("the range {0}..{1} ends before it begins")]
    Backwards(u64, u64),
    /// Not a channel with sequences.
    #[error(
        "`{0}` excludes nothing: write a channel, `:` and sequences, such as transfer/channel-0:1,3..7"
    )]
    Excluded(Detail),
}

/// Channels by their names: `transfer/channel-0`, `transfer/*`, `ica*/*`. `*` stands for any number of any
/// characters within port or channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ChannelPattern {
    port: String,
    channel: String,
}

impl ChannelPattern {
    /// Whether it stands for this channel.
    #[must_use]
    pub fn matches(&self, end: &ChannelEndId) -> bool {
        fits(&self.port, end.port.as_str()) && fits(&self.channel, end.channel.as_str())
    }
}

impl FromStr for ChannelPattern {
    type Err = BadFilter;
    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let read = || {
            let (port, channel) = text.split_once('/')?;
            let is_part = |part: &str| {
                let is_known = |c: char| c.is_ascii_alphanumeric() || "._+-#[]<>*".contains(c);
                !part.is_empty() && part.chars().all(is_known)
            };
            let fits = text.len() <= MAX_TEXT_BYTES && is_part(port) && is_part(channel);
            fits.then(|| Self { port: port.to_owned(), channel: channel.to_owned() })
        };
        read().ok_or_else(|| BadFilter::Pattern(text.into()))
    }
}

impl TryFrom<String> for ChannelPattern {
    type Error = BadFilter;
    fn try_from(text: String) -> Result<Self, BadFilter> {
        text.parse()
    }
}

impl fmt::Display for ChannelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.channel)
    }
}

/// Whether `text` is of the form `pattern`: its parts between the stars come in their order, the first at the
/// beginning and the last at the end. Takes each part where it comes first, so it never goes back.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// Sequences as a person writes them: `1,3..7`, both ends of a range included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Sequences(Vec<(u64, u64)>);

impl Sequences {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, sequence: Sequence) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&sequence.get()))
    }
}

impl FromStr for Sequences {
    type Err = BadFilter;
    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let bad = || BadFilter::Sequences(text.into());
        if text.len() > MAX_TEXT_BYTES {
            return Err(bad());
        }
        let number = |text: &str| {
            let text = text.trim();
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = if is_number { text.parse().ok() } else { None };
            number.filter(|n| *n > 0).ok_or_else(bad)
        };
        let range = |part: &str| {
            let (from, to) = match part.split_once("..") {
                Some((from, to)) => (number(from)?, number(to)?),
                None => (number(part)?, number(part)?),
            };
            if from <= to { Ok((from, to)) } else { Err(BadFilter::Backwards(from, to)) }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Sequences {
    type Error = BadFilter;
    fn try_from(text: String) -> Result<Self, BadFilter> {
        text.parse()
    }
}

impl fmt::Display for Sequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (from, to)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{from}")?;
            if from != to {
                write!(f, "..{to}")?;
            }
        }
        Ok(())
    }
}

/// Packets of a channel that are left alone: `transfer/channel-0:1,3..7`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Excluded {
    channels: ChannelPattern,
    sequences: Sequences,
}

impl FromStr for Excluded {
    type Err = BadFilter;
    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let (channels, sequences) =
            text.split_once(':').ok_or_else(|| BadFilter::Excluded(text.into()))?;
        Ok(Self { channels: channels.trim().parse()?, sequences: sequences.parse()? })
    }
}

impl TryFrom<String> for Excluded {
    type Error = BadFilter;
    fn try_from(text: String) -> Result<Self, BadFilter> {
        text.parse()
    }
}

/// What is relayed of what a network sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Only these channels of the source are relayed; none means all.
    pub allow: Vec<ChannelPattern>,
    /// These are not.
    pub deny: Vec<ChannelPattern>,
    /// Packets that are left alone.
    pub excluded: Vec<Excluded>,
    /// The longest memo of a token transfer that is brought to its destination, in bytes.
    pub max_memo: usize,
    /// The longest receiver of a token transfer that is brought to its destination, in bytes.
    pub max_receiver: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            excluded: Vec::new(),
            max_memo: MAX_MEMO_BYTES,
            max_receiver: MAX_RECEIVER_BYTES,
        }
    }
}

impl Filter {
    /// Whether packets of this channel, named at its source, are relayed.
    #[must_use]
    pub fn allows(&self, source: &ChannelEndId) -> bool {
        let is_in = |list: &[ChannelPattern]| list.iter().any(|pattern| pattern.matches(source));
        (self.allow.is_empty() || is_in(&self.allow)) && !is_in(&self.deny)
    }

    /// Why work of this kind is not done for a packet; `None` if it is. What somebody else brought in spite
    /// of its size is still acknowledged or timed out: its sender waits for that.
    #[must_use]
    pub fn refuses(&self, packet: &Packet, kind: DutyKind) -> Option<Detail> {
        if !self.allows(&packet.source) {
            return Some(format!("channel {} is not relayed", packet.source).into());
        }
        let is_excluded = |excluded: &Excluded| {
            excluded.channels.matches(&packet.source)
                && excluded.sequences.contains(packet.sequence)
        };
        if self.excluded.iter().any(is_excluded) {
            return Some(format!("sequence {} is excluded", packet.sequence).into());
        }
        if kind == DutyKind::Receive { self.is_too_long(packet) } else { None }
    }

    /// Class (o): whoever sends a token can make those who bring it pay for a memo of any length. Of what
    /// cannot be read as a transfer, all of it is taken for memo and receiver.
    fn is_too_long(&self, packet: &Packet) -> Option<Detail> {
        let is_transfer = [&packet.source, &packet.destination]
            .iter()
            .any(|end| end.port.as_str() == TRANSFER_PORT);
        if !is_transfer {
            return None;
        }
        let (what, length, limit) = match TransferData::parse(&packet.data) {
            Ok(data) if data.memo.len() > self.max_memo => ("memo", data.memo.len(), self.max_memo),
            Ok(data) if data.receiver.len() > self.max_receiver => {
                ("receiver", data.receiver.len(), self.max_receiver)
            }
            Ok(_) => return None,
            Err(_) => {
                let limit =
                    self.max_memo.saturating_add(self.max_receiver).saturating_add(REST_BYTES);
                ("data", packet.data.len(), limit)
            }
        };
        (length > limit).then(|| format!("its {what} has {length} bytes, more than {limit}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::packet;
    use proptest::prelude::*;

    fn end(text: &str) -> ChannelEndId {
        text.parse().unwrap()
    }

    fn patterns(texts: &[&str]) -> Vec<ChannelPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn patterns_stand_for_channels() {
        let cases = [
            ("transfer/channel-0", "transfer/channel-0", true),
            ("transfer/channel-0", "transfer/channel-01", false),
            ("transfer/channel-*", "transfer/channel-141", true),
            ("transfer/*", "transfer2/channel-0", false),
            ("*/*", "wasm.cosmos1x/channel-9", true),
            ("ica*/channel-*7", "icahost/channel-117", true),
            ("ica*/channel-*7", "icahost/channel-118", false),
            ("*a*a*/channel-0", "ba/channel-0", false),
            ("*a*a*/channel-0", "bab-a/channel-0", true),
        ];
        for (pattern, channel, expected) in cases {
            let pattern: ChannelPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&end(channel)), expected, "{pattern} {channel}");
            assert_eq!(pattern.to_string().parse(), Ok(pattern));
        }
        for bad in ["", "transfer", "/", "transfer/", "transfer/channel-0/x", "tränsfer/*", "a/b c"]
        {
            assert!(matches!(bad.parse::<ChannelPattern>(), Err(BadFilter::Pattern(_))), "{bad}");
        }
    }

    #[test]
    fn sequences_are_read_as_written() {
        let sequences: Sequences = "1, 3..7,18446744073709551615".parse().unwrap();
        let among = |n: u64| sequences.contains(n.try_into().unwrap());
        assert_eq!([1, 2, 3, 7, 8, u64::MAX].map(among), [true, false, true, true, false, true]);
        assert_eq!(sequences.to_string(), "1,3..7,18446744073709551615");
        assert_eq!("7..3".parse::<Sequences>(), Err(BadFilter::Backwards(7, 3)));
        for bad in
            ["", ",", "0", "1,,2", "1..", "..3", "a", "-1", "+1", "1...3", "18446744073709551616"]
        {
            assert!(matches!(bad.parse::<Sequences>(), Err(BadFilter::Sequences(_))), "{bad}");
        }
        assert!(matches!("transfer/*".parse::<Excluded>(), Err(BadFilter::Excluded(_))));
    }

    #[test]
    fn channels_are_allowed_and_denied() {
        let filter = Filter {
            allow: patterns(&["transfer/*", "icahost/channel-1"]),
            deny: patterns(&["*/channel-9"]),
            ..Filter::default()
        };
        let cases = [
            ("transfer/channel-0", true),
            ("icahost/channel-1", true),
            ("icahost/channel-2", false),
            ("transfer/channel-9", false),
        ];
        for (channel, allowed) in cases {
            assert_eq!(filter.allows(&end(channel)), allowed, "{channel}");
        }
        assert!(Filter::default().allows(&end("any-port/channel-3")));
    }

    #[test]
    fn excluded_sequences_are_left_alone() {
        let excluded = vec!["transfer/channel-0:2..3".parse().unwrap()];
        let filter = Filter { excluded, ..Filter::default() };
        let refused = |n: u64| filter.refuses(&packet(n), DutyKind::TimeOut).is_some();
        assert_eq!([1, 2, 3, 4].map(refused), [false, true, true, false]);
    }

    /// Class (o): who brings a packet does not pay for what its sender wrote at any length.
    #[test]
    fn class_o_long_memos_and_receivers_are_not_brought() {
        let data = |memo: usize, receiver: usize| {
            format!(
                r#"{{"amount":"1","denom":"uatom","memo":"{}","receiver":"{}","sender":"a"}}"#,
                "m".repeat(memo),
                "r".repeat(receiver)
            )
        };
        let longest = MAX_MEMO_BYTES + MAX_RECEIVER_BYTES + REST_BYTES;
        let cases = [
            (data(MAX_MEMO_BYTES, MAX_RECEIVER_BYTES), false),
            (data(MAX_MEMO_BYTES + 1, 1), true),
            (data(0, MAX_RECEIVER_BYTES + 1), true),
            // What only looks like a transfer to some chain's reader is measured as a whole.
            ("x".repeat(longest), false),
            ("x".repeat(longest + 1), true),
        ];
        let filter = Filter::default();
        for (data, refused) in cases {
            let packet = Packet { data: data.into_bytes().into(), ..packet(1) };
            assert_eq!(filter.refuses(&packet, DutyKind::Receive).is_some(), refused);
            // Its sender still gets it back, whoever brought it.
            assert_eq!(filter.refuses(&packet, DutyKind::TimeOut), None);
            assert_eq!(filter.refuses(&packet, DutyKind::Acknowledge), None);
        }
    }

    proptest! {
        #[test]
        fn r10_no_text_is_too_strange(text: String, port in "[a-z*]{1,20}", name in "[a-z]{2,20}") {
            let _ = text.parse::<ChannelPattern>();
            let _ = text.parse::<Sequences>();
            let _ = text.parse::<Excluded>();
            let _ = fits(&port, &name);
        }

        #[test]
        fn a_name_with_stars_put_in_still_fits(name in "[a-z]{2,20}", cuts in prop::collection::vec(0usize..20, 0..5)) {
            let mut pattern = name.clone();
            for cut in cuts {
                pattern.insert(cut.min(pattern.len()), '*');
            }
            prop_assert!(fits(&pattern, &name), "{} {}", pattern, name);
        }

        #[test]
        fn sequences_are_read_back(ranges in prop::collection::vec((1u64.., 0u64..100), 1..8)) {
            let ranges: Vec<_> = ranges.iter().map(|(from, more)| (*from, from.saturating_add(*more))).collect();
            let sequences = Sequences(ranges);
            prop_assert_eq!(sequences.to_string().parse(), Ok(sequences));
        }
    }
}
