// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {Liquidations} from "./Liquidations.sol";

/// @notice A batch of the thief's, and what it may do: a broken promise reverts on the spot.
abstract contract Checks is Liquidations {
    struct Outflow {
        uint256 time;
        uint256 amount;
    }

    struct Window {
        uint256 amount;
        uint256 length;
        Outflow[] ledger; // what has left accounts, in order
        uint256 first; // entries before this one are older than any window that was in force since
    }

    /// @dev At this price the account had this health, or more.
    struct Safe {
        uint256 price;
        uint256 health;
    }

    /// @dev What a batch leads one to expect. `least`: the health that the last that gave to a place, or took from it, must
    /// have left it; 0: nothing did. `touched`: by how many transfers. `crumbs`: what vTokens were worth beyond an amount,
    /// at most.
    struct Expected {
        bool[PLACES] received;
        uint256[PLACES] least;
        uint256[TOKENS] moved;
        uint256[TOKENS][PLACES] touched;
        uint256[TOKENS][PLACES] crumbs;
    }

    /// @dev At most, in one batch.
    uint256 private constant TRANSFERS = 9;
    /// @dev In dollars, 18 decimals: a vault may round each of a batch's transfers by a unit of the dollar, as it goes out
    /// and as it comes in, for the good of all who have shares in it.
    uint256 internal constant ROUNDINGS = (2 * TRANSFERS + 1) * 1e12;
    /// @dev The same, where Venus may do so by a hundred-millionth of an ether.
    uint256 internal constant GRAINS = 40 * ROUNDINGS;

    Window[TOKENS] internal _windows;
    bytes32[] internal _carriedOut;
    uint64 public lastSequence;
    bool public paused;

    // What the campaign has seen, so that a test can tell that it is no empty one.
    uint256 public batches;
    uint256 public rescues;
    uint256 public rescuesOnAave;
    uint256 public rescuesOnEuler;
    uint256 public rescuesOnVenus;
    uint256[3] public transfersOfKind;
    uint256 public refusedBatches;
    uint256 public raidsWithBoth;
    uint256 public raidsWithAll;
    uint256 public raidsCompared;

    function setUp() public virtual override {
        super.setUp();
        (_windows[WETH].amount, _windows[WETH].length) = (20 ether, 1 days);
        (_windows[WSTETH].amount, _windows[WSTETH].length) = (10 ether, 6 hours);
        (_windows[USDC].amount, _windows[USDC].length) = (40_000e6, 1 days);
        (_windows[DAI].amount, _windows[DAI].length) = (20_000e18, 12 hours);
    }

    /* A BATCH, AND WHAT IT MAY DO */

    /// @param accrued Whether all interest is accrued, so that the healths in the books are those of this block.
    /// @return Whether it rescued somebody.
    function _rebalanceOnce(Safe[PLACES] memory safe, bool accrued, Books memory before) internal returns (bool) {
        IMarginGuard.Rescue[] memory batch = _anyBatch(before);
        bytes32 planId = _planId(lastSequence + 1);
        bytes32 permitted = _permissions();
        ++batches;
        vm.prank(thief);
        try guard.rebalance(planId, block.timestamp + _draw(2), batch) returns (IMarginGuard.Result[] memory results) {
            assertFalse(paused, "P6: rebalanced while paused");
            _carriedOut.push(planId);
            ++lastSequence;
            _check(batch, results, before, safe, accrued);
            assertEq(_permissions(), permitted, "P2: a permission");
            return true;
        } catch (bytes memory why) {
            ++refusedBatches;
            assertEq(bytes4(why), paused ? IMarginGuard.GuardIsPaused.selector : IMarginGuard.NothingRescued.selector);
            return false;
        }
    }

    function _check(
        IMarginGuard.Rescue[] memory batch,
        IMarginGuard.Result[] memory results,
        Books memory before,
        Safe[PLACES] memory safe,
        bool accrued
    ) private {
        _accrueAll();
        Books memory now_ = _books();
        Expected memory expected;
        for (uint256 i; i < batch.length; ++i) {
            if (!results[i].ok) continue;
            ++rescues;
            uint256 to = _placeOf(batch[i].to);
            if (_isOnAave(to)) ++rescuesOnAave;
            if (_isOnEuler(to)) ++rescuesOnEuler;
            if (_isOnVenus(to)) ++rescuesOnVenus;
            assertLt(results[i].healthBefore, places[to].policy.rescueCeiling, "above the ceiling");
            if ((accrued || !_isOnMorpho(to)) && expected.least[to] == 0) {
                uint256 within = _flutter(before, to);
                assertApproxEqAbs(results[i].healthBefore, before.healths[to], within, "P4: another health than it had");
                assertGt(_backing(before, to), _owes(before, to), "P9: paid for the lenders' loss");
            }
            expected.received[to] = true;
            expected.least[to] = _largest(places[to].policy.minAfter, batch[i].minHealthAfter, results[i].healthBefore);
            assertGe(results[i].healthAfter, expected.least[to], "P4");
            for (uint256 j; j < batch[i].transfers.length; ++j) {
                _expect(expected, before, batch[i].transfers[j], to);
            }
        }
        for (uint256 place; place < PLACES; ++place) {
            _checkPlace(expected, before, now_, place, accrued);
            if (expected.least[place] != 0) safe[place] = Safe(_price(), expected.least[place]);
        }
        for (uint256 i; i < 10; ++i) {
            assertEq(now_.guardBalances[i], before.guardBalances[i], "P1: the guard's balance");
            assertEq(now_.thiefBalances[i], before.thiefBalances[i], "P9: the thief's balance");
        }
        for (uint256 i; i < TOKENS; ++i) {
            assertEq(tokens[i].allowance(address(guard), address(morpho)), 0, "P1: an allowance left to Morpho");
            assertEq(tokens[i].allowance(address(guard), address(pool)), 0, "P1: an allowance left to Aave");
            assertEq(tokens[i].allowance(address(guard), address(vaults[i])), 0, "P1: an allowance left to a vault");
            assertEq(tokens[i].allowance(address(guard), address(markets[i])), 0, "P1: an allowance left to a market");
            if (expected.moved[i] != 0) _book(_windows[i], expected.moved[i]);
        }
    }

    /// @dev What P1 says must be there afterwards: written into the books of before.
    function _expect(Expected memory expected, Books memory before, IMarginGuard.Transfer memory transfer, uint256 to)
        private
    {
        uint256 from = _placeOf(transfer.from);
        uint256 token = places[from].tokens[transfer.fromAsset];
        assertEq(token, places[to].tokens[transfer.toAsset], "P1: another token");
        ++transfersOfKind[uint8(transfer.kind)];
        expected.least[from] = places[from].policy.hardFloor;
        expected.moved[token] += transfer.amount;
        ++expected.touched[to][token];
        ++expected.touched[from][token];
        if (transfer.kind == IMarginGuard.Kind.Repay) before.debts[to][token] -= transfer.amount;
        else before.holdings[to][token] += transfer.amount;
        before.holdings[from][token] -= transfer.amount;
        uint256 taken = transfer.amount;
        if (_isOnEuler(from)) taken = vaults[token].previewWithdraw(transfer.amount);
        if (_isOnVenus(from)) {
            taken = transfer.amount * 1e18 / markets[token].exchangeRateStored();
            if (places[from].holder == owner) expected.crumbs[OWNER_WALLET][token] += _grain(token);
            if (places[from].holder == friend) expected.crumbs[FRIEND_WALLET][token] += _grain(token);
        }
        if (!_isOnMorpho(from)) before.allowances[from][token] -= taken;
    }

    function _checkPlace(Expected memory expected, Books memory before, Books memory now_, uint256 place, bool accrued)
        private
        view
    {
        for (uint256 i; i < TOKENS; ++i) {
            // Aave's index rounds each movement; Morpho rounds what is owed. What a share of a vault or a vToken is worth
            // changes by a hair with every movement, whoever's it is. Less than a vToken is not booked, and a wallet gets
            // what was redeemed beyond an amount.
            uint256 rounding = 2 * expected.touched[place][i];
            uint256 held = rounding;
            if (_isOnEuler(place)) held += TRANSFERS;
            else if (_isOnVenus(place)) held = (held + 1) * _grain(i) + TRANSFERS;
            else if (_isWallet(place)) held = expected.crumbs[place][i];
            else if (!_isOnAave(place)) held = 0;
            assertApproxEqAbs(
                now_.holdings[place][i], before.holdings[place][i], held, "P1: not what the transfers say"
            );
            if (_isWallet(place)) assertGe(now_.holdings[place][i], before.holdings[place][i], "P1: out of a wallet");
            if (_isOnEuler(place)) rounding += TRANSFERS;
            else if (!_isOnAave(place) && !_isOnVenus(place)) rounding = 0;
            assertApproxEqAbs(now_.allowances[place][i], before.allowances[place][i], rounding, "P2: an allowance");
            assertLe(now_.allowances[place][i], before.allowances[place][i], "P2: an allowance more");
            // Shares tell it also where Morpho's interest was not accrued before.
            if (accrued || !_isOnMorpho(place)) {
                uint256 roundings = 2 * expected.touched[place][i];
                // Who repays on Morpho rounds up, for the good of all who owe in that market.
                if (_isOnMorpho(place)) roundings += TRANSFERS;
                if (_isOnVenus(place) && !accrued) roundings += 2; // by which the index was rounded
                assertApproxEqAbs(now_.debts[place][i], before.debts[place][i], roundings, "P1: not repaid");
            }
            assertLe(now_.debtShares[place][i], before.debtShares[place][i], "P2: a debt");
        }
        assertEq(now_.supplyShares[place], before.supplyShares[place], "P2: a loan given");
        if (expected.received[place]) {
            assertLe(now_.healths[place], places[place].policy.maxAfter + _flutter(now_, place), "more than it needed");
        }
        assertGe(now_.healths[place], expected.least[place], "P3 or P4: too low at the end of the batch");
    }

    /// @return By how much the movements of others in the same batch may change a health: those of shares.
    function _flutter(Books memory books, uint256 place) private view returns (uint256) {
        return _isOnEuler(place) || _isOnVenus(place) ? ROUNDINGS * 1e18 / _owes(books, place) + 1 : 0;
    }

    /// @dev P5: the window that ends now is the fullest that this outflow could have made.
    function _book(Window storage w, uint256 amount) private {
        w.ledger.push(Outflow(block.timestamp, amount));
        uint256 sum;
        for (uint256 i = w.ledger.length; i > w.first && w.ledger[i - 1].time + w.length > block.timestamp; --i) {
            sum += w.ledger[i - 1].amount;
        }
        assertLe(sum, w.amount, "P5: more than the cap in one window");
    }

    /// @dev Only the account's index of today: one that was retired, or is unknown, cannot be in a rescue that succeeded.
    function _placeOf(uint16 index) private view returns (uint256 place) {
        while (places[place].index != index) ++place;
        assertTrue(place != STRANGER, "an account of somebody who never joined");
        if (places[place].holder == friend) assertTrue(guard.account(index).joined, "an account of somebody who left");
    }

    function _largest(uint256 x, uint256 y, uint256 z) private pure returns (uint256) {
        uint256 larger = x > y ? x : y;
        return larger > z ? larger : z;
    }
}
