//! Token transfers (ICS-20): what a packet says is sent, what tokens are called on the way, and where those
//! that are away are kept.

use crate::ids::{BadId, ChannelEndId, ChannelId, PortId};
use alloy_primitives::{U256, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// The port of the transfer module on every chain.
pub const TRANSFER_PORT: &str = "transfer";
/// The version that both modules of a transfer channel agree on.
pub const TRANSFER_VERSION: &str = "ics20-1";
/// The longest denomination that is read, in bytes.
pub const MAX_DENOM_BYTES: usize = 4096;
/// The longest data of a transfer that is read, in bytes.
pub const MAX_TRANSFER_BYTES: usize = 256 << 10;

/// Why a packet's data is no transfer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTransfer {
    /// Too long.
    #[error("its data has {0} bytes, more than {MAX_TRANSFER_BYTES}")]
    TooLong(usize),
    /// Not the JSON object that it must be, with each key once and no other.
    #[error("its data is not the JSON of a token transfer")]
    Form,
    /// The amount is no positive number of 256 bits.
    #[error("its amount is no positive number")]
    Amount,
    /// Sender or receiver is blank.
    #[error("its {0} is blank")]
    Blank(&'static str),
    /// The denomination is none.
    #[error(transparent)]
    Denom(#[from] BadDenom),
}

/// What a transfer's packet says (`FungibleTokenPacketData`).
///
/// Read more strictly than chains do: Go's reader takes keys in any case, and the last of those that are
/// there twice. Two chains may read such data differently, so it is no transfer here (class (n)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferData {
    /// Which token, as the sending chain names it.
    pub denom: Denom,
    /// How much of it.
    pub amount: U256,
    /// Who sent it, in the sending chain's own form.
    pub sender: String,
    /// For whom it is, in the receiving chain's own form.
    pub receiver: String,
    /// What else is to be done; empty for nothing.
    pub memo: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    denom: String,
    amount: String,
    sender: String,
    receiver: String,
    #[serde(default)]
    memo: String,
}

impl TransferData {
    /// Reads a packet's data.
    ///
    /// # Errors
    /// [`BadTransfer`].
    pub fn parse(data: &[u8]) -> Result<Self, BadTransfer> {
        if data.len() > MAX_TRANSFER_BYTES {
            return Err(BadTransfer::TooLong(data.len()));
        }
        let wire: Wire = serde_json::from_slice(data).map_err(|_| BadTransfer::Form)?;
        // Some readers take such a number for octal, or leave the sign to chance.
        let is_number = wire.amount.bytes().all(|b| b.is_ascii_digit())
            && (1..=78).contains(&wire.amount.len())
            && !wire.amount.starts_with('0');
        let amount = if is_number { wire.amount.parse::<U256>().ok() } else { None };
        for (what, text) in [("sender", &wire.sender), ("receiver", &wire.receiver)] {
            if text.trim().is_empty() {
                return Err(BadTransfer::Blank(what));
            }
        }
        Ok(Self {
            denom: wire.denom.parse()?,
            amount: amount.ok_or(BadTransfer::Amount)?,
            sender: wire.sender,
            receiver: wire.receiver,
            memo: wire.memo,
        })
    }

    /// What becomes of the token that is sent from `source` to `destination`.
    #[must_use]
    pub fn token(&self, source: &ChannelEndId, destination: &ChannelEndId) -> Token {
        match self.denom.hops.split_first() {
            Some((last, rest)) if last == source => {
                Token::Returns(Denom { hops: rest.to_vec(), base: self.denom.base.clone() })
            }
            _ => {
                let mut hops = vec![destination.clone()];
                hops.extend(self.denom.hops.iter().cloned());
                Token::GoesOut(Denom { hops, base: self.denom.base.clone() })
            }
        }
    }
}

/// What becomes of a token that is sent, and what it is called at its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// It came through this channel: the voucher is burnt at the source, and the destination gives out what
    /// it kept.
    Returns(Denom),
    /// The source keeps it, and the destination makes a voucher for it.
    GoesOut(Denom),
}

/// Why a text is no denomination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDenom {
    /// Blank, or longer than [`MAX_DENOM_BYTES`].
    #[error("a denomination has 1 to {MAX_DENOM_BYTES} bytes and is not blank")]
    Length,
    /// A place on its way is none.
    #[error(transparent)]
    Id(#[from] BadId),
}

