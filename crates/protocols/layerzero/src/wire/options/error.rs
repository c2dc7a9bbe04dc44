//! What can be wrong with options.

use super::{MAX_OPTION_COUNT, MAX_OPTIONS_SIZE};

/// Why bytes are not options an executor can act on. The bytes themselves are wrong or excessive,
/// so trying again gives the same. `at` counts bytes from the start of the options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Options that end inside a field.
    #[error("the options end at byte {at}, inside a field")]
    Truncated {
        /// Where the field starts.
        at: usize,
    },
    /// A format other than 1, 2 and 3.
    #[error("options of type {actual} are unknown; types 1, 2 and 3 are supported")]
    UnknownFormat {
        /// The type stated.
        actual: u16,
    },
    /// Legacy options of the wrong size.
    #[error("options of type {format} cannot have {actual} bytes")]
    LegacySize {
        /// 1 or 2.
        format: u16,
        /// Bytes there were.
        actual: usize,
    },
    /// A legacy 256-bit number that does not fit in 128 bits.
    #[error("the {field} in options of type {format} does not fit in 128 bits")]
    LegacyOverflow {
        /// 1 or 2.
        format: u16,
        /// Which number.
        field: &'static str,
    },
    /// More than [`MAX_OPTIONS_SIZE`].
    #[error("the options have {actual} bytes, more than {MAX_OPTIONS_SIZE}")]
    TooLarge {
        /// Bytes there were.
        actual: usize,
    },
    /// More than [`MAX_OPTION_COUNT`].
    #[error("the list has more than {MAX_OPTION_COUNT} options")]
    TooMany,
    /// A worker other than the executor (1) and the DVNs (2).
    #[error("byte {at}: worker {worker} is unknown; 1 is the executor, 2 a DVN")]
    UnknownWorker {
        /// The worker stated.
        worker: u8,
        /// Where.
        at: usize,
    },
    /// An executor option outside the table above.
    #[error("byte {at}: executor option type {actual} is unknown")]
    UnknownExecutorOption {
        /// The type stated.
        actual: u8,
        /// Where.
        at: usize,
    },
    /// An option whose size its type does not have.
    #[error("byte {at}: a {option} option cannot have {actual} bytes")]
    OptionSize {
        /// The option's name.
        option: &'static str,
        /// Bytes there were.
        actual: usize,
        /// Where.
        at: usize,
    },
    /// Index 255 for a DVN.
    #[error("byte {at}: 255 is not the index of a DVN")]
    InvalidDvnIndex {
        /// Where.
        at: usize,
    },
    /// Gas that is zero after all sums; nothing can run on it, and reference fee libraries refuse.
    #[error("the gas for {option} is zero")]
    ZeroGas {
        /// The option's name.
        option: &'static str,
    },
    /// A read that expects no bytes.
    #[error("the size of the read's answer is zero")]
    ZeroReadSize,
    /// A sum beyond its type.
    #[error("the {field} of all {option} options is more than its type holds")]
    Overflow {
        /// The option's name.
        option: &'static str,
        /// What was summed.
        field: &'static str,
    },
    /// Read options beside receive or native drop options: no packet is both.
    #[error("the options ask for a read and for a delivery; a packet is one or the other")]
    ReadAndDelivery,
    /// A DVN option longer than its 16-bit size can say. Only building meets it.
    #[error("a DVN option of {actual} bytes is longer than its size field can say")]
    DvnOptionTooLong {
        /// Bytes there were.
        actual: usize,
    },
}
