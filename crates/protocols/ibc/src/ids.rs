//! Names and numbers of IBC (ICS-24), each checked where it comes in.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text or a number is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// Not an identifier of ICS-24.
    #[error(
        "`{text}` is no {what}: it has {min} to {max} characters, letters, digits and `.` `_` `+` `-` `#` \
         `[` `]` `<` `>`"
    )]
    Identifier {
        /// What it should be.
        what: &'static str,
        /// The text, cut.
        text: String,
        /// The least length.
        min: usize,
        /// The greatest length.
        max: usize,
    },
    /// Not a height.
    #[error("`{0}` is no height: write the revision's number, `-` and the height, such as 1-23")]
    Height(String),
    /// Sequences begin with 1.
    #[error("0 is no sequence: they begin with 1")]
    Sequence,
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

fn is_identifier(text: &str, (min, max): (usize, usize)) -> bool {
    (min..=max).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._+-#[]<>".contains(c))
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $bounds:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                let bounds: (usize, usize) = $bounds;
                if is_identifier(&text, bounds) {
                    return Ok(Self(text));
                }
                let (min, max) = bounds;
                Err(BadId::Identifier { what: $what, text: clip(&text), min, max })
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

identifier!(
    /// A light client that a chain keeps of another one, such as `07-tendermint-0` (ICS-02).
    ClientId, "client id", (9, 64)
);
identifier!(
    /// A connection, such as `connection-0` (ICS-03).
    ConnectionId, "connection id", (10, 64)
);
identifier!(
    /// A channel, such as `channel-0` (ICS-04).
    ChannelId, "channel id", (8, 64)
);
identifier!(
    /// A module's port, such as `transfer` (ICS-05).
    PortId, "port id", (2, 128)
);

/// A packet's number on its channel, from 1 (ICS-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Sequence(u64);

impl Sequence {
    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Sequence {
    type Error = BadId;
    fn try_from(number: u64) -> Result<Self, BadId> {
        if number == 0 { Err(BadId::Sequence) } else { Ok(Self(number)) }
    }
}

impl From<Sequence> for u64 {
    fn from(sequence: Sequence) -> Self {
        sequence.0
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A height as clients count it (ICS-02): that of the chain, and the number of its revision, which grows
/// with each chain that takes the place of another.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Height {
    /// The revision's number.
    pub revision_number: u64,
    /// The height in that revision.
    pub revision_height: u64,
}

impl Height {
    /// A height of the chain with this id.
    #[must_use]
    pub fn on_chain(chain_id: &str, height: u64) -> Self {
        Self { revision_number: revision(chain_id), revision_height: height }
    }

    /// Whether it stands for none, as in timeouts.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.revision_number, self.revision_height)
    }
}

impl FromStr for Height {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let read = || {
            let (number, height) = text.split_once('-')?;
            let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            if !is_number(number) || !is_number(height) {
                return None;
            }
            Some(Self {
                revision_number: number.parse().ok()?,
                revision_height: height.parse().ok()?,
            })
        };
        read().ok_or_else(|| BadId::Height(clip(text)))
    }
}

/// The number of the revision that a chain's id names, as `chain-7` does; 0 if it names none
/// (ibc-go `ParseChainID`).
#[must_use]
pub fn revision(chain_id: &str) -> u64 {
    let number = || {
        let (name, number) = chain_id.rsplit_once('-')?;
        let is_canonical = number.bytes().all(|b| b.is_ascii_digit())
            && !number.starts_with('0')
            && !name.is_empty()
            && !name.ends_with('-');
        if is_canonical { number.parse().ok() } else { None }
    };
    number().unwrap_or(0)
}

/// Where a module is reached: a port and one of its channels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelEndId {
    /// The module's port.
    pub port: PortId,
    /// The channel.
    pub channel: ChannelId,
}

impl fmt::Display for ChannelEndId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.channel)
    }
}

impl FromStr for ChannelEndId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let (port, channel) = text.rsplit_once('/').unwrap_or((text, ""));
        Ok(Self { port: port.parse()?, channel: channel.parse()? })
    }
}

/// Whether a channel's packets arrive in their order (ICS-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// In order; one that times out closes the channel.
    Ordered,
    /// In any order.
    Unordered,
}

/// How far a handshake has come on one side (ICS-03, ICS-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HandshakeState {
    /// Begun here.
    Init,
    /// Answered here.
    TryOpen,
    /// In use.
    Open,
    /// Of no use any more; only channels end so.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn identifiers_are_those_of_ics_24() {
        for good in ["channel-0", "channel-18446744073709551615", "12345678", "a.b_c+d-#[]<>"] {
            assert_eq!(good.parse::<ChannelId>().unwrap().as_str(), good);
        }
        for bad in ["", "channel", "channel/0", "chann el-0", "channel-é", &"c".repeat(65)] {
            assert!(matches!(bad.parse::<ChannelId>(), Err(BadId::Identifier { .. })), "{bad}");
        }
        assert!("07-tendermint-0".parse::<ClientId>().is_ok());
        assert!("connection-0".parse::<ConnectionId>().is_ok());
        assert!("p".parse::<PortId>().is_err());
        let long = "icacontroller-cosmos1abc".parse::<PortId>();
        assert!(long.is_ok());
        let end: ChannelEndId = "transfer/channel-3".parse().unwrap();
        assert_eq!(end.to_string(), "transfer/channel-3");
        assert!("transfer".parse::<ChannelEndId>().is_err());
        assert_eq!(Sequence::try_from(0), Err(BadId::Sequence));
    }

    #[test]
    fn revisions_are_read_as_ibc_go_reads_them() {
        let cases = [
            ("cosmoshub-4", 4),
            ("chain", 0),
            ("chain-0", 0),
            ("chain-01", 0),
            ("chain-1-2", 2),
            ("chain--2", 0),
            ("-1", 0),
            ("chain-1a", 0),
            ("chain-", 0),
        ];
        for (chain, number) in cases {
            assert_eq!(revision(chain), number, "{chain}");
        }
    }

    #[test]
    fn n_heights_have_one_form() {
        assert_eq!(
            "1-23".parse::<Height>().unwrap(),
            Height { revision_number: 1, revision_height: 23 }
        );
        for bad in ["", "1", "1-", "-1", "1-+2", "1-2-3", "a-1", "1-18446744073709551616"] {
            assert_eq!(bad.parse::<Height>(), Err(BadId::Height(bad.into())), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn heights_are_read_back(revision_number: u64, revision_height: u64) {
            let height = Height { revision_number, revision_height };
            prop_assert_eq!(height.to_string().parse(), Ok(height));
        }

        #[test]
        fn r10_no_text_is_too_strange(text: String) {
            let _ = text.parse::<Height>();
            let _ = text.parse::<ChannelEndId>();
            let _ = revision(&text);
        }
    }
}
