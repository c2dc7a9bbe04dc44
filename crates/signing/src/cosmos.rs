//! Keys that pay for transactions on Cosmos networks.

use crate::key::SigningError;
use alloy_primitives::{B256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bech32::{Bech32, Hrp, primitives::decode::CheckedHrpstring};
use ripemd::Ripemd160;
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// The SDK's addresses have no longer prefix in use; BIP-173 would allow 83 characters.
const MAX_PREFIX: usize = 40;
/// The SDK accepts no longer account, in bytes.
const MAX_ACCOUNT: usize = 255;

/// The first part of a network's addresses, for example `cosmos` (BIP-173's human-readable part).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPrefix(Hrp);

/// A text is no prefix of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an address prefix: write 1 to 40 lower-case letters and digits, for example cosmos"
)]
pub struct BadPrefix(String);

impl FromStr for AddressPrefix {
    type Err = BadPrefix;
    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix(text.chars().take(80).collect());
        let good = text.len() <= MAX_PREFIX
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !good {
            return Err(bad());
        }
        Hrp::parse(text).map(Self).map_err(|_| bad())
    }
}

impl AddressPrefix {
    /// The address of an account, in bech32.
    #[must_use]
    pub fn address(&self, account: &[u8; 20]) -> String {
        // Fails only beyond 90 characters, and prefixes are shorter than the rest.
        bech32::encode::<Bech32>(self.0, account).unwrap_or_default()
    }

    /// Whether a text is the address of an account of this network: its prefix, its checksum, and 1 to 255
    /// bytes (SDK `types/address.go`). Accounts of modules and contracts may have more than 20.
    #[must_use]
    pub fn is_of(&self, address: &str) -> bool {
        CheckedHrpstring::new::<Bech32>(address).is_ok_and(|read| {
            read.hrp() == self.0 && (1..=MAX_ACCOUNT).contains(&read.byte_iter().count())
        })
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How a network makes an address of a public key, and what it hashes before it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CosmosAlgorithm {
    /// The SDK's secp256k1: SHA-256 and RIPEMD-160.
    Secp256k1,
    /// Ethermint's secp256k1, Ethereum's Keccak-256 (`ethermint.crypto.v1.ethsecp256k1`).
    Ethermint,
    /// The same under the name that Cosmos EVM gives it (`cosmos.evm.crypto.v1.ethsecp256k1`).
    CosmosEvm,
    /// The same under Injective's name for it (`injective.crypto.v1beta1.ethsecp256k1`).
    Injective,
}

/// A text names no algorithm of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no algorithm: write secp256k1, eth_secp256k1 (Ethermint and Evmos), \
     eth_secp256k1_cosmos_evm or eth_secp256k1_injective"
)]
pub struct BadAlgorithm(String);

impl FromStr for CosmosAlgorithm {
    type Err = BadAlgorithm;
    fn from_str(text: &str) -> Result<Self, BadAlgorithm> {
        Ok(match text {
            "secp256k1" => Self::Secp256k1,
            "eth_secp256k1" => Self::Ethermint,
            "eth_secp256k1_cosmos_evm" => Self::CosmosEvm,
            "eth_secp256k1_injective" => Self::Injective,
            _ => return Err(BadAlgorithm(text.chars().take(80).collect())),
        })
    }
}

impl CosmosAlgorithm {
    /// Its name, as it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secp256k1 => "secp256k1",
            Self::Ethermint => "eth_secp256k1",
            Self::CosmosEvm => "eth_secp256k1_cosmos_evm",
            Self::Injective => "eth_secp256k1_injective",
        }
    }

    /// The type URL of its public key in a transaction's `SignerInfo`.
    #[must_use]
    pub fn public_key_type(self) -> &'static str {
        match self {
            Self::Secp256k1 => "/cosmos.crypto.secp256k1.PubKey",
            Self::Ethermint => "/ethermint.crypto.v1.ethsecp256k1.PubKey",
            Self::CosmosEvm => "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey",
            Self::Injective => "/injective.crypto.v1beta1.ethsecp256k1.PubKey",
        }
    }

    fn digest(self, bytes: &[u8]) -> B256 {
        match self {
            Self::Secp256k1 => B256::from_slice(&Sha256::digest(bytes)),
            Self::Ethermint | Self::CosmosEvm | Self::Injective => keccak256(bytes),
        }
    }
}

