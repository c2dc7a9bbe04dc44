//! Keys from elsewhere: mnemonics, and the key files of Hermes and of SDK chains.

use crate::cosmos::{AddressPrefix, CosmosAlgorithm, CosmosKey};
use alloy_primitives::hex;
use alloy_signer_local::PrivateKeySigner;
use bip32::{DerivationPath, XPrv};
use bip39::{Language, Mnemonic};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// The most steps of a path: those of BIP-44 are five.
const MAX_STEPS: usize = 10;
/// The most bytes of a key file.
const MAX_FILE: usize = 16 * 1024;

/// Why something holds no usable key. It never shows what was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A text is no path.
    #[error("`{0}` is not a derivation path: write it like m/44'/118'/0'/0/0")]
    BadPath(String),
    /// The words are no mnemonic.
    #[error(
        "that is not a mnemonic: 12, 15, 18, 21 or 24 English words of BIP-39, the last of which checks the others"
    )]
    BadMnemonic,
    /// The path leads to no key; another index does.
    #[error("this path leads to no key: take another index")]
    NoKey,
    /// The file is not JSON with a private key or a mnemonic.
    #[error(
        "that is not a key file: JSON with `account` and `private_key`, or `address` and `mnemonic`"
    )]
    BadFile,
    /// The private key in the file is none.
    #[error("the file's private key is neither 32 bytes in hexadecimal nor an extended key (xprv)")]
    BadPrivateKey,
    /// The key has another address than the file says.
    #[error(
        "the file is of {named}, and its key has another address: the path is another one, or the \
         file is damaged"
    )]
    OtherAddress {
        /// The address in the file.
        named: String,
    },
}

/// The way from a mnemonic's seed to a key (BIP-32, BIP-44).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HdPath(DerivationPath);

impl HdPath {
    /// The path that Cosmos chains use unless they say otherwise: `m/44'/118'/0'/0/0`.
    ///
    /// # Panics
    /// Never: the text is a path.
    #[must_use]
    pub fn cosmos() -> Self {
        #[allow(clippy::expect_used)] // A constant text, held by a test.
        "m/44'/118'/0'/0/0".parse().expect("a path")
    }
}

impl FromStr for HdPath {
    type Err = ImportError;
    fn from_str(text: &str) -> Result<Self, ImportError> {
        let bad = || ImportError::BadPath(text.chars().take(80).collect());
        let path: DerivationPath = text.parse().map_err(|_| bad())?;
        if path.is_empty() || path.len() > MAX_STEPS { Err(bad()) } else { Ok(Self(path)) }
    }
}

impl fmt::Display for HdPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The key of a mnemonic without a passphrase.
pub(crate) fn from_mnemonic(
    words: &SecretString,
    path: &HdPath,
) -> Result<PrivateKeySigner, ImportError> {
    let mnemonic = Mnemonic::parse_in(Language::English, words.expose_secret())
        .map_err(|_| ImportError::BadMnemonic)?;
    let seed = Zeroizing::new(mnemonic.to_seed(""));
    let key = XPrv::derive_from_path(seed.as_slice(), &path.0).map_err(|_| ImportError::NoKey)?;
    signer(Zeroizing::new(key.to_bytes()).as_slice()).ok_or(ImportError::NoKey)
}

/// What is read of a key file. Hermes keeps `account` and `private_key`; SDK chains write `address`
/// and `mnemonic`. In both, other fields follow from these.
#[derive(Deserialize)]
struct KeyFile {
    private_key: Option<SecretString>,
    mnemonic: Option<SecretString>,
    /// In Hermes' files bytes, in those of SDK chains the text.
    address: Option<serde_json::Value>,
    account: Option<String>,
}

