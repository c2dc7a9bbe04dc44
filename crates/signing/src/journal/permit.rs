//! What a key asks its journal for, and the answer.

use super::MAX_EXPIRY_SECONDS;
use crate::key::Attestable;
use alloy_primitives::{Address, B256};

/// Why a permit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another value was permitted for the same subject.
    #[error(
        "value {before} was permitted for this subject before; {now} needs an operator's release"
    )]
    Conflict {
        /// The value permitted before.
        before: B256,
        /// The value asked for now.
        now: B256,
    },
    /// The journal replaces a lost one, whose signatures may still count.
    #[error("the journal replaces a lost one and permits nothing before {0} (Unix seconds)")]
    TooEarly(u64),
    /// The signature would count for too long, or not at all.
    #[error("expiry {expires} is not within {MAX_EXPIRY_SECONDS} seconds from now ({now})")]
    Expiry {
        /// The expiry asked for, in Unix seconds.
        expires: u64,
        /// Now, in Unix seconds.
        now: u64,
    },
}

/// What a key is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub(super) domain: String,
    pub(super) subject: B256,
    pub(super) value: B256,
    pub(super) expires: u64,
}

impl Intent {
    /// What it would bind its subject to.
    pub(super) fn bond(&self) -> (String, B256, B256) {
        (self.domain.clone(), self.subject, self.value)
    }

    /// The intent to sign `what`.
    #[must_use]
    pub fn of(what: &dyn Attestable) -> Self {
        Self {
            domain: what.domain(),
            subject: what.subject(),
            value: what.value(),
            expires: what.expires(),
        }
    }
}

/// The journal's leave to sign one value. Only a journal gives one, after it wrote the intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    pub(super) key: Address,
    pub(super) intent: Intent,
}

impl Permit {
    pub(crate) fn allows(&self, key: Address, what: &dyn Attestable) -> bool {
        self.key == key && self.intent == Intent::of(what)
    }
}
