//! The applications of a development network: an `OAppMock`, which carries a string, an
//! `OmniCounter`, which counts and composes, and a token that goes out and comes back.

use alloy_primitives::{Address, B256, Bytes, U256, bytes};
use alloy_sol_types::SolCall;
use serde_json::{Value, json};

use super::abi::{IERC20, IEndpoint, IMultiCall, IOAppMock, IOFT, IOmniCounter};
use super::deployment::{BATCH_USER, BURST_USER, Deployment, USER};
use crate::rpc::{Rpc, RpcError};

/// Options of type 3 that buy 200,000 gas for `lzReceive`.
pub const DEFAULT_OPTIONS: Bytes = bytes!("00030100110100000000000000000000000000030d40");

/// The first message of a path costs 268,162; a text of moderate length still fits.
const SEND_GAS: u64 = 500_000;
const SEND_GAS_EACH: u64 = 400_000;
const BURST_CHUNK: usize = 200;
const MAX_FEE: u64 = 200_000_000_000;

/// What an `OmniCounter` is asked to do on the other chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CounterMessage {
    /// Count.
    Vanilla = 1,
    /// Count, then count once more in a composed call.
    Composed = 2,
    /// Count, and send a message back.
    Aba = 3,
    /// Count, and send a message back from a composed call.
    ComposedAba = 4,
}

/// The applications on one chain.
#[derive(Debug, Clone, Copy)]
pub struct Apps<'a> {
    rpc: &'a Rpc,
    at: &'a Deployment,
}

impl<'a> Apps<'a> {
    /// The applications of `deployment`, over `rpc`, which must be that chain's.
    #[must_use]
    pub fn new(rpc: &'a Rpc, deployment: &'a Deployment) -> Self {
        Self { rpc, at: deployment }
    }

    /// The fee in wei of sending `text` to the chain `dst_eid`.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`]: a revert when the chain is not known, or the options are not good.
    pub async fn quote_mock(
        &self,
        dst_eid: u32,
        text: &str,
        options: &Bytes,
    ) -> Result<U256, RpcError> {
        let call = IOAppMock::quoteCall {
            dstEid: dst_eid,
            message: text.to_owned(),
            options: options.clone(),
            payInLzToken: false,
        };
        Ok(self.read(self.at.oapp_mock, &call).await?.nativeFee)
    }

