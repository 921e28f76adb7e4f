// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {InflatableVault, VaultOracle} from "./hostile/InflatableVault.sol";
import {Setting} from "./Setting.sol";

/// @notice Tricks with what things are counted in: donations, inflated shares, manipulated totals. Collateral moves to the
/// unit all the same, nothing is redeemable for less where it arrives, and no donation stands in anybody's way.
contract InflationTest is Setting {
    InflatableVault private vault;
    MarketParams private shares86;
    MarketParams private shares77;

    /// @dev 10 shares worth 2000 USD each: X at 20000 * 0.86 / 14000 = 1.2285, Y at 20000 * 0.77 / 7000 = 2.2.
    uint16 private constant X = 5;
    uint16 private constant Y = 6;

    function setUp() public override {
        super.setUp();
        vault = new InflatableVault(weth);
        weth.mint(thief, 1_000 ether);
        // Somebody else's 20 shares, and a WETH for each of these and of the 20 that `_open` mints.
        vault.mint(lender, 20 ether);
        weth.mint(address(vault), 40 ether);
        address oracle = address(new VaultOracle(vault, ethFeed));
        shares86 = _createMarket(address(usdc), address(vault), oracle, 0.86e18);
        shares77 = _createMarket(address(usdc), address(vault), oracle, 0.77e18);
        _open(shares86, 10 ether, 14_000e6);
        _open(shares77, 10 ether, 7_000e6);
        _enrol(_morphoAccount(shares86));
        _enrol(_morphoAccount(shares77));
        _setCap(address(vault), 1_000 ether, 1 days);
        vm.prank(owner);
        guard.setKeeper(thief);
        keeper = thief;
    }

    /* DONATIONS */

    function test_WhatIsSentToMorphoItselfChangesNothing() public {
        uint256[2] memory healths = [guard.health(A), guard.health(B)];
        weth.mint(address(morpho), 500 ether);
        usdc.mint(address(morpho), 500_000e6);
        assertEq(guard.health(A), healths[0]);
        assertEq(guard.health(B), healths[1]);
        _rebalance(_batch(_rescue(A, _native(B, 1 ether))));
        assertEq(_collateral(usdc86), 11 ether);
        assertEq(_collateral(usdc77), 9 ether);
        assertEq(weth.balanceOf(address(morpho)), 540 ether);
    }

    /// @dev Somebody makes the recipient healthy, or the donor richer, before or between: no rescue takes another amount.
    function testFuzz_AGiftToAnAccountMovesNothingElse(uint128 toRecipient, uint128 toDonor, uint128 repaid) public {
        toRecipient = uint128(bound(toRecipient, 0, 2 ether));
        toDonor = uint128(bound(toDonor, 0, 2 ether));
        _give(usdc86, toRecipient);
        _give(usdc77, toDonor);
        _repay(usdc77, bound(repaid, 1, 6_999e6));
        _rebalance(_batch(_rescue(A, _native(B, 1 ether))));
        assertEq(_collateral(usdc86), 11 ether + toRecipient);
        assertEq(_collateral(usdc77), 9 ether + toDonor);
        _assertGuardIsEmpty(address(weth));
    }

    /// @dev A gift that lifts an account over its ceiling stops its rescue: it needs none any more, and it cost the giver.
    function test_AGiftCanOnlyStopARescueByMakingItNeedless() public {
        _give(usdc86, 3.1 ether);
        bytes memory reason = _refusal(_rescue(A, _native(B, 1 ether)));
        assertEq(bytes4(reason), IMarginGuard.RecipientIsHealthy.selector);
        assertGe(guard.health(A), CEILING);
    }

    /* SHARES OF DEBT */

    /// @dev Borrowing and repaying dust in another's market bends the price of its shares of debt by what is rounded.
    function testFuzz_BendingThePriceOfDebtSharesMovesNothing(uint256 seed) public {
        (, uint256 sharesBefore,) = morpho.position(_id(usdc86), owner);
        uint256 healthBefore = guard.health(A);
        usdc.mint(thief, 1_000_000e6);
        weth.mint(thief, 1_000 ether);
        vm.startPrank(thief);
        weth.approve(address(morpho), type(uint256).max);
        usdc.approve(address(morpho), type(uint256).max);
        morpho.supplyCollateral(usdc86, 1_000 ether, thief, "");
        for (uint256 i; i < 20; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            if (seed % 2 == 0) morpho.borrow(usdc86, 0, 1 + (seed >> 8) % 3e6, thief, thief);
            else morpho.borrow(usdc86, 1 + (seed >> 8) % 3, 0, thief, thief);
            (, uint256 mine,) = morpho.position(_id(usdc86), thief);
            if (seed % 3 == 0) _repayShares(usdc86, 1 + (seed >> 16) % mine);
        }
        vm.stopPrank();
        uint256 healthBent = guard.health(A);
        assertApproxEqAbs(healthBent, healthBefore, 1e12, "dust in fourteen thousand dollars");
        IMarginGuard.Result[] memory results = _rebalance(_batch(_rescue(A, _native(B, 1 ether))));
        assertEq(results[0].healthBefore, healthBent);
        (, uint256 sharesAfter, uint256 collateral) = morpho.position(_id(usdc86), owner);
        assertEq(sharesAfter, sharesBefore);
        assertEq(collateral, 11 ether);
    }

    /// @dev It moves what accrues from now on.
    function test_MovingTheRateMovesNoHealthInThisBlock() public {
        uint256 healthBefore = guard.health(A);
        usdc.mint(thief, 900_000e6);
        vm.startPrank(thief);
        usdc.approve(address(morpho), type(uint256).max);
        morpho.supply(usdc86, 900_000e6, 0, thief, "");
        vm.stopPrank();
        assertEq(guard.health(A), healthBefore);
        _rebalance(_batch(_rescue(A, _native(B, 1 ether))));
        assertEq(_collateral(usdc86), 11 ether);
    }

    /* SHARES OF A VAULT AS COLLATERAL */

    /// @dev Whatever a share is said to be worth, before or within the batch: as many arrive as left, of the same vault.
    function testFuzz_SharesOfAVaultMoveToTheUnitAtAnyPrice(uint128 donation, uint128 amount) public {
        donation = uint128(bound(donation, 0, 8 ether));
        amount = uint128(bound(amount, 0.5 ether, 4 ether));
        _inflate(donation);
        uint256 redeemable = vault.convertToAssets(20 ether);
        _tryRebalance(_batch(_rescue(X, _native(Y, amount))));
        assertEq(_collateral(shares86) + _collateral(shares77), 20 ether);
        assertEq(vault.convertToAssets(_collateral(shares86) + _collateral(shares77)), redeemable);
        _assertGuardIsEmpty(address(vault));
        assertEq(vault.balanceOf(address(guard)), 0);
    }

    /// @dev Inflated shares make every account in them richer: whoever would receive is above its ceiling sooner.
    function test_InflatedSharesMakeTheRecipientHealthyToo() public {
        _inflate(20 ether); // half as much again on 40: X at 1.2285 * 1.5 = 1.8428
        bytes memory reason = _refusal(_rescue(X, _native(Y, 1 ether)));
        assertEq(bytes4(reason), IMarginGuard.RecipientIsHealthy.selector);
    }

    /// @dev The most that overstating a price by a quarter can bring about: the donor ends at its floor by that price, which
    /// is a quarter less by the true one, and the recipient no higher than its maximum, which bounds what was taken.
    function test_AnOverstatedPriceDrainsADonorNoFurtherThanTheRecipientsMaximum() public {
        IMarginGuard.Policy memory policy = _policy();
        policy.maxAfter = 1.7e18;
        vm.prank(owner);
        guard.setPolicy(X, policy);
        _inflate(10 ether); // a quarter on 40: X at 1.5357, Y at 2.75
        bytes memory reason = _refusal(_rescue(X, _native(Y, 5 ether)));
        assertEq(bytes4(reason), IMarginGuard.RecipientAboveMaximum.selector, "Y would have been left at 1.1 in truth");
        _rebalance(_batch(_rescue(X, _native(Y, 1 ether)))); // X at 1.6892
        vault.takeOut(10 ether, thief);
        assertEq(guard.health(Y), 1.98e18, "as if nobody had overstated anything");
        assertEq(guard.health(X), 1_351428571428571428);
    }

    /* HELPERS */

    function _give(MarketParams memory market, uint128 amount) private {
        if (amount == 0) return;
        weth.mint(thief, amount);
        vm.startPrank(thief);
        weth.approve(address(morpho), amount);
        morpho.supplyCollateral(market, amount, owner, "");
        vm.stopPrank();
    }

    function _repay(MarketParams memory market, uint256 amount) private {
        usdc.mint(thief, amount);
        vm.startPrank(thief);
        usdc.approve(address(morpho), amount);
        morpho.repay(market, amount, 0, owner, "");
        vm.stopPrank();
    }

    function _repayShares(MarketParams memory market, uint256 shares) private {
        morpho.repay(market, 0, shares, thief, "");
    }

    function _inflate(uint256 donation) private {
        vm.prank(thief);
        weth.transfer(address(vault), donation);
    }

    function _tryRebalance(IMarginGuard.Rescue[] memory rescues) private {
        bytes32 planId = _nextPlanId();
        vm.prank(thief);
        try guard.rebalance(planId, block.timestamp, rescues) {}
        catch (bytes memory answer) {
            _nothingRescued(answer);
        }
    }
}
