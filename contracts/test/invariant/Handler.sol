// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {Liquidations} from "./Liquidations.sol";

/// @notice What can happen, one function each. Whoever calls the guard is checked on the spot: a broken promise reverts
/// here, and the campaign counts every revert as a failure.
contract Handler is Liquidations {
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
    /// have left it; 0: nothing did. `touched`: by how many transfers.
    struct Expected {
        bool[PLACES] received;
        uint256[PLACES] least;
        uint256[TOKENS] moved;
        uint256[TOKENS][PLACES] touched;
    }

    /// @dev At most, in one batch.
    uint256 private constant TRANSFERS = 9;
    /// @dev In dollars, 18 decimals: a vault may round each of a batch's transfers by a unit of the dollar, as it goes out
    /// and as it comes in, for the good of all who have shares in it.
    uint256 private constant ROUNDINGS = (2 * TRANSFERS + 1) * 1e12;

    Window[TOKENS] private _windows;
    bytes32[] private _carriedOut;
    uint64 public lastSequence;
    bool public paused;

    // What the campaign has seen, so that a test can tell that it is no empty one.
    uint256 public batches;
    uint256 public rescues;
    uint256 public rescuesOnAave;
    uint256 public rescuesOnEuler;
    uint256[3] public transfersOfKind;
    uint256 public refusedBatches;
    uint256 public raidsWithBoth;
    uint256 public raidsWithAll;
    uint256 public raidsCompared;

    function setUp() public override {
        super.setUp();
        (_windows[WETH].amount, _windows[WETH].length) = (20 ether, 1 days);
        (_windows[WSTETH].amount, _windows[WSTETH].length) = (10 ether, 6 hours);
        (_windows[USDC].amount, _windows[USDC].length) = (40_000e6, 1 days);
        (_windows[DAI].amount, _windows[DAI].length) = (20_000e18, 12 hours);
    }

    function guardIsPaused() external view returns (bool) {
        return guard.paused();
    }

    function guardsLastSequence() external view returns (uint64) {
        return guard.lastSequence();
    }

    /* THE THIEF */

    /// @dev P9: rebalances, liquidations and falls of the price in any order, in one block. What the keeper moved to or from
    /// can be liquidated only after a fall deeper than the limit that it ended at: `hardFloor`, or `minAfter`. And while
    /// the price stands still, the thief ends no richer than one without the key, who liquidates all that can be.
    function thiefRaids(uint256 seed) external {
        _begin(seed);
        _accrueAll();
        Books memory start = _books();
        Safe[PLACES] memory safe;
        for (uint256 place; place < PLACES; ++place) {
            safe[place] = Safe(_price(), start.healths[place]);
        }
        bool[3] memory did; // rebalanced, liquidated, the price fell
        bool isCalm = _onceIn(3);
        uint256 worthWithoutKey = isCalm ? _worthAfterLiquidatingAll(start) : 0;
        for (uint256 steps = 4 + _draw(12); steps != 0; --steps) {
            uint256 choice = _draw(isCalm ? 8 : 10);
            if (choice < 4) {
                Books memory books = _books();
                uint256 worth = _thiefsWorth(books);
                if (!_rebalanceOnce(safe, true, books)) continue;
                did[0] = true;
                assertApproxEqAbs(_thiefsWorth(_books()), worth, ROUNDINGS, "P9: a rebalance alone earned something");
            } else if (choice < 8) {
                uint256 place = _onceIn(2) ? _draw(PLACES) : _neediest(_books());
                if (!_liquidates(place)) continue;
                did[1] = true;
                // A billionth for what is rounded. Whoever owes ether gains by a fall, whoever has dollars loses less.
                uint256 healthNow =
                    _owesEther(place) ? safe[place].health : safe[place].health * _price() / safe[place].price;
                assertLt(healthNow, 1e18 + 1e9, "P9: liquidated what could not have been without the keeper's key");
                safe[place].health = 0; // now anybody may go on
            } else if (choice == 8) {
                _tamper();
            } else {
                ethFeed.setAnswer(int256(_price() * (90 + _draw(10)) / 100 + 1));
                did[2] = true;
            }
        }
        // Each liquidation rounds by a unit of the loan token, and here there are up to sixteen for one.
        if (isCalm) assertLe(_thiefsWorth(_books()), worthWithoutKey + 16 * ROUNDINGS, "P9: the key earned something");
        if (did[0] && did[1]) ++raidsWithBoth;
        if (did[0] && did[1] && isCalm) ++raidsCompared;
        if (did[0] && did[1] && did[2]) ++raidsWithAll;
    }

    function thiefRebalances(uint256 seed) external {
        _begin(seed);
        Safe[PLACES] memory safe;
        bool accrued = _onceIn(2);
        if (accrued) _accrueAll();
        _rebalanceOnce(safe, accrued, _books());
    }

    function thiefLiquidates(uint256 seed) external {
        _begin(seed);
        _liquidates(_draw(PLACES));
    }

    function thiefTampers(uint256 seed) external {
        _begin(seed);
        _tamper();
    }

    function thiefPauses(uint256 seed) external {
        if (seed % 8 != 0) return; // much would never be reached if he always did
        vm.prank(thief);
        guard.pause();
        paused = true;
    }

    /// @dev P8, and the wrong caller, sequence, deadline of P6.
    function thiefTriesWhatTheKeyDoesNotAllow(uint256 seed) external {
        _begin(seed);
        bytes32 planId = _nextPlanId();
        uint256 deadline = block.timestamp;
        address caller = thief;
        uint256 trick = _draw(4);
        if (trick == 0) caller = [owner, friend, stranger, lender][_draw(4)];
        else if (trick == 1) deadline = block.timestamp - 1 - _draw(1 days);
        else if (trick == 2) planId = _planId(uint64(lastSequence + 2 + _draw(100)));
        else planId = _carriedOut.length == 0 ? bytes32(_draw(1 << 192)) : _carriedOut[_draw(_carriedOut.length)];
        IMarginGuard.Rescue[] memory batch = _anyBatch(_books());
        vm.prank(caller);
        try guard.rebalance(planId, deadline, batch) {
            revert("carried out");
        } catch (bytes memory why) {
            assertNotEq(bytes4(why), IMarginGuard.NothingRescued.selector, "it was tried");
        }
    }

    /// @dev Whoever is not the owner: the thief, a holder that joined, one that did not.
    function othersTryWhatIsTheOwners(uint256 seed) external {
        _begin(seed);
        bytes memory data = _ownersCall(_draw(7));
        vm.prank([thief, friend, stranger][_draw(3)]);
        (bool ok, bytes memory why) = address(guard).call(data);
        assertFalse(ok, "let in");
        assertEq(bytes4(why), IMarginGuard.CallerIsNotOwner.selector);
    }

    /* THE OWNER AND THE HOLDERS */

    /// @dev Nothing that the others did can stand in the way of these: each must work at once.
    function ownerTakesControl(uint256 seed) external {
        _begin(seed);
        vm.startPrank(owner);
        guard.pause();
        guard.sweep(address(tokens[_draw(TOKENS)]));
        guard.setKeeper(address(0));
        guard.setKeeper(thief);
        guard.unpause();
        vm.stopPrank();
        paused = false;
    }

    function ownerSetsPolicy(uint256 seed) external {
        _begin(seed);
        uint256 place = _draw(PLACES);
        if (_isWallet(place)) return;
        IMarginGuard.Policy memory policy;
        policy.hardFloor = uint64(1.005e18 + _draw(0.1e18));
        policy.minAfter = uint64(policy.hardFloor + _draw(0.1e18));
        policy.rescueCeiling = uint64(policy.minAfter + _draw(0.8e18));
        policy.maxAfter = uint64(policy.rescueCeiling + _draw(1e18));
        places[place].policy = policy;
        vm.prank(owner);
        guard.setPolicy(places[place].index, policy);
    }

    function ownerSetsCap(uint256 seed) external {
        _begin(seed);
        uint256 which = _draw(TOKENS);
        Window storage w = _windows[which];
        uint256 length = _onceIn(2) ? w.length : 10 minutes + _draw(2 days);
        if (length != w.length) {
            // Another window counts from here on, and from what the old one still counted.
            while (w.first < w.ledger.length && w.ledger[w.first].time + w.length <= block.timestamp) ++w.first;
        }
        uint256 unit = 10 ** tokens[which].decimals() * (which < USDC ? 1 : 2_000);
        (w.amount, w.length) = (2 * unit + _draw(30 * unit), length);
        _setCap(address(tokens[which]), uint128(w.amount), uint32(length));
    }

    function ownerRetiresAndEnrolsAgain(uint256 seed) external {
        _begin(seed);
        uint256 place = _draw(PLACES);
        if (guard.accountCount() > 1_000) return;
        _retire(places[place].index);
        uint16 index = _enrol(_enrolment(place));
        assertEq(index, guard.accountCount() - 1, "an index was used again");
        places[place].index = index;
    }

    /// @dev Brings accounts back that were liquidated: adds collateral, then borrows to a health between 1.01 and 2.51.
    function ownerWorksOnAPosition(uint256 seed) external {
        _begin(seed);
        uint256 place = _draw(PLACES);
        if (_isWallet(place)) return;
        _accrueAll();
        uint8 collateral = _owesEther(place) ? uint8(USDC) : places[place].tokens[0];
        uint8 loan = _owesEther(place) ? uint8(WETH) : places[place].tokens[1];
        uint256 wanted = _fromDollars(collateral, 20_000e18);
        uint256 held = _books().holdings[place][collateral];
        if (held < wanted) _puts(place, collateral, wanted - held);
        if (loan == DAI && !_daiIsQuoted()) return;
        Books memory books = _books();
        uint256 covered = _backing(books, place) * _weight(place, collateral) / 1e18;
        uint256 owed = _owes(books, place);
        uint256 target = covered * 1e18 / (1.01e18 + _draw(_onceIn(2) ? 0.1e18 : 1.5e18));
        if (target > owed) _borrows(place, loan, _fromDollars(loan, target - owed));
    }

    function ownerFillsAWallet(uint256 seed) external {
        _begin(seed);
        uint256 token = _draw(TOKENS);
        address holder = _onceIn(2) ? owner : friend;
        tokens[token].mint(holder, _draw(_fromDollars(token, 20_000e18)));
        vm.prank(holder);
        tokens[token].approve(address(guard), _draw(_fromDollars(token, 20_000e18)));
    }

    /// @dev aTokens, or shares.
    function holdersAllowWhatTheyHold(uint256 seed) external {
        _begin(seed);
        uint256 place = OWNER_AAVE + _draw(6);
        uint256 token = _onceIn(2) ? WETH : USDC;
        if (_onceIn(2)) _puts(place, uint8(token), 2 + _draw(_fromDollars(token, 10_000e18)));
        uint256 allowed = _draw(_fromDollars(token, 40_000e18));
        if (_isOnEuler(place)) return _permitOf(places[place].holder, _number(place), vaults[token], allowed);
        vm.startPrank(places[place].holder);
        aTokens[token].approve(address(guard), allowed);
        if (_onceIn(4)) pool.approvePositionManager(address(guard), _onceIn(2));
        vm.stopPrank();
    }

    function friendJoinsOrLeaves(uint256 seed) external {
        vm.prank(friend);
        seed % 3 == 0 ? guard.leave() : guard.join();
    }

    /* THE WORLD */

    function pricesMove(uint256 seed) external {
        _begin(seed);
        uint256 price = _price() * (88 + _draw(24)) / 100;
        if (_onceIn(4)) price = 1_700e8 + _draw(600e8);
        ethFeed.setAnswer(int256(price < 800e8 ? 800e8 : price > 4_000e8 ? 4_000e8 : price));
        daiFeed.setAnswer(_onceIn(16) ? -1 : int256(1e8));
    }

    function timePasses(uint256 seed) external {
        _begin(seed);
        _pass(1 + _draw(_onceIn(8) ? 2 days : 3 hours));
    }

    /// @dev Moves the interest rate, and the shares' price.
    function othersBorrowAndLend(uint256 seed) external {
        _begin(seed);
        bool lends = _onceIn(2);
        if (_onceIn(3)) return _othersOnAave(_onceIn(2) ? WETH : USDC, lends);
        if (_onceIn(3)) return _othersOnEuler(_onceIn(2), lends);
        uint256 place = [0, 1, 2, 5, 6][_draw(5)];
        MarketParams memory market = places[place].market;
        uint256 loan = places[place].tokens[1];
        uint256 dollars = (1 + _draw(10_000)) * 1e18;
        uint256 amount = _fromDollars(loan, dollars);
        if (lends) {
            tokens[loan].mint(lender, amount);
            vm.prank(lender);
            morpho.supply(market, amount, 0, lender, "");
        } else if (amount < _liquidity(market) && _daiIsQuoted()) {
            _openFor(makeAddr("somebody else"), market, dollars, amount);
        }
    }

    function _othersOnAave(uint256 token, bool lends) private {
        uint256 amount = _fromDollars(token, (1 + _draw(100_000)) * 1e18);
        if (lends) return _supplyFor(lender, tokens[token], amount);
        _supplyFor(
            makeAddr("somebody on Aave"), tokens[WETH + USDC - token], _fromDollars(WETH + USDC - token, 300_000e18)
        );
        _borrowFor(makeAddr("somebody on Aave"), tokens[token], amount);
    }

    function _othersOnEuler(bool isEther, bool lends) private {
        (uint256 loan, uint256 backing) = isEther ? (WETH, USDC) : (USDC, WETH);
        uint256 amount = _fromDollars(loan, (1 + _draw(100_000)) * 1e18);
        if (lends) return _depositFor(lender, vaults[loan], 2 + amount);
        if (amount > vaults[loan].cash()) return;
        uint8 id = isEther ? 1 : 2;
        _openSubOf(
            makeAddr("somebody on Euler"), id, vaults[backing], _fromDollars(backing, 1e30), vaults[loan], amount
        );
    }

    function somebodyDonates(uint256 seed) external {
        _begin(seed);
        tokens[_draw(TOKENS)].mint(address(guard), 1 + _draw(1 ether));
        uint256 token = _onceIn(2) ? WETH : USDC;
        vm.startPrank(lender);
        aTokens[token].transfer(address(guard), 1 + _draw(1e9));
        vaults[token].transfer(address(guard), 1 + _draw(1e9));
        vm.stopPrank();
    }

    /* A BATCH, AND WHAT IT MAY DO */

    /// @param accrued Whether all interest is accrued, so that the healths in the books are those of this block.
    /// @return Whether it rescued somebody.
    function _rebalanceOnce(Safe[PLACES] memory safe, bool accrued, Books memory before) private returns (bool) {
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
            assertLt(results[i].healthBefore, places[to].policy.rescueCeiling, "above the ceiling");
            if (accrued && expected.least[to] == 0) {
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
        for (uint256 i; i < 8; ++i) {
            assertEq(now_.guardBalances[i], before.guardBalances[i], "P1: the guard's balance");
            assertEq(now_.thiefBalances[i], before.thiefBalances[i], "P9: the thief's balance");
        }
        for (uint256 i; i < TOKENS; ++i) {
            assertEq(tokens[i].allowance(address(guard), address(morpho)), 0, "P1: an allowance left to Morpho");
            assertEq(tokens[i].allowance(address(guard), address(pool)), 0, "P1: an allowance left to Aave");
            assertEq(tokens[i].allowance(address(guard), address(vaults[i])), 0, "P1: an allowance left to a vault");
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
        uint256 taken = _isOnEuler(from) ? vaults[token].previewWithdraw(transfer.amount) : transfer.amount;
        if (!_isOnMorpho(from)) before.allowances[from][token] -= taken;
    }

    function _checkPlace(Expected memory expected, Books memory before, Books memory now_, uint256 place, bool accrued)
        private
        view
    {
        for (uint256 i; i < TOKENS; ++i) {
            // Aave's index rounds each movement; Morpho rounds what is owed. What a share of a vault is worth changes by a
            // hair with every movement, whoever's it is.
            uint256 rounding = 2 * expected.touched[place][i];
            if (_isOnEuler(place)) rounding += TRANSFERS;
            else if (!_isOnAave(place)) rounding = 0;
            assertApproxEqAbs(
                now_.holdings[place][i], before.holdings[place][i], rounding, "P1: not what the transfers say"
            );
            assertApproxEqAbs(now_.allowances[place][i], before.allowances[place][i], rounding, "P2: an allowance");
            assertLe(now_.allowances[place][i], before.allowances[place][i], "P2: an allowance more");
            // Shares tell it also where Morpho's interest was not accrued before.
            if (accrued || !_isOnMorpho(place)) {
                uint256 roundings = 2 * expected.touched[place][i];
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
        return _isOnEuler(place) ? ROUNDINGS * 1e18 / _owes(books, place) + 1 : 0;
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

    /* HELPERS */

    function _ownersCall(uint256 which) private returns (bytes memory) {
        if (which == 0) return abi.encodeCall(guard.setKeeper, (thief));
        if (which == 1) return abi.encodeCall(guard.unpause, ());
        if (which == 2) return abi.encodeCall(guard.sweep, (address(tokens[_draw(TOKENS)])));
        if (which == 3) return abi.encodeCall(guard.setPolicy, (places[0].index, places[0].policy));
        if (which == 4) return abi.encodeCall(guard.enrol, (new IMarginGuard.Enrolment[](_draw(2))));
        if (which == 5) return abi.encodeCall(guard.retire, (new uint16[](_draw(2))));
        return abi.encodeCall(guard.setCaps, (new IMarginGuard.Cap[](_draw(2))));
    }

    /// @dev Of less than two units a pool may book nothing, and a vault give no share: both refuse that.
    function _puts(uint256 place, uint8 token, uint256 amount) private {
        address holder = places[place].holder;
        if (_isOnMorpho(place)) return _openFor(holder, places[place].market, amount, 0);
        if (_isOnEuler(place)) return _depositFor(_account(place), vaults[token], 2 + amount);
        _supplyFor(holder, tokens[token], 2 + amount);
        vm.prank(holder);
        pool.setUserUseReserveAsCollateral(address(tokens[token]), true);
    }

    /// @dev Where there is as much to borrow, and the stricter requirement of Aave or Euler lets it.
    function _borrows(uint256 place, uint256 token, uint256 amount) private {
        (address holder, MarketParams memory market) = (places[place].holder, places[place].market);
        if (amount == 0) return;
        vm.startPrank(holder);
        if (_isOnAave(place)) {
            try pool.borrow(address(tokens[token]), amount, VARIABLE, 0, holder) {} catch {}
        } else if (_isOnEuler(place)) {
            bytes memory data = abi.encodeCall(StandInVault.borrow, (amount, holder));
            try evc.call(address(vaults[token]), _account(place), 0, data) {} catch {}
        } else if (amount <= _liquidity(market)) {
            morpho.borrow(market, amount, 0, holder, holder);
        }
        vm.stopPrank();
    }

    function _liquidity(MarketParams memory market) private view returns (uint256) {
        (uint256 supplied,, uint256 borrowed,,,) = morpho.market(_id(market));
        return supplied - borrowed;
    }

    function _largest(uint256 x, uint256 y, uint256 z) private pure returns (uint256) {
        uint256 larger = x > y ? x : y;
        return larger > z ? larger : z;
    }
}
