// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice What the guard reads of a token. What it sends to one goes through `Token`, because some answer nothing.
interface IERC20 {
    function balanceOf(address account) external view returns (uint256);
    function allowance(address owner, address spender) external view returns (uint256);
    function approve(address spender, uint256 amount) external returns (bool);
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}
