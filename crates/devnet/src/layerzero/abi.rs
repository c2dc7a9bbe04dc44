//! The functions of the LayerZero V2 contracts that the development network calls, written down
//! from the published formats. Only what is called is here.

// The names and meanings are the contracts' own.
#![allow(missing_docs)]

use alloy_sol_types::sol;

sol! {
    struct Origin { uint32 srcEid; bytes32 sender; uint64 nonce; }
    struct MessagingFee { uint256 nativeFee; uint256 lzTokenFee; }

    struct UlnConfig {
        uint64 confirmations;
        uint8 requiredDVNCount;
        uint8 optionalDVNCount;
        uint8 optionalDVNThreshold;
        address[] requiredDVNs;
        address[] optionalDVNs;
    }
    struct UlnConfigParam { uint32 eid; UlnConfig config; }
    struct ExecutorConfig { uint32 maxMessageSize; address executor; }
    struct ExecutorConfigParam { uint32 eid; ExecutorConfig config; }

    interface IEndpoint {
        event PacketSent(bytes encodedPacket, bytes options, address sendLibrary);
        event PacketVerified(Origin origin, address receiver, bytes32 payloadHash);
        event PacketDelivered(Origin origin, address receiver);

        function registerLibrary(address lib) external;
        function setDefaultSendLibrary(uint32 eid, address newLib) external;
        function setDefaultReceiveLibrary(uint32 eid, address newLib, uint256 gracePeriod) external;
        function outboundNonce(address sender, uint32 dstEid, bytes32 receiver)
            external view returns (uint64);
        function eid() external view returns (uint32);
        struct SetConfigParam { uint32 eid; uint32 configType; bytes config; }
        function setConfig(address oapp, address lib, SetConfigParam[] params) external;
        function lzReceive(Origin origin, address receiver, bytes32 guid, bytes message, bytes extraData) external payable;
        function inboundPayloadHash(address receiver, uint32 srcEid, bytes32 sender, uint64 nonce) external view returns (bytes32);
    }

    interface IMessageLib {
        event DVNFeePaid(address[] requiredDVNs, address[] optionalDVNs, uint256[] fees);
        event ExecutorFeePaid(address executor, uint256 fee);
        event PayloadVerified(address dvn, bytes header, uint256 confirmations, bytes32 proofHash);

        function setDefaultUlnConfigs(UlnConfigParam[] params) external;
        function setDefaultExecutorConfigs(ExecutorConfigParam[] params) external;
        function setTreasury(address treasury) external;
        function verify(bytes packetHeader, bytes32 payloadHash, uint64 confirmations) external;
        function commitVerification(bytes packetHeader, bytes32 payloadHash) external;
    }

    interface ITreasury {
        function setNativeFeeBP(uint256 nativeBP) external;
    }

    interface IPriceFeed {
        struct Price { uint128 priceRatio; uint64 gasPriceInUnit; uint32 gasPerByte; }
        struct UpdatePrice { uint32 eid; Price price; }

        function initialize(address priceUpdater) external;
        function setPrice(UpdatePrice[] prices) external;
        function setNativeTokenPriceUSD(uint128 price) external;
    }

    interface IWorker {
        function setWorkerFeeLib(address workerFeeLib) external;
    }

    interface IDVN {
        struct DstConfigParam { uint32 dstEid; uint64 gas; uint16 multiplierBps; uint128 floorMarginUSD; }
        struct ExecuteParam { uint32 vid; address target; bytes callData; uint256 expiration; bytes signatures; }

        function setDstConfig(DstConfigParam[] params) external;
        function execute(ExecuteParam[] params) external;
        function hashCallData(uint32 vid, address target, bytes callData, uint256 expiration) external pure returns (bytes32);
    }

    interface IExecutor {
        struct DstConfigParam {
            uint32 dstEid;
            uint64 lzReceiveBaseGas;
            uint64 lzComposeBaseGas;
            uint16 multiplierBps;
            uint128 floorMarginUSD;
            uint128 nativeCap;
        }
        struct ExecutionParams {
            address receiver;
            Origin origin;
            bytes32 guid;
            bytes message;
            bytes extraData;
            uint256 gasLimit;
        }

        function initialize(address endpoint, address receiveUln301, address[] messageLibs, address priceFeed, address roleAdmin, address[] admins) external;
        function setDstConfig(DstConfigParam[] params) external;
        function execute302(ExecutionParams params) external payable;
    }

    interface IEndpointView {
        function initialize(address endpoint) external;
        function executable(Origin origin, address receiver) external view returns (uint8);
    }

    interface IReceiveUlnView {
        function initialize(address endpoint, address receiveUln302) external;
        function verifiable(bytes packetHeader, bytes32 payloadHash) external view returns (uint8);
    }

    interface ILzExecutor {
        function initialize(address receiveUln302, address receiveUln302View, address endpoint) external;
    }

    interface IMultiCall {
        struct Call { address target; bytes data; uint256 gasLimit; uint256 value; bool revertOnError; }

        function multiCall(Call[] calls) external payable;
    }

    interface IOApp {
        function setPeer(uint32 eid, bytes32 peer) external;
    }

    interface IOAppMock {
        function quote(uint32 dstEid, string message, bytes options, bool payInLzToken) external view returns (MessagingFee fee);
        function send(uint32 dstEid, string message, bytes options, uint256 nativeFee) external payable;
        function data() external view returns (string);
    }

    interface IERC20 {
        function approve(address spender, uint256 value) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
        function totalSupply() external view returns (uint256);
        function mint(address to, uint256 value) external;
    }

    interface IOFT {
        struct SendParam {
            uint32 dstEid;
            bytes32 to;
            uint256 amountLD;
            uint256 minAmountLD;
            bytes extraOptions;
            bytes composeMsg;
            bytes oftCmd;
        }

        function quoteSend(SendParam sendParam, bool payInLzToken) external view returns (MessagingFee fee);
        function send(SendParam sendParam, MessagingFee fee, address refundAddress) external payable;
    }

    interface IOmniCounter {
        function quote(uint32 eid, uint8 msgType, bytes options) external view returns (uint256 nativeFee, uint256 lzTokenFee);
        function increment(uint32 eid, uint8 msgType, bytes options) external payable;
        function setOrderedNonce(bool orderedNonce) external;
        function count() external view returns (uint256);
        function composedCount() external view returns (uint256);
    }
}