/// A key that pays for transactions on Cosmos networks. It cannot attest.
#[derive(Clone)]
pub struct CosmosKey {
    signer: PrivateKeySigner,
    algorithm: CosmosAlgorithm,
}

impl CosmosKey {
    pub(crate) fn new(signer: PrivateKeySigner, algorithm: CosmosAlgorithm) -> Self {
        Self { signer, algorithm }
    }

    pub(crate) fn signer(&self) -> &PrivateKeySigner {
        &self.signer
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> CosmosAlgorithm {
        self.algorithm
    }

    /// The public key: 33 bytes, compressed (SEC 1).
    #[must_use]
    pub fn public_key(&self) -> [u8; 33] {
        let mut compressed = [0; 33];
        let point = self.signer.credential().verifying_key().to_encoded_point(true);
        // A point that is not at infinity has 33 bytes, and no key has that one.
        compressed.iter_mut().zip(point.as_bytes()).for_each(|(to, from)| *to = *from);
        compressed
    }

    /// The 20 bytes that name its account on every network.
    #[must_use]
    pub fn address_bytes(&self) -> [u8; 20] {
        match self.algorithm {
            CosmosAlgorithm::Secp256k1 => {
                Ripemd160::digest(Sha256::digest(self.public_key())).into()
            }
            CosmosAlgorithm::Ethermint
            | CosmosAlgorithm::CosmosEvm
            | CosmosAlgorithm::Injective => self.signer.address().into_array(),
        }
    }

    /// Its account's address on a network, in bech32.
    #[must_use]
    pub fn address(&self, prefix: &AddressPrefix) -> String {
        prefix.address(&self.address_bytes())
    }

    /// Signs the bytes of a `SignDoc` (`cosmos.tx.v1beta1`): 64 bytes, r and s, with the smaller s,
    /// as the SDK demands.
    ///
    /// # Errors
    /// [`SigningError::Key`] if the signature cannot be computed.
    pub fn sign_doc(&self, sign_doc: &[u8]) -> Result<[u8; 64], SigningError> {
        let digest = self.algorithm.digest(sign_doc);
        let signature = self.signer.sign_hash_sync(&digest);
        let bytes = signature.map_err(|e| SigningError::Key(e.to_string()))?.as_bytes();
        let mut both = [0; 64];
        both.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Ok(both)
    }
}

impl fmt::Debug for CosmosKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosmosKey({})", alloy_primitives::hex::encode(self.address_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;

    fn key(secret: &str, algorithm: CosmosAlgorithm) -> CosmosKey {
        CosmosKey::new(secret.parse().unwrap(), algorithm)
    }

    #[test]
    fn an_address_is_that_of_its_key() {
        // The secret key 1, whose public key is the curve's generator.
        let one = "0000000000000000000000000000000000000000000000000000000000000001";
        let cosmos = key(one, CosmosAlgorithm::Secp256k1);
        let generator = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        assert_eq!(hex::encode(cosmos.public_key()), generator);
        let hash = "751e76e8199196d454941c45d1b3a323f1433bd6";
        assert_eq!(hex::encode(cosmos.address_bytes()), hash);
        for algorithm in
            [CosmosAlgorithm::Ethermint, CosmosAlgorithm::CosmosEvm, CosmosAlgorithm::Injective]
        {
            let eth = key(one, algorithm);
            assert_eq!(eth.public_key(), cosmos.public_key());
            let address = "7e5f4552091a69125d5dfcb7b8c2659029395bdf";
            assert_eq!(hex::encode(eth.address_bytes()), address);
        }
    }

