//! Options of type 3, written.

use super::{
    COMPOSE, DVN, EXECUTOR, NATIVE_DROP, ORDERED, Options, OptionsError, READ, RECEIVE, TYPE_3,
};
use crate::wire::Address32;
use alloy_primitives::Bytes;

/// Writes type 3 options, one after the other in the order they are added.
#[derive(Debug, Clone)]
#[must_use]
pub struct OptionsBuilder {
    bytes: Vec<u8>,
    problem: Option<OptionsError>,
}

impl Default for OptionsBuilder {
    fn default() -> Self {
        Self { bytes: TYPE_3.to_be_bytes().to_vec(), problem: None }
    }
}

impl OptionsBuilder {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gas and value for the call of the receiver.
    pub fn lz_receive(self, gas: u128, value: u128) -> Self {
        self.executor(RECEIVE, &[&gas.to_be_bytes(), unless_zero(&value.to_be_bytes())])
    }

    /// A payment on the destination.
    pub fn native_drop(self, amount: u128, receiver: Address32) -> Self {
        self.executor(NATIVE_DROP, &[&amount.to_be_bytes(), receiver.0.as_slice()])
    }

    /// Gas and value for the composed call with this index.
    pub fn compose(self, index: u16, gas: u128, value: u128) -> Self {
        let value = value.to_be_bytes();
        self.executor(COMPOSE, &[&index.to_be_bytes(), &gas.to_be_bytes(), unless_zero(&value)])
    }

    /// Execution in the order of nonces.
    pub fn ordered(self) -> Self {
        self.executor(ORDERED, &[])
    }

    /// Gas, answer size in bytes and value for a read.
    pub fn lz_read(self, gas: u128, size: u32, value: u128) -> Self {
        let value = value.to_be_bytes();
        self.executor(READ, &[&gas.to_be_bytes(), &size.to_be_bytes(), unless_zero(&value)])
    }

    /// An option for the DVN with this index.
    pub fn dvn(self, index: u8, option_type: u8, data: &[u8]) -> Self {
        self.push(DVN, &[&[index, option_type], data])
    }

    /// The bytes.
    ///
    /// # Errors
    /// Where [`Options::decode`] would refuse them, and [`OptionsError::DvnOptionTooLong`].
    pub fn build(self) -> Result<Bytes, OptionsError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        Options::decode(&self.bytes)?;
        Ok(self.bytes.into())
    }

    fn executor(self, option_type: u8, parts: &[&[u8]]) -> Self {
        let body = [&[option_type], parts.concat().as_slice()].concat();
        self.push(EXECUTOR, &[&body])
    }

    fn push(mut self, worker: u8, parts: &[&[u8]]) -> Self {
        let body = parts.concat();
        match u16::try_from(body.len()) {
            Ok(size) => {
                self.bytes.push(worker);
                self.bytes.extend_from_slice(&size.to_be_bytes());
                self.bytes.extend_from_slice(&body);
            }
            Err(_) => self.problem = Some(OptionsError::DvnOptionTooLong { actual: body.len() }),
        }
        self
    }
}

/// Contracts take a missing value for zero, and builders leave it out.
fn unless_zero(value: &[u8]) -> &[u8] {
    if value.iter().all(|byte| *byte == 0) { &[] } else { value }
}
