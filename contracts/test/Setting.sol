// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {TestFeed} from "../devnet/TestFeed.sol";
import {TestToken} from "../devnet/TestToken.sol";
import {TwoFeedOracle} from "../devnet/TwoFeedOracle.sol";
import {IMorpho, MarketParams} from "../src/interfaces/IMorpho.sol";
import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";

/// @notice What the tests call of Morpho beyond what the guard does.
interface IMorphoInFull is IMorpho {
    function position(bytes32 id, address account)
        external
        view
        returns (uint256 supplyShares, uint128 borrowShares, uint128 collateral);
    function market(bytes32 id)
        external
        view
        returns (
            uint128 totalSupplyAssets,
            uint128 totalSupplyShares,
            uint128 totalBorrowAssets,
            uint128 totalBorrowShares,
            uint128 lastUpdate,
            uint128 fee
        );
    function enableIrm(address irm) external;
    function enableLltv(uint256 lltv) external;
    function createMarket(MarketParams calldata params) external;
    function supply(MarketParams calldata params, uint256 assets, uint256 shares, address account, bytes calldata data)
        external
        returns (uint256, uint256);
    function borrow(MarketParams calldata params, uint256 assets, uint256 shares, address account, address receiver)
        external
        returns (uint256, uint256);
    function repay(MarketParams calldata params, uint256 assets, uint256 shares, address account, bytes calldata data)
        external
        returns (uint256, uint256);
    function liquidate(
        MarketParams calldata params,
        address borrower,
        uint256 seizedAssets,
        uint256 repaidShares,
        bytes calldata data
    ) external returns (uint256, uint256);
    function setAuthorization(address authorized, bool isAuthorized) external;
    function isAuthorized(address account, address authorized) external view returns (bool);
}

