// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {TwoOfThree} from "./TwoOfThree.sol";
import {Setting} from "./Setting.sol";

/// @notice The owner may be a contract: whatever an owner does, two signatures of three do.
contract MultisigTest is Setting {
    uint256[3] private _keys = [uint256(0xA1), 0xA2, 0xA3];
    TwoOfThree private multisig;

    /// @dev The guard of `Setting` is the person's; here everything is done again for the contract.
    function setUp() public override {
        multisig = new TwoOfThree([vm.addr(_keys[0]), vm.addr(_keys[1]), vm.addr(_keys[2])]);
        super.setUp();
        owner = address(multisig);
        guard = IMarginGuard(deployCode("MarginGuard.sol:MarginGuard", abi.encode(owner)));
        _openFor(owner, usdc86, 10 ether, 14_000e6);
        _openFor(owner, dai77, 10 ether, 0);
    }

    function test_DoesEverythingThatAnOwnerDoes() public {
        _exec(address(morpho), abi.encodeCall(morpho.setAuthorization, (address(guard), true)));
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](3);
        (list[0], list[1]) = (_morphoAccountOf(owner, usdc86), _morphoAccountOf(owner, dai77));
        list[2] = _walletAccount(owner, address(weth));
        _exec(abi.encodeCall(guard.enrol, (list)));
        IMarginGuard.Cap[] memory caps = new IMarginGuard.Cap[](1);
        caps[0] = IMarginGuard.Cap(address(weth), 5 ether, 1 days);
        _exec(abi.encodeCall(guard.setCaps, (caps)));
        _exec(abi.encodeCall(guard.setKeeper, (keeper)));
        assertEq(guard.keeper(), keeper);

        _rebalance(_batch(_rescue(0, _native(1, 1 ether))));
        assertEq(_collateral(usdc86), 11 ether);
        weth.mint(owner, 2 ether);
        _exec(address(weth), abi.encodeCall(weth.approve, (address(guard), 1 ether)));
        _rebalance(_batch(_rescue(0, _cross(2, 1 ether))));
        assertEq(_collateral(usdc86), 12 ether);

        IMarginGuard.Policy memory tighter = IMarginGuard.Policy(1.3e18, 1.2e18, 1.5e18, 1.1e18);
        _exec(abi.encodeCall(guard.setPolicy, (0, tighter)));
        assertEq(guard.account(0).policy.minAfter, 1.2e18);
        _exec(abi.encodeCall(guard.pause, ()));
        assertTrue(guard.paused());
        _exec(abi.encodeCall(guard.unpause, ()));
        assertFalse(guard.paused());

        weth.mint(address(guard), 3 ether);
        _exec(abi.encodeCall(guard.sweep, (address(weth))));
        assertEq(weth.balanceOf(owner), 1 ether + 3 ether);

        uint16[] memory retired = new uint16[](1);
        retired[0] = 1;
        _exec(abi.encodeCall(guard.retire, (retired)));
        assertTrue(guard.account(1).retired);
    }

    function test_ReplacesAStolenKeyInOneTransaction() public {
        _exec(abi.encodeCall(guard.setKeeper, (thief)));
        _exec(abi.encodeCall(guard.setKeeper, (keeper)));
        vm.prank(thief);
        vm.expectRevert(IMarginGuard.CallerIsNotOwnerOrKeeper.selector);
        guard.pause();
    }

    function test_RevertIf_OnlyOneSigned() public {
        bytes memory data = abi.encodeCall(guard.setKeeper, (thief));
        bytes[2] memory signatures = [_sign(0, address(guard), data), _sign(0, address(guard), data)];
        vm.expectRevert(TwoOfThree.NotTwoSigners.selector);
        multisig.exec(address(guard), data, signatures);
    }

    function test_RevertIf_TheSignersCallThemselves() public {
        for (uint256 i; i < 3; ++i) {
            vm.prank(vm.addr(_keys[i]));
            vm.expectRevert(IMarginGuard.CallerIsNotOwner.selector);
            guard.setKeeper(thief);
        }
    }

    function test_RevertIf_WhatWasSignedOnceComesAgain() public {
        bytes memory data = abi.encodeCall(guard.setKeeper, (keeper));
        bytes[2] memory signatures = [_sign(0, address(guard), data), _sign(1, address(guard), data)];
        multisig.exec(address(guard), data, signatures);
        vm.expectRevert(TwoOfThree.NotTwoSigners.selector);
        multisig.exec(address(guard), data, signatures);
    }

    /* HELPERS */

    function _exec(bytes memory data) private {
        _exec(address(guard), data);
    }

    function _exec(address to, bytes memory data) private {
        multisig.exec(to, data, [_sign(0, to, data), _sign(2, to, data)]);
    }

    function _sign(uint256 who, address to, bytes memory data) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(_keys[who], multisig.digest(to, data));
        return abi.encodePacked(r, s, v);
    }
}
