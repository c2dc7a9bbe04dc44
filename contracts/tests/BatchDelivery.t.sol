// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchDelivery} from "../src/BatchDelivery.sol";
import {Fixture} from "./Fixture.sol";
import {
    Behaviour,
    BombLibrary,
    MockEndpoint,
    MockReceiveLibrary,
    MockReceiver,
    StubbornCaller
} from "./Mocks.sol";
import {Vm, vm} from "./Vm.sol";

contract BatchDeliveryTest is Fixture {
    function test_commits_and_executes() public {
        BatchDelivery.Item[] memory items =
            two(item(0, Behaviour.Accept, 0), item(1, Behaviour.Accept, 3 ether));
        attest(items[0]);
        attest(items[1]);
        uint256 before = address(this).balance;

        BatchDelivery.Result[] memory results = deliver(items, 5 ether);

        assertOutcome(results[0], BatchDelivery.Outcome.Done);
        assertOutcome(results[1], BatchDelivery.Outcome.Done);
        assertTrue(results[1].commitGasUsed > 10_000, "commit gas is told");
        assertTrue(results[1].receiveGasUsed > 10_000, "receive gas is told");
        assertEq(receiver.delivered(), 2, "delivered");
        assertEq(address(receiver).balance, 3 ether, "value delivered");
        assertEq(address(this).balance, before - 3 ether, "leftover is back");
        assertEq(address(batch).balance, 0, "nothing is kept");
    }

    function test_selectors_and_event_are_those_of_the_formats() public pure {
        assertTrue(BatchDelivery.deliver.selector == 0x198a2029, "deliver");
        assertTrue(MockReceiveLibrary.commitVerification.selector == 0x0894edf1, "commit");
        assertTrue(MockEndpoint.lzReceive.selector == 0x0c0c389e, "lzReceive");
        assertTrue(
            BatchDelivery.ItemFailed.selector == keccak256("ItemFailed(bytes32,uint8,bytes)"),
            "ItemFailed"
        );
    }

    function test_lane_is_committed_without_gaps_though_one_message_fails() public {
        bytes32 lane = laneOf(0, Behaviour.Accept);
        BatchDelivery.Item[] memory items = new BatchDelivery.Item[](3);
        items[0] = itemAt(lane, 1, Behaviour.Accept, 0);
        items[1] = itemAt(lane, 2, Behaviour.Revert, 0);
        items[2] = itemAt(lane, 3, Behaviour.Accept, 0);
        for (uint256 i = 0; i < 3; ++i) {
            attest(items[i]);
        }

        BatchDelivery.Result[] memory results = deliver(items, 0);

        assertOutcome(results[0], BatchDelivery.Outcome.Done);
        assertOutcome(results[1], BatchDelivery.Outcome.ReceiveFailed);
        assertOutcome(results[2], BatchDelivery.Outcome.Done);
    }

    function test_already_committed_is_executed() public {
        BatchDelivery.Item[] memory items = one(item(0, Behaviour.Accept, 0));
        commit(items[0]);
        BatchDelivery.Result[] memory results = deliver(items, 0);
        assertOutcome(results[0], BatchDelivery.Outcome.Done);
        assertEq(results[0].reason, "", "reason");
        assertEq(receiver.delivered(), 1, "delivered");
    }

    function test_commit_only_and_execute_only() public {
        BatchDelivery.Item[] memory items = one(item(0, Behaviour.Accept, 1 ether));
        attest(items[0]);
        uint256 before = address(this).balance;

        items[0].receiveGas = 0;
        assertOutcome(deliver(items, 1 ether)[0], BatchDelivery.Outcome.Done);
        assertEq(receiver.delivered(), 0, "not executed");
        assertEq(address(this).balance, before, "value is back");

        (items[0].receiveGas, items[0].commitGas) = (RECEIVE_GAS, 0);
        BatchDelivery.Result[] memory results = deliver(items, 1 ether);
        assertOutcome(results[0], BatchDelivery.Outcome.Done);
        assertEq(results[0].commitGasUsed, 0, "not committed again");
        assertEq(receiver.delivered(), 1, "executed");
    }

    function test_not_verified_is_reported_and_not_executed() public {
        BatchDelivery.Item[] memory items =
            two(item(0, Behaviour.Accept, 1 ether), item(1, Behaviour.Accept, 1 ether));
        attest(items[1]);
        uint256 before = address(this).balance;

        vm.recordLogs();
        BatchDelivery.Result[] memory results = deliver(items, 2 ether);

        bytes memory reason = abi.encodeWithSelector(MockReceiveLibrary.Verifying.selector);
        assertOutcome(results[0], BatchDelivery.Outcome.CommitFailed);
        assertEq(results[0].reason, reason, "reason");
        assertEq(results[0].receiveGasUsed, 0, "not executed");
        assertOutcome(results[1], BatchDelivery.Outcome.Done);
        assertEq(address(this).balance, before - 1 ether, "value of the failed item is back");
        _assertOneReport(items[0], BatchDelivery.Outcome.CommitFailed, reason);
    }

    function test_already_executed_is_reported() public {
        BatchDelivery.Item[] memory items = one(item(0, Behaviour.Accept, 0));
        attest(items[0]);
        deliver(items, 0);
        assertOutcome(deliver(items, 0)[0], BatchDelivery.Outcome.CommitFailed);
        items[0].commitGas = 0;
        assertOutcome(deliver(items, 0)[0], BatchDelivery.Outcome.ReceiveFailed);
        assertEq(receiver.delivered(), 1, "delivered once");
    }

    function test_revert_is_reported_with_its_reason() public {
        BatchDelivery.Item[] memory items = one(item(0, Behaviour.Revert, 1 ether));
        attest(items[0]);
        uint256 before = address(this).balance;

        vm.recordLogs();
        BatchDelivery.Result[] memory results = deliver(items, 1 ether);

        bytes memory reason = abi.encodeWithSelector(MockReceiver.Refused.selector, 7);
        assertOutcome(results[0], BatchDelivery.Outcome.ReceiveFailed);
        assertEq(results[0].reason, reason, "reason");
        assertEq(address(this).balance, before, "value is back");
        _assertOneReport(items[0], BatchDelivery.Outcome.ReceiveFailed, reason);
    }

    function test_burnt_gas_is_the_items_own() public {
        _assertHarmless(Behaviour.Burn, RECEIVE_GAS, BatchDelivery.Outcome.ReceiveFailed, 0);
    }

    function test_megabyte_in_a_revert_is_cut() public {
        _assertHarmless(
            Behaviour.RevertWithMegabyte, 8_000_000, BatchDelivery.Outcome.ReceiveFailed, 256
        );
    }

    function test_megabyte_returned_is_ignored() public {
        _assertHarmless(Behaviour.ReturnMegabyte, 8_000_000, BatchDelivery.Outcome.Done, 0);
    }

    function test_gas_burnt_at_commit_is_the_items_own() public {
        _assertHarmless(Behaviour.BurnAtCommit, RECEIVE_GAS, BatchDelivery.Outcome.CommitFailed, 0);
    }

    /// A hostile item first, then one that needs its gas and its value, in a transaction with room
    /// for what both were promised.
    function _assertHarmless(
        Behaviour behaviour,
        uint64 receiveGas,
        BatchDelivery.Outcome outcome,
        uint256 reasonLength
    ) private {
        BatchDelivery.Item[] memory items = two(
            item(0, behaviour, 1 ether), item(1, Behaviour.Accept, 2 ether)
        );
        items[0].receiveGas = receiveGas;
        attest(items[0]);
        attest(items[1]);
        uint256 promised = uint256(receiveGas) + COMMIT_GAS;
        promised += promised / 63 + COMMIT_GAS + RECEIVE_GAS + 120_000;

        coolAll();
        BatchDelivery.Result[] memory results =
            batch.deliver{value: 3 ether, gas: promised}(address(receiveLibrary), items);

        assertOutcome(results[0], outcome);
        assertEq(results[0].reason.length, reasonLength, "reason length");
        assertOutcome(results[1], BatchDelivery.Outcome.Done);
        uint256 first = outcome == BatchDelivery.Outcome.Done ? 1 ether : 0;
        assertEq(address(receiver).balance, first + 2 ether, "value delivered");
        assertEq(address(batch).balance, 0, "nothing is kept");
    }

    function test_megabyte_from_a_library_is_cut() public {
        BatchDelivery.Item[] memory items = one(item(0, Behaviour.Accept, 0));
        items[0].commitGas = 4_000_000;
        address bomb = address(new BombLibrary());
        uint256 before = gasleft();
        BatchDelivery.Result[] memory results = batch.deliver(bomb, items);
        uint256 used = before - gasleft();
        assertOutcome(results[0], BatchDelivery.Outcome.CommitFailed);
        assertEq(results[0].reason.length, 256, "reason length");
        assertTrue(used < results[0].commitGasUsed + 60_000, "the megabyte is not copied");
    }

    function test_reentering_reaches_no_value() public {
        BatchDelivery.Item[] memory items =
            two(item(0, Behaviour.Reenter, 0), item(1, Behaviour.Accept, 2 ether));
        attest(items[0]);
        attest(items[1]);
        BatchDelivery.Result[] memory results = deliver(items, 2 ether);
        assertOutcome(results[0], BatchDelivery.Outcome.ReceiveFailed);
        assertEq(
            results[0].reason, abi.encodeWithSelector(BatchDelivery.Reentered.selector), "reason"
        );
        assertOutcome(results[1], BatchDelivery.Outcome.Done);
        assertEq(address(receiver).balance, 2 ether, "value delivered");
    }

    /// It was refused inside, and went on: its own matter.
    function test_reentering_quietly_reaches_no_value() public {
        BatchDelivery.Item[] memory items =
            two(item(0, Behaviour.ReenterQuietly, 0), item(1, Behaviour.Accept, 2 ether));
        attest(items[0]);
        attest(items[1]);
        vm.recordLogs();
        BatchDelivery.Result[] memory results = deliver(items, 2 ether);
        assertOutcome(results[0], BatchDelivery.Outcome.Done);
        assertEq(
            receiver.answer(), abi.encodeWithSelector(BatchDelivery.Reentered.selector), "answer"
        );
        assertOutcome(results[1], BatchDelivery.Outcome.Done);
        assertEq(_reports().length, 0, "no report was slipped in");
    }

    function test_the_lock_opens_again_within_a_transaction() public {
        deliver(new BatchDelivery.Item[](0), 0);
        deliver(new BatchDelivery.Item[](0), 0);
    }

    function test_malformed_item_is_reported() public {
        BatchDelivery.Item[] memory items =
            two(item(0, Behaviour.Accept, 1 ether), item(1, Behaviour.Accept, 0));
        items[0].packet = new bytes(80);
        attest(items[1]);
        BatchDelivery.Result[] memory results = deliver(items, 1 ether);
        assertOutcome(results[0], BatchDelivery.Outcome.Malformed);
        assertOutcome(results[1], BatchDelivery.Outcome.Done);
    }

    function test_forged_message_is_not_delivered() public {
        BatchDelivery.Item[] memory items = one(item(0, Behaviour.Accept, 0));
        commit(items[0]);
        items[0].packet[100] = 0x01;
        assertOutcome(deliver(items, 0)[0], BatchDelivery.Outcome.CommitFailed);
        items[0].commitGas = 0;
        assertOutcome(deliver(items, 0)[0], BatchDelivery.Outcome.ReceiveFailed);
    }

    function test_values_beyond_what_was_sent_are_refused() public {
        BatchDelivery.Item[] memory items =
            two(item(0, Behaviour.Accept, 1 ether), item(1, Behaviour.Accept, 1 ether));
        attest(items[0]);
        attest(items[1]);
        // Nobody's value, forced upon the contract, makes up for nothing.
        vm.deal(address(batch), 10 ether);
        vm.expectRevert(
            abi.encodeWithSelector(BatchDelivery.ValueTooLow.selector, 2 ether, 2 ether - 1)
        );
        batch.deliver{value: 2 ether - 1}(address(receiveLibrary), items);
    }

    function test_values_cannot_overflow() public {
        BatchDelivery.Item[] memory items =
            two(item(0, Behaviour.Accept, type(uint128).max), item(1, Behaviour.Accept, 1));
        vm.expectRevert(
            abi.encodeWithSelector(BatchDelivery.ValueTooLow.selector, uint256(1) << 128, 0)
        );
        batch.deliver(address(receiveLibrary), items);
    }

    function test_caller_that_takes_nothing_back_reverts() public {
        BatchDelivery.Item[] memory items = one(item(0, Behaviour.Accept, 1 ether));
        StubbornCaller caller = new StubbornCaller();
        vm.expectRevert(abi.encodeWithSelector(BatchDelivery.RefundFailed.selector));
        caller.deliver{value: 1 ether}(batch, address(receiveLibrary), items);
    }

    function test_addresses_without_code_are_refused() public {
        bytes memory reason =
            abi.encodeWithSelector(BatchDelivery.NotAContract.selector, address(0xdead));
        vm.expectRevert(reason);
        new BatchDelivery(address(0xdead));
        vm.expectRevert(reason);
        batch.deliver(address(0xdead), new BatchDelivery.Item[](0));
    }

    function test_value_sent_without_a_call_is_refused() public {
        (bool success,) = address(batch).call{value: 1}("");
        assertTrue(!success, "refused");
    }

    function _assertOneReport(
        BatchDelivery.Item memory item_,
        BatchDelivery.Outcome outcome,
        bytes memory reason
    ) private {
        Vm.Log[] memory reports = _reports();
        assertEq(reports.length, 1, "reports");
        assertEq(uint256(reports[0].topics[1]), uint256(guidOf(item_.packet)), "guid");
        assertEq(reports[0].data, abi.encode(outcome, reason), "report");
    }

    function _reports() private returns (Vm.Log[] memory reports) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        reports = new Vm.Log[](logs.length);
        uint256 count = 0;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter == address(batch)) reports[count++] = logs[i];
        }
        assembly {
            mstore(reports, count)
        }
    }
}
