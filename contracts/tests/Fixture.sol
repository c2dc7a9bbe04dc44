// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchDelivery} from "../src/BatchDelivery.sol";
import {Behaviour, MockEndpoint, MockReceiveLibrary, MockReceiver} from "./Mocks.sol";
import {Vm, vm} from "./Vm.sol";

/// A destination chain, and messages on their way to it.
abstract contract Fixture {
    uint32 internal constant SOURCE = 30_901;
    uint32 internal constant DESTINATION = 30_902;
    uint64 internal constant COMMIT_GAS = 120_000;
    uint64 internal constant RECEIVE_GAS = 200_000;

    MockEndpoint internal endpoint;
    MockReceiveLibrary internal receiveLibrary;
    BatchDelivery internal batch;
    MockReceiver internal receiver;

    function setUp() public virtual {
        endpoint = new MockEndpoint();
        receiveLibrary = new MockReceiveLibrary(endpoint);
        batch = new BatchDelivery(address(endpoint));
        receiver = new MockReceiver(batch);
        vm.deal(address(this), 1_000_000 ether);
    }

    receive() external payable {}

    function header(bytes32 sender, uint64 nonce) internal view returns (bytes memory) {
        return abi.encodePacked(
            uint8(1),
            nonce,
            SOURCE,
            sender,
            DESTINATION,
            bytes32(uint256(uint160(address(receiver))))
        );
    }

    function guidOf(bytes memory packet) internal pure returns (bytes32 guid) {
        assembly {
            guid := keccak256(add(packet, 33), 80)
        }
    }

    /// A message in a lane of its own, named by `lane`.
    function item(uint96 lane, Behaviour behaviour, uint128 value)
        internal
        view
        returns (BatchDelivery.Item memory)
    {
        return itemAt(laneOf(lane, behaviour), 1, behaviour, value);
    }

    function laneOf(uint96 lane, Behaviour behaviour) internal pure returns (bytes32) {
        return bytes32(uint256(uint8(behaviour)) << 248 | uint256(lane) + 1);
    }

    function itemAt(bytes32 sender, uint64 nonce, Behaviour behaviour, uint128 value)
        internal
        view
        returns (BatchDelivery.Item memory)
    {
        return BatchDelivery.Item({
            packet: abi.encodePacked(header(sender, nonce), uint8(behaviour), new bytes(95)),
            commitGas: COMMIT_GAS,
            receiveGas: RECEIVE_GAS,
            value: value
        });
    }

    /// What the verifiers do before a message can be committed.
    function attest(BatchDelivery.Item memory item_) internal {
        (bytes memory header_, bytes32 payloadHash) = split(item_.packet);
        receiveLibrary.verify(header_, payloadHash);
    }

    function commit(BatchDelivery.Item memory item_) internal {
        (bytes memory header_, bytes32 payloadHash) = split(item_.packet);
        receiveLibrary.verify(header_, payloadHash);
        receiveLibrary.commitVerification(header_, payloadHash);
    }

    function split(bytes memory packet)
        internal
        view
        returns (bytes memory header_, bytes32 payloadHash)
    {
        return this.splitCalldata(packet, guidOf(packet));
    }

    function splitCalldata(bytes calldata packet, bytes32 guid)
        external
        pure
        returns (bytes memory, bytes32)
    {
        return (packet[:81], keccak256(abi.encodePacked(guid, packet[81:])));
    }

    function one(BatchDelivery.Item memory item_)
        internal
        pure
        returns (BatchDelivery.Item[] memory items)
    {
        items = new BatchDelivery.Item[](1);
        items[0] = item_;
    }

    function two(BatchDelivery.Item memory first, BatchDelivery.Item memory second)
        internal
        pure
        returns (BatchDelivery.Item[] memory items)
    {
        items = new BatchDelivery.Item[](2);
        items[0] = first;
        items[1] = second;
    }

    function deliver(BatchDelivery.Item[] memory items, uint256 value)
        internal
        returns (BatchDelivery.Result[] memory)
    {
        return batch.deliver{value: value}(address(receiveLibrary), items);
    }

    /// As if this were a new transaction's first call.
    function coolAll() internal {
        vm.cool(address(endpoint));
        vm.cool(address(receiveLibrary));
        vm.cool(address(batch));
        vm.cool(address(receiver));
    }

    function assertOutcome(BatchDelivery.Result memory result, BatchDelivery.Outcome outcome)
        internal
        pure
    {
        assertEq(uint8(result.outcome), uint8(outcome), "outcome");
    }

    function assertEq(uint256 have, uint256 want, string memory what) internal pure {
        if (have != want) revert Unequal(what, bytes32(have), bytes32(want));
    }

    function assertEq(bytes memory have, bytes memory want, string memory what) internal pure {
        if (keccak256(have) != keccak256(want)) revert UnequalBytes(what, have, want);
    }

    function assertTrue(bool holds, string memory what) internal pure {
        if (!holds) revert Untrue(what);
    }

    error Unequal(string what, bytes32 have, bytes32 want);
    error UnequalBytes(string what, bytes have, bytes want);
    error Untrue(string what);
}
