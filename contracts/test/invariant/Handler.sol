// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {Checks} from "./Checks.sol";

/// @notice What can happen, one function each. Whoever calls the guard is checked on the spot: a broken promise reverts
/// here, and the campaign counts every revert as a failure.
contract Handler is Checks {
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
                assertApproxEqAbs(_thiefsWorth(_books()), worth, GRAINS, "P9: a rebalance alone earned something");
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
        // Each liquidation rounds by a unit of the loan token or a vToken, and here there are up to sixteen for one.
        if (isCalm) assertLe(_thiefsWorth(_books()), worthWithoutKey + 16 * GRAINS, "P9: the key earned something");
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

    /// @dev aTokens, shares or vTokens.
    function holdersAllowWhatTheyHold(uint256 seed) external {
        _begin(seed);
        uint256 place = OWNER_AAVE + _draw(PLACES - OWNER_AAVE);
        uint256 token = _onceIn(2) ? WETH : USDC;
        if (_onceIn(2)) _puts(place, uint8(token), 2 + _draw(_fromDollars(token, 10_000e18)));
        uint256 allowed = _draw(_fromDollars(token, 40_000e18));
        if (_isOnEuler(place)) return _permitOf(places[place].holder, _number(place), vaults[token], allowed);
        if (_isOnVenus(place)) return _allowsOnVenus(place, token, allowed);
        vm.startPrank(places[place].holder);
        aTokens[token].approve(address(guard), allowed);
        if (_onceIn(4)) pool.approvePositionManager(address(guard), _onceIn(2));
        vm.stopPrank();
    }

    /// @dev What it holds of the other token backs its debt while it has entered that market too.
    function _allowsOnVenus(uint256 place, uint256 token, uint256 allowed) private {
        address holder = places[place].holder;
        vm.prank(holder);
        markets[token].approve(address(guard), allowed * 1e18 / markets[token].exchangeRateStored());
        if (_onceIn(2)) return _enter(holder, comptroller, markets[token]);
        vm.prank(holder);
        try comptroller.exitMarket(address(markets[_owesEther(place) ? WETH : USDC])) {} catch {}
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
        if (_onceIn(3)) return _othersOnVenus(_onceIn(2) ? WETH : USDC, lends);
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

    function _othersOnVenus(uint256 token, bool lends) private {
        uint256 amount = _fromDollars(token, (1 + _draw(100_000)) * 1e18);
        if (lends) return _mintFor(lender, markets[token], amount);
        (address somebody, uint256 backing) = (makeAddr("somebody on Venus"), WETH + USDC - token);
        if (amount > markets[token].getCash() / 2) return;
        _mintFor(somebody, markets[backing], _fromDollars(backing, 300_000e18));
        _enter(somebody, comptroller, markets[backing]);
        _borrowFrom(markets[token], somebody, amount);
    }

    function somebodyDonates(uint256 seed) external {
        _begin(seed);
        tokens[_draw(TOKENS)].mint(address(guard), 1 + _draw(1 ether));
        uint256 token = _onceIn(2) ? WETH : USDC;
        vm.startPrank(lender);
        aTokens[token].transfer(address(guard), 1 + _draw(1e9));
        vaults[token].transfer(address(guard), 1 + _draw(1e9));
        markets[token].transfer(address(guard), 1 + _draw(1e3));
        vm.stopPrank();
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

    /// @dev Of less than two units a pool may book nothing, a vault give no share, and of less than its part a market no vToken:
    /// all refuse that.
    function _puts(uint256 place, uint8 token, uint256 amount) private {
        address holder = places[place].holder;
        if (_isOnMorpho(place)) return _openFor(holder, places[place].market, amount, 0);
        if (_isOnEuler(place)) return _depositFor(_account(place), vaults[token], 2 + amount);
        if (_isOnVenus(place)) return _mintFor(holder, markets[token], _grain(token) + amount);
        _supplyFor(holder, tokens[token], 2 + amount);
        vm.prank(holder);
        pool.setUserUseReserveAsCollateral(address(tokens[token]), true);
    }

    /// @dev Where there is as much to borrow, and the stricter requirement of Aave, Euler or Venus lets it.
    function _borrows(uint256 place, uint256 token, uint256 amount) private {
        (address holder, MarketParams memory market) = (places[place].holder, places[place].market);
        if (amount == 0) return;
        vm.startPrank(holder);
        if (_isOnAave(place)) {
            try pool.borrow(address(tokens[token]), amount, VARIABLE, 0, holder) {} catch {}
        } else if (_isOnEuler(place)) {
            bytes memory data = abi.encodeCall(StandInVault.borrow, (amount, holder));
            try evc.call(address(vaults[token]), _account(place), 0, data) {} catch {}
        } else if (_isOnVenus(place)) {
            try markets[token].borrow(amount) {} catch {}
        } else if (amount <= _liquidity(market)) {
            morpho.borrow(market, amount, 0, holder, holder);
        }
        vm.stopPrank();
    }

    function _liquidity(MarketParams memory market) private view returns (uint256) {
        (uint256 supplied,, uint256 borrowed,,,) = morpho.market(_id(market));
        return supplied - borrowed;
    }
}