/// The key of a file, with the algorithm by which it has the file's address.
pub(crate) fn from_key_file(json: &SecretString, path: &HdPath) -> Result<CosmosKey, ImportError> {
    if json.expose_secret().len() > MAX_FILE {
        return Err(ImportError::BadFile);
    }
    let file: KeyFile =
        serde_json::from_str(json.expose_secret()).map_err(|_| ImportError::BadFile)?;
    let address = file.address.as_ref().and_then(|address| address.as_str().map(str::to_owned));
    let named = file.account.or(address).ok_or(ImportError::BadFile)?;
    let signer = match (&file.private_key, &file.mnemonic) {
        (Some(key), _) => private_key(key)?,
        (None, Some(words)) => from_mnemonic(words, path)?,
        (None, None) => return Err(ImportError::BadFile),
    };
    let prefix = named.rsplit_once('1').map(|(prefix, _)| prefix.parse::<AddressPrefix>());
    let prefix = prefix.and_then(Result::ok).ok_or(ImportError::BadFile)?;
    [CosmosAlgorithm::Secp256k1, CosmosAlgorithm::Ethermint]
        .into_iter()
        .map(|algorithm| CosmosKey::new(signer.clone(), algorithm))
        .find(|key| key.address(&prefix) == named)
        .ok_or_else(|| ImportError::OtherAddress { named: named.chars().take(120).collect() })
}

/// A private key as Hermes keeps it: in hexadecimal, or in old versions as an extended key.
fn private_key(text: &SecretString) -> Result<PrivateKeySigner, ImportError> {
    let text = text.expose_secret();
    let bytes = match text.parse::<XPrv>() {
        Ok(extended) => Zeroizing::new(extended.to_bytes().to_vec()),
        Err(_) => Zeroizing::new(hex::decode(text).map_err(|_| ImportError::BadPrivateKey)?),
    };
    signer(&bytes).ok_or(ImportError::BadPrivateKey)
}

