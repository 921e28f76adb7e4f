// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

interface IAnswer {
    function decimals() external view returns (uint8);
    function latestAnswer() external view returns (int256);
}

/// @title The USD price of a token that is worth a growing amount of another, as wstETH of ETH; only for local chains.
/// @notice Offers the getters of the adapters that Aave's oracle reads such tokens through, and like them knows no time of its own:
/// how old its answer is, only the two feeds can say. It does not cap the ratio.
contract RatioFeed {
    address public immutable BASE_TO_USD_AGGREGATOR;
    address public immutable RATIO_PROVIDER;
    uint8 public immutable RATIO_DECIMALS;
    uint8 public immutable decimals;

    string public description;

    constructor(string memory description_, address ratio, address base) {
        description = description_;
        RATIO_PROVIDER = ratio;
        RATIO_DECIMALS = IAnswer(ratio).decimals();
        BASE_TO_USD_AGGREGATOR = base;
        decimals = IAnswer(base).decimals();
    }

    /// @notice 0, which Aave takes for no price, as soon as one of the feeds has none.
    function latestAnswer() external view returns (int256) {
        int256 base = IAnswer(BASE_TO_USD_AGGREGATOR).latestAnswer();
        int256 ratio = IAnswer(RATIO_PROVIDER).latestAnswer();
        if (base <= 0 || ratio <= 0) return 0;
        return base * ratio / int256(10 ** RATIO_DECIMALS);
    }
}
