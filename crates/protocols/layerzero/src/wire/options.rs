//! What a sender asked, and paid, its workers to do (`UlnOptions`, `ExecutorOptions`, `DVNOptions`).
//!
//! Type 3 is a list: `0003`, then `[worker u8][size u16][body]` repeated. An executor's body is
//! `[type u8][option]`, a DVN's `[index u8][type u8][option]`.
//!
//! | executor type | option |
//! |---|---|
//! | 1 receive | gas u128, value u128 if not zero |
//! | 2 native drop | amount u128, receiver 32 bytes |
//! | 3 compose | index u16, gas u128, value u128 if not zero |
//! | 4 ordered | nothing |
//! | 5 read | gas u128, size u32, value u128 if not zero |
//!
//! The legacy types state gas (type 1), or gas, one native drop and its receiver of 1 to 32 bytes
//! (type 2), as 256-bit numbers that must fit in 128. Repeated receive, compose and read options
//! are summed, as the reference fee library does, so an application's enforced options and its
//! caller's add up.
//!
//! Gas is in units of the destination chain, values and amounts in its smallest native unit.

mod builder;
mod error;

pub use builder::OptionsBuilder;
pub use error::OptionsError;

use super::{Address32, Reader};
use alloy_primitives::{B256, Bytes, U256};
use std::collections::BTreeMap;

const TYPE_1: u16 = 1;
const TYPE_2: u16 = 2;
const TYPE_3: u16 = 3;
const EXECUTOR: u8 = 1;
const DVN: u8 = 2;
const RECEIVE: u8 = 1;
const NATIVE_DROP: u8 = 2;
const COMPOSE: u8 = 3;
const ORDERED: u8 = 4;
const READ: u8 = 5;
/// The reference DVN options use 255 to say "none yet", so no DVN can have it as its index.
const NO_DVN: u8 = u8::MAX;

/// Longest options accepted, in bytes.
pub const MAX_OPTIONS_SIZE: usize = 64 * 1024;
/// Most options accepted in one list.
pub const MAX_OPTION_COUNT: usize = 512;

/// Gas for a call and the native value that goes with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct GasAndValue {
    /// Gas on the destination.
    pub gas: u128,
    /// Smallest native unit of the destination.
    pub value: u128,
}

/// Native tokens that the executor pays out on the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NativeDrop {
    /// Smallest native unit of the destination.
    pub amount: u128,
    /// Who gets it.
    pub receiver: Address32,
}

/// What delivering the answer of a read takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Read {
    /// Gas for the delivery on the reading chain.
    pub gas: u128,
    /// Bytes of answer that were paid for.
    pub size: u32,
    /// Smallest native unit of the reading chain.
    pub value: u128,
}

/// An option for one DVN. Its type and content are the DVN's own, so they are kept as they came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DvnOption {
    /// Position in the required and then the optional DVNs of the send configuration; never 255.
    pub index: u8,
    /// 1 is pre-crime.
    pub option_type: u8,
    /// What follows the type.
    pub data: Bytes,
}

/// All options of a packet, summed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The call of the receiver; its gas is not zero.
    pub lz_receive: Option<GasAndValue>,
    /// Payments before the delivery, in the sender's order.
    pub native_drops: Vec<NativeDrop>,
    /// Calls after the delivery, by compose index; no gas is zero.
    pub composes: BTreeMap<u16, GasAndValue>,
    /// Whether packets of this pathway must be executed in the order of their nonces.
    pub ordered: bool,
    /// The delivery of a read's answer; its gas and size are not zero.
    pub lz_read: Option<Read>,
    /// Options for DVNs, in the sender's order.
    pub dvn: Vec<DvnOption>,
}

