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

    error PositionUnreadable(address morpho);
    error MarketUnknown(address morpho, bytes32 id);

    /// @dev The id is the hash of the parameters, so a target that answers another market's is found out.
    function marketOf(IMorpho morpho, bytes32 id) internal view returns (MarketParams memory market) {
        market = morpho.idToMarketParams(id);
        bool isIts = keccak256(abi.encode(market)) == id && market.collateralToken != address(0);
        if (!isIts) revert MarketUnknown(address(morpho), id);
    }

    /// @return ratio How often the maximal borrow covers the debt, WAD, rounded down; without debt the oracle is not asked.
    /// @return collateral As `held`.
    /// @return debt What is owed in the loan token, rounded up.
    /// @dev Exact only where interest is accrued to this block, as after `accrueInterest` or `withdraw`.
    /// Morpho._isHealthy, morpho-blue 1.0.0: healthy there if and only if at least 1e18 here.
    function standing(IMorpho morpho, bytes32 id, MarketParams memory market, address holder)
        internal
        view
        returns (uint256 ratio, uint256 collateral, uint256 debt)
    {
        uint256 borrowShares;
        uint256 totalBorrowAssets;
        uint256 totalBorrowShares;
        (borrowShares, collateral, totalBorrowAssets, totalBorrowShares) = _read(morpho, id, holder);
        if (borrowShares == 0) return (type(uint128).max, collateral, 0);

        debt = _mulDivUp(borrowShares, totalBorrowAssets + VIRTUAL_ASSETS, totalBorrowShares + VIRTUAL_SHARES);
        uint256 collateralValue = collateral * IMorphoOracle(market.oracle).price() / ORACLE_PRICE_SCALE;
        uint256 maxBorrow = collateralValue * market.lltv / WAD;
        ratio = maxBorrow * WAD / debt;
        if (ratio > type(uint128).max) ratio = type(uint128).max;
    }

    /// @notice The collateral that the holder has in the market, by Morpho's books.
    function held(IMorpho morpho, bytes32 id, address holder) internal view returns (uint256 collateral) {
        (bytes32 ofPosition,) = _words(morpho, 1, _positionSlot(id, holder), 0);
        (collateral,) = _halves(ofPosition);
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

    /// @notice Loan tokens from the guard, by an allowance of exactly that amount. Morpho refuses more than what is owed.
    function repay(IMorpho morpho, MarketParams memory market, address holder, uint256 amount) internal {
        Token.approve(market.loanToken, address(morpho), amount);
        morpho.repay(market, amount, 0, holder, "");
        Token.requireNoAllowance(market.loanToken, address(morpho));
    }

    /// @dev One call for the two words that matter; `position` and `market` would read five.
    function _read(IMorpho morpho, bytes32 id, address holder)
        private
        view
        returns (uint256 borrowShares, uint256 collateral, uint256 totalBorrowAssets, uint256 totalBorrowShares)
    {
        bytes32 marketSlot = bytes32(uint256(_slotOf(id, MARKETS_SLOT)) + 1);
        (bytes32 ofPosition, bytes32 ofMarket) = _words(morpho, 2, _positionSlot(id, holder), marketSlot);
        (collateral, borrowShares) = _halves(ofPosition);
        (totalBorrowShares, totalBorrowAssets) = _halves(ofMarket);
    }

    /// @dev `extSloads` of one slot or two, coded by hand in memory that is not kept, which saves some 400 gas every time: an
    /// array is its place, its length and its items.
    function _words(IMorpho morpho, uint256 count, bytes32 slot, bytes32 otherSlot)
        private
        view
        returns (bytes32 word, bytes32 otherWord)
    {
        bytes4 selector = IMorpho.extSloads.selector;
        bool ok;
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, selector)
            mstore(add(at, 4), 32)
            mstore(add(at, 36), count)
            mstore(add(at, 68), slot)
            mstore(add(at, 100), otherSlot)
            let size := mul(count, 32)
            ok := staticcall(gas(), morpho, at, add(size, 68), at, add(size, 64))
            ok := and(ok, gt(returndatasize(), add(size, 63)))
            word := mload(add(at, 64))
            otherWord := mload(add(at, 96))
        }
        if (!ok) revert PositionUnreadable(address(morpho));
    }

    /// @dev Of a position's second word: collateral above, borrow shares below.
    function _positionSlot(bytes32 id, address holder) private pure returns (bytes32) {
        bytes32 position = _slotOf(bytes32(uint256(uint160(holder))), _slotOf(id, POSITIONS_SLOT));
        return bytes32(uint256(position) + 1);
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
