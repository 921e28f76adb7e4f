// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

interface IFeed {
    function decimals() external view returns (uint8);
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80);
}

/// @title The price that Morpho asks for, from up to two aggregators on each side; only for local chains.
/// @notice Offers the getters of Morpho's own MorphoChainlinkOracleV2 (without vaults) and, like it, judges no answer's age.
/// A feed that is not used is the zero address and counts as 1.
contract TwoFeedOracle {
    address public constant BASE_VAULT = address(0);
    address public constant QUOTE_VAULT = address(0);
    uint256 public constant BASE_VAULT_CONVERSION_SAMPLE = 1;
    uint256 public constant QUOTE_VAULT_CONVERSION_SAMPLE = 1;

    address public immutable BASE_FEED_1;
    address public immutable BASE_FEED_2;
    address public immutable QUOTE_FEED_1;
    address public immutable QUOTE_FEED_2;
    uint256 public immutable SCALE_FACTOR;

    error NegativeAnswer(address feed, int256 answer);

    /// @dev The base is the collateral token, the quote the loan token.
    constructor(
        address baseFeed1,
        address baseFeed2,
        uint8 baseDecimals,
        address quoteFeed1,
        address quoteFeed2,
        uint8 quoteDecimals
    ) {
        BASE_FEED_1 = baseFeed1;
        BASE_FEED_2 = baseFeed2;
        QUOTE_FEED_1 = quoteFeed1;
        QUOTE_FEED_2 = quoteFeed2;
        uint256 up = 36 + quoteDecimals + _decimals(quoteFeed1) + _decimals(quoteFeed2);
        uint256 down = baseDecimals + _decimals(baseFeed1) + _decimals(baseFeed2);
        SCALE_FACTOR = 10 ** (up - down);
    }

    /// @notice Loan tokens per collateral token, both in raw units, scaled by 1e36.
    function price() external view returns (uint256) {
        return
            SCALE_FACTOR * _answer(BASE_FEED_1) * _answer(BASE_FEED_2) / (_answer(QUOTE_FEED_1) * _answer(QUOTE_FEED_2));
    }

    function _answer(address feed) internal view returns (uint256) {
        if (feed == address(0)) return 1;
        (, int256 answer,,,) = IFeed(feed).latestRoundData();
        require(answer >= 0, NegativeAnswer(feed, answer));
        return uint256(answer);
    }

    function _decimals(address feed) internal view returns (uint256) {
        return feed == address(0) ? 0 : IFeed(feed).decimals();
    }
}
