// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {Campaign} from "./Campaign.sol";

/// @notice What can happen, one function each. Whoever calls the guard is checked on the spot: a broken promise reverts
/// here, and the campaign counts every revert as a failure.
contract Handler is Campaign {
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

    Window[2] private _windows;
    bytes32[] private _carriedOut;
    uint64 public lastSequence;
    bool public paused;

    // What the campaign has seen, so that a test can tell that it is no empty one.
    uint256 public batches;
    uint256 public rescues;
    uint256 public refusedBatches;
    uint256 public liquidations;
    uint256 public raidsWithBoth;
    uint256 public raidsWithAll;
    uint256 public raidsCompared;

    function setUp() public override {
        super.setUp();
        (_windows[0].amount, _windows[0].length) = (20 ether, 1 days);
        (_windows[1].amount, _windows[1].length) = (10 ether, 6 hours);
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
        uint256 worthWithoutKey = isCalm ? _worthAfterLiquidatingAll() : 0;
        for (uint256 steps = 4 + _draw(12); steps != 0; --steps) {
            uint256 choice = _draw(isCalm ? 8 : 10);
            if (choice < 4) {
                uint256 worth = _thiefsWorth();
                did[0] = _rebalanceOnce(safe, true) || did[0];
                assertEq(_thiefsWorth(), worth, "P9: a rebalance alone earned something");
            } else if (choice < 8) {
                uint256 place = _onceIn(2) ? _draw(PLACES) : _neediest(_books());
                if (!_liquidates(place)) continue;
                did[1] = true;
                // A billionth for what is rounded.
                uint256 healthNow = safe[place].health * _price() / safe[place].price;
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
        if (isCalm) assertLe(_thiefsWorth(), worthWithoutKey + 16e12, "P9: the key earned something");
        if (did[0] && did[1]) ++raidsWithBoth;
        if (did[0] && did[1] && isCalm) ++raidsCompared;
        if (did[0] && did[1] && did[2]) ++raidsWithAll;
    }

    function thiefRebalances(uint256 seed) external {
        _begin(seed);
        Safe[PLACES] memory safe;
        bool accrued = _onceIn(2);
        if (accrued) _accrueAll();
        _rebalanceOnce(safe, accrued);
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
        guard.sweep(address(_underlying(_draw(2))));
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
        uint256 which = _draw(2);
        Window storage w = _windows[which];
        uint256 length = _onceIn(2) ? w.length : 10 minutes + _draw(2 days);
        if (length != w.length) {
            // Another window counts from here on, and from what the old one still counted.
            while (w.first < w.ledger.length && w.ledger[w.first].time + w.length <= block.timestamp) ++w.first;
        }
        (w.amount, w.length) = (2 ether + _draw(30 ether), length);
        _setCap(address(_underlying(which)), uint128(w.amount), uint32(length));
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

    /// @dev Brings accounts back that were liquidated: pays debt that no collateral covers, adds collateral, borrows.
    function ownerWorksOnAPosition(uint256 seed) external {
        _begin(seed);
        uint256 place = _draw(PLACES);
        if (_isWallet(place)) return;
        MarketParams memory market = places[place].market;
        address holder = places[place].holder;
        _accrueAll();
        Books memory books = _books();
        uint256 which = market.collateralToken == address(weth) ? 0 : 1;
        uint256 collateral = books.holdings[place][which];
        if (collateral < 10 ether) _openFor(holder, market, 10 ether - collateral, 0);
        (, int256 quote,,,) = daiFeed.latestRoundData();
        if (quote <= 0) return;
        // To a health between 1.01 and 2.51, by borrowing what is missing to it.
        uint256 value = (collateral < 10 ether ? 10 ether : collateral) * _price() / 1e8;
        if (market.loanToken == address(usdc)) value /= 1e12;
        uint256 wanted = value * market.lltv / (1.01e18 + _draw(_onceIn(2) ? 0.1e18 : 1.5e18));
        uint256 debt = _debtOf(market, books.debtShares[place]);
        if (wanted <= debt || wanted - debt > TestToken(market.loanToken).balanceOf(address(morpho))) return;
        if (wanted - debt > _liquidity(market)) return;
        vm.prank(holder);
        morpho.borrow(market, wanted - debt, 0, holder, holder);
    }

    function ownerFillsAWallet(uint256 seed) external {
        _begin(seed);
        TestToken token = _underlying(_draw(2));
        address holder = _onceIn(2) ? owner : friend;
        token.mint(holder, _draw(10 ether));
        vm.prank(holder);
        token.approve(address(guard), _draw(10 ether));
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
        vm.warp(block.timestamp + 1 + _draw(_onceIn(8) ? 2 days : 3 hours));
    }

    /// @dev Moves the interest rate, and the shares' price.
    function othersBorrowAndLend(uint256 seed) external {
        _begin(seed);
        MarketParams memory market = places[[0, 1, 2, 5, 6][_draw(5)]].market;
        uint256 amount = _draw(10_000) * 10 ** TestToken(market.loanToken).decimals();
        if (_onceIn(2)) {
            vm.prank(lender);
            TestToken(market.loanToken).mint(lender, amount + 1);
            vm.prank(lender);
            morpho.supply(market, amount + 1, 0, lender, "");
        } else if (amount != 0 && amount < _liquidity(market) && _oracleWorks()) {
            _openFor(
                makeAddr("somebody else"), market, amount * 1e18 / 10 ** TestToken(market.loanToken).decimals(), amount
            );
        }
    }

    function somebodyDonates(uint256 seed) external {
        _begin(seed);
        [weth, wsteth, usdc, dai][_draw(4)].mint(address(guard), 1 + _draw(1 ether));
    }

    /* A BATCH, AND WHAT IT MAY DO */

    /// @param accrued Whether all interest is accrued, so that the healths in the books are those of this block.
    /// @return Whether it rescued somebody.
    function _rebalanceOnce(Safe[PLACES] memory safe, bool accrued) private returns (bool) {
        Books memory before = _books();
        IMarginGuard.Rescue[] memory batch = _anyBatch(before);
        bytes32 planId = _planId(lastSequence + 1);
        ++batches;
        vm.prank(thief);
        try guard.rebalance(planId, block.timestamp + _draw(2), batch) returns (IMarginGuard.Result[] memory results) {
            assertFalse(paused, "P6: rebalanced while paused");
            _carriedOut.push(planId);
            ++lastSequence;
            _check(batch, results, before, safe, accrued);
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
        bool[PLACES] memory received;
        uint256[PLACES] memory least; // as the last that gave to it or took from it must have left it; 0: nothing did
        uint256[2] memory moved;
        for (uint256 i; i < batch.length; ++i) {
            if (!results[i].ok) continue;
            ++rescues;
            uint256 to = _placeOf(batch[i].to);
            assertLt(results[i].healthBefore, places[to].policy.rescueCeiling, "above the ceiling");
            if (accrued && least[to] == 0) {
                assertEq(results[i].healthBefore, before.healths[to], "P4: another health than it had");
                assertGt(before.healths[to], places[to].market.lltv, "P9: paid for the lenders' loss");
            }
            received[to] = true;
            least[to] = _largest(places[to].policy.minAfter, batch[i].minHealthAfter, results[i].healthBefore);
            assertGe(results[i].healthAfter, least[to], "P4");
            for (uint256 j; j < batch[i].transfers.length; ++j) {
                IMarginGuard.Transfer memory transfer = batch[i].transfers[j];
                uint256 from = _placeOf(transfer.from);
                uint256 which = places[from].tokens[transfer.fromAsset] == address(weth) ? 0 : 1;
                least[from] = places[from].policy.hardFloor;
                moved[which] += transfer.amount;
                // What P1 says must be there afterwards.
                before.holdings[to][which] += transfer.amount;
                before.holdings[from][which] -= transfer.amount;
                if (_isWallet(from)) before.allowances[from][which] -= transfer.amount;
            }
        }
        for (uint256 place; place < PLACES; ++place) {
            for (uint256 i; i < 2; ++i) {
                assertEq(now_.holdings[place][i], before.holdings[place][i], "P1: not what the transfers say");
                assertEq(now_.allowances[place][i], before.allowances[place][i], "P2: an allowance");
            }
            assertEq(now_.debtShares[place], before.debtShares[place], "P2: a debt");
            assertEq(now_.supplyShares[place], before.supplyShares[place], "P2: a loan given");
            if (received[place]) assertLe(now_.healths[place], places[place].policy.maxAfter, "more than it needed");
            assertGe(now_.healths[place], least[place], "P3 or P4: too low at the end of the batch");
            if (least[place] != 0) safe[place] = Safe(_price(), least[place]);
        }
        for (uint256 i; i < 4; ++i) {
            assertEq(now_.guardBalances[i], before.guardBalances[i], "P1: the guard's balance");
            assertEq(now_.thiefBalances[i], before.thiefBalances[i], "P9: the thief's balance");
        }
        for (uint256 i; i < 6; ++i) {
            assertEq(now_.authorised[i], before.authorised[i], "P2: an authorisation");
        }
        for (uint256 i; i < 2; ++i) {
            if (moved[i] != 0) _book(_windows[i], moved[i]);
        }
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

    /* MAKING UP CALLS */

    /// @dev Mostly something that could be right: the neediest account, a donor of the same underlying, an amount that helps.
    function _anyBatch(Books memory books) private returns (IMarginGuard.Rescue[] memory batch) {
        batch = new IMarginGuard.Rescue[](1 + _draw(3));
        for (uint256 i; i < batch.length; ++i) {
            uint256 to = _onceIn(3) ? _draw(PLACES) : _neediest(books);
            IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](1 + _draw(3));
            for (uint256 j; j < transfers.length; ++j) {
                transfers[j] = _anyTransfer(books, to, transfers.length);
            }
            uint128 wanted = uint128(_onceIn(4) ? 1e18 + _draw(0.5e18) : 0);
            batch[i] = IMarginGuard.Rescue(_indexOf(to), wanted, RESCUE_GAS, transfers);
        }
    }

    function _anyTransfer(Books memory books, uint256 to, uint256 parts)
        private
        returns (IMarginGuard.Transfer memory transfer)
    {
        address underlying = places[to].tokens[0];
        uint256 which = underlying == address(weth) ? 0 : 1;
        uint256 from = _draw(PLACES);
        for (uint256 i; i < 8 && (from == to || books.holdings[from][which] == 0 || from == STRANGER); ++i) {
            from = _draw(PLACES);
        }
        transfer.from = _indexOf(from);
        transfer.fromAsset = from == FRIEND_WALLET ? uint8(which) : 0;
        transfer.kind = _isWallet(from) == _isWallet(to) ? IMarginGuard.Kind.Native : IMarginGuard.Kind.Cross;
        if (_onceIn(24)) transfer.kind = IMarginGuard.Kind(_draw(2));
        if (_onceIn(24)) transfer.fromAsset = uint8(_draw(3));
        if (_onceIn(24)) transfer.toAsset = uint8(_draw(3));
        uint256 amount = _draw(3 ether);
        (uint256 health, uint256 minAfter) = (books.healths[to], places[to].policy.minAfter);
        if (health != 0 && health < minAfter && _draw(4) != 0) {
            uint256 missing = books.holdings[to][which] * (minAfter - health) / health;
            amount = missing * (90 + _draw(60)) / 100 / parts + _draw(3);
        }
        if (_onceIn(24)) amount = [uint256(0), type(uint128).max, books.holdings[from][which], 1][_draw(4)];
        transfer.amount = uint128(amount);
    }

    function _indexOf(uint256 place) private returns (uint16) {
        return _onceIn(24) ? uint16(_draw(guard.accountCount() + 1)) : places[place].index;
    }

    function _neediest(Books memory books) private pure returns (uint256 place) {
        for (uint256 i; i < PLACES; ++i) {
            if (i != STRANGER && books.healths[i] < books.healths[place]) place = i;
        }
    }

    function _ownersCall(uint256 which) private returns (bytes memory) {
        if (which == 0) return abi.encodeCall(guard.setKeeper, (thief));
        if (which == 1) return abi.encodeCall(guard.unpause, ());
        if (which == 2) return abi.encodeCall(guard.sweep, (address(_underlying(_draw(2)))));
        if (which == 3) return abi.encodeCall(guard.setPolicy, (places[0].index, places[0].policy));
        if (which == 4) return abi.encodeCall(guard.enrol, (new IMarginGuard.Enrolment[](_draw(2))));
        if (which == 5) return abi.encodeCall(guard.retire, (new uint16[](_draw(2))));
        return abi.encodeCall(guard.setCaps, (new IMarginGuard.Cap[](_draw(2))));
    }

    /* THE REST OF THE THIEF'S AND OF THE WORLD */

    /// @dev What anybody can do to an account of somebody else: give it collateral, pay its debt, fill what it is counted in.
    function _tamper() private {
        uint256 place = _draw(PLACES);
        TestToken token = TestToken(places[place].tokens[0]);
        uint256 amount = 1 + _draw(_onceIn(2) ? 100 : 1 ether);
        if (_isWallet(place)) return token.mint(places[place].holder, amount);
        MarketParams memory market = places[place].market;
        uint256 trick = _draw(3);
        if (trick == 0) return token.mint(address(morpho), amount);
        if (trick == 1) {
            token.mint(thief, amount);
            vm.startPrank(thief);
            token.approve(address(morpho), amount);
            morpho.supplyCollateral(market, amount, places[place].holder, "");
            vm.stopPrank();
        } else {
            (, uint256 shares,) = morpho.position(_id(market), places[place].holder);
            if (shares == 0) return;
            vm.prank(thief);
            morpho.repay(market, 0, 1 + _draw(shares / 20 + 1), places[place].holder, "");
        }
    }

    function _liquidates(uint256 place) private returns (bool) {
        if (_isWallet(place)) return false;
        MarketParams memory market = places[place].market;
        (, uint256 shares, uint256 collateral) = morpho.position(_id(market), places[place].holder);
        if (shares == 0) return false;
        uint256 part = 1 + _draw(4);
        vm.startPrank(thief);
        bool ok = _seizes(market, places[place].holder, 0, shares / part)
            || _seizes(market, places[place].holder, collateral / part, 0);
        vm.stopPrank();
        if (ok) ++liquidations;
        return ok;
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

    /// @dev What a liquidator without the key can make of the book as it stands, which is left as it stands.
    function _worthAfterLiquidatingAll() private returns (uint256 worth) {
        uint256 state = vm.snapshotState();
        vm.startPrank(thief);
        for (uint256 place; place < PLACES; ++place) {
            if (_isWallet(place)) continue;
            MarketParams memory market = places[place].market;
            (, uint256 shares, uint256 collateral) = morpho.position(_id(market), places[place].holder);
            if (shares == 0) continue;
            if (!_seizes(market, places[place].holder, 0, shares)) {
                _seizes(market, places[place].holder, collateral, 0);
            }
        }
        vm.stopPrank();
        worth = _thiefsWorth();
        vm.revertToStateAndDelete(state);
    }

    /// @dev In 18 decimals of a dollar: the tokens, and the loans, without their part of the debts that no collateral is
    /// worth. Interest must be accrued.
    function _thiefsWorth() private view returns (uint256 worth) {
        uint256[4] memory has = _balances(thief);
        worth = (has[0] + has[1]) * _price() / 1e8 + has[2] * 1e12 + has[3];
        for (uint256 i; i < lentTo.length; ++i) {
            MarketParams memory market = places[lentTo[i]].market;
            bytes32 id = _id(market);
            (uint256 assets, uint256 allShares,,,,) = morpho.market(id);
            (uint256 shares,,) = morpho.position(id, thief);
            uint256 loans = (assets - _shortfall(market)) * shares / allShares;
            worth += market.loanToken == address(usdc) ? loans * 1e12 : loans;
        }
    }

    /// @return sum What the book owes in a market beyond what its collateral is worth, in the loan token.
    function _shortfall(MarketParams memory market) private view returns (uint256 sum) {
        bytes32 id = _id(market);
        for (uint256 place; place < PLACES; ++place) {
            if (_isWallet(place) || _id(places[place].market) != id) continue;
            (, uint256 shares, uint256 collateral) = morpho.position(id, places[place].holder);
            if (shares == 0) continue;
            (uint256 debt, uint256 value) = (_debtOf(market, shares), _valueOf(market, collateral));
            if (value < debt) sum += debt - value;
        }
    }

    function _liquidity(MarketParams memory market) private view returns (uint256) {
        (uint256 supplied,, uint256 borrowed,,,) = morpho.market(_id(market));
        return supplied - borrowed;
    }

    function _oracleWorks() private view returns (bool) {
        (, int256 quote,,,) = daiFeed.latestRoundData();
        return quote > 0;
    }

    function _largest(uint256 x, uint256 y, uint256 z) private pure returns (uint256) {
        uint256 larger = x > y ? x : y;
        return larger > z ? larger : z;
    }
}
