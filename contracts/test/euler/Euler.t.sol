// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {StandInEVC} from "../../devnet/euler/StandInEVC.sol";
import {StandInAdapter} from "../../devnet/euler/StandInRouter.sol";
import {StandInVault} from "../../devnet/euler/StandInVault.sol";
import {TestToken} from "../../devnet/TestToken.sol";
import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {EulerV2} from "../../src/protocols/EulerV2.sol";
import {Token} from "../../src/Token.sol";
import {AaveMarket} from "../aave/AaveMarket.sol";
import {EulerSetting} from "./EulerSetting.sol";

/// @notice A keeper that is a contract, and plans from within a batch of the EVC, where no account is checked yet.
contract BatchingKeeper {
    StandInEVC private immutable EVC;
    IMarginGuard private immutable GUARD;

    constructor(StandInEVC evc, IMarginGuard guard) {
        (EVC, GUARD) = (evc, guard);
    }

    function rebalanceInABatch(bytes32 planId, IMarginGuard.Rescue[] calldata rescues) external {
        StandInEVC.BatchItem[] memory items = new StandInEVC.BatchItem[](1);
        items[0] =
            StandInEVC.BatchItem(address(this), address(this), 0, abi.encodeCall(this.rebalance, (planId, rescues)));
        EVC.batch(items);
    }

    function rebalance(bytes32 planId, IMarginGuard.Rescue[] calldata rescues) external {
        GUARD.rebalance(planId, block.timestamp, rescues);
    }
}

/// @notice What a thief once made a controller, as an operator: it calls an account as healthy as pays, and takes all.
contract LyingController {
    function accountLiquidity(address, bool) external pure returns (uint256, uint256) {
        return (1.3e18, 1e18);
    }

    function checkAccountStatus(address, address[] calldata) external pure returns (bytes4) {
        return this.checkAccountStatus.selector;
    }

    function LTVLiquidation(address) external pure returns (uint16) {
        return 0;
    }

    function seize(StandInEVC evc, StandInVault vault, address account, address to) external {
        evc.controlCollateral(
            address(vault), account, 0, abi.encodeCall(vault.transfer, (to, vault.balanceOf(account)))
        );
    }
}

/// @notice In place of a vault's deposit and repayment: it takes the tokens and is done.
contract TakesAndBooksNothing {
    function deposit(uint256 assets, address) external returns (uint256) {
        return _take(assets);
    }

    function repay(uint256 assets, address) external returns (uint256) {
        return _take(assets);
    }

    function _take(uint256 assets) private returns (uint256) {
        TestToken(StandInVault(address(this)).asset()).transferFrom(msg.sender, address(this), assets);
        return assets;
    }
}

