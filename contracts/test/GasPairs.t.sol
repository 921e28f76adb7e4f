// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {GasAccounts} from "./GasAccounts.sol";

/// @notice What a rescue costs for each pair of protocols, as receipts would say: kept in snapshots/GasPairs.json, shown in
/// the README.
/// forge-config: default.isolate = true
contract GasPairsTest is GasAccounts {
    function test_FromMorphoWithDebt() public {
        _measure(morphoWithDebt, onMorpho, false);
        _measure(morphoWithDebt, onAave, false);
    }

    function test_FromMorphoWithoutDebt() public {
        _measure(morphoWithoutDebt, onMorpho, false);
        _measure(morphoWithoutDebt, onAave, false);
    }

    function test_FromAaveWithDebt() public {
        _measure(aaveWithDebt, onMorpho, false);
        _measure(aaveWithDebt, onAave, false);
    }

    function test_FromAaveWithoutDebt() public {
        _measure(aaveWithoutDebt, onMorpho, false);
        _measure(aaveWithoutDebt, onAave, false);
    }

    function test_FromTheWallet() public {
        _measure(wallets, onMorpho, false);
        _measure(wallets, onAave, false);
    }

    function test_RepayingFromTheWallet() public {
        _measure(wallets, onMorpho, true);
        _measure(wallets, onAave, true);
    }

    function test_RepayingFromAaveWithoutDebt() public {
        _measure(aaveWithoutDebt, onMorpho, true);
        _measure(aaveWithoutDebt, onAave, true);
    }

    function _table() internal pure override returns (string memory) {
        return "GasPairs";
    }
}
