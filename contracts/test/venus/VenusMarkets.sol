// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {TestFeed} from "../../devnet/TestFeed.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {IVenusComptroller, IVToken} from "../../src/interfaces/IVenus.sol";

/// @notice What the tests call of a market beyond what the guard does.
interface IVTokenInFull is IVToken {
    struct Risk {
        address shortfall;
        address payable protocolShareReserve;
    }

    function initialize(
        address underlying,
        address comptroller,
        address rateModel,
        uint256 initialExchangeRate,
        string calldata name,
        string calldata symbol,
        uint8 decimals,
        address admin,
        address accessControl,
        Risk calldata risk,
        uint256 reserveFactor
    ) external;
    function setReduceReservesBlockDelta(uint256 delta) external;
    function borrow(uint256 amount) external returns (uint256);
    function approve(address spender, uint256 tokens) external returns (bool);
    function allowance(address holder, address spender) external view returns (uint256);
    function transfer(address to, uint256 tokens) external returns (bool);
    function getCash() external view returns (uint256);
    function totalReserves() external view returns (uint256);
    function totalSupply() external view returns (uint256);
    function totalBorrows() external view returns (uint256);
    function borrowRatePerBlock() external view returns (uint256);
    function accrualBlockNumber() external view returns (uint256);
    function borrowIndex() external view returns (uint256);
    function borrowBalanceStored(address account) external view returns (uint256);
    function reserveFactorMantissa() external view returns (uint256);
    function liquidateBorrow(address borrower, uint256 amount, address collateral) external returns (uint256);
}

interface IComptrollerInFull is IVenusComptroller {
    enum Action {
        Mint,
        Redeem,
        Borrow,
        Repay,
        Seize,
        Liquidate,
        Transfer,
        EnterMarket,
        ExitMarket
    }

    function initialize(uint256 loopLimit, address accessControl) external;
    function setPriceOracle(address oracle) external;
    function setCloseFactor(uint256 factor) external;
    function setLiquidationIncentive(uint256 incentive) external;
    function supportMarket(address market) external;
    function setCollateralFactor(address market, uint256 factor, uint256 threshold) external;
    function setMarketSupplyCaps(address[] calldata markets, uint256[] calldata caps) external;
    function setMarketBorrowCaps(address[] calldata markets, uint256[] calldata caps) external;
    function setActionsPaused(address[] calldata markets, Action[] calldata actions, bool paused) external;
    function enterMarkets(address[] calldata markets) external returns (uint256[] memory);
    function exitMarket(address market) external returns (uint256);
    function approvedDelegates(address account, address delegate) external view returns (bool);
    function getAccountLiquidity(address account) external view returns (uint256, uint256 liquidity, uint256 shortfall);
    function getBorrowingPower(address account) external view returns (uint256, uint256 liquidity, uint256 shortfall);
}

interface IAccessControl {
    function giveCallPermission(address contractAddress, string calldata signature, address account) external;
}

interface IOracleInFull {
    struct Source {
        address asset;
        address feed;
        uint256 maxStalePeriod;
    }

    struct Roles {
        address asset;
        address[3] oracles;
        bool[3] enabled;
        bool isCached;
    }

    function initialize(address accessControl) external;
    function setTokenConfig(Source calldata source) external;
    function setTokenConfig(Roles calldata roles) external;
}

