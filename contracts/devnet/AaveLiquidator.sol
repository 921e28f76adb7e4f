// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

interface IPool {
    function liquidationCall(address collateral, address debt, address user, uint256 debtToCover, bool receiveAToken)
        external;
}

interface IERC20Approve {
    function approve(address spender, uint256 amount) external returns (bool);
}

/// @title Liquidates whatever is liquidatable in one Aave pool, as much as it lets; only for local chains.
/// @dev It asks nobody whether an account is healthy: the pool refuses those that are.
contract AaveLiquidator {
    struct Target {
        address user;
        address collateral;
        address debt;
    }

    IPool public immutable POOL;

    constructor(IPool pool) {
        POOL = pool;
    }

    /// @notice One call per block, placed right after the price update.
    function strike(Target[] calldata targets) external returns (uint256 liquidated) {
        for (uint256 i = 0; i < targets.length; ++i) {
            Target calldata target = targets[i];
            IERC20Approve(target.debt).approve(address(POOL), type(uint256).max);
            try POOL.liquidationCall(target.collateral, target.debt, target.user, type(uint256).max, false) {
                ++liquidated;
            } catch {}
        }
    }
}
