// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

interface IMarket {
    function underlying() external view returns (address);
    function accrueInterest() external returns (uint256);
    function balanceOf(address account) external view returns (uint256);
    function borrowBalanceStored(address account) external view returns (uint256);
    function liquidateBorrow(address borrower, uint256 repayAmount, IMarket collateral) external returns (uint256);
}

interface IComptroller {
    struct Order {
        IMarket collateral;
        IMarket borrowed;
        uint256 repayAmount;
    }

    function closeFactorMantissa() external view returns (uint256);
    function isForcedLiquidationEnabled(IMarket market) external view returns (bool);
    function checkMembership(address account, IMarket market) external view returns (bool);
    function liquidateCalculateSeizeTokens(IMarket borrowed, IMarket collateral, uint256 repayAmount)
        external
        view
        returns (uint256 error, uint256 tokens);
    function liquidateAccount(address borrower, Order[] calldata orders) external;
    function healAccount(address borrower) external;
}

/// @title Liquidates one account in an isolated pool of Venus, as much as the pool lets at once; only for local chains and forks.
/// @dev It asks nobody whether an account is healthy: the pool refuses those that are. What is owed is counted here, because a
/// small account is liquidated to the last unit or not at all, and interest runs by the second.
contract VenusLiquidator {
    /// @dev Debts and collaterals in the order in which they are tried.
    struct Target {
        IComptroller pool;
        address borrower;
        IMarket[] debts;
        IMarket[] collaterals;
    }

    error NothingToTake();

    /// @notice The close factor's part of one debt; of an account too small for that all of its debts; of one whose collateral
    /// does not pay for them, all of its collateral.
    function strike(Target calldata target) external {
        for (uint256 i = 0; i < target.debts.length; ++i) {
            target.debts[i].accrueInterest();
            _approve(target.debts[i]);
        }
        for (uint256 i = 0; i < target.collaterals.length; ++i) {
            target.collaterals[i].accrueInterest();
        }
        if (_part(target)) return;
        try target.pool.liquidateAccount(target.borrower, _orders(target)) {}
        catch {
            try target.pool.healAccount(target.borrower) {}
            catch {
                revert NothingToTake();
            }
        }
    }

    function _part(Target calldata target) internal returns (bool) {
        for (uint256 i = 0; i < target.debts.length; ++i) {
            IMarket debt = target.debts[i];
            uint256 part = debt.borrowBalanceStored(target.borrower);
            if (!target.pool.isForcedLiquidationEnabled(debt)) part = part * target.pool.closeFactorMantissa() / 1e18;
            for (uint256 j = 0; j < target.collaterals.length; ++j) {
                IMarket collateral = target.collaterals[j];
                uint256 tokens = collateral.balanceOf(target.borrower);
                (uint256 repaid,) = _affordable(target.pool, debt, collateral, part, tokens);
                if (repaid == 0) continue;
                try debt.liquidateBorrow(target.borrower, repaid, collateral) {
                    return true;
                } catch {}
            }
        }
        return false;
    }

    function _orders(Target calldata target) internal view returns (IComptroller.Order[] memory orders) {
        uint256[] memory held = new uint256[](target.collaterals.length);
        for (uint256 j = 0; j < held.length; ++j) {
            IMarket collateral = target.collaterals[j];
            if (target.pool.checkMembership(target.borrower, collateral)) {
                held[j] = collateral.balanceOf(target.borrower);
            }
        }
        orders = new IComptroller.Order[](target.debts.length * held.length);
        uint256 count;
        for (uint256 i = 0; i < target.debts.length; ++i) {
            IMarket debt = target.debts[i];
            uint256 owed = debt.borrowBalanceStored(target.borrower);
            for (uint256 j = 0; j < held.length; ++j) {
                (uint256 repaid, uint256 seized) = _affordable(target.pool, debt, target.collaterals[j], owed, held[j]);
                if (repaid == 0) continue;
                orders[count++] = IComptroller.Order(target.collaterals[j], debt, repaid);
                owed -= repaid;
                held[j] -= seized;
            }
        }
        assembly ("memory-safe") {
            mstore(orders, count)
        }
    }

    /// @dev How much of a debt so many vTokens pay for, and how many of them that takes.
    function _affordable(IComptroller pool, IMarket debt, IMarket collateral, uint256 repaid, uint256 tokens)
        internal
        view
        returns (uint256, uint256 seized)
    {
        (, seized) = pool.liquidateCalculateSeizeTokens(debt, collateral, repaid);
        if (seized <= tokens) return (repaid, seized);
        return (repaid * tokens / seized, tokens);
    }

    /// @dev Some tokens answer nothing; one that refuses shows when it is to be taken.
    function _approve(IMarket debt) internal {
        address token = debt.underlying();
        (bool success,) = token.call(abi.encodeWithSignature("approve(address,uint256)", debt, type(uint256).max));
        success;
    }
}