impl Options {
    /// Reads options of any type.
    ///
    /// # Errors
    /// [`OptionsError`]; none is worth a retry.
    pub fn decode(bytes: &[u8]) -> Result<Self, OptionsError> {
        if bytes.len() > MAX_OPTIONS_SIZE {
            return Err(OptionsError::TooLarge { actual: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let format = reader.array().ok_or(OptionsError::Truncated { at: 0 })?;
        let options = match u16::from_be_bytes(format) {
            TYPE_1 => decode_type_1(reader)?,
            TYPE_2 => decode_type_2(reader)?,
            TYPE_3 => decode_type_3(reader)?,
            actual => return Err(OptionsError::UnknownFormat { actual }),
        };
        options.check()
    }

    /// The type 3 bytes of these options: receive, drops, composes by index, ordered, read, DVNs.
    ///
    /// # Errors
    /// Where [`Options::decode`] would refuse the result.
    pub fn encode(&self) -> Result<Bytes, OptionsError> {
        let mut builder = OptionsBuilder::new();
        if let Some(GasAndValue { gas, value }) = self.lz_receive {
            builder = builder.lz_receive(gas, value);
        }
        for drop in &self.native_drops {
            builder = builder.native_drop(drop.amount, drop.receiver);
        }
        for (index, GasAndValue { gas, value }) in &self.composes {
            builder = builder.compose(*index, *gas, *value);
        }
        if self.ordered {
            builder = builder.ordered();
        }
        if let Some(Read { gas, size, value }) = self.lz_read {
            builder = builder.lz_read(gas, size, value);
        }
        for option in &self.dvn {
            builder = builder.dvn(option.index, option.option_type, &option.data);
        }
        builder.build()
    }

    /// Everything native that the executor hands out for this packet: the values of the calls and
    /// the drops. The bound on the number of options keeps the sum far below 2^256.
    #[must_use]
    pub fn total_value(&self) -> U256 {
        let calls = self.lz_receive.iter().chain(self.composes.values()).map(|call| call.value);
        let drops = self.native_drops.iter().map(|drop| drop.amount);
        let read = self.lz_read.iter().map(|read| read.value);
        calls.chain(drops).chain(read).map(U256::from).fold(U256::ZERO, U256::saturating_add)
    }

    /// Questions that only the whole list answers.
    fn check(self) -> Result<Self, OptionsError> {
        if self.lz_receive.is_some_and(|call| call.gas == 0) {
            return Err(OptionsError::ZeroGas { option: "receive" });
        }
        if let Some(read) = self.lz_read {
            if read.gas == 0 {
                return Err(OptionsError::ZeroGas { option: "read" });
            }
            if read.size == 0 {
                return Err(OptionsError::ZeroReadSize);
            }
            if self.lz_receive.is_some() || !self.native_drops.is_empty() {
                return Err(OptionsError::ReadAndDelivery);
            }
        }
        Ok(self)
    }

    fn add_executor_option(
        &mut self,
        option_type: u8,
        body: Reader<'_>,
    ) -> Result<(), OptionsError> {
        match option_type {
            RECEIVE => {
                let (added, ()) = gas_and_value(body, "receive", |_| Some(()))?;
                let total = self.lz_receive.unwrap_or_default();
                self.lz_receive = Some(sum(total, added, "receive")?);
            }
            NATIVE_DROP => self.native_drops.push(native_drop(body)?),
            COMPOSE => {
                let (index, body) = compose_index(body)?;
                let (added, ()) = gas_and_value(body, "compose", |_| Some(()))?;
                // Each one for itself, not the sum: that is what the fee library asks.
                if added.gas == 0 {
                    return Err(OptionsError::ZeroGas { option: "compose" });
                }
                let total = self.composes.entry(index).or_default();
                *total = sum(*total, added, "compose")?;
            }
            ORDERED if body.is_empty() => self.ordered = true,
            ORDERED => return Err(wrong_size(body, "ordered")),
            READ => {
                let (added, size) =
                    gas_and_value(body, "read", |body| body.array().map(u32::from_be_bytes))?;
                let total = self.lz_read.unwrap_or_default();
                self.lz_read = Some(sum_reads(total, added, size)?);
            }
            actual => {
                let at = body.at.saturating_sub(1);
                return Err(OptionsError::UnknownExecutorOption { actual, at });
            }
        }
        Ok(())
    }
}

fn decode_type_1(mut reader: Reader<'_>) -> Result<Options, OptionsError> {
    let gas = legacy_number(&mut reader, TYPE_1, "gas")?;
    if !reader.is_empty() {
        return Err(legacy_size(reader, TYPE_1));
    }
    Ok(Options { lz_receive: Some(GasAndValue { gas, value: 0 }), ..Options::default() })
}

fn decode_type_2(mut reader: Reader<'_>) -> Result<Options, OptionsError> {
    let gas = legacy_number(&mut reader, TYPE_2, "gas")?;
    let amount = legacy_number(&mut reader, TYPE_2, "amount")?;
    if reader.is_empty() || reader.rest.len() > 32 {
        return Err(legacy_size(reader, TYPE_2));
    }
    let receiver = Address32(B256::left_padding_from(reader.rest));
    Ok(Options {
        lz_receive: Some(GasAndValue { gas, value: 0 }),
        native_drops: vec![NativeDrop { amount, receiver }],
        ..Options::default()
    })
}

fn legacy_number(
    reader: &mut Reader<'_>,
    format: u16,
    field: &'static str,
) -> Result<u128, OptionsError> {
    let word: [u8; 32] = reader.array().ok_or_else(|| legacy_size(*reader, format))?;
    u128::try_from(U256::from_be_bytes(word))
        .map_err(|_| OptionsError::LegacyOverflow { format, field })
}

const fn legacy_size(reader: Reader<'_>, format: u16) -> OptionsError {
    OptionsError::LegacySize { format, actual: reader.at + reader.rest.len() }
}

fn decode_type_3(mut reader: Reader<'_>) -> Result<Options, OptionsError> {
    let mut options = Options::default();
    let mut count = 0;
    while !reader.is_empty() {
        count += 1;
        if count > MAX_OPTION_COUNT {
            return Err(OptionsError::TooMany);
        }
        let at = reader.at;
        let truncated = OptionsError::Truncated { at };
        let [worker] = reader.array().ok_or(truncated)?;
        if worker != EXECUTOR && worker != DVN {
            return Err(OptionsError::UnknownWorker { worker, at });
        }
        let size = u16::from_be_bytes(reader.array().ok_or(truncated)?);
        let start = reader.at;
        let body = reader.slice(size.into()).ok_or(truncated)?;
        let mut body = Reader { rest: body, at: start };
        if worker == EXECUTOR {
            let [option_type] = body.array().ok_or_else(|| wrong_size(body, "executor"))?;
            options.add_executor_option(option_type, body)?;
        } else {
            options.dvn.push(dvn_option(body)?);
        }
    }
    Ok(options)
}

fn dvn_option(mut body: Reader<'_>) -> Result<DvnOption, OptionsError> {
    let at = body.at;
    let size = wrong_size(body, "DVN");
    let [index, option_type] = body.array().ok_or(size)?;
    if index == NO_DVN {
        return Err(OptionsError::InvalidDvnIndex { at });
    }
    Ok(DvnOption { index, option_type, data: Bytes::copy_from_slice(body.rest) })
}

fn native_drop(mut body: Reader<'_>) -> Result<NativeDrop, OptionsError> {
    let size = wrong_size(body, "native drop");
    let amount = u128::from_be_bytes(body.array().ok_or(size)?);
    let receiver = Address32(B256::new(body.array().ok_or(size)?));
    if body.is_empty() { Ok(NativeDrop { amount, receiver }) } else { Err(size) }
}

fn compose_index(mut body: Reader<'_>) -> Result<(u16, Reader<'_>), OptionsError> {
    let size = wrong_size(body, "compose");
    Ok((u16::from_be_bytes(body.array().ok_or(size)?), body))
}

/// Gas, what `between` reads after it, and the value, which may be left out when it is zero.
fn gas_and_value<T>(
    mut body: Reader<'_>,
    option: &'static str,
    between: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<(GasAndValue, T), OptionsError> {
    let size = wrong_size(body, option);
    let gas = u128::from_be_bytes(body.array().ok_or(size)?);
    let other = between(&mut body).ok_or(size)?;
    let value = if body.is_empty() { 0 } else { u128::from_be_bytes(body.array().ok_or(size)?) };
    if body.is_empty() { Ok((GasAndValue { gas, value }, other)) } else { Err(size) }
}

const fn wrong_size(body: Reader<'_>, option: &'static str) -> OptionsError {
    OptionsError::OptionSize { option, actual: body.rest.len(), at: body.at }
}

fn sum(
    total: GasAndValue,
    added: GasAndValue,
    option: &'static str,
) -> Result<GasAndValue, OptionsError> {
    let overflow = |field| OptionsError::Overflow { option, field };
    Ok(GasAndValue {
        gas: total.gas.checked_add(added.gas).ok_or(overflow("gas"))?,
        value: total.value.checked_add(added.value).ok_or(overflow("value"))?,
    })
}

fn sum_reads(total: Read, added: GasAndValue, size: u32) -> Result<Read, OptionsError> {
    let calls = GasAndValue { gas: total.gas, value: total.value };
    let GasAndValue { gas, value } = sum(calls, added, "read")?;
    let overflow = OptionsError::Overflow { option: "read", field: "size" };
    Ok(Read { gas, size: total.size.checked_add(size).ok_or(overflow)?, value })
}

#[cfg(test)]
mod tests;
