// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {Setting} from "./Setting.sol";

/// @notice What a batch costs, as a receipt would say: each call is a transaction of its own with cold storage, refunds
/// deducted. The numbers are kept in snapshots/Gas.json.
/// @dev Every account with debt here; oracles of two feeds; interest to accrue in every market.
/// forge-config: default.isolate = true
contract GasTest is Setting {
    /// @dev More accounts with debt: R2 and R3 are low, E can give.
    uint16 private constant R2 = 5;
    uint16 private constant R3 = 6;
    uint16 private constant E = 7;

    function setUp() public override {
        super.setUp();
        morpho.enableLltv(0.9e18);
        morpho.enableLltv(0.91e18);
        morpho.enableLltv(0.625e18);
        MarketParams memory r2 = _createMarket(address(usdc), address(weth), address(usdcOracle), 0.9e18);
        MarketParams memory r3 = _createMarket(address(dai), address(weth), address(daiOracle), 0.91e18);
        MarketParams memory e = _createMarket(address(dai), address(weth), address(daiOracle), 0.625e18);
        _open(r2, 10 ether, 14_000e6);
        _open(r3, 10 ether, 14_000e18);
        _open(e, 10 ether, 6_000e18);
        _enrol(_morphoAccount(r2));
        _enrol(_morphoAccount(r3));
        _enrol(_morphoAccount(e));
        // A batch of earlier, so that nothing is written for the first time.
        _rebalance(_batch(_rescue(A, _native(D, 1))));
        vm.warp(block.timestamp + 300);
    }

    function test_Bare() public {
        assertLe(_bare(), 122_800 + 49_100, "the two transactions that the budget was set by");
    }

    function test_OneRescueCostsAtMostAThirdMoreThanTheTwoBareTransactions() public {
        uint256 single = _gasOf(_batch(_rescue(A, _native(B, 1 ether))), "one rescue, donor with debt");
        assertLe(single * 10, (122_800 + 49_100) * 13);
        assertLe(single * 10, _bare() * 13);
    }

    function test_OneRescueFromAnAccountWithoutDebt() public {
        _gasOf(_batch(_rescue(A, _native(D, 1 ether))), "one rescue, donor without debt");
    }

    function test_OneRescueFromTheWallet() public {
        _gasOf(_batch(_rescue(A, _cross(WALLET, 1 ether))), "one rescue, from the wallet");
    }

    function test_ThreeRescuesFromOneDonor() public {
        IMarginGuard.Rescue[] memory rescues =
            _batch(_rescue(A, _native(B, 1 ether)), _rescue(R2, _native(B, 1 ether)), _rescue(R3, _native(B, 1 ether)));
        // Of what the tokens refund for balances and allowances that return to zero, a batch gets back a fifth of its gas
        // at most (EIP-3529): without that limit these would be 70 %.
        assertLe(_gasOf(rescues, "three rescues, one donor") * 100, _sumOfSingles(rescues) * 72);
    }

    function test_ThreeRescuesFromThreeDonors() public {
        IMarginGuard.Rescue[] memory rescues =
            _batch(_rescue(A, _native(B, 1 ether)), _rescue(R2, _native(C, 1 ether)), _rescue(R3, _native(E, 1 ether)));
        assertLe(_gasOf(rescues, "three rescues, three donors") * 100, _sumOfSingles(rescues) * 80);
    }

    function test_OneRescueFromThreeDonors() public {
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](3);
        (transfers[0], transfers[1], transfers[2]) = (_native(B, 1 ether), _native(C, 1 ether), _native(E, 1 ether));
        _gasOf(_batch(IMarginGuard.Rescue(A, 0, RESCUE_GAS, transfers)), "one rescue, three donors");
    }

    /* HELPERS */

    /// @dev With 24 bytes of digest, as real plans have.
    function _gasOf(IMarginGuard.Rescue[] memory rescues, string memory name) private returns (uint256) {
        uint256 gas = _send(rescues);
        vm.snapshotValue("Gas", name, gas);
        return gas;
    }

    function _send(IMarginGuard.Rescue[] memory rescues) private returns (uint256 gas) {
        uint256 state = vm.snapshotState();
        bytes32 planId = _nextPlanId() | keccak256("digest") >> 64;
        vm.prank(keeper);
        IMarginGuard.Result[] memory results = guard.rebalance(planId, block.timestamp + 60, rescues);
        gas = vm.lastCallGas().gasTotalUsed;
        for (uint256 i; i < results.length; ++i) {
            assertTrue(results[i].ok);
        }
        vm.revertToState(state);
    }

    function _sumOfSingles(IMarginGuard.Rescue[] memory rescues) private returns (uint256 sum) {
        for (uint256 i; i < rescues.length; ++i) {
            sum += _send(_batch(rescues[i]));
        }
    }

    /// @dev What the owner would send without a guard: withdraw, and supply what came.
    function _bare() private returns (uint256) {
        vm.startPrank(owner);
        weth.transfer(lender, weth.balanceOf(owner));
        weth.approve(address(morpho), type(uint256).max);
        morpho.withdrawCollateral(usdc77, 1 ether, owner, owner);
        uint256 withdrawal = vm.lastCallGas().gasTotalUsed;
        morpho.supplyCollateral(usdc86, 1 ether, owner, "");
        uint256 supply = vm.lastCallGas().gasTotalUsed;
        vm.stopPrank();
        vm.snapshotValue("Gas", "bare withdrawal and supply", withdrawal + supply);
        return withdrawal + supply;
    }
}
