// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {Token} from "../src/Token.sol";
import {HostileToken} from "./hostile/HostileToken.sol";
import {Setting} from "./Setting.sol";
import {TestFeed} from "../devnet/TestFeed.sol";

/// @notice What a token or an oracle does to its own rescue, it does to no other, and it gains nothing.
contract HostileTest is Setting {
    HostileToken private token;
    TestFeed private tokenFeed;
    MarketParams private hostile86;
    MarketParams private hostile77;

    /// @dev 10 tokens worth 20000 USD and 14000 USDC of debt; the same and 7000 of debt; 10 tokens in the wallet.
    uint16 private constant X = 5;
    uint16 private constant Y = 6;
    uint16 private constant HOSTILE_WALLET = 7;

    function setUp() public override {
        super.setUp();
        token = new HostileToken();
        tokenFeed = new TestFeed("TOKEN / USD", 8, 2_000e8);
        address oracle = address(_oracle(tokenFeed, usdcFeed, 6));
        hostile86 = _createMarket(address(usdc), address(token), oracle, 0.86e18);
        hostile77 = _createMarket(address(usdc), address(token), oracle, 0.77e18);
        _open(hostile86, 10 ether, 14_000e6);
        _open(hostile77, 10 ether, 7_000e6);
        token.mint(owner, 10 ether);
        vm.prank(owner);
        token.approve(address(guard), 10 ether);
        _enrol(_morphoAccount(hostile86));
        _enrol(_morphoAccount(hostile77));
        address other = makeAddr("other wallet"); // the owner's wallet lists WETH alone
        IMarginGuard.Enrolment memory wallet = _walletAccount(other, address(token));
        token.mint(other, 10 ether);
        vm.startPrank(other);
        token.approve(address(guard), 10 ether);
        guard.join();
        vm.stopPrank();
        _enrol(wallet);
        _setCap(address(token), 1_000 ether, 1 days);
    }

    /* HONEST AFTER ALL */

    function test_ATokenThatAnswersNothingIsFine() public {
        token.turn(HostileToken.Way.AnswersNothing);
        _rebalance(_batch(_rescue(X, _native(Y, 1 ether), _cross(HOSTILE_WALLET, 1 ether))));
        assertEq(_collateral(hostile86), 12 ether);
    }

    function test_AnHonestTokenIsFine() public {
        _rebalance(_batch(_rescue(X, _native(Y, 1 ether), _cross(HOSTILE_WALLET, 1 ether))));
        assertEq(_collateral(hostile86), 12 ether);
    }

    /* ANSWERS */

    function test_RevertIf_TokenAnswersFalse() public {
        token.turn(HostileToken.Way.AnswersFalse);
        _assertFailsAlone(
            _cross(HOSTILE_WALLET, 1 ether), abi.encodeWithSelector(Token.TokenCallFailed.selector, token)
        );
        _assertFailsAlone(_native(Y, 1 ether), abi.encodeWithSignature("Error(string)", "transfer returned false"));
    }

    function test_RevertIf_ApprovalAnswersFalse() public {
        token.turn(HostileToken.Way.ApprovalAnswersFalse);
        bytes memory reason = abi.encodeWithSelector(Token.TokenCallFailed.selector, token);
        _assertFailsAlone(_cross(HOSTILE_WALLET, 1 ether), reason);
        _assertFailsAlone(_native(Y, 1 ether), reason);
    }

    function test_RevertIf_TokenAnswersGarbage() public {
        token.turn(HostileToken.Way.AnswersGarbage);
        _assertFailsAlone(_cross(HOSTILE_WALLET, 1 ether), "");
    }

    function test_RevertIf_TokenHasNoCodeAnyMore() public {
        IMarginGuard.Rescue[] memory rescues =
            _batch(_rescue(X, _cross(HOSTILE_WALLET, 1 ether)), _rescue(A, _native(D, 1 ether)));
        vm.etch(address(token), "");
        IMarginGuard.Result[] memory results = _rebalance(rescues);
        assertFalse(results[0].ok);
        assertTrue(results[1].ok);
    }

    /* AMOUNTS */

    function test_RevertIf_ReceivedAmountDiffers() public {
        token.turn(HostileToken.Way.TakesAFee);
        bytes memory reason =
            abi.encodeWithSelector(IMarginGuard.ReceivedAmountDiffers.selector, token, 1 ether, 1 ether - 1);
        _assertFailsAlone(_cross(HOSTILE_WALLET, 1 ether), reason);
        _assertFailsAlone(_native(Y, 1 ether), reason);
    }

    function test_RevertIf_ReceivedAmountDiffersThoughTheGuardHoldsTheRest() public {
        token.mint(address(guard), 5 ether);
        token.turn(HostileToken.Way.TakesAFee);
        _assertFailsAlone(
            _native(Y, 1 ether),
            abi.encodeWithSelector(IMarginGuard.ReceivedAmountDiffers.selector, token, 1 ether, 1 ether - 1)
        );
        assertEq(token.balanceOf(address(guard)), 5 ether);
    }

    function test_RevertIf_MoreIsReceivedThanWasTaken() public {
        token.turn(HostileToken.Way.GivesTooMuch);
        _assertFailsAlone(
            _native(Y, 1 ether),
            abi.encodeWithSelector(IMarginGuard.ReceivedAmountDiffers.selector, token, 1 ether, 1 ether + 1)
        );
    }

    function test_RevertIf_BalanceChanged() public {
        token.turn(HostileToken.Way.TakesTooLittle);
        _assertFailsAlone(
            _native(Y, 1 ether), abi.encodeWithSelector(IMarginGuard.BalanceChanged.selector, token, 0, 1)
        );
    }

    function test_RevertIf_AllowanceIsLeft() public {
        token.turn(HostileToken.Way.KeepsTheAllowance);
        _assertFailsAlone(
            _native(Y, 1 ether), abi.encodeWithSelector(Token.AllowanceLeft.selector, token, morpho, 1 ether)
        );
    }

    /* FORCE */

    function test_ARevertingTokenFailsAlone() public {
        token.turn(HostileToken.Way.Reverts);
        _assertFailsAlone(
            _cross(HOSTILE_WALLET, 1 ether), abi.encodeWithSelector(Token.TokenCallFailed.selector, token)
        );
        _assertFailsAlone(_native(Y, 1 ether), abi.encodeWithSignature("Error(string)", "transfer reverted"));
    }

    function test_ABombFailsAlone() public {
        token.turn(HostileToken.Way.RevertsWithABomb);
        _assertFailsAlone(_cross(HOSTILE_WALLET, 1 ether));
        token.turn(HostileToken.Way.AnswersABomb);
        _assertFailsAlone(_cross(HOSTILE_WALLET, 1 ether));
    }

    function test_AGasBurnerFailsAlone() public {
        token.turn(HostileToken.Way.BurnsAllGas);
        _assertFailsAlone(_cross(HOSTILE_WALLET, 1 ether));
        _assertFailsAlone(_native(Y, 1 ether));
    }

    function test_RevertReasonsAreCut() public {
        // Morpho hands the reverting oracle's reason on, whatever its length.
        vm.etch(hostile86.oracle, address(new LongRevert()).code);
        IMarginGuard.Result[] memory results =
            _rebalance(_batch(_rescue(X, _native(Y, 1 ether)), _rescue(A, _native(D, 1 ether))));
        assertEq(results[0].reason.length, 256);
        assertEq(uint8(results[0].reason[255]), 255);
        assertTrue(results[1].ok);
    }

    /* REENTRY */

    function test_RevertIf_Reentered() public {
        _setKeeper(address(token));
        token.turnReentrant(
            address(guard),
            abi.encodeCall(guard.rebalance, (_planId(2), block.timestamp, _batch(_rescue(A, _native(D, 1 ether)))))
        );
        _assertReentryRefused(abi.encodeWithSelector(IMarginGuard.Reentered.selector));
    }

    function test_RevertIf_SweepIsReentered() public {
        _setKeeper(address(token));
        token.mint(address(guard), 1 ether);
        token.turnReentrant(
            address(guard),
            abi.encodeCall(guard.rebalance, (_planId(1), block.timestamp, _batch(_rescue(A, _native(D, 1 ether)))))
        );
        vm.prank(owner);
        guard.sweep(address(token));
        assertEq(token.reentryAnswer(), abi.encodeWithSelector(IMarginGuard.Reentered.selector));
        assertEq(_collateral(usdc86), 10 ether);
    }

    function test_RevertIf_ReenteredForARescueAlone() public {
        _setKeeper(address(token));
        token.turnReentrant(
            address(guard),
            abi.encodeWithSignature(
                "executeRescue(bytes32,(uint16,uint128,uint32,(uint8,uint16,uint8,uint8,uint128)[]))",
                _planId(1),
                _rescue(A, _native(D, 1 ether))
            )
        );
        _assertReentryRefused(abi.encodeWithSelector(IMarginGuard.CallerIsNotGuard.selector));
    }

    function test_TheLockOpensAgain() public {
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        vm.prank(owner);
        guard.sweep(address(weth));
    }

    /* ORACLES */

    function test_ARevertingOracleFailsAlone() public {
        daiFeed.setAnswer(-1);
        IMarginGuard.Result[] memory results = _rebalance(
            _batch(_rescue(A, _native(C, 1 ether)), _rescue(C, _native(D, 1 ether)), _rescue(A, _native(B, 1 ether)))
        );
        assertFalse(results[0].ok, "a donor whose health nobody knows gives nothing");
        assertFalse(results[1].ok, "nor does such a recipient receive");
        assertTrue(results[2].ok);
        assertEq(_collateral(usdc86), 11 ether);
        assertEq(_collateral(dai86), 10 ether);
    }

    function test_ADonorWithoutDebtNeedsNoOracle() public {
        daiFeed.setAnswer(-1);
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        assertEq(_collateral(usdc86), 11 ether);
    }

    /* HELPERS */

    function _setKeeper(address to) private {
        keeper = to;
        vm.prank(owner);
        guard.setKeeper(to);
    }

    function _assertReentryRefused(bytes memory answer) private {
        _rebalance(_batch(_rescue(X, _native(Y, 1 ether))));
        assertEq(token.reentryAnswer(), answer);
        assertEq(_collateral(hostile86), 11 ether);
        assertEq(_collateral(usdc86), 10 ether);
    }

    function _assertFailsAlone(IMarginGuard.Transfer memory transfer, bytes memory reason) private {
        assertEq(_assertFailsAlone(transfer), reason);
    }

    /// @dev In the middle of a batch: those before and after it take effect, and nothing of it is left.
    function _assertFailsAlone(IMarginGuard.Transfer memory transfer) private returns (bytes memory reason) {
        uint256 collateral = _collateral(usdc86);
        IMarginGuard.Result[] memory results = _rebalance(
            _batch(_rescue(A, _native(D, 0.5 ether)), _rescue(X, transfer), _rescue(A, _native(B, 0.5 ether)))
        );
        assertTrue(results[0].ok);
        assertFalse(results[1].ok);
        assertTrue(results[2].ok);
        assertEq(_collateral(usdc86), collateral + 1 ether);
        assertEq(_collateral(hostile86), 10 ether);
        assertEq(_collateral(hostile77), 10 ether);
        assertEq(token.allowance(address(guard), address(morpho)), 0);
        assertEq(guard.remainingCap(address(token)), 1_000 ether);
        assertLe(results[1].gasUsed, RESCUE_GAS + 1_000);
        return results[1].reason;
    }
}

/// @notice Reverts with 1000 bytes: 0, 1, 2 ... 255, 0, 1 ...
contract LongRevert {
    fallback() external {
        bytes memory reason = new bytes(1000);
        for (uint256 i; i < 1000; ++i) {
            reason[i] = bytes1(uint8(i));
        }
        assembly {
            revert(add(reason, 32), 1000)
        }
    }
}
