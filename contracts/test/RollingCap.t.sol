// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {RollingCap} from "../src/RollingCap.sol";

/// @notice The cap holds in every stretch of one window, wherever that begins.
contract RollingCapTest is Test {
    using RollingCap for RollingCap.Counter;

    uint32 private constant WINDOW = 1000;
    uint256 private constant EPOCH_START = 1_700_000_000; // a multiple of WINDOW

    RollingCap.Counter private counter;

    struct Spend {
        uint256 time;
        uint256 amount;
    }

    Spend[] private spends;

    function setUp() public {
        vm.warp(EPOCH_START);
        counter.set(100, WINDOW);
    }

    function test_SpendsUpToTheCapAndNoMore() public {
        assertTrue(counter.spend(99));
        assertEq(counter.remaining(), 1);
        assertFalse(counter.spend(2));
        assertEq(counter.remaining(), 1, "what was refused was not spent");
        assertTrue(counter.spend(1));
        assertFalse(counter.spend(1));
    }

    function test_WhatWasSpentCountsInTheNextEpochToo() public {
        counter.spend(60);
        vm.warp(EPOCH_START + WINDOW - 1);
        assertEq(counter.remaining(), 40);
        vm.warp(EPOCH_START + WINDOW);
        assertEq(counter.remaining(), 40);
        assertTrue(counter.spend(40));
        vm.warp(EPOCH_START + 2 * WINDOW - 1);
        assertEq(counter.remaining(), 0);
        vm.warp(EPOCH_START + 2 * WINDOW);
        assertEq(counter.remaining(), 60, "the first spend is free again, the second is not");
        vm.warp(EPOCH_START + 3 * WINDOW);
        assertEq(counter.remaining(), 100);
    }

    function test_AfterALongPauseEverythingIsFree() public {
        counter.spend(100);
        vm.warp(EPOCH_START + 2 * WINDOW);
        assertEq(counter.remaining(), 100);
        assertTrue(counter.spend(100));
        assertEq(counter.remaining(), 0);
    }

    function test_AnUnsetCapIsZero() public {
        delete counter;
        assertEq(counter.remaining(), 0);
        assertFalse(counter.spend(1));
    }

    function test_ALowerCapCountsWhatWasSpent() public {
        counter.spend(60);
        counter.set(50, WINDOW);
        assertEq(counter.remaining(), 0);
        assertFalse(counter.spend(1));
        counter.set(70, WINDOW);
        assertEq(counter.remaining(), 10);
    }

    function test_TheSameWindowKeepsItsEpochs() public {
        counter.spend(60);
        vm.warp(EPOCH_START + WINDOW);
        counter.spend(10);
        counter.set(100, WINDOW);
        assertEq(counter.remaining(), 30);
        vm.warp(EPOCH_START + 2 * WINDOW);
        assertEq(counter.remaining(), 90, "60 are free as they were going to be");
    }

    function test_AnotherWindowCountsEverythingAsSpentNow() public {
        counter.spend(60);
        vm.warp(EPOCH_START + WINDOW);
        counter.spend(10);
        counter.set(100, 300);
        assertEq(counter.remaining(), 30);
        // 1700001000 is also a multiple of 300; all 70 count to the end of the epoch after.
        vm.warp(EPOCH_START + WINDOW + 599);
        assertEq(counter.remaining(), 30);
        vm.warp(EPOCH_START + WINDOW + 600);
        assertEq(counter.remaining(), 100);
    }

    /// @dev Many spends at many times: no stretch of one window ever holds more than the cap.
    function testFuzz_NoStretchOfOneWindowExceedsTheCap(uint256 seed) public {
        for (uint256 i; i < 60; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            vm.warp(block.timestamp + (seed % 4 == 0 ? seed % 2500 : seed % 300));
            uint128 amount = uint128(1 + (seed >> 64) % 60);
            uint256 remaining = counter.remaining();
            bool spent = counter.spend(amount);
            assertEq(spent, amount <= remaining);
            if (spent) spends.push(Spend(block.timestamp, amount));
        }
        for (uint256 last; last < spends.length; ++last) {
            uint256 sum;
            for (uint256 i; i <= last; ++i) {
                if (spends[i].time + WINDOW > spends[last].time) sum += spends[i].amount;
            }
            assertLe(sum, 100);
        }
        assertGt(spends.length, 5);
    }

    /// @dev Setting a cap never lets more be spent than the new one allows beside what still counted.
    function testFuzz_SettingACapMakesNoRoom(uint128 amount, uint32 window, uint32 later, uint8 first, uint8 second)
        public
    {
        window = uint32(bound(window, 1, 30 days));
        counter.spend(uint128(bound(first, 1, 50)));
        vm.warp(block.timestamp + WINDOW);
        counter.spend(uint128(bound(second, 1, 50)));
        uint256 counted = 100 - counter.remaining();
        counter.set(amount, window);
        assertEq(counter.remaining(), amount > counted ? amount - counted : 0);
        vm.warp(block.timestamp + bound(later, 0, window - 1));
        assertEq(counter.remaining(), amount > counted ? amount - counted : 0, "for a whole window at least");
    }
}
