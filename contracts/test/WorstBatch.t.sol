// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../src/interfaces/IMorpho.sol";
import {TestFeed} from "../devnet/TestFeed.sol";
import {TestToken} from "../devnet/TestToken.sol";
import {CostlyIrm} from "./CostlyIrm.sol";
import {Setting} from "./Setting.sol";

/// @notice The largest batch that the guard's limits allow fits into a transaction, which may have 2^24 gas (EIP-7825).
/// @dev The costliest kind: every rescue in a token of its own, every account with debt in a market of its own with an
/// oracle and feeds of its own and an interest rate model that writes, so that nothing was touched before and each cap is
/// spent from for the first time.
/// forge-config: default.isolate = true
contract WorstBatchTest is Setting {
    uint256 private constant TRANSACTION_GAS_MAX = 1 << 24;
    uint256 private constant RESCUES = 16;
    uint256 private constant TRANSFERS = 8;

    function setUp() public override {
        super.setUp();
        irm = address(new CostlyIrm());
        morpho.enableIrm(irm);
    }

    function test_TheLargestBatchFitsIntoATransaction() public {
        IMarginGuard.Rescue[] memory rescues = new IMarginGuard.Rescue[](RESCUES);
        for (uint256 i; i < RESCUES; ++i) {
            rescues[i] = _largestRescue();
        }
        vm.warp(block.timestamp + 300);
        bytes32 planId = _nextPlanId() | keccak256("digest") >> 64;
        uint256 state = vm.snapshotState();
        vm.prank(keeper);
        IMarginGuard.Result[] memory results = guard.rebalance(planId, block.timestamp + 60, rescues);
        uint256 gas = vm.lastCallGas().gasTotalUsed + uint256(int256(vm.lastCallGas().gasRefunded));
        vm.snapshotValue("Gas", "largest batch, before refunds", gas);
        assertLt(gas, TRANSACTION_GAS_MAX);

        // With a tenth more for each rescue than it used, as the keeper gives, it fits as well.
        for (uint256 i; i < RESCUES; ++i) {
            assertTrue(results[i].ok, "a rescue of the largest batch failed");
            rescues[i].gas = uint32(uint256(results[i].gasUsed) * 11 / 10);
        }
        vm.revertToState(state);
        uint256 left = TRANSACTION_GAS_MAX - _intrinsicGas(planId, rescues);
        vm.prank(keeper);
        results = guard.rebalance{gas: left}(planId, block.timestamp + 60, rescues);
        for (uint256 i; i < RESCUES; ++i) {
            assertTrue(results[i].ok, "it does not fit with a tenth to spare");
        }
    }

    /// @dev One account that needs help, eight that can give, in a token that nothing else uses.
    function _largestRescue() private returns (IMarginGuard.Rescue memory) {
        TestToken token = new TestToken("Collateral", "COLL", 18);
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](TRANSFERS);
        for (uint256 i; i < TRANSFERS; ++i) {
            transfers[i] = _native(_account(token, 9_000e6), 0.2 ether);
        }
        uint16 to = _account(token, 14_000e6);
        _setCap(address(token), 1_000 ether, 1 days);
        return IMarginGuard.Rescue({to: to, minHealthAfter: 1.2e18, gas: 1_500_000, transfers: transfers});
    }

    function _account(TestToken token, uint256 debt) private returns (uint16) {
        TestFeed base = new TestFeed("COLL / USD", 8, 2_000e8);
        TestFeed quote = new TestFeed("USDC / USD", 8, 1e8);
        MarketParams memory market =
            _createMarket(address(usdc), address(token), address(_oracle(base, quote, 6)), 0.86e18);
        _open(market, 10 ether, debt);
        return _enrol(_morphoAccount(market));
    }

    /// @dev 21000, and 16 for each byte of calldata that is not zero, 4 for each that is (EIP-2028).
    function _intrinsicGas(bytes32 planId, IMarginGuard.Rescue[] memory rescues) private view returns (uint256 gas) {
        bytes memory data = abi.encodeCall(guard.rebalance, (planId, block.timestamp + 60, rescues));
        gas = 21_000;
        for (uint256 i; i < data.length; ++i) {
            gas += data[i] == 0 ? 4 : 16;
        }
    }
}
