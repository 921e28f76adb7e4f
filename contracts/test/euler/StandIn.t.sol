// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {StandInEVC} from "../../devnet/euler/StandInEVC.sol";
import {StandInAdapter, StandInRouter} from "../../devnet/euler/StandInRouter.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {TestFeed} from "../../devnet/TestFeed.sol";
import {TestToken} from "../../devnet/TestToken.sol";

/// @notice A vault whose books can be set to what a real one's were.
contract VaultWithBooks is StandInVault {
    constructor(address evc, address asset_, address oracle_, address unit) StandInVault(evc, asset_, oracle_, unit) {}

    function setBooks(uint256 cash_, uint256 totalBorrowsExact_, uint256 totalSupply_) external {
        (cash, totalSupply, _total.owed) = (cash_, totalSupply_, totalBorrowsExact_);
    }

    function setAccount(address account, uint256 shares, uint256 debtExact) external {
        balanceOf[account] = shares;
        _setDebt(account, debtExact);
    }
}

/// @notice The stand-in for Euler against numbers and refusals of the real contracts on a local chain: ETH is at 2550 USD,
/// sub-account 1 holds 20 shares of eWETH and owes 30,000.000002 USDC, number 2 holds 10 and owes 22,000.000001: it is
/// liquidatable. Number 0 holds 15 and owes nothing.
contract StandInTest is Test {
    address private constant USD = address(840);
    uint256 private constant DEBT_1 = 64424509442846579770;
    uint256 private constant DEBT_2 = 47244640258087491831;
    uint256 private constant MOST_OF_1 = 5825655562486845459; // shares that sub-account 1 could give

    address private owner = makeAddr("owner");
    address private spender = makeAddr("spender");
    address private operator = makeAddr("operator");

    StandInEVC private evc;
    StandInRouter private router;
    TestFeed private ethFeed;
    TestFeed private usdcFeed;
    TestToken private weth;
    TestToken private usdc;
    VaultWithBooks private eWeth;
    VaultWithBooks private eUsdc;

    function setUp() public {
        vm.warp(1_760_000_003);
        evc = new StandInEVC();
        router = new StandInRouter();
        weth = new TestToken("Wrapped Ether", "WETH", 18);
        usdc = new TestToken("USD Coin", "USDC", 6);
        ethFeed = new TestFeed("ETH / USD", 8, 2_550e8);
        usdcFeed = new TestFeed("USDC / USD", 8, 1e8);
        eWeth = _vault(weth, ethFeed);
        eUsdc = _vault(usdc, usdcFeed);
        eUsdc.setLTV(address(eWeth), 0.83e4, 0.85e4, 0);
        eWeth.setBooks(837e18, 17179869184229073873534736608, 845000000000010667082);
        eUsdc.setBooks(1976000000000, 137438953478072703509, 2040000000000);
        eWeth.setAccount(owner, 15e18, 0);
        _open(1, 20e18, DEBT_1);
        _open(2, 10e18, DEBT_2);
        vm.startPrank(owner);
        for (uint8 id; id < 3; ++id) {
            evc.call(address(eWeth), _sub(id), 0, abi.encodeCall(eWeth.approve, (spender, type(uint256).max)));
            evc.setAccountOperator(_sub(id), operator, true);
        }
        vm.stopPrank();
        vm.warp(block.timestamp + 1); // the cool-off
    }

    function _vault(TestToken token, TestFeed feed) private returns (VaultWithBooks vault) {
        vault = new VaultWithBooks(address(evc), address(token), address(router), USD);
        StandInAdapter adapter = new StandInAdapter(address(token), USD, address(feed), 72 hours);
        router.govSetConfig(address(token), USD, address(adapter));
        router.govSetResolvedVault(address(vault), true);
    }

    function _open(uint8 id, uint256 shares, uint256 debt) private {
        vm.startPrank(owner);
        evc.enableCollateral(_sub(id), address(eWeth));
        evc.enableController(_sub(id), address(eUsdc));
        vm.stopPrank();
        eWeth.setAccount(_sub(id), shares, 0);
        eUsdc.setAccount(_sub(id), 0, debt);
    }

    function _sub(uint8 id) private view returns (address) {
        return address(uint160(owner) ^ id);
    }

    function _move(uint8 from, uint8 to, uint256 shares) private {
        (address source, address target) = (_sub(from), _sub(to));
        vm.prank(spender);
        eWeth.transferFrom(source, target, shares);
    }

    function _moveItem(uint8 from, uint8 to, uint256 shares) private view returns (StandInEVC.BatchItem memory) {
        bytes memory data = abi.encodeCall(eWeth.transferFrom, (_sub(from), _sub(to), shares));
        return StandInEVC.BatchItem(address(eWeth), spender, 0, data);
    }

    /* SHARES AND DEBTS */

    function test_SharesAreWorthWhatTheyWereWorth() public {
        assertEq(eWeth.convertToAssets(1e18), 1000000000000113613);
        assertEq(eWeth.convertToAssets(20e18), 20000000000002272278);
        assertEq(eUsdc.convertToAssets(1e18), 1000000000001470587);
        eWeth.setBooks(450000000000000000066, 854796562696319759366541476158, 848004566555806682001);
        assertEq(eWeth.totalBorrows(), 398045667771398909095);
        assertEq(eWeth.convertToAssets(1e18), 1000048468153608135);
        assertEq(eWeth.convertToAssets(2999999999999318393), 3000145404460142766);
        eUsdc.setBooks(1775999999998, 3788622647790223538604, 3540021488753);
        assertEq(eUsdc.convertToAssets(40_000e6), 40002185415);
    }

    function testFuzz_WhatIsWithdrawnTakesSharesThatAreWorthIt(uint96 assets) public view {
        uint256 shares = eWeth.previewWithdraw(assets);
        assertGe(eWeth.convertToAssets(shares), assets);
        if (shares != 0) assertLt(eWeth.convertToAssets(shares - 1), assets);
        assertLe(eWeth.convertToAssets(eWeth.previewDeposit(assets)), assets);
    }

    /// @dev 845 and a little WETH are in the vault: EVK keeps caps in hundredths of a power of ten.
    function test_ASupplyCapIsReachedAndNotPassed() public {
        uint256 held = eWeth.cash() + eWeth.totalBorrowsExact() / 2 ** 31;
        eWeth.setCaps(850 << 6 | 20, 0);
        this.deposit(850e18 - held);
        vm.expectRevert(StandInVault.E_SupplyCapExceeded.selector);
        this.deposit(2);
    }

    function test_RevertIf_MoreIsLentThanTheBorrowCap() public {
        eUsdc.setCaps(0, 640 << 6 | 10); // 64,000 USDC, of which 64,000.000003 are lent
        bytes memory data = abi.encodeCall(eUsdc.borrow, (1, owner));
        vm.prank(owner);
        vm.expectRevert(StandInVault.E_BorrowCapExceeded.selector);
        evc.call(address(eUsdc), _sub(1), 0, data);
    }

    function deposit(uint256 amount) external {
        weth.mint(address(this), amount);
        weth.approve(address(eWeth), amount);
        eWeth.deposit(amount, owner);
    }

    function test_DebtsAreRoundedUp() public view {
        assertEq(eUsdc.debtOf(_sub(1)), 30000000002);
        assertEq(eUsdc.debtOf(_sub(2)), 22000000001);
        assertEq(eUsdc.totalBorrows(), 64000000003);
    }

    function test_InterestGoesToTheShares() public {
        eUsdc.setInterestRate(1e18);
        uint256 shares = eUsdc.previewDeposit(1_000_000e6);
        vm.warp(block.timestamp + 365 days);
        assertApproxEqAbs(eUsdc.debtOf(_sub(1)), 30_946.08e6, 1e4); // 30,000 and 3.1536 %
        assertApproxEqAbs(eUsdc.totalAssets(), 2_042_018.304e6, 1e4); // of 64,000 lent out
        assertApproxEqAbs(eUsdc.convertToAssets(shares), 1_000_989.36e6, 1e4);
    }

    /* LIQUIDITY */

    function test_LiquidityIsWhatItWas() public view {
        _assertLiquidity(1, true, 43350000000004925162565, 30000000002000000000000);
        _assertLiquidity(1, false, 42330000000004809276387, 30000000002000000000000);
        _assertLiquidity(2, true, 21675000000002462581282, 22000000001000000000000);
        _assertLiquidity(2, false, 21165000000002404638193, 22000000001000000000000);
    }

    function _assertLiquidity(uint8 id, bool liquidation, uint256 collateral, uint256 debt) private view {
        (uint256 collateralValue, uint256 liabilityValue) = eUsdc.accountLiquidity(_sub(id), liquidation);
        assertEq(collateralValue, collateral);
        assertEq(liabilityValue, debt);
    }

    function test_RevertIf_LiquidityIsAskedOfAnotherVault() public {
        vm.expectRevert(StandInVault.E_NotController.selector);
        eWeth.accountLiquidity(_sub(1), true);
    }

    function test_RevertIf_LiquidityIsAskedWithoutAController() public {
        vm.expectRevert(StandInVault.E_NoLiability.selector);
        eUsdc.accountLiquidity(owner, true);
    }

    function test_AControllerThatIsOwedNothingRestrictsNothing() public {
        _open(0, 15e18, 0);
        _assertLiquidity(0, true, 32512500000003693870840, 0);
        _move(0, 2, 15e18);
    }

    function test_TheLiquidationLTVFallsLittleByLittleAndTheBorrowLTVAtOnce() public {
        eUsdc.setLTV(address(eWeth), 0.7e4, 0.75e4, 604_800);
        vm.warp(block.timestamp + 302_400);
        assertEq(eUsdc.LTVBorrow(address(eWeth)), 0.7e4);
        assertEq(eUsdc.LTVLiquidation(address(eWeth)), 0.8e4);
        (,, uint16 initial, uint48 target,) = eUsdc.LTVFull(address(eWeth));
        assertEq(initial, 0.85e4);
        assertEq(target, block.timestamp + 302_400);
        vm.warp(target);
        assertEq(eUsdc.LTVLiquidation(address(eWeth)), 0.75e4);
    }

    /* MOVES */

    function test_TheMostThatMayLeaveIsWhatItWas() public {
        vm.expectRevert(StandInVault.E_AccountLiquidity.selector);
        _move(1, 2, MOST_OF_1 + 1);
        _move(1, 2, MOST_OF_1);
    }

    function test_RevertIf_TheMostOfOneBlockMovesInTheNext() public {
        eUsdc.setInterestRate(701807088382842852);
        vm.warp(block.timestamp + 12);
        vm.expectRevert(StandInVault.E_AccountLiquidity.selector);
        _move(1, 2, MOST_OF_1);
        _move(1, 2, MOST_OF_1 - MOST_OF_1 / 10_000);
    }

    function test_RevertIf_MoreThanTheBalanceMoves() public {
        vm.expectRevert(StandInVault.E_InsufficientBalance.selector);
        _move(0, 2, 15e18 + 1);
        _move(0, 2, 15e18);
    }

    function test_RevertIf_AnAccountBelowItsBorrowLTVGivesNothing() public {
        vm.expectRevert(StandInVault.E_AccountLiquidity.selector);
        _move(2, 1, 0);
    }

    function test_ReceivingIsNeverChecked() public {
        _move(0, 2, 1e15);
        (uint256 collateral, uint256 debt) = eUsdc.accountLiquidity(_sub(2), true);
        assertLt(collateral, debt);
    }

    function test_RevertIf_EqualityIsLeft() public {
        eWeth.setBooks(0, 0, 0);
        eUsdc.setAccount(_sub(1), 0, 42_330e6 << 31); // 20 * 2550 * 83 %, at a share for a WETH
        vm.expectRevert(StandInVault.E_AccountLiquidity.selector);
        _move(1, 2, 0);
        eUsdc.setAccount(_sub(1), 0, 42_330e6 - 1 << 31);
        _move(1, 2, 0);
    }

    function test_RevertIf_TransfersAreDisabled() public {
        eWeth.setHookConfig(address(0), 16);
        vm.expectRevert(StandInVault.E_OperationDisabled.selector);
        _move(0, 2, 1e18);
    }

    function test_RevertIf_ThePriceIsTooOldForWhoOwes() public {
        vm.warp(block.timestamp + 80 hours - 1);
        bytes memory tooStale = abi.encodeWithSelector(StandInAdapter.PriceOracle_TooStale.selector, 80 hours, 72 hours);
        vm.expectRevert(tooStale);
        eUsdc.accountLiquidity(_sub(1), true);
        vm.expectRevert(tooStale);
        _move(1, 2, 1);
        _move(0, 2, 1e18);
    }

    /// @dev Recorded: what is covered by the first collateral may leave although the second has no price; what is not is
    /// refused by the second's oracle.
    function test_TheCheckStopsAtTheCollateralsThatSuffice() public {
        TestToken other = new TestToken("Other", "OTHER", 18);
        VaultWithBooks eOther = _vault(other, new TestFeed("OTHER / USD", 8, 0));
        eUsdc.setLTV(address(eOther), 0.8e4, 0.82e4, 0);
        eOther.setAccount(_sub(1), 2e18, 0);
        vm.prank(owner);
        evc.enableCollateral(_sub(1), address(eOther));
        vm.expectRevert(StandInAdapter.PriceOracle_InvalidAnswer.selector);
        eUsdc.accountLiquidity(_sub(1), true);
        vm.expectRevert(StandInAdapter.PriceOracle_InvalidAnswer.selector);
        _move(1, 2, MOST_OF_1 + 1);
        _move(1, 2, MOST_OF_1);
    }

    /* THE CONNECTOR */

    function test_ABatchChecksAnAccountAtItsEnd() public {
        StandInEVC.BatchItem[] memory items = new StandInEVC.BatchItem[](2);
        (items[0], items[1]) = (_moveItem(1, 0, MOST_OF_1 + 1), _moveItem(0, 1, 1));
        vm.prank(spender);
        evc.batch(items);
        assertEq(eWeth.balanceOf(_sub(1)), 20e18 - MOST_OF_1);
        assertFalse(evc.areChecksDeferred());
    }

    function test_RevertIf_ABatchHasMoreThanTenAccountsChecked() public {
        StandInEVC.BatchItem[] memory items = new StandInEVC.BatchItem[](11);
        for (uint8 i; i < 11; ++i) {
            uint8 id = 100 + i;
            bytes memory approval = abi.encodeCall(eWeth.approve, (spender, 1e18));
            vm.prank(owner);
            evc.call(address(eWeth), _sub(id), 0, approval);
            eWeth.setAccount(_sub(id), 1e18, 0);
            items[i] = _moveItem(id, 2, 1e17);
        }
        vm.prank(spender);
        vm.expectRevert(StandInEVC.TooManyElements.selector);
        evc.batch(items);
        items[10] = _moveItem(100, 2, 1e17); // not another account
        vm.prank(spender);
        evc.batch(items);
    }

    function test_RevertIf_AnAccountHasMoreThanTenCollaterals() public {
        vm.startPrank(owner);
        for (uint160 i = 1; i <= 10; ++i) {
            evc.enableCollateral(owner, address(i));
        }
        vm.expectRevert(StandInEVC.TooManyElements.selector);
        evc.enableCollateral(owner, address(11));
        vm.stopPrank();
    }

    function test_RevertIf_AnAccountKeepsTwoControllers() public {
        vm.prank(owner);
        vm.expectRevert(StandInEVC.EVC_ControllerViolation.selector);
        evc.enableController(_sub(1), address(eWeth));
    }

    function test_RevertIf_AnIndebtedAccountLeavesItsController() public {
        address account = _sub(1);
        vm.prank(owner);
        vm.expectRevert(StandInVault.E_OutstandingDebt.selector);
        evc.call(address(eUsdc), account, 0, abi.encodeCall(eUsdc.disableController, ()));
    }

    function test_AnOperatorMoves() public {
        vm.startPrank(operator);
        evc.call(address(eWeth), _sub(1), 0, abi.encodeCall(eWeth.transfer, (_sub(2), 1941885187495615153)));
        assertEq(eWeth.balanceOf(_sub(2)), 11941885187495615153);
    }

    function test_RevertIf_AStrangerMoves() public {
        (address account, bytes memory data) = (_sub(1), abi.encodeCall(eWeth.transfer, (_sub(2), 1)));
        vm.prank(makeAddr("stranger"));
        vm.expectRevert(StandInEVC.EVC_NotAuthorized.selector);
        evc.call(address(eWeth), account, 0, data);
    }

    function test_RevertIf_AnOperatorMovesInLockdown() public {
        (address account, bytes memory data) = (_sub(0), abi.encodeCall(eWeth.transfer, (_sub(2), 1)));
        bytes19 prefix = evc.getAddressPrefix(owner);
        vm.prank(owner);
        evc.setLockdownMode(prefix, true);
        vm.prank(operator);
        vm.expectRevert(StandInEVC.EVC_LockdownMode.selector);
        evc.call(address(eWeth), account, 0, data);
        _move(0, 2, 1); // an allowance from before
    }

    /* LIQUIDATION */

    function test_WhatALiquidatorMayTakeIsWhatItWas() public {
        _assertLiquidation(1, 0, 0);
        _assertLiquidation(2, 22000000001, 8756812991272859256);
        ethFeed.setAnswer(2_400e8);
        _assertLiquidation(1, 0, 0);
        _assertLiquidation(2, 22000000001, 9885620915929126266);
    }

    function _assertLiquidation(uint8 id, uint256 repay, uint256 yield) private view {
        (uint256 maxRepay, uint256 maxYield) = eUsdc.checkLiquidation(address(this), _sub(id), address(eWeth));
        assertEq(maxRepay, repay);
        assertEq(maxYield, yield);
    }

    function test_EqualityIsLiquidatable() public {
        eWeth.setBooks(0, 0, 0);
        eUsdc.setAccount(_sub(2), 0, 21_675e6 << 31); // 10 * 2550 * 85 %, at a share for a WETH
        _assertLiquidation(2, 21_675e6, 8.5e18);
        eUsdc.setAccount(_sub(2), 0, 21_675e6 - 1 << 31);
        _assertLiquidation(2, 0, 0);
    }

    function test_ALiquidatorTakesTheDebtAndCollateralForIt() public {
        address liquidator = makeAddr("liquidator");
        eWeth.setAccount(liquidator, 5e18, 0);
        vm.startPrank(liquidator);
        evc.enableCollateral(liquidator, address(eWeth));
        evc.enableController(liquidator, address(eUsdc));
        eUsdc.liquidate(_sub(2), address(eWeth), type(uint256).max, 8.7e18);
        vm.stopPrank();
        assertEq(eUsdc.debtOf(_sub(2)), 0);
        assertEq(eUsdc.debtOf(liquidator), 22000000001);
        assertEq(eWeth.balanceOf(liquidator), 5e18 + 8756812991272859256);
        assertEq(eWeth.balanceOf(_sub(2)), 10e18 - 8756812991272859256);
    }

    function test_RevertIf_AnAccountIsLiquidatedInTheSecondOfItsCheck() public {
        _move(1, 2, 0);
        ethFeed.setAnswer(1_500e8);
        address account = _sub(1);
        vm.expectRevert(StandInVault.E_LiquidationCoolOff.selector);
        eUsdc.checkLiquidation(address(this), account, address(eWeth));
    }

    function test_RevertIf_TheCollateralIsNotTheControllers() public {
        address account = _sub(2);
        vm.expectRevert(StandInVault.E_BadCollateral.selector);
        eUsdc.checkLiquidation(address(this), account, address(eUsdc));
    }
}
