// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {HostilePool} from "../hostile/HostilePool.sol";
import {Moody} from "../hostile/Moody.sol";
import {Turning} from "../hostile/Turning.sol";
import {Setting} from "../Setting.sol";
import {AbstractToken} from "../symbolic/AbstractProtocol.sol";

/// @notice What a pool of Aave does to its own rescue, it does to no other, and it gains nothing.
/// X holds 10 and owes 7: 10 * 0.83 / 7 = 1.186. Y holds 10 and owes nothing. CASH is a wallet with 5 of the token.
contract HostileAaveTest is Setting {
    uint16 private constant X = 5;
    uint16 private constant Y = 6;
    uint16 private constant CASH = 7;
    uint128 private constant AMOUNT = 1 ether;

    address private other = makeAddr("other");
    HostilePool private pool;
    AbstractToken private token;
    AbstractToken private aToken;

    function setUp() public override {
        super.setUp();
        pool = new HostilePool();
        (token, aToken) = (pool.token(), pool.aToken());
        pool.debtToken().set(owner, 7 ether);
        address[2] memory holders = [owner, other];
        vm.prank(other);
        guard.join();
        for (uint256 i; i < 2; ++i) {
            aToken.set(holders[i], 10 ether);
            aToken.setAllowance(holders[i], address(guard), 10 ether);
            IMarginGuard.Enrolment memory enrolment = _walletAccount(holders[i], address(token));
            enrolment.protocol = IMarginGuard.Protocol.Aave;
            (enrolment.target, enrolment.policy) = (address(pool), _policy());
            _enrol(enrolment);
        }
        token.set(other, 5 ether);
        token.setAllowance(other, address(guard), 5 ether);
        _enrol(_walletAccount(other, address(token)));
        _setCap(address(token), 1_000 ether, 1 days);
    }

    function _sent() private pure returns (IMarginGuard.Rescue memory) {
        return _rescue(X, _native(Y, AMOUNT));
    }

    function _supplied() private pure returns (IMarginGuard.Rescue memory) {
        return _rescue(X, _cross(CASH, AMOUNT));
    }

    function _repaid() private pure returns (IMarginGuard.Rescue memory) {
        return _rescue(X, IMarginGuard.Transfer(IMarginGuard.Kind.Repay, Y, 0, 0, AMOUNT));
    }

    function test_AnHonestPoolIsFine() public {
        assertTrue(_rebalance(_batch(_sent(), _supplied(), _repaid()))[2].ok);
        assertEq(aToken.balanceOf(owner), 12 ether);
        assertEq(pool.debtToken().balanceOf(owner), 6 ether);
    }

    function test_EveryWayAtEveryCallFailsAlone() public {
        token.set(address(guard), 5 ether); // and donations change nothing about that
        aToken.set(address(guard), 5 ether);
        for (uint8 way = 1; way <= uint8(Turning.Way.BurnsAllGas); ++way) {
            for (uint8 at = uint8(Turning.At.Reading); at <= uint8(Turning.At.Repaying); ++at) {
                pool.turn(Turning.Way(way), Turning.At(at));
                _assertFailsAlone(at == uint8(Turning.At.Supplying) ? _supplied() : _repaid());
                if (at == uint8(Turning.At.Reading)) _assertFailsAlone(_sent());
            }
        }
    }

    function test_GivingTakingOrBookingAnotherAmountFailsAlone() public {
        token.set(address(guard), 5 ether);
        aToken.set(address(guard), 5 ether);
        uint256 a = AMOUNT;
        Moody.Mood[7] memory moods = [
            Moody.Mood(a, a - 1, a, 0, a), // gives less
            Moody.Mood(a, a + 1, a, 0, a), // gives more
            Moody.Mood(a - 1, a, a, 0, a), // leaves an aToken in the guard
            Moody.Mood(a + 1, a, a, 0, a), // takes one that lay there
            Moody.Mood(a, a, a - 1, 0, a), // takes less
            Moody.Mood(a, a, a + 1, 0, a), // takes more
            Moody.Mood(a, a, a, 1, a) // leaves some of the allowance
        ];
        for (uint256 i; i < 7; ++i) {
            pool.doAsYouPlease(moods[i]);
            _assertFailsAlone(_repaid());
            if (i >= 4) _assertFailsAlone(_supplied());
        }
    }

    function test_RevertIf_ATokensStayInTheGuard() public {
        pool.doAsYouPlease(Moody.Mood(0.9 ether, AMOUNT, AMOUNT, 0, AMOUNT));
        assertEq(
            _refusal(_repaid()),
            abi.encodeWithSelector(IMarginGuard.BalanceChanged.selector, address(aToken), 0, 0.1 ether)
        );
    }

    /* ROUNDINGS */

    function test_ASupplyMayBeRoundedByTenAndNoMore() public {
        for (uint256 off = 10; off < 12; ++off) {
            _expect(_supplied(), _crediting(AMOUNT - off), off == 10, IMarginGuard.CreditDiffers.selector);
            _expect(_supplied(), _crediting(AMOUNT + off), off == 10, IMarginGuard.CreditDiffers.selector);
            _expect(_repaid(), _crediting(AMOUNT - off), off == 10, IMarginGuard.RepaymentDiffers.selector);
            _expect(_repaid(), _crediting(AMOUNT + off), off == 10, IMarginGuard.RepaymentDiffers.selector);
        }
    }

    function test_WhatIsTakenMayBeRoundedByTenAndNoMore() public {
        aToken.doAsYouPlease(AMOUNT + 10, AMOUNT);
        assertTrue(_rebalance(_batch(_sent()))[0].ok);
        aToken.doAsYouPlease(AMOUNT + 11, AMOUNT);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.DebitDiffers.selector);
        aToken.doAsYouPlease(AMOUNT - 11, AMOUNT);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.DebitDiffers.selector);
    }

    function test_EachTransferMayBeRounded() public {
        IMarginGuard.Rescue memory rescue = _rescue(X, _native(Y, AMOUNT), _native(Y, AMOUNT));
        aToken.doAsYouPlease(AMOUNT, AMOUNT - 11);
        assertEq(bytes4(_refusal(rescue)), IMarginGuard.CreditDiffers.selector);
        aToken.doAsYouPlease(AMOUNT, AMOUNT - 10);
        assertTrue(_rebalance(_batch(rescue))[0].ok);
    }

    /* HEALTH */

    /// @dev The threshold is an average that the pool rounds down, so the guard takes it a basis point higher.
    function test_RevertIf_ItMayBeWorthNoMoreThanItOwes() public {
        pool.report(0.8301e18);
        assertEq(
            _refusal(_sent()),
            abi.encodeWithSelector(IMarginGuard.RecipientWorthNoMoreThanItOwes.selector, X, 0.8301e18, 0.8301e18)
        );
        pool.report(0.8301e18 + 1);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.RecipientBelowMinimum.selector);
    }

    function test_AHealthThatDoesNotMoveIsHeldToTheOwnersLimits() public {
        pool.report(MIN_AFTER - 1);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.RecipientBelowMinimum.selector);
        pool.report(CEILING);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.RecipientIsHealthy.selector);
        pool.debtToken().set(other, 1 ether);
        pool.report(HARD_FLOOR - 1);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.DonorBelowHardFloor.selector);
    }

    /* REENTERING */

    /// @dev It is even the keeper.
    function test_ReenteringGainsNothing() public {
        vm.prank(owner);
        guard.setKeeper(address(pool));
        keeper = address(pool);
        IMarginGuard.Rescue[] memory own = _batch(_rescue(A, _native(D, 1 ether)));
        bytes[3] memory calls = [
            abi.encodeCall(guard.rebalance, (_nextPlanId(), block.timestamp, own)),
            abi.encodeCall(guard.sweep, (address(weth))),
            abi.encodeCall(guard.setKeeper, (thief))
        ];
        for (uint256 i; i < 3; ++i) {
            for (uint8 at = uint8(Turning.At.Withdrawing); at <= uint8(Turning.At.Repaying); ++at) {
                uint256 state = vm.snapshotState();
                pool.turnReentrant(Turning.At(at), address(guard), calls[i]);
                _rebalance(_batch(_supplied(), _repaid()));
                assertFalse(pool.letIn());
                assertEq(guard.lastSequence(), 1);
                assertEq(_collateral(dai77), 10 ether);
                vm.revertToState(state);
            }
        }
    }

    /* HELPERS */

    function _crediting(uint256 amount) private pure returns (Moody.Mood memory) {
        return Moody.Mood(AMOUNT, AMOUNT, AMOUNT, 0, amount);
    }

    function _expect(IMarginGuard.Rescue memory rescue, Moody.Mood memory mood, bool ok, bytes4 refusal) private {
        uint256 state = vm.snapshotState();
        pool.doAsYouPlease(mood);
        if (ok) assertTrue(_rebalance(_batch(rescue))[0].ok);
        else assertEq(bytes4(_refusal(rescue)), refusal);
        vm.revertToState(state);
    }

    /// @dev Between two others, which take effect; and nothing of it is left.
    function _assertFailsAlone(IMarginGuard.Rescue memory rescue) private {
        uint256 state = vm.snapshotState();
        IMarginGuard.Result[] memory results =
            _rebalance(_batch(_rescue(A, _native(D, 0.5 ether)), rescue, _rescue(A, _native(B, 0.5 ether))));
        assertTrue(results[0].ok && results[2].ok, "it blocked another");
        assertFalse(results[1].ok);
        assertEq(_collateral(usdc86), 11 ether);
        assertEq(aToken.balanceOf(owner), 10 ether);
        assertEq(aToken.balanceOf(other), 10 ether);
        assertEq(token.balanceOf(other), 5 ether);
        assertEq(token.balanceOf(address(guard)), aToken.balanceOf(address(guard)), "no donation was touched");
        assertEq(token.allowance(address(guard), address(pool)), 0);
        assertEq(guard.remainingCap(address(token)), 1_000 ether);
        assertLe(results[1].gasUsed, RESCUE_GAS + 1_000);
        assertLe(results[1].reason.length, 256);
        _assertGuardIsEmpty(address(weth));
        vm.revertToState(state);
    }
}
