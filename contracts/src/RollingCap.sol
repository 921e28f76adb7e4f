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
        Counter memory now_ = _now(self);
        if (amount > _remaining(now_)) return false;
        now_.current += amount;
        _store(self, now_);
        return true;
    }

    /// @notice Sets a cap, without ever refunding what was spent under the old one.
    /// @dev With another window the epochs differ: everything still counted then counts as spent now.
    /// What the old window had forgotten stays forgotten, also when the new one is longer.
    function set(Counter storage self, uint128 amount, uint32 window) internal {
        Counter memory now_ = _now(self);
        if (window != now_.window) {
            (now_.previous, now_.current) = (0, now_.previous + now_.current);
            (now_.window, now_.epoch) = (window, _epoch(window));
        }
        now_.amount = amount;
        _store(self, now_);
    }

    function remaining(Counter storage self) internal view returns (uint256) {
        return _remaining(_now(self));
    }

    function _remaining(Counter memory now_) private pure returns (uint256) {
        uint256 spent = uint256(now_.previous) + now_.current;
        return spent < now_.amount ? now_.amount - spent : 0;
    }

    /// @dev The counter as it stands in the epoch of this block.
    function _now(Counter storage self) private view returns (Counter memory now_) {
        now_ = self;
        if (now_.window == 0) return now_;
        uint64 epoch = _epoch(now_.window);
        if (epoch == now_.epoch) return now_;
        now_.previous = epoch == now_.epoch + 1 ? now_.current : 0;
        now_.current = 0;
        now_.epoch = epoch;
    }

    function _store(Counter storage self, Counter memory now_) private {
        self.amount = now_.amount;
        self.current = now_.current;
        self.previous = now_.previous;
        self.window = now_.window;
        self.epoch = now_.epoch;
    }

    function _epoch(uint32 window) private view returns (uint64) {
        return uint64(block.timestamp / window);
    }
}
