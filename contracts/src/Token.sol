// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IERC20} from "./interfaces/IERC20.sol";
import {IMarginGuard} from "./interfaces/IMarginGuard.sol";

/// @notice Token calls that count as done only if the token has code and answers true or nothing.
library Token {
    error TokenCallFailed(address token);
    error AllowanceLeft(address token, address spender, uint256 amount);

    function send(address token, address to, uint256 amount) internal {
        _call(token, abi.encodeCall(IERC20.transfer, (to, amount)));
    }

    function pull(address token, address from, uint256 amount) internal {
        pullTo(token, from, address(this), amount);
    }

    function pullTo(address token, address from, address to, uint256 amount) internal {
        _call(token, abi.encodeCall(IERC20.transferFrom, (from, to, amount)));
    }

    function approve(address token, address spender, uint256 amount) internal {
        _call(token, abi.encodeCall(IERC20.approve, (spender, amount)));
    }

    function requireNoAllowance(address token, address spender) internal view {
        uint256 left = IERC20(token).allowance(address(this), spender);
        if (left != 0) revert AllowanceLeft(token, spender, left);
    }

    function balance(address token, address holder) internal view returns (uint256) {
        return IERC20(token).balanceOf(holder);
    }

    function ownBalance(address token) internal view returns (uint256) {
        return balance(token, address(this));
    }

    /// @notice What passed through the guard is gone, and what lay in it is still there.
    function requireBalance(address token, uint256 before) internal view {
        uint256 afterwards = ownBalance(token);
        if (afterwards != before) revert IMarginGuard.BalanceChanged(token, before, afterwards);
    }

    function _call(address token, bytes memory data) private {
        (bool ok, bytes memory answer) = token.call(data);
        // An answer that is no bool reverts in `decode`, which is a refusal as well.
        if (!ok || token.code.length == 0 || (answer.length != 0 && !abi.decode(answer, (bool)))) {
            revert TokenCallFailed(token);
        }
    }
}
