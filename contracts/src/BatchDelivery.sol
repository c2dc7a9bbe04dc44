// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IEndpoint, IReceiveLibrary, Origin} from "./ILayerZero.sol";

/// Commits and executes many LayerZero V2 messages in one transaction, each for itself: an item that
/// fails, burns its gas or answers with a megabyte takes neither gas nor value from the others.
///
/// Anyone may call it, since commit and execution are open to anyone. It has no owner and keeps
/// nothing: value that was not delivered goes back to the caller in the same call.
contract BatchDelivery {
    /// One message, and what may be spent on it.
    struct Item {
        /// The header (81 bytes), then the message: what PacketSent emits, without the guid between.
        bytes packet;
        /// Gas that the receive library's commitVerification may use; 0 does not commit.
        uint64 commitGas;
        /// Gas that the endpoint's lzReceive may use, the receiver's share and the endpoint's own
        /// (the EVM adds its 2,300 to a call with value); 0 does not execute.
        uint64 receiveGas;
        /// Value for the receiver, in the chain's smallest unit.
        uint128 value;
    }

    /// How an item ended.
    enum Outcome {
        /// All that was asked for was done.
        Done,
        /// Not tried: the packet is shorter than a header.
        Malformed,
        /// Less gas was left than the item's limits promise it: it was not tried.
        OutOfGas,
        /// The commit failed and the payload is not committed either. It was not executed.
        CommitFailed,
        /// The endpoint or the receiver reverted, or used up the gas. A commit before it holds.
        ReceiveFailed
    }

    /// What a simulation wants to know of an item.
    struct Result {
        Outcome outcome;
        /// Gas that commitVerification used, before refunds.
        uint64 commitGasUsed;
        /// Gas that lzReceive used, before refunds.
        uint64 receiveGasUsed;
        /// The first bytes of what the failed call reverted with.
        bytes reason;
    }

    /// An item that is not Done. Success is told by the endpoint's own events. `guid` is zero for a
    /// malformed item.
    event ItemFailed(bytes32 indexed guid, Outcome outcome, bytes reason);

    /// The endpoint or the receive library has no code.
    error NotAContract(address account);
    /// `deliver` was called from within `deliver`.
    error Reentered();
    /// The caller does not take back the value that was not delivered.
    error RefundFailed();
    /// The items' values add up to more than was sent along.
    error ValueTooLow(uint256 needed, uint256 sent);

    uint256 private constant HEADER_LENGTH = 81;
    /// Bytes of a failed call's answer that are kept.
    uint256 private constant REASON_LENGTH = 256;

    // What this contract needs itself, beside the gas of the calls it makes: upper bounds, held up
    // by the tests that run out of gas at every point.

    /// For an item's calls and the report of its failure, beside copying its message twice.
    uint256 private constant ITEM_GAS = 30_000;
    /// The part of ITEM_GAS that is still ahead once the item is committed.
    uint256 private constant RECEIVE_GAS = 18_000;
    /// For reporting one item as not tried.
    uint256 private constant REPORT_GAS = 5_000;
    /// For the end of a batch.
    uint256 private constant END_GAS = 5_000;
    /// For giving value back, to a caller that may be a contract.
    uint256 private constant REFUND_GAS = 40_000;

    /// The EndpointV2 that messages are delivered through.
    IEndpoint public immutable endpoint;

    /// A receiver that calls `deliver` again could not reach the batch's value, but it could emit
    /// reports about the batch's items.
    bool private transient entered;

    constructor(address endpoint_) {
        require(endpoint_.code.length != 0, NotAContract(endpoint_));
        endpoint = IEndpoint(endpoint_);
    }

    /// Commits and executes `items` in their order.
    ///
    /// @param receiveLibrary The library that holds the verification of all items to be committed.
    ///        It is the caller's to choose: the endpoint takes the word of none but the receiver's.
    /// @return results One for each item, in the same order.
    function deliver(address receiveLibrary, Item[] calldata items)
        external
        payable
        returns (Result[] memory results)
    {
        require(!entered, Reentered());
        entered = true;
        require(receiveLibrary.code.length != 0, NotAContract(receiveLibrary));
        uint256 needed = _sumOfValues(items);
        require(needed <= msg.value, ValueTooLow(needed, msg.value));

        // Counted, not read from the balance: nothing but this call's own value is ever spent.
        uint256 left = msg.value;
        results = new Result[](items.length);
        uint256 reserve = END_GAS + items.length * REPORT_GAS;
        if (msg.value != 0) reserve += REFUND_GAS;
        for (uint256 i = 0; i < items.length; ++i) {
            reserve -= REPORT_GAS;
            left -= _deliver(receiveLibrary, items[i], reserve, results[i]);
        }
        if (left != 0) require(_call(msg.sender, gasleft(), left, ""), RefundFailed());
        entered = false;
    }

    function _sumOfValues(Item[] calldata items) private pure returns (uint256 sum) {
        for (uint256 i = 0; i < items.length; ++i) {
            sum += items[i].value;
        }
    }

    /// Returns the value that was spent. `reserve` is the gas that must be left after this item.
    function _deliver(
        address receiveLibrary,
        Item calldata item,
        uint256 reserve,
        Result memory result
    ) private returns (uint256) {
        bytes calldata packet = item.packet;
        if (packet.length < HEADER_LENGTH) return _fail(result, 0, Outcome.Malformed);
        bytes calldata header = packet[:HEADER_LENGTH];
        bytes calldata message = packet[HEADER_LENGTH:];
        bytes32 guid = keccak256(header[1:]);

        (uint256 commitGas, uint256 receiveGas) = (item.commitGas, item.receiveGas);
        uint256 copyGas = _copyGas(message.length);
        if (!_fits(commitGas + receiveGas, reserve + 2 * copyGas + ITEM_GAS)) {
            return _fail(result, guid, Outcome.OutOfGas);
        }
        if (commitGas != 0) {
            bytes32 payloadHash = _payloadHash(guid, message);
            if (!_commit(receiveLibrary, header, payloadHash, commitGas, result)) {
                result.reason = _returned();
                if (_committed(header) != payloadHash) {
                    return _fail(result, guid, Outcome.CommitFailed);
                }
                result.reason = "";
            }
        }
        if (receiveGas == 0) return 0;
        if (!_fits(receiveGas, reserve + copyGas + RECEIVE_GAS)) {
            return _fail(result, guid, Outcome.OutOfGas);
        }
        uint256 value = item.value;
        if (!_receive(header, guid, message, receiveGas, value, result)) {
            result.reason = _returned();
            return _fail(result, guid, Outcome.ReceiveFailed);
        }
        return value;
    }

    function _commit(
        address receiveLibrary,
        bytes calldata header,
        bytes32 payloadHash,
        uint256 gasLimit,
        Result memory result
    ) private returns (bool success) {
        uint256 mark = _freeMemory();
        bytes memory data =
            abi.encodeCall(IReceiveLibrary.commitVerification, (header, payloadHash));
        uint256 gasBefore = gasleft();
        success = _call(receiveLibrary, gasLimit, 0, data);
        result.commitGasUsed = uint64(gasBefore - gasleft());
        _releaseMemory(mark);
    }

    function _receive(
        bytes calldata header,
        bytes32 guid,
        bytes calldata message,
        uint256 gasLimit,
        uint256 value,
        Result memory result
    ) private returns (bool success) {
        uint256 mark = _freeMemory();
        (Origin memory from, address receiver) = _route(header);
        bytes memory data = abi.encodeCall(IEndpoint.lzReceive, (from, receiver, guid, message, ""));
        uint256 gasBefore = gasleft();
        success = _call(address(endpoint), gasLimit, value, data);
        result.receiveGasUsed = uint64(gasBefore - gasleft());
        _releaseMemory(mark);
    }

    function _committed(bytes calldata header) private view returns (bytes32) {
        (Origin memory from, address receiver) = _route(header);
        return endpoint.inboundPayloadHash(receiver, from.srcEid, from.sender, from.nonce);
    }

    function _fail(Result memory result, bytes32 guid, Outcome outcome) private returns (uint256) {
        result.outcome = outcome;
        emit ItemFailed(guid, outcome, result.reason);
        return 0;
    }

    /// Whether a call gets `limit` in full (the EVM gives it 63/64 of what is left, silently), and
    /// `reserve` is still there when all of it is burnt.
    function _fits(uint256 limit, uint256 reserve) private view returns (bool) {
        return gasleft() > limit + limit / 63 + reserve;
    }

    /// An upper bound of what it costs to copy a message into memory once, and to hash it there.
    function _copyGas(uint256 length) private pure returns (uint256) {
        uint256 words = length / 32;
        return 16 * words + words * words / 256;
    }

    /// The header: version (1 byte), nonce (8), source eid (4), sender (32), destination eid (4),
    /// receiver (32, of which an EVM address is the low 20).
    function _route(bytes calldata header)
        private
        pure
        returns (Origin memory from, address receiver)
    {
        assembly ("memory-safe") {
            mstore(from, shr(224, calldataload(add(header.offset, 9))))
            mstore(add(from, 32), calldataload(add(header.offset, 13)))
            mstore(add(from, 64), shr(192, calldataload(add(header.offset, 1))))
            receiver := shr(96, calldataload(add(header.offset, 61)))
        }
    }

    /// keccak256(guid ‖ message), in memory that is not kept.
    function _payloadHash(bytes32 guid, bytes calldata message)
        private
        pure
        returns (bytes32 hash)
    {
        assembly ("memory-safe") {
            let payload := mload(0x40)
            mstore(payload, guid)
            calldatacopy(add(payload, 32), message.offset, message.length)
            hash := keccak256(payload, add(32, message.length))
        }
    }

    /// A call that copies nothing of the answer.
    function _call(address target, uint256 gasLimit, uint256 value, bytes memory data)
        private
        returns (bool success)
    {
        assembly ("memory-safe") {
            success := call(gasLimit, target, value, add(data, 32), mload(data), 0, 0)
        }
    }

    /// The first bytes of the last call's answer.
    function _returned() private pure returns (bytes memory reason) {
        assembly ("memory-safe") {
            let length := returndatasize()
            if gt(length, REASON_LENGTH) { length := REASON_LENGTH }
            reason := mload(0x40)
            mstore(reason, length)
            returndatacopy(add(reason, 32), 0, length)
            mstore(0x40, add(reason, and(add(length, 63), not(31))))
        }
    }

    // Call data is dropped as soon as the call was made, so that memory, whose price grows with its
    // square, grows with the largest item rather than with their sum.

    function _freeMemory() private pure returns (uint256 mark) {
        assembly ("memory-safe") {
            mark := mload(0x40)
        }
    }

    function _releaseMemory(uint256 mark) private pure {
        assembly ("memory-safe") {
            mstore(0x40, mark)
        }
    }
}
