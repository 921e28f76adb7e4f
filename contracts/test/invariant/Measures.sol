// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {IVTokenInFull} from "../venus/VenusMarkets.sol";
import {Campaign} from "./Campaign.sol";

interface IScaled {
    function scaledBalanceOf(address holder) external view returns (uint256);
}

/// @notice The campaign's own account of everything, which asks neither the guard nor for any protocol's health.
abstract contract Measures is Campaign {
    /// @dev Everything that a call of the keeper could touch; for each place by underlying.
    struct Books {
        uint256[TOKENS][PLACES] holdings; // collateral, aTokens, what shares or vTokens are worth, or what a wallet holds
        uint256[TOKENS][PLACES] allowances; // of a wallet's tokens, of aTokens, of shares or of vTokens, to the guard
        uint256[TOKENS][PLACES] debts;
        uint256[TOKENS][PLACES] debtShares; // as Morpho and Aave keep them, without interest; on Euler to a fraction of a unit; Venus tells none
        bool[TOKENS][PLACES] counts; // whether what is held backs what is owed
        uint256[PLACES] supplyShares;
        uint256[PLACES] healths;
        uint256[10] guardBalances; // the underlyings, the aTokens, the shares and the vTokens
        uint256[10] thiefBalances; // with those of his sub-accounts
    }

    function _accrueAll() internal {
        for (uint256 i; i < lentTo.length; ++i) {
            morpho.accrueInterest(places[lentTo[i]].market);
        }
        markets[WETH].accrueInterest();
        markets[USDC].accrueInterest();
    }

    /// @dev Morpho's interest must be accrued; Aave and Euler answer with interest to this second, and Venus's is added.
    function _books() internal view returns (Books memory books) {
        for (uint256 place; place < PLACES; ++place) {
            if (_isWallet(place)) _measureWallet(books, place);
            else if (_isOnMorpho(place)) _measureMorpho(books, place);
            else if (_isOnAave(place)) _measureAave(books, place);
            else if (_isOnEuler(place)) _measureEuler(books, place);
            else _measureVenus(books, place);
            books.healths[place] = _healthOf(books, place);
        }
        (books.guardBalances, books.thiefBalances) = (_balances(address(guard)), _balances(thief));
        books.thiefBalances[6] += eWeth.balanceOf(_subOf(thief, 1));
        books.thiefBalances[7] += eUsdc.balanceOf(_subOf(thief, 2));
    }

    /// @return Those of the guard and of the thief by each holder, and what each account on Euler and Venus is tied to.
    function _permissions() internal view returns (bytes32) {
        bool[22] memory all;
        bytes memory ties;
        address[4] memory holders = [owner, friend, sister, stranger];
        for (uint256 i; i < 4; ++i) {
            all[i] = morpho.isAuthorized(holders[i], address(guard));
            all[4 + i] = morpho.isAuthorized(holders[i], thief);
            all[8 + i] = pool.isApprovedPositionManager(holders[i], address(guard));
            all[12 + i] = pool.isApprovedPositionManager(holders[i], thief);
        }
        for (uint256 place = OWNER_EULER; place <= FRIEND_EULER; ++place) {
            address account = _account(place);
            all[3 + place] = evc.isAccountOperatorAuthorized(account, address(guard));
            all[6 + place] = evc.isAccountOperatorAuthorized(account, thief);
            ties = abi.encode(ties, evc.getCollaterals(account), evc.getControllers(account));
        }
        for (uint256 place = OWNER_VENUS; place < PLACES; ++place) {
            address holder = places[place].holder;
            (bool guards, bool thiefs) =
                (comptroller.approvedDelegates(holder, address(guard)), comptroller.approvedDelegates(holder, thief));
            ties = abi.encode(ties, comptroller.getAssetsIn(holder), guards, thiefs);
        }
        return keccak256(abi.encode(all, ties));
    }

    function _measureWallet(Books memory books, uint256 place) private view {
        address holder = places[place].holder;
        for (uint256 i; i < TOKENS; ++i) {
            books.holdings[place][i] = tokens[i].balanceOf(holder);
            books.allowances[place][i] = tokens[i].allowance(holder, address(guard));
        }
    }

    function _measureMorpho(Books memory books, uint256 place) private view {
        MarketParams memory market = places[place].market;
        (uint8 collateral, uint8 loan) = (places[place].tokens[0], places[place].tokens[1]);
        (books.supplyShares[place], books.debtShares[place][loan], books.holdings[place][collateral]) =
            morpho.position(_id(market), places[place].holder);
        books.debts[place][loan] = _debtOf(market, books.debtShares[place][loan]);
        books.counts[place][collateral] = true;
    }

    function _measureAave(Books memory books, uint256 place) private view {
        address holder = places[place].holder;
        uint256 configuration = pool.getUserConfiguration(holder);
        for (uint256 i; i < 2; ++i) {
            uint256 token = places[place].tokens[i];
            books.holdings[place][token] = aTokens[token].balanceOf(holder);
            books.allowances[place][token] = aTokens[token].allowance(holder, address(guard));
            books.debts[place][token] = debtTokens[token].balanceOf(holder);
            books.debtShares[place][token] = IScaled(address(debtTokens[token])).scaledBalanceOf(holder);
            books.counts[place][token] = configuration >> (2 * i + 1) & 1 == 1;
        }
    }

    function _measureEuler(Books memory books, uint256 place) private view {
        address account = _account(place);
        for (uint256 i; i < 2; ++i) {
            uint256 token = places[place].tokens[i];
            StandInVault vault = vaults[token];
            books.holdings[place][token] = vault.convertToAssets(vault.balanceOf(account));
            books.allowances[place][token] = vault.allowance(account, address(guard));
            books.debts[place][token] = vault.debtOf(account);
            books.debtShares[place][token] = vault.debtOfExact(account);
            books.counts[place][token] = _owesEther(place) == (token == USDC);
        }
    }

    function _measureVenus(Books memory books, uint256 place) private view {
        address holder = places[place].holder;
        for (uint256 i; i < 2; ++i) {
            uint256 token = places[place].tokens[i];
            IVTokenInFull market = markets[token];
            (uint256 rate, uint256 interest) = _accruedOn(market);
            books.holdings[place][token] = market.balanceOf(holder) * rate / 1e18;
            books.allowances[place][token] = market.allowance(holder, address(guard));
            uint256 debt = market.borrowBalanceStored(holder);
            (uint256 index, uint256 grown) = (market.borrowIndex(), market.borrowIndex() * interest / 1e18);
            books.debts[place][token] = debt * (index + grown) / index;
            books.counts[place][token] = comptroller.checkMembership(holder, address(market));
        }
    }

    /// @return rate What 1e18 vTokens are worth now.
    /// @return interest What has grown since the market's books were written, of each debt, WAD.
    /// @dev VToken.accrueInterest, isolated-pools 4.4.0
    function _accruedOn(IVTokenInFull market) internal view returns (uint256 rate, uint256 interest) {
        interest = market.borrowRatePerBlock() * (block.timestamp - market.accrualBlockNumber());
        uint256 borrows = market.totalBorrows();
        uint256 grown = interest * borrows / 1e18;
        uint256 reserves = market.totalReserves() + grown * market.reserveFactorMantissa() / 1e18;
        rate = (market.getCash() + borrows + grown - reserves) * 1e18 / market.totalSupply();
    }

    /// @return What a vToken is worth, rounded up; nothing where Venus does not lend the token.
    function _grain(uint256 token) internal view returns (uint256) {
        return address(markets[token]) == address(0) ? 0 : markets[token].exchangeRateStored() / 1e18 + 1;
    }

    function _balances(address of_) internal view returns (uint256[10] memory) {
        return [
            weth.balanceOf(of_),
            wsteth.balanceOf(of_),
            usdc.balanceOf(of_),
            dai.balanceOf(of_),
            aTokens[WETH].balanceOf(of_),
            aTokens[USDC].balanceOf(of_),
            eWeth.balanceOf(of_),
            eUsdc.balanceOf(of_),
            markets[WETH].balanceOf(of_),
            markets[USDC].balanceOf(of_)
        ];
    }

    /// @dev Rounded up, as Morpho does.
    function _debtOf(MarketParams memory market, uint256 shares) internal view returns (uint256) {
        (,, uint256 assets, uint256 allShares,,) = morpho.market(_id(market));
        return (shares * (assets + 1) + allShares + 1e6 - 1) / (allShares + 1e6);
    }

    /* WHAT IT IS WORTH */

    /// @dev By balances and prices; 0 where Morpho cannot know it either, because a feed is broken.
    function _healthOf(Books memory books, uint256 place) private view returns (uint256) {
        if (_owes(books, place) == 0) return NO_DEBT;
        if (_isOnAave(place)) return _healthOnAave(books, place);
        if (_isOnVenus(place)) return _healthOnVenus(books, place);
        if (_isOnEuler(place)) return _backing(books, place) * EULER_LTV / 1e4 * 1e18 / _owes(books, place);
        (uint8 collateral, uint8 loan) = (places[place].tokens[0], places[place].tokens[1]);
        if (loan == DAI && !_daiIsQuoted()) return 0;
        uint256 value = _fromDollars(loan, _inDollars(collateral, books.holdings[place][collateral]));
        return value * places[place].market.lltv / 1e18 * 1e18 / books.debts[place][loan];
    }

    /// @dev Each value in 8 decimals, what is held rounded down, what is owed up.
    function _healthOnAave(Books memory books, uint256 place) private view returns (uint256) {
        (uint256 ether_, uint256 dollars) = (books.holdings[place][WETH] * _price() / 1e18, books.holdings[place][USDC]);
        uint256 covered;
        if (books.counts[place][WETH]) covered += ether_ * WETH_THRESHOLD;
        if (books.counts[place][USDC]) covered += dollars * 100 * USDC_THRESHOLD;
        uint256 debt = (books.debts[place][WETH] * _price() + 1e18 - 1) / 1e18 + books.debts[place][USDC] * 100;
        return (covered * 1e18 + debt / 2) / debt / 10_000;
    }

    /// @dev By what the vTokens are worth to the last digit: a unit of the dollar would be too rough.
    function _healthOnVenus(Books memory books, uint256 place) private view returns (uint256) {
        uint256 covered;
        for (uint256 i; i < 2; ++i) {
            uint256 token = places[place].tokens[i];
            if (!books.counts[place][token]) continue;
            (uint256 rate,) = _accruedOn(markets[token]);
            covered += markets[token].balanceOf(places[place].holder) * rate * _inDollars(token, 1e18) / 1e36;
        }
        return covered * VENUS_THRESHOLD / 1e4 * 1e18 / _owes(books, place);
    }

    /// @return dollars What stands behind the debts of a place.
    function _backing(Books memory books, uint256 place) internal view returns (uint256 dollars) {
        for (uint256 i; i < TOKENS; ++i) {
            if (books.counts[place][i]) dollars += _inDollars(i, books.holdings[place][i]);
        }
    }

    function _owes(Books memory books, uint256 place) internal view returns (uint256 dollars) {
        for (uint256 i; i < TOKENS; ++i) {
            dollars += _inDollars(i, books.debts[place][i]);
        }
    }

    /// @return The part of its value that a collateral counts with, WAD.
    function _weight(uint256 place, uint256 token) internal view returns (uint256) {
        if (_isOnMorpho(place)) return places[place].market.lltv;
        if (_isOnEuler(place)) return uint256(EULER_LTV) * 1e14;
        if (_isOnVenus(place)) return uint256(VENUS_THRESHOLD) * 1e14;
        return uint256(token == WETH ? WETH_THRESHOLD : USDC_THRESHOLD) * 1e14;
    }

    function _daiIsQuoted() internal view returns (bool) {
        (, int256 quote,,,) = daiFeed.latestRoundData();
        return quote > 0;
    }
}
