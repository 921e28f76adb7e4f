// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {Setting} from "./Setting.sol";

/// @notice What a batch does, and when the whole of it is refused.
contract RebalanceTest is Setting {
    /* ONE RESCUE */

    function test_MovesCollateralBetweenMarkets() public {
        vm.expectEmit(address(guard));
        emit IMarginGuard.Moved(_planId(1), B, A, address(weth), 1 ether);
        vm.expectEmit(address(guard));
        emit IMarginGuard.Rescued(_planId(1), A, 1_228571428571428571, 1_351428571428571428);
        IMarginGuard.Result[] memory results = _rebalance(_batch(_rescue(A, _native(B, 1 ether))));

        assertEq(results.length, 1);
        assertTrue(results[0].ok);
        assertEq(results[0].healthBefore, 1_228571428571428571);
        assertEq(results[0].healthAfter, 1_351428571428571428);
        assertGt(results[0].gasUsed, 50_000);
        assertLt(results[0].gasUsed, RESCUE_GAS);
        assertEq(results[0].reason.length, 0);
        assertEq(_collateral(usdc86), 11 ether);
        assertEq(_collateral(usdc77), 9 ether);
        assertEq(guard.health(B), 1.98e18);
        _assertGuardIsEmpty(address(weth));
    }

    function test_TakesFromAnAccountWithoutDebt() public {
        _rebalance(_batch(_rescue(A, _native(D, 10 ether))));
        assertEq(_collateral(usdc86), 20 ether);
        assertEq(_collateral(dai77), 0);
        _assertGuardIsEmpty(address(weth));
    }

    function test_TakesFromTheWallet() public {
        _rebalance(_batch(_rescue(A, _cross(WALLET, 2 ether))));
        assertEq(_collateral(usdc86), 12 ether);
        assertEq(weth.balanceOf(owner), 8 ether);
        assertEq(weth.allowance(owner, address(guard)), 3 ether);
        _assertGuardIsEmpty(address(weth));
    }

    function test_TakesFromSeveralDonors() public {
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](4);
        transfers[0] = _native(B, 1 ether);
        transfers[1] = _cross(WALLET, 1 ether);
        transfers[2] = _native(C, 2 ether);
        transfers[3] = _native(B, 1 ether);
        _rebalance(_batch(IMarginGuard.Rescue({to: A, minHealthAfter: 0, gas: 1_000_000, transfers: transfers})));
        assertEq(_collateral(usdc86), 15 ether);
        assertEq(_collateral(usdc77), 8 ether);
        assertEq(_collateral(dai86), 8 ether);
        assertEq(weth.balanceOf(owner), 9 ether);
        _assertGuardIsEmpty(address(weth));
    }

    function test_TakesTheListedTokenOfTheWallet() public {
        address[] memory assets = new address[](2);
        (assets[0], assets[1]) = (address(usdc), address(weth));
        _retire(WALLET);
        IMarginGuard.Enrolment memory wallet = _walletAccount(owner, address(usdc));
        wallet.assets = assets;
        uint16 index = _enrol(wallet);
        IMarginGuard.Transfer memory transfer = _cross(index, 1 ether);
        transfer.fromAsset = 1;
        _rebalance(_batch(_rescue(A, transfer)));
        assertEq(_collateral(usdc86), 11 ether);
    }

    function test_CountsInterestToThisBlock() public {
        // 14000 of 1000000 USDC are lent, at 1.4 % a year: 14000 * (r + r^2/2 + r^3/6) = 197.378402 of interest,
        // 17200 / 14197.378402 of health.
        vm.warp(block.timestamp + 365 days);
        assertEq(guard.health(A), 1_211491270640290707);
    }

    /* SEVERAL RESCUES */

    function test_ALaterRescueMayUseWhatAnEarlierOneGave() public {
        _raiseCeiling(B, 3e18);
        IMarginGuard.Rescue memory first = _rescue(A, _native(D, 5 ether));
        IMarginGuard.Rescue memory second = _rescue(B, _native(A, 4 ether));
        assertEq(
            bytes4(_refusal(second)), bytes4(0x08c379a0), "alone, Morpho itself refuses: 6 WETH do not back 14000 USDC"
        );

        IMarginGuard.Result[] memory results = _rebalance(_batch(first, second));
        assertTrue(results[0].ok && results[1].ok);
        assertEq(_collateral(usdc86), 11 ether);
        assertEq(_collateral(usdc77), 14 ether);
        assertEq(_collateral(dai77), 5 ether);
    }

    function test_AFailedRescueStopsNoOther() public {
        IMarginGuard.Rescue memory failing = _rescue(A, _native(B, 100 ether));
        IMarginGuard.Rescue memory working = _rescue(A, _native(D, 1 ether));
        vm.expectEmit(true, true, false, false, address(guard));
        emit IMarginGuard.RescueFailed(_planId(1), 0, "");
        IMarginGuard.Result[] memory results = _rebalance(_batch(failing, working));

        assertFalse(results[0].ok);
        assertGt(results[0].reason.length, 0);
        assertEq(results[0].healthAfter, 0);
        assertTrue(results[1].ok);
        assertEq(_collateral(usdc86), 11 ether);
        assertEq(_collateral(usdc77), 10 ether);
        assertEq(guard.remainingCap(address(weth)), 999 ether, "what failed was not spent");
    }

    function test_AFailedRescueTakesNothingBack() public {
        IMarginGuard.Rescue memory working = _rescue(A, _native(D, 1 ether));
        IMarginGuard.Rescue memory failing = _rescue(A, _native(D, 1 ether), _native(B, 100 ether));
        IMarginGuard.Result[] memory results = _rebalance(_batch(working, failing));
        assertTrue(results[0].ok);
        assertFalse(results[1].ok);
        assertEq(_collateral(usdc86), 11 ether);
        assertEq(_collateral(dai77), 9 ether);
    }

    function test_SixteenRescuesPass() public {
        IMarginGuard.Rescue[] memory rescues = new IMarginGuard.Rescue[](16);
        for (uint256 i; i < 16; ++i) {
            rescues[i] = _rescue(A, _native(D, 0.1 ether));
        }
        IMarginGuard.Result[] memory results = _rebalance(rescues);
        for (uint256 i; i < 16; ++i) {
            assertTrue(results[i].ok);
        }
        assertEq(_collateral(usdc86), 11.6 ether);
    }

    function test_EightTransfersPass() public {
        _rebalance(_batch(_manyTransfers(8)));
        assertEq(_collateral(usdc86), 10.8 ether);
    }

    /* THE SEQUENCE */

    function test_APlanUsesItsSequenceUp() public {
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        assertEq(guard.lastSequence(), 1);
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        assertEq(guard.lastSequence(), 2);
    }

    function test_APlanThatRescuedNothingUsesNothingUp() public {
        _refusal(_rescue(A, _native(B, 100 ether)));
        assertEq(guard.lastSequence(), 0);
    }

    function test_TheDigestIsFree() public {
        vm.prank(keeper);
        guard.rebalance(
            bytes32(uint256(1) << 192 | type(uint192).max), block.timestamp, _batch(_rescue(A, _native(D, 1 ether)))
        );
        assertEq(guard.lastSequence(), 1);
    }

    function test_RevertIf_PlanWasCarriedOut() public {
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.WrongSequence.selector, 1, 2));
        guard.rebalance(_planId(1), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_RevertIf_AnotherPlanOfTheSameSequenceWasCarriedOut() public {
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.WrongSequence.selector, 1, 2));
        guard.rebalance(bytes32(uint256(1) << 192 | 7), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_RevertIf_SequenceSkipsOne() public {
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.WrongSequence.selector, 2, 1));
        guard.rebalance(_planId(2), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_RevertIf_SequenceIsZero() public {
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.WrongSequence.selector, 0, 1));
        guard.rebalance(_planId(0), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
    }

    /* WHO AND WHEN */

    function test_RevertIf_CallerIsNotKeeper() public {
        IMarginGuard.Rescue[] memory rescues = _batch(_rescue(A, _native(D, 1 ether)));
        address[3] memory others = [thief, owner, address(this)];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(IMarginGuard.CallerIsNotKeeper.selector);
            guard.rebalance(_planId(1), block.timestamp, rescues);
        }
    }

    function test_RevertIf_ThereIsNoKeeper() public {
        vm.prank(owner);
        guard.setKeeper(address(0));
        vm.prank(keeper);
        vm.expectRevert(IMarginGuard.CallerIsNotKeeper.selector);
        guard.rebalance(_planId(1), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_RevertIf_CallerOfARescueIsNotGuard() public {
        address[3] memory others = [thief, owner, keeper];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(others[i]);
            (bool ok, bytes memory answer) = address(guard)
                .call(
                    abi.encodeWithSignature(
                        "executeRescue(bytes32,(uint16,uint128,uint32,(uint8,uint16,uint8,uint8,uint128)[]))",
                        _planId(1),
                        _rescue(A, _native(D, 1 ether))
                    )
                );
            assertFalse(ok);
            assertEq(answer, abi.encodeWithSelector(IMarginGuard.CallerIsNotGuard.selector));
        }
    }

    function test_RevertIf_GuardIsPaused() public {
        vm.prank(owner);
        guard.pause();
        vm.prank(keeper);
        vm.expectRevert(IMarginGuard.GuardIsPaused.selector);
        guard.rebalance(_planId(1), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_RevertIf_DeadlinePassed() public {
        uint256 deadline = block.timestamp - 1;
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.DeadlinePassed.selector, deadline));
        guard.rebalance(_planId(1), deadline, _batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_TheDeadlineItselfIsInTime() public {
        for (uint256 later; later < 2; ++later) {
            bytes32 planId = _nextPlanId();
            vm.prank(keeper);
            guard.rebalance(planId, block.timestamp + later, _batch(_rescue(A, _native(D, 1 ether))));
        }
        assertEq(_collateral(usdc86), 12 ether);
    }

    /* SIZE AND GAS */

    function test_RevertIf_NoRescues() public {
        vm.prank(keeper);
        vm.expectRevert(IMarginGuard.NoRescues.selector);
        guard.rebalance(_planId(1), block.timestamp, new IMarginGuard.Rescue[](0));
    }

    function test_RevertIf_TooManyRescues() public {
        IMarginGuard.Rescue[] memory rescues = new IMarginGuard.Rescue[](17);
        for (uint256 i; i < 17; ++i) {
            rescues[i] = _rescue(A, _native(D, 0.1 ether));
        }
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.TooManyRescues.selector, 17));
        guard.rebalance(_planId(1), block.timestamp, rescues);
    }

    function test_RevertIf_TooManyTransfers() public {
        assertEq(_refusal(_manyTransfers(9)), abi.encodeWithSelector(IMarginGuard.TooManyTransfers.selector, 9));
    }

    function test_RevertIf_NoTransfers() public {
        assertEq(_refusal(_manyTransfers(0)), abi.encodeWithSelector(IMarginGuard.NoTransfers.selector));
    }

    function test_RevertIf_GasIsTooLowForARescue() public {
        // 750000 * 64 / 63 and the 30000 that must remain.
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.GasTooLow.selector, 0, 791_904));
        guard.rebalance{gas: 792_400}(_planId(1), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_RevertIf_GasIsTooLowForALaterRescue() public {
        IMarginGuard.Rescue memory second = _rescue(A, _native(D, 1 ether));
        second.gas = 1_000_000;
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.GasTooLow.selector, 1, 1_045_873));
        guard.rebalance{gas: 1_000_000}(_planId(1), block.timestamp, _batch(_rescue(A, _native(D, 1 ether)), second));
    }

    function test_ARescueThatNeedsMoreThanItsGasFailsAlone() public {
        IMarginGuard.Rescue memory starved = _rescue(A, _native(D, 1 ether));
        starved.gas = 100_000;
        IMarginGuard.Result[] memory results = _rebalance(_batch(starved, _rescue(A, _native(D, 1 ether))));
        assertFalse(results[0].ok);
        assertLt(results[0].gasUsed, 103_000);
        assertTrue(results[1].ok);
    }

    /// @dev The gas of a transaction decides whether it happens, never which of its rescues do.
    function testFuzz_WithAnyGasAllOrNothing(uint256 gas) public {
        gas = bound(gas, 50_000, 2_000_000);
        IMarginGuard.Rescue[] memory rescues = _batch(
            _rescue(A, _native(D, 1 ether)), _rescue(A, _native(B, 1 ether)), _rescue(A, _cross(WALLET, 1 ether))
        );
        for (uint256 i; i < 3; ++i) {
            rescues[i].gas = 300_000;
        }
        vm.prank(keeper);
        try guard.rebalance{gas: gas}(_planId(1), block.timestamp, rescues) returns (
            IMarginGuard.Result[] memory results
        ) {
            for (uint256 i; i < 3; ++i) {
                assertTrue(results[i].ok, "the gas chose among the rescues");
            }
        } catch {
            assertLt(gas, 1_000_000, "refused although there was plenty");
        }
    }

    /// @dev A rescue that needs all of its seven million gas, with every transaction gas around that.
    function test_ARescueGetsAllOfItsGasOrNothingHappens() public {
        vm.etch(address(usdcOracle), address(new BurningOracle()).code);
        IMarginGuard.Rescue memory rescue = _rescue(A, _native(D, 1 ether));
        rescue.gas = 10_000_000;
        uint256 state = vm.snapshotState();
        // What it used, and the 64th that its calls of the oracle must leave behind.
        rescue.gas = uint32(_rebalance(_batch(rescue))[0].gasUsed) + 55_556; // 3500000 / 63
        vm.revertToState(state);
        assertGt(rescue.gas, 7_000_000);

        uint256 carriedOut;
        for (uint256 gas = rescue.gas; gas < rescue.gas + 300_000; gas += 10_000) {
            vm.prank(keeper);
            try guard.rebalance{gas: gas}(_planId(1), block.timestamp, _batch(rescue)) {
                ++carriedOut;
                vm.revertToState(state);
            } catch (bytes memory answer) {
                assertEq(bytes4(answer), IMarginGuard.GasTooLow.selector);
            }
        }
        assertGt(carriedOut, 5);
        assertLt(carriedOut, 25);
    }

    /* BUILDERS */

    function _manyTransfers(uint256 count) private pure returns (IMarginGuard.Rescue memory) {
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](count);
        for (uint256 i; i < count; ++i) {
            transfers[i] = _native(D, 0.1 ether);
        }
        return IMarginGuard.Rescue({to: A, minHealthAfter: 0, gas: 2_000_000, transfers: transfers});
    }

    function _raiseCeiling(uint16 index, uint64 ceiling) private {
        IMarginGuard.Policy memory policy = _policy();
        policy.rescueCeiling = ceiling;
        vm.prank(owner);
        guard.setPolicy(index, policy);
    }
}

/// @notice An oracle of ETH at 2000 USDC that takes three and a half million gas to answer.
contract BurningOracle {
    function price() external view returns (uint256) {
        uint256 end = gasleft() - 3_500_000;
        while (gasleft() > end) {}
        return 2_000e24;
    }
}
