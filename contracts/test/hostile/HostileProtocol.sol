// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {AbstractProtocol} from "../symbolic/AbstractProtocol.sol";
import {Turning} from "./Turning.sol";

/// @notice A protocol in Morpho's place.
contract HostileProtocol is AbstractProtocol, Turning {
    function accrueInterest(MarketParams memory) external override {
        _misbehave(At.Accruing);
    }

    function extSloads(bytes32[] calldata slots) external view override returns (bytes32[] memory words) {
        _misread();
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
}
