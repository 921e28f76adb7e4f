// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {MarketParams} from "../src/interfaces/IMorpho.sol";

/// @notice An interest rate model that costs about what Morpho's adaptive one does: it remembers a rate for each market,
/// writes it at every accrual, and says so. The rate itself is constant.
contract CostlyIrm {
    struct Market {
        uint128 totalSupplyAssets;
        uint128 totalSupplyShares;
        uint128 totalBorrowAssets;
        uint128 totalBorrowShares;
        uint128 lastUpdate;
        uint128 fee;
    }

    uint256 private constant RATE = 1e9; // of WAD in a second: 3.2 % a year
    uint256 private constant COMPUTING = 3_000;

    mapping(bytes32 id => uint256) private _rateAtTarget;

    event BorrowRateUpdate(bytes32 indexed id, uint256 avgBorrowRate, uint256 rateAtTarget);

    function borrowRate(MarketParams calldata params, Market calldata) external returns (uint256) {
        bytes32 id = keccak256(abi.encode(params));
        uint256 end = gasleft() - COMPUTING;
        while (gasleft() > end) {}
        _rateAtTarget[id] += 1;
        emit BorrowRateUpdate(id, RATE, _rateAtTarget[id]);
        return RATE;
    }

    function borrowRateView(MarketParams calldata, Market calldata) external pure returns (uint256) {
        return RATE;
    }
}
