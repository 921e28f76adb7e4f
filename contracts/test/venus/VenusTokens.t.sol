// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {TestToken} from "../../devnet/TestToken.sol";
import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {VenusPools} from "../../src/protocols/VenusPools.sol";
import {VenusSetting} from "./VenusSetting.sol";

/// @dev A thousandth of whatever moves is gone.
contract FeeToken is TestToken("Wrapped Ether", "WETH", 18) {
    function _move(address from, address to, uint256 amount) internal override {
        super._move(from, to, amount);
        balanceOf[to] -= amount / 1_000;
    }
}

/// @notice An underlying that does not arrive as it left, on the real pool: nothing of it passes through the guard. vTokens of
/// it are as good as others; and dust of them is in nobody's way.
contract VenusTokensTest is VenusSetting {
    uint128 private constant AMOUNT = 1 ether;
    uint256 private constant LESS = AMOUNT / 1_000;

    function setUp() public override {
        super.setUp();
        vm.etch(address(weth), address(new FeeToken()).code);
    }

    function test_RevertIf_TheUnderlyingTakesAFee() public {
        IMarginGuard.Kind cross = IMarginGuard.Kind.Cross;
        // From Venus to Morpho, from the wallet to Venus, from Morpho to Venus.
        IMarginGuard.Rescue[3] memory rescues = [
            _rescue(A, _transfer(cross, FREE, WETH, 0, AMOUNT)),
            _rescue(MAIN, _transfer(cross, WALLET, 0, WETH, AMOUNT)),
            _rescue(MAIN, _transfer(cross, D, 0, WETH, AMOUNT))
        ];
        for (uint256 i; i < rescues.length; ++i) {
            bytes memory reason = _refusal(rescues[i]);
            assertEq(bytes4(reason), IMarginGuard.ReceivedAmountDiffers.selector);
            (address token, uint256 expected, uint256 received) = _differing(reason);
            assertEq(token, address(weth));
            assertEq(expected, AMOUNT);
            assertApproxEqAbs(received, AMOUNT - LESS, _grain(vWeth));
        }
    }

    function test_VTokensOfItMoveAsOthers() public {
        _assertSaved(_tokens(FREE, AMOUNT));
    }

    /* DUST */

    /// @dev A hundred-millionth of a dollar, where it backs nothing.
    function test_DustInAMarketThatWasNotEnteredKeepsNothingFromMoving() public {
        vm.prank(free);
        vUsdc.transfer(owner, 1);
        uint256 before = guard.health(MAIN);
        _assertSaved(_tokens(FREE, AMOUNT));
        assertGt(guard.health(MAIN), before);
        assertEq(vUsdc.balanceOf(owner), 1);
    }

    /// @dev A vToken is the least that can be booked, and an amount of few of them would be rounded too roughly.
    function test_RevertIf_AnAccountOfDustGives() public {
        uint256 all = vWeth.balanceOf(free);
        vm.prank(free);
        vWeth.transfer(second, all - 100);
        bytes memory reason = _refusal(_tokens(FREE, uint128(100 * _grain(vWeth))));
        assertEq(bytes4(reason), VenusPools.AmountTooFine.selector);
    }

    function _differing(bytes memory reason) private pure returns (address, uint256, uint256) {
        bytes memory arguments = new bytes(reason.length - 4);
        for (uint256 i; i < arguments.length; ++i) {
            arguments[i] = reason[i + 4];
        }
        return abi.decode(arguments, (address, uint256, uint256));
    }
}
