// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {AbstractProtocol} from "../symbolic/AbstractProtocol.sol";

/// @notice A protocol that was fit to be enrolled and then turns, in one way, at one of the guard's calls.
contract HostileProtocol is AbstractProtocol {
    enum Way {
        Honest,
        Reverts,
        RevertsWithABomb,
        AnswersABomb,
        BurnsAllGas,
        Reenters
    }

    enum At {
        Accruing,
        Reading,
        Withdrawing,
        Supplying
    }

    Way private _way;
    At private _at;
    address private _reentered;
    bytes private _reentry;
    bool public letIn;
    bytes public reentryAnswer;

    function turn(Way way, At at) external {
        (_way, _at) = (way, at);
    }

    function turnReentrant(At at, address target, bytes calldata data) external {
        (_way, _at, _reentered, _reentry) = (Way.Reenters, at, target, data);
    }

    function accrueInterest(MarketParams memory) external override {
        _misbehave(At.Accruing);
    }

    function extSloads(bytes32[] calldata slots) external view override returns (bytes32[] memory words) {
        if (_at == At.Reading) _force(_way);
        words = new bytes32[](slots.length);
        for (uint256 i; i < slots.length; ++i) {
            bytes32 slot = slots[i];
            bytes32 word;
            assembly {
                word := sload(slot)
            }
            words[i] = word;
        }
    }

    function withdrawCollateral(MarketParams memory params, uint256 amount, address holder, address receiver)
        public
        override
    {
        _misbehave(At.Withdrawing);
        super.withdrawCollateral(params, amount, holder, receiver);
    }

    function supplyCollateral(MarketParams memory params, uint256 amount, address holder, bytes calldata data)
        public
        override
    {
        _misbehave(At.Supplying);
        super.supplyCollateral(params, amount, holder, data);
    }

    function _misbehave(At at) private {
        if (_at != at) return;
        if (_way == Way.Reenters) (letIn, reentryAnswer) = _reentered.call(_reentry);
        else _force(_way);
    }

    function _force(Way way) private pure {
        if (way == Way.Reverts) revert("no");
        if (way == Way.RevertsWithABomb) {
            assembly {
                revert(0, 200000)
            }
        }
        if (way == Way.AnswersABomb) {
            assembly {
                return(0, 200000)
            }
        }
        if (way == Way.BurnsAllGas) {
            assembly {
                invalid()
            }
        }
    }
}
