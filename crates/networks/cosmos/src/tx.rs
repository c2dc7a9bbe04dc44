//! Transactions: messages, what is offered for them, and the signature over both (SDK
//! `cosmos.tx.v1beta1`, `SIGN_MODE_DIRECT`).

use crate::{account::Account, events::tx_hash, gas::Fee, status::CosmosChainId};
use ibc_proto::{
    cosmos::{
        authz::v1beta1::MsgExec,
        base::v1beta1::Coin,
        crypto::secp256k1::PubKey,
        tx::{
            signing::v1beta1::SignMode,
            v1beta1::{
                AuthInfo, Fee as WireFee, ModeInfo, SignDoc, SignerInfo, TxBody, TxRaw,
                mode_info::{Single, Sum},
            },
        },
    },
    google::protobuf::Any,
};
use postrider_message::{Height, TxHash};
use postrider_signing::{CosmosKey, SigningError};
use prost::{Message, Name};

/// The SDK's own bound on memos (`x/auth` `max_memo_characters`), in bytes.
const MAX_MEMO: usize = 256;
/// What a signature of secp256k1 takes.
const SIGNATURE: usize = 64;

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTx {
    /// Its bytes, `cosmos.tx.v1beta1.TxRaw`, as they are broadcast.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: TxHash,
}

/// A transaction that is not signed yet. The same builder gives the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct TxBuilder {
    chain_id: CosmosChainId,
    messages: Vec<Any>,
    memo: String,
    timeout_height: u64,
    fee_granter: String,
}

impl TxBuilder {
    /// A transaction of these messages, which all succeed or all fail.
    #[must_use]
    pub fn new(chain_id: CosmosChainId, messages: Vec<Any>) -> Self {
        Self {
            chain_id,
            messages,
            memo: String::new(),
            timeout_height: 0,
            fee_granter: String::new(),
        }
    }

    /// With a memo, cut to the 256 bytes that chains take.
    #[must_use]
    pub fn memo(mut self, memo: &str) -> Self {
        self.memo.clear();
        for c in memo.chars() {
            if self.memo.len() + c.len_utf8() > MAX_MEMO {
                break;
            }
            self.memo.push(c);
        }
        self
    }

    /// Included at this height at the latest, or never.
    #[must_use]
    pub fn timeout_height(mut self, height: Height) -> Self {
        self.timeout_height = height.0;
        self
    }

    /// Paid for by another account, which granted that (`cosmos.feegrant`); its bech32 address.
    #[must_use]
    pub fn fee_granter(mut self, granter: &str) -> Self {
        granter.clone_into(&mut self.fee_granter);
        self
    }

    /// In the name of another account, which granted that: all messages in one
    /// `cosmos.authz.v1beta1.MsgExec` of the account `grantee`, which signs. The messages name the
    /// granter as their signer.
    #[must_use]
    pub fn authorized(mut self, grantee: &str) -> Self {
        let msgs = std::mem::take(&mut self.messages);
        self.messages = vec![any(&MsgExec { grantee: grantee.to_owned(), msgs })];
        self
    }

