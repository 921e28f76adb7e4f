// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {TestToken} from "../TestToken.sol";

/// @title What the stand-in for a vault keeps and how it is configured; only for tests and local chains.
/// @notice The price of a share, debts that grow, and the LTVs of collaterals: all reads are accrued to this second.
abstract contract StandInBooks {
    struct LTV {
        uint16 borrowLTV;
        uint16 liquidationLTV;
        uint16 initialLiquidationLTV;
        uint48 targetTimestamp;
        uint32 rampDuration;
    }

    struct Debt {
        uint256 owed;
        uint256 accumulator;
    }

    /// @dev Decimal floating point of 16 bits: 10 for a mantissa in hundredths, 6 for an exponent; zero is no cap.
    struct Caps {
        uint16 supply;
        uint16 borrow;
    }

    uint256 private constant VIRTUAL_DEPOSIT = 1e6;
    uint256 internal constant DEBT_SHIFT = 31; // debts are kept in 2^-31 of the asset's smallest unit
    uint256 private constant RAY = 1e27;

    address public immutable EVC;
    address public immutable asset;
    address public immutable oracle;
    address public immutable unitOfAccount;
    address public immutable governorAdmin;
    uint8 public immutable decimals;
    string public symbol;

    uint256 public totalSupply;
    mapping(address account => uint256) public balanceOf;
    mapping(address account => mapping(address spender => uint256)) public allowance;

    uint256 public cash;
    uint256 public interestRate; // RAY per second
    mapping(address account => Debt) internal _debts;
    Debt internal _total = Debt(0, RAY);
    uint256 private _touchedAt = block.timestamp;

    uint32 internal _hookedOps;
    Caps internal _caps;
    address[] private _ltvList;
    mapping(address collateral => LTV) public LTVFull;

    event Transfer(address indexed from, address indexed to, uint256 shares);
    event Approval(address indexed account, address indexed spender, uint256 shares);

    error E_InvalidLTVAsset();
    error E_LTVBorrow();
    error E_LTVLiquidation();
    error E_NotHookTarget();
    error E_Unauthorized();

    modifier onlyGovernor() {
        if (msg.sender != governorAdmin) revert E_Unauthorized();
        _;
    }

    constructor(address evc, address asset_, address oracle_, address unitOfAccount_) {
        (EVC, asset, oracle, unitOfAccount) = (evc, asset_, oracle_, unitOfAccount_);
        governorAdmin = msg.sender;
        decimals = TestToken(asset_).decimals();
        symbol = string.concat("e", TestToken(asset_).symbol());
    }

    /* GOVERNOR */

    function setInterestRate(uint256 perSecond) external onlyGovernor {
        _touch();
        interestRate = perSecond;
    }

    /// @notice Disables operations; there is no other target than none.
    function setHookConfig(address target, uint32 ops) external onlyGovernor {
        if (target != address(0)) revert E_NotHookTarget();
        _hookedOps = ops;
    }

    function setCaps(uint16 supplyCap, uint16 borrowCap) external onlyGovernor {
        _caps = Caps(supplyCap, borrowCap);
    }

    /// @notice A lower liquidation LTV may be reached little by little; a borrow LTV applies at once.
    function setLTV(address collateral, uint16 borrowLTV, uint16 liquidationLTV, uint32 rampDuration)
        external
        onlyGovernor
    {
        if (collateral == address(this)) revert E_InvalidLTVAsset();
        if (borrowLTV > liquidationLTV) revert E_LTVBorrow();
        uint16 current = LTVLiquidation(collateral);
        if (rampDuration != 0 && liquidationLTV >= current) revert E_LTVLiquidation();
        if (LTVFull[collateral].targetTimestamp == 0) _ltvList.push(collateral);
        LTVFull[collateral] =
            LTV(borrowLTV, liquidationLTV, current, uint48(block.timestamp + rampDuration), rampDuration);
    }

    /* READS */

    function hookConfig() external view returns (address hookTarget, uint32 hookedOps) {
        return (address(0), _hookedOps);
    }

    function caps() external view returns (uint16 supplyCap, uint16 borrowCap) {
        return (_caps.supply, _caps.borrow);
    }

    function LTVList() external view returns (address[] memory) {
        return _ltvList;
    }

    function LTVBorrow(address collateral) public view returns (uint16) {
        return LTVFull[collateral].borrowLTV;
    }

    function LTVLiquidation(address collateral) public view returns (uint16) {
        LTV memory ltv = LTVFull[collateral];
        if (block.timestamp >= ltv.targetTimestamp) return ltv.liquidationLTV;
        uint256 left = ltv.targetTimestamp - block.timestamp;
        uint256 above = ltv.initialLiquidationLTV - ltv.liquidationLTV;
        return uint16(ltv.liquidationLTV + above * left / ltv.rampDuration);
    }

    function totalAssets() public view returns (uint256) {
        return cash + totalBorrows();
    }

    function totalBorrows() public view returns (uint256) {
        return _up(totalBorrowsExact());
    }

    function totalBorrowsExact() public view returns (uint256) {
        return _total.owed * interestAccumulator() / _total.accumulator;
    }

    function interestAccumulator() public view returns (uint256) {
        return _total.accumulator + _total.accumulator * interestRate * (block.timestamp - _touchedAt) / RAY;
    }

    function convertToAssets(uint256 shares) public view returns (uint256) {
        return shares * (totalAssets() + VIRTUAL_DEPOSIT) / (totalSupply + VIRTUAL_DEPOSIT);
    }

    function convertToShares(uint256 assets) public view returns (uint256) {
        return assets * (totalSupply + VIRTUAL_DEPOSIT) / (totalAssets() + VIRTUAL_DEPOSIT);
    }

    function previewDeposit(uint256 assets) external view returns (uint256) {
        return convertToShares(assets);
    }

    function previewWithdraw(uint256 assets) public view returns (uint256) {
        uint256 all = totalAssets() + VIRTUAL_DEPOSIT;
        return (assets * (totalSupply + VIRTUAL_DEPOSIT) + all - 1) / all;
    }

    function debtOf(address account) public view returns (uint256) {
        return _up(_owed(account));
    }

    function debtOfExact(address account) external view returns (uint256) {
        return _owed(account);
    }

    /* INTERNAL */

    function _resolved(uint16 cap) internal pure returns (uint256) {
        return cap == 0 ? type(uint256).max : 10 ** (cap & 63) * (cap >> 6) / 100;
    }

    function _touch() internal {
        _total = Debt(totalBorrowsExact(), interestAccumulator());
        _touchedAt = block.timestamp;
    }

    function _owed(address account) internal view returns (uint256) {
        Debt memory debt = _debts[account];
        return debt.owed == 0 ? 0 : debt.owed * interestAccumulator() / debt.accumulator;
    }

    function _setDebt(address account, uint256 owed) internal {
        _debts[account] = Debt(owed, interestAccumulator());
    }

    function _up(uint256 exact) internal pure returns (uint256) {
        return (exact + (1 << DEBT_SHIFT) - 1) >> DEBT_SHIFT;
    }

    function _min(uint256 x, uint256 y) internal pure returns (uint256) {
        return x < y ? x : y;
    }
}
