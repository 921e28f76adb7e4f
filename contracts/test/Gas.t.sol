// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {Setting} from "./Setting.sol";
import {console} from "forge-std/console.sol";

/// forge-config: default.isolate = true
contract GasTest is Setting {
    function setUp() public override {
        super.setUp();
        // A batch of yesterday: storage that a first use would write for the first time.
        _rebalance(_batch(_rescue(A, _native(B, 1))));
        vm.warp(block.timestamp + 300);
    }

    function test_Single() public {
        _rebalance(_batch(_rescue(A, _native(B, 1 ether))));
        console.log("single", vm.lastCallGas().gasTotalUsed, uint256(int256(vm.lastCallGas().gasRefunded)));
    }
    function test_SingleNoDebtDonor() public {
        _rebalance(_batch(_rescue(A, _native(D, 1 ether))));
        console.log("no debt", vm.lastCallGas().gasTotalUsed, uint256(int256(vm.lastCallGas().gasRefunded)));
    }
    function test_SingleWallet() public {
        _rebalance(_batch(_rescue(A, _cross(WALLET, 1 ether))));
        console.log("wallet", vm.lastCallGas().gasTotalUsed, uint256(int256(vm.lastCallGas().gasRefunded)));
    }
    function test_Bare() public {
        vm.startPrank(owner);
        weth.transfer(lender, weth.balanceOf(owner));
        weth.approve(address(morpho), type(uint256).max);
        morpho.withdrawCollateral(usdc77, 1 ether, owner, owner);
        console.log("withdraw", vm.lastCallGas().gasTotalUsed, uint256(int256(vm.lastCallGas().gasRefunded)));
        morpho.supplyCollateral(usdc86, 1 ether, owner, "");
        console.log("supply", vm.lastCallGas().gasTotalUsed, uint256(int256(vm.lastCallGas().gasRefunded)));
    }
}
