// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {StandInEVC} from "../../devnet/euler/StandInEVC.sol";
import {StandInAdapter, StandInRouter} from "../../devnet/euler/StandInRouter.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {TestFeed} from "../../devnet/TestFeed.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {Setting} from "../Setting.sol";

/// @notice Our stand-in for Euler, beside Morpho and the wallet of `Setting`: vaults of WETH, USDC and DAI, lent from for a
/// month, so that a share is worth more than one. ETH is at 2000 USD; shares of eWETH count 80 % for who borrows, and 85 %
/// for who may be liquidated.
abstract contract EulerVaults is Setting {
    address internal constant USD = address(840);
    uint256 internal constant MAX_STALENESS = 72 hours;
    uint256 internal constant RATE = 1e18; // 3.2 % a year

    address internal borrower = makeAddr("borrower of WETH");

    StandInEVC internal evc;
    StandInRouter internal router;
    StandInVault internal eWeth;
    StandInVault internal eUsdc;
    StandInVault internal eDai;

    function _deployEuler() internal {
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

    function _subOf(address holder, uint8 id) internal pure returns (address) {
        return address(uint160(holder) ^ id);
    }

    /// @dev Of a holder's sub-account, with what it owes, if anything, of USDC or WETH.
    function _openSubOf(
        address holder,
        uint8 id,
        StandInVault collateral,
        uint256 amount,
        StandInVault loan,
        uint256 debt
    ) internal {
        address account = _subOf(holder, id);
        _depositFor(account, collateral, amount);
        vm.startPrank(holder);
        evc.enableCollateral(account, address(collateral));
        evc.enableController(account, address(loan));
        vm.stopPrank();
        if (debt != 0) _actFor(holder, id, loan, abi.encodeCall(loan.borrow, (debt, holder)));
    }

    function _depositFor(address account, StandInVault vault, uint256 amount) internal {
        TestToken token = TestToken(vault.asset());
        token.mint(address(this), amount);
        token.approve(address(vault), amount);
        vault.deposit(amount, account);
    }

    function _permitOf(address holder, uint8 id, StandInVault vault, uint256 shares) internal {
        _actFor(holder, id, vault, abi.encodeCall(vault.approve, (address(guard), shares)));
    }

    /// @dev A sub-account has no key of its own: its owner acts for it through the connector.
    function _actFor(address holder, uint8 id, StandInVault vault, bytes memory data) internal {
        vm.prank(holder);
        evc.call(address(vault), _subOf(holder, id), 0, data);
    }
}