    #[test]
    fn signatures_are_over_each_algorithms_own_hash_and_hold() {
        let secret = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
        for algorithm in
            [CosmosAlgorithm::Secp256k1, CosmosAlgorithm::Ethermint, CosmosAlgorithm::CosmosEvm]
        {
            let key = key(secret, algorithm);
            for text in ["", "a", "some document"] {
                let bytes = key.sign_doc(text.as_bytes()).unwrap();
                let digest = algorithm.digest(text.as_bytes());
                let recovers = [false, true].iter().any(|parity| {
                    let signature =
                        alloy_primitives::Signature::from_bytes_and_parity(&bytes, *parity);
                    assert!(signature.normalize_s().is_none(), "the smaller s");
                    signature
                        .recover_address_from_prehash(&digest)
                        .is_ok_and(|address| address == key.signer.address())
                });
                assert!(recovers, "{algorithm:?} {text}");
            }
        }
        assert_ne!(
            CosmosAlgorithm::Secp256k1.digest(b"a"),
            CosmosAlgorithm::Ethermint.digest(b"a")
        );
    }

    /// The pair that Evmos' own documentation shows: the same 20 bytes, in bech32 and as Ethereum has them.
    #[test]
    fn addresses_are_ethereums_where_keys_are() {
        let account = hex::decode("14574a6DFF2Ddf9e07828b4345d3040919AF5652").unwrap();
        let account: [u8; 20] = account.try_into().unwrap();
        let evmos: AddressPrefix = "evmos".parse().unwrap();
        assert_eq!(evmos.address(&account), "evmos1z3t55m0l9h0eupuz3dp5t5cypyv674jj7mz2jw");
    }

    #[test]
    fn ethereums_signatures_are_over_keccak() {
        let one = "0000000000000000000000000000000000000000000000000000000000000001";
        let eth = key(one, CosmosAlgorithm::Ethermint);
        let direct = eth.signer.sign_hash_sync(&keccak256(b"document")).unwrap();
        assert_eq!(eth.sign_doc(b"document").unwrap(), direct.as_bytes()[..64]);
        let sdk = key(one, CosmosAlgorithm::Secp256k1);
        assert_ne!(sdk.sign_doc(b"document").unwrap(), eth.sign_doc(b"document").unwrap());
    }

    #[test]
    fn algorithms_are_named() {
        for (name, type_url) in [
            ("secp256k1", "/cosmos.crypto.secp256k1.PubKey"),
            ("eth_secp256k1", "/ethermint.crypto.v1.ethsecp256k1.PubKey"),
            ("eth_secp256k1_cosmos_evm", "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey"),
            ("eth_secp256k1_injective", "/injective.crypto.v1beta1.ethsecp256k1.PubKey"),
        ] {
            let algorithm: CosmosAlgorithm = name.parse().unwrap();
            assert_eq!(algorithm.public_key_type(), type_url);
        }
        assert_eq!("ed25519".parse::<CosmosAlgorithm>(), Err(BadAlgorithm("ed25519".into())));
    }

    #[test]
    fn addresses_of_other_networks_are_told_apart() {
        let cosmos: AddressPrefix = "cosmos".parse().unwrap();
        let good = cosmos.address(&[7; 20]);
        assert!(cosmos.is_of(&good));
        let other: AddressPrefix = "osmo".parse().unwrap();
        let mut typo = good.clone();
        typo.replace_range(10..11, if good.as_bytes()[10] == b'q' { "p" } else { "q" });
        for bad in ["", "cosmos1", &typo, &other.address(&[7; 20]), "0x00"] {
            assert!(!cosmos.is_of(bad), "{bad}");
        }
    }

    #[test]
    fn prefixes_are_checked() {
        for good in ["cosmos", "osmo", "stride2"] {
            assert_eq!(good.parse::<AddressPrefix>().unwrap().to_string(), good);
        }
        for bad in ["", "Cosmos", "a b", "é", "cosmos1!", &"x".repeat(41)] {
            assert_eq!(bad.parse::<AddressPrefix>(), Err(BadPrefix(bad.into())), "{bad}");
        }
    }

    #[test]
    fn r8_a_key_is_not_shown() {
        let secret = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
        let shown = format!("{:?}", key(secret, CosmosAlgorithm::Secp256k1));
        assert!(shown.starts_with("CosmosKey(") && !shown.contains(&secret[..10]));
    }
}