    /// How many messages there are.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    fn body(&self) -> Vec<u8> {
        let body = TxBody {
            messages: self.messages.clone(),
            memo: self.memo.clone(),
            timeout_height: self.timeout_height,
            ..TxBody::default()
        };
        body.encode_to_vec()
    }

    fn auth_info(&self, key: &CosmosKey, sequence: u64, fee: &Fee) -> Vec<u8> {
        let single = Single { mode: SignMode::Direct.into() };
        let public_key = Any {
            type_url: key.algorithm().public_key_type().to_owned(),
            // The message of every algorithm has this one field.
            value: PubKey { key: key.public_key().to_vec() }.encode_to_vec(),
        };
        let signer = SignerInfo {
            public_key: Some(public_key),
            mode_info: Some(ModeInfo { sum: Some(Sum::Single(single)) }),
            sequence,
        };
        let coin = Coin { denom: fee.denom.clone(), amount: fee.amount.to_string() };
        let fee = WireFee {
            // The SDK refuses coins of nothing.
            amount: if fee.amount.is_zero() { Vec::new() } else { vec![coin] },
            gas_limit: fee.gas,
            payer: String::new(),
            granter: self.fee_granter.clone(),
        };
        // What tips were is deprecated, and none is given.
        #[allow(deprecated)]
        let info = AuthInfo { signer_infos: vec![signer], fee: Some(fee), tip: None };
        info.encode_to_vec()
    }

    /// The transaction with the key's signature, as the `account.sequence`-th of its account.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn sign(
        &self,
        key: &CosmosKey,
        account: Account,
        fee: &Fee,
    ) -> Result<SignedTx, SigningError> {
        let (body_bytes, auth_info_bytes) =
            (self.body(), self.auth_info(key, account.sequence, fee));
        let document = SignDoc {
            body_bytes: body_bytes.clone(),
            auth_info_bytes: auth_info_bytes.clone(),
            chain_id: self.chain_id.as_str().to_owned(),
            account_number: account.number,
        };
        let signature = key.sign_doc(&document.encode_to_vec())?;
        let raw = TxRaw { body_bytes, auth_info_bytes, signatures: vec![signature.to_vec()] };
        let bytes = raw.encode_to_vec();
        Ok(SignedTx { hash: tx_hash(&bytes), bytes })
    }

    /// The transaction for a simulation: as it will be signed, with an empty signature, which
    /// nobody looks at, of the right size, which is paid for. `gas` of `fee` bounds nothing there.
    #[must_use]
    pub fn to_simulate(&self, key: &CosmosKey, sequence: u64, fee: &Fee) -> Vec<u8> {
        let raw = TxRaw {
            body_bytes: self.body(),
            auth_info_bytes: self.auth_info(key, sequence, fee),
            signatures: vec![vec![0; SIGNATURE]],
        };
        raw.encode_to_vec()
    }

    /// How many bytes the signed transaction has.
    #[must_use]
    pub fn size(&self, key: &CosmosKey, sequence: u64, fee: &Fee) -> usize {
        self.to_simulate(key, sequence, fee).len()
    }
}

