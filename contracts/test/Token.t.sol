// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {Token} from "../src/Token.sol";
import {HostileToken} from "./hostile/HostileToken.sol";

/// @notice When a token call counts as done.
contract TokenTest is Test {
    address private receiver = makeAddr("receiver");
    HostileToken private token;

    function setUp() public {
        token = new HostileToken();
        token.mint(address(this), 10);
    }

    function test_TrueAndNothingAreDone() public {
        this.send(address(token));
        token.turn(HostileToken.Way.AnswersNothing);
        this.send(address(token));
        assertEq(token.balanceOf(receiver), 2);
    }

    function test_RevertIf_TokenAnswersFalse() public {
        token.turn(HostileToken.Way.AnswersFalse);
        _expectFailed(address(token));
    }

    function test_RevertIf_TokenReverts() public {
        token.turn(HostileToken.Way.Reverts);
        _expectFailed(address(token));
    }

    function test_RevertIf_TokenHasNoCode() public {
        _expectFailed(makeAddr("no token"));
    }

    function test_RevertIf_TokenAnswersNoBool() public {
        token.turn(HostileToken.Way.AnswersGarbage);
        vm.expectRevert(bytes(""));
        this.send(address(token));
    }

    function send(address to) external {
        Token.send(to, receiver, 1);
    }

    function _expectFailed(address to) private {
        vm.expectRevert(abi.encodeWithSelector(Token.TokenCallFailed.selector, to));
        this.send(to);
    }
}
