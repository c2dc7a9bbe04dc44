//! Names an operator gives to networks, upstreams and keys, and the field's ids for chains and
//! accounts (CAIP-2, CAIP-10).

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is not a name or an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Not a local name.
    #[error(
        "`{0}` is not a name: use 1 to 40 lower-case letters, digits and `-`, starting with a letter"
    )]
    Name(String),
    /// Not a CAIP-2 id.
    #[error(
        "`{0}` is not a CAIP-2 chain id: write `namespace:reference`, for example `eip155:1` or \
         `cosmos:cosmoshub-4`"
    )]
    ChainId(String),
    /// Not a CAIP-10 id.
    #[error("`{0}` is not a CAIP-10 account id: write `namespace:reference:address`")]
    AccountId(String),
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $error:ident) => {
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
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(BadName::$error(clip(&text))) }
            }
        }
        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

text_type!(
    /// The permanent local name of a network, as the configuration file gives it.
    NetworkName, is_name, Name
);
text_type!(
    /// The local name of an upstream.
    UpstreamName, is_name, Name
);
text_type!(
    /// Who runs an upstream. Upstreams of one operator count once in a quorum.
    OperatorName, is_name, Name
);
text_type!(
    /// The local name of another process that signs for the same attester.
    PeerName, is_name, Name
);
text_type!(
    /// The local name of a key.
    KeyName, is_name, Name
);
text_type!(
    /// A chain's id in CAIP-2 form, `namespace:reference`.
    ChainId, |t| caip2(t).is_some(), ChainId
);
text_type!(
    /// An account's id in CAIP-10 form, `namespace:reference:address`.
    AccountId, is_caip10, AccountId
);

/// Splits a CAIP-2 id; the character classes and lengths are those of the specification.
fn caip2(text: &str) -> Option<(&str, &str)> {
    let (namespace, reference) = text.split_once(':')?;
    let namespace_ok = (3..=8).contains(&namespace.len())
        && namespace.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let reference_ok = (1..=32).contains(&reference.len())
        && reference.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (namespace_ok && reference_ok).then_some((namespace, reference))
}

fn is_caip10(text: &str) -> bool {
    let Some((chain, address)) = text.rsplit_once(':') else {
        return false;
    };
    caip2(chain).is_some()
        && (1..=128).contains(&address.len())
        && address.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '%'))
}

impl ChainId {
    /// The CAIP-2 id of an EVM chain.
    #[must_use]
    pub fn eip155(chain_id: u64) -> Self {
        Self(format!("eip155:{chain_id}"))
    }

    /// The number of an EVM chain, if this is one in canonical form (no leading zeros).
    #[must_use]
    pub fn as_eip155(&self) -> Option<u64> {
        let (namespace, reference) = caip2(&self.0)?;
        let number: u64 = reference.parse().ok()?;
        (namespace == "eip155" && number.to_string() == reference).then_some(number)
    }

    /// The id of an account on this chain.
    ///
    /// # Errors
    /// [`BadName::AccountId`] if the address has characters CAIP-10 does not allow.
    pub fn account(&self, address: &str) -> Result<AccountId, BadName> {
        AccountId::try_from(format!("{}:{address}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["ethereum", "base-2", "a"] {
            assert!(good.parse::<NetworkName>().is_ok(), "{good}");
        }
        for bad in ["", "Ethereum", "2base", "a b", "-a", "é", &"a".repeat(41)] {
            assert_eq!(bad.parse::<NetworkName>(), Err(BadName::Name(bad.into())), "{bad}");
        }
    }

    #[test]
    fn caip_ids_are_checked() {
        assert_eq!(ChainId::eip155(1).to_string(), "eip155:1");
        assert_eq!("eip155:10".parse::<ChainId>().unwrap().as_eip155(), Some(10));
        assert_eq!("eip155:010".parse::<ChainId>().unwrap().as_eip155(), None);
        assert_eq!("cosmos:cosmoshub-4".parse::<ChainId>().unwrap().as_eip155(), None);
        for bad in ["eip155", "eip155:", "e:1", "EIP155:1", "eip155:1:2", "eip155:é"] {
            assert!(bad.parse::<ChainId>().is_err(), "{bad}");
        }
        let account = ChainId::eip155(1).account("0xab16a96d359ec26a11e2c2b3d8f8b8942d5bfcdb");
        assert_eq!(account.unwrap().as_str().matches(':').count(), 2);
        assert!(ChainId::eip155(1).account("a:b").is_err());
    }
}
