// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchDelivery} from "../src/BatchDelivery.sol";
import {Fixture} from "./Fixture.sol";
import {Behaviour, MeterEndpoint} from "./Mocks.sol";
import {vm} from "./Vm.sol";

/// The promise about gas: an item gets all of its limit or is not tried, it never gets more, and
/// there is always enough left to finish the batch.
contract GasTest is Fixture {
    event log_named_uint(string key, uint256 value);

    uint256 private constant ITEMS = 4;

    function test_delivered_items_got_their_limit_and_no_more() public {
        BatchDelivery.Item[] memory items =
            two(item(0, Behaviour.Accept, 0), item(1, Behaviour.Accept, 1 ether));
        attest(items[0]);
        attest(items[1]);
        deliver(items, 1 ether);
        _assertLimit(endpoint.gasAtEntry(guidOf(items[0].packet)), RECEIVE_GAS);
        // The EVM's gift to a call with value.
        _assertLimit(endpoint.gasAtEntry(guidOf(items[1].packet)), RECEIVE_GAS + 2_300);
    }

    function test_out_of_gas_at_every_point() public {
        _outOfGasAtEveryPoint(Scan(96, 0, Commit.None, 101));
    }

    function test_out_of_gas_at_every_point_with_value() public {
        _outOfGasAtEveryPoint(Scan(96, 1 ether, Commit.None, 101));
    }

    function test_out_of_gas_at_every_point_of_failing_commits() public {
        _outOfGasAtEveryPoint(Scan(96, 1 ether, Commit.Fails, 101));
    }

    function test_out_of_gas_at_every_point_of_commits_made_by_others() public {
        _outOfGasAtEveryPoint(Scan(96, 1 ether, Commit.AlreadyThere, 101));
    }

    function test_out_of_gas_at_every_point_with_long_messages() public {
        _outOfGasAtEveryPoint(Scan(10_000, 1 ether, Commit.AlreadyThere, 503));
        _outOfGasAtEveryPoint(Scan(100_000, 0, Commit.AlreadyThere, 2_003));
    }

    enum Commit {
        None,
        Fails,
        AlreadyThere
    }

    struct Scan {
        uint256 length;
        uint128 value;
        Commit commit;
        uint256 step;
    }

    /// Calls with ever more gas, until the batch goes through.
    function _outOfGasAtEveryPoint(Scan memory scan) private {
        MeterEndpoint meter = new MeterEndpoint();
        BatchDelivery metered = new BatchDelivery(address(meter));
        BatchDelivery.Item[] memory items = _items(scan, meter);
        bytes memory data = abi.encodeCall(BatchDelivery.deliver, (address(meter), items));

        bool through = false;
        // With less than this the call may revert as a whole: nothing was done then.
        uint256 enough = 25_000 + ITEMS * 6_000 + (scan.value == 0 ? 0 : 40_000);
        uint256 mark;
        assembly {
            mark := mload(0x40)
        }
        for (uint256 limit = enough; !through; limit += scan.step) {
            vm.cool(address(meter));
            vm.cool(address(metered));
            (bool success, bytes memory answer) =
                address(metered).call{gas: limit, value: scan.value * ITEMS}(data);
            assertTrue(success, "the batch always ends well");
            through = _assertPromise(abi.decode(answer, (BatchDelivery.Result[])), items, scan);
            // Thousands of answers would outgrow the test's memory.
            assembly {
                mstore(0x40, mark)
            }
        }
    }

    /// Burns and reports by turns, so that each report comes after the worst.
    function _items(Scan memory scan, MeterEndpoint meter)
        private
        returns (BatchDelivery.Item[] memory items)
    {
        items = new BatchDelivery.Item[](ITEMS);
        for (uint256 i = 0; i < ITEMS; ++i) {
            Behaviour behaviour = i % 2 == 0 ? Behaviour.Burn : Behaviour.Accept;
            bytes32 lane = laneOf(uint96(i), behaviour);
            items[i].packet =
                abi.encodePacked(header(lane, 1), uint8(behaviour), new bytes(scan.length));
            items[i].value = scan.value;
            items[i].receiveGas = 40_000;
            if (scan.commit == Commit.None || (scan.commit == Commit.Fails && i % 2 == 1)) {
                continue;
            }
            items[i].commitGas = 70_000;
            if (scan.commit == Commit.Fails) continue;
            (, bytes32 payloadHash) = split(items[i].packet);
            meter.setCommitted(lane, payloadHash);
        }
    }

    /// Whether all items were tried.
    function _assertPromise(
        BatchDelivery.Result[] memory results,
        BatchDelivery.Item[] memory items,
        Scan memory scan
    ) private pure returns (bool all) {
        all = true;
        for (uint256 i = 0; i < results.length; ++i) {
            BatchDelivery.Result memory result = results[i];
            if (result.outcome == BatchDelivery.Outcome.OutOfGas) {
                assertEq(result.commitGasUsed, 0, "not tried at all");
                assertEq(result.receiveGasUsed, 0, "not tried at all");
                all = false;
                continue;
            }
            if (items[i].commitGas != 0) _assertBurnt(result.commitGasUsed, 70_000);
            if (items[i].commitGas != 0 && scan.commit == Commit.Fails) {
                assertOutcome(result, BatchDelivery.Outcome.CommitFailed);
                continue;
            }
            assertOutcome(result, BatchDelivery.Outcome.ReceiveFailed);
            uint256 stipend = scan.value == 0 ? 0 : 2_300;
            if (i % 2 == 0) {
                assertTrue(result.receiveGasUsed + 1_000 > 40_000, "all burnt");
                assertEq(result.reason.length, 256, "a long reason");
            } else {
                _assertLimit(abi.decode(result.reason, (uint256)), 40_000 + stipend);
            }
        }
    }

    /// The burner stops a little before the end, and the call itself costs more when cold.
    function _assertBurnt(uint256 used, uint256 limit) private pure {
        assertTrue(used <= limit + 3_000, "no more than the limit and the call");
        assertTrue(used + 1_000 > limit, "all of the limit");
    }

    /// Entering a function costs a little before it can look at its gas.
    function _assertLimit(uint256 have, uint256 limit) private pure {
        assertTrue(have <= limit, "no more than the limit");
        assertTrue(have + 1_000 > limit, "all of the limit");
    }

    function test_report_gas_per_item() public {
        emit log_named_uint("gas of 1 message", _measure(1, 1_000));
        uint256 ten = _measure(10, 2_000);
        uint256 twentyFive = _measure(25, 3_000);
        uint256 fifty = _measure(50, 4_000);
        emit log_named_uint("gas a message, 10", ten / 10);
        emit log_named_uint("gas a message, 25", twentyFive / 25);
        emit log_named_uint("gas a message, 50", fifty / 50);
        emit log_named_uint("gas of one more message", (fifty - twentyFive) / 25);
        emit log_named_uint("of it commit", commitGasUsed / 50);
        emit log_named_uint("of it receive", receiveGasUsed / 50);
        uint256 own = (fifty - commitGasUsed - receiveGasUsed) / 50;
        emit log_named_uint("of it this contract", own);
        assertTrue(own < 4_500, "this contract's own share stays small");
    }

    uint256 private commitGasUsed;
    uint256 private receiveGasUsed;

    function _returnedLength() private pure returns (uint256 length) {
        assembly {
            length := returndatasize()
        }
    }

    /// Without the transaction's base and call data.
    function _measure(uint256 count, uint64 lane) private returns (uint256 used) {
        BatchDelivery.Item[] memory items = new BatchDelivery.Item[](count);
        for (uint64 i = 0; i < count; ++i) {
            items[i] = itemAt(laneOf(lane, Behaviour.Accept), i + 1, Behaviour.Accept, 0);
            attest(items[i]);
        }
        bytes memory data = abi.encodeCall(BatchDelivery.deliver, (address(receiveLibrary), items));
        address target = address(batch);
        coolAll();
        bool success;
        assembly {
            used := gas()
            success := call(gas(), target, 0, add(data, 32), mload(data), 0, 0)
            used := sub(used, gas())
        }
        assertTrue(success, "delivered");
        bytes memory answer = new bytes(_returnedLength());
        assembly {
            returndatacopy(add(answer, 32), 0, returndatasize())
        }
        BatchDelivery.Result[] memory results = abi.decode(answer, (BatchDelivery.Result[]));
        (commitGasUsed, receiveGasUsed) = (0, 0);
        for (uint256 i = 0; i < count; ++i) {
            assertOutcome(results[i], BatchDelivery.Outcome.Done);
            commitGasUsed += results[i].commitGasUsed;
            receiveGasUsed += results[i].receiveGasUsed;
        }
    }
}
