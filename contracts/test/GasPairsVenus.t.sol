// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {GasAccountsVenus} from "./GasAccountsVenus.sol";

/// @notice What a rescue costs with Venus on one side: kept in snapshots/GasPairsVenus.json, shown in the README.
/// forge-config: default.isolate = true
contract GasPairsVenusTest is GasAccountsVenus {
    function test_WithinVenus() public {
        _measure(venusWithDebt, onVenus, false);
        _measure(venusWithoutDebt, onVenus, false);
        _measure(venusWithoutDebt, onVenus, true);
    }

    function test_FromVenus() public {
        _measure(venusWithDebt, onMorpho, false);
        _measure(venusWithDebt, onAave, false);
        _measure(venusWithoutDebt, onMorpho, false);
        _measure(venusWithoutDebt, onAave, false);
        _measure(venusWithoutDebt, onMorpho, true);
        _measure(venusWithoutDebt, onAave, true);
    }

    function test_ToVenus() public {
        _measure(morphoWithDebt, onVenus, false);
        _measure(morphoWithoutDebt, onVenus, false);
        _measure(aaveWithDebt, onVenus, false);
        _measure(aaveWithoutDebt, onVenus, false);
        _measure(aaveWithoutDebt, onVenus, true);
        _measure(wallets, onVenus, false);
        _measure(wallets, onVenus, true);
    }

    function _table() internal pure override returns (string memory) {
        return "GasPairsVenus";
    }
}
