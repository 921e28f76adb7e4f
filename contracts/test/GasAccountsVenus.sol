// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {GasAccounts} from "./GasAccounts.sol";
import {IComptrollerInFull, IVTokenInFull, VenusMarkets} from "./venus/VenusMarkets.sol";

/// @notice Beside those of `GasAccounts`, accounts in a pool of Venus.
abstract contract GasAccountsVenus is GasAccounts, VenusMarkets {
    Recipients internal onVenus;
    Donors internal venusWithDebt;
    Donors internal venusWithoutDebt;

    IComptrollerInFull private comptroller;
    IVTokenInFull private vWeth;
    IVTokenInFull private vUsdc;

    function setUp() public virtual override {
        super.setUp();
        _deployVenus();
        comptroller = _pool();
        vWeth = _market(comptroller, weth, ethFeed, 15_000);
        vUsdc = _market(comptroller, usdc, usdcFeed, 1_000_000);
        IMarginGuard.Protocol venus = IMarginGuard.Protocol.Venus;
        uint16[3] memory needy =
            [_onVenus("tenth", 15_000e6), _onVenus("eleventh", 15_000e6), _onVenus("twelfth", 15_000e6)];
        onVenus = Recipients("Venus", needy, [WETH, USDC], venus);
        uint16[2] memory indebted = [_onVenus("thirteenth", 4_000e6), _onVenus("fourteenth", 4_000e6)];
        venusWithDebt = Donors("Venus with debt", indebted, [WETH, USDC], venus);
        uint16[2] memory free = [_onVenus("fifteenth", 0), _onVenus("sixteenth", 0)];
        venusWithoutDebt = Donors("Venus without debt", free, [WETH, USDC], venus);
        vm.warp(block.timestamp + 300);
    }

    /// @dev It entered both markets, so that each read of its health goes through both.
    function _onVenus(string memory name, uint256 debt) private returns (uint16) {
        address holder = makeAddr(name);
        _mintFor(holder, vWeth, 10 ether);
        _mintFor(holder, vUsdc, 5_000e6);
        _enter(holder, comptroller, vWeth);
        _enter(holder, comptroller, vUsdc);
        if (debt != 0) _borrowFrom(vUsdc, holder, debt);
        vm.startPrank(holder);
        guard.join();
        vWeth.approve(address(guard), 100e8);
        vUsdc.approve(address(guard), 100_000e8);
        vm.stopPrank();
        IMarginGuard.Enrolment memory enrolment = _account(IMarginGuard.Protocol.Venus, holder, address(comptroller));
        (enrolment.assets[WETH], enrolment.assets[USDC]) = (address(vWeth), address(vUsdc));
        return _enrol(enrolment);
    }
}
