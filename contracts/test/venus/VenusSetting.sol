// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {TestToken} from "../../devnet/TestToken.sol";
import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {Setting} from "../Setting.sol";
import {IComptrollerInFull, IVTokenInFull, VenusMarkets} from "./VenusMarkets.sol";

/// @notice A pool of Venus, beside Morpho and the wallet of `Setting`: markets of WETH and USDC, lent from for a month, so
/// that a vToken is worth more than at first. ETH is at 2000 USD.
/// The owner holds 10 WETH and owes 12,000 USDC: health 1.4167. `second` holds 20 WETH and owes 10,000 USDC: health 3.4.
/// `free` holds 5 WETH and 20,000 USDC and owes nothing.
abstract contract VenusSetting is Setting, VenusMarkets {
    uint8 internal constant WETH = 0;
    uint8 internal constant USDC = 1;

    uint16 internal constant MAIN = 5;
    uint16 internal constant SECOND = 6;
    uint16 internal constant FREE = 7;

    address internal second = makeAddr("second holder");
    address internal free = makeAddr("holder without debt");

    IComptrollerInFull internal comptroller;
    IVTokenInFull internal vWeth;
    IVTokenInFull internal vUsdc;

    function setUp() public virtual override {
        super.setUp();
        _deployVenus();
        comptroller = _pool();
        vWeth = _market(comptroller, weth, ethFeed, 15_000);
        vUsdc = _market(comptroller, usdc, usdcFeed, 1_000_000);
        _lendOut();
        _openIn(owner, 10 ether, 12_000e6);
        _openIn(second, 20 ether, 10_000e6);
        _openIn(free, 5 ether, 0);
        _mintFor(free, vUsdc, 20_000e6);
        _permit(owner);
        _permit(second);
        _permit(free);
        _enrol(_venusAccount(owner));
        _enrol(_venusAccount(second));
        _enrol(_venusAccount(free));
        _setCap(address(usdc), 100_000e6, 1 days);
    }

    /* THE POOL */

    /// @dev A part of both, for a month: more of the USDC, so that healths fall with time.
    function _lendOut() private {
        address borrower = makeAddr("borrower");
        _mintFor(borrower, vUsdc, 40_000_000e6);
        _mintFor(borrower, vWeth, 1_000 ether);
        _enter(borrower, comptroller, vUsdc);
        _enter(borrower, comptroller, vWeth);
        _borrowFrom(vWeth, borrower, 1_000 ether);
        _borrowFrom(vUsdc, borrower, 10_000_000e6);
        _pass(30 days);
        vWeth.accrueInterest();
        vUsdc.accrueInterest();
    }

    /// @dev Time in which the feeds keep on reporting the same prices.
    function _pass(uint256 time) internal {
        vm.warp(block.timestamp + time);
        ethFeed.setAnswer(ethFeed.latestAnswer());
        usdcFeed.setAnswer(usdcFeed.latestAnswer());
        daiFeed.setAnswer(daiFeed.latestAnswer());
    }

    /* ACCOUNTS */

    function _openIn(address holder, uint256 collateral, uint256 debt) internal {
        _mintFor(holder, vWeth, collateral);
        _enter(holder, comptroller, vWeth);
        if (debt != 0) _borrowFrom(vUsdc, holder, debt);
    }

    function _permit(address holder) internal {
        vm.startPrank(holder);
        if (holder != owner) guard.join();
        vWeth.approve(address(guard), 100e8);
        vUsdc.approve(address(guard), 100_000e8);
        vm.stopPrank();
    }

    function _heldIn(IVTokenInFull market, address holder) internal view returns (uint256) {
        return market.balanceOf(holder) * market.exchangeRateStored() / 1e18;
    }

    /// @dev What one of the smallest vTokens is worth.
    function _grain(IVTokenInFull market) internal view returns (uint256) {
        return market.exchangeRateStored() / 1e18 + 1;
    }

    /* THE GUARD'S SETTINGS AND PLANS */

    function _venusAccount(address holder) internal view returns (IMarginGuard.Enrolment memory) {
        address[] memory markets = new address[](2);
        (markets[WETH], markets[USDC]) = (address(vWeth), address(vUsdc));
        return IMarginGuard.Enrolment(IMarginGuard.Protocol.Venus, holder, address(comptroller), 0, markets, _policy());
    }

    /// @dev A health on Venus goes through both markets, the proxies of each and the oracle's.
    function _rescue(uint16 to, IMarginGuard.Transfer memory one)
        internal
        pure
        override
        returns (IMarginGuard.Rescue memory rescue)
    {
        rescue = super._rescue(to, one);
        rescue.gas = 4 * RESCUE_GAS;
    }

    function _rescue(uint16 to, IMarginGuard.Transfer memory one, IMarginGuard.Transfer memory two)
        internal
        pure
        override
        returns (IMarginGuard.Rescue memory rescue)
    {
        rescue = super._rescue(to, one, two);
        rescue.gas = 4 * RESCUE_GAS;
    }

    function _transfer(IMarginGuard.Kind kind, uint16 from, uint8 fromAsset, uint8 toAsset, uint128 amount)
        internal
        pure
        returns (IMarginGuard.Transfer memory)
    {
        return IMarginGuard.Transfer(kind, from, fromAsset, toAsset, amount);
    }

    /// @dev vTokens of WETH to the owner's account.
    function _tokens(uint16 from, uint128 amount) internal pure returns (IMarginGuard.Rescue memory) {
        return _rescue(MAIN, _transfer(IMarginGuard.Kind.Native, from, WETH, WETH, amount));
    }

    function _assertSaved(IMarginGuard.Rescue memory rescue) internal returns (IMarginGuard.Result memory result) {
        result = _rebalance(_batch(rescue))[0];
        assertTrue(result.ok, string(result.reason));
        _assertNothingIsLeft(vWeth);
        _assertNothingIsLeft(vUsdc);
    }

    function _assertNothingIsLeft(IVTokenInFull market) private view {
        TestToken token = TestToken(market.underlying());
        assertEq(market.balanceOf(address(guard)), 0);
        assertEq(token.balanceOf(address(guard)), 0);
        assertEq(token.allowance(address(guard), address(market)), 0);
    }
}
