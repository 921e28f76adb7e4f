// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice What was fit to be enrolled and then turns, in one way, at one of the guard's calls.
abstract contract Turning {
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
        Supplying,
        Repaying
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

    function _misbehave(At at) internal {
        if (_at != at) return;
        if (_way == Way.Reenters) (letIn, reentryAnswer) = _reentered.call(_reentry);
        else _force();
    }

    function _misread() internal view {
        if (_at == At.Reading) _force();
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
