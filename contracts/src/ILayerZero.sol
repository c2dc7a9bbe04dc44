// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Where a LayerZero V2 message came from.
struct Origin {
    uint32 srcEid;
    bytes32 sender;
    uint64 nonce;
}

/// The functions of EndpointV2 that deliver a message: anyone may call them.
interface IEndpoint {
    /// Hands a committed message to its receiver.
    function lzReceive(
        Origin calldata origin,
        address receiver,
        bytes32 guid,
        bytes calldata message,
        bytes calldata extraData
    ) external payable;

    /// The committed payload's hash, or zero before it is committed and after it is executed.
    function inboundPayloadHash(address receiver, uint32 srcEid, bytes32 sender, uint64 nonce)
        external
        view
        returns (bytes32);
}

/// The function of ReceiveUln302 that makes a verified message executable: anyone may call it.
interface IReceiveLibrary {
    function commitVerification(bytes calldata header, bytes32 payloadHash) external;
}
