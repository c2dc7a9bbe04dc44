//! The parts of LayerZero's contracts that Postrider reads and calls, as Solidity interfaces.
//!
//! Written from the published formats: selectors and topics depend on names and types alone, and
//! the tests below compare them with the numbers seen on chains. Nothing here decides anything;
//! [`crate::events`] and [`crate::dvn`] turn these shapes into domain types.

#![allow(clippy::too_many_arguments, reason = "generated constructors follow the contracts")]

use alloy_primitives::{B256, b256};
use alloy_sol_types::sol;

/// `keccak256("ADMIN_ROLE")`: who may call `Dvn.execute` and the executor. The contracts keep the
/// constant internal, so it cannot be asked for.
pub const ADMIN_ROLE: B256 =
    b256!("a49807205ce4d355092ef5a8a18f56e8913cf4a201fbe287825b095693c21775");
/// What `inboundPayloadHash` holds for a packet that was never committed, or is done with.
pub const EMPTY_PAYLOAD_HASH: B256 = B256::ZERO;
/// What `inboundPayloadHash` holds for a nilified packet.
pub const NIL_PAYLOAD_HASH: B256 = B256::repeat_byte(0xff);
/// What `composeQueue` holds for a composed message that was delivered.
pub const COMPOSED_MESSAGE_HASH: B256 = B256::with_last_byte(1);

