// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice The part of a Venus isolated pool's comptroller that the guard calls. Nothing here borrows.
interface IVenusComptroller {
    function oracle() external view returns (address);
    function getAssetsIn(address account) external view returns (address[] memory markets);
    function checkMembership(address account, address market) external view returns (bool);
    function markets(address market)
        external
        view
        returns (bool isListed, uint256 collateralFactor, uint256 liquidationThreshold);
    function updatePrices(address account) external;
}

/// @notice The part of a market, a vToken, that the guard calls. Nothing here borrows.
interface IVToken {
    function underlying() external view returns (address);
    function balanceOf(address account) external view returns (uint256 tokens);
    function getAccountSnapshot(address account)
        external
        view
        returns (uint256 error, uint256 tokens, uint256 owed, uint256 exchangeRate);
    function accrueInterest() external returns (uint256 error);
    function exchangeRateStored() external view returns (uint256);
    function exchangeRateCurrent() external returns (uint256);
    function balanceOfUnderlying(address account) external returns (uint256);
    function borrowBalanceCurrent(address account) external returns (uint256);
    function redeem(uint256 tokens) external returns (uint256 error);
    function mintBehalf(address account, uint256 amount) external returns (uint256 error);
    function repayBorrowBehalf(address account, uint256 amount) external returns (uint256 error);
}

/// @notice The oracle of a pool: USD with 36 decimals less the underlying's.
interface IVenusOracle {
    function getUnderlyingPrice(address market) external view returns (uint256);
}