/// A message of a transaction, with its type's URL.
#[must_use]
pub fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gas::{GasPolicy, GasPrice};
    use alloy_primitives::{U256, hex};
    use ibc_proto::cosmos::bank::v1beta1::MsgSend;
    use postrider_signing::{CosmosAlgorithm, Keystore, Password};

    const SECRET: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    const OTHER: &str = "cosmos1w508d6qejxtdg4y5r3zarvary0c5xw7k6ah60c";

    fn key(algorithm: CosmosAlgorithm) -> CosmosKey {
        let folder = tempfile::tempdir().unwrap();
        let store = Keystore::open(folder.path()).unwrap();
        let (name, password) = ("payer".parse().unwrap(), Password::from("secret"));
        store.import(&name, &SECRET.into(), &password).unwrap();
        store.cosmos_key(&name, &password, algorithm).unwrap()
    }

    fn send(key: &CosmosKey) -> MsgSend {
        MsgSend {
            from_address: key.address(&"cosmos".parse().unwrap()),
            to_address: OTHER.to_owned(),
            amount: vec![Coin { denom: "token".into(), amount: "5".into() }],
        }
    }

    fn builder(messages: Vec<Any>) -> TxBuilder {
        TxBuilder::new("golden-1".parse().unwrap(), messages)
    }

    fn fee(gas: u64) -> Fee {
        let price: GasPrice = "0.025stake".parse().unwrap();
        GasPolicy { price, multiplier_permille: 1100, max_gas: 1_000_000 }.fee_of(gas)
    }

    /// The bytes that `simd tx sign` (SDK 0.54.0) made of the same transaction and key.
    #[test]
    fn a_transaction_has_the_bytes_that_the_sdk_gives_it() {
        let key = key(CosmosAlgorithm::Secp256k1);
        let unsigned = builder(vec![any(&send(&key))])
            .memo("postrider test")
            .timeout_height(Height(99))
            .fee_granter(OTHER);
        let account = Account { number: 7, sequence: 3 };
        let signed = unsigned.sign(&key, account, &fee(123_456)).unwrap();
        let expected = "0a9f010a8a010a1c2f636f736d6f732e62616e6b2e763162657461312e4d736753656e\
            64126a0a2d636f736d6f7331636a7a706872363764756732387277397565657772716c6c6d786c71653566\
            30737a64663239122d636f736d6f733177353038643671656a7874646734793572337a6172766172793063\
            357877376b3661683630631a0a0a05746f6b656e120135120e706f73747269646572207465737418631296\
            010a500a460a1f2f636f736d6f732e63727970746f2e736563703235366b312e5075624b657912230a2102\
            ba5734d8f7091719471e7f7ed6b9df170dc70cc661ca05e688601ad984f068b012040a020801180312420a\
            0d0a057374616b6512043330383710c0c407222d636f736d6f733177353038643671656a78746467347935\
            72337a6172766172793063357877376b3661683630631a40894862d2a569b2d706b9d9d0cbc26d1579ffd8\
            e6b71a7daf203ecdab2e98913b3b0e9a8c7894080a4ea37cf96a8773ee9ffb41c7a42356ad32f74914754f\
            c5e9";
        assert_eq!(hex::encode(&signed.bytes), expected);
        let hash = "0x084395062e0c11132057035772cb090d49e0b26ec829fe2d44bc2f49d2bdcb5f";
        assert_eq!(signed.hash.to_string(), hash);
        assert_eq!(unsigned.size(&key, 3, &fee(123_456)), signed.bytes.len());
    }

    #[test]
    fn what_differs_is_signed_differently() {
        let key = key(CosmosAlgorithm::Secp256k1);
        let unsigned = builder(vec![any(&send(&key))]);
        let sign = |unsigned: &TxBuilder, number, sequence, gas| {
            unsigned.sign(&key, Account { number, sequence }, &fee(gas)).unwrap()
        };
        let first = sign(&unsigned, 1, 1, 1);
        assert_eq!(first, sign(&unsigned, 1, 1, 1), "the same builder gives the same bytes");
        let other_chain = TxBuilder { chain_id: "golden-2".parse().unwrap(), ..unsigned.clone() };
        for other in [
            sign(&unsigned, 2, 1, 1),
            sign(&unsigned, 1, 2, 1),
            sign(&unsigned, 1, 1, 2),
            sign(&unsigned.clone().memo("m"), 1, 1, 1),
            sign(&other_chain, 1, 1, 1),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn authorized_messages_are_wrapped_in_their_order() {
        let key = key(CosmosAlgorithm::Secp256k1);
        let both = vec![any(&send(&key)), any(&MsgSend::default())];
        let wrapped = builder(both.clone()).authorized(OTHER);
        assert_eq!(wrapped.messages(), 1);
        let outer = &wrapped.messages[0];
        assert_eq!(outer.type_url, "/cosmos.authz.v1beta1.MsgExec");
        let exec = MsgExec::decode(outer.value.as_slice()).unwrap();
        assert_eq!((exec.grantee.as_str(), exec.msgs), (OTHER, both));
    }

    #[test]
    fn nothing_offered_is_no_coin_and_memos_are_cut() {
        let key = key(CosmosAlgorithm::Ethermint);
        let free = Fee { gas: 5, amount: U256::ZERO, denom: "stake".into() };
        let tx = builder(vec![]).memo(&"é".repeat(200)).to_simulate(&key, 0, &free);
        let raw = TxRaw::decode(tx.as_slice()).unwrap();
        let info = AuthInfo::decode(raw.auth_info_bytes.as_slice()).unwrap();
        assert_eq!(info.fee.unwrap().amount, []);
        let public_key = info.signer_infos[0].public_key.clone().unwrap();
        assert_eq!(public_key.type_url, "/ethermint.crypto.v1.ethsecp256k1.PubKey");
        let body = TxBody::decode(raw.body_bytes.as_slice()).unwrap();
        assert_eq!(body.memo, "é".repeat(MAX_MEMO / 2));
        assert_eq!(raw.signatures, [vec![0; SIGNATURE]]);
    }
}
