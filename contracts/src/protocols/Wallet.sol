// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Token} from "../Token.sol";

/// @notice The holder's own tokens, as a donor: the finite allowance that the holder gave the guard is the limit.
/// @dev There is no way to give to a wallet: it has no debt, so it is never a recipient.
library Wallet {
    function withdraw(address holder, address token, uint256 amount) internal {
        Token.pull(token, holder, amount);
    }
}
