// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMorpho, IMorphoOracle, MarketParams} from "../interfaces/IMorpho.sol";
import {Token} from "../Token.sol";

/// @notice Collateral of one holder in one market of Morpho Blue 1.0.0.
/// @dev The holder's `setAuthorization(guard, true)` would also allow to withdraw loans and to borrow: no code here does.
library MorphoBlue {
    uint256 private constant WAD = 1e18;
    uint256 private constant ORACLE_PRICE_SCALE = 1e36;
    uint256 private constant VIRTUAL_ASSETS = 1;
    uint256 private constant VIRTUAL_SHARES = 1e6;

    // Where Morpho keeps its positions and markets: MorphoStorageLib, morpho-blue 1.0.0.
    bytes32 private constant POSITIONS_SLOT = bytes32(uint256(2));
    bytes32 private constant MARKETS_SLOT = bytes32(uint256(3));

    error MarketUnknown(address morpho, bytes32 id);

    /// @dev The id is the hash of the parameters, so a target that answers another market's is found out.
    function marketOf(IMorpho morpho, bytes32 id) internal view returns (MarketParams memory market) {
        market = morpho.idToMarketParams(id);
        bool isIts = keccak256(abi.encode(market)) == id && market.collateralToken != address(0);
        if (!isIts) revert MarketUnknown(address(morpho), id);
    }

    /// @notice Health at this block, interest included.
    function accruedHealth(IMorpho morpho, bytes32 id, MarketParams memory market, address holder)
        internal
        returns (uint256)
    {
        morpho.accrueInterest(market);
        return health(morpho, id, market, holder);
    }

    /// @notice How often the maximal borrow covers the debt, WAD, rounded down; the oracle is asked only if there is debt.
    /// @dev Exact only where interest is accrued to this block, as after `accruedHealth` or `withdraw`.
    /// Morpho._isHealthy, morpho-blue 1.0.0: healthy there if and only if at least 1e18 here.
    function health(IMorpho morpho, bytes32 id, MarketParams memory market, address holder)
        internal
        view
        returns (uint256)
    {
        (uint256 borrowShares, uint256 collateral, uint256 totalBorrowAssets, uint256 totalBorrowShares) =
            _read(morpho, id, holder);
        if (borrowShares == 0) return type(uint128).max;

        uint256 debt = _mulDivUp(borrowShares, totalBorrowAssets + VIRTUAL_ASSETS, totalBorrowShares + VIRTUAL_SHARES);
        uint256 collateralValue = collateral * IMorphoOracle(market.oracle).price() / ORACLE_PRICE_SCALE;
        uint256 maxBorrow = collateralValue * market.lltv / WAD;
        uint256 ratio = maxBorrow * WAD / debt;
        return ratio < type(uint128).max ? ratio : type(uint128).max;
    }

    /// @notice Collateral to the guard. Morpho accrues and, if there is debt, demands that the rest still covers it.
    function withdraw(IMorpho morpho, MarketParams memory market, address holder, uint256 amount) internal {
        morpho.withdrawCollateral(market, amount, holder, address(this));
    }

    /// @notice Collateral from the guard, by an allowance of exactly that amount.
    function supply(IMorpho morpho, MarketParams memory market, address holder, uint256 amount) internal {
        Token.approve(market.collateralToken, address(morpho), amount);
        morpho.supplyCollateral(market, amount, holder, "");
        Token.requireNoAllowance(market.collateralToken, address(morpho));
    }

    /// @dev One call for the two words that matter; `position` and `market` would read five.
    function _read(IMorpho morpho, bytes32 id, address holder)
        private
        view
        returns (uint256 borrowShares, uint256 collateral, uint256 totalBorrowAssets, uint256 totalBorrowShares)
    {
        bytes32[] memory slots = new bytes32[](2);
        bytes32 position = _slotOf(bytes32(uint256(uint160(holder))), _slotOf(id, POSITIONS_SLOT));
        slots[0] = bytes32(uint256(position) + 1);
        slots[1] = bytes32(uint256(_slotOf(id, MARKETS_SLOT)) + 1);
        bytes32[] memory words = morpho.extSloads(slots);
        (collateral, borrowShares) = _halves(words[0]);
        (totalBorrowShares, totalBorrowAssets) = _halves(words[1]);
    }

    /// @dev Where a mapping at `slot` keeps the value of `key`. In scratch space: `abi.encode` would allocate each time.
    function _slotOf(bytes32 key, bytes32 slot) private pure returns (bytes32 place) {
        assembly ("memory-safe") {
            mstore(0, key)
            mstore(32, slot)
            place := keccak256(0, 64)
        }
    }

    function _halves(bytes32 word) private pure returns (uint256 high, uint256 low) {
        return (uint256(word) >> 128, uint128(uint256(word)));
    }

    function _mulDivUp(uint256 x, uint256 y, uint256 d) private pure returns (uint256) {
        return (x * y + (d - 1)) / d;
    }
}
