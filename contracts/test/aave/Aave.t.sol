// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {TestFeed} from "../../devnet/TestFeed.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {Asset, IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {AaveV3} from "../../src/protocols/AaveV3.sol";
import {Setting} from "../Setting.sol";
import {AaveMarket} from "./AaveMarket.sol";

/// @notice The guard on the real Aave v3.6, beside Morpho and the wallet of `Setting`.
/// ETH is at 2000 USD and counts 83 %. The owner's account holds 10 WETH and owes 12,000 USDC: health 1.3833.
/// A second account, of a holder that joined, holds 20 WETH and owes 10,000 USDC: health 3.32. A third owes nothing.
contract AaveTest is Setting, AaveMarket {
    uint8 private constant WETH = 0;
    uint8 private constant USDC = 1;

    uint16 private constant MAIN = 5;
    uint16 private constant SECOND = 6;
    uint16 private constant FREE = 7;

    address private second = makeAddr("second account");
    address private free = makeAddr("account without debt");

    TestToken private aWeth;

    function setUp() public override {
        super.setUp();
        Listing[] memory listings = new Listing[](3);
        listings[0] = Listing(weth, ethFeed, 8_050, 8_300, 10_500);
        listings[1] = Listing(usdc, usdcFeed, 7_500, 7_800, 10_450);
        listings[2] = Listing(dai, daiFeed, 6_300, 7_700, 10_500);
        _deployAave(listings, lender, 1_000_000);
        aWeth = _aToken(weth);

        _open(owner, 10 ether, 12_000e6);
        _open(second, 20 ether, 10_000e6);
        _open(free, 5 ether, 0);
        _enrolAave(owner);
        _enrolAave(second);
        _enrolAave(free);
        _setCap(address(usdc), 100_000e6, 1 days);
    }

    function _open(address holder, uint256 collateral, uint256 debt) private {
        _supplyFor(holder, weth, collateral);
        if (debt != 0) _borrowFor(holder, usdc, debt);
        vm.startPrank(holder);
        aWeth.approve(address(guard), 100 ether);
        if (holder != owner) guard.join();
        vm.stopPrank();
    }

    function _aaveAccount(address holder) private view returns (IMarginGuard.Enrolment memory) {
        address[] memory assets = new address[](2);
        (assets[WETH], assets[USDC]) = (address(weth), address(usdc));
        return IMarginGuard.Enrolment(IMarginGuard.Protocol.Aave, holder, address(pool), 0, assets, _policy());
    }

    function _enrolAave(address holder) private {
        _enrol(_aaveAccount(holder));
    }

    function _transfer(IMarginGuard.Kind kind, uint16 from, uint8 fromAsset, uint8 toAsset, uint128 amount)
        private
        pure
        returns (IMarginGuard.Transfer memory)
    {
        return IMarginGuard.Transfer(kind, from, fromAsset, toAsset, amount);
    }

    function _assertSaved(IMarginGuard.Rescue memory rescue) private returns (IMarginGuard.Result memory result) {
        result = _rebalance(_batch(rescue))[0];
        assertTrue(result.ok, string(result.reason));
        assertEq(weth.balanceOf(address(guard)), 0);
        assertEq(usdc.balanceOf(address(guard)), 0);
        assertEq(aWeth.balanceOf(address(guard)), 0);
        assertEq(weth.allowance(address(guard), address(pool)), 0);
        assertEq(usdc.allowance(address(guard), address(pool)), 0);
    }

    /* ENROLMENT */

    function test_EnrolsAnAccountWithWhatItsAssetsAreHeldAsAndOwedAs() public view {
        IMarginGuard.Account memory account = guard.account(MAIN);
        assertTrue(account.protocol == IMarginGuard.Protocol.Aave);
        assertEq(account.assets.length, 2);
        assertEq(account.assets[USDC].underlying, address(usdc));
        assertEq(account.assets[USDC].form, address(_aToken(usdc)));
        assertEq(account.assets[USDC].debt, pool.getReserveData(address(usdc)).variableDebtTokenAddress);
    }

    function test_RevertIf_ThePoolHasNoSuchReserve() public {
        IMarginGuard.Enrolment memory enrolment = _aaveAccount(makeAddr("third"));
        TestToken unlisted = new TestToken("Unlisted", "NONE", 18);
        enrolment.assets[1] = address(unlisted);
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = enrolment;
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(AaveV3.ReserveUnknown.selector, address(pool), address(unlisted)));
        guard.enrol(list);
    }

    function test_RevertIf_AnAaveAccountHasAKey() public {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = _aaveAccount(makeAddr("third"));
        list[0].key = bytes32(uint256(1));
        vm.prank(owner);
        vm.expectRevert(IMarginGuard.KeyIsNotZero.selector);
        guard.enrol(list);
    }

    /* HEALTH */

    function test_HealthIsThePoolsOwn() public {
        assertEq(guard.health(MAIN), _aaveHealth(owner));
        assertApproxEqAbs(guard.health(MAIN), 1.3833e18, 1e14);
        assertEq(guard.health(FREE), NO_DEBT);
        ethFeed.setAnswer(1_400e8);
        vm.warp(block.timestamp + 30 days);
        assertEq(guard.health(MAIN), _aaveHealth(owner));
        assertLt(guard.health(MAIN), 1e18);
    }

    /* NATIVE */

    function test_MovesATokensFromAnAccountWithDebt() public {
        IMarginGuard.Result memory result =
            _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, SECOND, WETH, WETH, 1 ether)));
        assertApproxEqAbs(aWeth.balanceOf(owner), 11 ether, 2);
        assertApproxEqAbs(aWeth.balanceOf(second), 19 ether, 2);
        assertApproxEqAbs(result.healthAfter, 1.5216e18, 1e14); // 11 * 1660 / 12,000
        assertEq(guard.remainingCap(address(weth)), 999 ether);
    }

    function test_MovesATokensAfterAYearOfInterest() public {
        vm.warp(block.timestamp + 365 days);
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1.234567890123456789 ether)));
    }

    function test_AFrozenReserveStillMovesBetweenAccounts() public {
        configurator.setReserveFreeze(address(weth), true);
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether)));
    }

    function test_RevertIf_ADonorEndsBelowItsHardFloor() public {
        _setCap(address(weth), 100_000 ether, 1 days);
        ethFeed.setAnswer(1_650e8); // main 1.141, second 2.739
        bytes memory reason =
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, SECOND, WETH, WETH, 12.5 ether)));
        assertEq(bytes4(reason), IMarginGuard.DonorBelowHardFloor.selector);
    }

    function test_RevertIf_TheHolderHasNotJoined() public {
        vm.prank(second);
        guard.leave();
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, SECOND, WETH, WETH, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.HolderHasNotJoined.selector, SECOND, second)
        );
    }

    function test_RevertIf_TheAllowanceIsUsedUp() public {
        vm.prank(free);
        aWeth.approve(address(guard), 1 ether - 1);
        bytes memory reason = _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether)));
        assertEq(bytes4(reason), bytes4(keccak256("TokenCallFailed(address)")));
    }

    function test_RevertIf_ItIsWorthNoMoreThanItOwes() public {
        ethFeed.setAnswer(1_199e8); // 11,990 USD against 12,000
        bytes memory reason = _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether)));
        assertEq(bytes4(reason), IMarginGuard.RecipientWorthNoMoreThanItOwes.selector);
        ethFeed.setAnswer(1_202e8); // 12,020: the threshold is rounded up by a basis point
        reason = _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1)));
        assertEq(bytes4(reason), IMarginGuard.RecipientBelowMinimum.selector);
    }

    /// @dev From 3.6 on, what an account never had backs it only when its holder, or a position manager, says so.
    function test_WhatIsNewToAnAccountCountsWhereTheGuardMaySaySo() public {
        address bare = makeAddr("account with DAI");
        _supplyFor(bare, dai, 20_000e18);
        _borrowFor(bare, usdc, 11_000e6); // 20,000 * 0.77 / 11,000 = 1.4
        vm.prank(bare);
        guard.join();
        _enrolAave(bare);
        uint16 index = FREE + 1;
        IMarginGuard.Rescue memory rescue =
            _rescue(index, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether));
        rescue.minHealthAfter = 1.5e18;
        assertEq(bytes4(_refusal(rescue)), IMarginGuard.RecipientBelowMinimum.selector);
        vm.prank(bare);
        pool.approvePositionManager(address(guard), true);
        IMarginGuard.Result memory result = _assertSaved(rescue);
        assertApproxEqAbs(result.healthAfter, 1.5509e18, 1e14); // (15,400 + 1,660) / 11,000
    }

    /// @dev aTokens that somebody sends back nothing either, and the account is not new to them any more.
    function test_DustDoesNotKeepWhatIsNewFromCounting() public {
        address bare = makeAddr("account with DAI");
        _supplyFor(bare, dai, 20_000e18);
        _borrowFor(bare, usdc, 11_000e6);
        vm.startPrank(bare);
        guard.join();
        pool.approvePositionManager(address(guard), true);
        vm.stopPrank();
        _enrolAave(bare);
        vm.prank(lender);
        aWeth.transfer(bare, 2);
        uint256 state = vm.snapshotState();
        IMarginGuard.Result memory result =
            _assertSaved(_rescue(FREE + 1, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether)));
        assertApproxEqAbs(result.healthAfter, 1.5509e18, 1e14);
        vm.revertToState(state);
        result = _assertSaved(_rescue(FREE + 1, _transfer(IMarginGuard.Kind.Cross, D, 0, WETH, 1 ether)));
        assertApproxEqAbs(result.healthAfter, 1.5509e18, 1e14);
    }

    function test_WhatCountsAlreadyGoesOnCounting() public {
        _supplyFor(owner, usdc, 100e6);
        _supplyFor(free, usdc, 1_000e6);
        TestToken aUsdc = _aToken(usdc);
        vm.prank(free);
        aUsdc.approve(address(guard), 1_000e6);
        vm.prank(owner);
        pool.approvePositionManager(address(guard), true);
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, FREE, USDC, USDC, 1_000e6)));
    }

    /* CROSS */

    function test_MovesFromAaveToMorpho() public {
        _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Cross, SECOND, WETH, 0, 1 ether)));
        assertEq(_collateral(usdc86), 11 ether);
        assertApproxEqAbs(aWeth.balanceOf(second), 19 ether, 2);
    }

    function test_MovesFromMorphoToAave() public {
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)));
        assertEq(_collateral(usdc77), 9 ether);
        assertApproxEqAbs(aWeth.balanceOf(owner), 11 ether, 2);
    }

    function test_MovesFromTheWalletToAave() public {
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, WALLET, 0, WETH, 1 ether)));
        assertApproxEqAbs(aWeth.balanceOf(owner), 11 ether, 2);
    }

    function test_MovesNativelyAndAcrossInOneRescue() public {
        IMarginGuard.Result memory result = _assertSaved(
            _rescue(
                MAIN,
                _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether),
                _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)
            )
        );
        assertApproxEqAbs(result.healthAfter, 1.66e18, 1e14);
    }

    function test_MovesAcrossAfterAYearOfInterest() public {
        vm.warp(block.timestamp + 365 days);
        _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1.234567890123456789 ether)));
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, D, 0, WETH, 1.234567890123456789 ether)));
    }

    function test_RevertIf_AFrozenReserveIsSupplied() public {
        configurator.setReserveFreeze(address(weth), true);
        bytes memory reason = _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)));
        assertEq(bytes4(reason), bytes4(keccak256("ReserveFrozen()")));
    }

    function test_RevertIf_KindsAreMixedUp() public {
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, WETH, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.WrongKind.selector, FREE, MAIN, IMarginGuard.Kind.Native)
        );
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, B, 0, WETH, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.WrongKind.selector, B, MAIN, IMarginGuard.Kind.Cross)
        );
    }

    function test_RevertIf_AnotherTokenIsSupplied() public {
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, FREE, WETH, USDC, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.WrongKind.selector, FREE, MAIN, IMarginGuard.Kind.Cross)
        );
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, USDC, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.UnderlyingsDiffer.selector, address(weth), address(usdc))
        );
    }

    /* REPAY */

    function test_RepaysWithTheSuppliesOfAnotherAccount() public {
        _supplyFor(free, usdc, 5_000e6);
        TestToken aUsdc = _aToken(usdc);
        vm.prank(free);
        aUsdc.approve(address(guard), 5_000e6);
        IMarginGuard.Result memory result =
            _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 2_000e6)));
        assertApproxEqAbs(result.healthAfter, 1.66e18, 1e14); // 16,600 / 10,000
        assertApproxEqAbs(aUsdc.balanceOf(free), 3_000e6, 2);
    }

    /// @dev The same token, supplied and repaid: two arrivals, each booked for itself.
    function test_SuppliesAndRepaysOneTokenInOneRescue() public {
        _supplyFor(free, usdc, 5_000e6);
        TestToken aUsdc = _aToken(usdc);
        vm.prank(free);
        aUsdc.approve(address(guard), 5_000e6);
        IMarginGuard.Result memory result = _assertSaved(
            _rescue(
                MAIN,
                _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 0.5 ether),
                _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 1_000e6)
            )
        );
        assertApproxEqAbs(result.healthAfter, 1.5845e18, 1e14); // 10.5 * 1660 / 11,000
        _supplyFor(owner, usdc, 1e6); // so that it backs the account
        ethFeed.setAnswer(1_500e8);
        result = _assertSaved(
            _rescue(
                MAIN,
                _transfer(IMarginGuard.Kind.Native, FREE, USDC, USDC, 1_000e6),
                _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 1_000e6)
            )
        );
        assertApproxEqAbs(result.healthAfter, 1.38532e18, 1e14); // (10.5 * 1245 + 1,001 * 0.78) / 10,000
        assertApproxEqAbs(aUsdc.balanceOf(free), 2_000e6, 4);
    }

    function test_RepaysAMorphoLoanFromAave() public {
        _supplyFor(free, usdc, 5_000e6);
        TestToken aUsdc = _aToken(usdc);
        vm.prank(free);
        aUsdc.approve(address(guard), 5_000e6);
        IMarginGuard.Result memory result =
            _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, 1, 1_500e6)));
        assertApproxEqAbs(result.healthAfter, 1.376e18, 1e12);
    }

    /// @dev The pool takes no more than is owed, and what it leaves in the guard is a refusal.
    function test_RevertIf_MoreIsRepaidThanIsOwed() public {
        _supplyFor(free, usdc, 20_000e6);
        TestToken aUsdc = _aToken(usdc);
        vm.prank(free);
        aUsdc.approve(address(guard), 20_000e6);
        bytes memory reason = _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 12_500e6)));
        assertEq(bytes4(reason), bytes4(keccak256("AllowanceLeft(address,address,uint256)")));
    }
}
