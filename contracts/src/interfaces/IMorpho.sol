// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice What identifies a market of Morpho Blue; its id is the hash of these five words.
struct MarketParams {
    address loanToken;
    address collateralToken;
    address oracle;
    address irm;
    uint256 lltv;
}

/// @notice The part of Morpho Blue 1.0.0 that the guard calls. Nothing here borrows or lends.
interface IMorpho {
    function extSloads(bytes32[] calldata slots) external view returns (bytes32[] memory);
    function idToMarketParams(bytes32 id) external view returns (MarketParams memory);
    function accrueInterest(MarketParams calldata params) external;
    function supplyCollateral(MarketParams calldata params, uint256 amount, address account, bytes calldata data)
        external;
    function repay(MarketParams calldata params, uint256 assets, uint256 shares, address account, bytes calldata data)
        external
        returns (uint256, uint256);
    function withdrawCollateral(MarketParams calldata params, uint256 amount, address account, address receiver)
        external;
}

/// @notice A market's oracle: the price of one collateral unit in loan units, scaled by 1e36.
interface IMorphoOracle {
    function price() external view returns (uint256);
}
