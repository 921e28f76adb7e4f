// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {VenusPools} from "../../src/protocols/VenusPools.sol";
import {Token} from "../../src/Token.sol";
import {IComptrollerInFull, IVTokenInFull} from "./VenusMarkets.sol";
import {VenusSetting} from "./VenusSetting.sol";

/// @notice An oracle that knows no price and does not say so.
contract NoPrices {
    fallback() external {
        assembly {
            mstore(0, 0)
            return(0, 32)
        }
    }
}

/// @notice The guard on the real pools of Venus: what it knows of an account, and that collateral moves to and from it.
contract VenusTest is VenusSetting {
    /* ENROLMENT */

    function test_EnrolsAnAccountWithItsMarkets() public view {
        IMarginGuard.Account memory account = guard.account(MAIN);
        assertTrue(account.protocol == IMarginGuard.Protocol.Venus);
        assertEq(account.holder, owner);
        assertEq(account.target, address(comptroller));
        assertEq(account.assets.length, 2);
        assertEq(account.assets[WETH].underlying, address(weth));
        assertEq(account.assets[WETH].form, address(vWeth));
        assertEq(account.assets[WETH].debt, address(vWeth));
        assertEq(account.assets[USDC].underlying, address(usdc));
        assertEq(account.assets[USDC].form, address(vUsdc));
    }

    function test_RevertIf_TheKeyIsNotZero() public {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = _venusAccount(makeAddr("fourth"));
        list[0].key = bytes32(uint256(1));
        vm.prank(owner);
        vm.expectRevert(IMarginGuard.KeyIsNotZero.selector);
        guard.enrol(list);
    }

    function test_RevertIf_AMarketIsAnotherPools() public {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = _venusAccount(owner);
        list[0].target = address(_pool());
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(VenusPools.MarketOfAnotherPool.selector, address(vWeth), list[0].target));
        guard.enrol(list);
    }

    /* HEALTH */

    function test_HealthIsThePoolsOwnAtTheLiquidationThresholds() public {
        assertApproxEqAbs(guard.health(MAIN), 1.4167e18, 1e15);
        assertApproxEqAbs(guard.health(SECOND), 3.4e18, 1e15);
        assertEq(guard.health(FREE), NO_DEBT);
    }

    /// @dev The pool answers differences only: what is missing, or left, in its USD.
    function testFuzz_HealthIsBelowOneIfAndOnlyIfThePoolFindsItShort(uint256 price, uint256 time) public {
        _pass(bound(time, 0, 365 days));
        ethFeed.setAnswer(int256(bound(price, 1_350e8, 1_500e8)));
        uint256 ratio = guard.health(MAIN);
        (, uint256 liquidity, uint256 shortfall) = comptroller.getAccountLiquidity(owner);
        assertEq(ratio < 1e18, shortfall != 0);
        uint256 debt = vUsdc.borrowBalanceCurrent(owner) * 1e12;
        assertEq(ratio, (debt + liquidity - shortfall) * 1e18 / debt);
    }

    /// @dev The pool's own answer is as old as its markets' books.
    function test_HealthCountsTheInterestUpToNow() public {
        uint256 before = guard.health(MAIN);
        _pass(365 days);
        (, uint256 stale,) = comptroller.getAccountLiquidity(owner);
        assertLt(guard.health(MAIN), before);
        (, uint256 liquidity,) = comptroller.getAccountLiquidity(owner);
        assertLt(liquidity, stale);
    }

    function test_ADonorsHealthCountsTheInterestUpToNow() public {
        IMarginGuard.Policy memory policy = _policy();
        (policy.hardFloor, policy.minAfter) = (3.3e18, 3.3e18);
        (policy.rescueCeiling, policy.maxAfter) = (3.3e18, 4e18);
        vm.prank(owner);
        guard.setPolicy(SECOND, policy);
        _pass(4 * 365 days); // debts have grown by more than collateral, in a market that giving does not touch
        bytes memory reason = _refusal(_tokens(SECOND, 0.1 ether));
        assertEq(bytes4(reason), IMarginGuard.DonorBelowHardFloor.selector);
    }

    /// @dev A capped oracle moves its cap only when it is told to, which a liquidator does.
    function test_HealthHasThePricesBroughtUpToDate() public {
        vm.expectCall(address(comptroller), abi.encodeCall(comptroller.updatePrices, (owner)), 1);
        guard.health(MAIN);
    }

    /// @dev What lies in a market that the account did not enter backs nothing.
    function test_HealthDoesNotCountWhatIsNotEntered() public {
        (address fourth, uint16 index) = _openInUsdc();
        uint256 before = guard.health(index);
        _mintFor(fourth, vWeth, 1 ether);
        assertEq(guard.health(index), before);
        _enter(fourth, comptroller, vWeth);
        assertApproxEqAbs(guard.health(index), before + 0.1308e18, 1e14); // 1,700 / 13,000
    }

    function test_RevertIf_APriceIsTooOldForHealthToBeRead() public {
        vm.warp(block.timestamp + PRICE_AGE_MAX + 1);
        vm.expectRevert("invalid resilient oracle price");
        guard.health(MAIN);
        assertEq(
            _refusal(_tokens(FREE, 1 ether)), abi.encodeWithSignature("Error(string)", "invalid resilient oracle price")
        );
    }

    function test_RevertIf_APriceIsZero() public {
        comptroller.setPriceOracle(address(new NoPrices()));
        vm.expectRevert(abi.encodeWithSelector(VenusPools.PriceIsZero.selector, address(vWeth)));
        guard.health(MAIN);
    }

    /* NATIVE */

    function test_MovesTokensFromAnAccountWithDebt() public {
        uint256 rate = vWeth.exchangeRateStored();
        assertGt(rate, 1.00001e28); // a month of interest
        uint256 tokens = (1 ether * 1e18 + rate - 1) / rate;
        (uint256 main, uint256 donor) = (vWeth.balanceOf(owner), vWeth.balanceOf(second));
        IMarginGuard.Result memory result = _assertSaved(_tokens(SECOND, 1 ether));
        assertEq(vWeth.balanceOf(owner), main + tokens);
        assertEq(vWeth.balanceOf(second), donor - tokens);
        assertEq(vWeth.allowance(second, address(guard)), 100e8 - tokens);
        assertApproxEqAbs(result.healthBefore, 1.4167e18, 1e15);
        assertApproxEqAbs(result.healthAfter, 1.5583e18, 1e15); // 11 * 1700 / 12,000
        assertEq(result.healthAfter, guard.health(MAIN));
        assertEq(guard.remainingCap(address(weth)), 999 ether);
    }

    /// @dev What an amount moves is worth it, or by less than the smallest vToken more.
    function testFuzz_WhatMovesIsWorthTheAmount(uint256 amount, uint256 time) public {
        amount = bound(amount, 0.002 ether, 1.2 ether);
        _pass(bound(time, 0, 365 days));
        vWeth.accrueInterest();
        uint256 before = vWeth.balanceOf(owner);
        _assertSaved(_tokens(FREE, uint128(amount)));
        uint256 moved = (vWeth.balanceOf(owner) - before) * vWeth.exchangeRateStored() / 1e18;
        assertGe(moved, amount);
        assertLt(moved, amount + _grain(vWeth));
    }

    /// @dev vTokens change hands where nothing could be redeemed.
    function test_MovesTokensWhereAllIsLentOut() public {
        _lendOutAllWeth();
        _assertSaved(_tokens(FREE, 1 ether));
    }

    function test_MovesAllThatThereIs() public {
        _openIn(makeAddr("fourth"), 1 ether, 0);
        _permit(makeAddr("fourth"));
        uint16 index = _enrol(_venusAccount(makeAddr("fourth")));
        _assertSaved(_tokens(index, uint128(_heldIn(vWeth, makeAddr("fourth")))));
        assertEq(vWeth.balanceOf(makeAddr("fourth")), 0);
    }

    function test_RevertIf_ADonorEndsBelowItsHardFloor() public {
        IMarginGuard.Policy memory policy = _policy();
        (policy.hardFloor, policy.minAfter) = (1.2e18, 1.2e18);
        vm.prank(owner);
        guard.setPolicy(SECOND, policy);
        ethFeed.setAnswer(1_650e8);
        bytes memory reason = _refusal(_tokens(SECOND, 12 ether)); // leaves 8 * 1402.5 / 10,000
        assertEq(bytes4(reason), IMarginGuard.DonorBelowHardFloor.selector);
    }

    /// @dev The pool wants more of a donor than 1 at the thresholds: here 85/80. Why it refused is not passed on.
    function test_RevertIf_ADonorEndsBelowItsCollateralFactor() public {
        ethFeed.setAnswer(1_650e8);
        uint128 most = 12.4e18; // leaves 7.6 * 1402.5 / 10,000 = 1.0659
        IMarginGuard.Rescue memory rescue = _tokens(SECOND, most + 0.1e18);
        assertEq(_refusal(rescue), abi.encodeWithSelector(Token.TokenCallFailed.selector, address(vWeth)));
        _assertSaved(_tokens(SECOND, most));
    }

    function test_RevertIf_TheAllowanceIsUsedUp() public {
        uint256 rate = vWeth.exchangeRateStored();
        uint256 tokens = (1 ether * 1e18 + rate - 1) / rate;
        vm.prank(free);
        vWeth.approve(address(guard), tokens - 1);
        assertEq(
            _refusal(_tokens(FREE, 1 ether)), abi.encodeWithSelector(Token.TokenCallFailed.selector, address(vWeth))
        );
        vm.prank(free);
        vWeth.approve(address(guard), tokens);
        _assertSaved(_tokens(FREE, 1 ether));
    }

    function test_RevertIf_TransfersArePaused() public {
        _pause(comptroller, vWeth, IComptrollerInFull.Action.Transfer);
        assertEq(
            _refusal(_tokens(FREE, 1 ether)), abi.encodeWithSelector(Token.TokenCallFailed.selector, address(vWeth))
        );
    }

    function test_RevertIf_ItIsWorthNoMoreThanItOwes() public {
        ethFeed.setAnswer(1_197e8);
        bytes memory reason = _refusal(_tokens(FREE, 1 ether));
        assertEq(bytes4(reason), IMarginGuard.RecipientWorthNoMoreThanItOwes.selector);
        ethFeed.setAnswer(1_203e8);
        reason = _refusal(_tokens(FREE, 0.01 ether));
        assertEq(bytes4(reason), IMarginGuard.RecipientBelowMinimum.selector);
    }

    function test_RevertIf_TheRecipientOwesNothing() public {
        IMarginGuard.Rescue memory rescue =
            _rescue(FREE, _transfer(IMarginGuard.Kind.Native, SECOND, WETH, WETH, 1 ether));
        assertEq(_refusal(rescue), abi.encodeWithSelector(IMarginGuard.RecipientHasNoDebt.selector, FREE));
    }

    /// @dev It would arrive and save nothing, although the account may end above its minimum without it.
    function test_RevertIf_TheRecipientDidNotEnterTheMarket() public {
        (address fourth, uint16 index) = _openInUsdc();
        bytes memory refusal = abi.encodeWithSelector(VenusPools.MarketNotEntered.selector, address(vWeth), fourth);
        assertEq(_refusal(_rescue(index, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether))), refusal);
        assertEq(_refusal(_rescue(index, _transfer(IMarginGuard.Kind.Cross, WALLET, 0, WETH, 1 ether))), refusal);
        _enter(fourth, comptroller, vWeth);
        _assertSaved(_rescue(index, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether)));
    }

    /// @dev What a market rounds away would otherwise be a part of the amount that counts.
    function test_RevertIf_AnAmountIsTooFine() public {
        uint128 least = uint128(100_000 * _grain(vWeth));
        bytes memory refusal =
            abi.encodeWithSelector(VenusPools.AmountTooFine.selector, address(vWeth), least - 1, least);
        assertEq(_refusal(_tokens(FREE, least - 1)), refusal);
        assertEq(_refusal(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, least - 1))), refusal);
        assertEq(_refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, WALLET, 0, WETH, least - 1))), refusal);
        _assertSaved(_tokens(FREE, least));
    }

    /* CROSS */

    function test_MovesFromVenusToMorpho() public {
        _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Cross, SECOND, WETH, 0, 1 ether)));
        assertEq(_collateral(usdc86), 11 ether);
        assertApproxEqAbs(_heldIn(vWeth, second), 19 ether, 2 * _grain(vWeth));
    }

    /// @dev The market pays out what whole vTokens are worth: what that is more than the amount is the holder's.
    function testFuzz_WhatIsRedeemedBeyondTheAmountIsTheHolders(uint256 amount) public {
        amount = bound(amount, 0.002 ether, 4 ether);
        uint256 before = _heldIn(vWeth, free);
        _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, uint128(amount))));
        assertEq(_collateral(usdc86), 10 ether + amount);
        assertLt(weth.balanceOf(free), _grain(vWeth));
        assertApproxEqAbs(_heldIn(vWeth, free) + weth.balanceOf(free) + amount, before, 2);
    }

    function test_MovesFromMorphoToVenus() public {
        IMarginGuard.Result memory result =
            _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)));
        assertEq(_collateral(usdc77), 9 ether);
        assertApproxEqAbs(_heldIn(vWeth, owner), 11 ether, 2 * _grain(vWeth));
        assertApproxEqAbs(result.healthAfter, 1.5583e18, 1e15);
    }

    function test_MovesFromTheWalletToVenus() public {
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, WALLET, 0, WETH, 1 ether)));
        assertApproxEqAbs(_heldIn(vWeth, owner), 11 ether, 2 * _grain(vWeth));
    }

    function test_MovesNativelyAndAcrossInOneRescue() public {
        IMarginGuard.Result memory result = _assertSaved(
            _rescue(
                MAIN,
                _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether),
                _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)
            )
        );
        assertApproxEqAbs(result.healthAfter, 1.7e18, 1e15); // 12 * 1700 / 12,000
    }

    function test_MovesBetweenTwoPools() public {
        IComptrollerInFull other = _pool();
        IVTokenInFull market = _market(other, weth, ethFeed, 1_000);
        _mintFor(owner, market, 2 ether);
        vm.prank(owner);
        market.approve(address(guard), 2e8);
        IMarginGuard.Enrolment memory enrolment = _venusAccount(owner);
        enrolment.target = address(other);
        enrolment.assets = new address[](1);
        enrolment.assets[0] = address(market);
        uint16 index = _enrol(enrolment);
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, index, 0, WETH, 1 ether)));
        assertEq(market.balanceOf(owner), 1e8);
        assertApproxEqAbs(_heldIn(vWeth, owner), 11 ether, 2 * _grain(vWeth));
    }

    function test_MovesAcrossWhereVTokensWereGivenToTheGuard() public {
        vm.prank(free);
        vWeth.transfer(address(guard), 1e6);
        IMarginGuard.Rescue memory rescue = _rescue(A, _transfer(IMarginGuard.Kind.Cross, SECOND, WETH, 0, 1 ether));
        assertTrue(_rebalance(_batch(rescue))[0].ok);
        assertEq(vWeth.balanceOf(address(guard)), 1e6);
    }

    function test_RevertIf_RedeemingIsPaused() public {
        _pause(comptroller, vWeth, IComptrollerInFull.Action.Redeem);
        _assertActionPaused(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1 ether)), vWeth, 1);
    }

    function test_RevertIf_MintingIsPaused() public {
        _pause(comptroller, vWeth, IComptrollerInFull.Action.Mint);
        _assertActionPaused(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)), vWeth, 0);
    }

    function test_RevertIf_TheSupplyCapIsReached() public {
        (address[] memory markets, uint256[] memory caps) = (new address[](1), new uint256[](1));
        (markets[0], caps[0]) = (address(vWeth), 16_000 ether);
        comptroller.setMarketSupplyCaps(markets, caps);
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether))),
            abi.encodeWithSignature("SupplyCapExceeded(address,uint256)", address(vWeth), 16_000 ether)
        );
    }

    function test_RevertIf_AllIsLentOut() public {
        _lendOutAllWeth();
        assertEq(
            _refusal(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1 ether))),
            abi.encodeWithSignature("RedeemTransferOutNotPossible()")
        );
    }

    /* REPAY */

    function test_RepaysFromAnAccountWithoutDebt() public {
        uint256 owed = vUsdc.borrowBalanceCurrent(owner);
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 1_000e6)));
        assertApproxEqAbs(vUsdc.borrowBalanceCurrent(owner), owed - 1_000e6, 1);
        assertApproxEqAbs(_heldIn(vUsdc, free), 19_000e6, 2);
    }

    function test_RepaysAMorphoLoan() public {
        _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, 1, 1_000e6)));
        assertApproxEqAbs(guard.health(A), 1.3231e18, 1e16); // 17,200 / 13,000, and a month of interest
    }

    function test_RevertIf_MoreIsRepaidThanOwed() public {
        vm.prank(owner);
        guard.setPolicy(MAIN, IMarginGuard.Policy(1.6e18, 1.1e18, type(uint64).max, 1.05e18));
        uint128 owed = uint128(vUsdc.borrowBalanceCurrent(owner));
        IMarginGuard.Rescue memory rescue =
            _rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, owed + 1));
        assertEq(
            _refusal(rescue), abi.encodeWithSelector(Token.AllowanceLeft.selector, address(usdc), address(vUsdc), 1)
        );
    }

    function test_RevertIf_RepayingIsPaused() public {
        _pause(comptroller, vUsdc, IComptrollerInFull.Action.Repay);
        _assertActionPaused(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 1_000e6)), vUsdc, 3);
    }

    /* LIQUIDATION */

    function test_WhoIsSavedIsNotLiquidated() public {
        ethFeed.setAnswer(1_450e8); // 1.027
        _assertSaved(_tokens(FREE, 2 ether));
        ethFeed.setAnswer(1_400e8); // 0.9917 without what it was given
        usdc.mint(address(this), 1_000e6);
        usdc.approve(address(vUsdc), 1_000e6);
        vm.expectRevert(abi.encodeWithSignature("InsufficientShortfall()"));
        vUsdc.liquidateBorrow(owner, 1_000e6, address(vWeth));
    }

    /* HELPERS */

    /// @dev 20,000 USDC that back 13,000; it did not enter the market of WETH.
    function _openInUsdc() private returns (address fourth, uint16 index) {
        fourth = makeAddr("fourth");
        _mintFor(fourth, vUsdc, 20_000e6);
        _enter(fourth, comptroller, vUsdc);
        _borrowFrom(vUsdc, fourth, 13_000e6);
        _permit(fourth);
        index = _enrol(_venusAccount(fourth));
    }

    function _assertActionPaused(IMarginGuard.Rescue memory rescue, IVTokenInFull market, uint8 action) private {
        assertEq(_refusal(rescue), abi.encodeWithSignature("ActionPaused(address,uint8)", address(market), action));
    }

    function _lendOutAllWeth() private {
        address borrower = makeAddr("borrower of all");
        _mintFor(borrower, vUsdc, 40_000_000e6);
        _enter(borrower, comptroller, vUsdc);
        _borrowFrom(vWeth, borrower, vWeth.getCash() - vWeth.totalReserves() - 0.5 ether);
    }
}
