// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {Vm} from "forge-std/Vm.sol";
import {Asset, IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {Record} from "../src/Record.sol";

interface ISharesWithdraw {
    function withdraw(IMarginGuard.Protocol protocol, Asset calldata asset, address account, uint256 amount) external;
}

/// @notice Where a guard is, what it is at the beginning, and that it fits on a chain.
contract DeploymentTest is Test {
    address private constant DEPLOYER = 0x4e59b44847b379578588920cA78FbF26c0B4956C;
    bytes private constant DEPLOYER_CODE =
        hex"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3";
    address private owner = makeAddr("owner");

    function test_TheAddressDependsOnTheOwnerAlone() public {
        uint256 fresh = vm.snapshotState();
        address here = _deploy(owner);
        bytes32 codeHash = here.codehash;
        assertNotEq(_deploy(makeAddr("another owner")), here);

        vm.revertToState(fresh);
        vm.chainId(8453);
        vm.warp(block.timestamp + 1 days);
        vm.startPrank(makeAddr("anybody"), makeAddr("anybody"));
        assertEq(_deploy(owner), here);
        assertEq(here.codehash, codeHash);
    }

    function test_BeginsWithAnOwnerAndNothingElse() public {
        IMarginGuard guard = IMarginGuard(_deploy(owner));
        assertEq(guard.owner(), owner);
        assertEq(guard.keeper(), address(0));
        assertFalse(guard.paused());
        assertEq(guard.lastSequence(), 0);
        assertEq(guard.accountCount(), 0);
        assertEq(guard.accounts().length, 0);
    }

    function test_RevertIf_OwnerIsZero() public {
        bytes memory initCode = _initCode(address(0));
        address made;
        vm.expectRevert(IMarginGuard.OwnerIsZero.selector);
        assembly {
            made := create(0, add(initCode, 32), mload(initCode))
        }
    }

    function test_FitsUnderTheCodeSizeLimit() public {
        assertLe(_deploy(owner).code.length, 24_576); // EIP-170
        assertLe(_initCode(owner).length, 49_152); // EIP-3860
    }

    function test_HoldsNoInstructionThatRunsAnyOtherCodeOrEndsIt() public {
        // CALLCODE and SELFDESTRUCT, where they are instructions and not data of a PUSH.
        bytes memory code = _deploy(owner).code;
        for (uint256 i; i < code.length; ++i) {
            uint8 opcode = uint8(code[i]);
            assertTrue(opcode != 0xf2 && opcode != 0xff);
            if (opcode >= 0x60 && opcode <= 0x7f) i += opcode - 0x5f;
        }
        // DELEGATECALL is of the compiler's making alone, to the library that is linked: nobody wrote one.
        Vm.DirEntry[] memory entries = vm.readDir("./src", 2);
        uint256 sources;
        for (uint256 i; i < entries.length; ++i) {
            if (entries[i].isDir) continue;
            string memory source = vm.readFile(entries[i].path);
            assertFalse(vm.contains(source, "delegatecall"), entries[i].path);
            ++sources;
        }
        assertGe(sources, 15);
    }

    function test_TheLibraryFitsAndHoldsNothingThatEndsIt() public {
        bytes memory code = vm.getDeployedCode("Shares.sol:Shares");
        assertLe(code.length, 24_576);
        for (uint256 i; i < code.length; ++i) {
            uint8 opcode = uint8(code[i]);
            // Nor does it store anything, or run other code.
            assertTrue(opcode != 0xf2 && opcode != 0xf4 && opcode != 0xff && opcode != 0x55 && opcode != 0x5d);
            if (opcode >= 0x60 && opcode <= 0x7f) i += opcode - 0x5f;
        }
    }

    /// @dev Called by anybody else than a guard it refuses, or reads.
    function test_RevertIf_TheLibraryIsCalledByItself() public {
        address library_ = deployCode("Shares.sol:Shares");
        Asset memory asset = Asset(address(this), address(this), address(this));
        vm.expectRevert(bytes(""));
        ISharesWithdraw(library_).withdraw(IMarginGuard.Protocol.Euler, asset, owner, 1);
    }

    function test_TakesNoCoins() public {
        address guard = _deploy(owner);
        vm.deal(owner, 1 ether);
        vm.prank(owner);
        (bool ok,) = guard.call{value: 1}("");
        assertFalse(ok);
    }

    function testFuzz_ARecordReadsAsItWasWritten(bytes memory data) public {
        vm.assume(data.length < 24_576);
        assertEq(Record.read(Record.write(data)), data);
    }

    function test_ARecordDoesNothingWhenCalled() public {
        (bool ok, bytes memory answer) = Record.write(hex"fe6001600155").call("");
        assertTrue(ok);
        assertEq(answer.length, 0);
    }

    function test_RevertIf_RecordIsNotWritten() public {
        // Too little gas for the 200 per byte of code.
        vm.expectRevert(Record.RecordNotWritten.selector);
        this.write{gas: 1_800_000}(new bytes(10_000));
    }

    function write(bytes memory data) external {
        Record.write(data);
    }

    function _deploy(address owner_) private returns (address guard) {
        vm.etch(DEPLOYER, DEPLOYER_CODE);
        (bool ok, bytes memory answer) = DEPLOYER.call(abi.encodePacked(bytes32(0), _initCode(owner_)));
        assertTrue(ok);
        guard = address(bytes20(answer));
        assertGt(guard.code.length, 0);
    }

    function _initCode(address owner_) private view returns (bytes memory) {
        return abi.encodePacked(vm.getCode("MarginGuard.sol:MarginGuard"), abi.encode(owner_));
    }
}
