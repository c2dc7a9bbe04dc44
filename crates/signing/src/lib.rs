//! Keys, and the journal that keeps them honest.
//!
//! A key either pays for transactions ([`TransactionKey`], [`CosmosKey`]) or attests ([`AttestingKey`]); the types
//! differ, so one cannot do the other's work. An attesting key signs only what carries a verified
//! fact ([`Attestable`]), and only with a permit of its journal ([`journal`]), which is on disk
//! before the signature exists. A third kind, [`IdentityKey`], only says who speaks to a peer.

pub mod cosmos;
pub mod identity;
pub mod import;
pub mod journal;
pub mod key;
pub mod keystore;

pub use cosmos::{AddressPrefix, BadPrefix, CosmosAlgorithm, CosmosKey};
pub use identity::{IdentityKey, SEAL_SIZE, Sealed, random_nonce};
pub use import::{HdPath, ImportError};
pub use journal::{
    Change, Intent, Journal, JournalError, JournalStart, MAX_EXPIRY_SECONDS, Permit, Recorded,
    Refusal,
};
pub use key::{Attestable, AttestingKey, SigningError, TransactionKey};
pub use keystore::{Keystore, KeystoreError, Password};
