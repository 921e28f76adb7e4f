// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {AbstractToken} from "../symbolic/AbstractProtocol.sol";
import {Turning} from "./Turning.sol";

/// @notice What turns, or takes, gives and books as it pleases.
abstract contract Moody is Turning {
    struct Mood {
        uint256 burns; // of its own tokens, for a withdrawal of any amount
        uint256 gives;
        uint256 takes; // for a supply or a repayment
        uint256 leaves; // of the allowance
        uint256 credits; // more collateral, or less debt
    }

    bool internal _isMoody;
    Mood internal _mood;

    function doAsYouPlease(Mood calldata mood) external {
        (_isMoody, _mood) = (true, mood);
    }

    function _collect(AbstractToken token, uint256 amount) internal {
        token.set(msg.sender, token.balanceOf(msg.sender) - (_isMoody ? _mood.takes : amount));
        uint256 left = token.allowance(msg.sender, address(this)) - amount;
        token.setAllowance(msg.sender, address(this), _isMoody ? _mood.leaves : left);
    }
}
