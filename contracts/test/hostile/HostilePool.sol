// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {AaveReserve} from "../../src/interfaces/IAave.sol";
import {AbstractToken} from "../symbolic/AbstractProtocol.sol";

/// @notice A pool with one reserve in Aave's place, which was fit to be enrolled and then turns, in one way, at one of the
/// guard's calls, or takes, gives and books as it pleases. Its tokens are at one to one.
contract HostilePool {
    enum Way {
        Honest,
        Reverts,
        RevertsWithABomb,
        AnswersABomb,
        BurnsAllGas,
        Reenters
    }

    enum At {
        Reading,
        Withdrawing,
        Supplying,
        Repaying
    }

    struct Mood {
        uint256 burns; // of aTokens, for a withdrawal of any amount
        uint256 gives;
        uint256 takes; // for a supply or a repayment
        uint256 leaves; // of the allowance
        uint256 credits; // more collateral, or less debt
    }

    uint256 public constant THRESHOLD = 8_300;

    AbstractToken public immutable token = new AbstractToken();
    AbstractToken public immutable aToken = new AbstractToken();
    AbstractToken public immutable debtToken = new AbstractToken();

    Way private _way;
    At private _at;
    address private _reentered;
    bytes private _reentry;
    bool public letIn;
    bool private _isMoody;
    Mood private _mood;
    uint256 private _reported;

    function turn(Way way, At at) external {
        (_way, _at) = (way, at);
    }

    function turnReentrant(At at, address target, bytes calldata data) external {
        (_way, _at, _reentered, _reentry) = (Way.Reenters, at, target, data);
    }

    function doAsYouPlease(Mood calldata mood) external {
        (_isMoody, _mood) = (true, mood);
    }

    function report(uint256 health) external {
        _reported = health;
    }

    function getReserveData(address) external view returns (AaveReserve memory reserve) {
        (reserve.aTokenAddress, reserve.variableDebtTokenAddress) = (address(aToken), address(debtToken));
    }

    function getUserAccountData(address user)
        external
        view
        returns (uint256, uint256, uint256, uint256, uint256, uint256 health)
    {
        if (_at == At.Reading) _force();
        uint256 debt = debtToken.balanceOf(user);
        health = debt == 0 ? type(uint256).max : aToken.balanceOf(user) * THRESHOLD * 1e14 / debt;
        if (_reported != 0 && debt != 0) health = _reported;
        return (0, 0, 0, THRESHOLD, 0, health);
    }

    function withdraw(address, uint256 amount, address to) external returns (uint256) {
        _misbehave(At.Withdrawing);
        aToken.set(msg.sender, aToken.balanceOf(msg.sender) - (_isMoody ? _mood.burns : amount));
        token.set(to, token.balanceOf(to) + (_isMoody ? _mood.gives : amount));
        return amount;
    }

    function supply(address, uint256 amount, address holder, uint16) external {
        _misbehave(At.Supplying);
        _collect(amount);
        aToken.set(holder, aToken.balanceOf(holder) + (_isMoody ? _mood.credits : amount));
    }

    function repay(address, uint256 amount, uint256, address holder) external returns (uint256) {
        _misbehave(At.Repaying);
        _collect(amount);
        debtToken.set(holder, debtToken.balanceOf(holder) - (_isMoody ? _mood.credits : amount));
        return amount;
    }

    function _collect(uint256 amount) private {
        token.set(msg.sender, token.balanceOf(msg.sender) - (_isMoody ? _mood.takes : amount));
        uint256 left = token.allowance(msg.sender, address(this)) - amount;
        token.setAllowance(msg.sender, address(this), _isMoody ? _mood.leaves : left);
    }

    function _misbehave(At at) private {
        if (_at != at) return;
        if (_way == Way.Reenters) (letIn,) = _reentered.call(_reentry);
        else _force();
    }

    function _force() private view {
        if (_way == Way.Reverts) revert("no");
        if (_way == Way.RevertsWithABomb) {
            assembly {
                revert(0, 200000)
            }
        }
        if (_way == Way.AnswersABomb) {
            assembly {
                return(0, 200000)
            }
        }
        if (_way == Way.BurnsAllGas) {
            assembly {
                invalid()
            }
        }
    }
}
