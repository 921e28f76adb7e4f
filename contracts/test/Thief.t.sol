// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {Setting} from "./Setting.sol";

/// @notice What a thief who holds the keeper's key can do: shuffle within the owner's limits, and nothing else.
contract ThiefTest is Setting {
    uint128 private constant CAP = 12 ether;

    function setUp() public override {
        super.setUp();
        _setCap(address(weth), CAP, 1 days);
        IMarginGuard.Policy memory generous = _policy();
        generous.rescueCeiling = 3e18; // so that B and C receive as well
        vm.startPrank(owner);
        guard.setPolicy(B, generous);
        guard.setPolicy(C, generous);
        guard.setKeeper(thief);
        vm.stopPrank();
        keeper = thief;
    }

    /// @dev Random batches at random prices, among them many that are refused.
    function testFuzz_AStolenKeyStealsNothing(uint256 seed) public {
        uint256 moved;
        uint256 day = block.timestamp / 1 days;
        for (uint256 i; i < 12; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            ethFeed.setAnswer(int256(1_700e8 + seed % 400e8));
            vm.warp(block.timestamp + (seed >> 32) % 1 hours);
            moved += _shuffle(seed);
            assertEq(_belongings(), 50 ether, "not one wei of collateral left the owner");
            assertEq(_debtShares(), 14_000e12 + 7_000e12 + 7_000e24, "no debt was raised");
            assertEq(weth.balanceOf(thief), 0);
            _assertGuardIsEmpty(address(weth));
            if (block.timestamp / 1 days == day) assertLe(moved, CAP);
        }
    }

    /// @dev The classic: fill an account at a low price, then liquidate it. It must end above `minAfter` to be filled.
    function test_WhatWasMovedIntoAnAccountCannotBeLiquidatedThere() public {
        ethFeed.setAnswer(1_600e8); // A at 0.9829: liquidatable
        bytes memory refusal = _refusal(_rescue(A, _native(D, 1 ether)));
        assertEq(
            refusal,
            abi.encodeWithSelector(
                IMarginGuard.RecipientBelowMinimum.selector, A, 1_081142857142857142, uint256(MIN_AFTER)
            )
        );
        _rebalance(_batch(_rescue(A, _native(D, 1.2 ether))));
        usdc.mint(thief, 100_000e6);
        vm.startPrank(thief);
        usdc.approve(address(morpho), type(uint256).max);
        vm.expectRevert("position is healthy");
        morpho.liquidate(usdc86, owner, 0, 1, "");
    }

    function test_PausingIsTheOtherThingThatAThiefCanDo() public {
        vm.prank(thief);
        guard.pause();
        vm.startPrank(owner);
        guard.setKeeper(makeAddr("new keeper"));
        guard.unpause();
        vm.stopPrank();
        vm.prank(thief);
        vm.expectRevert(IMarginGuard.CallerIsNotOwnerOrKeeper.selector);
        guard.pause();
    }

    /* HELPERS */

    /// @return moved What the guard says that it moved.
    function _shuffle(uint256 seed) private returns (uint256 moved) {
        uint16 to = uint16((seed >> 64) % 5);
        uint16 from = uint16((seed >> 72) % 5);
        uint128 amount = uint128((seed >> 80) % 4 ether);
        IMarginGuard.Transfer memory transfer =
            from == WALLET || seed % 16 == 0 ? _cross(from, amount) : _native(from, amount);
        bytes32 planId = _nextPlanId();
        uint256 remaining = guard.remainingCap(address(weth));
        vm.prank(thief);
        try guard.rebalance(planId, block.timestamp, _batch(_rescue(to, transfer))) returns (
            IMarginGuard.Result[] memory results
        ) {
            moved = amount;
            assertLe(amount, remaining);
            assertGe(results[0].healthAfter, MIN_AFTER);
            assertLt(results[0].healthBefore, to == A ? CEILING : 3e18);
            assertGe(guard.health(to), results[0].healthBefore);
            assertGe(guard.health(from), HARD_FLOOR);
        } catch (bytes memory answer) {
            _nothingRescued(answer);
        }
    }

    /// @return sum The owner's WETH, in whatever form.
    function _belongings() private view returns (uint256 sum) {
        sum = weth.balanceOf(owner);
        MarketParams[4] memory markets = [usdc86, usdc77, dai86, dai77];
        for (uint256 i; i < 4; ++i) {
            sum += _collateral(markets[i]);
        }
    }

    function _debtShares() private view returns (uint256 sum) {
        MarketParams[4] memory markets = [usdc86, usdc77, dai86, dai77];
        for (uint256 i; i < 4; ++i) {
            (, uint256 shares,) = morpho.position(_id(markets[i]), owner);
            sum += shares;
        }
    }
}
