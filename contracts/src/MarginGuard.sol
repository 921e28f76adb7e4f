// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Accounts} from "./Accounts.sol";
import {Asset} from "./interfaces/IMarginGuard.sol";
import {IMorpho} from "./interfaces/IMorpho.sol";
import {AaveV3} from "./protocols/AaveV3.sol";
import {EulerV2} from "./protocols/EulerV2.sol";
import {MorphoBlue} from "./protocols/MorphoBlue.sol";
import {Wallet} from "./protocols/Wallet.sol";
import {RollingCap} from "./RollingCap.sol";
import {Shares} from "./Shares.sol";
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

    /// @notice Raw units by which an index or a share price (below 9) may round what a protocol books of one amount.
    uint256 public constant ROUNDING = 10;

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

        Facts memory recipient = _unretired(rescue.to);
        _requireJoined(recipient);
        _accrue(recipient);

        Standing memory standing;
        for (uint256 i; i < transfers.length;) {
            standing.isOwed = transfers[i].kind == Kind.Repay;
            standing.asset = _arrival(recipient, transfers[i].toAsset, standing.isOwed);
            _read(standing, recipient);
            if (i == 0) {
                healthBefore = standing.health;
                _requireInNeed(recipient, standing);
            }
            i = _moveIntoOneAsset(planId, transfers, i, recipient, standing);
        }

        healthAfter = standing.health;
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
    /// @dev Meant for `eth_call`; it changes nothing but the interest that anybody can have Morpho accrue.
    function health(uint16 index) external returns (uint256) {
        Facts memory facts = _known(index);
        _accrue(facts);
        Standing memory standing;
        standing.asset = facts.assets[0];
        _read(standing, facts);
        return standing.health;
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

    /// @dev What the protocol says about an account, accrued to this transaction.
    /// @param asset What is asked about besides, and whether as what it owes or as what it has.
    /// @param breakEven The health of an account with debt whose collateral is worth exactly what it owes, or more.
    /// @param booked What it owes, or has, of the asset.
    struct Standing {
        Asset asset;
        bool isOwed;
        uint256 health;
        uint256 breakEven;
        uint256 booked;
    }

    function _requireInNeed(Facts memory recipient, Standing memory standing) private pure {
        (uint16 index, uint256 ratio) = (recipient.index, standing.health);
        if (ratio == NO_DEBT) revert RecipientHasNoDebt(index);
        if (ratio >= recipient.policy.rescueCeiling) {
            revert RecipientIsHealthy(index, ratio, recipient.policy.rescueCeiling);
        }
        // What went into it would cover the lenders' loss, and one of them may be whoever holds the key.
        if (ratio <= standing.breakEven) revert RecipientWorthNoMoreThanItOwes(index, ratio, standing.breakEven);
    }

    /// @dev Carries out the transfers from `first` on that arrive in the same asset in the same way: those that pass
    /// through the guard arrive at once.
    /// @param standing The recipient's, of that asset; it is brought up to date.
    /// @return next The first transfer that was left.
    function _moveIntoOneAsset(
        bytes32 planId,
        Transfer[] calldata transfers,
        uint256 first,
        Facts memory recipient,
        Standing memory standing
    ) private returns (uint256 next) {
        address underlying = standing.asset.underlying;
        uint256 balanceBefore = underlying.ownBalance();
        uint256 total;
        uint256 gathered;
        for (next = first; next < transfers.length && _isAlike(transfers[next], transfers[first]); ++next) {
            Transfer calldata transfer = transfers[next];
            total += transfer.amount;
            if (_take(transfer, recipient, standing)) gathered += transfer.amount;
            uint256 received = underlying.ownBalance() - balanceBefore;
            if (received != gathered) revert ReceivedAmountDiffers(underlying, gathered, received);
            emit Moved(planId, transfer.from, recipient.index, underlying, transfer.amount);
        }

        if (standing.isOwed) _repay(recipient, standing.asset, gathered);
        else if (gathered != 0) _supply(recipient, standing.asset, gathered);
        underlying.requireBalance(balanceBefore);

        uint256 before = standing.booked;
        _read(standing, recipient);
        if (standing.isOwed) {
            if (!_isNear(standing.booked + total, before, ROUNDING)) {
                revert RepaymentDiffers(recipient.index, total, before, standing.booked);
            }
        } else if (!_isNear(standing.booked, before + total, (next - first) * _rounding(recipient, standing.asset))) {
            revert CreditDiffers(recipient.index, total, before, standing.booked);
        }
    }

    function _isAlike(Transfer calldata one, Transfer calldata other) private pure returns (bool) {
        return one.toAsset == other.toAsset && (one.kind == Kind.Repay) == (other.kind == Kind.Repay);
    }

    /// @dev From here on nothing but another transfer lowers the donor's health in a protocol that leaves others alone, so
    /// it can be judged at once.
    /// @return isGathered Whether it is in the guard now; else it went to the recipient at once.
    function _take(Transfer calldata transfer, Facts memory recipient, Standing memory standing)
        private
        returns (bool isGathered)
    {
        Facts memory donor = _unretired(transfer.from);
        _requireJoined(donor);
        Standing memory left;
        left.asset = _asset(donor, transfer.fromAsset);
        bool isNative = _requireFitting(transfer, donor, recipient, left.asset, standing);
        address underlying = standing.asset.underlying;
        if (!_caps[underlying].spend(transfer.amount)) {
            revert CapExceeded(underlying, transfer.amount, _caps[underlying].remaining());
        }

        uint256 heldBefore = _held(donor, left.asset);
        isGathered = !isNative || donor.protocol == Protocol.Morpho;
        if (isGathered) _withdraw(donor, left.asset, transfer.amount);
        else _send(donor, left.asset, recipient, transfer.amount);
        _read(left, donor);
        if (!_isNear(left.booked + transfer.amount, heldBefore, _rounding(donor, left.asset))) {
            revert DebitDiffers(donor.index, transfer.amount, heldBefore, left.booked);
        }
        if (left.health < donor.policy.hardFloor) {
            revert DonorBelowHardFloor(donor.index, left.health, donor.policy.hardFloor);
        }
    }

    function _requireFitting(
        Transfer calldata transfer,
        Facts memory donor,
        Facts memory recipient,
        Asset memory source,
        Standing memory standing
    ) private pure returns (bool isNative) {
        if (donor.index == recipient.index) revert DonorIsRecipient(donor.index);
        if (transfer.amount == 0) revert AmountIsZero();
        if (source.form == address(0)) revert AssetDoesNotMove(donor.index, transfer.fromAsset);
        isNative = !standing.isOwed && source.form == standing.asset.form;
        Kind kind = standing.isOwed ? Kind.Repay : isNative ? Kind.Native : Kind.Cross;
        if (transfer.kind != kind) revert WrongKind(donor.index, recipient.index, kind);
        if (source.underlying != standing.asset.underlying) {
            revert UnderlyingsDiffer(source.underlying, standing.asset.underlying);
        }
    }

    /// @return into The recipient's asset that a transfer arrives in, as collateral or as less debt.
    function _arrival(Facts memory recipient, uint8 toAsset, bool isRepaid) private pure returns (Asset memory into) {
        into = _asset(recipient, toAsset);
        if (isRepaid) {
            if (into.debt == address(0)) revert AssetIsNotOwed(recipient.index, toAsset);
        } else if (into.form == address(0)) {
            revert AssetDoesNotMove(recipient.index, toAsset);
        }
    }

    function _asset(Facts memory a, uint8 asset) private pure returns (Asset memory) {
        if (asset >= a.assets.length) revert AssetUnknown(a.index, asset);
        return a.assets[asset];
    }

    /* INTERNAL: WHAT DIFFERS BY PROTOCOL */

    function _accrue(Facts memory a) private {
        if (a.protocol == Protocol.Morpho) IMorpho(a.target).accrueInterest(a.market);
    }

    /// @dev For accounts of Morpho whose interest is accrued in this transaction: the recipient, and donors that gave.
    function _read(Standing memory standing, Facts memory a) private {
        if (a.protocol == Protocol.Morpho) {
            uint256 debt;
            (standing.health, standing.booked, debt) = IMorpho(a.target).standing(a.key, a.market, a.holder);
            if (standing.isOwed) standing.booked = debt;
            standing.breakEven = a.market.lltv;
        } else if (a.protocol == Protocol.Wallet) {
            standing.health = NO_DEBT;
            standing.booked = Token.balance(standing.asset.form, a.holder);
        } else if (a.protocol == Protocol.Aave) {
            (standing.health, standing.breakEven) = AaveV3.health(a.target, a.holder);
            standing.booked = Token.balance(standing.isOwed ? standing.asset.debt : standing.asset.form, a.holder);
        } else {
            (standing.health, standing.breakEven, standing.booked) =
                Shares.standing(a.protocol, a.target, _account(a), a.assets, standing.asset, standing.isOwed);
        }
    }

    /// @return What the account has of an asset, in the underlying, by the books of the protocol or the token.
    function _held(Facts memory a, Asset memory asset) private returns (uint256) {
        if (a.protocol == Protocol.Morpho) return IMorpho(a.target).held(a.key, a.holder);
        if (a.protocol == Protocol.Wallet || a.protocol == Protocol.Aave) return Token.balance(asset.form, a.holder);
        return Shares.held(a.protocol, asset, _account(a));
    }

    function _withdraw(Facts memory a, Asset memory asset, uint256 amount) private {
        if (a.protocol == Protocol.Wallet) Wallet.withdraw(a.holder, asset.underlying, amount);
        else if (a.protocol == Protocol.Morpho) IMorpho(a.target).withdraw(a.market, a.holder, amount);
        else if (a.protocol == Protocol.Aave) AaveV3.withdraw(a.target, asset, a.holder, amount);
        else Shares.withdraw(a.protocol, asset, _account(a), amount);
    }

    /// @dev In the form that both hold it in, without being withdrawn.
    function _send(Facts memory donor, Asset memory asset, Facts memory recipient, uint256 amount) private {
        if (donor.protocol == Protocol.Aave) {
            AaveV3.transfer(donor.target, asset, donor.holder, recipient.holder, amount);
        } else {
            Shares.transfer(donor.protocol, donor.target, asset, _account(donor), _account(recipient), amount);
        }
    }

    /// @dev Only an account with debt receives, and a wallet has none.
    function _supply(Facts memory a, Asset memory asset, uint256 amount) private {
        if (a.protocol == Protocol.Morpho) IMorpho(a.target).supply(a.market, a.holder, amount);
        else if (a.protocol == Protocol.Aave) AaveV3.supply(a.target, asset, a.holder, amount);
        else Shares.supply(a.protocol, a.target, asset, _account(a), amount);
    }

    function _repay(Facts memory a, Asset memory asset, uint256 amount) private {
        if (a.protocol == Protocol.Morpho) IMorpho(a.target).repay(a.market, a.holder, amount);
        else if (a.protocol == Protocol.Aave) AaveV3.repay(a.target, asset, a.holder, amount);
        else Shares.repay(a.protocol, asset, _account(a), amount);
    }

    /// @return By how much the protocol's own rounding may change what it books of one amount.
    function _rounding(Facts memory a, Asset memory asset) private view returns (uint256) {
        if (a.protocol == Protocol.Wallet || a.protocol == Protocol.Morpho) return 0;
        return a.protocol == Protocol.Venus ? ROUNDING + Shares.grain(asset.form) : ROUNDING;
    }

    /// @dev Of a protocol with shares; only Euler's have keys.
    function _account(Facts memory a) private pure returns (address) {
        return EulerV2.accountOf(a.holder, a.key);
    }

    function _isNear(uint256 x, uint256 y, uint256 within) private pure returns (bool) {
        return x > y ? x - y <= within : y - x <= within;
    }

    function _max(uint256 x, uint256 y) private pure returns (uint256) {
        return x > y ? x : y;
    }
}
