// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Asset, IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {MorphoBlue} from "../src/protocols/MorphoBlue.sol";
import {Setting} from "./Setting.sol";

/// @notice The owner's settings, who may change them, and what they answer.
contract OwnerTest is Setting {
    /* WHO */

    function test_RevertIf_CallerIsNotOwner() public {
        bytes[] memory calls = new bytes[](7);
        calls[0] = abi.encodeCall(guard.enrol, (new IMarginGuard.Enrolment[](0)));
        calls[1] = abi.encodeCall(guard.retire, (new uint16[](0)));
        calls[2] = abi.encodeCall(guard.setPolicy, (A, _policy()));
        calls[3] = abi.encodeCall(guard.setCaps, (new IMarginGuard.Cap[](0)));
        calls[4] = abi.encodeCall(guard.setKeeper, (thief));
        calls[5] = abi.encodeCall(guard.unpause, ());
        calls[6] = abi.encodeCall(guard.sweep, (address(weth)));
        for (uint256 i; i < calls.length; ++i) {
            for (uint256 j; j < 2; ++j) {
                vm.prank(j == 0 ? keeper : thief);
                (bool ok, bytes memory answer) = address(guard).call(calls[i]);
                assertFalse(ok);
                assertEq(answer, abi.encodeWithSelector(IMarginGuard.CallerIsNotOwner.selector));
            }
            vm.prank(owner);
            (bool done,) = address(guard).call(calls[i]);
            assertTrue(done);
        }
    }

    /* ENROLMENT */

    function test_EnrolsAMorphoPosition() public view {
        IMarginGuard.Account memory account = guard.account(A);
        assertTrue(account.protocol == IMarginGuard.Protocol.Morpho);
        assertFalse(account.retired);
        assertTrue(account.joined);
        assertEq(account.holder, owner);
        assertEq(account.target, address(morpho));
        assertEq(account.key, _id(usdc86));
        assertEq(account.assets.length, 2);
        _assertAsset(account.assets[0], address(weth), address(morpho), address(0));
        _assertAsset(account.assets[1], address(usdc), address(0), address(morpho));
        assertEq(account.policy.rescueCeiling, CEILING);
        assertEq(account.policy.minAfter, MIN_AFTER);
        assertEq(account.policy.maxAfter, MAX_AFTER);
        assertEq(account.policy.hardFloor, HARD_FLOOR);
    }

    function _assertAsset(Asset memory asset, address underlying, address form, address debt) private pure {
        assertEq(asset.underlying, underlying);
        assertEq(asset.form, form);
        assertEq(asset.debt, debt);
    }

    function test_EnrolsAWallet() public view {
        IMarginGuard.Account memory account = guard.account(WALLET);
        assertTrue(account.protocol == IMarginGuard.Protocol.Wallet);
        assertEq(account.holder, owner);
        assertEq(account.target, address(0));
        assertEq(account.key, 0);
        assertEq(account.assets.length, 1);
        _assertAsset(account.assets[0], address(weth), address(weth), address(0));
        assertEq(account.policy.hardFloor, 0);
    }

    function test_EnrolsSeveralAtOnce() public {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](2);
        list[0] = _morphoAccountOf(thief, usdc86);
        list[1] = _walletAccount(thief, address(weth));
        vm.expectEmit(address(guard));
        emit IMarginGuard.AccountEnrolled(5, IMarginGuard.Protocol.Morpho, thief, address(morpho), _id(usdc86));
        vm.expectEmit(address(guard));
        emit IMarginGuard.PolicySet(5, _policy());
        vm.expectEmit(address(guard));
        emit IMarginGuard.AccountEnrolled(6, IMarginGuard.Protocol.Wallet, thief, address(0), 0);
        vm.prank(owner);
        assertEq(guard.enrol(list), 5);
        assertEq(guard.accountCount(), 7);

        IMarginGuard.Account[] memory all = guard.accounts();
        assertEq(all.length, 7);
        assertEq(all[0].key, _id(usdc86));
        assertEq(all[5].holder, thief);
        assertFalse(all[5].joined);
        assertTrue(all[6].protocol == IMarginGuard.Protocol.Wallet);
    }

    function test_RevertIf_AlreadyEnrolled() public {
        _expectRefused(_morphoAccount(dai86), abi.encodeWithSelector(IMarginGuard.AlreadyEnrolled.selector, C));
        _expectRefused(
            _walletAccount(owner, address(usdc)), abi.encodeWithSelector(IMarginGuard.AlreadyEnrolled.selector, WALLET)
        );
    }

    function test_RevertIf_HolderIsZero() public {
        _expectRefused(
            _walletAccount(address(0), address(weth)), abi.encodeWithSelector(IMarginGuard.HolderIsZero.selector)
        );
    }

    function test_RevertIf_MarketIsUnknown() public {
        IMarginGuard.Enrolment memory enrolment = _morphoAccount(usdc86);
        enrolment.key = keccak256("no market");
        bytes memory refusal = abi.encodeWithSelector(MorphoBlue.MarketUnknown.selector, address(morpho), enrolment.key);
        _expectRefused(enrolment, refusal);
        // What a Morpho without this market answers hashes to this.
        enrolment.key = keccak256(new bytes(160));
        refusal = abi.encodeWithSelector(MorphoBlue.MarketUnknown.selector, address(morpho), enrolment.key);
        _expectRefused(enrolment, refusal);
    }

    function test_RevertIf_TargetAnswersAnotherMarkets() public {
        IMarginGuard.Enrolment memory enrolment = _morphoAccountOf(thief, usdc86);
        enrolment.target = address(new MuddledMorpho(usdc77));
        _expectRefused(
            enrolment, abi.encodeWithSelector(MorphoBlue.MarketUnknown.selector, enrolment.target, enrolment.key)
        );
    }

    function test_RevertIf_TargetIsNoMorpho() public {
        IMarginGuard.Enrolment memory enrolment = _morphoAccount(usdc86);
        enrolment.target = makeAddr("nothing there");
        _expectRefused(enrolment, "");
    }

    function test_RevertIf_AssetsAreDerived() public {
        IMarginGuard.Enrolment memory enrolment = _morphoAccountOf(thief, usdc86);
        enrolment.assets = new address[](1);
        enrolment.assets[0] = address(weth);
        _expectRefused(enrolment, abi.encodeWithSelector(IMarginGuard.AssetsAreDerived.selector));
    }

    function test_RevertIf_WalletHasATarget() public {
        IMarginGuard.Enrolment memory enrolment = _walletAccount(thief, address(weth));
        enrolment.target = address(morpho);
        _expectRefused(enrolment, abi.encodeWithSelector(IMarginGuard.WalletHasNoTarget.selector));
        enrolment.target = address(0);
        enrolment.key = bytes32(uint256(1));
        _expectRefused(enrolment, abi.encodeWithSelector(IMarginGuard.WalletHasNoTarget.selector));
    }

    function test_RevertIf_NoAssets() public {
        IMarginGuard.Enrolment memory enrolment = _walletAccount(thief, address(weth));
        enrolment.assets = new address[](0);
        _expectRefused(enrolment, abi.encodeWithSelector(IMarginGuard.NoAssets.selector));
    }

    function test_RevertIf_TooManyAssets() public {
        IMarginGuard.Enrolment memory enrolment = _walletAccount(thief, address(weth));
        enrolment.assets = new address[](33);
        _expectRefused(enrolment, abi.encodeWithSelector(IMarginGuard.TooManyAssets.selector, 33));
    }

    function test_EnrolsAWalletOfThirtyTwoAssets() public {
        IMarginGuard.Enrolment memory enrolment = _walletAccount(thief, address(weth));
        enrolment.assets = new address[](32);
        for (uint160 i; i < 32; ++i) {
            enrolment.assets[i] = address(0xA55E7 + i);
            vm.etch(enrolment.assets[i], hex"00");
        }
        uint16 index = _enrol(enrolment);
        assertEq(guard.account(index).assets.length, 32);
        assertEq(guard.account(index).assets[31].underlying, address(0xA55E7 + 31));
    }

    function test_RevertIf_AssetIsListedTwice() public {
        IMarginGuard.Enrolment memory enrolment = _walletAccount(thief, address(weth));
        enrolment.assets = new address[](3);
        (enrolment.assets[0], enrolment.assets[1], enrolment.assets[2]) = (address(weth), address(usdc), address(weth));
        _expectRefused(enrolment, abi.encodeWithSelector(IMarginGuard.AssetListedTwice.selector, weth));
    }

    function test_RevertIf_AssetHasNoCode() public {
        _expectRefused(
            _walletAccount(thief, keeper), abi.encodeWithSelector(IMarginGuard.AssetHasNoCode.selector, keeper)
        );
    }

    function test_RevertIf_TooManyAccounts() public {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1019);
        for (uint160 i; i < list.length; ++i) {
            list[i] = _walletAccount(address(0x1000 + i), address(weth));
        }
        vm.prank(owner);
        guard.enrol(list);
        assertEq(guard.accountCount(), 1024);
        _expectRefused(
            _walletAccount(thief, address(weth)), abi.encodeWithSelector(IMarginGuard.TooManyAccounts.selector)
        );
    }

    /* POLICY */

    function test_RevertIf_PolicyIsOutOfOrder() public {
        _expectOutOfOrder(A, IMarginGuard.Policy(1.5e18, 1.1e18, 2e18, 1e18));
        _expectOutOfOrder(A, IMarginGuard.Policy(1.5e18, 1.1e18, 2e18, 1.1e18 + 1));
        _expectOutOfOrder(A, IMarginGuard.Policy(1.1e18, 1.1e18 + 1, 2e18, 1.05e18));
        _expectOutOfOrder(A, IMarginGuard.Policy(1.5e18, 1.1e18, 1.5e18 - 1, 1.05e18));
        _expectOutOfOrder(A, IMarginGuard.Policy(0, 0, 0, 0));
        _expectOutOfOrder(WALLET, _policy());
        _expectOutOfOrder(WALLET, IMarginGuard.Policy(1, 0, 0, 0));
        _expectOutOfOrder(WALLET, IMarginGuard.Policy(0, 1, 0, 0));
        _expectOutOfOrder(WALLET, IMarginGuard.Policy(0, 0, 1, 0));
        _expectOutOfOrder(WALLET, IMarginGuard.Policy(0, 0, 0, 1));
    }

    function test_RevertIf_PolicyIsOutOfOrderAtEnrolment() public {
        IMarginGuard.Enrolment memory enrolment = _morphoAccountOf(thief, usdc86);
        enrolment.policy = IMarginGuard.Policy(1.5e18, 1.1e18, 2e18, 1e18);
        _expectRefused(enrolment, abi.encodeWithSelector(IMarginGuard.PolicyOutOfOrder.selector, enrolment.policy));
        enrolment = _walletAccount(thief, address(weth));
        enrolment.policy = _policy();
        _expectRefused(enrolment, abi.encodeWithSelector(IMarginGuard.PolicyOutOfOrder.selector, enrolment.policy));
    }

    function test_SetsAPolicyAtItsTightest() public {
        IMarginGuard.Policy memory tightest = IMarginGuard.Policy(1e18 + 1, 1e18 + 1, 1e18 + 1, 1e18 + 1);
        vm.expectEmit(address(guard));
        emit IMarginGuard.PolicySet(A, tightest);
        vm.startPrank(owner);
        guard.setPolicy(A, tightest);
        guard.setPolicy(WALLET, IMarginGuard.Policy(0, 0, 0, 0));
        vm.stopPrank();
        IMarginGuard.Account memory account = guard.account(A);
        assertEq(account.policy.rescueCeiling, 1e18 + 1);
        assertEq(account.policy.minAfter, 1e18 + 1);
        assertEq(account.policy.maxAfter, 1e18 + 1);
        assertEq(account.policy.hardFloor, 1e18 + 1);
        assertEq(account.key, _id(usdc86), "only the policy changed");
        assertEq(guard.account(B).policy.minAfter, MIN_AFTER, "only this account's changed");
    }

    function test_RevertIf_AccountIsUnknown() public {
        bytes memory refusal = abi.encodeWithSelector(IMarginGuard.AccountUnknown.selector, 5);
        uint16[] memory list = new uint16[](1);
        list[0] = 5;
        vm.startPrank(owner);
        vm.expectRevert(refusal);
        guard.setPolicy(5, _policy());
        vm.expectRevert(refusal);
        guard.retire(list);
        vm.expectRevert(refusal);
        guard.account(5);
        vm.expectRevert(refusal);
        guard.health(5);
    }

    /* RETIREMENT */

    function test_RetiresForGood() public {
        vm.expectEmit(address(guard));
        emit IMarginGuard.AccountRetired(B);
        _retire(B);
        assertTrue(guard.account(B).retired);
        assertFalse(guard.account(A).retired);
        assertEq(_enrol(_morphoAccount(usdc77)), 5, "an index is never used again");
        assertTrue(guard.account(B).retired);
        assertEq(guard.accountCount(), 6);
    }

    /// @dev Only the owner can take back what he permitted; a retired account goes on naming to whom and for what.
    function test_ARetiredAccountStillNamesThePermissionsLeftBehind() public {
        _retire(A);
        _retire(WALLET);
        IMarginGuard.Account memory position = guard.account(A);
        assertTrue(position.retired && morpho.isAuthorized(position.holder, address(guard)));
        assertEq(position.target, address(morpho));
        assertEq(position.key, _id(usdc86));
        IMarginGuard.Account memory wallet = guard.account(WALLET);
        assertTrue(wallet.retired);
        assertEq(wallet.assets[0].underlying, address(weth));
        assertEq(weth.allowance(wallet.holder, address(guard)), 5 ether);
        assertEq(guard.accounts()[WALLET].assets[0].underlying, address(weth));
    }

    function test_RevertIf_AccountIsRetired() public {
        _retire(B);
        bytes memory refusal = abi.encodeWithSelector(IMarginGuard.AccountIsRetired.selector, B);
        uint16[] memory list = new uint16[](1);
        list[0] = B;
        vm.startPrank(owner);
        vm.expectRevert(refusal);
        guard.retire(list);
        vm.expectRevert(refusal);
        guard.setPolicy(B, _policy());
    }

    /* KEEPER AND PAUSE */

    function test_ReplacesTheKeeperAtOnce() public {
        vm.expectEmit(address(guard));
        emit IMarginGuard.KeeperSet(thief);
        vm.prank(owner);
        guard.setKeeper(thief);
        assertEq(guard.keeper(), thief);
        vm.prank(keeper);
        vm.expectRevert(IMarginGuard.CallerIsNotKeeper.selector);
        guard.rebalance(_planId(1), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
        keeper = thief;
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_ANewKeeperGoesOnInTheSequence() public {
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        vm.prank(owner);
        guard.setKeeper(thief);
        assertEq(guard.lastSequence(), 1);
    }

    function test_OwnerAndKeeperPause() public {
        address[2] memory both = [owner, keeper];
        for (uint256 i; i < 2; ++i) {
            vm.expectEmit(address(guard));
            emit IMarginGuard.Paused(both[i]);
            vm.prank(both[i]);
            guard.pause();
            assertTrue(guard.paused());
            vm.prank(owner);
            guard.unpause();
            assertFalse(guard.paused());
        }
    }

    function test_PausingTwiceIsPausing() public {
        vm.prank(keeper);
        guard.pause();
        vm.prank(owner);
        guard.pause();
        assertTrue(guard.paused());
    }

    function test_RevertIf_CallerIsNotOwnerOrKeeper() public {
        vm.prank(thief);
        vm.expectRevert(IMarginGuard.CallerIsNotOwnerOrKeeper.selector);
        guard.pause();
        vm.prank(owner);
        guard.setKeeper(thief);
        vm.prank(keeper);
        vm.expectRevert(IMarginGuard.CallerIsNotOwnerOrKeeper.selector);
        guard.pause();
    }

    function test_WorksAgainAfterUnpausing() public {
        vm.prank(keeper);
        guard.pause();
        vm.expectEmit(address(guard));
        emit IMarginGuard.Unpaused();
        vm.prank(owner);
        guard.unpause();
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_HoldersJoinAndLeaveWhilePaused() public {
        vm.prank(keeper);
        guard.pause();
        vm.expectEmit(address(guard));
        emit IMarginGuard.Joined(thief);
        vm.prank(thief);
        guard.join();
        vm.expectEmit(address(guard));
        emit IMarginGuard.Left(thief);
        vm.prank(thief);
        guard.leave();
    }

    /* CAPS */

    function test_SetsCaps() public {
        vm.expectEmit(address(guard));
        emit IMarginGuard.CapSet(address(usdc), 7e6, 3600);
        _setCap(address(usdc), 7e6, 3600);
        (uint128 amount, uint32 window) = guard.cap(address(usdc));
        assertEq(amount, 7e6);
        assertEq(window, 3600);
        assertEq(guard.remainingCap(address(usdc)), 7e6);
        (amount, window) = guard.cap(address(dai));
        assertEq(amount, 0);
        assertEq(window, 0);
        assertEq(guard.remainingCap(address(dai)), 0);
    }

    function test_RevertIf_WindowIsZero() public {
        IMarginGuard.Cap[] memory list = new IMarginGuard.Cap[](1);
        list[0] = IMarginGuard.Cap(address(usdc), 7e6, 0);
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.WindowIsZero.selector, usdc));
        guard.setCaps(list);
    }

    function test_SettingACapAgainRefundsNothing() public {
        _setCap(address(weth), 2 ether, 1 days);
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        _setCap(address(weth), 2 ether, 1 days);
        assertEq(guard.remainingCap(address(weth)), 1 ether);
        _setCap(address(weth), 3 ether, 1 hours);
        assertEq(guard.remainingCap(address(weth)), 2 ether);
        _setCap(address(weth), 0.5 ether, 2 days);
        assertEq(guard.remainingCap(address(weth)), 0);
    }

    /* SWEEP */

    function test_SweepsADonation() public {
        weth.mint(address(guard), 3 ether);
        vm.expectEmit(address(guard));
        emit IMarginGuard.Swept(address(weth), 3 ether);
        vm.prank(owner);
        guard.sweep(address(weth));
        assertEq(weth.balanceOf(owner), 13 ether);
        assertEq(weth.balanceOf(address(guard)), 0);
    }

    function test_ADonationBlocksNothing() public {
        weth.mint(address(guard), 3 ether);
        _rebalance(_batch(_rescue(A, _native(D, 1 ether)), _rescue(A, _cross(WALLET, 1 ether))));
        assertEq(_collateral(usdc86), 12 ether);
        assertEq(weth.balanceOf(address(guard)), 3 ether, "it is ignored");
    }

    function test_SweepsWhilePaused() public {
        weth.mint(address(guard), 3 ether);
        vm.startPrank(owner);
        guard.pause();
        guard.sweep(address(weth));
        assertEq(weth.balanceOf(owner), 13 ether);
    }

    /* HEALTH */

    function test_AnyoneReadsHealth() public {
        vm.startPrank(thief);
        assertEq(guard.health(A), 1_228571428571428571);
        assertEq(guard.health(B), 2.2e18);
        assertEq(guard.health(C), 2_457142857142857142);
        assertEq(guard.health(D), NO_DEBT);
        assertEq(guard.health(WALLET), NO_DEBT);
    }

    function test_WithoutDebtTheOracleIsNotAsked() public {
        daiFeed.setAnswer(-1);
        assertEq(guard.health(D), NO_DEBT);
        vm.expectRevert();
        guard.health(C);
    }

    function test_HealthIsReadableAfterRetirement() public {
        _retire(A);
        assertEq(guard.health(A), 1_228571428571428571);
    }

    /* HELPERS */

    function _expectRefused(IMarginGuard.Enrolment memory enrolment, bytes memory refusal) private {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = enrolment;
        vm.prank(owner);
        vm.expectRevert(refusal);
        guard.enrol(list);
    }

    function _expectOutOfOrder(uint16 index, IMarginGuard.Policy memory policy) private {
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.PolicyOutOfOrder.selector, policy));
        guard.setPolicy(index, policy);
    }
}

/// @notice Answers the parameters of one market whichever it is asked for.
contract MuddledMorpho {
    MarketParams private _market;

    constructor(MarketParams memory market) {
        _market = market;
    }

    function idToMarketParams(bytes32) external view returns (MarketParams memory) {
        return _market;
    }
}
