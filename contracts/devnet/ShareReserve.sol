// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Where Venus's markets send the protocol's share of what liquidators seize; only for local chains.
/// @dev The real one shares it out to others. A market asks it to count what came in, and liquidates nobody without an answer.
contract ShareReserve {
    function updateAssetsState(address comptroller, address asset, uint8 kind) external {}
}
