// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {IMorphoInFull, Setting} from "./Setting.sol";
import {TestToken} from "../devnet/TestToken.sol";

/// @notice The guard's health is Morpho's own judgement as a number.
contract HealthTest is Setting {
    /// @dev Whatever the state of the market: Morpho lets liquidate exactly where the guard reads less than 1.
    function testFuzz_BelowOneExactlyWhereMorphoLiquidates(uint256 collateral, uint256 debt, uint256 price, uint32 time)
        public
    {
        MarketParams memory market = usdc86;
        address holder = makeAddr("holder");
        collateral = bound(collateral, 1e6, 1_000 ether);
        uint256 debtMax = collateral * 2_000e6 / 1e18 * 86 / 100;
        vm.assume(debtMax > 1);
        debt = bound(debt, 1, _min(debtMax, 900_000e6));
        _openFor(holder, market, collateral, debt);
        uint16 index = _enrol(_morphoAccountOf(holder, market));

        // Near the line, where the rounding decides.
        uint256 line = debt * 1e18 * 100 / 86 * 1e8 / 1e6 / collateral;
        vm.warp(block.timestamp + time % 30 days);
        ethFeed.setAnswer(int256(bound(price, line * 99 / 100 + 1, line * 102 / 100 + 1)));

        uint256 health = guard.health(index);
        assertEq(health < 1e18, _isLiquidatable(market, holder));
    }

    function testFuzz_BelowOneExactlyOnTheLine(uint256 debt) public {
        // One WETH at 2000 backs at most 1720 USDC.
        debt = bound(debt, 1_719.99e6, 1_720e6);
        address holder = makeAddr("holder");
        _openFor(holder, usdc86, 1 ether, debt);
        uint16 index = _enrol(_morphoAccountOf(holder, usdc86));
        assertGe(guard.health(index), 1e18);
        assertFalse(_isLiquidatable(usdc86, holder));
        vm.warp(block.timestamp + 60);
        assertEq(guard.health(index) < 1e18, _isLiquidatable(usdc86, holder));
    }

    function test_ReadsTheSameWordsAsMorpho() public {
        vm.warp(block.timestamp + 100 days);
        morpho.accrueInterest(usdc86);
        (, uint256 shares, uint256 collateral) = morpho.position(_id(usdc86), owner);
        (,, uint256 totalBorrowAssets, uint256 totalBorrowShares,,) = morpho.market(_id(usdc86));
        uint256 debt = (shares * (totalBorrowAssets + 1) + totalBorrowShares + 1e6 - 1) / (totalBorrowShares + 1e6);
        uint256 maxBorrow = collateral * usdcOracle.price() / 1e36 * 0.86e18 / 1e18;
        assertEq(guard.health(A), maxBorrow * 1e18 / debt);
    }

    function test_SmallestDebtSaturates() public {
        address holder = makeAddr("holder");
        _openFor(holder, dai86, 1e30, 1);
        ethFeed.setAnswer(type(int64).max);
        assertEq(guard.health(_enrol(_morphoAccountOf(holder, dai86))), type(uint128).max);
    }

    function test_NoCollateralIsZero() public {
        ethFeed.setAnswer(0);
        assertEq(guard.health(A), 0);
    }

    function _isLiquidatable(MarketParams memory market, address holder) private returns (bool) {
        uint256 snapshot = vm.snapshotState();
        TestToken(market.loanToken).mint(thief, 1_000_000e6);
        vm.startPrank(thief);
        TestToken(market.loanToken).approve(address(morpho), type(uint256).max);
        bool done;
        try morpho.liquidate(market, holder, 0, 1, "") {
            done = true;
        } catch Error(string memory reason) {
            assertEq(reason, "position is healthy");
        }
        vm.stopPrank();
        vm.revertToState(snapshot);
        return done;
    }

    function _min(uint256 x, uint256 y) private pure returns (uint256) {
        return x < y ? x : y;
    }
}
