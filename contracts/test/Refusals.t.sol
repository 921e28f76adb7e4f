// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {IMorpho} from "../src/interfaces/IMorpho.sol";
import {Setting} from "./Setting.sol";

/// @notice Each reason for which a single rescue is not carried out, with the amounts just inside and just outside it.
contract RefusalsTest is Setting {
    /* THE RECIPIENT */

    function test_RevertIf_RecipientIsUnknown() public {
        _assertRefused(_rescue(5, _native(B, 1)), abi.encodeWithSelector(IMarginGuard.AccountUnknown.selector, 5));
    }

    function test_RevertIf_RecipientIsRetired() public {
        _retire(A);
        _assertRefused(_rescue(A, _native(B, 1)), abi.encodeWithSelector(IMarginGuard.AccountIsRetired.selector, A));
    }

    function test_RevertIf_RecipientHasNoDebt() public {
        _assertRefused(_rescue(D, _native(B, 1)), abi.encodeWithSelector(IMarginGuard.RecipientHasNoDebt.selector, D));
    }

    function test_RevertIf_RecipientIsTheWallet() public {
        _assertRefused(
            _rescue(WALLET, _cross(B, 1)), abi.encodeWithSelector(IMarginGuard.RecipientHasNoDebt.selector, WALLET)
        );
    }

    function test_RevertIf_RecipientIsHealthy() public {
        // A stands at 1.228571428571428571.
        _setPolicy(A, 1_228571428571428571, 1.1e18, 1.05e18);
        _assertRefused(
            _rescue(A, _native(D, 1 ether)),
            abi.encodeWithSelector(
                IMarginGuard.RecipientIsHealthy.selector, A, 1_228571428571428571, 1_228571428571428571
            )
        );
        _setPolicy(A, 1_228571428571428570, 1.1e18, 1.05e18);
        _assertRefused(
            _rescue(A, _native(D, 1 ether)),
            abi.encodeWithSelector(
                IMarginGuard.RecipientIsHealthy.selector, A, 1_228571428571428571, 1_228571428571428570
            )
        );
        _setPolicy(A, 1_228571428571428572, 1.1e18, 1.05e18);
        _assertCarriedOut(_rescue(A, _native(D, 1 ether)));
    }

    /// @dev 10 WETH back 14000 USDC with 86 %: at 1400 they are worth just that, and lenders would lose on the rest.
    function test_RevertIf_RecipientIsWorthNoMoreThanItOwes() public {
        IMarginGuard.Rescue memory rescue = _rescue(A, _native(D, 10 ether));
        ethFeed.setAnswer(1_400e8);
        _assertRefused(
            rescue, abi.encodeWithSelector(IMarginGuard.RecipientWorthNoMoreThanItOwes.selector, A, 0.86e18, 0.86e18)
        );
        ethFeed.setAnswer(700e8);
        _assertRefused(
            rescue, abi.encodeWithSelector(IMarginGuard.RecipientWorthNoMoreThanItOwes.selector, A, 0.43e18, 0.86e18)
        );
        ethFeed.setAnswer(1_400.0001e8);
        _assertCarriedOut(rescue);
    }

    function test_RevertIf_RecipientEndsAboveMaxAfter() public {
        // With one WETH more A stands at 1.351428571428571428.
        _setPolicy(A, IMarginGuard.Policy(1.3e18, 1.1e18, 1_351428571428571427, 1.05e18));
        _assertRefused(
            _rescue(A, _native(D, 1 ether)),
            abi.encodeWithSelector(
                IMarginGuard.RecipientAboveMaximum.selector, A, 1_351428571428571428, 1_351428571428571427
            )
        );
        _setPolicy(A, IMarginGuard.Policy(1.3e18, 1.1e18, 1_351428571428571428, 1.05e18));
        _assertCarriedOut(_rescue(A, _native(D, 1 ether)));
    }

    function test_RevertIf_RecipientStaysBelowMinAfter() public {
        // With one WETH more A stands at 1.351428571428571428.
        _setPolicy(A, 1.6e18, 1_351428571428571429, 1.05e18);
        _assertRefused(
            _rescue(A, _native(D, 1 ether)),
            abi.encodeWithSelector(
                IMarginGuard.RecipientBelowMinimum.selector, A, 1_351428571428571428, 1_351428571428571429
            )
        );
        _setPolicy(A, 1.6e18, 1_351428571428571428, 1.05e18);
        _assertCarriedOut(_rescue(A, _native(D, 1 ether)));
    }

    /// @dev Nobody accrued for a year: at the debt of then the account would end above `minAfter`.
    function test_RevertIf_RecipientStaysBelowMinAfterWithItsInterest() public {
        ethFeed.setAnswer(1_700e8); // A at 17000 * 0.86 / 14000 = 1.0443 without interest
        uint256 state = vm.snapshotState();
        _rebalance(_batch(_rescue(A, _native(D, 0.6 ether)))); // 1.1069
        vm.revertToState(state);
        vm.warp(block.timestamp + 365 days);
        bytes memory reason = _refusal(_rescue(A, _native(D, 0.6 ether)));
        assertEq(bytes4(reason), IMarginGuard.RecipientBelowMinimum.selector);
        assertEq(_collateral(usdc86), 10 ether);
    }

    function test_RevertIf_RecipientStaysBelowWhatTheKeeperWants() public {
        IMarginGuard.Rescue memory rescue = _rescue(A, _native(D, 1 ether));
        rescue.minHealthAfter = 1_351428571428571429;
        _assertRefused(
            rescue,
            abi.encodeWithSelector(
                IMarginGuard.RecipientBelowMinimum.selector, A, 1_351428571428571428, 1_351428571428571429
            )
        );
        rescue.minHealthAfter = 1_351428571428571428;
        _assertCarriedOut(rescue);
    }

    function test_RevertIf_KeeperWantsLessThanMinAfter() public {
        _setPolicy(A, 1.6e18, 1.5e18, 1.05e18);
        IMarginGuard.Rescue memory rescue = _rescue(A, _native(D, 1 ether));
        rescue.minHealthAfter = 1e18;
        _assertRefused(
            rescue, abi.encodeWithSelector(IMarginGuard.RecipientBelowMinimum.selector, A, 1_351428571428571428, 1.5e18)
        );
    }

    function test_RevertIf_RecipientEndsWorseThanItBegan() public {
        // The price falls by 8 % while the collateral moves: 10.5 WETH then cover the debt 1.1868 times, more than minAfter.
        _setPolicy(A, 1.6e18, 1.01e18, 1.005e18);
        PriceDropper dropper = new PriceDropper(usdcOracle.price(), usdcOracle.price() * 92 / 100);
        vm.etch(address(usdcOracle), address(dropper).code);
        vm.store(address(usdcOracle), 0, vm.load(address(dropper), 0));
        vm.store(address(usdcOracle), bytes32(uint256(1)), vm.load(address(dropper), bytes32(uint256(1))));
        dropper = PriceDropper(address(usdcOracle));
        dropper.dropWhenCollateralReaches(IMorpho(address(morpho)), _id(usdc86), owner, 10 ether);
        _assertRefused(
            _rescue(A, _native(D, 0.5 ether)),
            abi.encodeWithSelector(
                IMarginGuard.RecipientBelowMinimum.selector, A, 1_186800000000000000, 1_228571428571428571
            )
        );
    }

    /* THE DONOR */

    function test_RevertIf_DonorIsUnknown() public {
        _assertRefused(_rescue(A, _native(5, 1)), abi.encodeWithSelector(IMarginGuard.AccountUnknown.selector, 5));
        _assertRefused(
            _rescue(A, _native(65_535, 1)), abi.encodeWithSelector(IMarginGuard.AccountUnknown.selector, 65_535)
        );
    }

    function test_RevertIf_DonorIsRetired() public {
        _retire(D);
        _assertRefused(_rescue(A, _native(D, 1)), abi.encodeWithSelector(IMarginGuard.AccountIsRetired.selector, D));
    }

    function test_RevertIf_DonorIsRecipient() public {
        _assertRefused(_rescue(A, _native(A, 1)), abi.encodeWithSelector(IMarginGuard.DonorIsRecipient.selector, A));
    }

    function test_RevertIf_DonorEndsBelowItsHardFloor() public {
        // B with 9 WETH stands at 1.98.
        _setPolicy(B, 3e18, 2e18, 1.98e18 + 1);
        _assertRefused(
            _rescue(A, _native(B, 1 ether)),
            abi.encodeWithSelector(IMarginGuard.DonorBelowHardFloor.selector, B, 1.98e18, 1.98e18 + 1)
        );
        _setPolicy(B, 3e18, 2e18, 1.98e18);
        _assertCarriedOut(_rescue(A, _native(B, 1 ether)));
    }

    function test_RevertIf_ADonorThatGivesTwiceEndsBelowItsHardFloor() public {
        _setPolicy(B, 3e18, 2e18, 1.98e18);
        _assertRefused(
            _rescue(A, _native(B, 1 ether), _native(B, 1)),
            abi.encodeWithSelector(IMarginGuard.DonorBelowHardFloor.selector, B, 1_979999999857142857, 1.98e18)
        );
    }

    function test_RevertIf_TheSecondDonorEndsBelowItsHardFloor() public {
        _setPolicy(B, 3e18, 2e18, 1.98e18);
        _assertRefused(
            _rescue(A, _native(D, 1 ether), _native(B, 2 ether)),
            abi.encodeWithSelector(IMarginGuard.DonorBelowHardFloor.selector, B, 1.76e18, 1.98e18)
        );
    }

    function test_RevertIf_DonorHasLess() public {
        _assertRefusedBy(_rescue(A, _native(D, 10 ether + 1)), bytes4(0x4e487b71)); // Morpho's own arithmetic: Panic
        _assertCarriedOut(_rescue(A, _native(D, 10 ether)));
    }

    /* THE HOLDER */

    function test_AHolderThatJoinedTakesPart() public {
        uint16 friends = _enrolFriend();
        vm.prank(friend);
        guard.join();
        assertTrue(guard.account(friends).joined);
        _assertCarriedOut(_rescue(A, _native(friends, 1 ether)));
        _assertCarriedOut(_rescue(friends, _native(D, 1 ether)));
    }

    function test_RevertIf_HolderHasNotJoined() public {
        uint16 friends = _enrolFriend();
        assertFalse(guard.account(friends).joined);
        bytes memory refusal = abi.encodeWithSelector(IMarginGuard.HolderHasNotJoined.selector, friends, friend);
        _assertRefused(_rescue(A, _native(friends, 1 ether)), refusal);
        _assertRefused(_rescue(friends, _native(D, 1 ether)), refusal);
    }

    function test_RevertIf_HolderLeft() public {
        uint16 friends = _enrolFriend();
        vm.startPrank(friend);
        guard.join();
        guard.leave();
        vm.stopPrank();
        bytes memory refusal = abi.encodeWithSelector(IMarginGuard.HolderHasNotJoined.selector, friends, friend);
        _assertRefused(_rescue(A, _native(friends, 1 ether)), refusal);
        _assertRefused(_rescue(friends, _native(D, 1 ether)), refusal);
    }

    function test_AnotherHoldersJoiningIsNotEnough() public {
        uint16 friends = _enrolFriend();
        vm.prank(thief);
        guard.join();
        _assertRefused(
            _rescue(A, _native(friends, 1 ether)),
            abi.encodeWithSelector(IMarginGuard.HolderHasNotJoined.selector, friends, friend)
        );
    }

    function test_TheOwnerTakesPartWithoutJoining() public {
        vm.prank(owner);
        guard.leave();
        _assertCarriedOut(_rescue(A, _native(D, 1 ether)));
    }

    /* THE TRANSFER */

    function test_RevertIf_AmountIsZero() public {
        _assertRefused(_rescue(A, _native(D, 0)), abi.encodeWithSelector(IMarginGuard.AmountIsZero.selector));
        _assertRefused(
            _rescue(A, _native(D, 1 ether), _native(B, 0)), abi.encodeWithSelector(IMarginGuard.AmountIsZero.selector)
        );
    }

    function test_RevertIf_KindIsWrong() public {
        _assertRefused(
            _rescue(A, _cross(D, 1 ether)),
            abi.encodeWithSelector(IMarginGuard.WrongKind.selector, D, A, IMarginGuard.Kind.Native)
        );
        _assertRefused(
            _rescue(A, _native(WALLET, 1 ether)),
            abi.encodeWithSelector(IMarginGuard.WrongKind.selector, WALLET, A, IMarginGuard.Kind.Cross)
        );
    }

    function test_RevertIf_AssetIsUnknown() public {
        IMarginGuard.Transfer memory transfer = _native(D, 1 ether);
        transfer.fromAsset = 2;
        _assertRefused(_rescue(A, transfer), abi.encodeWithSelector(IMarginGuard.AssetUnknown.selector, D, 2));
        transfer.fromAsset = 0;
        transfer.toAsset = 2;
        _assertRefused(_rescue(A, transfer), abi.encodeWithSelector(IMarginGuard.AssetUnknown.selector, A, 2));
        transfer = _cross(WALLET, 1 ether);
        transfer.fromAsset = 1;
        _assertRefused(_rescue(A, transfer), abi.encodeWithSelector(IMarginGuard.AssetUnknown.selector, WALLET, 1));
    }

    /// @dev The second asset of a Morpho account is its loan token: it can be repaid, and neither given nor put in.
    function test_RevertIf_AssetDoesNotMove() public {
        IMarginGuard.Transfer memory transfer = _native(D, 1 ether);
        transfer.fromAsset = 1;
        _assertRefused(_rescue(A, transfer), abi.encodeWithSelector(IMarginGuard.AssetDoesNotMove.selector, D, 1));
        transfer.fromAsset = 0;
        transfer.toAsset = 1;
        _assertRefused(_rescue(A, transfer), abi.encodeWithSelector(IMarginGuard.AssetDoesNotMove.selector, A, 1));
    }

    function test_RevertIf_ALaterTransfersAssetIsUnknown() public {
        IMarginGuard.Transfer memory transfer = _native(D, 1 ether);
        transfer.toAsset = 2;
        _assertRefused(
            _rescue(A, _native(D, 1 ether), transfer), abi.encodeWithSelector(IMarginGuard.AssetUnknown.selector, A, 2)
        );
    }

    function test_RevertIf_UnderlyingsDiffer() public {
        usdc.mint(owner, 1e6);
        vm.prank(owner);
        usdc.approve(address(guard), 1e6);
        _retire(WALLET);
        uint16 index = _enrol(_walletAccount(owner, address(usdc)));
        _setCap(address(usdc), 1e6, 1 days);
        _assertRefused(
            _rescue(A, _cross(index, 1e6)), abi.encodeWithSelector(IMarginGuard.UnderlyingsDiffer.selector, usdc, weth)
        );
    }

    /* PERMISSIONS THAT ARE MISSING */

    function test_RevertIf_MorphoAuthorisationIsMissing() public {
        vm.prank(owner);
        morpho.setAuthorization(address(guard), false);
        _assertRefused(_rescue(A, _native(D, 1 ether)), abi.encodeWithSignature("Error(string)", "unauthorized"));
    }

    function test_RevertIf_AllowanceIsTooSmall() public {
        _assertRefusedBy(_rescue(A, _cross(WALLET, 5 ether + 1)), bytes4(keccak256("TokenCallFailed(address)")));
        _assertCarriedOut(_rescue(A, _cross(WALLET, 5 ether)));
    }

    /* THE CAP */

    function test_RevertIf_CapIsExceeded() public {
        _setCap(address(weth), 1 ether, 1 days);
        _assertRefused(
            _rescue(A, _native(D, 1 ether + 1)),
            abi.encodeWithSelector(IMarginGuard.CapExceeded.selector, weth, 1 ether + 1, 1 ether)
        );
        _assertCarriedOut(_rescue(A, _native(D, 1 ether)));
        assertEq(guard.remainingCap(address(weth)), 0);
        _assertRefused(_rescue(A, _native(D, 1)), abi.encodeWithSelector(IMarginGuard.CapExceeded.selector, weth, 1, 0));
    }

    function test_RevertIf_NoCapIsSet() public {
        _setCap(address(weth), 0, 1 days);
        _assertRefused(_rescue(A, _native(D, 1)), abi.encodeWithSelector(IMarginGuard.CapExceeded.selector, weth, 1, 0));
    }

    function test_RevertIf_CapIsExceededInPieces() public {
        _setCap(address(weth), 1 ether, 1 days);
        _assertRefused(
            _rescue(A, _native(D, 0.6 ether), _native(B, 0.4 ether + 1)),
            abi.encodeWithSelector(IMarginGuard.CapExceeded.selector, weth, 0.4 ether + 1, 0.4 ether)
        );
        _assertCarriedOut(_rescue(A, _native(D, 0.6 ether), _cross(WALLET, 0.4 ether)));
    }

    function test_RevertIf_CapIsExceededOverSeveralRescues() public {
        _setCap(address(weth), 1 ether, 1 days);
        IMarginGuard.Result[] memory results = _rebalance(
            _batch(
                _rescue(A, _native(D, 0.6 ether)), _rescue(A, _native(B, 0.5 ether)), _rescue(A, _native(D, 0.4 ether))
            )
        );
        assertTrue(results[0].ok);
        assertEq(
            results[1].reason, abi.encodeWithSelector(IMarginGuard.CapExceeded.selector, weth, 0.5 ether, 0.4 ether)
        );
        assertTrue(results[2].ok);
    }

    /* HELPERS */

    address private friend = makeAddr("friend");

    /// @dev 10 WETH and 14000 USDC of debt, as A, in the hands of somebody else who authorised the guard.
    function _enrolFriend() private returns (uint16) {
        _openFor(friend, usdc86, 10 ether, 14_000e6 - 1_000e6);
        vm.prank(friend);
        morpho.setAuthorization(address(guard), true);
        return _enrol(_morphoAccountOf(friend, usdc86));
    }

    function _setPolicy(uint16 index, uint64 ceiling, uint64 minAfter, uint64 hardFloor) private {
        _setPolicy(index, IMarginGuard.Policy(ceiling, minAfter, MAX_AFTER, hardFloor));
    }

    function _setPolicy(uint16 index, IMarginGuard.Policy memory policy) private {
        vm.prank(owner);
        guard.setPolicy(index, policy);
    }

    function _assertRefused(IMarginGuard.Rescue memory rescue, bytes memory reason) private {
        assertEq(_refusal(rescue), reason);
    }

    function _assertRefusedBy(IMarginGuard.Rescue memory rescue, bytes4 selector) private {
        assertEq(bytes4(_refusal(rescue)), selector);
    }

    function _assertCarriedOut(IMarginGuard.Rescue memory rescue) private {
        assertTrue(_rebalance(_batch(rescue))[0].ok);
    }
}

/// @notice An oracle whose price falls as soon as an account has more collateral than it had.
contract PriceDropper {
    uint256 private _high;
    uint256 private _low;
    IMorpho private _morpho;
    bytes32 private _slot;
    uint256 private _collateral;

    constructor(uint256 high, uint256 low) {
        (_high, _low) = (high, low);
    }

    function dropWhenCollateralReaches(IMorpho morpho, bytes32 id, address holder, uint256 collateral) external {
        bytes32 position = keccak256(abi.encode(holder, keccak256(abi.encode(id, 2))));
        (_morpho, _slot, _collateral) = (morpho, bytes32(uint256(position) + 1), collateral);
    }

    function price() external view returns (uint256) {
        bytes32[] memory slots = new bytes32[](1);
        slots[0] = _slot;
        uint256 collateral = uint256(_morpho.extSloads(slots)[0]) >> 128;
        return collateral > _collateral ? _low : _high;
    }
}
