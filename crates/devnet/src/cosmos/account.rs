//! Accounts whose keys everybody can know.

use std::fmt;

use bech32::{Bech32, Hrp};
use k256::ecdsa::SigningKey;
use ripemd::Ripemd160;
use sha2::{Digest, Sha256};

/// The prefix of the test application's addresses.
const PREFIX: Hrp = Hrp::parse_unchecked("cosmos");

/// An account of a Cosmos chain with its secp256k1 key. The same name has the same key, and the
/// same address, on every chain.
#[derive(Clone, PartialEq, Eq)]
pub struct CosmosAccount {
    name: String,
    secret: [u8; 32],
    address: String,
}

impl CosmosAccount {
    /// The account of a name: its secret key is the SHA-256 hash of
    /// `postrider devnet account <name> <counter>`, for the first counter from 0 on with which
    /// that is a key.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut counter = 0_u64;
        loop {
            let text = format!("postrider devnet account {name} {counter}");
            let secret: [u8; 32] = Sha256::digest(text).into();
            // One hash in 2^128 is no key.
            if let Some(account) = Self::from_secret(name, secret) {
                return account;
            }
            counter += 1;
        }
    }

    /// The account of a secret key, 32 bytes big-endian; nothing when they are no secp256k1 key.
    #[must_use]
    pub fn from_secret(name: &str, secret: [u8; 32]) -> Option<Self> {
        let key = SigningKey::from_slice(&secret).ok()?;
        let public = key.verifying_key().to_encoded_point(true);
        let hash = Ripemd160::digest(Sha256::digest(public.as_bytes()));
        let address = bech32::encode::<Bech32>(PREFIX, &hash).ok()?;
        Some(Self { name: name.to_owned(), secret, address })
    }

    /// Its name, also in the keyring of the nodes that have it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address in bech32, `cosmos1…`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its secp256k1 secret key, big-endian.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Its secret key in 64 hex digits, as `simd keys import-hex` and a key file take it.
    #[must_use]
    pub fn secret_hex(&self) -> String {
        alloy_primitives::hex::encode(self.secret)
    }
}

impl fmt::Debug for CosmosAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosAccount")
            .field("name", &self.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_its_key() {
        // The secret key 1: its public key is the curve's generator, whose hash160 is known
        // everywhere (751e76e8199196d454941c45d1b3a323f1433bd6).
        let mut one = [0; 32];
        one[31] = 1;
        let account = CosmosAccount::from_secret("one", one).unwrap();
        let (prefix, hash) = bech32::decode(account.address()).unwrap();
        assert_eq!(prefix.as_str(), "cosmos");
        assert_eq!(alloy_primitives::hex::encode(hash), "751e76e8199196d454941c45d1b3a323f1433bd6");
    }

    #[test]
    fn names_tell_accounts_apart_and_what_is_no_key_is_refused() {
        let relayer = CosmosAccount::named("relayer");
        assert_eq!(relayer, CosmosAccount::named("relayer"));
        assert_ne!(relayer.address(), CosmosAccount::named("user").address());
        assert_eq!(relayer.secret_hex().len(), 64);
        assert!(!format!("{relayer:?}").contains(&relayer.secret_hex()));
        assert_eq!(CosmosAccount::from_secret("zero", [0; 32]), None);
        assert_eq!(CosmosAccount::from_secret("beyond the order", [0xff; 32]), None);
    }
}
