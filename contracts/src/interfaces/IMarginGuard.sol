// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice One token in one account.
/// @param underlying What moves, and what caps count: WETH, whatever it is held as.
/// @param form Where it is collateral: Morpho itself, the aToken, the vault, the vToken, a wallet's token. Zero: it cannot be given,
/// nor be put in as collateral.
/// @param debt Where it is owed: Morpho itself, the variable debt token, the vault, the vToken. Zero: it cannot be repaid.
struct Asset {
    address underlying;
    address form;
    address debt;
}

/// @notice The words of the guard: what can be asked of it, what it answers, and each of its refusals.
/// @dev Healths are WAD: 1e18 is the liquidation line, `type(uint128).max` an account without debt.
interface IMarginGuard {
    /* TYPES */

    enum Protocol {
        Wallet,
        Morpho,
        Aave,
        Euler,
        Venus
    }

    /// @param Native both accounts hold the token in the same form.
    /// @param Cross the underlying is withdrawn from one form and supplied in another.
    /// @param Repay the underlying is withdrawn and repays what the recipient owes of it.
    enum Kind {
        Native,
        Cross,
        Repay
    }

    /// @notice One movement out of asset `fromAsset` of account `from`, by enrolment index.
    /// @param amount In units of the underlying, whatever it is held as.
    struct Transfer {
        Kind kind;
        uint16 from;
        uint8 fromAsset;
        uint8 toAsset;
        uint128 amount;
    }

    /// @notice All transfers into one account; they take effect together or not at all.
    /// @param minHealthAfter What the keeper wants, where that is more than the owner's `minAfter`.
    /// @param gas Given to this rescue alone, whatever the others do with theirs.
    struct Rescue {
        uint16 to;
        uint128 minHealthAfter;
        uint32 gas;
        Transfer[] transfers;
    }

    /// @param reason Revert data of a failed rescue, at most `MAX_REASON` bytes of it.
    struct Result {
        bool ok;
        uint128 healthBefore;
        uint128 healthAfter;
        uint64 gasUsed;
        bytes reason;
    }

    /// @notice The owner's limits for one account, all zero for a wallet:
    /// `1e18 < hardFloor <= minAfter <= rescueCeiling <= maxAfter`.
    /// @param rescueCeiling The account receives nothing while its health is at or above this.
    /// @param minAfter The least health that a rescue of this account must reach.
    /// @param maxAfter The most that a rescue may bring it to: nobody can be drained for what this one does not need.
    /// @param hardFloor The least health that giving may leave this account with.
    struct Policy {
        uint64 rescueCeiling;
        uint64 minAfter;
        uint64 maxAfter;
        uint64 hardFloor;
    }

    /// @param target Wallet: zero. Morpho: the Morpho contract. Aave: the pool. Euler: the EVC. Venus: the comptroller.
    /// @param key Morpho: the market id. Euler: the number of the holder's sub-account. Else zero.
    /// @param assets Wallet: the tokens that may be taken. Morpho: empty, collateral and loan are derived. Aave: the
    /// underlyings that may be taken, received or repaid. Euler: the vaults, likewise; the one that is owed to among them. Venus:
    /// the markets, likewise.
    struct Enrolment {
        Protocol protocol;
        address holder;
        address target;
        bytes32 key;
        address[] assets;
        Policy policy;
    }

    /// @param joined Whether the holder takes part: always the owner; another only from `join` to `leave`.
    struct Account {
        Protocol protocol;
        bool retired;
        bool joined;
        address holder;
        address target;
        bytes32 key;
        Asset[] assets;
        Policy policy;
    }

    /// @notice At most `amount` of `underlying` may move in any `window` seconds.
    struct Cap {
        address underlying;
        uint128 amount;
        uint32 window;
    }

    /* EVENTS */

    event Rescued(bytes32 indexed planId, uint16 indexed to, uint256 healthBefore, uint256 healthAfter);
    event RescueFailed(bytes32 indexed planId, uint256 indexed index, bytes reason);
    event Moved(bytes32 indexed planId, uint16 indexed from, uint16 indexed to, address underlying, uint256 amount);
    event AccountEnrolled(uint16 indexed index, Protocol protocol, address indexed holder, address target, bytes32 key);
    event AccountRetired(uint16 indexed index);
    event PolicySet(uint16 indexed index, Policy policy);
    event CapSet(address indexed underlying, uint128 amount, uint32 window);
    event KeeperSet(address indexed keeper);
    event Paused(address indexed by);
    event Unpaused();
    event Swept(address indexed token, uint256 amount);
    event Joined(address indexed holder);
    event Left(address indexed holder);

