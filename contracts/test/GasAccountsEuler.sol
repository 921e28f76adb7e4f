// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {Setting} from "./Setting.sol";
import {EulerVaults} from "./euler/EulerVaults.sol";
import {GasAccounts} from "./GasAccounts.sol";

/// @notice Beside those of `GasAccounts`, accounts on our stand-in for Euler.
abstract contract GasAccountsEuler is GasAccounts, EulerVaults {
    Recipients internal onEuler;
    Donors internal eulerWithDebt;
    Donors internal eulerWithoutDebt;

    function setUp() public virtual override(GasAccounts, Setting) {
        super.setUp();
        _deployEuler();
        IMarginGuard.Protocol euler = IMarginGuard.Protocol.Euler;
        uint16[3] memory needy = [_onEuler(1, 12_000e6), _onEuler(2, 12_000e6), _onEuler(3, 12_000e6)];
        onEuler = Recipients("Euler", needy, [WETH, USDC], euler);
        eulerWithDebt = Donors("Euler with debt", [_onEuler(4, 4_000e6), _onEuler(5, 4_000e6)], [WETH, USDC], euler);
        eulerWithoutDebt = Donors("Euler without debt", [_onEuler(6, 0), _onEuler(7, 0)], [WETH, USDC], euler);
        // The caps' epochs have changed meanwhile.
        _rebalance(_batch(_rescue(A, _transfer(morphoWithoutDebt, 0, onMorpho, false))));
        _rebalance(_batch(_rescue(A, _transfer(wallets, 0, onMorpho, true))));
        vm.warp(block.timestamp + 300);
    }

    function _onEuler(uint8 id, uint256 debt) private returns (uint16) {
        _openSubOf(owner, id, eWeth, 10 ether, eUsdc, debt);
        _depositFor(_subOf(owner, id), eUsdc, 5_000e6);
        _permitOf(owner, id, eWeth, 100 ether);
        _permitOf(owner, id, eUsdc, 100_000e6);
        IMarginGuard.Enrolment memory enrolment = _account(IMarginGuard.Protocol.Euler, owner, address(evc));
        enrolment.key = bytes32(uint256(id));
        (enrolment.assets[WETH], enrolment.assets[USDC]) = (address(eWeth), address(eUsdc));
        return _enrol(enrolment);
    }
}
