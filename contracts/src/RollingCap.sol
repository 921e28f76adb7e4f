// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice A cap on what may be spent in any `window` seconds, in two storage slots however many spends there are.
/// @dev Time is cut into epochs of one window. A stretch of one window touches at most two of them, and what was spent in
/// this epoch and the one before never exceeds the cap; so no stretch does. A spend is free again after one to two windows.
library RollingCap {
    struct Counter {
        uint128 amount;
        uint128 current;
        uint128 previous;
        uint32 window;
        uint64 epoch;
    }

    /// @return Whether it was spent; if not, nothing changed.
    function spend(Counter storage self, uint128 amount) internal returns (bool) {
        if (amount > remaining(self)) return false;
        (uint128 previous, uint128 current) = _spent(self);
        uint64 epoch = _epoch(self.window);
        // The second slot changes only when an epoch begins.
        if (epoch != self.epoch) (self.epoch, self.previous) = (epoch, previous);
        self.current = current + amount;
        return true;
    }

    /// @notice Sets a cap, without ever refunding what was spent under the old one.
    /// @dev With another window the epochs differ: everything still counted then counts as spent now.
    /// What the old window had forgotten stays forgotten, also when the new one is longer.
    function set(Counter storage self, uint128 amount, uint32 window) internal {
        (uint128 previous, uint128 current) = _spent(self);
        if (window != self.window) (previous, current) = (0, previous + current);
        self.amount = amount;
        self.current = current;
        self.previous = previous;
        self.window = window;
        self.epoch = _epoch(window);
    }

    function remaining(Counter storage self) internal view returns (uint256) {
        (uint128 previous, uint128 current) = _spent(self);
        uint256 spent = uint256(previous) + current;
        return spent < self.amount ? self.amount - spent : 0;
    }

    /// @return previous Spent in the epoch before this one.
    /// @return current Spent in this epoch.
    function _spent(Counter storage self) private view returns (uint128 previous, uint128 current) {
        if (self.window == 0) return (0, 0);
        uint64 passed = _epoch(self.window) - self.epoch;
        if (passed == 0) return (self.previous, self.current);
        if (passed == 1) return (self.current, 0);
    }

    function _epoch(uint32 window) private view returns (uint64) {
        return uint64(block.timestamp / window);
    }
}
