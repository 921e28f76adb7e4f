// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {TestToken} from "../../devnet/TestToken.sol";
import {TestFeed} from "../../devnet/TestFeed.sol";

/// @notice A vault without defence against donations: a share is worth its part of whatever the vault holds.
contract InflatableVault is TestToken {
    TestToken public immutable asset;

    constructor(TestToken asset_) TestToken("Vault share", "vTKN", 18) {
        asset = asset_;
    }

    /// @dev What a loss, or the manager of a vault, could do as well.
    function takeOut(uint256 assets, address to) external {
        asset.transfer(to, assets);
    }

    function convertToAssets(uint256 shares) external view returns (uint256) {
        return totalSupply == 0 ? shares : shares * asset.balanceOf(address(this)) / totalSupply;
    }
}

/// @notice The price of a share as oracles of vaults have it: what it converts to, times the asset's price.
contract VaultOracle {
    InflatableVault private immutable _vault;
    TestFeed private immutable _feed;

    constructor(InflatableVault vault, TestFeed feed) {
        (_vault, _feed) = (vault, feed);
    }

    /// @dev In USDC of 6 decimals for a share of 18, scaled by 1e36; the feed has 8 decimals.
    function price() external view returns (uint256) {
        (, int256 answer,,,) = _feed.latestRoundData();
        return _vault.convertToAssets(1e18) * uint256(answer) * 1e16 / 1e18;
    }
}
