// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";

/// @notice A token that turns against the guard when it is told to, in one way at a time.
contract HostileToken {
    enum Way {
        Honest,
        AnswersNothing,
        AnswersFalse,
        ApprovalAnswersFalse,
        AnswersGarbage,
        TakesAFee,
        GivesTooMuch,
        TakesTooLittle,
        KeepsTheAllowance,
        Reverts,
        RevertsWithABomb,
        AnswersABomb,
        BurnsAllGas,
        Reenters
    }

    uint8 public constant decimals = 18;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    Way public way;
    bytes private _reentry;
    address private _reentered;
    bytes public reentryAnswer;

    function turn(Way to) external {
        way = to;
    }

    /// @notice What it calls from within a transfer.
    function turnReentrant(address target, bytes calldata data) external {
        (way, _reentered, _reentry) = (Way.Reenters, target, data);
    }

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
        _answer(way == Way.ApprovalAnswersFalse ? Way.AnswersFalse : Way.Honest);
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
        _answer(way);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        if (way != Way.KeepsTheAllowance) allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
        _answer(way);
    }

    function _move(address from, address to, uint256 amount) private {
        if (way == Way.Reverts) revert("no");
        if (way == Way.RevertsWithABomb) {
            assembly {
                revert(0, 200000)
            }
        }
        if (way == Way.BurnsAllGas) {
            assembly {
                invalid()
            }
        }
        if (way == Way.Reenters) {
            bool ok;
            (ok, reentryAnswer) = _reentered.call(_reentry);
            require(!ok, "let in");
        }
        balanceOf[from] -= way == Way.TakesTooLittle ? amount - 1 : amount;
        balanceOf[to] += way == Way.TakesAFee ? amount - 1 : way == Way.GivesTooMuch ? amount + 1 : amount;
    }

    function _answer(Way how) private pure {
        if (how == Way.AnswersNothing) {
            assembly {
                return(0, 0)
            }
        }
        if (how == Way.AnswersABomb) {
            assembly {
                return(0, 200000)
            }
        }
        uint256 word = how == Way.AnswersFalse ? 0 : how == Way.AnswersGarbage ? 2 : 1;
        assembly {
            mstore(0, word)
            return(0, 32)
        }
    }
}
