// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {MorphoBlue} from "../src/protocols/MorphoBlue.sol";
import {HostileProtocol} from "./hostile/HostileProtocol.sol";
import {Turning} from "./hostile/Turning.sol";
import {Setting} from "./Setting.sol";
import {AbstractProtocol, AbstractToken} from "./symbolic/AbstractProtocol.sol";

/// @notice What a protocol or an oracle does to its own rescue, it does to no other, and it gains nothing.
contract HostileProtocolTest is Setting {
    HostileProtocol private protocol;
    AbstractToken private token;
    bytes32[2] private ids;

    /// @dev Two accounts in the hostile protocol, in its own token; X at 10 * 0.86 / 7 = 1.228, Y without debt.
    uint16 private constant X = 5;
    uint16 private constant Y = 6;

    function setUp() public override {
        super.setUp();
        protocol = new HostileProtocol();
        token = new AbstractToken();
        for (uint256 i; i < 2; ++i) {
            ids[i] = protocol.create(
                MarketParams(address(usdc), address(token), address(protocol), address(uint160(i)), 0.86e18)
            );
            protocol.open(ids[i], owner, 10 ether, i == 0 ? 7e18 : 0);
            protocol.borrowed(ids[i], 100e18, 100e18);
            IMarginGuard.Enrolment memory enrolment = _morphoAccount(usdc86);
            (enrolment.target, enrolment.key) = (address(protocol), ids[i]);
            _enrol(enrolment);
        }
        _setCap(address(token), 1_000 ether, 1 days);
    }

    function test_AnHonestProtocolIsFine() public {
        _rebalance(_batch(_rescue(X, _native(Y, 1 ether))));
        (,, uint256 collateral) = protocol.position(ids[0], owner);
        assertEq(collateral, 11 ether);
    }

    /// @dev Morpho writes such a debt off; here it stands.
    function test_ADebtWithoutCollateralIsAHealthOfZero() public {
        protocol.open(ids[0], owner, 0, 7e18);
        assertEq(guard.health(X), 0);
    }

    function test_EveryWayAtEveryCallFailsAlone() public {
        token.set(address(guard), 5 ether); // and a donation changes nothing about that
        for (uint8 way = 1; way <= uint8(Turning.Way.BurnsAllGas); ++way) {
            for (uint8 at; at <= uint8(Turning.At.Supplying); ++at) {
                protocol.turn(Turning.Way(way), Turning.At(at));
                // Where nothing is expected of it, an answer of zeros is none of the guard's business.
                bool harmless = way == uint8(Turning.Way.AnswersABomb) && at == uint8(Turning.At.Accruing);
                _assertFailsAlone(harmless);
            }
        }
    }

    function test_GivingTakingOrBookingAnotherAmountFailsAlone() public {
        token.set(address(guard), 5 ether);
        _assertFailsAlone(AbstractProtocol.Mood(1 ether - 1, 1 ether - 1, 0, 1 ether, 1 ether));
        _assertFailsAlone(AbstractProtocol.Mood(0, 1 ether, 0, 1 ether, 1 ether)); // at the expense of the donation
        _assertFailsAlone(AbstractProtocol.Mood(1 ether, 1 ether + 1, 0, 1 ether, 1 ether));
        _assertFailsAlone(AbstractProtocol.Mood(1 ether, 1 ether - 1, 0, 1 ether, 1 ether));
        _assertFailsAlone(AbstractProtocol.Mood(1 ether, 1 ether, 1, 1 ether, 1 ether));
        _assertFailsAlone(AbstractProtocol.Mood(1 ether, 1 ether, 0, 1 ether + 1, 1 ether));
        _assertFailsAlone(AbstractProtocol.Mood(1 ether, 1 ether, 0, 1 ether - 1, 1 ether));
        _assertFailsAlone(AbstractProtocol.Mood(1 ether, 1 ether, 0, 1 ether, 1 ether + 1));
        _assertFailsAlone(AbstractProtocol.Mood(1 ether, 1 ether, 0, 1 ether, 1 ether - 1));
    }

    /// @dev Even where the recipient was above its minimum anyway: what left the donor is not kept.
    function test_TakingWithoutBookingItIsRefused() public {
        protocol.doAsYouPlease(AbstractProtocol.Mood(1 ether, 1 ether, 0, 1 ether, 0));
        assertEq(
            _refusal(_rescue(X, _native(Y, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.CreditDiffers.selector, X, 1 ether, 10 ether, 10 ether)
        );
    }

    function test_BookingMoreOutThanWasAskedForIsRefused() public {
        protocol.doAsYouPlease(AbstractProtocol.Mood(1 ether, 1 ether, 0, 10 ether, 1 ether));
        assertEq(
            _refusal(_rescue(X, _native(Y, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.DebitDiffers.selector, Y, 1 ether, 10 ether, 0)
        );
    }

    /// @dev A wallet's token is a protocol as well.
    function test_ATokenThatPullsMoreThanItPassesOnIsRefused() public {
        token.set(owner, 5 ether);
        token.setAllowance(owner, address(guard), 5 ether);
        _retire(WALLET);
        uint16 wallet = _enrol(_walletAccount(owner, address(token)));
        token.doAsYouPlease(3 ether, 1 ether);
        assertEq(
            _refusal(_rescue(X, _cross(wallet, 1 ether))),
            abi.encodeWithSelector(IMarginGuard.DebitDiffers.selector, wallet, 1 ether, 5 ether, 2 ether)
        );
        token.doAsYouPlease(1 ether, 1 ether);
        _rebalance(_batch(_rescue(X, _cross(wallet, 1 ether))));
        assertEq(token.balanceOf(owner), 4 ether);
    }

    function test_AProtocolThatCannotBeReadIsRefused() public {
        protocol.turn(Turning.Way.Reverts, Turning.At.Reading);
        assertEq(
            _refusal(_rescue(X, _native(Y, 1 ether))),
            abi.encodeWithSelector(MorphoBlue.PositionUnreadable.selector, address(protocol))
        );
    }

    /// @dev P2: neither to borrow nor to lend nor for a permission, though it would be granted.
    function test_NothingButCollateralIsAskedFor() public {
        _rebalance(_batch(_rescue(X, _native(Y, 1 ether))));
        assertFalse(protocol.wasAskedForMore());
        assertFalse(token.wasAskedForMore());
    }

    /// @dev It is even the keeper: what it calls from within is refused, or is what the keeper may do anyway.
    function test_ReenteringGainsNothing() public {
        vm.prank(owner);
        guard.setKeeper(address(protocol));
        keeper = address(protocol);
        IMarginGuard.Rescue[] memory own = _batch(_rescue(A, _native(D, 1 ether)));
        bytes[5] memory calls = [
            abi.encodeCall(guard.rebalance, (_nextPlanId(), block.timestamp, own)),
            abi.encodeWithSignature(
                "executeRescue(bytes32,(uint16,uint128,uint32,(uint8,uint16,uint8,uint8,uint128)[]))",
                _nextPlanId(),
                own[0]
            ),
            abi.encodeCall(guard.sweep, (address(weth))),
            abi.encodeCall(guard.setKeeper, (thief)),
            abi.encodeCall(guard.unpause, ())
        ];
        weth.mint(address(guard), 1 ether);
        for (uint256 i; i < 5; ++i) {
            for (uint8 at; at <= uint8(Turning.At.Supplying); ++at) {
                if (at == uint8(Turning.At.Reading)) continue; // a static call
                protocol.turnReentrant(Turning.At(at), address(guard), calls[i]);
                uint256 state = vm.snapshotState();
                uint64 sequence = guard.lastSequence();
                _rebalance(_batch(_rescue(X, _native(Y, 1 ether))));
                assertFalse(protocol.letIn());
                assertEq(guard.lastSequence(), sequence + 1);
                assertEq(_collateral(dai77), 10 ether);
                assertEq(weth.balanceOf(address(guard)), 1 ether);
                vm.revertToState(state);
            }
        }
    }

    function test_PausingFromWithinHoldsFromTheNextBatchOn() public {
        vm.prank(owner);
        guard.setKeeper(address(protocol));
        keeper = address(protocol);
        protocol.turnReentrant(Turning.At.Supplying, address(guard), abi.encodeCall(guard.pause, ()));
        IMarginGuard.Result[] memory results =
            _rebalance(_batch(_rescue(X, _native(Y, 1 ether)), _rescue(A, _native(D, 1 ether))));
        assertTrue(results[0].ok && results[1].ok, "what was begun in time is finished");
        assertTrue(guard.paused());
        vm.prank(keeper);
        vm.expectRevert(IMarginGuard.GuardIsPaused.selector);
        guard.rebalance(_planId(2), block.timestamp, _batch(_rescue(A, _native(D, 1 ether))));
    }

    function test_ReadingHealthFromWithinIsFine() public {
        protocol.turnReentrant(Turning.At.Withdrawing, address(guard), abi.encodeCall(guard.health, (A)));
        _rebalance(_batch(_rescue(X, _native(Y, 1 ether))));
        assertTrue(protocol.letIn());
        assertEq(abi.decode(protocol.reentryAnswer(), (uint256)), guard.health(A));
    }

    /* ORACLES */

    function test_AnOracleThatBurnsOrBombsFailsAlone() public {
        bytes[3] memory codes = [bytes(hex"fe"), hex"62030d405ffd", hex"62030d405ff3"]; // INVALID; 200000 bytes, reverted or returned
        for (uint256 i; i < 3; ++i) {
            uint256 state = vm.snapshotState();
            vm.etch(address(daiOracle), codes[i]);
            IMarginGuard.Result[] memory results = _rebalance(
                _batch(
                    _rescue(A, _native(D, 0.5 ether)),
                    _rescue(A, _native(C, 1 ether)),
                    _rescue(A, _native(B, 0.5 ether))
                )
            );
            assertTrue(results[0].ok && results[2].ok);
            assertFalse(results[1].ok); // an answer of zeros is a price of zero
            assertEq(_collateral(dai86), 10 ether);
            _assertGuardIsEmpty(address(weth));
            vm.revertToState(state);
        }
    }

    /* HELPERS */

    /* REPAYMENTS */

    /// @dev X owes 7 of a token of which `lender`'s wallet, which joined, holds 5.
    function _repayment() private returns (IMarginGuard.Rescue memory) {
        AbstractToken loan = new AbstractToken();
        bytes32 id =
            protocol.create(MarketParams(address(loan), address(token), address(protocol), address(0x1234), 0.86e18));
        protocol.open(id, owner, 10 ether, 7e18);
        protocol.borrowed(id, 100e18, 100e18 + 1 - 1e6); // a share is an asset, the virtual ones included
        IMarginGuard.Enrolment memory enrolment = _morphoAccount(usdc86);
        (enrolment.target, enrolment.key) = (address(protocol), id);
        uint16 index = _enrol(enrolment);
        loan.set(lender, 5e18);
        vm.startPrank(lender);
        loan.approve(address(guard), 5e18);
        guard.join();
        vm.stopPrank();
        uint16 from = _enrol(_walletAccount(lender, address(loan)));
        _setCap(address(loan), 5e18, 1 days);
        return _rescue(index, IMarginGuard.Transfer(IMarginGuard.Kind.Repay, from, 0, 1, 1e18));
    }

    function test_ARepaymentThatIsBookedTakesEffect() public {
        assertTrue(_rebalance(_batch(_repayment()))[0].ok);
    }

    function test_RevertIf_ARepaymentIsBookedAsLess() public {
        IMarginGuard.Rescue memory rescue = _repayment();
        protocol.doAsYouPlease(AbstractProtocol.Mood(1e18, 1e18, 0, 0, 0.9e18));
        assertEq(bytes4(_refusal(rescue)), IMarginGuard.RepaymentDiffers.selector);
    }

    /// @dev By more than rounding can be: whoever books more than it got does not do what it was asked for either.
    function test_RevertIf_ARepaymentIsBookedAsMore() public {
        IMarginGuard.Rescue memory rescue = _repayment();
        protocol.doAsYouPlease(AbstractProtocol.Mood(1e18, 1e18, 0, 0, 1e18 + 12));
        assertEq(bytes4(_refusal(rescue)), IMarginGuard.RepaymentDiffers.selector);
    }

    function test_RevertIf_ARepaymentIsNotTakenWhole() public {
        IMarginGuard.Rescue memory rescue = _repayment();
        protocol.doAsYouPlease(AbstractProtocol.Mood(1e18, 0.9e18, 0, 0, 1e18));
        assertEq(bytes4(_refusal(rescue)), IMarginGuard.BalanceChanged.selector);
    }

    function _assertFailsAlone(AbstractProtocol.Mood memory mood) private {
        protocol.doAsYouPlease(mood);
        _assertFailsAlone(false);
    }

    /// @dev Between two others, which take effect; and nothing of it is left, but the gas that it was given is spent.
    function _assertFailsAlone(bool harmless) private {
        uint256 state = vm.snapshotState();
        uint256 donation = token.balanceOf(address(guard));
        IMarginGuard.Result[] memory results = _rebalance(
            _batch(
                _rescue(A, _native(D, 0.5 ether)), _rescue(X, _native(Y, 1 ether)), _rescue(A, _native(B, 0.5 ether))
            )
        );
        assertTrue(results[0].ok && results[2].ok, "it blocked another");
        assertEq(results[1].ok, harmless);
        assertEq(_collateral(usdc86), 11 ether);
        (,, uint256 collateral) = protocol.position(ids[0], owner);
        assertEq(collateral, harmless ? 11 ether : 10 ether);
        assertEq(token.balanceOf(address(guard)), donation);
        assertEq(token.allowance(address(guard), address(protocol)), 0);
        assertEq(guard.remainingCap(address(token)), harmless ? 999 ether : 1_000 ether);
        assertLe(results[1].gasUsed, RESCUE_GAS + 1_000);
        assertLe(results[1].reason.length, 256);
        _assertGuardIsEmpty(address(weth));
        vm.revertToState(state);
    }
}