fn signer(bytes: &[u8]) -> Option<PrivateKeySigner> {
    PrivateKeySigner::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keystore, KeystoreError, Password};

    const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                         abandon abandon about";
    /// The first account of these words on Cosmos chains, and on Ethereum.
    const COSMOS: &str = "cosmos19rl4cm2hmr8afy4kldpxz3fka4jguq0auqdal4";
    const ETHEREUM: &str = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94";

    fn prefix() -> AddressPrefix {
        "cosmos".parse().unwrap()
    }

    #[test]
    fn words_and_a_path_lead_to_the_key_that_wallets_find() {
        let words = WORDS.into();
        let signer = from_mnemonic(&words, &HdPath::cosmos()).unwrap();
        let key = CosmosKey::new(signer, CosmosAlgorithm::Secp256k1);
        assert_eq!(key.address(&prefix()), COSMOS);
        let signer = from_mnemonic(&words, &"m/44'/60'/0'/0/0".parse().unwrap()).unwrap();
        assert_eq!(signer.address().to_string(), ETHEREUM);
    }

    /// BIP-32, test vector 1: the chain m/0'/1.
    #[test]
    fn keys_are_derived_as_bip_32_says() {
        let seed = hex::decode("000102030405060708090a0b0c0d0e0f").unwrap();
        let key = XPrv::derive_from_path(seed, &"m/0'/1".parse().unwrap()).unwrap();
        let expected = "xprv9wTYmMFdV23N2TdNG573QoEsfRrWKQgWeibmLntzniatZvR9BmLnvSxqu53Kw1UmYPxLgboyZQaXwTCg8MSY3H2EU4pWcQDnRnrVA1xe8fs";
        assert_eq!(*key.to_string(bip32::Prefix::XPRV), *expected);
    }

    #[test]
    fn paths_are_checked() {
        assert_eq!(HdPath::cosmos().to_string(), "m/44'/118'/0'/0/0");
        let long = format!("m{}", "/0".repeat(MAX_STEPS + 1));
        for bad in ["", "m", "44'/118'", "m/x", "m/2147483648", &long] {
            assert_eq!(bad.parse::<HdPath>(), Err(ImportError::BadPath(bad.into())), "{bad}");
        }
    }

    /// The files as Hermes keeps them, in both forms, and as an SDK chain writes one.
    #[test]
    fn files_of_hermes_and_of_chains_are_read() {
        let seed = Zeroizing::new(Mnemonic::parse(WORDS).unwrap().to_seed(""));
        let extended = XPrv::derive_from_path(*seed, &HdPath::cosmos().0).unwrap();
        let secret = hex::encode(extended.to_bytes());
        let xprv = extended.to_string(bip32::Prefix::XPRV);
        let bytes: Vec<u8> = vec![0; 20];
        let hermes = serde_json::json!({"private_key": secret, "public_key": "02", "address": bytes,
            "address_type": "Cosmos", "account": COSMOS});
        let old = serde_json::json!({"private_key": *xprv, "public_key": "xpub", "address": bytes,
            "account": COSMOS, "coin_type": 118});
        let chain = serde_json::json!({"name": "relayer", "type": "local", "address": COSMOS,
            "pubkey": "{}", "mnemonic": WORDS});
        for file in [hermes.clone(), old, chain] {
            let key = from_key_file(&file.to_string().into(), &HdPath::cosmos()).unwrap();
            assert_eq!(key.address(&prefix()), COSMOS);
            assert_eq!(key.algorithm(), CosmosAlgorithm::Secp256k1);
        }

        let with = |field: &str, value: serde_json::Value| {
            let mut file = hermes.clone();
            file[field] = value;
            from_key_file(&file.to_string().into(), &HdPath::cosmos()).map(|key| key.algorithm())
        };
        let signer = private_key(&secret.into()).unwrap();
        let eth = CosmosKey::new(signer, CosmosAlgorithm::Ethermint).address(&prefix());
        assert_eq!(with("account", eth.into()), Ok(CosmosAlgorithm::Ethermint));
        let other = "cosmos1w508d6qejxtdg4y5r3zarvary0c5xw7k6ah60c";
        let named = other.to_owned();
        assert_eq!(with("account", other.into()), Err(ImportError::OtherAddress { named }));
        assert_eq!(with("account", "nobody".into()), Err(ImportError::BadFile));
        assert_eq!(with("private_key", "00".into()), Err(ImportError::BadPrivateKey));
        assert_eq!(with("private_key", "hidden".into()), Err(ImportError::BadPrivateKey));
    }

    #[test]
    fn r8_r10_what_is_no_key_is_refused_and_not_repeated() {
        let path = HdPath::cosmos();
        for bad in ["", "secret words", &WORDS.replace("about", "abandon")] {
            let error = from_mnemonic(&bad.into(), &path).unwrap_err();
            assert_eq!(error, ImportError::BadMnemonic);
        }
        for bad in ["", "hidden", "[]", "{}", &"x".repeat(MAX_FILE + 1), r#"{"account": "a1"}"#] {
            let error = from_key_file(&bad.into(), &path).unwrap_err();
            assert_eq!(error, ImportError::BadFile);
            assert!(!error.to_string().contains("hidden"));
        }
    }

    #[test]
    fn what_is_taken_in_is_in_the_keystore() {
        let folder = tempfile::tempdir().unwrap();
        let store = Keystore::open(folder.path()).unwrap();
        let (name, password) = ("relayer".parse().unwrap(), Password::from("secret"));
        let algorithm = CosmosAlgorithm::Secp256k1;
        let path = HdPath::cosmos();
        store.import_mnemonic(&name, &WORDS.into(), &path, algorithm, &password).unwrap();
        let key = store.cosmos_key(&name, &password, algorithm).unwrap();
        assert_eq!(key.address(&prefix()), COSMOS);
        let again = store.import_mnemonic(&name, &WORDS.into(), &path, algorithm, &password);
        assert!(matches!(again, Err(KeystoreError::Exists(_))));
    }
}
