// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IEVC, IEulerVault} from "../interfaces/IEuler.sol";
import {Asset} from "../interfaces/IMarginGuard.sol";
import {Token} from "../Token.sol";

/// @notice One sub-account of Euler v2: vault shares are the collateral, and finite allowances of them the permission.
/// @dev All amounts are the vault's underlying. A vault checks whoever gave at the end of each call, so a sub-account that
/// gives is never below its borrow LTV; whoever receives is not checked by it, but by the guard.
library EulerV2 {
    using Token for address;

    uint256 private constant WAD = 1e18;
    uint256 private constant FROM_BPS = 1e14;

    error ChecksAreDeferred(address evc);
    error VaultOfAnotherEVC(address vault, address evc);
    error NotASubAccount(bytes32 key);
    error ControllerIsNotEnrolled(address controller);

    function assetOf(address evc, address vault) internal view returns (Asset memory) {
        if (IEulerVault(vault).EVC() != evc) revert VaultOfAnotherEVC(vault, evc);
        return Asset(IEulerVault(vault).asset(), vault, vault);
    }

    /// @return The sub-account: the owner's address with the number in its last byte turned over (EVC, `getAccountOwner`).
    function accountOf(address owner, bytes32 key) internal pure returns (address) {
        if (uint256(key) > type(uint8).max) revert NotASubAccount(key);
        return address(uint160(owner) ^ uint160(uint256(key)));
    }

    /// @return ratio Collateral over debt at the liquidation LTVs, as the controller counts it; the largest uint128 without.
    /// @return breakEven At most where the collateral is worth what is owed: the highest of its liquidation LTVs.
    /// @dev Inside somebody's batch of the EVC nothing that a vault says about an account is final.
    /// @dev A controller may take the account's collateral, and one that a former operator left behind may say anything of
    /// it: only a vault among the account's assets is believed.
    function health(address evc, address account, Asset[] memory assets)
        internal
        view
        returns (uint256 ratio, uint256 breakEven)
    {
        if (IEVC(evc).areChecksDeferred()) revert ChecksAreDeferred(evc);
        address[] memory controllers = IEVC(evc).getControllers(account);
        if (controllers.length == 0) return (type(uint128).max, 0);
        _requireAmong(assets, controllers[0]);
        (uint256 collateral, uint256 debt) = IEulerVault(controllers[0]).accountLiquidity(account, true);
        if (debt == 0) return (type(uint128).max, 0);
        ratio = collateral * WAD / debt;
        if (ratio > type(uint128).max) ratio = type(uint128).max;
        breakEven = _highestLtv(IEulerVault(controllers[0]), IEVC(evc).getCollaterals(account)) * FROM_BPS;
    }

    function held(Asset memory asset, address account) internal view returns (uint256) {
        return IEulerVault(asset.form).convertToAssets(IEulerVault(asset.form).balanceOf(account));
    }

    function withdraw(Asset memory asset, address account, uint256 amount) internal {
        IEulerVault(asset.form).withdraw(amount, address(this), account);
    }

    function supply(Asset memory asset, address account, uint256 amount) internal {
        asset.underlying.approve(asset.form, amount);
        IEulerVault(asset.form).deposit(amount, account);
        asset.underlying.requireNoAllowance(asset.form);
    }

    /// @notice From one sub-account to another, as shares worth the amount or hardly more, which takes no liquidity.
    function transfer(Asset memory asset, address from, address to, uint256 amount) internal {
        asset.form.pullTo(from, to, IEulerVault(asset.form).previewWithdraw(amount));
    }

    function repay(Asset memory asset, address account, uint256 amount) internal {
        asset.underlying.approve(asset.debt, amount);
        IEulerVault(asset.debt).repay(amount, account);
        asset.underlying.requireNoAllowance(asset.debt);
    }

    function _requireAmong(Asset[] memory assets, address controller) private pure {
        for (uint256 i; i < assets.length; ++i) {
            if (assets[i].debt == controller) return;
        }
        revert ControllerIsNotEnrolled(controller);
    }

    function _highestLtv(IEulerVault controller, address[] memory collaterals) private view returns (uint256 highest) {
        for (uint256 i; i < collaterals.length; ++i) {
            uint256 ltv = controller.LTVLiquidation(collaterals[i]);
            if (ltv > highest) highest = ltv;
        }
    }
}
