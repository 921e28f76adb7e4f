// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {Setting} from "../Setting.sol";

/// @notice The world of the campaign: a book of ten accounts of three holders on the real Morpho, two underlyings, and a
/// thief who holds the keeper's key. It keeps its own account of everything, and measures without asking the guard.
abstract contract Campaign is Setting {
    uint256 internal constant PLACES = 10;
    uint256 internal constant OWNER_WALLET = 4;
    uint256 internal constant STRANGER = 8;
    uint256 internal constant FRIEND_WALLET = 9;

    address internal friend = makeAddr("friend"); // joins and leaves
    address internal stranger = makeAddr("stranger"); // permitted the guard by mistake, was enrolled, never joined
    TestToken internal wsteth;

    /// @dev A place in the book; its enrolment index changes when the owner retires it and enrols it again.
    struct Place {
        address holder;
        MarketParams market; // empty for a wallet
        address[] tokens;
        uint16 index;
        IMarginGuard.Policy policy;
    }

    Place[PLACES] internal places;

    /// @dev One place in each market: the thief owns half of the loans there, and would not mind to see them covered.
    uint256[6] internal lentTo = [0, 1, 2, 3, 5, 6];

    /// @dev Everything that a call of the keeper could touch.
    struct Books {
        uint256[2][PLACES] holdings; // WETH, wstETH: collateral of a position, balance of a wallet
        uint256[2][PLACES] allowances; // of a wallet to the guard
        uint256[PLACES] debtShares;
        uint256[PLACES] supplyShares;
        uint256[PLACES] healths;
        uint256[4] guardBalances;
        uint256[4] thiefBalances;
        bool[6] authorised; // the guard by each holder, and the thief by each holder
    }

    function setUp() public virtual override {
        super.setUp();
        wsteth = new TestToken("Wrapped staked Ether", "wstETH", 18);
        MarketParams memory e = _createMarket(address(usdc), address(wsteth), address(usdcOracle), 0.86e18);
        MarketParams memory f = _createMarket(address(dai), address(wsteth), address(daiOracle), 0.86e18);
        _open(e, 10 ether, 13_000e6);
        _open(f, 10 ether, 5_000e18);
        _openFor(friend, usdc86, 10 ether, 6_000e6);
        _openFor(stranger, dai86, 10 ether, 6_000e18);
        TestToken(weth).mint(friend, 10 ether);
        wsteth.mint(friend, 10 ether);
        vm.prank(friend);
        morpho.setAuthorization(address(guard), true);
        vm.prank(stranger);
        morpho.setAuthorization(address(guard), true);
        vm.startPrank(friend);
        guard.join();
        weth.approve(address(guard), 8 ether);
        wsteth.approve(address(guard), 8 ether);
        vm.stopPrank();

        _place(0, owner, usdc86, A);
        _place(1, owner, usdc77, B);
        _place(2, owner, dai86, C);
        _place(3, owner, dai77, D);
        _place(5, owner, e, _enrol(_morphoAccount(e)));
        _place(6, owner, f, _enrol(_morphoAccount(f)));
        _place(7, friend, usdc86, _enrol(_morphoAccountOf(friend, usdc86)));
        _place(STRANGER, stranger, dai86, _enrol(_morphoAccountOf(stranger, dai86)));
        places[OWNER_WALLET].holder = owner;
        places[OWNER_WALLET].index = WALLET;
        places[OWNER_WALLET].tokens.push(address(weth));
        places[FRIEND_WALLET].holder = friend;
        places[FRIEND_WALLET].tokens.push(address(weth));
        places[FRIEND_WALLET].tokens.push(address(wsteth));
        places[FRIEND_WALLET].index = _enrol(_enrolment(FRIEND_WALLET));
        _setCap(address(weth), 20 ether, 1 days);
        _setCap(address(wsteth), 10 ether, 6 hours);

        usdc.mint(thief, 10_000_000e6);
        dai.mint(thief, 10_000_000e18);
        vm.startPrank(thief);
        usdc.approve(address(morpho), type(uint256).max);
        dai.approve(address(morpho), type(uint256).max);
        for (uint256 i; i < lentTo.length; ++i) {
            MarketParams memory market = places[lentTo[i]].market;
            morpho.supply(market, 1_000_000 * 10 ** TestToken(market.loanToken).decimals(), 0, thief, "");
        }
        vm.stopPrank();
        vm.prank(owner);
        guard.setKeeper(thief);
        keeper = thief;
    }

    function _place(uint256 place, address holder, MarketParams memory market, uint16 index) private {
        places[place].holder = holder;
        places[place].market = market;
        places[place].tokens.push(market.collateralToken);
        places[place].index = index;
        places[place].policy = _policy();
    }

    function _enrolment(uint256 place) internal view returns (IMarginGuard.Enrolment memory enrolment) {
        Place memory p = places[place];
        if (!_isWallet(place)) enrolment = _morphoAccountOf(p.holder, p.market);
        else enrolment = _walletAccount(p.holder, p.tokens[0]);
        if (_isWallet(place)) enrolment.assets = p.tokens;
        enrolment.policy = p.policy;
    }

    function _isWallet(uint256 place) internal pure returns (bool) {
        return place == OWNER_WALLET || place == FRIEND_WALLET;
    }

    function _underlying(uint256 which) internal view returns (TestToken) {
        return which == 0 ? weth : wsteth;
    }

    /* MEASURING */

    function _accrueAll() internal {
        for (uint256 place; place < PLACES; ++place) {
            if (!_isWallet(place)) morpho.accrueInterest(places[place].market);
        }
    }

    /// @dev Interest must be accrued.
    function _books() internal view returns (Books memory books) {
        for (uint256 place; place < PLACES; ++place) {
            address holder = places[place].holder;
            if (_isWallet(place)) {
                for (uint256 i; i < 2; ++i) {
                    books.holdings[place][i] = _underlying(i).balanceOf(holder);
                    books.allowances[place][i] = _underlying(i).allowance(holder, address(guard));
                }
                books.healths[place] = NO_DEBT;
            } else {
                uint256 which = places[place].tokens[0] == address(weth) ? 0 : 1;
                MarketParams memory market = places[place].market;
                (books.supplyShares[place], books.debtShares[place], books.holdings[place][which]) =
                    morpho.position(_id(market), holder);
                books.healths[place] = _healthOf(market, books.debtShares[place], books.holdings[place][which]);
            }
        }
        (books.guardBalances, books.thiefBalances) = (_balances(address(guard)), _balances(thief));
        books.authorised = [
            morpho.isAuthorized(owner, address(guard)),
            morpho.isAuthorized(friend, address(guard)),
            morpho.isAuthorized(stranger, address(guard)),
            morpho.isAuthorized(owner, thief),
            morpho.isAuthorized(friend, thief),
            morpho.isAuthorized(stranger, thief)
        ];
    }

    function _balances(address of_) internal view returns (uint256[4] memory) {
        return [weth.balanceOf(of_), wsteth.balanceOf(of_), usdc.balanceOf(of_), dai.balanceOf(of_)];
    }

    /// @dev In USD; the loan tokens are at one dollar here.
    function _debtOf(MarketParams memory market, uint256 shares) internal view returns (uint256 debt) {
        (,, uint256 assets, uint256 allShares,,) = morpho.market(_id(market));
        debt = (shares * (assets + 1) + allShares + 1e6 - 1) / (allShares + 1e6);
    }

    function _price() internal view returns (uint256) {
        (, int256 answer,,,) = ethFeed.latestRoundData();
        return uint256(answer);
    }

    /// @dev Collateral at the feeds' prices; 0 where Morpho cannot know it either, because a feed is broken.
    function _healthOf(MarketParams memory market, uint256 shares, uint256 collateral) internal view returns (uint256) {
        if (shares == 0) return NO_DEBT;
        (, int256 quote,,,) = (market.loanToken == address(usdc) ? usdcFeed : daiFeed).latestRoundData();
        if (quote <= 0) return 0;
        uint256 value = _valueOf(market, collateral);
        return value * market.lltv / 1e18 * 1e18 / _debtOf(market, shares);
    }

    /// @dev In the loan token, which is at one dollar here.
    function _valueOf(MarketParams memory market, uint256 collateral) internal view returns (uint256 value) {
        value = collateral * _price() / 1e8;
        if (market.loanToken == address(usdc)) value /= 1e12;
    }

    /* RANDOMNESS */

    uint256 private _seed;

    function _begin(uint256 seed) internal {
        _seed = uint256(keccak256(abi.encode(seed)));
    }

    /// @return A number below `sides`.
    function _draw(uint256 sides) internal returns (uint256) {
        _seed = uint256(keccak256(abi.encode(_seed)));
        return _seed % sides;
    }

    function _onceIn(uint256 sides) internal returns (bool) {
        return _draw(sides) == 0;
    }
}
