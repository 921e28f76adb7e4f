// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {AaveReserve, IAavePool} from "../interfaces/IAave.sol";
import {Asset} from "../interfaces/IMarginGuard.sol";
import {Token} from "../Token.sol";

/// @notice One holder's account in a pool of Aave v3, 3.0 to 3.6: aTokens are the collateral, and finite allowances of them
/// the permission.
library AaveV3 {
    using Token for address;

    uint256 private constant VARIABLE_RATE = 2;
    uint256 private constant FROM_BPS = 1e14;

    error ReserveUnknown(address pool, address underlying);

    function assetOf(address pool, address underlying) internal view returns (Asset memory) {
        AaveReserve memory reserve = IAavePool(pool).getReserveData(underlying);
        if (reserve.aTokenAddress == address(0)) revert ReserveUnknown(pool, underlying);
        return Asset(underlying, reserve.aTokenAddress, reserve.variableDebtTokenAddress);
    }

    /// @return ratio The pool's own health factor, at most and without debt the largest uint128.
    /// @return breakEven The ratio at which the collateral is worth what is owed: the liquidation threshold, rounded up.
    function health(address pool, address holder) internal view returns (uint256 ratio, uint256 breakEven) {
        uint256 threshold;
        (,,, threshold,, ratio) = IAavePool(pool).getUserAccountData(holder);
        if (ratio > type(uint128).max) ratio = type(uint128).max;
        breakEven = (threshold + 1) * FROM_BPS;
    }

    /// @notice Collateral to the guard: a pool pays out only to who holds the aTokens.
    function withdraw(address pool, Asset memory asset, address holder, uint256 amount) internal {
        uint256 before = asset.form.ownBalance();
        asset.form.pull(holder, amount);
        IAavePool(pool).withdraw(asset.underlying, amount, address(this));
        Token.requireBalance(asset.form, before);
    }

    function supply(address pool, Asset memory asset, address holder, uint256 amount) internal {
        bool isNew = Token.balance(asset.form, holder) < amount;
        asset.underlying.approve(pool, amount);
        IAavePool(pool).supply(asset.underlying, amount, holder, 0);
        asset.underlying.requireNoAllowance(pool);
        if (isNew) _count(pool, asset, holder);
    }

    /// @notice From one account of a pool to another, which takes neither liquidity nor room under a supply cap.
    function transfer(address pool, Asset memory asset, address from, address to, uint256 amount) internal {
        bool isNew = Token.balance(asset.form, to) < amount;
        asset.form.pullTo(from, to, amount);
        if (isNew) _count(pool, asset, to);
    }

    function repay(address pool, Asset memory asset, address holder, uint256 amount) internal {
        asset.underlying.approve(pool, amount);
        IAavePool(pool).repay(asset.underlying, amount, VARIABLE_RATE, holder);
        asset.underlying.requireNoAllowance(pool);
    }

    /// @dev What an account receives for the first time backs it only if it says so, from 3.6 on, or the guard may say so.
    /// Whoever had less than what came counts as new: else dust that anybody sent would keep it from counting.
    function _count(address pool, Asset memory asset, address holder) private {
        try IAavePool(pool).isApprovedPositionManager(holder, address(this)) returns (bool isApproved) {
            if (isApproved) IAavePool(pool).setUserUseReserveAsCollateralOnBehalfOf(asset.underlying, true, holder);
        } catch {} // a pool before 3.4, where what is received counts at once
    }
}