/// @notice Deploys pools of Venus, as they stand on Ethereum, over test tokens and feeds. Interest runs by the second.
abstract contract VenusMarkets is Test {
    uint256 internal constant PRICE_AGE_MAX = 72 hours;

    IAccessControl private _access;
    IOracleInFull private _oracle;
    IOracleInFull private _feeds;
    address private _rates;
    address private _comptrollers;
    address private _markets;

    function _deployVenus() internal {
        _access = IAccessControl(_createVenus("AccessControl", ""));
        string[9] memory permitted = [
            "setCloseFactor(uint256)",
            "setLiquidationIncentive(uint256)",
            "setCollateralFactor(address,uint256,uint256)",
            "setMarketSupplyCaps(address[],uint256[])",
            "setMarketBorrowCaps(address[],uint256[])",
            "setActionsPaused(address[],uint256[],bool)",
            "setReduceReservesBlockDelta(uint256)",
            "setTokenConfig(TokenConfig)",
            "setMinLiquidatableCollateral(uint256)"
        ];
        for (uint256 i; i < permitted.length; ++i) {
            _access.giveCallPermission(address(0), permitted[i], address(this));
        }
        _comptrollers = _createVenus("Beacon", abi.encode(_createVenus("Comptroller", abi.encode(address(this)))));
        _markets = _createVenus("Beacon", abi.encode(_createVenus("VToken", abi.encode(true, 0, 5e12))));
        address bounds = _createVenus("BoundValidator", "");
        bytes memory initialise = abi.encodeCall(IOracleInFull.initialize, address(_access));
        _oracle = IOracleInFull(_proxy(_beacon("Oracle", abi.encode(address(0), address(0), bounds)), initialise));
        _feeds = IOracleInFull(_proxy(_beacon("ChainlinkOracle", ""), initialise));
        // 4 % a year at 80 % of use, and 60 % more at full use.
        _rates = _createVenus("RateModel", abi.encode(0, 0.05e18, 3e18, 0.8e18, _access, true, 0));
    }

    function _pool() internal returns (IComptrollerInFull comptroller) {
        bytes memory initialise = abi.encodeCall(IComptrollerInFull.initialize, (100, address(_access)));
        comptroller = IComptrollerInFull(_proxy(_comptrollers, initialise));
        comptroller.setPriceOracle(address(_oracle));
        comptroller.setCloseFactor(0.5e18);
        comptroller.setLiquidationIncentive(1.1e18);
    }

    /// @dev Counted at 80 % for who borrows, and at 85 % for who may be liquidated.
    function _market(IComptrollerInFull comptroller, TestToken token, TestFeed feed, uint256 wholeTokens)
        internal
        returns (IVTokenInFull market)
    {
        market = IVTokenInFull(_proxy(_markets, ""));
        _feeds.setTokenConfig(IOracleInFull.Source(address(token), address(feed), PRICE_AGE_MAX));
        address[3] memory oracles = [address(_feeds), address(0), address(0)];
        _oracle.setTokenConfig(IOracleInFull.Roles(address(token), oracles, [true, false, false], false));
        market.initialize(
            address(token),
            address(comptroller),
            _rates,
            10 ** (10 + token.decimals()),
            token.name(),
            token.symbol(),
            8,
            address(this),
            address(_access),
            IVTokenInFull.Risk(address(this), payable(address(this))),
            0.1e18
        );
        market.setReduceReservesBlockDelta(type(uint128).max);
        comptroller.supportMarket(address(market));
        comptroller.setCollateralFactor(address(market), 0.8e18, 0.85e18);
        (address[] memory markets, uint256[] memory caps) = (new address[](1), new uint256[](1));
        (markets[0], caps[0]) = (address(market), 100_000_000 * 10 ** token.decimals());
        comptroller.setMarketSupplyCaps(markets, caps);
        comptroller.setMarketBorrowCaps(markets, caps);
        _mintFor(makeAddr("lender to Venus"), market, wholeTokens * 10 ** token.decimals());
    }

    /// @dev The test is also the reserve, to which a liquidation pays the protocol's part.
    function updateAssetsState(address, address, uint8) external {}

    function _mintFor(address holder, IVTokenInFull market, uint256 amount) internal {
        TestToken token = TestToken(market.underlying());
        token.mint(address(this), amount);
        token.approve(address(market), amount);
        market.mintBehalf(holder, amount);
    }

    function _enter(address holder, IComptrollerInFull comptroller, IVTokenInFull market) internal {
        address[] memory markets = new address[](1);
        markets[0] = address(market);
        vm.prank(holder);
        comptroller.enterMarkets(markets);
    }

    function _borrowFrom(IVTokenInFull market, address holder, uint256 amount) internal {
        vm.prank(holder);
        market.borrow(amount);
    }

    function _pause(IComptrollerInFull comptroller, IVTokenInFull market, IComptrollerInFull.Action action) internal {
        address[] memory markets = new address[](1);
        IComptrollerInFull.Action[] memory actions = new IComptrollerInFull.Action[](1);
        (markets[0], actions[0]) = (address(market), action);
        comptroller.setActionsPaused(markets, actions, true);
    }

    /* INTERNAL: ITS PARTS */

    function _beacon(string memory name, bytes memory arguments) private returns (address) {
        return _createVenus("Beacon", abi.encode(_createVenus(name, arguments)));
    }

    function _proxy(address beacon, bytes memory initialise) private returns (address) {
        return _createVenus("BeaconProxy", abi.encode(beacon, initialise));
    }

    function _createVenus(string memory name, bytes memory arguments) private returns (address made) {
        string memory artefact = vm.readFile(string.concat(".cache/protocols/Venus", name, ".json"));
        bytes memory code = abi.encodePacked(vm.parseJsonBytes(artefact, ".bytecode.object"), arguments);
        assembly {
            made := create(0, add(code, 32), mload(code))
        }
        require(made != address(0), string.concat(name, " was not created"));
    }
}
