// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {TestToken} from "../devnet/TestToken.sol";
import {AaveMarket} from "./aave/AaveMarket.sol";
import {Setting} from "./Setting.sol";

/// @notice Accounts of each kind in each protocol, and what it is that is measured. Each of three kinds: one rescue by one
/// transfer; three rescues in one batch, out of one donor; and what a transfer out of another donor adds to a rescue.
abstract contract GasAccounts is Setting, AaveMarket {
    uint8 internal constant WETH = 0;
    uint8 internal constant USDC = 1;

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

    Recipients internal onMorpho;
    Recipients internal onAave;
    Donors internal morphoWithDebt;
    Donors internal morphoWithoutDebt;
    Donors internal aaveWithDebt;
    Donors internal aaveWithoutDebt;
    Donors internal wallets;

    function setUp() public virtual override {
        super.setUp();
        Listing[] memory listings = new Listing[](2);
        listings[0] = Listing(weth, ethFeed, 8_050, 8_300, 10_500);
        listings[1] = Listing(usdc, usdcFeed, 7_500, 7_800, 10_450);
        _deployAave(listings, lender, 1_000_000);
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
        wallets = Donors("wallet", [_wallet("eighth"), _wallet("ninth")], [WETH, USDC], IMarginGuard.Protocol.Wallet);
        // Batches of earlier, so that no cap is spent from for the first time.
        _rebalance(_batch(_rescue(A, _transfer(morphoWithoutDebt, 0, onMorpho, false))));
        _rebalance(_batch(_rescue(A, _transfer(wallets, 0, onMorpho, true))));
        vm.warp(block.timestamp + 300);
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
        other.approve(address(guard), 100_000e6);
        vm.stopPrank();
    }

    function _account(IMarginGuard.Protocol protocol, address holder, address target)
        internal
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

    /// @return The file under snapshots/ that the numbers go to.
    function _table() internal pure virtual returns (string memory);

    function _measure(Donors memory from, Recipients memory to, bool repays) internal {
        string memory pair = string.concat(from.name, repays ? " repays " : " to ", to.name, ", ");
        IMarginGuard.Rescue[] memory three = new IMarginGuard.Rescue[](3);
        for (uint256 i; i < 3; ++i) {
            three[i] = _rescue(to.accounts[i], _transfer(from, 0, to, repays));
        }
        IMarginGuard.Rescue memory two =
            _rescue(to.accounts[0], _transfer(from, 0, to, repays), _transfer(from, 1, to, repays));
        uint256 single = _gasOf(_batch(three[0]));
        vm.snapshotValue(_table(), string.concat(pair, "one rescue"), single);
        vm.snapshotValue(_table(), string.concat(pair, "three rescues"), _gasOf(three));
        vm.snapshotValue(_table(), string.concat(pair, "another transfer"), _gasOf(_batch(two)) - single);
    }

    function _transfer(Donors memory from, uint256 which, Recipients memory to, bool repays)
        internal
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
