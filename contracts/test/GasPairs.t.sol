// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {TestToken} from "../devnet/TestToken.sol";
import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {AaveMarket} from "./aave/AaveMarket.sol";
import {Setting} from "./Setting.sol";

/// @notice What a rescue costs from each kind of donor to each kind of recipient, as `GasTest` measures it, kept in
/// snapshots/GasPairs.json: one rescue by one transfer, three such rescues in a batch, and what a second transfer adds.
/// @dev Every recipient and every donor with debt owes USDC; every account on Aave has one collateral. Three of each.
/// forge-config: default.isolate = true
contract GasPairsTest is Setting, AaveMarket {
    uint8 private constant WETH = 0;
    uint8 private constant USDC = 1;
    uint32 private constant AMPLE_GAS = 1_500_000;

    /// @dev Enrolment indexes of the first of three, after those of `Setting`.
    uint16 private constant MORPHO = 5;
    uint16 private constant MORPHO_IN_DEBT = 8;
    uint16 private constant MORPHO_FREE = 11;
    uint16 private constant AAVE = 14;
    uint16 private constant AAVE_IN_DEBT = 17;
    uint16 private constant AAVE_FREE = 20;
    uint16 private constant WALLETS = 23;

    function setUp() public override {
        super.setUp();
        Listing[] memory listings = new Listing[](2);
        listings[WETH] = Listing(weth, ethFeed, 8_050, 8_300, 10_500);
        listings[USDC] = Listing(usdc, usdcFeed, 7_500, 7_800, 10_450);
        _deployAave(listings, lender, 1_000_000);
        // The limits tell markets apart, and no account's health is near one.
        _openOnMorpho(14_000e6, 0.8e18);
        _openOnMorpho(5_000e6, 0.81e18);
        _openOnMorpho(0, 0.82e18);
        _openOnAave(12_000e6);
        _openOnAave(5_000e6);
        _openOnAave(0);
        _fillWallets();
        _setCap(address(usdc), 1_000_000e6, 1 days);
        // A batch of earlier, so that nothing is written for the first time.
        _rebalance(
            _batch(
                _rescue(A, _native(D, 1)),
                _rescue(A, IMarginGuard.Transfer(IMarginGuard.Kind.Repay, WALLETS, USDC, 1, 1e6))
            )
        );
        vm.warp(block.timestamp + 300);
    }

    /* FROM AND TO */

    function test_IntoMorpho() public {
        _measure("Morpho, in debt -> Morpho", IMarginGuard.Kind.Native, MORPHO_IN_DEBT, WETH, MORPHO, 0, 0.5 ether);
        _measure("Morpho, without debt -> Morpho", IMarginGuard.Kind.Native, MORPHO_FREE, WETH, MORPHO, 0, 0.5 ether);
        _measure("Aave, in debt -> Morpho", IMarginGuard.Kind.Cross, AAVE_IN_DEBT, WETH, MORPHO, 0, 0.5 ether);
        _measure("Aave, without debt -> Morpho", IMarginGuard.Kind.Cross, AAVE_FREE, WETH, MORPHO, 0, 0.5 ether);
        _measure("wallet -> Morpho", IMarginGuard.Kind.Cross, WALLETS, WETH, MORPHO, 0, 0.5 ether);
    }

    function test_IntoAave() public {
        _measure("Morpho, in debt -> Aave", IMarginGuard.Kind.Cross, MORPHO_IN_DEBT, WETH, AAVE, WETH, 0.5 ether);
        _measure("Morpho, without debt -> Aave", IMarginGuard.Kind.Cross, MORPHO_FREE, WETH, AAVE, WETH, 0.5 ether);
        _measure("Aave, in debt -> Aave", IMarginGuard.Kind.Native, AAVE_IN_DEBT, WETH, AAVE, WETH, 0.5 ether);
        _measure("Aave, without debt -> Aave", IMarginGuard.Kind.Native, AAVE_FREE, WETH, AAVE, WETH, 0.5 ether);
        _measure("wallet -> Aave", IMarginGuard.Kind.Cross, WALLETS, WETH, AAVE, WETH, 0.5 ether);
    }

    function test_Repaying() public {
        _measure("wallet repays Morpho", IMarginGuard.Kind.Repay, WALLETS, USDC, MORPHO, 1, 500e6);
        _measure("wallet repays Aave", IMarginGuard.Kind.Repay, WALLETS, USDC, AAVE, USDC, 500e6);
        _measure("Aave, without debt repays Morpho", IMarginGuard.Kind.Repay, AAVE_FREE, USDC, MORPHO, 1, 500e6);
        _measure("Aave, without debt repays Aave", IMarginGuard.Kind.Repay, AAVE_FREE, USDC, AAVE, USDC, 500e6);
    }

    /* HELPERS */

    function _measure(
        string memory name,
        IMarginGuard.Kind kind,
        uint16 from,
        uint8 fromAsset,
        uint16 to,
        uint8 toAsset,
        uint128 amount
    ) private {
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](3);
        for (uint16 i; i < 3; ++i) {
            transfers[i] = IMarginGuard.Transfer(kind, from + i, fromAsset, toAsset, amount);
        }
        IMarginGuard.Rescue[] memory three = new IMarginGuard.Rescue[](3);
        for (uint16 i; i < 3; ++i) {
            three[i] = _rescue(to + i, transfers[i]);
            three[i].gas = AMPLE_GAS;
        }
        IMarginGuard.Rescue memory twice = _rescue(to, transfers[0], transfers[1]);
        twice.gas = AMPLE_GAS;
        uint256 single = _gasOf(_batch(three[0]));
        vm.snapshotValue("GasPairs", string.concat(name, ", one"), single);
        vm.snapshotValue("GasPairs", string.concat(name, ", three"), _gasOf(three));
        vm.snapshotValue("GasPairs", string.concat(name, ", a further transfer"), _gasOf(_batch(twice)) - single);
    }

    function _gasOf(IMarginGuard.Rescue[] memory rescues) private returns (uint256 gas) {
        uint256 state = vm.snapshotState();
        bytes32 planId = _nextPlanId() | keccak256("digest") >> 64;
        vm.prank(keeper);
        IMarginGuard.Result[] memory results = guard.rebalance(planId, block.timestamp + 60, rescues);
        gas = vm.lastCallGas().gasTotalUsed;
        for (uint256 i; i < results.length; ++i) {
            assertTrue(results[i].ok, string(results[i].reason));
        }
        vm.revertToState(state);
    }

    function _openOnMorpho(uint256 debt, uint256 lltv) private {
        for (uint256 i; i < 3; ++i) {
            morpho.enableLltv(lltv + i);
            MarketParams memory market = _createMarket(address(usdc), address(weth), address(usdcOracle), lltv + i);
            _open(market, 10 ether, debt);
            _enrol(_morphoAccount(market));
        }
    }

    function _openOnAave(uint256 debt) private {
        address[] memory assets = new address[](2);
        (assets[WETH], assets[USDC]) = (address(weth), address(usdc));
        for (uint256 i; i < 3; ++i) {
            address holder = vm.addr(1_000_000 + debt + i);
            _supplyFor(holder, weth, 10 ether);
            if (debt == 0) _supplyFor(holder, usdc, 5_000e6);
            else _borrowFor(holder, usdc, debt);
            _permit(holder, _aToken(weth), _aToken(usdc));
            _enrol(IMarginGuard.Enrolment(IMarginGuard.Protocol.Aave, holder, address(pool), 0, assets, _policy()));
        }
    }

    function _fillWallets() private {
        for (uint256 i; i < 3; ++i) {
            address holder = vm.addr(2_000_000 + i);
            weth.mint(holder, 10 ether);
            usdc.mint(holder, 10_000e6);
            _permit(holder, weth, usdc);
            IMarginGuard.Enrolment memory enrolment = _walletAccount(holder, address(weth));
            enrolment.assets = new address[](2);
            (enrolment.assets[WETH], enrolment.assets[USDC]) = (address(weth), address(usdc));
            _enrol(enrolment);
        }
    }

    function _permit(address holder, TestToken one, TestToken other) private {
        vm.startPrank(holder);
        guard.join();
        one.approve(address(guard), 1_000 ether);
        other.approve(address(guard), 1_000_000e6);
        vm.stopPrank();
    }
}
