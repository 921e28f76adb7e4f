// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IEulerVault} from "./interfaces/IEuler.sol";
import {Asset, IMarginGuard} from "./interfaces/IMarginGuard.sol";
import {EulerV2} from "./protocols/EulerV2.sol";
import {VenusPools} from "./protocols/VenusPools.sol";

/// @notice The protocols in which collateral is shares of a vault or market: Euler and Venus. This is the part of the guard
/// for which it has no room. It stands at an address that is written into the guard's code, keeps nothing, and belongs to
/// nobody; every guard on a chain uses the same one.
/// @dev The guard calls it by DELEGATECALL, so `address(this)` is the guard. Which protocol is meant is one of these two.
library Shares {
    /* ENROLMENT */

    function assetOf(IMarginGuard.Protocol protocol, address target, address listed)
        external
        view
        returns (Asset memory)
    {
        return _isEuler(protocol) ? EulerV2.assetOf(target, listed) : VenusPools.assetOf(target, listed);
    }

    /* READS */

    /// @param assets Of the account, of which `asset` is one.
    /// @return ratio Its health, as the protocol's own library says.
    /// @return breakEven Likewise.
    /// @return booked What it owes of the asset, or has of it.
    function standing(
        IMarginGuard.Protocol protocol,
        address target,
        address account,
        Asset[] calldata assets,
        Asset calldata asset,
        bool isOwed
    ) external returns (uint256 ratio, uint256 breakEven, uint256 booked) {
        (ratio, breakEven) = _isEuler(protocol)
            ? EulerV2.health(target, account, assets)
            : VenusPools.health(target, account);
        booked = isOwed ? _owed(protocol, asset, account) : _held(protocol, asset, account);
    }

    function held(IMarginGuard.Protocol protocol, Asset calldata asset, address account) external returns (uint256) {
        return _held(protocol, asset, account);
    }

    /// @return By how much a market's tokens, which have few decimals, may round one amount.
    function grain(address market) external view returns (uint256) {
        return VenusPools.grain(market);
    }

    /* MOVES */

    function withdraw(IMarginGuard.Protocol protocol, Asset calldata asset, address account, uint256 amount) external {
        if (_isEuler(protocol)) EulerV2.withdraw(asset, account, amount);
        else VenusPools.withdraw(asset, account, amount);
    }

    function transfer(
        IMarginGuard.Protocol protocol,
        address target,
        Asset calldata asset,
        address from,
        address to,
        uint256 amount
    ) external {
        if (_isEuler(protocol)) EulerV2.transfer(asset, from, to, amount);
        else VenusPools.transfer(target, asset, from, to, amount);
    }

    function supply(
        IMarginGuard.Protocol protocol,
        address target,
        Asset calldata asset,
        address account,
        uint256 amount
    ) external {
        if (_isEuler(protocol)) EulerV2.supply(asset, account, amount);
        else VenusPools.supply(target, asset, account, amount);
    }

    function repay(IMarginGuard.Protocol protocol, Asset calldata asset, address account, uint256 amount) external {
        if (_isEuler(protocol)) EulerV2.repay(asset, account, amount);
        else VenusPools.repay(asset, account, amount);
    }

    /* INTERNAL */

    function _isEuler(IMarginGuard.Protocol protocol) private pure returns (bool) {
        return protocol == IMarginGuard.Protocol.Euler;
    }

    function _held(IMarginGuard.Protocol protocol, Asset calldata asset, address account) private returns (uint256) {
        return _isEuler(protocol) ? EulerV2.held(asset, account) : VenusPools.held(asset, account);
    }

    function _owed(IMarginGuard.Protocol protocol, Asset calldata asset, address account) private returns (uint256) {
        return _isEuler(protocol) ? IEulerVault(asset.debt).debtOf(account) : VenusPools.owed(asset, account);
    }
}