sol! {
    /// Where a packet comes from.
    #[derive(Debug, PartialEq, Eq)]
    struct Origin { uint32 srcEid; bytes32 sender; uint64 nonce; }

    /// Who must attest an application's packets, and how deep. 0 in a count or in `confirmations`
    /// means the default; 255 and the largest u64 mean none.
    #[derive(Debug, PartialEq, Eq)]
    struct UlnConfig {
        uint64 confirmations;
        uint8 requiredDVNCount;
        uint8 optionalDVNCount;
        uint8 optionalDVNThreshold;
        address[] requiredDVNs;
        address[] optionalDVNs;
    }

    /// Who executes an application's packets, and the longest message in bytes.
    #[derive(Debug, PartialEq, Eq)]
    struct ExecutorConfig { uint32 maxMessageSize; address executor; }

    /// The endpoint of a chain: sends packets, and holds the state of every pathway.
    #[derive(Debug, PartialEq, Eq)]
    interface EndpointV2 {
        event PacketSent(bytes encodedPayload, bytes options, address sendLibrary);
        event PacketVerified(Origin origin, address receiver, bytes32 payloadHash);
        event PacketDelivered(Origin origin, address receiver);
        event LzReceiveAlert(
            address indexed receiver,
            address indexed executor,
            Origin origin,
            bytes32 guid,
            uint256 gas,
            uint256 value,
            bytes message,
            bytes extraData,
            bytes reason
        );
        event ComposeSent(address from, address to, bytes32 guid, uint16 index, bytes message);
        event ComposeDelivered(address from, address to, bytes32 guid, uint16 index);
        event LzComposeAlert(
            address indexed from,
            address indexed to,
            address indexed executor,
            bytes32 guid,
            uint16 index,
            uint256 gas,
            uint256 value,
            bytes message,
            bytes extraData,
            bytes reason
        );
        event InboundNonceSkipped(uint32 srcEid, bytes32 sender, address receiver, uint64 nonce);
        event PacketNilified(
            uint32 srcEid, bytes32 sender, address receiver, uint64 nonce, bytes32 payloadHash
        );
        event PacketBurnt(
            uint32 srcEid, bytes32 sender, address receiver, uint64 nonce, bytes32 payloadHash
        );

        error LZ_ComposeNotFound(bytes32 expected, bytes32 actual);
        error LZ_InvalidNonce(uint64 nonce);
        error LZ_InvalidReceiveLibrary();
        error LZ_PathNotInitializable();
        error LZ_PathNotVerifiable();
        error LZ_PayloadHashNotFound(bytes32 expected, bytes32 actual);

        function eid() external view returns (uint32);
        function getSendLibrary(address sender, uint32 dstEid) external view returns (address lib);
        function isDefaultSendLibrary(address sender, uint32 dstEid)
            external view returns (bool);
        function getReceiveLibrary(address receiver, uint32 srcEid)
            external view returns (address lib, bool isDefault);
        function isValidReceiveLibrary(address receiver, uint32 srcEid, address receiveLib)
            external view returns (bool);
        function defaultReceiveLibrary(uint32 srcEid) external view returns (address lib);
        function defaultSendLibrary(uint32 dstEid) external view returns (address lib);
        function getConfig(address oapp, address lib, uint32 eid, uint32 configType)
            external view returns (bytes config);
        function delegates(address oapp) external view returns (address delegate);

        function outboundNonce(address sender, uint32 dstEid, bytes32 receiver)
            external view returns (uint64 nonce);
        function inboundNonce(address receiver, uint32 srcEid, bytes32 sender)
            external view returns (uint64);
        function lazyInboundNonce(address receiver, uint32 srcEid, bytes32 sender)
            external view returns (uint64 nonce);
        function inboundPayloadHash(address receiver, uint32 srcEid, bytes32 sender, uint64 nonce)
            external view returns (bytes32 payloadHash);
        function initializable(Origin origin, address receiver) external view returns (bool);
        function verifiable(Origin origin, address receiver) external view returns (bool);
        function composeQueue(address from, address to, bytes32 guid, uint16 index)
            external view returns (bytes32 messageHash);

        function lzReceive(
            Origin origin, address receiver, bytes32 guid, bytes message, bytes extraData
        ) external payable;
        function lzCompose(
            address from, address to, bytes32 guid, uint16 index, bytes message, bytes extraData
        ) external payable;
        function skip(address oapp, uint32 srcEid, bytes32 sender, uint64 nonce) external;
        function clear(address oapp, Origin origin, bytes32 guid, bytes message) external;
        function nilify(
            address oapp, uint32 srcEid, bytes32 sender, uint64 nonce, bytes32 payloadHash
        ) external;
        function burn(
            address oapp, uint32 srcEid, bytes32 sender, uint64 nonce, bytes32 payloadHash
        ) external;
    }

    /// States of packets as the endpoint sees them, in one call.
    #[derive(Debug, PartialEq, Eq)]
    interface EndpointV2View {
        /// 0 not executable, 1 verified but a lower nonce is not, 2 executable, 3 executed (or
        /// cleared, skipped, burnt).
        function executable(Origin origin, address receiver) external view returns (uint8 state);
    }

    /// The library that sends: pays the workers and says so just before `PacketSent`.
    #[derive(Debug, PartialEq, Eq)]
    interface SendUln302 {
        event ExecutorFeePaid(address executor, uint256 fee);
        event DVNFeePaid(address[] requiredDVNs, address[] optionalDVNs, uint256[] fees);

        function getUlnConfig(address oapp, uint32 remoteEid)
            external view returns (UlnConfig config);
        /// What the application set itself, with no default filled in.
        function getAppUlnConfig(address oapp, uint32 remoteEid)
            external view returns (UlnConfig config);
        function getExecutorConfig(address oapp, uint32 remoteEid)
            external view returns (ExecutorConfig config);
        /// What the application set itself; the zero address where it is the default.
        function executorConfigs(address oapp, uint32 remoteEid)
            external view returns (uint32 maxMessageSize, address executor);
        function version()
            external pure returns (uint64 major, uint8 minor, uint8 endpointVersion);
    }

    /// The library that receives: collects attestations and commits packets to the endpoint.
    #[derive(Debug, PartialEq, Eq)]
    interface ReceiveUln302 {
        event PayloadVerified(
            address dvn, bytes header, uint256 confirmations, bytes32 proofHash
        );

        error LZ_ULN_InvalidEid();
        error LZ_ULN_InvalidPacketHeader();
        error LZ_ULN_InvalidPacketVersion();
        error LZ_ULN_Verifying();

        function verify(bytes packetHeader, bytes32 payloadHash, uint64 confirmations) external;
        function commitVerification(bytes packetHeader, bytes32 payloadHash) external;
        function getUlnConfig(address oapp, uint32 remoteEid)
            external view returns (UlnConfig config);
        function hashLookup(bytes32 headerHash, bytes32 payloadHash, address dvn)
            external view returns (bool submitted, uint64 confirmations);
        function verifiable(UlnConfig config, bytes32 headerHash, bytes32 payloadHash)
            external view returns (bool);
        function version()
            external pure returns (uint64 major, uint8 minor, uint8 endpointVersion);
    }

    /// States of packets as the receive library sees them, in one call.
    #[derive(Debug, PartialEq, Eq)]
    interface ReceiveUln302View {
        /// 0 verifying, 1 verifiable, 2 verified, 3 not initializable. It says 2 also where the
        /// library is not the receiver's, or the nonce is executed, skipped or burnt.
        function verifiable(bytes packetHeader, bytes32 payloadHash)
            external view returns (uint8 state);
    }

    /// A call that a quorum of a DVN's signers approved.
    #[derive(Debug, PartialEq, Eq)]
    struct ExecuteParam {
        uint32 vid;
        address target;
        bytes callData;
        uint256 expiration;
        bytes signatures;
    }

    /// A DVN: makes calls for its signers. `execute` never reverts because of one bad item, so the
    /// events, not the transaction's status, say what happened.
    #[derive(Debug, PartialEq, Eq)]
    interface Dvn {
        event VerifySignaturesFailed(uint256 idx);
        event ExecuteFailed(uint256 index, bytes data);
        event HashAlreadyUsed(ExecuteParam param, bytes32 hash);

        function execute(ExecuteParam[] params) external;
        function vid() external view returns (uint32);
        function quorum() external view returns (uint64);
        function signerSize() external view returns (uint256);
        function isSigner(address signer) external view returns (bool);
        /// As `isSigner`; DVNs of every age have it.
        function signers(address signer) external view returns (bool);
        function hasRole(bytes32 role, address account) external view returns (bool);
        function hashCallData(uint32 vid, address target, bytes callData, uint256 expiration)
            external pure returns (bytes32);
        function dstConfig(uint32 dstEid)
            external view returns (uint64 gas, uint16 multiplierBps, uint128 floorMarginUSD);
        /// What it asks for attesting one packet, in wei. A contract that stands for "nobody set a
        /// DVN here" reverts.
        function getFee(uint32 dstEid, uint64 confirmations, address sender, bytes options)
            external view returns (uint256 fee);
        function priceFeed() external view returns (address);
    }

    /// What gas costs on another chain. `priceRatio` is the worth of its native token in the native
    /// token here, times 10^20; `gasPriceInUnit` is in wei there.
    #[derive(Debug, PartialEq, Eq)]
    struct Price { uint128 priceRatio; uint64 gasPriceInUnit; uint32 gasPerByte; }

    /// Where workers look up prices.
    #[derive(Debug, PartialEq, Eq)]
    interface PriceFeed {
        function getPrice(uint32 dstEid) external view returns (Price price);
    }

    /// What `execute302` delivers. `gasLimit` is for the endpoint's call, so it includes what the
    /// endpoint itself uses.
    #[derive(Debug, PartialEq, Eq)]
    struct ExecutionParams {
        address receiver;
        Origin origin;
        bytes32 guid;
        bytes message;
        bytes extraData;
        uint256 gasLimit;
    }

    /// A payment in native tokens.
    #[derive(Debug, PartialEq, Eq)]
    struct NativeDropParams { address receiver; uint256 amount; }

    /// An executor. A delivery that fails leaves an alert and a successful transaction.
    #[derive(Debug, PartialEq, Eq)]
    interface Executor {
        event NativeDropApplied(
            Origin origin, uint32 dstEid, address oapp, NativeDropParams[] params, bool[] success
        );

        function execute302(ExecutionParams executionParams) external payable;
        function nativeDropAndExecute302(
            NativeDropParams[] nativeDropParams,
            uint256 nativeDropGasLimit,
            ExecutionParams executionParams
        ) external payable;
        function compose302(
            address from,
            address to,
            bytes32 guid,
            uint16 index,
            bytes message,
            bytes extraData,
            uint256 gasLimit
        ) external payable;
        function nativeDrop(
            Origin origin,
            uint32 dstEid,
            address oapp,
            NativeDropParams[] nativeDropParams,
            uint256 nativeDropGasLimit
        ) external payable;
        function hasRole(bytes32 role, address account) external view returns (bool);
        function dstConfig(uint32 dstEid) external view returns (
            uint64 lzReceiveBaseGas,
            uint16 multiplierBps,
            uint128 floorMarginUSD,
            uint128 nativeCap,
            uint64 lzComposeBaseGas
        );
        /// What it asks for executing one packet, in wei; `options` are the executor's alone.
        function getFee(uint32 dstEid, address sender, uint256 calldataSize, bytes options)
            external view returns (uint256 fee);
        function priceFeed() external view returns (address);
    }

    /// An application.
    #[derive(Debug, PartialEq, Eq)]
    interface OApp {
        /// The nonce it will accept next; 0 where it accepts any order.
        function nextNonce(uint32 srcEid, bytes32 sender) external view returns (uint64 nonce);
        function peers(uint32 eid) external view returns (bytes32 peer);
        function allowInitializePath(Origin origin) external view returns (bool);
        /// Options that the application adds to its messages of a type (`OAppOptionsType3`).
        function enforcedOptions(uint32 eid, uint16 msgType)
            external view returns (bytes options);
        function lzReceive(
            Origin origin, bytes32 guid, bytes message, address executor, bytes extraData
        ) external payable;
    }

    /// A token contract: an OFT, or an adapter before a token. LD are local decimals.
    #[derive(Debug, PartialEq, Eq)]
    interface Oft {
        event OFTSent(
            bytes32 indexed guid,
            uint32 dstEid,
            address indexed fromAddress,
            uint256 amountSentLD,
            uint256 amountReceivedLD
        );
        event OFTReceived(
            bytes32 indexed guid,
            uint32 srcEid,
            address indexed toAddress,
            uint256 amountReceivedLD
        );
        function sharedDecimals() external view returns (uint8);
        /// 10 to the power of local less shared decimals.
        function decimalConversionRate() external view returns (uint256);
        /// The interface's id, and the version of the message's layout.
        function oftVersion() external view returns (bytes4 interfaceId, uint64 version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{hex, keccak256};
    use alloy_sol_types::{SolCall, SolEvent};

    #[test]
    fn the_admin_role_is_the_hash_of_its_name() {
        assert_eq!(ADMIN_ROLE, keccak256("ADMIN_ROLE"));
    }

    #[test]
    fn topics_are_those_seen_on_chains() {
        fn starts<E: SolEvent>(prefix: &str) {
            let topic = hex::encode(E::SIGNATURE_HASH);
            assert!(topic.starts_with(prefix), "{} has topic {topic}", E::SIGNATURE);
        }
        starts::<EndpointV2::PacketSent>(
            "1ab700d4ced0c005b164c0f789fd09fcbb0156d4c2041b8a3bfbcd961cd1567f",
        );
        starts::<EndpointV2::PacketVerified>(
            "0d87345f3d1c929caba93e1c3821b54ff3512e12b66aa3cfe54b6bcbc17e59b4",
        );
        starts::<EndpointV2::PacketDelivered>(
            "3cd5e48f9730b129dc7550f0fcea9c767b7be37837cd10e55eb35f734f4bca04",
        );
        starts::<EndpointV2::LzReceiveAlert>(
            "7edfa10fe10193301ad8a8bea7e968c7bcabcc64981f368e3aeada40ce26ae2c",
        );
        starts::<EndpointV2::ComposeSent>(
            "3d52ff888d033fd3dd1d8057da59e850c91d91a72c41dfa445b247dfedeb6dc1",
        );
        starts::<EndpointV2::ComposeDelivered>(
            "0036c98efcf9e6641dfbc9051f66f405253e8e0c2ab4a24dccda15595b7378c8",
        );
        starts::<EndpointV2::LzComposeAlert>(
            "8a0b1dce321c5c5fb42349bce46d18087c04140de520917661fb923e44a904b9",
        );
        starts::<EndpointV2::InboundNonceSkipped>("28f40053");
        starts::<EndpointV2::PacketNilified>("af0450c3");
        starts::<EndpointV2::PacketBurnt>("7f68a37a");
        starts::<SendUln302::ExecutorFeePaid>(
            "61ed099e74a97a1d7f8bb0952a88ca8b7b8ebd00c126ea04671f92a81213318a",
        );
        starts::<SendUln302::DVNFeePaid>(
            "07ea52d82345d6e838192107d8fd7123d9c2ec8e916cd0aad13fd2b60db24644",
        );
        starts::<ReceiveUln302::PayloadVerified>(
            "2cb0eed7538baeae4c6fde038c0fd0384d27de0dd55a228c65847bda6aa1ab56",
        );
        starts::<Dvn::VerifySignaturesFailed>("d6d90193");
        starts::<Dvn::ExecuteFailed>("dc8cdd96");
        starts::<Dvn::HashAlreadyUsed>("9bb9bddb");
    }

    #[test]
    fn selectors_are_those_seen_on_chains() {
        fn is<C: SolCall>(selector: [u8; 4]) {
            assert_eq!(hex::encode(C::SELECTOR), hex::encode(selector), "{}", C::SIGNATURE);
        }
        is::<ReceiveUln302::verifyCall>([0x02, 0x23, 0x53, 0x6e]);
        is::<ReceiveUln302::commitVerificationCall>([0x08, 0x94, 0xed, 0xf1]);
        is::<Dvn::executeCall>([0xb1, 0x43, 0x04, 0x4b]);
        is::<Executor::execute302Call>([0xcf, 0xc3, 0x25, 0x70]);
        is::<Executor::nativeDropAndExecute302Call>([0x86, 0x24, 0xba, 0x07]);
        is::<Executor::compose302Call>([0x7c, 0xd4, 0x47, 0x34]);
        is::<Executor::nativeDropCall>([0x47, 0x5b, 0x6d, 0x9e]);
        is::<EndpointV2::lzReceiveCall>([0x0c, 0x0c, 0x38, 0x9e]);
        is::<OApp::lzReceiveCall>([0x13, 0x13, 0x7d, 0x65]);
    }
}
