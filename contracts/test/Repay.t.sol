// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {Setting} from "./Setting.sol";

/// @notice Debt repaid with tokens from the wallet, and with the collateral of accounts that hold the debt token.
/// Account A owes 14,000 USDC; its health is 17,200 over what it owes.
contract RepayTest is Setting {
    /// @dev Assets of a Morpho account, by place.
    uint8 private constant COLLATERAL = 0;
    uint8 private constant LOAN = 1;

    uint16 private constant CASH = 5; // a wallet of the same owner cannot be enrolled twice: this one holds the USDC
    uint16 private constant IN_USDC = 6; // 20,000 USDC as collateral for WETH, without debt

    address private other = makeAddr("other");
    MarketParams private inUsdc;

    function setUp() public override {
        super.setUp();
        usdc.mint(other, 20_000e6);
        vm.startPrank(other);
        guard.join();
        usdc.approve(address(guard), 20_000e6);
        vm.stopPrank();
        _enrol(_walletAccount(other, address(usdc)));
        inUsdc = _createMarket(address(weth), address(usdc), address(_oracle(usdcFeed, ethFeed, 18)), 0.86e18);
        _open(inUsdc, 20_000e6, 0);
        _enrol(_morphoAccount(inUsdc));
        _setCap(address(usdc), 10_000e6, 1 days);
    }

    function _repay(uint16 from, uint128 amount) private pure returns (IMarginGuard.Transfer memory) {
        return IMarginGuard.Transfer(IMarginGuard.Kind.Repay, from, 0, LOAN, amount);
    }

    function _owed() private view returns (uint256) {
        (, uint128 shares,) = morpho.position(_id(usdc86), owner);
        (,, uint128 assets, uint128 total,,) = morpho.market(_id(usdc86));
        return (uint256(shares) * (assets + 1) + total + 1e6 - 1) / (total + 1e6);
    }

    function test_RepaysFromAWallet() public {
        IMarginGuard.Result[] memory results = _rebalance(_batch(_rescue(A, _repay(CASH, 1_500e6))));
        assertTrue(results[0].ok);
        assertApproxEqAbs(_owed(), 12_500e6, 1);
        assertEq(usdc.balanceOf(other), 18_500e6);
        assertApproxEqAbs(results[0].healthBefore, 1.2285714e18, 1e12);
        assertApproxEqAbs(results[0].healthAfter, 1.376e18, 1e12); // 17,200 / 12,500
        assertEq(_collateral(usdc86), 10 ether);
        assertEq(guard.remainingCap(address(usdc)), 8_500e6);
        _assertGuardIsEmpty(address(usdc));
    }

    function test_RepaysWithTheCollateralOfAnAccountWithoutDebt() public {
        IMarginGuard.Result[] memory results = _rebalance(_batch(_rescue(A, _repay(IN_USDC, 1_500e6))));
        assertTrue(results[0].ok);
        assertApproxEqAbs(_owed(), 12_500e6, 1);
        assertEq(_collateral(inUsdc), 18_500e6);
        _assertGuardIsEmpty(address(usdc));
    }

    function test_RepaysAndAddsCollateralInOneRescue() public {
        IMarginGuard.Result[] memory results =
            _rebalance(_batch(_rescue(A, _repay(CASH, 1_500e6), _native(D, 1 ether))));
        assertTrue(results[0].ok);
        assertApproxEqAbs(results[0].healthAfter, 1.5136e18, 1e12); // 18,920 / 12,500
        assertEq(_collateral(usdc86), 11 ether);
    }

    function test_RevertIf_MoreIsRepaidThanIsOwed() public {
        _setCap(address(usdc), 100_000e6, 1 days);
        bytes memory reason = _refusal(_rescue(A, _repay(CASH, 14_000e6 + 2)));
        assertEq(bytes4(reason), bytes4(keccak256("Panic(uint256)"))); // Morpho's own: more shares than there are
        assertEq(usdc.balanceOf(other), 20_000e6);
    }

    /// @dev Nobody is drained for what an account does not need: without debt its health is more than any maximum.
    function test_RevertIf_TheWholeDebtIsRepaid() public {
        _setCap(address(usdc), 100_000e6, 1 days);
        bytes memory reason = _refusal(_rescue(A, _repay(CASH, 14_000e6)));
        assertEq(
            reason, abi.encodeWithSelector(IMarginGuard.RecipientAboveMaximum.selector, A, type(uint128).max, MAX_AFTER)
        );
    }

    function test_RevertIf_RepayingExceedsTheCap() public {
        bytes memory reason = _refusal(_rescue(A, _repay(CASH, 10_000e6 + 1)));
        assertEq(
            reason, abi.encodeWithSelector(IMarginGuard.CapExceeded.selector, address(usdc), 10_000e6 + 1, 10_000e6)
        );
    }

    function test_RevertIf_TheAssetIsNotOwed() public {
        IMarginGuard.Transfer memory transfer = _repay(CASH, 1_000e6);
        transfer.toAsset = COLLATERAL;
        assertEq(
            _refusal(_rescue(A, transfer)), abi.encodeWithSelector(IMarginGuard.AssetIsNotOwed.selector, A, COLLATERAL)
        );
    }

    function test_RevertIf_WhatOnlyIsOwedIsToBePutIn() public {
        IMarginGuard.Transfer memory transfer = IMarginGuard.Transfer(IMarginGuard.Kind.Cross, CASH, 0, LOAN, 1_000e6);
        assertEq(
            _refusal(_rescue(A, transfer)), abi.encodeWithSelector(IMarginGuard.AssetDoesNotMove.selector, A, LOAN)
        );
    }

    function test_RevertIf_AnotherTokenThanTheOwedOneRepays() public {
        assertEq(
            _refusal(_rescue(A, _repay(D, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.UnderlyingsDiffer.selector, address(weth), address(usdc))
        );
    }

    function test_RevertIf_ARepaymentLeavesTheRecipientBelowItsMinimum() public {
        ethFeed.setAnswer(1_700e8); // health 1.044
        assertEq(bytes4(_refusal(_rescue(A, _repay(CASH, 500e6)))), IMarginGuard.RecipientBelowMinimum.selector);
    }

    /// @dev The loan token may be collateral elsewhere; a loan itself is never taken back from the market.
    function test_RevertIf_ALoanIsToBeGiven() public {
        IMarginGuard.Transfer memory transfer = _repay(B, 1_000e6);
        transfer.fromAsset = LOAN;
        assertEq(
            _refusal(_rescue(A, transfer)), abi.encodeWithSelector(IMarginGuard.AssetDoesNotMove.selector, B, LOAN)
        );
    }
}
