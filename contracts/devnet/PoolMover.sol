// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

interface IPool {
    function swap(address recipient, bool zeroForOne, int256 amount, uint160 sqrtPriceLimit, bytes calldata data)
        external
        returns (int256, int256);
}

/// @title Moves the price of a Uniswap v3 pool without liquidity, which costs nothing; only for local chains.
contract PoolMover {
    /// @param sqrtPrice Where to, Q96.
    function move(IPool pool, bool isDown, uint160 sqrtPrice) external {
        pool.swap(address(this), isDown, 1, sqrtPrice, "");
    }

    /// @dev Nobody provided anything, so nothing is owed.
    function uniswapV3SwapCallback(int256, int256, bytes calldata) external {}
}
