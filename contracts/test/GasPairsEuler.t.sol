// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {GasAccountsEuler} from "./GasAccountsEuler.sol";

/// @notice What a rescue costs with Euler on one side, on our stand-in for it, which does less than the real contracts: kept
/// in snapshots/GasPairsEuler.json, shown in the README.
/// forge-config: default.isolate = true
contract GasPairsEulerTest is GasAccountsEuler {
    function test_WithinEuler() public {
        _measure(eulerWithDebt, onEuler, false);
        _measure(eulerWithoutDebt, onEuler, false);
        _measure(eulerWithoutDebt, onEuler, true);
    }

    function test_FromEuler() public {
        _measure(eulerWithDebt, onMorpho, false);
        _measure(eulerWithDebt, onAave, false);
        _measure(eulerWithoutDebt, onMorpho, false);
        _measure(eulerWithoutDebt, onAave, false);
        _measure(eulerWithoutDebt, onMorpho, true);
        _measure(eulerWithoutDebt, onAave, true);
    }

    function test_ToEuler() public {
        _measure(morphoWithDebt, onEuler, false);
        _measure(morphoWithoutDebt, onEuler, false);
        _measure(aaveWithDebt, onEuler, false);
        _measure(aaveWithoutDebt, onEuler, false);
        _measure(aaveWithoutDebt, onEuler, true);
        _measure(wallets, onEuler, false);
        _measure(wallets, onEuler, true);
    }

    function _table() internal pure override returns (string memory) {
        return "GasPairsEuler";
    }
}
