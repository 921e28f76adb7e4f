// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {RollingCap} from "../../src/RollingCap.sol";

/// @notice Proofs on the rolling cap alone, for every amount, cap and time at once. scripts/prove runs them with halmos.
/// @dev The windows are powers of two, by which a solver divides at once.
contract CapProofs is Test {
    using RollingCap for RollingCap.Counter;

    uint32 private constant WINDOW = 1 << 16; // 18.2 hours
    uint32 private constant SHORTER = 1 << 12;

    RollingCap.Counter private counter;

    /// @dev A spend at any time, then two that are at most a window after it, in a counter that was in use before.
    function check_P5_NoWindowHoldsMoreThanTheCap(
        uint128 cap,
        uint128 earlier,
        uint128 first,
        uint128 second,
        uint128 third,
        uint32 start,
        uint32 later,
        uint32 last
    ) public {
        vm.assume(later <= last && last < WINDOW);
        vm.warp(start);
        counter.set(cap, WINDOW);
        counter.spend(earlier);
        uint256 inWindow;
        if (counter.spend(first)) inWindow += first;
        vm.warp(uint256(start) + later);
        if (counter.spend(second)) inWindow += second;
        vm.warp(uint256(start) + last);
        if (counter.spend(third)) inWindow += third;
        assert(inWindow <= cap);
    }

    /// @dev Another cap: what counted before counts for a whole window at least.
    function check_P5_AnotherCapMakesNoRoom(uint128 cap, uint128 spent, uint128 newCap, uint32 start, uint32 later)
        public
    {
        _assertMakesNoRoom(cap, spent, newCap, start, later, WINDOW);
    }

    /// @dev Another window as well: for a whole new window at least.
    function check_P5_AnotherWindowMakesNoRoom(uint128 cap, uint128 spent, uint128 newCap, uint32 start, uint32 later)
        public
    {
        _assertMakesNoRoom(cap, spent, newCap, start, later, SHORTER);
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

    function _assertMakesNoRoom(
        uint128 cap,
        uint128 spent,
        uint128 newCap,
        uint32 start,
        uint32 later,
        uint32 newWindow
    ) private {
        vm.assume(later < newWindow);
        vm.warp(start);
        counter.set(cap, WINDOW);
        if (!counter.spend(spent)) return;
        counter.set(newCap, newWindow);
        assert(counter.remaining() == (spent < newCap ? newCap - spent : 0));
        vm.warp(uint256(start) + later);
        assert(counter.remaining() == (spent < newCap ? newCap - spent : 0));
    }
}
