//! Keys, and the journal that keeps them honest.
//!
//! A key either pays for transactions ([`TransactionKey`]) or attests ([`AttestingKey`]); the types
//! differ, so one cannot do the other's work. An attesting key signs only what carries a verified
//! fact ([`Attestable`]), and only with a permit of its journal ([`journal`]), which is on disk
//! before the signature exists.

pub mod journal;
pub mod key;
pub mod keystore;

pub use journal::{
    Intent, Journal, JournalError, JournalStart, MAX_EXPIRY_SECONDS, Permit, Refusal,
};
pub use key::{Attestable, AttestingKey, SigningError, TransactionKey};
pub use keystore::{Keystore, KeystoreError, Password};
