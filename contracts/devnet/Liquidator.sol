// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

struct MarketParams {
    address loanToken;
    address collateralToken;
    address oracle;
    address irm;
    uint256 lltv;
}

interface IMorpho {
    function position(bytes32 id, address user)
        external
        view
        returns (uint256 supplyShares, uint128 borrowShares, uint128 collateral);
    function liquidate(
        MarketParams memory market,
        address borrower,
        uint256 seizedAssets,
        uint256 repaidShares,
        bytes memory data
    ) external returns (uint256, uint256);
}

interface IToken {
    function approve(address spender, uint256 amount) external returns (bool);
}

/// @title Liquidates whatever is liquidatable, as a whole; only for local chains.
/// @dev It asks nobody whether a position is healthy: Morpho refuses those that are.
contract Liquidator {
    struct Target {
        bytes32 id;
        MarketParams market;
        address borrower;
    }

    IMorpho public immutable MORPHO;

    constructor(IMorpho morpho) {
        MORPHO = morpho;
    }

    /// @notice One call per block, placed right after the price update.
    function strike(Target[] calldata targets) external returns (uint256 liquidated) {
        for (uint256 i = 0; i < targets.length; ++i) {
            Target calldata target = targets[i];
            (, uint128 shares, uint128 collateral) = MORPHO.position(target.id, target.borrower);
            if (shares == 0) continue;
            IToken(target.market.loanToken).approve(address(MORPHO), type(uint256).max);
            // All of the debt; where the collateral does not pay for that, all of the collateral.
            if (_liquidate(target, 0, shares) || _liquidate(target, collateral, 0)) ++liquidated;
        }
    }

    function _liquidate(Target calldata target, uint256 seizedAssets, uint256 repaidShares) internal returns (bool) {
        try MORPHO.liquidate(target.market, target.borrower, seizedAssets, repaidShares, "") {
            return true;
        } catch {
            return false;
        }
    }
}
