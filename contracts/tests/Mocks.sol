// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchDelivery} from "../src/BatchDelivery.sol";
import {IEndpoint, IReceiveLibrary, Origin} from "../src/ILayerZero.sol";

/// Behaves as EndpointV2 does towards those who deliver: gapless commits, execution in any order,
/// each message once, all of the receiver's answer passed on.
contract MockEndpoint is IEndpoint {
    event PacketDelivered(Origin origin, address receiver);

    error InvalidNonce(uint64 gap);
    error PathNotInitializable();
    error PathNotVerifiable();
    error PayloadHashNotFound(bytes32 found, bytes32 provided);

    mapping(address => mapping(uint32 => mapping(bytes32 => mapping(uint64 => bytes32)))) public
        inboundPayloadHash;
    mapping(address => mapping(uint32 => mapping(bytes32 => uint64))) public lazyInboundNonce;
    /// The gas that a delivered message's call began with.
    mapping(bytes32 guid => uint256) public gasAtEntry;

    function verify(Origin calldata origin, address receiver, bytes32 payloadHash) external {
        uint64 lazy = lazyInboundNonce[receiver][origin.srcEid][origin.sender];
        if (lazy == 0 && !MockReceiver(payable(receiver)).allowInitializePath(origin)) {
            revert PathNotInitializable();
        }
        mapping(uint64 => bytes32) storage hashes =
            inboundPayloadHash[receiver][origin.srcEid][origin.sender];
        if (origin.nonce <= lazy && hashes[origin.nonce] == 0) revert PathNotVerifiable();
        hashes[origin.nonce] = payloadHash;
    }

    function lzReceive(
        Origin calldata origin,
        address receiver,
        bytes32 guid,
        bytes calldata message,
        bytes calldata extraData
    ) external payable {
        uint256 entry = gasleft();
        mapping(uint64 => bytes32) storage hashes =
            inboundPayloadHash[receiver][origin.srcEid][origin.sender];
        uint64 lazy = lazyInboundNonce[receiver][origin.srcEid][origin.sender];
        if (origin.nonce > lazy) {
            for (uint64 nonce = lazy + 1; nonce <= origin.nonce; ++nonce) {
                if (hashes[nonce] == 0) revert InvalidNonce(nonce);
            }
            lazyInboundNonce[receiver][origin.srcEid][origin.sender] = origin.nonce;
        }
        bytes32 provided = keccak256(abi.encodePacked(guid, message));
        if (hashes[origin.nonce] != provided) {
            revert PayloadHashNotFound(hashes[origin.nonce], provided);
        }
        delete hashes[origin.nonce];
        gasAtEntry[guid] = entry;
        MockReceiver(payable(receiver)).lzReceive{value: msg.value}(
            origin, guid, message, msg.sender, extraData
        );
        emit PacketDelivered(origin, receiver);
    }
}

/// Behaves as ReceiveUln302 does towards those who commit.
contract MockReceiveLibrary is IReceiveLibrary {
    error Verifying();

    MockEndpoint private immutable endpoint;
    mapping(bytes32 headerHash => mapping(bytes32 payloadHash => bool)) public verified;

    constructor(MockEndpoint endpoint_) {
        endpoint = endpoint_;
    }

    function verify(bytes calldata header, bytes32 payloadHash) external {
        verified[keccak256(header)][payloadHash] = true;
    }

    function commitVerification(bytes calldata header, bytes32 payloadHash) external {
        bytes32 headerHash = keccak256(header);
        if (!verified[headerHash][payloadHash]) revert Verifying();
        delete verified[headerHash][payloadHash];
        Origin memory origin = Origin({
            srcEid: uint32(bytes4(header[9:13])),
            sender: bytes32(header[13:45]),
            nonce: uint64(bytes8(header[1:9]))
        });
        endpoint.verify(origin, address(uint160(uint256(bytes32(header[49:81])))), payloadHash);
    }
}

/// Fails every commit with a megabyte.
contract BombLibrary is IReceiveLibrary {
    function commitVerification(bytes calldata, bytes32) external pure {
        assembly {
            revert(0, 1000000)
        }
    }
}

/// Endpoint and receive library in one. Reports by its revert how much gas it was called with, or
/// burns it to the last and answers as much as is listened to.
contract MeterEndpoint {
    /// By sender.
    mapping(bytes32 => bytes32) private committed;

    function setCommitted(bytes32 sender, bytes32 payloadHash) external {
        committed[sender] = payloadHash;
    }

    function lzReceive(Origin calldata, address, bytes32, bytes calldata message, bytes calldata)
        external
        payable
    {
        if (uint8(message[0]) == uint8(Behaviour.Burn)) _burn();
        assembly {
            mstore(0, gas())
            revert(0, 32)
        }
    }

    function inboundPayloadHash(address, uint32, bytes32 sender, uint64)
        external
        view
        returns (bytes32)
    {
        return committed[sender];
    }

    function commitVerification(bytes calldata, bytes32) external view {
        _burn();
    }

    function _burn() private view {
        assembly {
            for {} gt(gas(), 500) {} {}
            revert(0, 256)
        }
    }
}

/// What a receiver does, by the first byte of the message.
enum Behaviour {
    Accept,
    Revert,
    Burn,
    RevertWithMegabyte,
    ReturnMegabyte,
    Reenter,
    ReenterQuietly,
    BurnAtCommit
}

/// An application that does what the message says.
contract MockReceiver {
    error Refused(uint256 code);

    BatchDelivery private immutable batch;
    uint256 public delivered;
    bytes public answer;

    constructor(BatchDelivery batch_) {
        batch = batch_;
    }

    /// The sender stands for the behaviour, since the endpoint tells no more of the message here.
    function allowInitializePath(Origin calldata origin) external pure returns (bool) {
        if (uint8(origin.sender[0]) == uint8(Behaviour.BurnAtCommit)) {
            assembly {
                invalid()
            }
        }
        return true;
    }

    function lzReceive(Origin calldata, bytes32, bytes calldata message, address, bytes calldata)
        external
        payable
    {
        ++delivered;
        Behaviour behaviour = Behaviour(uint8(message[0]));
        if (behaviour == Behaviour.Revert) revert Refused(7);
        if (behaviour == Behaviour.Burn) {
            assembly {
                invalid()
            }
        }
        if (behaviour == Behaviour.RevertWithMegabyte) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (behaviour == Behaviour.ReturnMegabyte) {
            assembly {
                return(0, 1000000)
            }
        }
        if (behaviour == Behaviour.Reenter || behaviour == Behaviour.ReenterQuietly) {
            _reenter(behaviour == Behaviour.ReenterQuietly);
        }
    }

    /// Asks for a wei of the batch's value, without sending any.
    function _reenter(bool quietly) private {
        BatchDelivery.Item[] memory items = new BatchDelivery.Item[](1);
        items[0].packet = new bytes(81);
        items[0].receiveGas = 50_000;
        items[0].value = 1;
        (bool success, bytes memory reason) =
            address(batch).call(abi.encodeCall(BatchDelivery.deliver, (address(this), items)));
        if (success) revert Refused(8);
        if (quietly) answer = reason;
        else _bubble(reason);
    }

    function _bubble(bytes memory reason) private pure {
        assembly {
            revert(add(reason, 32), mload(reason))
        }
    }
}

/// A caller that takes no value back.
contract StubbornCaller {
    function deliver(
        BatchDelivery batch,
        address receiveLibrary,
        BatchDelivery.Item[] calldata items
    ) external payable {
        batch.deliver{value: msg.value}(receiveLibrary, items);
    }
}