    /* REFUSALS OF A CALL */

    error CallerIsNotOwner();
    error CallerIsNotKeeper();
    error CallerIsNotOwnerOrKeeper();
    error CallerIsNotGuard();
    error GuardIsPaused();
    error Reentered();
    error DeadlinePassed(uint256 deadline);
    error WrongSequence(uint64 given, uint64 expected);
    error NoRescues();
    error TooManyRescues(uint256 count);
    error GasTooLow(uint256 index, uint256 needed);
    error NothingRescued(Result[] results);

    /* REFUSALS OF A RESCUE */

    error AccountUnknown(uint16 index);
    error AccountIsRetired(uint16 index);
    error HolderHasNotJoined(uint16 index, address holder);
    error NoTransfers();
    error TooManyTransfers(uint256 count);
    error RecipientHasNoDebt(uint16 index);
    error RecipientWorthNoMoreThanItOwes(uint16 index, uint256 health, uint256 breakEven);
    error RecipientIsHealthy(uint16 index, uint256 health, uint256 ceiling);
    error RecipientBelowMinimum(uint16 index, uint256 health, uint256 minimum);
    error RecipientAboveMaximum(uint16 index, uint256 health, uint256 maximum);
    error DonorIsRecipient(uint16 index);
    error DonorBelowHardFloor(uint16 index, uint256 health, uint256 hardFloor);
    error AmountIsZero();
    error WrongKind(uint16 from, uint16 to, Kind expected);
    error AssetUnknown(uint16 index, uint8 asset);
    error AssetDoesNotMove(uint16 index, uint8 asset);
    error AssetIsNotOwed(uint16 index, uint8 asset);
    error UnderlyingsDiffer(address from, address to);
    error CapExceeded(address underlying, uint256 amount, uint256 remaining);
    error ReceivedAmountDiffers(address underlying, uint256 expected, uint256 received);
    error DebitDiffers(uint16 index, uint256 amount, uint256 before, uint256 afterwards);
    error CreditDiffers(uint16 index, uint256 amount, uint256 before, uint256 afterwards);
    error RepaymentDiffers(uint16 index, uint256 amount, uint256 before, uint256 afterwards);
    error BalanceChanged(address underlying, uint256 before, uint256 afterwards);

    /* REFUSALS OF THE OWNER'S SETTINGS */

    error OwnerIsZero();
    error TooManyAccounts();
    error TooManyAssets(uint256 count);
    error HolderIsZero();
    error AlreadyEnrolled(uint16 index);
    error PolicyOutOfOrder(Policy policy);
    error AssetsAreDerived();
    error NoAssets();
    error AssetListedTwice(address token);
    error AssetHasNoCode(address token);
    error WalletHasNoTarget();
    error KeyIsNotZero();
    error WindowIsZero(address underlying);

    /* KEEPER */

    function rebalance(bytes32 planId, uint256 deadline, Rescue[] calldata rescues) external returns (Result[] memory);

    /* OWNER */

    function enrol(Enrolment[] calldata enrolments) external returns (uint16 firstIndex);
    function retire(uint16[] calldata indexes) external;
    function setPolicy(uint16 index, Policy calldata policy) external;
    function setCaps(Cap[] calldata caps) external;
    function setKeeper(address newKeeper) external;
    function unpause() external;
    function sweep(address token) external;

    /* OWNER OR KEEPER */

    function pause() external;

    /* HOLDERS */

    function join() external;
    function leave() external;

    /* READS */

    function owner() external view returns (address);
    function keeper() external view returns (address);
    function paused() external view returns (bool);
    function lastSequence() external view returns (uint64);
    function accountCount() external view returns (uint256);
    function account(uint16 index) external view returns (Account memory);
    function accounts() external view returns (Account[] memory);
    function cap(address underlying) external view returns (uint128 amount, uint32 window);
    function remainingCap(address underlying) external view returns (uint256);
    function health(uint16 index) external returns (uint256);
}