/// @notice The guard on the stand-in for Euler: what it knows of a sub-account, and that shares move between them.
contract EulerTest is EulerSetting {
    /* ENROLMENT */

    function test_EnrolsASubAccountWithItsVaults() public view {
        IMarginGuard.Account memory account = guard.account(MAIN);
        assertTrue(account.protocol == IMarginGuard.Protocol.Euler);
        assertEq(account.holder, owner);
        assertEq(account.target, address(evc));
        assertEq(account.key, bytes32(uint256(1)));
        assertEq(account.assets.length, 2);
        assertEq(account.assets[WETH].underlying, address(weth));
        assertEq(account.assets[WETH].form, address(eWeth));
        assertEq(account.assets[WETH].debt, address(eWeth));
        assertEq(account.assets[USDC].underlying, address(usdc));
        assertEq(account.assets[USDC].form, address(eUsdc));
        assertEq(account.assets[USDC].debt, address(eUsdc));
    }

    function test_EnrolsTheLastSubAccount() public {
        assertEq(_enrol(_eulerAccount(255)), FREE + 1);
    }

    function test_RevertIf_TheKeyIsNoSubAccount() public {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = _eulerAccount(3);
        list[0].key = bytes32(uint256(256));
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(EulerV2.NotASubAccount.selector, bytes32(uint256(256))));
        guard.enrol(list);
    }

    function test_RevertIf_AVaultBelongsToAnotherEVC() public {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = _eulerAccount(3);
        list[0].target = address(new StandInEVC());
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(EulerV2.VaultOfAnotherEVC.selector, address(eWeth), list[0].target));
        guard.enrol(list);
    }

    function test_RevertIf_ASubAccountIsEnrolledTwice() public {
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](1);
        list[0] = _eulerAccount(1);
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IMarginGuard.AlreadyEnrolled.selector, MAIN));
        guard.enrol(list);
    }

    /* HEALTH */

    function test_HealthIsTheControllersOwnAtTheLiquidationLTV() public {
        assertEq(guard.health(MAIN), _eulerHealth(1));
        assertApproxEqAbs(guard.health(MAIN), 1.4167e18, 1e14);
        assertEq(guard.health(SECOND), _eulerHealth(2));
        ethFeed.setAnswer(1_400e8);
        _pass(30 days);
        assertEq(guard.health(MAIN), _eulerHealth(1));
        assertLt(guard.health(MAIN), 1e18);
    }

    function test_HealthFallsAsALoweredLTVIsReached() public {
        eUsdc.setLTV(address(eWeth), 0.7e4, 0.75e4, 10 days);
        assertApproxEqAbs(guard.health(MAIN), 1.4167e18, 1e14);
        _pass(5 days);
        assertEq(guard.health(MAIN), _eulerHealth(1));
        assertApproxEqAbs(guard.health(MAIN), 1.3333e18, 1e15); // 80 %
        _pass(5 days);
        assertApproxEqAbs(guard.health(MAIN), 1.25e18, 2e15);
    }

    function test_AnAccountWithoutAControllerHasNoDebt() public {
        assertEq(guard.health(FREE), NO_DEBT);
    }

    function test_AnAccountThatOwesItsControllerNothingHasNoDebt() public {
        vm.prank(owner);
        evc.enableController(owner, address(eUsdc));
        assertEq(guard.health(FREE), NO_DEBT);
        _assertSaved(_shares(FREE, 1 ether));
    }

    function test_RevertIf_APriceIsTooOldForHealthToBeRead() public {
        vm.warp(block.timestamp + MAX_STALENESS + 1);
        bytes memory tooStale =
            abi.encodeWithSelector(StandInAdapter.PriceOracle_TooStale.selector, MAX_STALENESS + 1, MAX_STALENESS);
        vm.expectRevert(tooStale);
        guard.health(MAIN);
        assertEq(_refusal(_shares(FREE, 1 ether)), tooStale);
    }

    /* NATIVE */

    function test_MovesSharesFromASubAccountWithDebt() public {
        uint256 shares = eWeth.previewWithdraw(1 ether);
        assertLt(shares, 0.9995 ether); // a month of interest
        (uint256 main, uint256 second) = (eWeth.balanceOf(_sub(1)), eWeth.balanceOf(_sub(2)));
        IMarginGuard.Result memory result = _assertSaved(_shares(SECOND, 1 ether));
        assertEq(eWeth.balanceOf(_sub(1)), main + shares);
        assertEq(eWeth.balanceOf(_sub(2)), second - shares);
        assertEq(eWeth.allowance(_sub(2), address(guard)), 100 ether - shares);
        assertEq(result.healthAfter, _eulerHealth(1));
        assertApproxEqAbs(result.healthBefore, 1.4167e18, 1e14);
        assertApproxEqAbs(result.healthAfter, 1.5583e18, 1e14); // 11 * 1700 / 12,000
        assertEq(guard.remainingCap(address(weth)), 999 ether);
    }

    function test_MovesSharesFromASubAccountWithoutDebt() public {
        _assertSaved(_shares(FREE, 1 ether));
        assertApproxEqAbs(_held(1, eWeth), 11 ether, 3);
        assertApproxEqAbs(_held(0, eWeth), 4 ether, 3);
    }

    /// @dev What an amount moves is worth it, or by a rounding more, whatever a share is worth by then.
    function testFuzz_WhatMovesIsWorthTheAmount(uint256 amount, uint256 time) public {
        amount = bound(amount, 1, 1.2 ether);
        _pass(bound(time, 0, 365 days));
        _setCap(address(weth), 10 ether, 1 days);
        uint256 before = eWeth.balanceOf(_sub(1));
        _assertSaved(_shares(FREE, uint128(amount)));
        uint256 moved = eWeth.balanceOf(_sub(1)) - before;
        assertGe(eWeth.convertToAssets(moved), amount);
        assertLe(eWeth.convertToAssets(moved), amount + 2);
    }

    /// @dev Shares change hands where nothing could be withdrawn.
    function test_MovesSharesWhereAllIsLentOut() public {
        _lendOutAllWeth();
        _assertSaved(_shares(FREE, 1 ether));
    }

    /// @dev Lockdown shuts the EVC's doors, not the vaults': the owner's ways to stop are the allowance and `pause`.
    function test_LockdownDoesNotStopAnAllowance() public {
        bytes19 prefix = evc.getAddressPrefix(owner);
        vm.prank(owner);
        evc.setLockdownMode(prefix, true);
        _assertSaved(_shares(SECOND, 1 ether));
        vm.prank(owner);
        guard.pause();
        bytes32 planId = _nextPlanId();
        vm.prank(keeper);
        vm.expectRevert(IMarginGuard.GuardIsPaused.selector);
        guard.rebalance(planId, block.timestamp, _batch(_shares(SECOND, 1 ether)));
    }

    function test_RevertIf_ADonorEndsBelowItsHardFloor() public {
        IMarginGuard.Policy memory policy = _policy();
        (policy.hardFloor, policy.minAfter) = (1.2e18, 1.2e18);
        vm.prank(owner);
        guard.setPolicy(SECOND, policy);
        ethFeed.setAnswer(1_650e8); // main 1.169, second 2.805
        bytes memory reason = _refusal(_shares(SECOND, 12 ether)); // leaves 8 * 1402.5 / 10,000
        assertEq(bytes4(reason), IMarginGuard.DonorBelowHardFloor.selector);
    }

    /// @dev The vault wants more of a donor than 1 at the liquidation LTV: here 85/80. Why it refused is not passed on.
    function test_RevertIf_ADonorEndsBelowItsBorrowLTV() public {
        ethFeed.setAnswer(1_650e8);
        uint128 most = 12.4e18; // leaves 7.6 * 1402.5 / 10,000 = 1.0659
        IMarginGuard.Rescue memory rescue = _shares(SECOND, most + 0.1e18);
        assertEq(_refusal(rescue), abi.encodeWithSelector(Token.TokenCallFailed.selector, address(eWeth)));
        _assertSaved(_shares(SECOND, most));
    }

    function test_RevertIf_ADonorIsBelowItsBorrowLTVAlready() public {
        _openSub(3, eWeth, 10 ether, 15_900e6);
        _permit(3, eWeth, 10 ether);
        uint16 index = _enrol(_eulerAccount(3));
        _openSub(4, eDai, 20_000e18, 10_000e6);
        _depositFor(_sub(3), eUsdc, 1_000e6); // not even its collateral
        _permit(3, eUsdc, 1_000e6);
        ethFeed.setAnswer(1_960e8); // 16,660 at 85 %, 15,680 at 80 %
        uint16 short = _enrol(_eulerAccount(4));
        IMarginGuard.Rescue memory rescue = _rescue(short, _transfer(IMarginGuard.Kind.Native, index, USDC, USDC, 1e6));
        assertEq(_refusal(rescue), abi.encodeWithSelector(Token.TokenCallFailed.selector, address(eUsdc)));
    }

    function test_RevertIf_TheAllowanceIsUsedUp() public {
        _permit(0, eWeth, eWeth.previewWithdraw(1 ether) - 1);
        assertEq(
            _refusal(_shares(FREE, 1 ether)), abi.encodeWithSelector(Token.TokenCallFailed.selector, address(eWeth))
        );
        _permit(0, eWeth, eWeth.previewWithdraw(1 ether));
        _assertSaved(_shares(FREE, 1 ether));
        assertEq(eWeth.allowance(owner, address(guard)), 0);
    }

    function test_RevertIf_TransfersAreDisabled() public {
        eWeth.setHookConfig(address(0), TRANSFER_OP);
        assertEq(
            _refusal(_shares(FREE, 1 ether)), abi.encodeWithSelector(Token.TokenCallFailed.selector, address(eWeth))
        );
    }

    function test_RevertIf_ItIsWorthNoMoreThanItOwes() public {
        ethFeed.setAnswer(1_199e8); // 11,990 USD against 12,000
        bytes memory reason = _refusal(_shares(FREE, 1 ether));
        assertEq(bytes4(reason), IMarginGuard.RecipientWorthNoMoreThanItOwes.selector);
        ethFeed.setAnswer(1_201e8);
        reason = _refusal(_shares(FREE, 1));
        assertEq(bytes4(reason), IMarginGuard.RecipientBelowMinimum.selector);
    }

    function test_RevertIf_TheRecipientOwesNothing() public {
        IMarginGuard.Rescue memory rescue =
            _rescue(FREE, _transfer(IMarginGuard.Kind.Native, SECOND, WETH, WETH, 1 ether));
        assertEq(_refusal(rescue), abi.encodeWithSelector(IMarginGuard.RecipientHasNoDebt.selector, FREE));
    }

    /// @dev Shares that the recipient never enabled as collateral arrive, but save nothing.
    function test_RevertIf_WhatIsReceivedDoesNotBackTheDebt() public {
        _openSub(3, eDai, 20_000e18, 13_900e6); // 15,000 / 13,900
        uint16 index = _enrol(_eulerAccount(3));
        IMarginGuard.Rescue memory rescue =
            _rescue(index, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether));
        assertEq(bytes4(_refusal(rescue)), IMarginGuard.RecipientBelowMinimum.selector);
        vm.prank(owner);
        evc.enableCollateral(_sub(3), address(eWeth));
        _assertSaved(rescue);
    }

    /// @dev The vault would let it give, for the WETH alone covers its debt; but then the guard could not tell its health.
    function test_RevertIf_OneOfADonorsCollateralsHasNoPrice() public {
        _depositFor(_sub(2), eDai, 1_000e18);
        vm.prank(owner);
        evc.enableCollateral(_sub(2), address(eDai));
        daiFeed.setAnswer(0);
        assertEq(
            _refusal(_shares(SECOND, 1 ether)),
            abi.encodeWithSelector(StandInAdapter.PriceOracle_InvalidAnswer.selector)
        );
    }

    /* CONTROLLERS */

    /// @dev What an operator enabled stays when it is dismissed: what moved into that sub-account would be the thief's.
    function test_RevertIf_TheControllerIsNotEnrolled() public {
        LyingController lying = new LyingController();
        vm.prank(owner);
        evc.setAccountOperator(_sub(3), thief, true);
        vm.startPrank(thief);
        evc.enableController(_sub(3), address(lying));
        evc.enableCollateral(_sub(3), address(eWeth));
        vm.stopPrank();
        vm.prank(owner);
        evc.setAccountOperator(_sub(3), thief, false);
        uint16 index = _enrol(_eulerAccount(3));
        _permit(3, eWeth, 1 ether);

        bytes memory refusal = abi.encodeWithSelector(EulerV2.ControllerIsNotEnrolled.selector, address(lying));
        assertEq(_refusal(_rescue(index, _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether))), refusal);
        _depositFor(_sub(3), eWeth, 1 ether);
        assertEq(_refusal(_shares(index, 0.1 ether)), refusal);
        lying.seize(evc, eWeth, _sub(3), thief);
        assertApproxEqAbs(eWeth.convertToAssets(eWeth.balanceOf(thief)), 1 ether, 3);
    }

    /// @dev A vault that an account owes to is one of its assets, or nothing can be said of the account.
    function test_RevertIf_TheVaultThatIsOwedToIsNotListed() public {
        _openSub(3, eWeth, 10 ether, 12_000e6);
        IMarginGuard.Enrolment memory enrolment = _eulerAccount(3);
        enrolment.assets = new address[](1);
        enrolment.assets[0] = address(eWeth);
        uint16 index = _enrol(enrolment);
        vm.expectRevert(abi.encodeWithSelector(EulerV2.ControllerIsNotEnrolled.selector, address(eUsdc)));
        guard.health(index);
    }

    /* WITHIN A BATCH OF THE EVC */

    function test_RevertIf_ChecksOfTheRecipientAreDeferred() public {
        assertEq(
            _refusalInABatch(_shares(FREE, 1 ether)),
            abi.encodeWithSelector(EulerV2.ChecksAreDeferred.selector, address(evc))
        );
    }

    function test_RevertIf_ChecksOfADonorAreDeferred() public {
        assertEq(
            _refusalInABatch(_rescue(A, _transfer(IMarginGuard.Kind.Cross, SECOND, WETH, 0, 1 ether))),
            abi.encodeWithSelector(EulerV2.ChecksAreDeferred.selector, address(evc))
        );
    }

    function _refusalInABatch(IMarginGuard.Rescue memory rescue) private returns (bytes memory) {
        BatchingKeeper batching = new BatchingKeeper(evc, guard);
        vm.prank(owner);
        guard.setKeeper(address(batching));
        try batching.rebalanceInABatch(_nextPlanId(), _batch(rescue)) {
            revert("the rescue was carried out");
        } catch (bytes memory answer) {
            return _nothingRescued(answer)[0].reason;
        }
    }

    /* CROSS */

    function test_MovesFromEulerToMorpho() public {
        _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Cross, SECOND, WETH, 0, 1 ether)));
        assertEq(_collateral(usdc86), 11 ether);
        assertApproxEqAbs(_held(2, eWeth), 19 ether, 3);
    }

    function test_MovesFromMorphoToEuler() public {
        IMarginGuard.Result memory result =
            _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)));
        assertEq(_collateral(usdc77), 9 ether);
        assertApproxEqAbs(_held(1, eWeth), 11 ether, 3);
        assertEq(result.healthAfter, _eulerHealth(1));
    }

    function test_MovesFromTheWalletToEuler() public {
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, WALLET, 0, WETH, 1 ether)));
        assertApproxEqAbs(_held(1, eWeth), 11 ether, 3);
    }

    function test_MovesNativelyAndAcrossInOneRescue() public {
        IMarginGuard.Result memory result = _assertSaved(
            _rescue(
                MAIN,
                _transfer(IMarginGuard.Kind.Native, FREE, WETH, WETH, 1 ether),
                _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)
            )
        );
        assertApproxEqAbs(result.healthAfter, 1.7e18, 1e14); // 12 * 1700 / 12,000
    }

    function test_MovesBetweenTwoVaultsOfTheSameToken() public {
        StandInVault prime = _vault(weth, ethFeed);
        _depositFor(_sub(3), prime, 2 ether);
        _permit(3, prime, 2 ether);
        IMarginGuard.Enrolment memory enrolment = _eulerAccount(3);
        enrolment.assets[WETH] = address(prime);
        uint16 index = _enrol(enrolment);
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, index, WETH, WETH, 1 ether)));
        assertApproxEqAbs(_held(3, prime), 1 ether, 3);
        assertApproxEqAbs(_held(1, eWeth), 11 ether, 3);
    }

    function test_MovesAcrossAfterAYearOfInterest() public {
        _pass(365 days);
        _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1.234567890123456789 ether)));
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, D, 0, WETH, 1.234567890123456789 ether)));
    }

    function test_MovesAcrossWhereTransfersAreDisabled() public {
        eWeth.setHookConfig(address(0), TRANSFER_OP);
        _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1 ether)));
    }

    function test_RevertIf_WithdrawalsAreDisabled() public {
        eWeth.setHookConfig(address(0), WITHDRAW_OP);
        assertEq(
            _refusal(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1 ether))),
            abi.encodeWithSelector(StandInVault.E_OperationDisabled.selector)
        );
    }

    function test_RevertIf_DepositsAreDisabled() public {
        eWeth.setHookConfig(address(0), DEPOSIT_OP);
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether))),
            abi.encodeWithSelector(StandInVault.E_OperationDisabled.selector)
        );
    }

    function test_RevertIf_WhatIsWithdrawnIsLentOut() public {
        _lendOutAllWeth();
        assertEq(
            _refusal(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1 ether))),
            abi.encodeWithSelector(StandInVault.E_InsufficientCash.selector)
        );
    }

    function test_RevertIf_TheAllowanceDoesNotCoverAWithdrawal() public {
        _permit(0, eWeth, eWeth.previewWithdraw(1 ether) - 1);
        assertEq(
            _refusal(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1 ether))),
            abi.encodeWithSelector(StandInVault.E_InsufficientAllowance.selector)
        );
    }

    function test_RevertIf_AWithdrawalLeavesADonorBelowItsBorrowLTV() public {
        ethFeed.setAnswer(1_650e8);
        assertEq(
            _refusal(_rescue(A, _transfer(IMarginGuard.Kind.Cross, SECOND, WETH, 0, 12.5 ether))),
            abi.encodeWithSelector(StandInVault.E_AccountLiquidity.selector)
        );
    }

    function test_RevertIf_KindsAreMixedUp() public {
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, WETH, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.WrongKind.selector, FREE, MAIN, IMarginGuard.Kind.Native)
        );
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Native, B, 0, WETH, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.WrongKind.selector, B, MAIN, IMarginGuard.Kind.Cross)
        );
    }

    function test_RevertIf_AnotherTokenIsSupplied() public {
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, USDC, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.UnderlyingsDiffer.selector, address(weth), address(usdc))
        );
    }

    /* REPAY */

    function test_RepaysFromTheWallet() public {
        address other = makeAddr("holder of USDC");
        usdc.mint(other, 5_000e6);
        vm.startPrank(other);
        guard.join();
        usdc.approve(address(guard), 5_000e6);
        vm.stopPrank();
        uint16 index = _enrol(_walletAccount(other, address(usdc)));
        IMarginGuard.Result memory result =
            _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, index, 0, USDC, 2_000e6)));
        assertEq(eUsdc.debtOf(_sub(1)), 10_000e6);
        assertEq(usdc.balanceOf(other), 3_000e6);
        assertApproxEqAbs(result.healthAfter, 1.7e18, 1e14); // 17,000 / 10,000
    }

    function test_RepaysWithTheSharesOfAnotherSubAccount() public {
        uint256 held = _held(0, eUsdc);
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 2_000e6)));
        assertEq(eUsdc.debtOf(_sub(1)), 10_000e6);
        assertApproxEqAbs(_held(0, eUsdc), held - 2_000e6, 3);
    }

    function test_RepaysAMorphoLoanFromEuler() public {
        IMarginGuard.Result memory result =
            _assertSaved(_rescue(A, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, 1, 1_500e6)));
        assertApproxEqAbs(result.healthAfter, 1.3742e18, 1e14); // 17,200 / 12,500 and a month's interest
    }

    function test_RepaysAfterAYearOfInterest() public {
        _pass(365 days);
        uint256 owed = eUsdc.debtOf(_sub(1));
        assertApproxEqAbs(owed, 12_378.4e6, 1e6);
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 1_234.567891e6)));
        assertEq(eUsdc.debtOf(_sub(1)), owed - 1_234.567891e6);
    }

    function test_RepaysAndAddsSharesInOneRescue() public {
        IMarginGuard.Rescue memory rescue = _rescue(
            MAIN,
            _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 2_000e6),
            _transfer(IMarginGuard.Kind.Native, SECOND, WETH, WETH, 1 ether)
        );
        rescue.gas = 1_000_000;
        assertApproxEqAbs(_assertSaved(rescue).healthAfter, 1.87e18, 1e14); // 18,700 / 10,000
    }

    function test_RevertIf_MoreIsRepaidThanIsOwed() public {
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 12_000e6 + 1))),
            abi.encodeWithSelector(StandInVault.E_RepayTooMuch.selector)
        );
    }

    function test_RevertIf_TheWholeDebtIsRepaid() public {
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 12_000e6))),
            abi.encodeWithSelector(IMarginGuard.RecipientAboveMaximum.selector, MAIN, NO_DEBT, MAX_AFTER)
        );
    }

    function test_RevertIf_NothingIsOwedOfTheAsset() public {
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, WETH, WETH, 1 ether))),
            abi.encodeWithSelector(StandInVault.E_RepayTooMuch.selector)
        );
    }

    /* VAULTS THAT DO SOMETHING ELSE */

    function test_RevertIf_AVaultCountsMoreSharesThanTheAmountIsWorth() public {
        vm.mockCall(address(eWeth), abi.encodeCall(eWeth.previewWithdraw, (1 ether)), abi.encode(2 ether));
        bytes memory reason = _refusal(_shares(FREE, 1 ether));
        assertEq(bytes4(reason), IMarginGuard.DebitDiffers.selector);
    }

    function test_RevertIf_AVaultSaysThatItMovedShares() public {
        vm.mockCall(address(eWeth), abi.encodeWithSelector(eWeth.transferFrom.selector), abi.encode(true));
        bytes memory reason = _refusal(_shares(FREE, 1 ether));
        assertEq(bytes4(reason), IMarginGuard.DebitDiffers.selector);
    }

    /// @dev It lowers what is booked, and keeps the tokens.
    function test_RevertIf_AWithdrawalBringsNothing() public {
        vm.mockCall(address(weth), abi.encodeCall(weth.transfer, (address(guard), 1 ether)), abi.encode(true));
        assertEq(
            _refusal(_rescue(A, _transfer(IMarginGuard.Kind.Cross, FREE, WETH, 0, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.ReceivedAmountDiffers.selector, address(weth), 1 ether, 0)
        );
    }

    function test_RevertIf_ADepositIsNotTaken() public {
        vm.mockCall(address(eWeth), abi.encodeWithSelector(eWeth.deposit.selector), abi.encode(1 ether));
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether))),
            abi.encodeWithSelector(Token.AllowanceLeft.selector, address(weth), address(eWeth), 1 ether)
        );
    }

    function test_RevertIf_ARepaymentIsNotTaken() public {
        vm.mockCall(address(eUsdc), abi.encodeWithSelector(eUsdc.repay.selector), abi.encode(2_000e6));
        assertEq(
            _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 2_000e6))),
            abi.encodeWithSelector(Token.AllowanceLeft.selector, address(usdc), address(eUsdc), 2_000e6)
        );
    }

    /// @dev It takes the tokens, and books nothing.
    function test_RevertIf_WhatIsDepositedIsNotBooked() public {
        vm.mockFunction(
            address(eWeth), address(new TakesAndBooksNothing()), abi.encodeWithSelector(eWeth.deposit.selector)
        );
        bytes memory reason = _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, B, 0, WETH, 1 ether)));
        assertEq(bytes4(reason), IMarginGuard.CreditDiffers.selector);
    }

    function test_RevertIf_WhatIsRepaidIsNotBooked() public {
        vm.mockFunction(
            address(eUsdc), address(new TakesAndBooksNothing()), abi.encodeWithSelector(eUsdc.repay.selector)
        );
        bytes memory reason = _refusal(_rescue(MAIN, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 2_000e6)));
        assertEq(bytes4(reason), IMarginGuard.RepaymentDiffers.selector);
    }

    function _lendOutAllWeth() private {
        _depositFor(borrower, eUsdc, 5_000_000e6);
        uint256 cash = eWeth.cash();
        vm.prank(borrower);
        eWeth.borrow(cash, borrower);
        assertEq(eWeth.cash(), 0);
    }
}