    /// Sends `text` from the `OAppMock` here to the one on `dst_eid`; does not wait for a block.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn send_mock(
        &self,
        dst_eid: u32,
        text: &str,
        options: &Bytes,
    ) -> Result<B256, RpcError> {
        let fee = self.quote_mock(dst_eid, text, options).await?;
        let call = send_call(dst_eid, text, options, fee);
        self.send(USER, self.at.oapp_mock, &call, fee, SEND_GAS).await
    }

    /// Sends all `texts` in one transaction, in their order; does not wait for a block. About 70
    /// fit a block of 30 million gas.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn send_mock_many_in_one_tx(
        &self,
        dst_eid: u32,
        texts: &[&str],
        options: &Bytes,
    ) -> Result<B256, RpcError> {
        let mut calls = Vec::with_capacity(texts.len());
        let mut total = U256::ZERO;
        for text in texts {
            let fee = self.quote_mock(dst_eid, text, options).await?;
            total += fee;
            calls.push(IMultiCall::Call {
                target: self.at.oapp_mock,
                data: send_call(dst_eid, text, options, fee).abi_encode().into(),
                gasLimit: U256::ZERO,
                value: fee,
                revertOnError: true,
            });
        }
        let gas = 100_000 + SEND_GAS_EACH * texts.len() as u64;
        let call = IMultiCall::multiCallCall { calls };
        self.send(BATCH_USER, self.at.multi_call, &call, total, gas).await
    }

    /// Sends `count` messages, `text` and their number each, in a transaction each, as fast as
    /// the chain takes them; gives their hashes in nonce order and does not wait for blocks. The
    /// fee is that of the longest text, which is that of all when `text` is of moderate length.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`]; what was sent before an error stays sent.
    pub async fn send_mock_burst(
        &self,
        dst_eid: u32,
        text: &str,
        count: u64,
        options: &Bytes,
    ) -> Result<Vec<B256>, RpcError> {
        // A fixed width, so that all messages have one size and therefore one fee.
        let message = |number: u64| format!("{text} {number:08}");
        let fee = self.quote_mock(dst_eid, &message(0), options).await?;
        let nonce = self.rpc.pending_nonce(BURST_USER).await?;
        let calls: Vec<(&str, Value)> = (0..count)
            .map(|number| {
                let call = send_call(dst_eid, &message(number), options, fee);
                let mut transaction =
                    transaction(BURST_USER, self.at.oapp_mock, &call, fee, SEND_GAS_EACH);
                if let Some(fields) = transaction.as_object_mut() {
                    fields.insert("nonce".to_owned(), json!(U256::from(nonce + number)));
                }
                ("eth_sendTransaction", json!([transaction]))
            })
            .collect();
        let mut hashes = Vec::with_capacity(calls.len());
        for chunk in calls.chunks(BURST_CHUNK) {
            for answer in self.rpc.batch(chunk).await? {
                let hash = serde_json::from_value(answer?).map_err(|error| {
                    self.rpc.malformed("eth_sendTransaction", &error.to_string())
                })?;
                hashes.push(hash);
            }
        }
        Ok(hashes)
    }

    /// How many transactions of bursts wait for a block.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn pending(&self) -> Result<u64, RpcError> {
        let pending = self.rpc.pending_nonce(BURST_USER).await?;
        Ok(pending.saturating_sub(self.rpc.nonce(BURST_USER).await?))
    }

    /// How many messages the `OAppMock` here has sent to the one of `other`
    /// (`EndpointV2.outboundNonce`).
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn sent_by_mock(&self, other: &Deployment) -> Result<u64, RpcError> {
        let call = IEndpoint::outboundNonceCall {
            sender: self.at.oapp_mock,
            dstEid: other.eid,
            receiver: other.oapp_mock.into_word(),
        };
        self.read(self.at.endpoint, &call).await
    }

    /// The last string that the `OAppMock` here received (`OAppMock.data()`).
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn read_mock_data(&self) -> Result<String, RpcError> {
        self.read(self.at.oapp_mock, &IOAppMock::dataCall {}).await
    }

    /// Sends a message from the `OmniCounter` here to the one on `dst_eid`.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn increment(
        &self,
        dst_eid: u32,
        message: CounterMessage,
        options: &Bytes,
    ) -> Result<B256, RpcError> {
        let (eid, msg_type, options) = (dst_eid, message as u8, options.clone());
        let quote = IOmniCounter::quoteCall { eid, msgType: msg_type, options: options.clone() };
        let fee = self.read(self.at.omni_counter, &quote).await?.nativeFee;
        let call = IOmniCounter::incrementCall { eid, msgType: msg_type, options };
        self.send(USER, self.at.omni_counter, &call, fee, SEND_GAS).await
    }

    /// How many messages the `OmniCounter` here received.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn count(&self) -> Result<U256, RpcError> {
        self.read(self.at.omni_counter, &IOmniCounter::countCall {}).await
    }

    /// How many composed calls the `OmniCounter` here received.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn composed_count(&self) -> Result<U256, RpcError> {
        self.read(self.at.omni_counter, &IOmniCounter::composedCountCall {}).await
    }

    /// Lets the OFT here take any of the user's tokens, which an adapter needs; does not wait for a
    /// block.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn approve_tokens(&self) -> Result<B256, RpcError> {
        let call = IERC20::approveCall { spender: self.at.oft, value: U256::MAX };
        self.send(USER, self.at.token, &call, U256::ZERO, SEND_GAS).await
    }

    /// Sends `amount` of the user's tokens, in local decimals, to the account `to` on `dst_eid`, and
    /// calls that account with `compose` unless it is empty; does not wait for a block.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn send_tokens(
        &self,
        dst_eid: u32,
        to: Address,
        amount: U256,
        compose: &Bytes,
        options: &Bytes,
    ) -> Result<B256, RpcError> {
        let param = IOFT::SendParam {
            dstEid: dst_eid,
            to: to.into_word(),
            amountLD: amount,
            minAmountLD: U256::ZERO,
            extraOptions: options.clone(),
            composeMsg: compose.clone(),
            oftCmd: Bytes::new(),
        };
        let quote = IOFT::quoteSendCall { sendParam: param.clone(), payInLzToken: false };
        let fee = self.read(self.at.oft, &quote).await?;
        let value = fee.nativeFee;
        let call = IOFT::sendCall { sendParam: param, fee, refundAddress: USER };
        self.send(USER, self.at.oft, &call, value, SEND_GAS).await
    }

    /// How many tokens an account has here, in local decimals.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn tokens_of(&self, account: Address) -> Result<U256, RpcError> {
        self.read(self.at.token, &IERC20::balanceOfCall { account }).await
    }

    /// How many tokens there are here, in local decimals; on the first chain those that its adapter
    /// has locked are among them.
    ///
    /// # Errors
    /// As [`Rpc::eth_call`].
    pub async fn token_supply(&self) -> Result<U256, RpcError> {
        self.read(self.at.token, &IERC20::totalSupplyCall {}).await
    }

    async fn read<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, RpcError> {
        let answer = self.rpc.eth_call(to, call.abi_encode()).await?;
        C::abi_decode_returns(&answer)
            .map_err(|error| self.rpc.malformed(C::SIGNATURE, &error.to_string()))
    }

    async fn send<C: SolCall>(
        &self,
        from: Address,
        to: Address,
        call: &C,
        value: U256,
        gas: u64,
    ) -> Result<B256, RpcError> {
        self.rpc.send_transaction(transaction(from, to, call, value, gas)).await
    }
}

fn send_call(dst_eid: u32, text: &str, options: &Bytes, fee: U256) -> IOAppMock::sendCall {
    IOAppMock::sendCall {
        dstEid: dst_eid,
        message: text.to_owned(),
        options: options.clone(),
        nativeFee: fee,
    }
}

fn transaction<C: SolCall>(from: Address, to: Address, call: &C, value: U256, gas: u64) -> Value {
    json!({
        "from": from,
        "to": to,
        "data": Bytes::from(call.abi_encode()),
        "value": value,
        "gas": U256::from(gas),
        "maxFeePerGas": U256::from(MAX_FEE),
        "maxPriorityFeePerGas": "0x1",
    })
}