/// @notice The real Morpho Blue with a few markets, an owner with positions in them, and the guard, all permitted.
/// ETH is at 2000 USD; each account holds 10 WETH, so that health = 20000 * lltv / debt.
abstract contract Setting is Test {
    address internal owner = makeAddr("owner");
    address internal keeper = makeAddr("keeper");
    address internal thief = makeAddr("thief");
    address internal lender = makeAddr("lender");

    uint256 internal constant NO_DEBT = type(uint128).max;
    uint64 internal constant CEILING = 1.6e18;
    uint64 internal constant MIN_AFTER = 1.1e18;
    uint64 internal constant MAX_AFTER = 4e18;
    uint64 internal constant HARD_FLOOR = 1.05e18;
    uint32 internal constant RESCUE_GAS = 750_000;

    IMorphoInFull internal morpho;
    address internal irm;
    TestToken internal weth;
    TestToken internal usdc;
    TestToken internal dai;
    TestFeed internal ethFeed;
    TestFeed internal usdcFeed;
    TestFeed internal daiFeed;
    TwoFeedOracle internal usdcOracle;
    TwoFeedOracle internal daiOracle;
    IMarginGuard internal guard;

    MarketParams internal usdc86;
    MarketParams internal usdc77;
    MarketParams internal dai86;
    MarketParams internal dai77;

    /// @dev Enrolment indexes; each account's debt is written where it is opened.
    uint16 internal constant A = 0;
    uint16 internal constant B = 1;
    uint16 internal constant C = 2;
    uint16 internal constant D = 3;
    uint16 internal constant WALLET = 4;

    function setUp() public virtual {
        vm.warp(1_700_000_000);
        _deployMarkets();
        guard = IMarginGuard(deployCode("MarginGuard.sol:MarginGuard", abi.encode(owner)));
        vm.startPrank(owner);
        morpho.setAuthorization(address(guard), true);
        guard.setKeeper(keeper);
        vm.stopPrank();

        _open(usdc86, 10 ether, 14_000e6); // A: 1.2285
        _open(usdc77, 10 ether, 7_000e6); // B: 2.2
        _open(dai86, 10 ether, 7_000e18); // C: 2.457
        _open(dai77, 10 ether, 0); // D: no debt
        weth.mint(owner, 10 ether);
        vm.prank(owner);
        weth.approve(address(guard), 5 ether);

        _enrol(_morphoAccount(usdc86));
        _enrol(_morphoAccount(usdc77));
        _enrol(_morphoAccount(dai86));
        _enrol(_morphoAccount(dai77));
        _enrol(_walletAccount(owner, address(weth)));
        _setCap(address(weth), 1_000 ether, 1 days);
    }

    /* THE MARKETS */

    function _deployMarkets() private {
        morpho = IMorphoInFull(deployCode(".cache/protocols/Morpho.json", abi.encode(address(this))));
        irm = deployCode(".cache/protocols/IrmMock.json");
        morpho.enableIrm(irm);
        morpho.enableLltv(0.86e18);
        morpho.enableLltv(0.77e18);
        weth = new TestToken("Wrapped Ether", "WETH", 18);
        usdc = new TestToken("USD Coin", "USDC", 6);
        dai = new TestToken("Dai", "DAI", 18);
        ethFeed = new TestFeed("ETH / USD", 8, 2_000e8);
        usdcFeed = new TestFeed("USDC / USD", 8, 1e8);
        daiFeed = new TestFeed("DAI / USD", 8, 1e8);
        usdcOracle = _oracle(ethFeed, usdcFeed, 6);
        daiOracle = _oracle(ethFeed, daiFeed, 18);
        usdc86 = _createMarket(address(usdc), address(weth), address(usdcOracle), 0.86e18);
        usdc77 = _createMarket(address(usdc), address(weth), address(usdcOracle), 0.77e18);
        dai86 = _createMarket(address(dai), address(weth), address(daiOracle), 0.86e18);
        dai77 = _createMarket(address(dai), address(weth), address(daiOracle), 0.77e18);
    }

    function _oracle(TestFeed base, TestFeed quote, uint8 quoteDecimals) internal returns (TwoFeedOracle) {
        return new TwoFeedOracle(address(base), address(0), 18, address(quote), address(0), quoteDecimals);
    }

    function _createMarket(address loan, address collateral, address oracle, uint256 lltv)
        internal
        returns (MarketParams memory market)
    {
        market = MarketParams(loan, collateral, oracle, irm, lltv);
        morpho.createMarket(market);
        uint256 liquidity = 1_000_000 * 10 ** TestToken(loan).decimals();
        TestToken(loan).mint(lender, liquidity);
        vm.startPrank(lender);
        TestToken(loan).approve(address(morpho), type(uint256).max);
        morpho.supply(market, liquidity, 0, lender, "");
        vm.stopPrank();
    }

    function _open(MarketParams memory market, uint256 collateral, uint256 debt) internal {
        _openFor(owner, market, collateral, debt);
    }

    function _openFor(address holder, MarketParams memory market, uint256 collateral, uint256 debt) internal {
        TestToken(market.collateralToken).mint(holder, collateral);
        vm.startPrank(holder);
        TestToken(market.collateralToken).approve(address(morpho), collateral);
        morpho.supplyCollateral(market, collateral, holder, "");
        if (debt != 0) morpho.borrow(market, debt, 0, holder, holder);
        vm.stopPrank();
    }

    function _id(MarketParams memory market) internal pure returns (bytes32) {
        return keccak256(abi.encode(market));
    }

    function _collateral(MarketParams memory market) internal view returns (uint256 collateral) {
        (,, collateral) = morpho.position(_id(market), owner);
    }

    /* THE GUARD'S SETTINGS */

    function _policy() internal pure returns (IMarginGuard.Policy memory) {
        return
            IMarginGuard.Policy({
                rescueCeiling: CEILING, minAfter: MIN_AFTER, maxAfter: MAX_AFTER, hardFloor: HARD_FLOOR
            });
    }

    function _morphoAccount(MarketParams memory market) internal view returns (IMarginGuard.Enrolment memory) {
        return _morphoAccountOf(owner, market);
    }

    function _morphoAccountOf(address holder, MarketParams memory market)
        internal
        view
        returns (IMarginGuard.Enrolment memory)
    {
        return IMarginGuard.Enrolment({
            protocol: IMarginGuard.Protocol.Morpho,
            holder: holder,
            target: address(morpho),
            key: _id(market),
            assets: new address[](0),
            policy: _policy()
        });
    }

    function _walletAccount(address holder, address token) internal pure returns (IMarginGuard.Enrolment memory) {
        address[] memory assets = new address[](1);
        assets[0] = token;
        return IMarginGuard.Enrolment({
            protocol: IMarginGuard.Protocol.Wallet,
            holder: holder,
            target: address(0),
            key: 0,
            assets: assets,
            policy: IMarginGuard.Policy(0, 0, 0, 0)
        });
    }

    function _enrol(IMarginGuard.Enrolment memory enrolment) internal returns (uint16) {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = enrolment;
        vm.prank(owner);
        return guard.enrol(list);
    }

    function _retire(uint16 index) internal {
        uint16[] memory list = new uint16[](1);
        list[0] = index;
        vm.prank(owner);
        guard.retire(list);
    }

    function _setCap(address underlying, uint128 amount, uint32 window) internal {
        IMarginGuard.Cap[] memory list = new IMarginGuard.Cap[](1);
        list[0] = IMarginGuard.Cap(underlying, amount, window);
        vm.prank(owner);
        guard.setCaps(list);
    }

    /* PLANS */

    function _native(uint16 from, uint128 amount) internal pure returns (IMarginGuard.Transfer memory) {
        return IMarginGuard.Transfer(IMarginGuard.Kind.Native, from, 0, 0, amount);
    }

    function _cross(uint16 from, uint128 amount) internal pure returns (IMarginGuard.Transfer memory) {
        return IMarginGuard.Transfer(IMarginGuard.Kind.Cross, from, 0, 0, amount);
    }

    function _rescue(uint16 to, IMarginGuard.Transfer memory one)
        internal
        pure
        virtual
        returns (IMarginGuard.Rescue memory)
    {
        IMarginGuard.Transfer[] memory list = new IMarginGuard.Transfer[](1);
        list[0] = one;
        return IMarginGuard.Rescue({to: to, minHealthAfter: 0, gas: RESCUE_GAS, transfers: list});
    }

    function _rescue(uint16 to, IMarginGuard.Transfer memory one, IMarginGuard.Transfer memory two)
        internal
        pure
        virtual
        returns (IMarginGuard.Rescue memory)
    {
        IMarginGuard.Transfer[] memory list = new IMarginGuard.Transfer[](2);
        (list[0], list[1]) = (one, two);
        return IMarginGuard.Rescue({to: to, minHealthAfter: 0, gas: RESCUE_GAS, transfers: list});
    }

    function _batch(IMarginGuard.Rescue memory one) internal pure returns (IMarginGuard.Rescue[] memory list) {
        list = new IMarginGuard.Rescue[](1);
        list[0] = one;
    }

    function _batch(IMarginGuard.Rescue memory one, IMarginGuard.Rescue memory two)
        internal
        pure
        returns (IMarginGuard.Rescue[] memory list)
    {
        list = new IMarginGuard.Rescue[](2);
        (list[0], list[1]) = (one, two);
    }

    function _batch(IMarginGuard.Rescue memory one, IMarginGuard.Rescue memory two, IMarginGuard.Rescue memory three)
        internal
        pure
        returns (IMarginGuard.Rescue[] memory list)
    {
        list = new IMarginGuard.Rescue[](3);
        (list[0], list[1], list[2]) = (one, two, three);
    }

    function _planId(uint64 sequence) internal pure returns (bytes32) {
        return bytes32(uint256(sequence) << 192 | 0xd19e57);
    }

    function _nextPlanId() internal view returns (bytes32) {
        return _planId(guard.lastSequence() + 1);
    }

    function _rebalance(IMarginGuard.Rescue[] memory rescues) internal returns (IMarginGuard.Result[] memory) {
        bytes32 planId = _nextPlanId();
        vm.prank(keeper);
        return guard.rebalance(planId, block.timestamp, rescues);
    }

    /// @dev What the guard answers to a batch of this rescue alone: why it was not carried out.
    function _refusal(IMarginGuard.Rescue memory rescue) internal returns (bytes memory reason) {
        bytes32 planId = _nextPlanId();
        vm.prank(keeper);
        try guard.rebalance(planId, block.timestamp, _batch(rescue)) {
            revert("the rescue was carried out");
        } catch (bytes memory answer) {
            IMarginGuard.Result[] memory results = _nothingRescued(answer);
            assertEq(results.length, 1);
            reason = results[0].reason;
        }
    }

    function _nothingRescued(bytes memory answer) internal pure returns (IMarginGuard.Result[] memory) {
        assertEq(bytes4(answer), IMarginGuard.NothingRescued.selector, "another refusal than NothingRescued");
        bytes memory results = new bytes(answer.length - 4);
        for (uint256 i; i < results.length; ++i) {
            results[i] = answer[i + 4];
        }
        return abi.decode(results, (IMarginGuard.Result[]));
    }

    function _assertGuardIsEmpty(address token) internal view {
        assertEq(TestToken(token).balanceOf(address(guard)), 0);
        assertEq(TestToken(token).allowance(address(guard), address(morpho)), 0);
    }
}
