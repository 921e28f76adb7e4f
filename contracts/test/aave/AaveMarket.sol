// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {TestFeed} from "../../devnet/TestFeed.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {IAavePool} from "../../src/interfaces/IAave.sol";

/// @notice What the tests call of Aave beyond what the guard does.
interface IAavePoolInFull is IAavePool {
    function borrow(address asset, uint256 amount, uint256 interestRateMode, uint16 referralCode, address onBehalfOf)
        external;
    function setUserUseReserveAsCollateral(address asset, bool useAsCollateral) external;
    function approvePositionManager(address positionManager, bool approve) external;
    function liquidationCall(address collateral, address debt, address user, uint256 debtToCover, bool receiveAToken)
        external;
    function getUserConfiguration(address user) external view returns (uint256);
}

interface IProvider {
    function setACLAdmin(address admin) external;
    function setACLManager(address manager) external;
    function setPriceOracle(address oracle) external;
    function setPoolImpl(address implementation) external;
    function setPoolConfiguratorImpl(address implementation) external;
    function setPoolDataProvider(address dataProvider) external;
    function getPool() external view returns (address);
    function getPoolConfigurator() external view returns (address);
}

interface IRoles {
    function addPoolAdmin(address admin) external;
    function addEmergencyAdmin(address admin) external;
}

interface IConfigurator {
    struct Reserve {
        address aTokenImpl;
        address variableDebtTokenImpl;
        address underlyingAsset;
        string aTokenName;
        string aTokenSymbol;
        string variableDebtTokenName;
        string variableDebtTokenSymbol;
        bytes params;
        bytes interestRateData;
    }

    function initReserves(Reserve[] calldata reserves) external;
    function configureReserveAsCollateral(address asset, uint256 ltv, uint256 threshold, uint256 bonus) external;
    function setReserveBorrowing(address asset, bool enabled) external;
    function setReserveFreeze(address asset, bool freeze) external;
    function setReservePause(address asset, bool paused) external;
    function setSupplyCap(address asset, uint256 cap) external;
}

/// @notice Deploys the real Aave v3.6, which contracts/build compiled, over test tokens and feeds.
abstract contract AaveMarket is Test {
    struct Listing {
        TestToken token;
        TestFeed feed;
        uint16 ltv;
        uint16 threshold;
        uint16 bonus;
    }

    uint256 internal constant VARIABLE = 2;

    IAavePoolInFull internal pool;
    IConfigurator internal configurator;

    function _deployAave(Listing[] memory listings, address lender, uint256 wholeTokens) internal {
        IProvider provider = IProvider(_create("PoolAddressesProvider", abi.encode("Test market", address(this))));
        provider.setACLAdmin(address(this));
        IRoles roles = IRoles(_create("ACLManager", abi.encode(provider)));
        provider.setACLManager(address(roles));
        roles.addPoolAdmin(address(this));
        roles.addEmergencyAdmin(address(this));
        provider.setPriceOracle(_oracle(provider, listings));
        address rates = _create("RateStrategy", abi.encode(provider));
        provider.setPoolImpl(_create("Pool", abi.encode(provider, rates)));
        provider.setPoolConfiguratorImpl(_create("PoolConfigurator", ""));
        provider.setPoolDataProvider(_create("DataProvider", abi.encode(provider)));
        pool = IAavePoolInFull(provider.getPool());
        configurator = IConfigurator(provider.getPoolConfigurator());

        configurator.initReserves(_reserves(listings));
        for (uint256 i; i < listings.length; ++i) {
            Listing memory one = listings[i];
            address asset = address(one.token);
            configurator.configureReserveAsCollateral(asset, one.ltv, one.threshold, one.bonus);
            configurator.setReserveBorrowing(asset, true);
            _supplyFor(lender, one.token, wholeTokens * 10 ** one.token.decimals());
        }
    }

    function _supplyFor(address holder, TestToken token, uint256 amount) internal {
        token.mint(holder, amount);
        vm.startPrank(holder);
        token.approve(address(pool), amount);
        pool.supply(address(token), amount, holder, 0);
        vm.stopPrank();
    }

    function _borrowFor(address holder, TestToken token, uint256 amount) internal {
        vm.prank(holder);
        pool.borrow(address(token), amount, VARIABLE, 0, holder);
    }

    function _aToken(TestToken token) internal view returns (TestToken) {
        return TestToken(pool.getReserveData(address(token)).aTokenAddress);
    }

    function _aaveHealth(address holder) internal view returns (uint256 healthFactor) {
        (,,,,, healthFactor) = pool.getUserAccountData(holder);
    }

    /* INTERNAL: ITS PARTS */

    function _oracle(IProvider provider, Listing[] memory listings) private returns (address) {
        address[] memory assets = new address[](listings.length);
        address[] memory sources = new address[](listings.length);
        for (uint256 i; i < listings.length; ++i) {
            (assets[i], sources[i]) = (address(listings[i].token), address(listings[i].feed));
        }
        return _create("Oracle", abi.encode(provider, assets, sources, address(0), address(0), uint256(1e8)));
    }

    function _reserves(Listing[] memory listings) private returns (IConfigurator.Reserve[] memory reserves) {
        address aToken = _create("AToken", abi.encode(pool, address(0), address(this)));
        address debtToken = _create("VariableDebtToken", abi.encode(pool, address(0)));
        reserves = new IConfigurator.Reserve[](listings.length);
        for (uint256 i; i < listings.length; ++i) {
            string memory symbol = listings[i].token.symbol();
            // Optimal use 80 %, base rate 0, 4 % there, 60 % more at full use.
            bytes memory rates = abi.encode(uint16(8_000), uint32(0), uint32(400), uint32(6_000));
            reserves[i] = IConfigurator.Reserve(
                aToken, debtToken, address(listings[i].token), symbol, symbol, symbol, symbol, "", rates
            );
        }
    }

    /// @dev Its libraries are deployed and its code is linked with them first.
    function _create(string memory name, bytes memory arguments) private returns (address made) {
        string memory artefact = vm.readFile(string.concat(".cache/protocols/AaveV36", name, ".json"));
        bytes memory code = vm.parseJsonBytes(artefact, ".bytecode.object");
        if (_is(name, "Pool")) {
            _link(code, artefact, "Supply");
            _link(code, artefact, "Borrow");
            _link(code, artefact, "Liquidation");
            _link(code, artefact, "FlashLoan");
            _link(code, artefact, "Pool");
        } else if (_is(name, "PoolConfigurator")) {
            _link(code, artefact, "Configurator");
        } else if (_is(name, "FlashLoanLogic")) {
            _link(code, artefact, "Borrow");
        }
        code = abi.encodePacked(code, arguments);
        assembly {
            made := create(0, add(code, 32), mload(code))
        }
        require(made != address(0), string.concat(name, " was not created"));
    }

    function _link(bytes memory code, string memory artefact, string memory library_) private {
        string memory name = string.concat(library_, "Logic");
        string memory source = string.concat("src/contracts/protocol/libraries/logic/", name, ".sol");
        string memory places = string.concat(".bytecode.linkReferences['", source, "'].", name);
        bytes20 made = bytes20(_create(name, ""));
        for (uint256 i;; ++i) {
            string memory place = string.concat(places, "[", vm.toString(i), "].start");
            if (!vm.keyExistsJson(artefact, place)) return;
            uint256 start = vm.parseJsonUint(artefact, place);
            for (uint256 j; j < 20; ++j) {
                code[start + j] = made[j];
            }
        }
    }

    function _is(string memory one, string memory other) private pure returns (bool) {
        return keccak256(bytes(one)) == keccak256(bytes(other));
    }
}
