// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {MarketParams} from "../../src/interfaces/IMorpho.sol";

/// @notice Whatever else is asked of it, it does gladly, and remembers that it was asked.
abstract contract Obliging {
    bool public wasAskedForMore;

    fallback() external {
        wasAskedForMore = true;
    }
}

/// @notice A token that does what it should until it may do as it pleases; the protocol below mints and burns it as it likes.
contract AbstractToken is Obliging {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    bool public isHonest = true;
    uint256 public pulled; // what a `transferFrom` of any amount takes
    uint256 public arriving; // and what of it arrives

    function doAsYouPlease(uint256 pulls, uint256 arrives) external {
        (isHonest, pulled, arriving) = (false, pulls, arrives);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= isHonest ? amount : pulled;
        balanceOf[to] += isHonest ? amount : arriving;
        return true;
    }

    function set(address of_, uint256 balance) external {
        balanceOf[of_] = balance;
    }

    function setAllowance(address from, address to, uint256 amount) external {
        allowance[from][to] = amount;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }
}

/// @notice In Morpho's place, with Morpho's storage, but it does as it pleases: gives another amount than was withdrawn, takes
/// another than was supplied, uses as much of the allowance as it likes, and books for either what it likes. Every such
/// number is a symbol.
contract AbstractProtocol is Obliging {
    struct Mood {
        uint256 gives; // for a withdrawal of any amount
        uint256 takes; // for a supply of any amount
        uint256 leaves; // of the allowance
        uint128 debits; // the donor's position
        uint128 credits; // the recipient's position: more collateral, or less debt
    }

    struct Position {
        uint256 supplyShares;
        uint128 borrowShares;
        uint128 collateral;
    }

    struct Market {
        uint128 totalSupplyAssets;
        uint128 totalSupplyShares;
        uint128 totalBorrowAssets;
        uint128 totalBorrowShares;
    }

    // Slots 2 and 3, as in Morpho; slot 0 is what it was asked for.
    uint256 private _unused;
    mapping(bytes32 id => mapping(address holder => Position)) public position;
    mapping(bytes32 id => Market) public market;
    mapping(bytes32 id => MarketParams) private _params;

    uint256 public price = 1e36;
    bool public isHonest = true;
    Mood private _mood;

    function create(MarketParams memory params) external returns (bytes32 id) {
        id = keccak256(abi.encode(params));
        _params[id] = params;
    }

    function open(bytes32 id, address holder, uint128 collateral, uint128 shares) external {
        (position[id][holder].collateral, position[id][holder].borrowShares) = (collateral, shares);
    }

    function borrowed(bytes32 id, uint128 assets, uint128 shares) external {
        (market[id].totalBorrowAssets, market[id].totalBorrowShares) = (assets, shares);
    }

    function setPrice(uint256 to) external {
        price = to;
    }

    function doAsYouPlease(Mood calldata mood) external {
        (isHonest, _mood) = (false, mood);
    }

    function idToMarketParams(bytes32 id) external view returns (MarketParams memory) {
        return _params[id];
    }

    function extSloads(bytes32[] calldata slots) external view virtual returns (bytes32[] memory words) {
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

    function accrueInterest(MarketParams memory) external virtual {}

    function withdrawCollateral(MarketParams memory params, uint256 amount, address holder, address receiver)
        public
        virtual
    {
        AbstractToken token = AbstractToken(params.collateralToken);
        position[keccak256(abi.encode(params))][holder].collateral -= isHonest ? uint128(amount) : _mood.debits;
        token.set(receiver, token.balanceOf(receiver) + (isHonest ? amount : _mood.gives));
    }

    /// @dev Assets and shares are one to one here. The loan token is the same kind of token as the collateral.
    function repay(MarketParams memory params, uint256 assets, uint256, address holder, bytes calldata)
        public
        virtual
        returns (uint256, uint256)
    {
        AbstractToken token = AbstractToken(params.loanToken);
        position[keccak256(abi.encode(params))][holder].borrowShares -= isHonest ? uint128(assets) : _mood.credits;
        token.set(msg.sender, token.balanceOf(msg.sender) - (isHonest ? assets : _mood.takes));
        token.setAllowance(
            msg.sender, address(this), isHonest ? token.allowance(msg.sender, address(this)) - assets : _mood.leaves
        );
        return (assets, assets);
    }

    function supplyCollateral(MarketParams memory params, uint256 amount, address holder, bytes calldata)
        public
        virtual
    {
        AbstractToken token = AbstractToken(params.collateralToken);
        position[keccak256(abi.encode(params))][holder].collateral += isHonest ? uint128(amount) : _mood.credits;
        token.set(msg.sender, token.balanceOf(msg.sender) - (isHonest ? amount : _mood.takes));
        token.setAllowance(
            msg.sender, address(this), isHonest ? token.allowance(msg.sender, address(this)) - amount : _mood.leaves
        );
    }
}
