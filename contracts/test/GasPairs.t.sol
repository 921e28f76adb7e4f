// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {TestToken} from "../devnet/TestToken.sol";
import {AaveMarket} from "./aave/AaveMarket.sol";
import {Setting} from "./Setting.sol";
import {IComptrollerInFull, IVTokenInFull, VenusMarkets} from "./venus/VenusMarkets.sol";

/// @notice What a rescue costs for each pair of protocols, as receipts would say: kept in snapshots/GasPairs.json, shown in
/// the README. Each of three kinds: one rescue by one transfer; three rescues in one batch, out of one donor; and what a
/// transfer out of another donor adds to a rescue.
/// forge-config: default.isolate = true
contract GasPairsTest is Setting, AaveMarket, VenusMarkets {
    uint8 private constant WETH = 0;
    uint8 private constant USDC = 1;

    /// @dev Two of each kind.
    struct Donors {
        string name;
        uint16[2] accounts;
        uint8[2] assets; // for collateral, and for repayments
        IMarginGuard.Protocol protocol;
    }

    /// @dev Three of each kind; each owes USDC.
    struct Recipients {
        string name;
        uint16[3] accounts;
        uint8[2] assets;
        IMarginGuard.Protocol protocol;
    }

    Recipients private onMorpho;
    Recipients private onAave;
    Recipients private onVenus;
    Donors private morphoWithDebt;
    Donors private morphoWithoutDebt;
    Donors private aaveWithDebt;
    Donors private aaveWithoutDebt;
    Donors private venusWithDebt;
    Donors private venusWithoutDebt;
    Donors private wallets;

    IComptrollerInFull private comptroller;
    IVTokenInFull private vWeth;
    IVTokenInFull private vUsdc;

    function setUp() public override {
        super.setUp();
        Listing[] memory listings = new Listing[](2);
        listings[0] = Listing(weth, ethFeed, 8_050, 8_300, 10_500);
        listings[1] = Listing(usdc, usdcFeed, 7_500, 7_800, 10_450);
        _deployAave(listings, lender, 1_000_000);
        _deployVenus();
        comptroller = _pool();
        vWeth = _market(comptroller, weth, ethFeed, 15_000);
        vUsdc = _market(comptroller, usdc, usdcFeed, 1_000_000);
        _setCap(address(usdc), 1_000_000e6, 1 days);

        onMorpho = Recipients(
            "Morpho",
            [A, _onMorpho(0.9e18, 14_000e6), _onMorpho(0.91e18, 14_000e6)],
            [0, 1],
            IMarginGuard.Protocol.Morpho
        );
        onAave = Recipients(
            "Aave",
            [_onAave("first", 15_000e6), _onAave("second", 15_000e6), _onAave("third", 15_000e6)],
            [WETH, USDC],
            IMarginGuard.Protocol.Aave
        );
        morphoWithDebt = Donors("Morpho with debt", [B, C], [0, 0], IMarginGuard.Protocol.Morpho);
        morphoWithoutDebt =
            Donors("Morpho without debt", [D, _onMorpho(0.625e18, 0)], [0, 0], IMarginGuard.Protocol.Morpho);
        aaveWithDebt = Donors(
            "Aave with debt",
            [_onAave("fourth", 4_000e6), _onAave("fifth", 4_000e6)],
            [WETH, USDC],
            IMarginGuard.Protocol.Aave
        );
        aaveWithoutDebt = Donors(
            "Aave without debt", [_onAave("sixth", 0), _onAave("seventh", 0)], [WETH, USDC], IMarginGuard.Protocol.Aave
        );
        onVenus = Recipients(
            "Venus",
            [_onVenus("tenth", 15_000e6), _onVenus("eleventh", 15_000e6), _onVenus("twelfth", 15_000e6)],
            [WETH, USDC],
            IMarginGuard.Protocol.Venus
        );
        venusWithDebt = Donors(
            "Venus with debt",
            [_onVenus("thirteenth", 4_000e6), _onVenus("fourteenth", 4_000e6)],
            [WETH, USDC],
            IMarginGuard.Protocol.Venus
        );
        venusWithoutDebt = Donors(
            "Venus without debt",
            [_onVenus("fifteenth", 0), _onVenus("sixteenth", 0)],
            [WETH, USDC],
            IMarginGuard.Protocol.Venus
        );
        wallets = Donors("wallet", [_wallet("eighth"), _wallet("ninth")], [WETH, USDC], IMarginGuard.Protocol.Wallet);
        // Batches of earlier, so that no cap is spent from for the first time.
        _rebalance(_batch(_rescue(A, _transfer(morphoWithoutDebt, 0, onMorpho, false))));
        _rebalance(_batch(_rescue(A, _transfer(wallets, 0, onMorpho, true))));
        vm.warp(block.timestamp + 300);
    }

    function test_FromMorphoWithDebt() public {
        _measure(morphoWithDebt, onMorpho, false);
        _measure(morphoWithDebt, onAave, false);
        _measure(morphoWithDebt, onVenus, false);
    }

    function test_FromMorphoWithoutDebt() public {
        _measure(morphoWithoutDebt, onMorpho, false);
        _measure(morphoWithoutDebt, onAave, false);
        _measure(morphoWithoutDebt, onVenus, false);
    }

    function test_FromAaveWithDebt() public {
        _measure(aaveWithDebt, onMorpho, false);
        _measure(aaveWithDebt, onAave, false);
        _measure(aaveWithDebt, onVenus, false);
    }

    function test_FromAaveWithoutDebt() public {
        _measure(aaveWithoutDebt, onMorpho, false);
        _measure(aaveWithoutDebt, onAave, false);
        _measure(aaveWithoutDebt, onVenus, false);
    }

    function test_FromVenusWithDebt() public {
        _measure(venusWithDebt, onMorpho, false);
        _measure(venusWithDebt, onAave, false);
        _measure(venusWithDebt, onVenus, false);
    }

    function test_FromVenusWithoutDebt() public {
        _measure(venusWithoutDebt, onMorpho, false);
        _measure(venusWithoutDebt, onAave, false);
        _measure(venusWithoutDebt, onVenus, false);
    }

    function test_FromTheWallet() public {
        _measure(wallets, onMorpho, false);
        _measure(wallets, onAave, false);
        _measure(wallets, onVenus, false);
    }

    function test_RepayingFromTheWallet() public {
        _measure(wallets, onMorpho, true);
        _measure(wallets, onAave, true);
        _measure(wallets, onVenus, true);
    }

    function test_RepayingFromAaveWithoutDebt() public {
        _measure(aaveWithoutDebt, onMorpho, true);
        _measure(aaveWithoutDebt, onAave, true);
    }

    /* THE ACCOUNTS */

    function _onMorpho(uint256 lltv, uint256 debt) private returns (uint16) {
        morpho.enableLltv(lltv);
        MarketParams memory market = _createMarket(address(usdc), address(weth), address(usdcOracle), lltv);
        _open(market, 10 ether, debt);
        return _enrol(_morphoAccount(market));
    }

    function _onAave(string memory name, uint256 debt) private returns (uint16) {
        address holder = makeAddr(name);
        _supplyFor(holder, weth, 10 ether);
        _supplyFor(holder, usdc, 5_000e6);
        if (debt != 0) _borrowFor(holder, usdc, debt);
        _permit(holder, _aToken(weth), _aToken(usdc));
        return _enrol(_account(IMarginGuard.Protocol.Aave, holder, address(pool)));
    }

    /// @dev It entered both markets, so that each read of its health goes through both.
    function _onVenus(string memory name, uint256 debt) private returns (uint16) {
        address holder = makeAddr(name);
        _mintFor(holder, vWeth, 10 ether);
        _mintFor(holder, vUsdc, 5_000e6);
        _enter(holder, comptroller, vWeth);
        _enter(holder, comptroller, vUsdc);
        if (debt != 0) _borrowFrom(vUsdc, holder, debt);
        _permit(holder, TestToken(address(vWeth)), TestToken(address(vUsdc)));
        IMarginGuard.Enrolment memory enrolment = _account(IMarginGuard.Protocol.Venus, holder, address(comptroller));
        (enrolment.assets[WETH], enrolment.assets[USDC]) = (address(vWeth), address(vUsdc));
        return _enrol(enrolment);
    }

    function _wallet(string memory name) private returns (uint16) {
        address holder = makeAddr(name);
        weth.mint(holder, 10 ether);
        usdc.mint(holder, 10_000e6);
        _permit(holder, weth, usdc);
        return _enrol(_account(IMarginGuard.Protocol.Wallet, holder, address(0)));
    }

    function _permit(address holder, TestToken one, TestToken other) private {
        vm.startPrank(holder);
        guard.join();
        one.approve(address(guard), 100 ether);
        other.approve(address(guard), 10_000_000e6); // as vTokens, which have 8 decimals, 100,000
        vm.stopPrank();
    }

    function _account(IMarginGuard.Protocol protocol, address holder, address target)
        private
        view
        returns (IMarginGuard.Enrolment memory enrolment)
    {
        enrolment = _walletAccount(holder, address(weth));
        enrolment.assets = new address[](2);
        (enrolment.assets[WETH], enrolment.assets[USDC]) = (address(weth), address(usdc));
        (enrolment.protocol, enrolment.target) = (protocol, target);
        if (protocol != IMarginGuard.Protocol.Wallet) enrolment.policy = _policy();
    }

    /* MEASURING */

    function _measure(Donors memory from, Recipients memory to, bool repays) private {
        string memory pair = string.concat(from.name, repays ? " repays " : " to ", to.name, ", ");
        IMarginGuard.Rescue[] memory three = new IMarginGuard.Rescue[](3);
        for (uint256 i; i < 3; ++i) {
            three[i] = _rescue(to.accounts[i], _transfer(from, 0, to, repays));
        }
        IMarginGuard.Rescue memory two =
            _rescue(to.accounts[0], _transfer(from, 0, to, repays), _transfer(from, 1, to, repays));
        uint256 single = _gasOf(_batch(three[0]));
        vm.snapshotValue("GasPairs", string.concat(pair, "one rescue"), single);
        vm.snapshotValue("GasPairs", string.concat(pair, "three rescues"), _gasOf(three));
        vm.snapshotValue("GasPairs", string.concat(pair, "another transfer"), _gasOf(_batch(two)) - single);
    }

    function _transfer(Donors memory from, uint256 which, Recipients memory to, bool repays)
        private
        pure
        returns (IMarginGuard.Transfer memory)
    {
        uint256 asset = repays ? USDC : WETH;
        IMarginGuard.Kind kind = repays
            ? IMarginGuard.Kind.Repay
            : from.protocol == to.protocol ? IMarginGuard.Kind.Native : IMarginGuard.Kind.Cross;
        uint128 amount = repays ? 500e6 : 0.5 ether;
        return IMarginGuard.Transfer(kind, from.accounts[which], from.assets[asset], to.assets[asset], amount);
    }

    /// @dev With 24 bytes of digest, as real plans have.
    function _gasOf(IMarginGuard.Rescue[] memory rescues) private returns (uint256 gas) {
        uint256 state = vm.snapshotState();
        bytes32 planId = _nextPlanId() | keccak256("digest") >> 64;
        for (uint256 i; i < rescues.length; ++i) {
            rescues[i].gas = 2 * RESCUE_GAS;
        }
        vm.prank(keeper);
        IMarginGuard.Result[] memory results = guard.rebalance(planId, block.timestamp + 60, rescues);
        gas = vm.lastCallGas().gasTotalUsed;
        for (uint256 i; i < results.length; ++i) {
            assertTrue(results[i].ok);
        }
        vm.revertToState(state);
    }
}
