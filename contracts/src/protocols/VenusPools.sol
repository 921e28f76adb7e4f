// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Asset} from "../interfaces/IMarginGuard.sol";
import {IVenusComptroller, IVenusOracle, IVToken} from "../interfaces/IVenus.sol";
import {Token} from "../Token.sol";

/// @notice One holder's account in an isolated pool of Venus: vTokens are the collateral, and finite allowances of them the
/// permission.
/// @dev All amounts are the underlying. The pool judges whoever gives by the collateral factors and by what its markets last
/// booked; whoever receives is not checked by it, but by the guard.
library VenusPools {
    using Token for address;

    uint256 private constant WAD = 1e18;
    /// @dev A vToken has 8 decimals, so an amount is rounded to some 1e-8 of a token: never by more than this part of it.
    uint256 private constant GRAINS_MIN = 100_000;

    /// @dev What a market holds for an account, in the pool's USD, WAD.
    struct Worth {
        uint256 collateral;
        uint256 weighted;
        uint256 debt;
    }

    error MarketOfAnotherPool(address market, address comptroller);
    error MarketNotEntered(address market, address holder);
    error PriceIsZero(address market);
    error AmountTooFine(address market, uint256 amount, uint256 least);

    function assetOf(address comptroller, address market) internal view returns (Asset memory) {
        (bool isListed,,) = IVenusComptroller(comptroller).markets(market);
        if (!isListed) revert MarketOfAnotherPool(market, comptroller);
        return Asset(IVToken(market).underlying(), market, market);
    }

    /// @return ratio Collateral over debt at the liquidation thresholds; the largest uint128 without debt.
    /// @return breakEven Where the collateral is worth what is owed: its average threshold, rounded up.
    /// @dev The pool itself goes by what its markets last booked and its oracle last saw; a liquidator has both brought up to
    /// date first, and so does the guard.
    /// Comptroller._getHypotheticalLiquiditySnapshot, isolated-pools 4.4.0: liquidatable if and only if below 1e18 here.
    function health(address comptroller, address holder) internal returns (uint256 ratio, uint256 breakEven) {
        address[] memory markets = IVenusComptroller(comptroller).getAssetsIn(holder);
        for (uint256 i; i < markets.length; ++i) {
            IVToken(markets[i]).accrueInterest();
        }
        IVenusComptroller(comptroller).updatePrices(holder);
        address oracle = IVenusComptroller(comptroller).oracle();
        Worth memory worth;
        for (uint256 i; i < markets.length; ++i) {
            (,, uint256 threshold) = IVenusComptroller(comptroller).markets(markets[i]);
            _add(worth, markets[i], holder, oracle, threshold);
        }
        if (worth.debt == 0) return (type(uint128).max, 0);
        ratio = worth.weighted * WAD / worth.debt;
        if (ratio > type(uint128).max) ratio = type(uint128).max;
        if (worth.collateral != 0) breakEven = worth.weighted * WAD / worth.collateral + 1;
    }

    function held(Asset memory asset, address holder) internal returns (uint256) {
        return IVToken(asset.form).balanceOfUnderlying(holder);
    }

    function owed(Asset memory asset, address holder) internal returns (uint256) {
        return IVToken(asset.debt).borrowBalanceCurrent(holder);
    }

    /// @return What the smallest part of a vToken is worth, rounded up: no amount is booked more finely.
    function grain(address market) internal view returns (uint256) {
        return IVToken(market).exchangeRateStored() / WAD + 1;
    }

    /// @notice Collateral to the guard, as vTokens that it redeems itself: to redeem for the holder, it would have to be let
    /// borrow as well. What they are worth beyond the amount goes to the holder.
    function withdraw(Asset memory asset, address holder, uint256 amount) internal {
        uint256 tokens = _tokensFor(asset.form, amount);
        uint256 tokensBefore = asset.form.ownBalance();
        uint256 before = asset.underlying.ownBalance();
        asset.form.pull(holder, tokens);
        IVToken(asset.form).redeem(tokens);
        asset.form.requireBalance(tokensBefore);
        uint256 received = asset.underlying.ownBalance() - before;
        if (received > amount) asset.underlying.send(holder, received - amount);
    }

    function supply(address comptroller, Asset memory asset, address holder, uint256 amount) internal {
        _requireEntered(comptroller, asset.form, holder);
        _tokensFor(asset.form, amount);
        asset.underlying.approve(asset.form, amount);
        IVToken(asset.form).mintBehalf(holder, amount);
        asset.underlying.requireNoAllowance(asset.form);
    }

    /// @notice From one account of a pool to another, as vTokens worth the amount or hardly more, which takes neither liquidity
    /// nor room under a supply cap.
    function transfer(address comptroller, Asset memory asset, address from, address to, uint256 amount) internal {
        _requireEntered(comptroller, asset.form, to);
        asset.form.pullTo(from, to, _tokensFor(asset.form, amount));
    }

    function repay(Asset memory asset, address holder, uint256 amount) internal {
        asset.underlying.approve(asset.debt, amount);
        IVToken(asset.debt).repayBorrowBehalf(holder, amount);
        asset.underlying.requireNoAllowance(asset.debt);
    }

    function _add(Worth memory worth, address market, address holder, address oracle, uint256 threshold) private view {
        (, uint256 tokens, uint256 debt, uint256 rate) = IVToken(market).getAccountSnapshot(holder);
        uint256 price = IVenusOracle(oracle).getUnderlyingPrice(market);
        if (price == 0) revert PriceIsZero(market);
        worth.debt += price * debt / WAD;
        price = rate * price / WAD; // of a vToken
        worth.collateral += price * tokens / WAD;
        worth.weighted += threshold * price / WAD * tokens / WAD;
    }

    /// @dev In a market that it did not enter, what an account receives backs nothing; and nobody can enter it for another.
    function _requireEntered(address comptroller, address market, address holder) private view {
        if (!IVenusComptroller(comptroller).checkMembership(holder, market)) revert MarketNotEntered(market, holder);
    }

    /// @return As many vTokens as are worth the amount, rounded up.
    function _tokensFor(address market, uint256 amount) private returns (uint256) {
        uint256 rate = IVToken(market).exchangeRateCurrent();
        uint256 least = GRAINS_MIN * grain(market);
        if (amount < least) revert AmountTooFine(market, amount, least);
        return (amount * WAD + (rate - 1)) / rate;
    }
}