/// A token, and the way it came: the channel ends it was received at, the last one first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denom {
    /// Where it was received.
    pub hops: Vec<ChannelEndId>,
    /// What it is called where it is from.
    pub base: String,
}

impl Denom {
    /// What the chain calls it on which it is: `ibc/` and the hash of its path, or its own name where it is
    /// from (ibc-go `Denom.IBCDenom`).
    #[must_use]
    pub fn on_chain(&self) -> String {
        if self.hops.is_empty() {
            return self.base.clone();
        }
        let hash = Sha256::digest(self.to_string());
        format!("ibc/{}", hex::encode_upper(hash))
    }
}

impl fmt::Display for Denom {
    /// Its path: each hop, then its own name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hop in &self.hops {
            write!(f, "{hop}/")?;
        }
        f.write_str(&self.base)
    }
}

impl FromStr for Denom {
    type Err = BadDenom;
    /// Reads a path as ibc-go does (`ExtractDenomFromPath`): pairs count as hops while the second of them is
    /// named as ibc-go names channels or clients.
    fn from_str(path: &str) -> Result<Self, BadDenom> {
        if path.len() > MAX_DENOM_BYTES {
            return Err(BadDenom::Length);
        }
        let (mut hops, mut rest) = (Vec::new(), path);
        let has_way = path.matches('/').count() >= 2;
        while let Some((port, channel, base)) = first_hop(rest).filter(|_| has_way) {
            let (port, channel) = (port.parse::<PortId>()?, channel.parse::<ChannelId>()?);
            hops.push(ChannelEndId { port, channel });
            rest = base;
        }
        if rest.trim().is_empty() {
            return Err(BadDenom::Length);
        }
        Ok(Self { hops, base: rest.to_owned() })
    }
}

fn first_hop(path: &str) -> Option<(&str, &str, &str)> {
    let (port, rest) = path.split_once('/')?;
    let (channel, base) = rest.split_once('/').unwrap_or((rest, ""));
    is_place(channel).then_some((port, channel, base))
}

/// Whether ibc-go would name a channel or a client so: a type, `-`, and a number of 64 bits
/// (`IsValidChannelID`, `IsValidClientID`).
fn is_place(text: &str) -> bool {
    if text == "09-localhost" {
        return true;
    }
    let Some((kind, number)) = text.rsplit_once('-') else { return false };
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let ends_well =
        kind.bytes().next().is_some_and(is_word) && kind.bytes().next_back().is_some_and(is_word);
    ends_well
        && kind.bytes().all(|c| is_word(c) || c == b'-')
        && (1..=20).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
        && number.parse::<u64>().is_ok()
}

/// An account's address, before it is written in a chain's own form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct AccountBytes(pub [u8; 20]);

