// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Asset, IMarginGuard} from "./interfaces/IMarginGuard.sol";
import {IMorpho, MarketParams} from "./interfaces/IMorpho.sol";
import {AaveV3} from "./protocols/AaveV3.sol";
import {EulerV2} from "./protocols/EulerV2.sol";
import {MorphoBlue} from "./protocols/MorphoBlue.sol";
import {Record} from "./Record.sol";
import {Shares} from "./Shares.sol";

/// @notice Which accounts the guard knows, the owner's limits for each, and whose holders take part.
/// @dev A holder that joins trusts the owner: the owner may enrol its accounts and have their collateral moved to others.
abstract contract Accounts is IMarginGuard {
    using MorphoBlue for IMorpho;

    /* CONSTANTS */

    uint256 public constant MAX_ACCOUNTS = 1024;
    uint256 public constant MAX_ASSETS = 32;

    /* IMMUTABLES */

    address public immutable owner;

    /* STORAGE */

    /// @dev All that a rescue needs of an account. `market` is empty but for Morpho.
    struct Facts {
        uint16 index;
        Protocol protocol;
        address holder;
        address target;
        bytes32 key;
        MarketParams market;
        Policy policy;
        Asset[] assets;
    }

    struct Enrolled {
        address record;
        bool retired;
    }

    uint256 public accountCount;
    mapping(uint256 index => Enrolled) private _enrolled;
    mapping(bytes32 identity => uint256 indexPlusOne) private _live;
    mapping(address holder => bool) private _joined;

    /* MODIFIERS */

    modifier onlyOwner() {
        if (msg.sender != owner) revert CallerIsNotOwner();
        _;
    }

    /* CONSTRUCTOR */

    constructor(address owner_) {
        if (owner_ == address(0)) revert OwnerIsZero();
        owner = owner_;
    }

    /* OWNER */

    /// @notice Adds accounts that may give and, those with debt, receive. The first one gets index `firstIndex`.
    /// @dev The target is trusted with what its accounts hold: that it books a supply is checked, that it gives it back is not.
    function enrol(Enrolment[] calldata enrolments) external onlyOwner returns (uint16 firstIndex) {
        firstIndex = uint16(accountCount);
        for (uint256 i; i < enrolments.length; ++i) {
            _enrol(enrolments[i]);
        }
    }

    /// @notice Takes accounts out for good: their indexes are never used again. Permissions given remain to be revoked.
    function retire(uint16[] calldata indexes) external onlyOwner {
        for (uint256 i; i < indexes.length; ++i) {
            Facts memory facts = _unretired(indexes[i]);
            _enrolled[indexes[i]].retired = true;
            delete _live[_identity(facts)];
            emit AccountRetired(indexes[i]);
        }
    }

    function setPolicy(uint16 index, Policy calldata policy) external onlyOwner {
        Facts memory facts = _unretired(index);
        facts.policy = policy;
        _write(facts);
    }

    /* HOLDERS */

    /// @notice Lets the owner's accounts and the caller's be one book. Only for who trusts the owner with the collateral.
    function join() external {
        _joined[msg.sender] = true;
        emit Joined(msg.sender);
    }

    /// @notice Takes the caller's accounts out at once, whatever the owner or the keeper want.
    function leave() external {
        _joined[msg.sender] = false;
        emit Left(msg.sender);
    }

    /* READS */

    function account(uint16 index) public view returns (Account memory) {
        Facts memory facts = _known(index);
        return Account({
            protocol: facts.protocol,
            retired: _enrolled[index].retired,
            joined: _takesPart(facts.holder),
            holder: facts.holder,
            target: facts.target,
            key: facts.key,
            assets: facts.assets,
            policy: facts.policy
        });
    }

    function accounts() external view returns (Account[] memory all) {
        all = new Account[](accountCount);
        for (uint256 i; i < all.length; ++i) {
            all[i] = account(uint16(i));
        }
    }

    /* INTERNAL: ENROLMENT */

    function _enrol(Enrolment calldata enrolment) private {
        if (accountCount == MAX_ACCOUNTS) revert TooManyAccounts();
        if (enrolment.holder == address(0)) revert HolderIsZero();
        Facts memory facts;
        facts.index = uint16(accountCount);
        facts.protocol = enrolment.protocol;
        facts.holder = enrolment.holder;
        facts.target = enrolment.target;
        facts.key = enrolment.key;
        bytes32 identity = _identity(facts);
        if (_live[identity] != 0) revert AlreadyEnrolled(uint16(_live[identity] - 1));
        facts.policy = enrolment.policy;
        (facts.market, facts.assets) = _derived(enrolment);
        accountCount = facts.index + 1;
        _live[identity] = facts.index + 1;
        emit AccountEnrolled(facts.index, facts.protocol, facts.holder, facts.target, facts.key);
        _write(facts);
    }

    function _derived(Enrolment calldata enrolment)
        private
        view
        returns (MarketParams memory market, Asset[] memory assets)
    {
        if (enrolment.protocol == Protocol.Morpho) {
            if (enrolment.assets.length != 0) revert AssetsAreDerived();
            market = IMorpho(enrolment.target).marketOf(enrolment.key);
            assets = new Asset[](2);
            assets[0] = Asset(market.collateralToken, enrolment.target, address(0));
            assets[1] = Asset(market.loanToken, address(0), enrolment.target);
            return (market, assets);
        }
        _requireDistinctTokens(enrolment.assets);
        if (enrolment.protocol == Protocol.Wallet) {
            if (enrolment.target != address(0) || enrolment.key != 0) revert WalletHasNoTarget();
        } else if (enrolment.protocol == Protocol.Euler) {
            EulerV2.accountOf(enrolment.holder, enrolment.key);
        } else if (enrolment.key != 0) {
            revert KeyIsNotZero();
        }
        assets = new Asset[](enrolment.assets.length);
        for (uint256 i; i < assets.length; ++i) {
            assets[i] = _asset(enrolment.protocol, enrolment.target, enrolment.assets[i]);
        }
    }

    function _asset(Protocol protocol, address target, address listed) private view returns (Asset memory) {
        if (protocol == Protocol.Wallet) return Asset(listed, listed, address(0));
        if (protocol == Protocol.Aave) return AaveV3.assetOf(target, listed);
        return Shares.assetOf(protocol, target, listed);
    }

    /// @dev Another policy is another record; the one before stays behind as code that nothing leads to.
    function _write(Facts memory a) private {
        _requireInOrder(a.protocol, a.policy);
        bytes memory words = abi.encode(a.index, a.protocol, a.holder, a.target, a.key, a.market, a.policy, a.assets);
        _enrolled[a.index].record = Record.write(words);
        emit PolicySet(a.index, a.policy);
    }

    function _requireDistinctTokens(address[] calldata tokens) private view {
        if (tokens.length == 0) revert NoAssets();
        if (tokens.length > MAX_ASSETS) revert TooManyAssets(tokens.length);
        for (uint256 i; i < tokens.length; ++i) {
            if (tokens[i].code.length == 0) revert AssetHasNoCode(tokens[i]);
            for (uint256 j; j < i; ++j) {
                if (tokens[j] == tokens[i]) revert AssetListedTwice(tokens[i]);
            }
        }
    }

    function _requireInOrder(Protocol protocol, Policy memory p) private pure {
        bool inOrder = protocol == Protocol.Wallet
            ? p.hardFloor == 0 && p.minAfter == 0 && p.rescueCeiling == 0 && p.maxAfter == 0
            : 1e18 < p.hardFloor && p.hardFloor <= p.minAfter && p.minAfter <= p.rescueCeiling
                && p.rescueCeiling <= p.maxAfter;
        if (!inOrder) revert PolicyOutOfOrder(p);
    }

    /* INTERNAL: LOOKING UP */

    function _known(uint16 index) internal view returns (Facts memory) {
        return _recorded(index, _enrolled[index].record);
    }

    function _unretired(uint16 index) internal view returns (Facts memory) {
        Enrolled memory enrolled = _enrolled[index];
        if (enrolled.retired) revert AccountIsRetired(index);
        return _recorded(index, enrolled.record);
    }

    function _recorded(uint16 index, address record) private view returns (Facts memory facts) {
        if (record == address(0)) revert AccountUnknown(index);
        // What `_write` encoded lies in memory as the structs do, word for word, but for the pointers to them: `abi.decode`
        // would copy and check it all again.
        bytes memory words = Record.read(record);
        Asset[] memory assets;
        assembly ("memory-safe") {
            let from := add(words, 32)
            mcopy(facts, from, 160) // index, protocol, holder, target, key
            mstore(add(facts, 160), add(from, 160)) // market: five words
            mstore(add(facts, 192), add(from, 320)) // policy: four words
            let count := mload(add(from, 480)) // after the place of the assets
            assets := mload(0x40)
            mstore(assets, count)
            mstore(0x40, add(assets, mul(add(count, 1), 32)))
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                mstore(add(assets, mul(add(i, 1), 32)), add(from, add(512, mul(i, 96))))
            }
        }
        facts.assets = assets;
    }

    function _requireJoined(Facts memory a) internal view {
        if (!_takesPart(a.holder)) revert HolderHasNotJoined(a.index, a.holder);
    }

    function _takesPart(address holder) private view returns (bool) {
        return holder == owner || _joined[holder];
    }

    /// @dev What no two accounts that are not retired have in common.
    function _identity(Facts memory a) private pure returns (bytes32) {
        return keccak256(abi.encode(a.holder, a.target, a.key));
    }
}