/// @notice From Euler to the real Aave v3.6 and back, where the owner's account holds 10 WETH and owes 12,000 USDC as well.
contract EulerAndAaveTest is EulerSetting, AaveMarket {
    uint16 private constant AAVE = 8;

    function setUp() public override {
        super.setUp();
        Listing[] memory listings = new Listing[](2);
        listings[0] = Listing(weth, ethFeed, 8_050, 8_300, 10_500);
        listings[1] = Listing(usdc, usdcFeed, 7_500, 7_800, 10_450);
        _deployAave(listings, lender, 1_000_000);
        _supplyFor(owner, weth, 10 ether);
        _borrowFor(owner, usdc, 12_000e6);
        TestToken aWeth = _aToken(weth);
        vm.prank(owner);
        aWeth.approve(address(guard), 10 ether);
        address[] memory assets = new address[](2);
        (assets[WETH], assets[USDC]) = (address(weth), address(usdc));
        _enrol(IMarginGuard.Enrolment(IMarginGuard.Protocol.Aave, owner, address(pool), 0, assets, _policy()));
    }

    function test_MovesFromEulerToAave() public {
        _assertSaved(_rescue(AAVE, _transfer(IMarginGuard.Kind.Cross, SECOND, WETH, WETH, 1 ether)));
        assertApproxEqAbs(_aToken(weth).balanceOf(owner), 11 ether, 2);
        assertApproxEqAbs(_held(2, eWeth), 19 ether, 3);
    }

    function test_MovesFromAaveToEuler() public {
        _assertSaved(_rescue(MAIN, _transfer(IMarginGuard.Kind.Cross, AAVE, WETH, WETH, 1 ether)));
        assertApproxEqAbs(_aToken(weth).balanceOf(owner), 9 ether, 2);
        assertApproxEqAbs(_held(1, eWeth), 11 ether, 3);
    }

    function test_RepaysAnAaveLoanFromEuler() public {
        _assertSaved(_rescue(AAVE, _transfer(IMarginGuard.Kind.Repay, FREE, USDC, USDC, 2_000e6)));
        assertApproxEqAbs(_aaveHealth(owner), 1.66e18, 1e14); // 16,600 / 10,000
    }
}
