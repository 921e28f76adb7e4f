// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {EulerVaults} from "./EulerVaults.sol";

/// @notice The owner's sub-accounts in our stand-in for Euler, enrolled and permitted.
/// The owner's sub-account 1 holds 10 WETH and owes 12,000 USDC: health 1.4167. Number 2 holds 20 WETH and owes 10,000 USDC:
/// health 3.4. Number 0, the owner itself, holds 5 WETH and 20,000 USDC and owes nothing.
abstract contract EulerSetting is EulerVaults {
    uint32 internal constant TRANSFER_OP = 1 << 4;
    uint32 internal constant WITHDRAW_OP = 1 << 2;
    uint32 internal constant DEPOSIT_OP = 1;

    uint8 internal constant WETH = 0;
    uint8 internal constant USDC = 1;

    uint16 internal constant MAIN = 5;
    uint16 internal constant SECOND = 6;
    uint16 internal constant FREE = 7;

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

    /* SUB-ACCOUNTS */

    function _sub(uint8 id) internal view returns (address) {
        return _subOf(owner, id);
    }

    function _openSub(uint8 id, StandInVault collateral, uint256 amount, uint256 debt) internal {
        _openSubOf(owner, id, collateral, amount, eUsdc, debt);
    }

    function _permit(uint8 id, StandInVault vault, uint256 shares) internal {
        _permitOf(owner, id, vault, shares);
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
