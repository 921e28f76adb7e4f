// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {AaveReserve} from "../../src/interfaces/IAave.sol";
import {AbstractToken} from "../symbolic/AbstractProtocol.sol";
import {Moody} from "./Moody.sol";

/// @notice A pool with one reserve in Aave's place. Its tokens are at one to one.
contract HostilePool is Moody {
    uint256 public constant THRESHOLD = 8_300;

    AbstractToken public immutable token = new AbstractToken();
    AbstractToken public immutable aToken = new AbstractToken();
    AbstractToken public immutable debtToken = new AbstractToken();

    uint256 private _reported;

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
        _misread();
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
        _collect(token, amount);
        aToken.set(holder, aToken.balanceOf(holder) + (_isMoody ? _mood.credits : amount));
    }

    function repay(address, uint256 amount, uint256, address holder) external returns (uint256) {
        _misbehave(At.Repaying);
        _collect(token, amount);
        debtToken.set(holder, debtToken.balanceOf(holder) - (_isMoody ? _mood.credits : amount));
        return amount;
    }
}
