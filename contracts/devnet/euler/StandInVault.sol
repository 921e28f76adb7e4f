// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {TestToken} from "../TestToken.sol";
import {StandInBooks} from "./StandInBooks.sol";
import {StandInEVC} from "./StandInEVC.sol";
import {StandInRouter} from "./StandInRouter.sol";

/// @title A stand-in for a vault of the Euler Vault Kit, which no package registry has; only for tests and local chains.
/// @notice Lends out what is deposited, against shares of other vaults: under the names of the real one, with its rounding,
/// its checks and its refusals, as they are documented and were recorded.
/// @dev Left out: fees (so all interest goes to the shares), caps that a batch may pass on its way, interest that compounds by itself or follows the use of
/// the vault, hook targets, flash loans, debt that is pulled or written off, `mint`, `redeem`, Permit2, the lock against
/// reentrance, and events but for those of a token and of a liquidation. Whoever deployed it governs it.
contract StandInVault is StandInBooks {
    uint32 private constant DEPOSIT = 1;
    uint32 private constant WITHDRAW = 1 << 2;
    uint32 private constant TRANSFER = 1 << 4;
    uint32 private constant BORROW = 1 << 6;
    uint32 private constant REPAY = 1 << 7;
    uint32 private constant LIQUIDATE = 1 << 11;

    uint256 private constant WAD = 1e18;

    uint16 public constant interestFee = 0;
    uint16 public constant liquidationCoolOffTime = 1;
    uint16 public constant maxLiquidationDiscount = 0.15e4;
    uint256 public constant accumulatedFees = 0;
    uint256 public constant accumulatedFeesAssets = 0;

    event Liquidate(
        address indexed liquidator,
        address indexed violator,
        address collateral,
        uint256 repayAssets,
        uint256 yieldBalance
    );

    error E_AccountLiquidity();
    error E_BadAssetReceiver();
    error E_BadCollateral();
    error E_BadSharesReceiver();
    error E_BorrowCapExceeded();
    error E_CollateralDisabled();
    error E_ControllerDisabled();
    error E_ExcessiveRepayAmount();
    error E_InsufficientAllowance();
    error E_InsufficientBalance();
    error E_InsufficientCash();
    error E_LiquidationCoolOff();
    error E_MinYield();
    error E_NoLiability();
    error E_NotController();
    error E_OperationDisabled();
    error E_OutstandingDebt();
    error E_RepayTooMuch();
    error E_SelfLiquidation();
    error E_SelfTransfer();
    error E_SupplyCapExceeded();
    error E_TransientState();
    error E_ViolatorLiquidityDeferred();
    error E_ZeroShares();

    /// @dev Whoever calls the vault itself is sent through the EVC, which checks the accounts before it returns.
    modifier throughEVC() {
        if (msg.sender == EVC) {
            _;
        } else {
            bytes memory result = StandInEVC(EVC).call(address(this), msg.sender, 0, msg.data);
            assembly ("memory-safe") {
                return(add(result, 32), mload(result))
            }
        }
    }

    constructor(address evc, address asset_, address oracle_, address unitOfAccount_)
        StandInBooks(evc, asset_, oracle_, unitOfAccount_)
    {}

    /* SHARES */

    function approve(address spender, uint256 shares) external returns (bool) {
        address account = msg.sender == EVC ? _account() : msg.sender;
        allowance[account][spender] = shares;
        emit Approval(account, spender, shares);
        return true;
    }

    function transfer(address to, uint256 shares) external throughEVC returns (bool) {
        address account = _begin(TRANSFER);
        _move(account, to, shares);
        return true;
    }

    function transferFrom(address from, address to, uint256 shares) external throughEVC returns (bool) {
        _spend(from, _begin(TRANSFER), shares);
        _move(from, to, shares);
        return true;
    }

    /* ASSETS */

    function deposit(uint256 assets, address receiver) external throughEVC returns (uint256 shares) {
        address account = _begin(DEPOSIT);
        shares = convertToShares(assets);
        if (shares == 0 && assets != 0) revert E_ZeroShares();
        _pull(account, assets);
        totalSupply += shares;
        balanceOf[receiver] += shares;
        if (cash + (totalBorrowsExact() >> DEBT_SHIFT) > _resolved(_caps.supply)) revert E_SupplyCapExceeded();
        emit Transfer(address(0), receiver, shares);
    }

    function withdraw(uint256 assets, address receiver, address owner) external throughEVC returns (uint256 shares) {
        address account = _begin(WITHDRAW);
        shares = previewWithdraw(assets);
        if (cash < assets) revert E_InsufficientCash();
        _spend(owner, account, shares);
        if (balanceOf[owner] < shares) revert E_InsufficientBalance();
        balanceOf[owner] -= shares;
        totalSupply -= shares;
        emit Transfer(owner, address(0), shares);
        _push(receiver, assets);
        StandInEVC(EVC).requireAccountStatusCheck(owner);
    }

    function borrow(uint256 assets, address receiver) external throughEVC returns (uint256) {
        address account = _beginWithController(BORROW);
        if (cash < assets) revert E_InsufficientCash();
        _setDebt(account, _owed(account) + (assets << DEBT_SHIFT));
        _total.owed += assets << DEBT_SHIFT;
        if (totalBorrows() > _resolved(_caps.borrow)) revert E_BorrowCapExceeded();
        _push(receiver, assets);
        StandInEVC(EVC).requireAccountStatusCheck(account);
        return assets;
    }

    /// @notice Anybody may repay; the largest uint256 stands for all that is owed, and otherwise no more than that is taken.
    function repay(uint256 assets, address receiver) external throughEVC returns (uint256) {
        address account = _begin(REPAY);
        uint256 owed = debtOf(receiver);
        if (assets == type(uint256).max) assets = owed;
        if (assets > owed) revert E_RepayTooMuch();
        _pull(account, assets);
        uint256 exact = _min(assets << DEBT_SHIFT, _owed(receiver));
        _setDebt(receiver, _owed(receiver) - exact);
        _total.owed -= _min(exact, _total.owed);
        return assets;
    }

    /// @notice Lets the caller's account go, if it owes nothing.
    function disableController() external throughEVC {
        address account = _account();
        if (_debts[account].owed != 0) revert E_OutstandingDebt();
        StandInEVC(EVC).disableController(account);
    }

    /* LIQUIDATION */

    function checkLiquidation(address liquidator, address violator, address collateral)
        public
        view
        returns (uint256 maxRepay, uint256 maxYield)
    {
        StandInEVC evc = StandInEVC(EVC);
        if (liquidator == violator) revert E_SelfLiquidation();
        if (LTVFull[collateral].targetTimestamp == 0) revert E_BadCollateral();
        _requireController(violator);
        if (!evc.isCollateralEnabled(violator, collateral)) revert E_CollateralDisabled();
        if (evc.isAccountStatusCheckDeferred(violator)) revert E_ViolatorLiquidityDeferred();
        if (block.timestamp < evc.getLastAccountStatusCheckTimestamp(violator) + liquidationCoolOffTime) {
            revert E_LiquidationCoolOff();
        }
        (uint256 backing, uint256 liability) = accountLiquidity(violator, true);
        if (liability == 0 || backing > liability) return (0, 0);

        uint256 factor = backing * WAD / liability; // the liquidator's discount grows as the account's health falls
        uint256 least = WAD - uint256(maxLiquidationDiscount) * 1e14;
        if (factor < least) factor = least;
        uint256 shares = StandInVault(collateral).balanceOf(violator);
        uint256 worth = _worth(shares, collateral);
        if (worth == 0) return (0, shares);
        uint256 yieldWorth = _min(liability * WAD / factor, worth);
        uint256 repayWorth = yieldWorth == worth ? _min(worth * factor / WAD, liability) : liability;
        return (repayWorth * debtOf(violator) / liability, yieldWorth * shares / worth);
    }

    /// @notice Gives the caller's account collateral of the violator's at a discount, and as much of its debt.
    function liquidate(address violator, address collateral, uint256 repayAssets, uint256 minYieldBalance)
        external
        throughEVC
    {
        address liquidator = _beginWithController(LIQUIDATE);
        (uint256 repaid, uint256 yield) = checkLiquidation(liquidator, violator, collateral);
        if (repayAssets != type(uint256).max) {
            if (repayAssets > repaid) revert E_ExcessiveRepayAmount();
            if (repaid != 0) (repaid, yield) = (repayAssets, yield * repayAssets / repaid);
        }
        if (yield < minYieldBalance) revert E_MinYield();
        uint256 owed = _min(repaid << DEBT_SHIFT, _owed(violator));
        _setDebt(violator, _owed(violator) - owed);
        _setDebt(liquidator, _owed(liquidator) + owed);
        if (yield != 0) {
            StandInEVC evc = StandInEVC(EVC);
            evc.controlCollateral(collateral, violator, 0, abi.encodeCall(this.transfer, (liquidator, yield)));
            evc.forgiveAccountStatusCheck(violator);
        }
        emit Liquidate(liquidator, violator, collateral, repaid, yield);
        StandInEVC(EVC).requireAccountStatusCheck(liquidator);
    }

    /* READS */

    function accountLiquidity(address account, bool liquidation)
        public
        view
        returns (uint256 collateralValue, uint256 liabilityValue)
    {
        uint256[] memory values;
        (, values, liabilityValue) = accountLiquidityFull(account, liquidation);
        for (uint256 i; i < values.length; ++i) {
            collateralValue += values[i];
        }
    }

    function accountLiquidityFull(address account, bool liquidation)
        public
        view
        returns (address[] memory collaterals, uint256[] memory collateralValues, uint256 liabilityValue)
    {
        _requireController(account);
        collaterals = StandInEVC(EVC).getCollaterals(account);
        collateralValues = new uint256[](collaterals.length);
        for (uint256 i; i < collaterals.length; ++i) {
            collateralValues[i] = _backing(account, collaterals[i], liquidation);
        }
        liabilityValue = _worth(debtOf(account), asset);
    }

    /// @notice For the EVC: what an account holds must be worth more than it owes, at the borrow LTVs.
    /// @dev The collaterals that come after those that suffice are not looked at, priced or not.
    function checkAccountStatus(address account, address[] calldata collaterals) external view returns (bytes4) {
        uint256 debt = debtOf(account);
        if (debt == 0) return this.checkAccountStatus.selector;
        uint256 liability = _worth(debt, asset);
        uint256 backing;
        for (uint256 i; i < collaterals.length; ++i) {
            backing += _backing(account, collaterals[i], false);
            if (backing > liability) return this.checkAccountStatus.selector;
        }
        revert E_AccountLiquidity();
    }

    /* INTERNAL */

    function _account() private view returns (address account) {
        (account,) = StandInEVC(EVC).getCurrentOnBehalfOfAccount(address(0));
    }

    function _begin(uint32 operation) private returns (address account) {
        _touch();
        if (_hookedOps & operation != 0) revert E_OperationDisabled();
        return _account();
    }

    function _beginWithController(uint32 operation) private returns (address account) {
        account = _begin(operation);
        if (!StandInEVC(EVC).isControllerEnabled(account, address(this))) revert E_ControllerDisabled();
    }

    /// @dev Only who gives is checked: nothing here looks at who receives.
    function _move(address from, address to, uint256 shares) private {
        if (from == to) revert E_SelfTransfer();
        if (to == address(0)) revert E_BadSharesReceiver();
        if (balanceOf[from] < shares) revert E_InsufficientBalance();
        balanceOf[from] -= shares;
        balanceOf[to] += shares;
        emit Transfer(from, to, shares);
        StandInEVC(EVC).requireAccountStatusCheck(from);
    }

    function _spend(address from, address spender, uint256 shares) private {
        uint256 allowed = allowance[from][spender];
        if (from == spender || allowed == type(uint256).max) return;
        if (allowed < shares) revert E_InsufficientAllowance();
        allowance[from][spender] = allowed - shares;
    }

    function _pull(address from, uint256 assets) private {
        cash += assets;
        TestToken(asset).transferFrom(from, address(this), assets);
    }

    /// @dev Not to a sub-account, which has no key to take a plain token away with.
    function _push(address to, uint256 assets) private {
        address owner = StandInEVC(EVC).getAccountOwner(to);
        if (to == address(0) || (owner != address(0) && owner != to)) revert E_BadAssetReceiver();
        cash -= assets;
        TestToken(asset).transfer(to, assets);
    }

    function _requireController(address account) private view {
        address[] memory controllers = StandInEVC(EVC).getControllers(account);
        if (controllers.length > 1) revert E_TransientState();
        if (controllers.length == 0) revert E_NoLiability();
        if (controllers[0] != address(this)) revert E_NotController();
    }

    function _backing(address account, address collateral, bool liquidation) private view returns (uint256) {
        uint256 ltv = liquidation ? LTVLiquidation(collateral) : LTVBorrow(collateral);
        if (ltv == 0) return 0;
        return _worth(StandInVault(collateral).balanceOf(account), collateral) * ltv / 1e4;
    }

    /// @dev Nothing is worth nothing, without the oracle being asked.
    function _worth(uint256 amount, address token) private view returns (uint256) {
        return amount == 0 ? 0 : StandInRouter(oracle).getQuote(amount, token, unitOfAccount);
    }
}
