// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice The part of Euler's Ethereum Vault Connector that the guard reads; it calls nothing through it.
interface IEVC {
    function areChecksDeferred() external view returns (bool);
    function getControllers(address account) external view returns (address[] memory);
    function getCollaterals(address account) external view returns (address[] memory);
}

/// @notice The part of a vault of the Euler Vault Kit that the guard calls. Nothing here borrows.
interface IEulerVault {
    function asset() external view returns (address);
    function EVC() external view returns (address);
    function balanceOf(address account) external view returns (uint256 shares);
    function convertToAssets(uint256 shares) external view returns (uint256 assets);
    function previewWithdraw(uint256 assets) external view returns (uint256 shares);
    function debtOf(address account) external view returns (uint256 assets);
    function accountLiquidity(address account, bool liquidation)
        external
        view
        returns (uint256 collateralValue, uint256 liabilityValue);
    function LTVLiquidation(address collateral) external view returns (uint16 tenThousandths);
    function transferFrom(address from, address to, uint256 shares) external returns (bool);
    function deposit(uint256 assets, address receiver) external returns (uint256 shares);
    function withdraw(uint256 assets, address receiver, address owner) external returns (uint256 shares);
    function repay(uint256 assets, address receiver) external returns (uint256);
}
