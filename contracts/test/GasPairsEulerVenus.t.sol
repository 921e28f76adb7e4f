// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {GasAccountsEuler} from "./GasAccountsEuler.sol";
import {GasAccountsVenus} from "./GasAccountsVenus.sol";

/// @notice What a rescue costs between Venus and our stand-in for Euler: kept in snapshots/GasPairsEulerVenus.json, shown in
/// the README.
/// forge-config: default.isolate = true
contract GasPairsEulerVenusTest is GasAccountsEuler, GasAccountsVenus {
    function setUp() public override(GasAccountsEuler, GasAccountsVenus) {
        super.setUp();
    }

    function test_FromEulerToVenus() public {
        _measure(eulerWithDebt, onVenus, false);
        _measure(eulerWithoutDebt, onVenus, false);
        _measure(eulerWithoutDebt, onVenus, true);
    }

    function test_FromVenusToEuler() public {
        _measure(venusWithDebt, onEuler, false);
        _measure(venusWithoutDebt, onEuler, false);
        _measure(venusWithoutDebt, onEuler, true);
    }

    function _table() internal pure override returns (string memory) {
        return "GasPairsEulerVenus";
    }
}
