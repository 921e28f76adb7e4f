// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

interface IAggregator {
    function decimals() external view returns (uint8);
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80);
}

interface IShares {
    function asset() external view returns (address);
    function convertToAssets(uint256 shares) external view returns (uint256);
}

interface IWithDecimals {
    function decimals() external view returns (uint8);
}

/// @title A stand-in for Euler's Chainlink adapter; only for tests and local chains.
/// @notice The worth of a token in a unit of 18 decimals, by one aggregator, unless its answer is too old or no price.
contract StandInAdapter {
    address public immutable base;
    address public immutable quote;
    address public immutable feed;
    uint256 public immutable maxStaleness;

    uint256 private immutable _perAnswer;

    error PriceOracle_NotSupported(address base, address quote);
    error PriceOracle_InvalidAnswer();
    error PriceOracle_TooStale(uint256 staleness, uint256 maxStaleness);

    constructor(address base_, address quote_, address feed_, uint256 maxStaleness_) {
        (base, quote, feed, maxStaleness) = (base_, quote_, feed_, maxStaleness_);
        _perAnswer = 10 ** (uint256(IWithDecimals(base_).decimals()) + IAggregator(feed_).decimals());
    }

    function getQuote(uint256 amount, address of_, address in_) external view returns (uint256) {
        if (of_ != base || in_ != quote) revert PriceOracle_NotSupported(of_, in_);
        (, int256 answer,, uint256 updatedAt,) = IAggregator(feed).latestRoundData();
        if (answer <= 0) revert PriceOracle_InvalidAnswer();
        uint256 staleness = block.timestamp - updatedAt;
        if (staleness > maxStaleness) revert PriceOracle_TooStale(staleness, maxStaleness);
        return amount * uint256(answer) * 1e18 / _perAnswer;
    }
}

/// @title A stand-in for Euler's CrossAdapter; only for tests and local chains.
/// @notice The worth of a token in a unit by way of another token: two adapters, one after the other.
contract StandInCrossAdapter {
    address public immutable base;
    address public immutable cross;
    address public immutable quote;
    address public immutable oracleBaseCross;
    address public immutable oracleCrossQuote;

    error PriceOracle_NotSupported(address base, address quote);

    constructor(address base_, address cross_, address quote_, address baseCross, address crossQuote) {
        (base, cross, quote) = (base_, cross_, quote_);
        (oracleBaseCross, oracleCrossQuote) = (baseCross, crossQuote);
    }

    function getQuote(uint256 amount, address of_, address in_) external view returns (uint256) {
        if (of_ != base || in_ != quote) revert PriceOracle_NotSupported(of_, in_);
        amount = StandInAdapter(oracleBaseCross).getQuote(amount, base, cross);
        return StandInAdapter(oracleCrossQuote).getQuote(amount, cross, quote);
    }
}

/// @title A stand-in for the EulerRouter; only for tests and local chains.
/// @notice Finds the adapter of a token, and values shares of a vault as the tokens that they are worth.
/// @dev Left out: a fallback oracle, and who may configure it.
contract StandInRouter {
    address public constant fallbackOracle = address(0);

    mapping(address base => mapping(address quote => address)) public getConfiguredOracle;
    mapping(address vault => address asset) public resolvedVaults;

    error PriceOracle_NotSupported(address base, address quote);

    function govSetConfig(address base, address quote, address oracle) external {
        getConfiguredOracle[base][quote] = oracle;
    }

    function govSetResolvedVault(address vault, bool set) external {
        resolvedVaults[vault] = set ? IShares(vault).asset() : address(0);
    }

    function getQuote(uint256 amount, address base, address quote) public view returns (uint256) {
        address oracle;
        (amount, base,, oracle) = resolveOracle(amount, base, quote);
        return base == quote ? amount : StandInAdapter(oracle).getQuote(amount, base, quote);
    }

    /// @notice What it is bought and sold at, which for such an adapter is the same.
    function getQuotes(uint256 amount, address base, address quote) external view returns (uint256 bid, uint256 ask) {
        bid = ask = getQuote(amount, base, quote);
    }

    function resolveOracle(uint256 amount, address base, address quote)
        public
        view
        returns (uint256, address, address, address)
    {
        if (base == quote) return (amount, base, quote, address(0));
        address oracle = getConfiguredOracle[base][quote];
        if (oracle != address(0)) return (amount, base, quote, oracle);
        address asset = resolvedVaults[base];
        if (asset == address(0)) revert PriceOracle_NotSupported(base, quote);
        return resolveOracle(IShares(base).convertToAssets(amount), asset, quote);
    }
}
