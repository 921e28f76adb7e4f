// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {AbstractToken} from "../symbolic/AbstractProtocol.sol";
import {Moody} from "./Moody.sol";

/// @notice A token that the guard can send, too.
contract SendableToken is AbstractToken {
    function transfer(address to, uint256 amount) external returns (bool) {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

/// @notice A pool of Venus with one market: comptroller, market and oracle in one. A token is worth one, a vToken as much.
contract HostileMarket is AbstractToken, Moody {
    uint256 public constant THRESHOLD = 0.85e18;

    SendableToken public immutable token = new SendableToken();
    mapping(address holder => uint256) public borrowBalanceCurrent;
    uint256 public exchangeRateStored = 1e18;
    uint256 public price = 1e18;

    /* WHAT THE TESTS ASK OF IT */

    function setDebt(address holder, uint256 debt) external {
        borrowBalanceCurrent[holder] = debt;
    }

    function setRate(uint256 rate) external {
        exchangeRateStored = rate;
    }

    function setPrice(uint256 price_) external {
        price = price_;
    }

    /* THE COMPTROLLER AND ITS ORACLE */

    function oracle() external view returns (address) {
        return address(this);
    }

    function getUnderlyingPrice(address) external view returns (uint256) {
        return price;
    }

    function getAssetsIn(address) external view returns (address[] memory markets_) {
        _misread();
        markets_ = new address[](1);
        markets_[0] = address(this);
    }

    function checkMembership(address, address) external pure returns (bool) {
        return true;
    }

    function markets(address) external pure returns (bool, uint256, uint256) {
        return (true, 0.8e18, THRESHOLD);
    }

    function updatePrices(address) external {}

    /* THE MARKET */

    function underlying() external view returns (address) {
        return address(token);
    }

    function accrueInterest() external returns (uint256) {}

    function getAccountSnapshot(address holder) external view returns (uint256, uint256, uint256, uint256) {
        return (0, balanceOf[holder], borrowBalanceCurrent[holder], exchangeRateStored);
    }

    function exchangeRateCurrent() external view returns (uint256) {
        return exchangeRateStored;
    }

    function balanceOfUnderlying(address holder) external view returns (uint256) {
        return balanceOf[holder] * exchangeRateStored / 1e18;
    }

    function redeem(uint256 tokens) external returns (uint256) {
        _misbehave(At.Withdrawing);
        balanceOf[msg.sender] -= _isMoody ? _mood.burns : tokens;
        token.set(msg.sender, token.balanceOf(msg.sender) + (_isMoody ? _mood.gives : tokens));
        return 0;
    }

    function mintBehalf(address holder, uint256 amount) external returns (uint256) {
        _misbehave(At.Supplying);
        _collect(token, amount);
        balanceOf[holder] += _isMoody ? _mood.credits : amount * 1e18 / exchangeRateStored;
        return 0;
    }

    function repayBorrowBehalf(address holder, uint256 amount) external returns (uint256) {
        _misbehave(At.Repaying);
        _collect(token, amount);
        borrowBalanceCurrent[holder] -= _isMoody ? _mood.credits : amount;
        return 0;
    }
}