/// The account in which the source keeps what it sent through this channel (ibc-go `GetEscrowAddress`).
#[must_use]
pub fn escrow(source: &ChannelEndId) -> AccountBytes {
    let mut hash = Sha256::new();
    hash.update(b"ics20-1\0");
    hash.update(source.to_string());
    let mut address = [0; 20];
    for (to, from) in address.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    AccountBytes(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(text: &str) -> ChannelEndId {
        text.parse().unwrap()
    }

    fn parse(text: &str) -> Result<TransferData, BadTransfer> {
        TransferData::parse(text.as_bytes())
    }

    #[test]
    fn a_transfer_is_read() {
        let data = parse(
            r#"{"amount":"100","denom":"transfer/channel-3/uatom","receiver":"b","sender":"a"}"#,
        )
        .unwrap();
        assert_eq!(data.denom.hops, [end("transfer/channel-3")]);
        assert_eq!((data.denom.base.as_str(), data.amount), ("uatom", U256::from(100)));
        assert_eq!(
            (data.sender.as_str(), data.receiver.as_str(), data.memo.as_str()),
            ("a", "b", "")
        );
    }

    /// Class (n): what two readers may read differently is no transfer.
    #[test]
    fn class_n_data_that_is_not_plain_is_refused() {
        let with = |more: &str| {
            format!(r#"{{"amount":"1","denom":"u","receiver":"b","sender":"a"{more}}}"#)
        };
        assert!(parse(&with("")).is_ok());
        let cases = [
            (with(r#","amount":"2""#), BadTransfer::Form),
            (with(r#","Amount":"2""#), BadTransfer::Form),
            (with(r#","extra":1"#), BadTransfer::Form),
            (with(r#","memo":null"#), BadTransfer::Form),
            (with("") + "{}", BadTransfer::Form),
            (with("").replace(r#""1""#, "1"), BadTransfer::Form),
            (with("").replace(r#""1""#, r#""-1""#), BadTransfer::Amount),
            (with("").replace(r#""1""#, r#""+1""#), BadTransfer::Amount),
            (with("").replace(r#""1""#, r#""010""#), BadTransfer::Amount),
            (with("").replace(r#""1""#, r#""0x10""#), BadTransfer::Amount),
            (with("").replace(r#""1""#, r#""1.0""#), BadTransfer::Amount),
            (with("").replace(r#""b""#, r#"" ""#), BadTransfer::Blank("receiver")),
            (with("").replace(r#""a""#, r#""""#), BadTransfer::Blank("sender")),
            (with("").replace(r#""u""#, r#""""#), BadTransfer::Denom(BadDenom::Length)),
        ];
        for (text, error) in cases {
            assert_eq!(parse(&text), Err(error), "{text}");
        }
    }

    /// Classes (a), (e): no amount is no transfer, nor is one that a chain cannot hold.
    #[test]
    fn class_a_e_amounts_are_positive_and_bounded() {
        let of = |amount: &str| {
            parse(&format!(r#"{{"amount":"{amount}","denom":"u","receiver":"b","sender":"a"}}"#))
        };
        let most = U256::MAX.to_string();
        assert_eq!(of(&most).unwrap().amount, U256::MAX);
        let above = format!("{}6", most.strip_suffix('5').unwrap());
        for bad in ["", "0", "00", &above, &"9".repeat(79)] {
            assert_eq!(of(bad), Err(BadTransfer::Amount), "{bad}");
        }
        let long = TransferData::parse(&vec![b' '; MAX_TRANSFER_BYTES + 1]);
        assert_eq!(long, Err(BadTransfer::TooLong(MAX_TRANSFER_BYTES + 1)));
    }

    /// The cases of ibc-go's `TestExtractDenomFromPath`.
    #[test]
    fn denominations_are_split_as_ibc_go_splits_them() {
        let cases: [(&str, &[&str], &str); 15] = [
            ("uatom", &[], "uatom"),
            ("gamm/pool/1", &[], "gamm/pool/1"),
            ("gamm//pool//1", &[], "gamm//pool//1"),
            ("transfer/channel-1/uatom", &["transfer/channel-1"], "uatom"),
            ("customtransfer/channel-1/uatom", &["customtransfer/channel-1"], "uatom"),
            ("transfer/07-tendermint-1/uatom", &["transfer/07-tendermint-1"], "uatom"),
            (
                "transfer/channel-1/transfer/channel-2/uatom",
                &["transfer/channel-1", "transfer/channel-2"],
                "uatom",
            ),
            (
                "transfer/channel-1/erc20/0x85bcBCd7e79Ec36f4fBBDc54F90C643d921151AA",
                &["transfer/channel-1"],
                "erc20/0x85bcBCd7e79Ec36f4fBBDc54F90C643d921151AA",
            ),
            ("transfer/channel-1/gamm/pool/1", &["transfer/channel-1"], "gamm/pool/1"),
            ("transfer/channelToA/uatom", &[], "transfer/channelToA/uatom"),
            (
                "transfer/channel-18446744073709551616/uatom",
                &[],
                "transfer/channel-18446744073709551616/uatom",
            ),
            ("transfer/channel-1", &[], "transfer/channel-1"),
            ("transfer/channel-0//at/om/", &["transfer/channel-0"], "/at/om/"),
            ("//uatom", &[], "//uatom"),
            ("channel-1/transfer/uatom", &[], "channel-1/transfer/uatom"),
        ];
        for (path, hops, base) in cases {
            let denom: Denom = path.parse().unwrap();
            assert_eq!(denom.hops, hops.iter().map(|hop| end(hop)).collect::<Vec<_>>(), "{path}");
            assert_eq!(denom.base, base, "{path}");
            assert_eq!(denom.to_string(), path);
        }
        for nothing in ["", " ", "transfer/channel-1/", "transfer/channel-1/transfer/channel-2"] {
            assert_eq!(nothing.parse::<Denom>(), Err(BadDenom::Length), "{nothing}");
        }
        assert_eq!("u".repeat(MAX_DENOM_BYTES + 1).parse::<Denom>(), Err(BadDenom::Length));
    }

    /// ATOM on Osmosis, whose name everybody knows, and the example of ibc-go's own tests.
    #[test]
    fn vouchers_are_named_as_chains_name_them() {
        let cases = [
            (
                "transfer/channel-0/uatom",
                "ibc/27394FB092D2ECCD56123C74F36E4C1F926001CEADA9CA97EA622B25F41E5EB2",
            ),
            (
                "transfer/channel-141/uosmo",
                "ibc/14F9BC3E44B8A9C1BE1FB08980FAB87034C9905EF17CF2F5008FC085218811CC",
            ),
            ("uatom", "uatom"),
        ];
        for (path, name) in cases {
            assert_eq!(path.parse::<Denom>().unwrap().on_chain(), name);
        }
    }

    #[test]
    fn a_token_returns_only_through_the_channel_that_it_came_by() {
        let (here, there) = (end("transfer/channel-0"), end("transfer/channel-7"));
        let token = |denom: &str| {
            let denom = denom.parse().unwrap();
            let data = TransferData {
                denom,
                ..parse(r#"{"amount":"1","denom":"u","receiver":"b","sender":"a"}"#).unwrap()
            };
            match data.token(&here, &there) {
                Token::Returns(denom) => format!("returns {denom}"),
                Token::GoesOut(denom) => format!("goes out {denom}"),
            }
        };
        let cases = [
            ("uatom", "goes out transfer/channel-7/uatom"),
            ("transfer/channel-0/uatom", "returns uatom"),
            ("transfer/channel-0/transfer/channel-5/uatom", "returns transfer/channel-5/uatom"),
            // Class (l): the same channel number of another port, or further back, is another way.
            ("transfer2/channel-0/uatom", "goes out transfer/channel-7/transfer2/channel-0/uatom"),
            (
                "transfer/channel-5/transfer/channel-0/uatom",
                "goes out transfer/channel-7/transfer/channel-5/transfer/channel-0/uatom",
            ),
        ];
        for (denom, expected) in cases {
            assert_eq!(token(denom), expected);
        }
    }

    /// Osmosis keeps what went out through channel-0 in osmo1a53udazy8ayufvy0s434pfwjcedzqv34kvz9tw,
    /// the Cosmos Hub what went through channel-141 in cosmos1x54ltnyg88k0ejmk8ytwrhd3ltm84xehrnlslf.
    #[test]
    fn escrow_accounts_are_those_of_real_chains() {
        let cases = [
            ("transfer/channel-0", "ed23c6f4443f49c4b08f856350a5d2c65a203235"),
            ("transfer/channel-141", "352bf5cc8839ecfccb763916e1ddb1faf67a9b37"),
        ];
        for (channel, address) in cases {
            assert_eq!(hex::encode(escrow(&end(channel)).0), address, "{channel}");
        }
    }

    proptest! {
        #[test]
        fn r10_no_data_is_too_strange(data: Vec<u8>, text: String) {
            let _ = TransferData::parse(&data);
            let _ = text.parse::<Denom>();
        }

        #[test]
        fn what_goes_out_returns_as_it_was(path in "(transfer/channel-[0-9]{1,3}/){0,3}[a-z]{1,9}") {
            let (here, there) = (end("transfer/channel-7"), end("transfer/channel-9"));
            let denom: Denom = path.parse().unwrap();
            let sent = |denom| TransferData { denom, amount: U256::from(1), sender: "a".into(), receiver: "b".into(), memo: String::new() };
            if let Token::GoesOut(voucher) = sent(denom.clone()).token(&here, &there) {
                prop_assert_eq!(sent(voucher).token(&there, &here), Token::Returns(denom));
            }
        }
    }
}
