// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {Handler} from "./Handler.sol";

/// @notice A long random history on the real Morpho, Aave and Venus and a stand-in for Euler: a thief who holds the keeper's
/// key and liquidates, an oracle that moves, interest, other users, an owner who changes his mind. The handler checks each step as it is made (P1 to P6, P8, P9).
/// @dev scripts/prove runs it for more than a million calls.
contract ThiefCampaign is Test {
    Handler private handler;

    function setUp() public {
        handler = new Handler();
        handler.setUp();
        bytes4[] memory actions = new bytes4[](26);
        // What matters most comes most often.
        for (uint256 i; i < 7; ++i) {
            actions[i] = Handler.thiefRebalances.selector;
        }
        actions[7] = Handler.thiefRaids.selector;
        actions[8] = Handler.thiefRaids.selector;
        actions[9] = Handler.thiefLiquidates.selector;
        actions[10] = Handler.thiefPauses.selector;
        actions[11] = Handler.thiefTriesWhatTheKeyDoesNotAllow.selector;
        actions[12] = Handler.othersTryWhatIsTheOwners.selector;
        actions[13] = Handler.ownerTakesControl.selector;
        actions[14] = Handler.ownerSetsPolicy.selector;
        actions[15] = Handler.ownerSetsCap.selector;
        actions[16] = Handler.ownerRetiresAndEnrolsAgain.selector;
        actions[17] = Handler.ownerWorksOnAPosition.selector;
        actions[18] = Handler.ownerFillsAWallet.selector;
        actions[19] = Handler.friendJoinsOrLeaves.selector;
        actions[20] = Handler.pricesMove.selector;
        actions[21] = Handler.timePasses.selector;
        actions[22] = Handler.othersBorrowAndLend.selector;
        actions[23] = Handler.somebodyDonates.selector;
        actions[24] = Handler.thiefTampers.selector;
        actions[25] = Handler.holdersAllowWhatTheyHold.selector;
        targetContract(address(handler));
        targetSelector(FuzzSelector({addr: address(handler), selectors: actions}));
    }

    function invariant_TheKeysHolderStealsNothing() public view {
        assertEq(handler.paused(), handler.guardIsPaused());
        assertEq(handler.lastSequence(), handler.guardsLastSequence());
    }

    /// @dev The same actions in a fixed order: the campaign reaches what it is there to check.
    function test_TheCampaignIsNoEmptyOne() public {
        for (uint256 i; i < 1_000; ++i) {
            uint256 seed = uint256(keccak256(abi.encode("campaign", i)));
            if (i % 8 == 7) handler.pricesMove(seed);
            else if (i % 8 == 1) handler.timePasses(seed);
            else if (i % 8 == 2) handler.ownerWorksOnAPosition(seed);
            else if (i % 8 == 3) handler.ownerFillsAWallet(seed);
            else if (i % 4 == 0) handler.thiefRaids(seed);
            else if (i % 8 == 5) handler.ownerSetsPolicy(seed);
            else handler.thiefRebalances(seed);
        }
        assertGt(handler.rescues(), 60, "rescues");
        assertGt(handler.rescuesOnAave(), 20, "rescues of accounts on Aave");
        assertGt(handler.rescuesOnEuler(), 20, "rescues of accounts on Euler");
        assertGt(handler.rescuesOnVenus(), 20, "rescues of accounts on Venus");
        assertGt(handler.transfersOfKind(0), 15, "transfers in the form that both accounts hold");
        assertGt(handler.transfersOfKind(1), 15, "transfers across forms");
        assertGt(handler.transfersOfKind(2), 15, "repayments");
        assertGt(handler.liquidations(), 10, "liquidations");
        assertGt(handler.liquidationsOnAave(), 1, "liquidations on Aave");
        assertGt(handler.liquidationsOnEuler(), 1, "liquidations on Euler");
        assertGt(handler.liquidationsOnVenus(), 1, "liquidations on Venus");
        assertGt(handler.raidsWithBoth(), 3, "raids that rebalanced and liquidated");
        assertGt(handler.raidsWithAll(), 1, "raids in which the price fell as well");
        assertGt(handler.raidsCompared(), 1, "raids that were held against a thief without the key");
    }
}
