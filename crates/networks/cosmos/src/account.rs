//! An account's number and sequence (`cosmos.auth.v1beta1.Query/Account`), and what it has
//! (`cosmos.bank.v1beta1.Query/Balance`).

use crate::upstream::Upstream;
use ibc_proto::cosmos::{
    auth::v1beta1::{BaseAccount, QueryAccountRequest, QueryAccountResponse},
    bank::v1beta1::{QueryBalanceRequest, QueryBalanceResponse},
};
use postrider_jsonrpc::UpstreamError;
use postrider_message::Height;
use prost::Message;

/// Vesting accounts hold a base account in their second layer, and other modules' accounts in
/// their first.
const DEEPEST: usize = 4;

/// What a transaction's signature binds it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The account's number on this chain; it never changes.
    pub number: u64,
    /// The sequence of its next transaction.
    pub sequence: u64,
}

impl Upstream {
    /// The account at a bech32 address in the newest state; `None` if the chain has none, which is
    /// so before it first received anything. Transactions that are not in a block yet do not
    /// count in the sequence.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn account(&self, address: &str) -> Result<Option<Account>, UpstreamError> {
        self.account_at(address, None).await
    }

    /// As [`Upstream::account`], in the state at `height`; the newest if none.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn account_at(
        &self,
        address: &str,
        height: Option<Height>,
    ) -> Result<Option<Account>, UpstreamError> {
        const PATH: &str = "/cosmos.auth.v1beta1.Query/Account";
        const NOT_FOUND: i64 = 22;
        let request = QueryAccountRequest { address: address.to_owned() };
        let told: QueryAccountResponse = match self.grpc(PATH, &request, height).await {
            Err(UpstreamError::Refused { code: NOT_FOUND, .. }) => return Ok(None),
            told => told?,
        };
        let any =
            told.account.ok_or(UpstreamError::Garbage("an account without a value".into()))?;
        let account = base_account(&any.value, address).ok_or_else(|| {
            let what = format!("an account of type {}, which holds no base account", any.type_url);
            UpstreamError::Garbage(what.into())
        })?;
        Ok(Some(account))
    }

    /// What an account has of a denomination, in its smallest unit, in the newest state.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn balance(&self, address: &str, denom: &str) -> Result<u128, UpstreamError> {
        const PATH: &str = "/cosmos.bank.v1beta1.Query/Balance";
        let request = QueryBalanceRequest { address: address.to_owned(), denom: denom.to_owned() };
        let told: QueryBalanceResponse = self.grpc(PATH, &request, None).await?;
        let coin = told.balance.ok_or(UpstreamError::Garbage("a balance without a coin".into()))?;
        if coin.denom != denom {
            return Err(UpstreamError::Garbage(format!("a balance of {}", coin.denom).into()));
        }
        coin.amount
            .parse()
            .map_err(|_| UpstreamError::Garbage(format!("a balance of `{}`", coin.amount).into()))
    }
}

/// The first field of a message whose form is not known.
#[derive(Clone, PartialEq, prost::Message)]
struct Outer {
    #[prost(bytes = "vec", tag = "1")]
    inner: Vec<u8>,
}

/// The base account in an account of whatever type: it is its first field, or the first field of
/// that, and says whose it is.
fn base_account(bytes: &[u8], address: &str) -> Option<Account> {
    let mut bytes = bytes.to_vec();
    for _ in 0..DEEPEST {
        if let Ok(base) = BaseAccount::decode(bytes.as_slice())
            && base.address == address
        {
            return Some(Account { number: base.account_number, sequence: base.sequence });
        }
        bytes = Outer::decode(bytes.as_slice()).ok()?.inner;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(inner: Vec<u8>) -> Vec<u8> {
        Outer { inner }.encode_to_vec()
    }

    #[test]
    fn an_account_of_any_type_is_read() {
        let base = BaseAccount {
            address: "cosmos1x".into(),
            pub_key: None,
            account_number: 8,
            sequence: 3,
        }
        .encode_to_vec();
        let expected = Some(Account { number: 8, sequence: 3 });
        assert_eq!(base_account(&base, "cosmos1x"), expected, "BaseAccount");
        assert_eq!(base_account(&wrap(base.clone()), "cosmos1x"), expected, "EthAccount");
        let vesting = wrap(wrap(base.clone()));
        assert_eq!(base_account(&vesting, "cosmos1x"), expected, "ContinuousVestingAccount");
        assert_eq!(base_account(&base, "cosmos1y"), None, "another account");
        let deep = (0..DEEPEST).fold(base, |bytes, _| wrap(bytes));
        assert_eq!(base_account(&deep, "cosmos1x"), None);
        assert_eq!(base_account(&[], "cosmos1x"), None);
    }

    proptest::proptest! {
        #[test]
        fn r10_no_bytes_are_too_strange_for_an_account(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(base_account(&bytes, "cosmos1x"), None);
        }
    }
}
