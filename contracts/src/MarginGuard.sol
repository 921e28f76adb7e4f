// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Accounts} from "./Accounts.sol";
import {IMorpho} from "./interfaces/IMorpho.sol";
import {MorphoBlue} from "./protocols/MorphoBlue.sol";
import {Wallet} from "./protocols/Wallet.sol";
import {RollingCap} from "./RollingCap.sol";
import {Token} from "./Token.sol";

/// @notice Lets a keeper move the owner's collateral between the owner's own accounts, within the owner's limits.
/// It cannot send anything to an address that is not an enrolled account or the owner, raise a debt, leave an account
/// nearer to liquidation than its policy allows, call a contract that the owner did not enrol, or be changed.
/// @dev Accounts and assets are named by enrolment index, so another destination cannot even be asked for.
contract MarginGuard is Accounts {
    using MorphoBlue for IMorpho;
    using RollingCap for RollingCap.Counter;
    using Token for address;

    /* CONSTANTS */

    uint256 public constant MAX_RESCUES = 16;
    uint256 public constant MAX_TRANSFERS = 8;
    /// @notice Bytes of revert data that a failed rescue can make the guard keep.
    uint256 public constant MAX_REASON = 256;
    /// @notice Gas that must remain beside a rescue's own, for its event, its result and the end of the batch.
    uint256 public constant FINISH_GAS = 30_000;

    uint256 private constant NO_DEBT = type(uint128).max;

    /* STORAGE */

    bool private transient _entered;

    // One slot: whoever rebalances reads all three and writes one.
    address public keeper;
    uint64 public lastSequence;
    bool public paused;

    mapping(address underlying => RollingCap.Counter) private _caps;

    /* MODIFIERS */

    modifier nonReentrant() {
        if (_entered) revert Reentered();
        _entered = true;
        _;
        _entered = false;
    }

    /* CONSTRUCTOR */

    constructor(address owner_) Accounts(owner_) {}

    /* OWNER */

    /// @notice Limits what may move of each underlying. Without a cap nothing of it moves.
    /// @dev What was spent stays spent: setting a cap again does not make room.
    function setCaps(Cap[] calldata caps) external onlyOwner {
        for (uint256 i; i < caps.length; ++i) {
            if (caps[i].window == 0) revert WindowIsZero(caps[i].underlying);
            _caps[caps[i].underlying].set(caps[i].amount, caps[i].window);
            emit CapSet(caps[i].underlying, caps[i].amount, caps[i].window);
        }
    }

    /// @notice Replaces the keeper at once; zero leaves the guard without one.
    function setKeeper(address newKeeper) external onlyOwner {
        keeper = newKeeper;
        emit KeeperSet(newKeeper);
    }

    function unpause() external onlyOwner {
        paused = false;
        emit Unpaused();
    }

    /// @notice Sends what somebody gave the guard by mistake to the owner.
    function sweep(address token) external onlyOwner nonReentrant {
        uint256 amount = token.ownBalance();
        token.send(owner, amount);
        emit Swept(token, amount);
    }

    /* OWNER OR KEEPER */

    function pause() external {
        if (msg.sender != owner && msg.sender != keeper) revert CallerIsNotOwnerOrKeeper();
        paused = true;
        emit Paused(msg.sender);
    }

    /* KEEPER */

    /// @notice Carries out a plan: each rescue takes effect whole or not at all, and none can stop another.
    /// @param planId Sequence number in the upper 64 bits, 192 bits of digest below. The sequence must be the next one,
    /// so that of all plans made for it at most one ever takes effect, once.
    /// @param deadline The last timestamp at which this may happen.
    /// @dev Reverts if no rescue succeeded, and then uses up no sequence number.
    function rebalance(bytes32 planId, uint256 deadline, Rescue[] calldata rescues)
        external
        nonReentrant
        returns (Result[] memory results)
    {
        if (msg.sender != keeper) revert CallerIsNotKeeper();
        if (paused) revert GuardIsPaused();
        if (block.timestamp > deadline) revert DeadlinePassed(deadline);
        if (rescues.length == 0) revert NoRescues();
        if (rescues.length > MAX_RESCUES) revert TooManyRescues(rescues.length);
        uint64 sequence = uint64(uint256(planId) >> 192);
        if (sequence != lastSequence + 1) revert WrongSequence(sequence, lastSequence + 1);
        lastSequence = sequence;

        bool anyOk;
        results = new Result[](rescues.length);
        for (uint256 i; i < rescues.length; ++i) {
            results[i] = _attempt(planId, i, rescues[i]);
            anyOk = anyOk || results[i].ok;
        }
        if (!anyOk) revert NothingRescued(results);
    }

    /// @notice One rescue, as a call of the guard to itself: so it can fail alone, with its own gas.
    function executeRescue(bytes32 planId, Rescue calldata rescue)
        external
        returns (uint256 healthBefore, uint256 healthAfter)
    {
        if (msg.sender != address(this)) revert CallerIsNotGuard();
        Transfer[] calldata transfers = rescue.transfers;
        if (transfers.length == 0) revert NoTransfers();
        if (transfers.length > MAX_TRANSFERS) revert TooManyTransfers(transfers.length);

        Facts memory recipient = abi.decode(_unretired(rescue.to), (Facts));
        _requireJoined(recipient);
        uint256 heldBefore;
        (healthBefore, heldBefore) = _accruedStanding(recipient);
        if (healthBefore == NO_DEBT) revert RecipientHasNoDebt(rescue.to);
        if (healthBefore >= recipient.policy.rescueCeiling) {
            revert RecipientIsHealthy(rescue.to, healthBefore, recipient.policy.rescueCeiling);
        }
        // What went into it would cover the lenders' loss, and one of them may be whoever holds the key.
        uint256 breakEven = _breakEven(recipient);
        if (healthBefore <= breakEven) revert RecipientWorthNoMoreThanItOwes(rescue.to, healthBefore, breakEven);

        uint256 total;
        for (uint256 i; i < transfers.length;) {
            uint256 supplied;
            (i, supplied) = _moveIntoOneAsset(planId, transfers, i, recipient);
            total += supplied;
        }

        uint256 heldAfter;
        (healthAfter, heldAfter) = _standing(recipient, recipient.assets[0]);
        if (heldAfter != heldBefore + total) revert CreditDiffers(rescue.to, total, heldBefore, heldAfter);
        uint256 minimum = _max(_max(recipient.policy.minAfter, rescue.minHealthAfter), healthBefore);
        if (healthAfter < minimum) revert RecipientBelowMinimum(rescue.to, healthAfter, minimum);
        if (healthAfter > recipient.policy.maxAfter) {
            revert RecipientAboveMaximum(rescue.to, healthAfter, recipient.policy.maxAfter);
        }
    }

    /* READS */

    function cap(address underlying) external view returns (uint128 amount, uint32 window) {
        return (_caps[underlying].amount, _caps[underlying].window);
    }

    /// @notice What may still move of `underlying` now.
    function remainingCap(address underlying) external view returns (uint256) {
        return _caps[underlying].remaining();
    }

    /// @notice Health of an account at this block, as the guard judges it; the largest uint128 without debt.
    /// @dev Meant for `eth_call`; it changes nothing but the interest that anybody can have Morpho accrue. Of a wallet its
    /// first token is asked as well.
    function health(uint16 index) external returns (uint256 healthNow) {
        (healthNow,) = _accruedStanding(abi.decode(_known(index), (Facts)));
    }

    /* INTERNAL: A BATCH */

    function _attempt(bytes32 planId, uint256 index, Rescue calldata rescue) private returns (Result memory result) {
        bytes memory data = abi.encodeCall(this.executeRescue, (planId, rescue));
        // A call gets at most 63/64 of what is left; with less than this the rescue would silently be given less.
        uint256 needed = uint256(rescue.gas) * 64 / 63 + FINISH_GAS;
        uint256 gasBefore = gasleft();
        if (gasBefore < needed) revert GasTooLow(index, needed);

        (bool ok, bytes memory answer) = _callSelf(rescue.gas, data);
        result.gasUsed = uint64(gasBefore - gasleft());
        result.ok = ok;
        if (ok) {
            (uint256 healthBefore, uint256 healthAfter) = abi.decode(answer, (uint256, uint256));
            (result.healthBefore, result.healthAfter) = (uint128(healthBefore), uint128(healthAfter));
            emit Rescued(planId, rescue.to, healthBefore, healthAfter);
        } else {
            result.reason = answer;
            emit RescueFailed(planId, index, answer);
        }
    }

    /// @dev Copies at most MAX_REASON bytes, however much the other side returns.
    function _callSelf(uint256 gasGiven, bytes memory data) private returns (bool ok, bytes memory answer) {
        assembly ("memory-safe") {
            ok := call(gasGiven, address(), 0, add(data, 32), mload(data), 0, 0)
            let size := returndatasize()
            if gt(size, MAX_REASON) { size := MAX_REASON }
            answer := mload(0x40)
            mstore(answer, size)
            returndatacopy(add(answer, 32), 0, size)
            mstore(0x40, add(answer, and(add(size, 63), not(31))))
        }
    }

    /* INTERNAL: A RESCUE */

    /// @dev Carries out the transfers from `first` on that arrive in the same asset, and supplies their sum at once.
    /// @return next The first transfer that was left.
    /// @return total What was supplied.
    function _moveIntoOneAsset(bytes32 planId, Transfer[] calldata transfers, uint256 first, Facts memory recipient)
        private
        returns (uint256 next, uint256 total)
    {
        uint8 toAsset = transfers[first].toAsset;
        address underlying = _underlying(recipient, toAsset);
        uint256 balanceBefore = underlying.ownBalance();

        for (next = first; next < transfers.length && transfers[next].toAsset == toAsset; ++next) {
            Transfer calldata transfer = transfers[next];
            _take(transfer, recipient, underlying);
            total += transfer.amount;
            uint256 received = underlying.ownBalance() - balanceBefore;
            if (received != total) revert ReceivedAmountDiffers(underlying, total, received);
            emit Moved(planId, transfer.from, recipient.index, underlying, transfer.amount);
        }

        _supply(recipient, total);
        uint256 balanceAfter = underlying.ownBalance();
        if (balanceAfter != balanceBefore) revert BalanceChanged(underlying, balanceBefore, balanceAfter);
    }

    /// @dev From here on nothing but another transfer lowers the donor's health in a protocol that leaves others alone, so
    /// it can be judged at once.
    function _take(Transfer calldata transfer, Facts memory recipient, address underlying) private {
        Facts memory donor = abi.decode(_unretired(transfer.from), (Facts));
        _requireJoined(donor);
        _requireFitting(transfer, donor, recipient, underlying);
        if (!_caps[underlying].spend(transfer.amount)) {
            revert CapExceeded(underlying, transfer.amount, _caps[underlying].remaining());
        }
        uint256 heldBefore = _held(donor, underlying);
        _withdraw(donor, underlying, transfer.amount);
        (uint256 donorHealth, uint256 heldAfter) = _standing(donor, underlying);
        if (heldAfter + transfer.amount != heldBefore) {
            revert DebitDiffers(donor.index, transfer.amount, heldBefore, heldAfter);
        }
        if (donorHealth < donor.policy.hardFloor) {
            revert DonorBelowHardFloor(donor.index, donorHealth, donor.policy.hardFloor);
        }
    }

    function _requireFitting(Transfer calldata transfer, Facts memory donor, Facts memory recipient, address underlying)
        private
        pure
    {
        if (donor.index == recipient.index) revert DonorIsRecipient(donor.index);
        if (transfer.amount == 0) revert AmountIsZero();
        Kind kind = donor.protocol == recipient.protocol ? Kind.Native : Kind.Cross;
        if (transfer.kind != kind) revert WrongKind(donor.index, recipient.index, kind);
        address source = _underlying(donor, transfer.fromAsset);
        if (source != underlying) revert UnderlyingsDiffer(source, underlying);
    }

    function _underlying(Facts memory a, uint8 asset) private pure returns (address) {
        if (asset >= a.assets.length) revert AssetUnknown(a.index, asset);
        return a.assets[asset];
    }

    /* INTERNAL: WHAT DIFFERS BY PROTOCOL */

    function _accruedStanding(Facts memory a) private returns (uint256 health_, uint256 held) {
        if (a.protocol == Protocol.Morpho) IMorpho(a.target).accrueInterest(a.market);
        return _standing(a, a.assets[0]);
    }

    /// @return health_ For accounts whose interest is accrued in this transaction: the recipient, and donors that gave.
    /// @return held As `_held`; both at once, for one read of the protocol tells both.
    function _standing(Facts memory a, address underlying) private view returns (uint256 health_, uint256 held) {
        if (a.protocol == Protocol.Wallet) return (NO_DEBT, Wallet.held(a.holder, underlying));
        return IMorpho(a.target).standing(a.key, a.market, a.holder);
    }

    /// @return What the account has of `underlying`, by the books of the protocol or the token.
    function _held(Facts memory a, address underlying) private view returns (uint256) {
        if (a.protocol == Protocol.Wallet) return Wallet.held(a.holder, underlying);
        return IMorpho(a.target).held(a.key, a.holder);
    }

    /// @return The health of an account with debt whose collateral is worth exactly what it owes.
    function _breakEven(Facts memory a) private pure returns (uint256) {
        return a.market.lltv;
    }

    function _withdraw(Facts memory a, address underlying, uint256 amount) private {
        if (a.protocol == Protocol.Wallet) Wallet.withdraw(a.holder, underlying, amount);
        else IMorpho(a.target).withdraw(a.market, a.holder, amount);
    }

    /// @dev Only an account with debt receives, and a wallet has none.
    function _supply(Facts memory a, uint256 amount) private {
        IMorpho(a.target).supply(a.market, a.holder, amount);
    }

    function _max(uint256 x, uint256 y) private pure returns (uint256) {
        return x > y ? x : y;
    }
}
