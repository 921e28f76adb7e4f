// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {RollingCap} from "../../src/RollingCap.sol";

/// @notice Proofs on the rolling cap alone, for every amount, cap and time at once. scripts/prove runs them with halmos.
contract CapProofs is Test {
    using RollingCap for RollingCap.Counter;

    uint32 private constant WINDOW = 1 days;

    RollingCap.Counter private counter;

    /// @dev Three spends, at any times and in any counter that was in use before: those that fall into one window.
    function check_P5_NoWindowHoldsMoreThanTheCap(
        uint128[3] memory amounts,
        uint32[3] memory times,
        uint128 cap,
        uint128 earlier
    ) public {
        vm.assume(times[0] <= times[1] && times[1] <= times[2]);
        vm.warp(times[0]);
        counter.set(cap, WINDOW);
        counter.spend(earlier);
        uint256 inWindow;
        for (uint256 i; i < 3; ++i) {
            vm.warp(times[i]);
            bool spent = counter.spend(amounts[i]);
            if (spent && uint256(times[i]) + WINDOW > times[2]) inWindow += amounts[i];
        }
        assert(inWindow <= cap);
    }

    /// @dev Another cap, another window: what counted before counts for a whole new window at least.
    function check_P5_SettingACapMakesNoRoom(
        uint128 cap,
        uint128 spent,
        uint128 newCap,
        uint32 start,
        uint32 later,
        bool sameWindow
    ) public {
        uint32 window = sameWindow ? WINDOW : 1 hours;
        vm.assume(later < window);
        vm.warp(start);
        counter.set(cap, WINDOW);
        if (!counter.spend(spent)) return;
        counter.set(newCap, window);
        assert(counter.remaining() == (spent < newCap ? newCap - spent : 0));
        vm.warp(uint256(start) + later);
        assert(counter.remaining() == (spent < newCap ? newCap - spent : 0));
    }

    /// @dev What is refused changes nothing; what is spent is spent in full.
    function check_P5_ASpendIsCountedInFull(uint128 cap, uint128 first, uint128 second, uint32 time) public {
        vm.warp(time);
        counter.set(cap, WINDOW);
        uint256 room = counter.remaining();
        bool spent = counter.spend(first);
        assert(spent == (first <= room));
        assert(counter.remaining() == room - (spent ? first : 0));
        if (counter.spend(second)) assert(uint256(second) + (spent ? first : 0) <= cap);
    }
}
