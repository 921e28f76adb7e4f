// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {AaveMarket} from "../aave/AaveMarket.sol";
import {EulerVaults} from "../euler/EulerVaults.sol";
import {Setting} from "../Setting.sol";
import {IComptrollerInFull, IVTokenInFull, VenusMarkets} from "../venus/VenusMarkets.sol";

/// @notice The world of the campaign: a book of nineteen accounts of four holders on the real Morpho, the real Aave v3.6, a
/// real pool of Venus and our stand-in for Euler, four underlyings, and a thief who holds the keeper's key, lends in all four
/// and liquidates in all four.
abstract contract Campaign is EulerVaults, AaveMarket, VenusMarkets {
    uint256 internal constant PLACES = 19;
    uint256 internal constant OWNER_WALLET = 4;
    uint256 internal constant STRANGER = 8;
    uint256 internal constant FRIEND_WALLET = 9;
    uint256 internal constant OWNER_AAVE = 10; // ether for dollars
    uint256 internal constant FRIEND_AAVE = 11; // ether and dollars for dollars, once it borrows
    uint256 internal constant SISTER_AAVE = 12; // dollars for ether
    uint256 internal constant OWNER_EULER = 13; // sub-account 1: ether for dollars
    uint256 internal constant OWNER_EULER_TOO = 14; // sub-account 2: dollars for ether
    uint256 internal constant FRIEND_EULER = 15; // sub-account 3: ether for dollars, once it borrows
    uint256 internal constant OWNER_VENUS = 16; // ether for dollars
    uint256 internal constant FRIEND_VENUS = 17; // ether, and dollars while it has entered their market, for dollars
    uint256 internal constant SISTER_VENUS = 18; // dollars for ether

    /// @dev Underlyings by number.
    uint256 internal constant TOKENS = 4;
    uint256 internal constant WETH = 0;
    uint256 internal constant WSTETH = 1;
    uint256 internal constant USDC = 2;
    uint256 internal constant DAI = 3;

    /// @dev Of Aave's listings, of Euler's vaults and of Venus's markets, in basis points.
    uint16 internal constant WETH_THRESHOLD = 8_300;
    uint16 internal constant USDC_THRESHOLD = 7_800;
    uint16 internal constant EULER_LTV = 8_500;
    uint16 internal constant VENUS_THRESHOLD = 8_500;

    address internal friend = makeAddr("friend"); // joins and leaves
    address internal sister = makeAddr("sister"); // joined
    address internal stranger = makeAddr("stranger"); // permitted the guard by mistake, was enrolled, never joined
    TestToken internal wsteth;
    TestToken[TOKENS] internal tokens;
    TestToken[TOKENS] internal aTokens; // of those that Aave lists
    TestToken[TOKENS] internal debtTokens;
    StandInVault[TOKENS] internal vaults; // of those that Euler lends
    IComptrollerInFull internal comptroller;
    IVTokenInFull[TOKENS] internal markets; // of those that Venus lends

    /// @dev A place in the book; its enrolment index changes when the owner retires it and enrols it again.
    struct Place {
        IMarginGuard.Protocol protocol;
        address holder;
        MarketParams market; // of Morpho only
        uint8[] tokens; // underlyings by asset; of Morpho the collateral and the loan
        uint16 index;
        IMarginGuard.Policy policy;
    }

    Place[PLACES] internal places;

    /// @dev One place in each market: the thief owns half of the loans there, and would not mind to see them covered.
    uint256[6] internal lentTo = [0, 1, 2, 3, 5, 6];

    function setUp() public virtual override {
        Setting.setUp();
        wsteth = new TestToken("Wrapped staked Ether", "wstETH", 18);
        tokens = [weth, wsteth, usdc, dai];
        Listing[] memory listings = new Listing[](2);
        listings[0] = Listing(weth, ethFeed, 8_050, WETH_THRESHOLD, 10_500);
        listings[1] = Listing(usdc, usdcFeed, 7_500, USDC_THRESHOLD, 10_450);
        _deployAave(listings, lender, 1_000_000);
        (aTokens[WETH], aTokens[USDC]) = (_aToken(weth), _aToken(usdc));
        debtTokens[WETH] = TestToken(pool.getReserveData(address(weth)).variableDebtTokenAddress);
        debtTokens[USDC] = TestToken(pool.getReserveData(address(usdc)).variableDebtTokenAddress);

        _deployEuler();
        (vaults[WETH], vaults[USDC]) = (eWeth, eUsdc);

        _deployVenus();
        comptroller = _pool();
        markets[WETH] = _market(comptroller, weth, ethFeed, 15_000);
        markets[USDC] = _market(comptroller, usdc, usdcFeed, 1_000_000);

        _openOnMorpho();
        _openOnAave();
        _openOnEuler();
        _openOnVenus();
        _fillWallets();
        _setCap(address(weth), 20 ether, 1 days);
        _setCap(address(wsteth), 10 ether, 6 hours);
        _setCap(address(usdc), 40_000e6, 1 days);
        _setCap(address(dai), 20_000e18, 12 hours);
        _letTheThiefIn();
    }

    function _openOnMorpho() private {
        MarketParams memory e = _createMarket(address(usdc), address(wsteth), address(usdcOracle), 0.86e18);
        MarketParams memory f = _createMarket(address(dai), address(wsteth), address(daiOracle), 0.86e18);
        _open(e, 10 ether, 13_000e6);
        _open(f, 10 ether, 5_000e18);
        _openFor(friend, usdc86, 10 ether, 6_000e6);
        _openFor(stranger, dai86, 10 ether, 6_000e18);
        vm.prank(friend);
        morpho.setAuthorization(address(guard), true);
        vm.prank(friend);
        guard.join();
        vm.prank(stranger);
        morpho.setAuthorization(address(guard), true);
        _place(0, owner, usdc86);
        _place(1, owner, usdc77);
        _place(2, owner, dai86);
        _place(3, owner, dai77);
        _place(5, owner, e);
        _place(6, owner, f);
        _place(7, friend, usdc86);
        _place(STRANGER, stranger, dai86);
        (places[0].index, places[1].index, places[2].index, places[3].index) = (A, B, C, D);
        for (uint256 place = 5; place < FRIEND_WALLET; ++place) {
            places[place].index = _enrol(_enrolment(place));
        }
    }

    function _openOnAave() private {
        _supplyFor(owner, weth, 10 ether);
        _borrowFor(owner, usdc, 12_000e6); // 1.3833
        _supplyFor(friend, weth, 10 ether);
        _supplyFor(friend, usdc, 20_000e6);
        _supplyFor(sister, usdc, 40_000e6);
        _borrowFor(sister, weth, 10 ether); // 1.56
        address[3] memory holders = [owner, friend, sister];
        for (uint256 i; i < 3; ++i) {
            vm.startPrank(holders[i]);
            aTokens[WETH].approve(address(guard), 20 ether);
            aTokens[USDC].approve(address(guard), 30_000e6);
            if (holders[i] != owner) pool.approvePositionManager(address(guard), true);
            if (holders[i] == sister) guard.join();
            vm.stopPrank();
            Place storage p = places[OWNER_AAVE + i];
            (p.protocol, p.holder, p.policy) = (IMarginGuard.Protocol.Aave, holders[i], _policy());
            p.tokens.push(uint8(WETH));
            p.tokens.push(uint8(USDC));
            p.index = _enrol(_enrolment(OWNER_AAVE + i));
        }
    }

    function _openOnEuler() private {
        _depositFor(lender, eWeth, 1_000 ether);
        _openSubOf(owner, 1, eWeth, 10 ether, eUsdc, 12_000e6); // 1.4167
        _openSubOf(owner, 2, eUsdc, 40_000e6, eWeth, 12 ether); // 1.4167
        _openSubOf(friend, 3, eWeth, 10 ether, eUsdc, 0);
        for (uint256 place = OWNER_EULER; place <= FRIEND_EULER; ++place) {
            Place storage p = places[place];
            (p.protocol, p.policy) = (IMarginGuard.Protocol.Euler, _policy());
            p.holder = place == FRIEND_EULER ? friend : owner;
            p.tokens.push(uint8(WETH));
            p.tokens.push(uint8(USDC));
            _permitOf(p.holder, _number(place), eWeth, 20 ether);
            _permitOf(p.holder, _number(place), eUsdc, 30_000e6);
            p.index = _enrol(_enrolment(place));
        }
    }

    function _openOnVenus() private {
        address[3] memory holders = [owner, friend, sister];
        for (uint256 i; i < 3; ++i) {
            Place storage p = places[OWNER_VENUS + i];
            (p.protocol, p.holder, p.policy) = (IMarginGuard.Protocol.Venus, holders[i], _policy());
            p.tokens.push(uint8(WETH));
            p.tokens.push(uint8(USDC));
            _enter(p.holder, comptroller, markets[p.holder == sister ? USDC : WETH]);
            vm.startPrank(p.holder);
            markets[WETH].approve(address(guard), 20e8);
            markets[USDC].approve(address(guard), 30_000e8);
            vm.stopPrank();
            p.index = _enrol(_enrolment(OWNER_VENUS + i));
        }
        _mintFor(owner, markets[WETH], 10 ether);
        _borrowFrom(markets[USDC], owner, 12_000e6); // 1.4167
        _mintFor(friend, markets[WETH], 10 ether);
        _mintFor(friend, markets[USDC], 20_000e6);
        _mintFor(sister, markets[USDC], 40_000e6);
        _borrowFrom(markets[WETH], sister, 12 ether); // 1.4167
        _mintFor(lender, markets[WETH], 1_000 ether);
        _mintFor(lender, markets[USDC], 1_000_000e6);
    }

    /// @dev They hold what may be put in, and what is owed.
    function _fillWallets() private {
        (places[OWNER_WALLET].holder, places[FRIEND_WALLET].holder) = (owner, friend);
        for (uint8 token; token < TOKENS; ++token) {
            places[FRIEND_WALLET].tokens.push(token);
            if (token != WSTETH) places[OWNER_WALLET].tokens.push(token);
            uint256 unit = 10 ** tokens[token].decimals() * (token < USDC ? 1 : 2_000);
            tokens[token].mint(friend, 10 * unit);
            vm.prank(friend);
            tokens[token].approve(address(guard), 8 * unit);
            vm.prank(owner);
            tokens[token].approve(address(guard), 5 * unit);
        }
        _retire(WALLET); // which holds less
        places[OWNER_WALLET].index = _enrol(_enrolment(OWNER_WALLET));
        places[FRIEND_WALLET].index = _enrol(_enrolment(FRIEND_WALLET));
    }

    function _letTheThiefIn() private {
        weth.mint(thief, 10_000 ether);
        usdc.mint(thief, 10_000_000e6);
        dai.mint(thief, 10_000_000e18);
        vm.startPrank(thief);
        weth.approve(address(pool), type(uint256).max);
        usdc.approve(address(pool), type(uint256).max);
        weth.approve(address(eWeth), type(uint256).max);
        usdc.approve(address(eUsdc), type(uint256).max);
        weth.approve(address(markets[WETH]), type(uint256).max);
        usdc.approve(address(markets[USDC]), type(uint256).max);
        usdc.approve(address(morpho), type(uint256).max);
        dai.approve(address(morpho), type(uint256).max);
        for (uint256 i; i < lentTo.length; ++i) {
            MarketParams memory market = places[lentTo[i]].market;
            morpho.supply(market, 1_000_000 * 10 ** TestToken(market.loanToken).decimals(), 0, thief, "");
        }
        pool.supply(address(weth), 1_000 ether, thief, 0);
        pool.supply(address(usdc), 1_000_000e6, thief, 0);
        vm.stopPrank();
        // His sub-accounts 1 and 2 take over the debts of whom he liquidates: dollars the first, ether the second.
        _openSubOf(thief, 1, eWeth, 1_000 ether, eUsdc, 0);
        _openSubOf(thief, 2, eUsdc, 1_000_000e6, eWeth, 0);
        _mintFor(thief, markets[WETH], 1_000 ether);
        _mintFor(thief, markets[USDC], 1_000_000e6);
        vm.prank(owner);
        guard.setKeeper(thief);
        keeper = thief;
    }

    function _place(uint256 place, address holder, MarketParams memory market) private {
        Place storage p = places[place];
        (p.protocol, p.holder, p.market, p.policy) = (IMarginGuard.Protocol.Morpho, holder, market, _policy());
        p.tokens.push(uint8(market.collateralToken == address(weth) ? WETH : WSTETH));
        p.tokens.push(uint8(market.loanToken == address(usdc) ? USDC : DAI));
    }

    function _enrolment(uint256 place) internal view returns (IMarginGuard.Enrolment memory enrolment) {
        Place memory p = places[place];
        if (_isOnMorpho(place)) {
            enrolment = _morphoAccountOf(p.holder, p.market);
        } else {
            address[] memory assets = new address[](p.tokens.length);
            for (uint256 i; i < assets.length; ++i) {
                assets[i] = _formOf(place, p.tokens[i]);
            }
            address target = _isOnAave(place) ? address(pool) : _isOnEuler(place) ? address(evc) : address(0);
            if (_isOnVenus(place)) target = address(comptroller);
            bytes32 key = _isOnEuler(place) ? bytes32(uint256(_number(place))) : bytes32(0);
            enrolment = IMarginGuard.Enrolment(p.protocol, p.holder, target, key, assets, p.policy);
        }
        enrolment.policy = p.policy;
    }

    /// @return What the enrolment names an asset by.
    function _formOf(uint256 place, uint256 token) private view returns (address) {
        if (_isOnEuler(place)) return address(vaults[token]);
        return _isOnVenus(place) ? address(markets[token]) : address(tokens[token]);
    }

    function _isWallet(uint256 place) internal pure returns (bool) {
        return place == OWNER_WALLET || place == FRIEND_WALLET;
    }

    function _isOnAave(uint256 place) internal pure returns (bool) {
        return place >= OWNER_AAVE && place <= SISTER_AAVE;
    }

    function _isOnEuler(uint256 place) internal pure returns (bool) {
        return place >= OWNER_EULER && place <= FRIEND_EULER;
    }

    function _isOnVenus(uint256 place) internal pure returns (bool) {
        return place >= OWNER_VENUS;
    }

    /// @return Of the sub-account on Euler.
    function _number(uint256 place) internal pure returns (uint8) {
        return uint8(place - OWNER_EULER + 1);
    }

    function _account(uint256 place) internal view returns (address) {
        return _isOnEuler(place) ? _subOf(places[place].holder, _number(place)) : places[place].holder;
    }

    /// @dev Against dollars; the others owe dollars.
    function _owesEther(uint256 place) internal pure returns (bool) {
        return place == SISTER_AAVE || place == OWNER_EULER_TOO || place == SISTER_VENUS;
    }

    function _isOnMorpho(uint256 place) internal pure returns (bool) {
        return !_isWallet(place) && place < OWNER_AAVE;
    }

    /* PRICES */

    /// @dev Of WETH and wstETH, 8 decimals.
    function _price() internal view returns (uint256) {
        (, int256 answer,,,) = ethFeed.latestRoundData();
        return uint256(answer);
    }

    /// @dev In 18 decimals of a dollar; what is lent is at one dollar here.
    function _inDollars(uint256 token, uint256 amount) internal view returns (uint256) {
        return token < USDC ? amount * _price() / 1e8 : token == USDC ? amount * 1e12 : amount;
    }

    function _fromDollars(uint256 token, uint256 dollars) internal view returns (uint256) {
        return token < USDC ? dollars * 1e8 / _price() : token == USDC ? dollars / 1e12 : dollars;
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
