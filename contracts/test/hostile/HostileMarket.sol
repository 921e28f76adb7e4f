// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {AbstractToken} from "../symbolic/AbstractProtocol.sol";

/// @notice A token that the guard can send, too.
contract SendableToken is AbstractToken {
    function transfer(address to, uint256 amount) external returns (bool) {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

/// @notice A pool of Venus with one market, comptroller, market and oracle in one, which was fit to be enrolled and then turns,
/// in one way, at one of the guard's calls, or takes, gives and books as it pleases. A token is worth one, a vToken as much.
contract HostileMarket is AbstractToken {
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
        Redeeming,
        Minting,
        Repaying
    }

    struct Mood {
        uint256 burns; // of vTokens, for a redemption of any amount
        uint256 gives;
        uint256 takes; // for a supply or a repayment
        uint256 leaves; // of the allowance
        uint256 credits; // more collateral, or less debt
    }

    uint256 public constant THRESHOLD = 0.85e18;

    SendableToken public immutable token = new SendableToken();
    mapping(address holder => uint256) public borrowBalanceCurrent;
    uint256 public exchangeRateStored = 1e18;
    uint256 public price = 1e18;

    Way private _way;
    At private _at;
    address private _reentered;
    bytes private _reentry;
    bool public letIn;
    bool private _isMoody;
    Mood private _mood;

    /* WHAT THE TESTS ASK OF IT */

    function turn(Way way, At at) external {
        (_way, _at) = (way, at);
    }

    function turnReentrant(At at, address target, bytes calldata data) external {
        (_way, _at, _reentered, _reentry) = (Way.Reenters, at, target, data);
    }

    function doAsYouPlease(Mood calldata mood) external {
        (_isMoody, _mood) = (true, mood);
    }

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
        if (_at == At.Reading) _force();
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
        _misbehave(At.Redeeming);
        balanceOf[msg.sender] -= _isMoody ? _mood.burns : tokens;
        token.set(msg.sender, token.balanceOf(msg.sender) + (_isMoody ? _mood.gives : tokens));
        return 0;
    }

    function mintBehalf(address holder, uint256 amount) external returns (uint256) {
        _misbehave(At.Minting);
        _collect(amount);
        balanceOf[holder] += _isMoody ? _mood.credits : amount * 1e18 / exchangeRateStored;
        return 0;
    }

    function repayBorrowBehalf(address holder, uint256 amount) external returns (uint256) {
        _misbehave(At.Repaying);
        _collect(amount);
        borrowBalanceCurrent[holder] -= _isMoody ? _mood.credits : amount;
        return 0;
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
