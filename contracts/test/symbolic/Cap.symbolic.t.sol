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

    /// @dev One step of the proof for any number of spends: if `current` and `previous` are what was spent in the epoch of
    /// the last spend and in the one before, then they are so afterwards, and together no more than the cap.
    function check_P5_OneSpendKeepsTheBooks(
        uint128 cap,
        uint128 current,
        uint128 previous,
        uint32 epoch,
        uint48 time,
        uint128 amount
    ) public {
        vm.assume(time >= uint256(epoch) * WINDOW);
        vm.assume(amount != 0); // the guard refuses it; under a cap that was lowered below what is spent, it would pass
        counter = RollingCap.Counter(cap, current, previous, WINDOW, epoch);
        vm.warp(time);
        if (!counter.spend(amount)) return;
        uint256 now_ = time / WINDOW;
        assert(counter.epoch == now_);
        assert(counter.current == (now_ == epoch ? uint256(current) : 0) + amount);
        assert(counter.previous == (now_ == epoch ? previous : now_ == uint256(epoch) + 1 ? current : 0));
        assert(uint256(counter.current) + counter.previous <= cap);
        assert(counter.amount == cap && counter.window == WINDOW);
    }

    /// @dev The other step: what falls into one window falls into this epoch or the one before.
    function check_P5_AWindowTouchesTwoEpochs(uint48 earlier, uint48 later) public pure {
        vm.assume(earlier <= later && later - earlier < WINDOW);
        assert(later / WINDOW - earlier / WINDOW <= 1);
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
