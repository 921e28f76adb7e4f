// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {VenusPools} from "../../src/protocols/VenusPools.sol";
import {HostileMarket} from "../hostile/HostileMarket.sol";
import {Moody} from "../hostile/Moody.sol";
import {Turning} from "../hostile/Turning.sol";
import {Setting} from "../Setting.sol";
import {AbstractToken} from "../symbolic/AbstractProtocol.sol";

/// @notice What a pool of Venus does to its own rescue, it does to no other, and it gains nothing.
/// X holds 10 and owes 7: 10 * 0.85 / 7 = 1.214. Y holds 10 and owes nothing. CASH is a wallet with 5 of the token.
contract HostileVenusTest is Setting {
    uint16 private constant X = 5;
    uint16 private constant Y = 6;
    uint16 private constant CASH = 7;
    uint128 private constant AMOUNT = 1 ether;
    /// @dev Of the guard, and of a vToken that is worth one.
    uint256 private constant ROUNDING = 10 + 2;

    address private other = makeAddr("other");
    HostileMarket private market;
    AbstractToken private token;

    function setUp() public override {
        super.setUp();
        market = new HostileMarket();
        token = market.token();
        market.setDebt(owner, 7 ether);
        address[2] memory holders = [owner, other];
        vm.prank(other);
        guard.join();
        for (uint256 i; i < 2; ++i) {
            market.set(holders[i], 10 ether);
            market.setAllowance(holders[i], address(guard), 10 ether);
            IMarginGuard.Enrolment memory enrolment = _walletAccount(holders[i], address(market));
            enrolment.protocol = IMarginGuard.Protocol.Venus;
            (enrolment.target, enrolment.policy) = (address(market), _policy());
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

    function test_AnHonestMarketIsFine() public {
        assertTrue(_rebalance(_batch(_sent(), _supplied(), _repaid()))[2].ok);
        assertEq(market.balanceOf(owner), 12 ether);
        assertEq(market.borrowBalanceCurrent(owner), 6 ether);
    }

    function test_EveryWayAtEveryCallFailsAlone() public {
        token.set(address(guard), 5 ether); // and donations change nothing about that
        market.set(address(guard), 5 ether);
        for (uint8 way = 1; way <= uint8(Turning.Way.BurnsAllGas); ++way) {
            for (uint8 at = uint8(Turning.At.Reading); at <= uint8(Turning.At.Repaying); ++at) {
                market.turn(Turning.Way(way), Turning.At(at));
                _assertFailsAlone(at == uint8(Turning.At.Supplying) ? _supplied() : _repaid());
                if (at == uint8(Turning.At.Reading)) _assertFailsAlone(_sent());
            }
        }
    }

    function test_GivingTakingOrBookingAnotherAmountFailsAlone() public {
        token.set(address(guard), 5 ether);
        market.set(address(guard), 5 ether);
        uint256 a = AMOUNT;
        Moody.Mood[6] memory moods = [
            Moody.Mood(a, a - 1, a, 0, a), // gives less
            Moody.Mood(a - 1, a, a, 0, a), // leaves a vToken in the guard
            Moody.Mood(a + 1, a, a, 0, a), // takes one that lay there
            Moody.Mood(a, a, a - 1, 0, a), // takes less
            Moody.Mood(a, a, a + 1, 0, a), // takes more
            Moody.Mood(a, a, a, 1, a) // leaves some of the allowance
        ];
        for (uint256 i; i < 6; ++i) {
            market.doAsYouPlease(moods[i]);
            _assertFailsAlone(_repaid());
            if (i >= 3) _assertFailsAlone(_supplied());
        }
    }

    /// @dev Neither the recipient's, nor the guard's.
    function test_WhatIsGivenBeyondTheAmountIsTheHolders() public {
        token.set(address(guard), 5 ether);
        market.doAsYouPlease(Moody.Mood(AMOUNT, AMOUNT + 3, AMOUNT, 0, AMOUNT));
        assertTrue(_rebalance(_batch(_repaid()))[0].ok);
        assertEq(token.balanceOf(other), 5 ether + 3);
        assertEq(token.balanceOf(address(guard)), 5 ether);
    }

    function test_RevertIf_VTokensStayInTheGuard() public {
        market.doAsYouPlease(Moody.Mood(0.9 ether, AMOUNT, AMOUNT, 0, AMOUNT));
        assertEq(
            _refusal(_repaid()),
            abi.encodeWithSelector(IMarginGuard.BalanceChanged.selector, address(market), 0, 0.1 ether)
        );
    }

    /* ROUNDINGS */

    function test_WhatIsBookedMayBeRoundedByAVTokenAndTenAndNoMore() public {
        for (uint256 off; off < 2; ++off) {
            uint256 by = ROUNDING + off;
            _expect(_supplied(), _crediting(AMOUNT - by), off == 0, IMarginGuard.CreditDiffers.selector);
            _expect(_supplied(), _crediting(AMOUNT + by), off == 0, IMarginGuard.CreditDiffers.selector);
            by = 10 + off; // a debt is not counted in vTokens
            _expect(_repaid(), _crediting(AMOUNT - by), off == 0, IMarginGuard.RepaymentDiffers.selector);
            _expect(_repaid(), _crediting(AMOUNT + by), off == 0, IMarginGuard.RepaymentDiffers.selector);
        }
    }

    function test_WhatIsTakenMayBeRoundedByAVTokenAndTenAndNoMore() public {
        market.doAsYouPlease(AMOUNT + ROUNDING, AMOUNT);
        assertTrue(_rebalance(_batch(_sent()))[0].ok);
        market.doAsYouPlease(AMOUNT + ROUNDING + 1, AMOUNT);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.DebitDiffers.selector);
        market.doAsYouPlease(AMOUNT - ROUNDING - 1, AMOUNT);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.DebitDiffers.selector);
    }

    /// @dev However much a vToken is worth, what is rounded stays a hundred-thousandth of the amount.
    function test_RevertIf_AVTokenIsWorthTooMuch() public {
        market.setRate(1e31 - 1e18); // a vToken is worth 1e13 - 1, and one more for rounding
        market.set(owner, 1e6); // 10 ether
        bytes memory refusal =
            abi.encodeWithSelector(VenusPools.AmountTooFine.selector, address(market), AMOUNT - 1, AMOUNT);
        assertEq(_refusal(_rescue(X, _cross(CASH, AMOUNT - 1))), refusal);
        assertTrue(_rebalance(_batch(_rescue(X, _cross(CASH, AMOUNT))))[0].ok);
    }

    /* HEALTH */

    function test_RevertIf_ItIsWorthNoMoreThanItOwes() public {
        market.setDebt(owner, 10 ether);
        assertEq(
            _refusal(_sent()),
            abi.encodeWithSelector(IMarginGuard.RecipientWorthNoMoreThanItOwes.selector, X, 0.85e18, 0.85e18 + 1)
        );
        market.setDebt(owner, 10 ether - 100);
        assertEq(bytes4(_refusal(_sent())), IMarginGuard.RecipientBelowMinimum.selector);
    }

    function test_RevertIf_NothingIsHeldAndMuchOwed() public {
        market.set(owner, 0);
        assertEq(
            _refusal(_sent()), abi.encodeWithSelector(IMarginGuard.RecipientWorthNoMoreThanItOwes.selector, X, 0, 0)
        );
    }

    function test_RevertIf_APriceIsZero() public {
        market.setPrice(0);
        assertEq(_refusal(_sent()), abi.encodeWithSelector(VenusPools.PriceIsZero.selector, address(market)));
        vm.expectRevert(abi.encodeWithSelector(VenusPools.PriceIsZero.selector, address(market)));
        guard.health(Y);
    }

    function test_AHealthThatHasNoEndIsTheLargest() public {
        market.set(owner, type(uint128).max);
        market.setDebt(owner, 1);
        assertEq(guard.health(X), NO_DEBT);
    }

    /* REENTERING */

    /// @dev It is even the keeper.
    function test_ReenteringGainsNothing() public {
        vm.prank(owner);
        guard.setKeeper(address(market));
        keeper = address(market);
        IMarginGuard.Rescue[] memory own = _batch(_rescue(A, _native(D, 1 ether)));
        bytes[3] memory calls = [
            abi.encodeCall(guard.rebalance, (_nextPlanId(), block.timestamp, own)),
            abi.encodeCall(guard.sweep, (address(weth))),
            abi.encodeCall(guard.setKeeper, (thief))
        ];
        for (uint256 i; i < 3; ++i) {
            for (uint8 at = uint8(Turning.At.Withdrawing); at <= uint8(Turning.At.Repaying); ++at) {
                uint256 state = vm.snapshotState();
                market.turnReentrant(Turning.At(at), address(guard), calls[i]);
                _rebalance(_batch(_supplied(), _repaid()));
                assertFalse(market.letIn());
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
        market.doAsYouPlease(mood);
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
        assertEq(market.balanceOf(owner), 10 ether);
        assertEq(market.balanceOf(other), 10 ether);
        assertEq(token.balanceOf(other), 5 ether);
        assertEq(token.balanceOf(address(guard)), market.balanceOf(address(guard)), "no donation was touched");
        assertEq(token.allowance(address(guard), address(market)), 0);
        assertEq(guard.remainingCap(address(token)), 1_000 ether);
        assertLe(results[1].gasUsed, RESCUE_GAS + 1_000);
        assertLe(results[1].reason.length, 256);
        _assertGuardIsEmpty(address(weth));
        vm.revertToState(state);
    }
}
