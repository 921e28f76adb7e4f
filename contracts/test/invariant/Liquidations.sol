// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {IVTokenInFull} from "../venus/VenusMarkets.sol";
import {Batches} from "./Batches.sol";

interface IDeficit {
    function getReserveDeficit(address asset) external view returns (uint256);
}

/// @notice What the thief does to the book beside the guard, and what he is worth.
abstract contract Liquidations is Batches {
    uint256 public liquidations;
    uint256 public liquidationsOnAave;
    uint256 public liquidationsOnEuler;
    uint256 public liquidationsOnVenus;

    function _liquidates(uint256 place) internal returns (bool ok) {
        if (_isWallet(place)) return false;
        uint256 part = 1 + _draw(4);
        vm.startPrank(thief);
        if (_isOnAave(place)) {
            (uint256 collateral, uint256 debt) = (_onceIn(2) ? WETH : USDC, _owesEther(place) ? WETH : USDC);
            uint256 owed = debtTokens[debt].balanceOf(places[place].holder);
            ok = owed != 0 && _seizesOnAave(place, collateral, debt, owed / part, _onceIn(2));
            if (ok) ++liquidationsOnAave;
        } else if (_isOnEuler(place)) {
            ok = _seizesOnEuler(place, part);
            if (ok) ++liquidationsOnEuler;
        } else if (_isOnVenus(place)) {
            ok = _seizesOnVenus(place, part);
            if (ok) ++liquidationsOnVenus;
        } else {
            MarketParams memory market = places[place].market;
            (, uint256 shares, uint256 collateral) = morpho.position(_id(market), places[place].holder);
            ok = shares != 0
                && (_seizes(market, places[place].holder, 0, shares / part)
                    || _seizes(market, places[place].holder, collateral / part, 0));
        }
        vm.stopPrank();
        if (ok) ++liquidations;
    }

    function _seizes(MarketParams memory market, address borrower, uint256 seized, uint256 repaid)
        private
        returns (bool)
    {
        try morpho.liquidate(market, borrower, seized, repaid, "") {
            return true;
        } catch {
            return false;
        }
    }

    function _seizesOnAave(uint256 place, uint256 collateral, uint256 debt, uint256 amount, bool asATokens)
        private
        returns (bool)
    {
        address borrower = places[place].holder;
        try pool.liquidationCall(address(tokens[collateral]), address(tokens[debt]), borrower, amount, asATokens) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev By a sub-account of his, which takes over the debt; he pays it at once.
    function _seizesOnEuler(uint256 place, uint256 part) private returns (bool ok) {
        (uint256 collateral, uint256 debt) = _owesEther(place) ? (USDC, WETH) : (WETH, USDC);
        (StandInVault loan, address account) = (vaults[debt], _account(place));
        address taker = _subOf(thief, _owesEther(place) ? 2 : 1);
        uint256 owed = loan.debtOf(account);
        uint256 amount = part == 1 ? type(uint256).max : owed / part;
        bytes memory data = abi.encodeCall(loan.liquidate, (account, address(vaults[collateral]), amount, 0));
        if (owed == 0) return false;
        try evc.call(address(loan), taker, 0, data) {
            ok = loan.debtOf(account) < owed; // a vault takes an attempt on a healthy account as well
            loan.repay(type(uint256).max, taker);
        } catch {}
    }

    /// @dev Half of a debt at most is paid at once there.
    function _seizesOnVenus(uint256 place, uint256 part) private returns (bool) {
        (uint256 collateral, uint256 debt) = _owesEther(place) ? (USDC, WETH) : (WETH, USDC);
        address borrower = places[place].holder;
        if (part == 4) collateral = debt; // which its holder may have entered as well
        uint256 amount = markets[debt].borrowBalanceStored(borrower) / (2 * part);
        try markets[debt].liquidateBorrow(borrower, amount, address(markets[collateral])) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev What anybody can do to an account of somebody else: give it collateral, pay its debt, fill what it is counted in.
    function _tamper() internal {
        uint256 place = _draw(PLACES);
        uint256 trick = _draw(3);
        uint256 which = _isOnAave(place) || _isOnEuler(place) || _isOnVenus(place)
            ? places[place].tokens[_draw(2)]
            : places[place].tokens[0];
        uint256 amount = 1 + _draw(_onceIn(2) ? 100 : _fromDollars(which, 2_000e18));
        tokens[which].mint(thief, amount);
        vm.startPrank(thief);
        if (_isWallet(place)) tokens[which].transfer(places[place].holder, amount);
        else if (_isOnAave(place)) _tamperOnAave(place, which, amount, trick);
        else if (_isOnEuler(place)) _tamperOnEuler(place, which, amount, trick);
        else if (_isOnVenus(place)) _tamperOnVenus(place, which, amount, trick);
        else _tamperOnMorpho(place, which, amount, trick);
        vm.stopPrank();
    }

    function _tamperOnMorpho(uint256 place, uint256 which, uint256 amount, uint256 trick) private {
        (MarketParams memory market, address holder) = (places[place].market, places[place].holder);
        if (trick == 0) {
            tokens[which].transfer(address(morpho), amount);
        } else if (trick == 1) {
            tokens[which].approve(address(morpho), amount);
            morpho.supplyCollateral(market, amount, holder, "");
        } else {
            (, uint256 shares,) = morpho.position(_id(market), holder);
            if (shares != 0) morpho.repay(market, 0, 1 + _draw(shares / 20 + 1), holder, "");
        }
    }

    function _tamperOnAave(uint256 place, uint256 which, uint256 amount, uint256 trick) private {
        address holder = places[place].holder;
        uint256 owed = debtTokens[which].balanceOf(holder);
        if (trick == 0) {
            tokens[which].transfer(address(aTokens[which]), amount);
        } else if (trick == 1 || owed == 0) {
            if (_onceIn(2)) aTokens[which].transfer(holder, amount % aTokens[which].balanceOf(thief));
            else pool.supply(address(tokens[which]), 2 + amount, holder, 0);
        } else {
            pool.repay(address(tokens[which]), 2 + _draw(owed / 20 + 1), VARIABLE, holder);
        }
    }

    function _tamperOnEuler(uint256 place, uint256 which, uint256 amount, uint256 trick) private {
        uint256 owed = vaults[which].debtOf(_account(place));
        if (trick == 0) tokens[which].transfer(address(vaults[which]), amount);
        else if (trick == 1 || owed == 0) vaults[which].deposit(2 + amount, _account(place));
        else vaults[which].repay(1 + _draw(owed / 20 + 1), _account(place));
    }

    function _tamperOnVenus(uint256 place, uint256 which, uint256 amount, uint256 trick) private {
        (IVTokenInFull market, address holder) = (markets[which], places[place].holder);
        uint256 owed = market.borrowBalanceStored(holder);
        if (trick == 0) tokens[which].transfer(address(market), amount);
        else if (trick == 1 && _onceIn(2)) market.transfer(holder, amount % market.balanceOf(thief));
        else if (trick == 1 || owed == 0) market.mintBehalf(holder, _grain(which) + amount);
        else market.repayBorrowBehalf(holder, 1 + _draw(owed / 20 + 1));
    }

    /* WHAT THE THIEF IS WORTH */

    /// @dev What a liquidator without the key can make of the book as it stands, which is left as it stands.
    function _worthAfterLiquidatingAll(Books memory books) internal returns (uint256 worth) {
        uint256 state = vm.snapshotState();
        vm.startPrank(thief);
        for (uint256 place; place < PLACES; ++place) {
            if (!_isOnMorpho(place)) continue;
            MarketParams memory market = places[place].market;
            (, uint256 shares, uint256 collateral) = morpho.position(_id(market), places[place].holder);
            if (shares == 0) continue;
            if (!_seizes(market, places[place].holder, 0, shares)) {
                _seizes(market, places[place].holder, collateral, 0);
            }
        }
        vm.stopPrank();
        worth = _thiefsWorth(_books()) + _mostFromAave(books) + _mostFromEuler(books) + _mostFromVenus(books);
        vm.revertToStateAndDelete(state);
    }

    /// @dev What there is to gain depends on the pieces that a liquidation is cut into, so this is what all of them at once
    /// would bring: the bonus on whatever can be repaid, of each account that can be liquidated.
    function _mostFromAave(Books memory books) private view returns (uint256 sum) {
        for (uint256 place = OWNER_AAVE; place <= SISTER_AAVE; ++place) {
            if (books.healths[place] >= 1e18) continue;
            (uint256 value, uint256 debt) = (_backing(books, place), _owes(books, place));
            sum += (value < debt * 105 / 100 ? value * 100 / 105 : debt) * 5 / 100;
        }
    }

    /// @dev On Euler a liquidator's discount is what the health lacks to one, at most 15 %. From a health of the root of the
    /// LTV, 0.92, on each liquidation leaves the rest healthier, so what it was at the start is the most.
    function _mostFromEuler(Books memory books) private view returns (uint256 sum) {
        for (uint256 place = OWNER_EULER; place <= FRIEND_EULER; ++place) {
            uint256 health = books.healths[place];
            if (health > 1e18) continue;
            uint256 discount = health > 0.923e18 ? 1e18 - health : 0.15e18;
            (uint256 value, uint256 debt) = (_backing(books, place), _owes(books, place));
            uint256 seized = debt * 1e18 / (1e18 - discount);
            sum += (value < seized ? value : seized) * discount / 1e18;
        }
    }

    /// @dev On Venus a tenth more than was paid is seized, of which the protocol keeps half.
    function _mostFromVenus(Books memory books) private view returns (uint256 sum) {
        for (uint256 place = OWNER_VENUS; place < PLACES; ++place) {
            if (books.healths[place] >= 1e18) continue;
            (uint256 value, uint256 debt) = (_backing(books, place), _owes(books, place));
            sum += (value < debt * 110 / 100 ? value * 100 / 110 : debt) * 5 / 100;
        }
    }

    /// @dev In 18 decimals of a dollar: the tokens, and the loans, without their part of the debts that no collateral is
    /// worth. Interest must be accrued.
    function _thiefsWorth(Books memory books) internal view returns (uint256 worth) {
        for (uint256 i; i < TOKENS; ++i) {
            worth += _inDollars(i, books.thiefBalances[i]);
        }
        worth += _inDollars(WETH, books.thiefBalances[4]) + _inDollars(USDC, books.thiefBalances[5]);
        for (uint256 i; i < lentTo.length; ++i) {
            MarketParams memory market = places[lentTo[i]].market;
            bytes32 id = _id(market);
            (uint256 assets, uint256 allShares,,,,) = morpho.market(id);
            (uint256 shares,,) = morpho.position(id, thief);
            uint256 token = places[lentTo[i]].tokens[1];
            worth += _inDollars(token, (assets - _shortfall(books, id, token)) * shares / allShares);
        }
        worth += _inDollars(WETH, eWeth.convertToAssets(books.thiefBalances[6]));
        worth += _inDollars(USDC, eUsdc.convertToAssets(books.thiefBalances[7]));
        for (uint256 i; i < 2; ++i) {
            uint256 token = i == 0 ? WETH : USDC;
            (uint256 rate,) = _accruedOn(markets[token]);
            worth += _inDollars(token, books.thiefBalances[8 + i] * rate / 1e18);
        }
        worth -= _lossOfPools(books) / 2;
    }

    /// @return sum What the book owes in a market beyond what its collateral is worth, in the loan token.
    function _shortfall(Books memory books, bytes32 id, uint256 token) private view returns (uint256 sum) {
        for (uint256 place; place < PLACES; ++place) {
            if (!_isOnMorpho(place) || _id(places[place].market) != id) continue;
            (uint256 debt, uint256 value) = (books.debts[place][token], _fromDollars(token, _backing(books, place)));
            if (value < debt) sum += debt - value;
        }
    }

    /// @return sum What no collateral stands behind, or stood behind when it was written off, in dollars. Neither
    /// Aave nor Venus nor the stand-in for Euler shares it out by itself: half of it is taken to be the thief's.
    function _lossOfPools(Books memory books) private view returns (uint256 sum) {
        for (uint256 place = OWNER_AAVE; place < PLACES; ++place) {
            (uint256 debt, uint256 value) = (_owes(books, place), _backing(books, place));
            if (value < debt) sum += debt - value;
        }
        sum += _inDollars(WETH, IDeficit(address(pool)).getReserveDeficit(address(weth)));
        sum += _inDollars(USDC, IDeficit(address(pool)).getReserveDeficit(address(usdc)));
    }
}
