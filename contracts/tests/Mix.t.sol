// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchDelivery} from "../src/BatchDelivery.sol";
import {Fixture} from "./Fixture.sol";
import {Behaviour} from "./Mocks.sol";
import {Vm, vm} from "./Vm.sol";

/// Random mixes of good and hostile items: each ends as it would alone, and no value is lost.
contract MixTest is Fixture {
    /// What is done with an item beforehand.
    enum State {
        Attested,
        Committed,
        Unverified,
        Executed,
        Cut
    }

    struct Expected {
        BatchDelivery.Outcome outcome;
        uint256 value;
    }

    function testFuzz_every_item_ends_as_it_would_alone(uint256 seed) public {
        uint256 count = 1 + seed % 12;
        BatchDelivery.Item[] memory items = new BatchDelivery.Item[](count);
        Expected[] memory expected = new Expected[](count);
        uint256 sent = seed >> 192;
        uint256 promised = 100_000;
        for (uint256 i = 0; i < count; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            (items[i], expected[i]) = _item(uint96(i), random);
            sent += items[i].value;
            promised += (uint256(items[i].commitGas) + items[i].receiveGas) * 64 / 63 + 60_000;
        }
        uint256 receiverBefore = address(receiver).balance;
        uint256 callerBefore = address(this).balance;

        vm.recordLogs();
        coolAll();
        BatchDelivery.Result[] memory results =
            batch.deliver{value: sent, gas: promised}(address(receiveLibrary), items);

        uint256 spent = 0;
        uint256 failures = 0;
        for (uint256 i = 0; i < count; ++i) {
            assertOutcome(results[i], expected[i].outcome);
            assertTrue(results[i].reason.length <= 256, "reasons are bounded");
            spent += expected[i].value;
            if (expected[i].outcome != BatchDelivery.Outcome.Done) ++failures;
        }
        assertEq(address(receiver).balance - receiverBefore, spent, "value delivered");
        assertEq(callerBefore - address(this).balance, spent, "value spent");
        assertEq(address(batch).balance, 0, "nothing is kept");
        assertEq(_countReports(), failures, "one report a failure");
    }

    function _item(uint96 lane, uint256 random)
        private
        returns (BatchDelivery.Item memory item_, Expected memory expected)
    {
        Behaviour behaviour = Behaviour(random % (uint256(type(Behaviour).max) + 1));
        State state = State((random >> 8) % (uint256(type(State).max) + 1));
        uint128 value = (random >> 16) % 2 == 0 ? 0 : uint64(random >> 24);
        if (
            behaviour == Behaviour.BurnAtCommit
                || (state == State.Executed && behaviour != Behaviour.Accept)
        ) {
            state = State.Attested;
        }
        item_ = item(lane, behaviour, value);
        if (behaviour == Behaviour.RevertWithMegabyte || behaviour == Behaviour.ReturnMegabyte) {
            item_.receiveGas = 8_000_000;
        }
        _prepare(item_, state);
        if ((random >> 96) % 8 == 0) item_.receiveGas = 0;
        expected.outcome = _outcome(behaviour, state, item_.receiveGas);
        bool delivers = expected.outcome == BatchDelivery.Outcome.Done && item_.receiveGas != 0;
        expected.value = delivers ? value : 0;
    }

    function _prepare(BatchDelivery.Item memory item_, State state) private {
        if (state == State.Attested) attest(item_);
        if (state == State.Committed) commit(item_);
        if (state == State.Executed) {
            attest(item_);
            BatchDelivery.Item memory before = BatchDelivery.Item({
                packet: item_.packet,
                commitGas: item_.commitGas,
                receiveGas: item_.receiveGas,
                value: 0
            });
            deliver(one(before), 0);
        }
        if (state == State.Cut) {
            bytes memory packet = item_.packet;
            assembly {
                mstore(packet, 80)
            }
        }
    }

    function _outcome(Behaviour behaviour, State state, uint64 receiveGas)
        private
        pure
        returns (BatchDelivery.Outcome)
    {
        if (state == State.Cut) return BatchDelivery.Outcome.Malformed;
        if (
            state == State.Unverified || state == State.Executed
                || behaviour == Behaviour.BurnAtCommit
        ) {
            return BatchDelivery.Outcome.CommitFailed;
        }
        bool refuses = behaviour == Behaviour.Revert || behaviour == Behaviour.Burn
            || behaviour == Behaviour.RevertWithMegabyte || behaviour == Behaviour.Reenter;
        return refuses && receiveGas != 0
            ? BatchDelivery.Outcome.ReceiveFailed
            : BatchDelivery.Outcome.Done;
    }

    function _countReports() private returns (uint256 count) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == BatchDelivery.ItemFailed.selector) ++count;
        }
    }
}
