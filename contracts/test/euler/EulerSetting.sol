// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {StandInEVC} from "../../devnet/euler/StandInEVC.sol";
import {StandInAdapter, StandInRouter} from "../../devnet/euler/StandInRouter.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {TestFeed} from "../../devnet/TestFeed.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {Setting} from "../Setting.sol";

/// @notice Our stand-in for Euler, beside Morpho and the wallet of `Setting`: vaults of WETH, USDC and DAI, lent from for a
/// month, so that a share is worth more than one. ETH is at 2000 USD; shares of eWETH count 80 % for who borrows, and 85 %
/// for who may be liquidated.
/// The owner's sub-account 1 holds 10 WETH and owes 12,000 USDC: health 1.4167. Number 2 holds 20 WETH and owes 10,000 USDC:
/// health 3.4. Number 0, the owner itself, holds 5 WETH and 20,000 USDC and owes nothing.
abstract contract EulerSetting is Setting {
    address internal constant USD = address(840);
    uint256 internal constant MAX_STALENESS = 72 hours;
    uint256 internal constant RATE = 1e18; // 3.2 % a year
    uint32 internal constant TRANSFER_OP = 1 << 4;
    uint32 internal constant WITHDRAW_OP = 1 << 2;
    uint32 internal constant DEPOSIT_OP = 1;

    uint8 internal constant WETH = 0;
    uint8 internal constant USDC = 1;

    uint16 internal constant MAIN = 5;
    uint16 internal constant SECOND = 6;
    uint16 internal constant FREE = 7;

    address internal borrower = makeAddr("borrower of WETH");

    StandInEVC internal evc;
    StandInRouter internal router;
    StandInVault internal eWeth;
    StandInVault internal eUsdc;
    StandInVault internal eDai;

    function setUp() public virtual override {
        super.setUp();
        _deployEuler();
        _openSub(1, eWeth, 10 ether, 12_000e6);
        _openSub(2, eWeth, 20 ether, 10_000e6);
        _depositFor(owner, eWeth, 5 ether);
        _depositFor(owner, eUsdc, 20_000e6);
        for (uint8 id; id < 3; ++id) {
            _permit(id, eWeth, 100 ether);
            _permit(id, eUsdc, 100_000e6);
        }
        _enrol(_eulerAccount(1));
        _enrol(_eulerAccount(2));
        _enrol(_eulerAccount(0));
        _setCap(address(usdc), 100_000e6, 1 days);
    }

    /* THE VAULTS */

    function _deployEuler() private {
        evc = new StandInEVC();
        router = new StandInRouter();
        eWeth = _vault(weth, ethFeed);
        eUsdc = _vault(usdc, usdcFeed);
        eDai = _vault(dai, daiFeed);
        eUsdc.setLTV(address(eWeth), 0.8e4, 0.85e4, 0);
        eUsdc.setLTV(address(eDai), 0.7e4, 0.75e4, 0);
        eWeth.setLTV(address(eUsdc), 0.8e4, 0.85e4, 0);

        _depositFor(borrower, eUsdc, 1_000_000e6);
        vm.startPrank(borrower);
        evc.enableCollateral(borrower, address(eUsdc));
        evc.enableController(borrower, address(eWeth));
        eWeth.borrow(300 ether, borrower);
        vm.stopPrank();
        _pass(30 days);
    }

    function _vault(TestToken token, TestFeed feed) internal returns (StandInVault vault) {
        vault = new StandInVault(address(evc), address(token), address(router), USD);
        if (router.getConfiguredOracle(address(token), USD) == address(0)) {
            StandInAdapter adapter = new StandInAdapter(address(token), USD, address(feed), MAX_STALENESS);
            router.govSetConfig(address(token), USD, address(adapter));
        }
        router.govSetResolvedVault(address(vault), true);
        vault.setInterestRate(RATE);
        _depositFor(lender, vault, 1_000 * 10 ** token.decimals());
        if (token != weth) _depositFor(lender, vault, 1_000_000 * 10 ** token.decimals());
    }

    /// @dev Time in which the feeds keep on reporting the same prices.
    function _pass(uint256 time) internal {
        vm.warp(block.timestamp + time);
        ethFeed.setAnswer(ethFeed.latestAnswer());
        usdcFeed.setAnswer(usdcFeed.latestAnswer());
        daiFeed.setAnswer(daiFeed.latestAnswer());
    }

    /* SUB-ACCOUNTS */

    function _sub(uint8 id) internal view returns (address) {
        return address(uint160(owner) ^ id);
    }

    function _openSub(uint8 id, StandInVault collateral, uint256 amount, uint256 debt) internal {
        _depositFor(_sub(id), collateral, amount);
        vm.startPrank(owner);
        evc.enableCollateral(_sub(id), address(collateral));
        evc.enableController(_sub(id), address(eUsdc));
        evc.call(address(eUsdc), _sub(id), 0, abi.encodeCall(eUsdc.borrow, (debt, owner)));
        vm.stopPrank();
    }

    function _depositFor(address account, StandInVault vault, uint256 amount) internal {
        TestToken token = TestToken(vault.asset());
        token.mint(address(this), amount);
        token.approve(address(vault), amount);
        vault.deposit(amount, account);
    }

    function _permit(uint8 id, StandInVault vault, uint256 shares) internal {
        vm.prank(owner);
        evc.call(address(vault), _sub(id), 0, abi.encodeCall(vault.approve, (address(guard), shares)));
    }

    function _held(uint8 id, StandInVault vault) internal view returns (uint256 assets) {
        return vault.convertToAssets(vault.balanceOf(_sub(id)));
    }

    /// @dev As the controller counts it.
    function _eulerHealth(uint8 id) internal view returns (uint256) {
        (uint256 collateral, uint256 debt) = eUsdc.accountLiquidity(_sub(id), true);
        return collateral * 1e18 / debt;
    }

    /* THE GUARD'S SETTINGS AND PLANS */

    function _eulerAccount(uint8 id) internal view returns (IMarginGuard.Enrolment memory) {
        address[] memory vaults = new address[](2);
        (vaults[WETH], vaults[USDC]) = (address(eWeth), address(eUsdc));
        return IMarginGuard.Enrolment(
            IMarginGuard.Protocol.Euler, owner, address(evc), bytes32(uint256(id)), vaults, _policy()
        );
    }

    function _transfer(IMarginGuard.Kind kind, uint16 from, uint8 fromAsset, uint8 toAsset, uint128 amount)
        internal
        pure
        returns (IMarginGuard.Transfer memory)
    {
        return IMarginGuard.Transfer(kind, from, fromAsset, toAsset, amount);
    }

    /// @dev WETH shares of a sub-account to the main one.
    function _shares(uint16 from, uint128 amount) internal pure returns (IMarginGuard.Rescue memory) {
        return _rescue(MAIN, _transfer(IMarginGuard.Kind.Native, from, WETH, WETH, amount));
    }

    function _assertSaved(IMarginGuard.Rescue memory rescue) internal returns (IMarginGuard.Result memory result) {
        result = _rebalance(_batch(rescue))[0];
        assertTrue(result.ok, string(result.reason));
        _assertNothingIsLeft(eWeth);
        _assertNothingIsLeft(eUsdc);
    }

    function _assertNothingIsLeft(StandInVault vault) private view {
        TestToken token = TestToken(vault.asset());
        assertEq(vault.balanceOf(address(guard)), 0);
        assertEq(token.balanceOf(address(guard)), 0);
        assertEq(token.allowance(address(guard), address(vault)), 0);
    }
}
