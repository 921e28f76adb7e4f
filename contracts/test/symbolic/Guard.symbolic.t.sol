// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {Test} from "forge-std/Test.sol";
import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {MarketParams} from "../../src/interfaces/IMorpho.sol";
import {AbstractProtocol, AbstractToken} from "./AbstractProtocol.sol";

interface IExecutesRescue {
    function executeRescue(bytes32 planId, IMarginGuard.Rescue calldata rescue) external returns (uint256, uint256);
}

interface SymbolicVm {
    function createCalldata(string memory contractName) external pure returns (bytes memory);
}

/// @notice Proofs on the guard's own code, as shipped, for every value of the arguments at once. scripts/prove runs them
/// with halmos; forge does not.
/// @dev An account with debt (0) and two donors, one with debt (1), one without (2), in a protocol that is abstract; and the
/// owner's wallet (3).
contract GuardProofs is Test {
    SymbolicVm private constant SVM = SymbolicVm(address(uint160(uint256(keccak256("svm cheat code")))));

    address private constant OWNER = address(0xA11CE);
    address private constant KEEPER = address(0xB0B);
    uint64 private constant CEILING = 1.6e18;
    uint64 private constant MIN_AFTER = 1.1e18;
    uint64 private constant MAX_AFTER = 2.5e18;
    uint64 private constant HARD_FLOOR = 1.05e18;
    uint256 private constant LLTV = 0.86e18;

    IMarginGuard private guard;
    AbstractProtocol private protocol;
    AbstractToken private token;
    AbstractToken private loan;
    bytes32[3] private ids;

    function setUp() public {
        token = new AbstractToken();
        loan = new AbstractToken();
        protocol = new AbstractProtocol();
        bytes memory code = abi.encodePacked(vm.getCode("MarginGuard.sol:MarginGuard"), abi.encode(OWNER));
        address made;
        assembly {
            made := create(0, add(code, 32), mload(code))
        }
        guard = IMarginGuard(made);
        IMarginGuard.Enrolment[] memory list = new IMarginGuard.Enrolment[](4);
        for (uint256 i; i < 3; ++i) {
            // The protocol is its own oracle.
            ids[i] = protocol.create(
                MarketParams(address(loan), address(token), address(protocol), address(uint160(i)), LLTV)
            );
            list[i] = IMarginGuard.Enrolment({
                protocol: IMarginGuard.Protocol.Morpho,
                holder: OWNER,
                target: address(protocol),
                key: ids[i],
                assets: new address[](0),
                policy: IMarginGuard.Policy(CEILING, MIN_AFTER, MAX_AFTER, HARD_FLOOR)
            });
        }
        list[3].holder = OWNER;
        list[3].assets = new address[](2);
        (list[3].assets[0], list[3].assets[1]) = (address(token), address(loan));
        IMarginGuard.Cap[] memory caps = new IMarginGuard.Cap[](2);
        caps[0] = IMarginGuard.Cap(address(token), 1_000 ether, 1 days);
        caps[1] = IMarginGuard.Cap(address(loan), 1_000 ether, 1 days);
        vm.startPrank(OWNER);
        guard.enrol(list);
        guard.setCaps(caps);
        guard.setKeeper(KEEPER);
        vm.stopPrank();
        vm.warp(1_700_000_000);
    }

    /* P1 */

    /// @dev Whatever the protocol gives, takes, books and leaves of the allowance: if the rescue took effect, it was exact.
    function check_P1_WhatLeavesArrives(uint128 amount, uint256 donation, AbstractProtocol.Mood calldata mood) public {
        _fixedBook();
        vm.assume(donation < 1 << 200 && mood.gives < 1 << 200);
        token.set(address(guard), donation);
        protocol.doAsYouPlease(mood);
        if (!_carriedOut(_rescue(2, amount, 0))) return;
        assert(mood.gives == amount && mood.takes == amount && mood.leaves == 0);
        assert(mood.debits == amount && mood.credits == amount);
        assert(token.balanceOf(address(guard)) == donation);
        assert(token.allowance(address(guard), address(protocol)) == 0);
    }

    /// @dev The same of a wallet, whatever its token pulls and passes on.
    function check_P1_WhatLeavesTheWalletArrives(uint128 amount, uint256 donation, uint128 pulls, uint128 arrives)
        public
    {
        _fixedBook();
        vm.assume(donation < 1 << 200);
        token.set(address(guard), donation);
        token.doAsYouPlease(pulls, arrives);
        if (!_carriedOut(_rescueFromWallet(amount))) return;
        assert(pulls == amount && arrives == amount);
        assert(token.balanceOf(OWNER) == 10 ether - uint256(amount));
        assert(token.allowance(OWNER, address(guard)) == 8 ether - uint256(amount));
        assert(_collateral(0) == 10 ether + uint256(amount));
        assert(!protocol.wasAskedForMore() && !token.wasAskedForMore());
        assert(token.balanceOf(address(guard)) == donation);
        assert(token.allowance(address(guard), address(protocol)) == 0);
    }

    /// @dev Of a repayment: what it takes and leaves of the allowance is exact, and the debt falls by as much but for what
    /// the guard lets a protocol round.
    function check_P1_WhatIsRepaidIsBooked(uint128 amount, uint256 donation, AbstractProtocol.Mood calldata mood)
        public
    {
        _fixedBook();
        vm.assume(donation < 1 << 200);
        _sharesAreAssets();
        loan.set(address(guard), donation);
        protocol.doAsYouPlease(mood);
        if (!_carriedOut(_repaymentFromWallet(amount))) return;
        assert(mood.takes == amount && mood.leaves == 0);
        assert(uint256(mood.credits) + 10 >= amount && mood.credits <= uint256(amount) + 10);
        assert(loan.balanceOf(OWNER) == 10 ether - uint256(amount));
        assert(_collateral(0) == 10 ether && token.balanceOf(OWNER) == 10 ether);
        assert(loan.balanceOf(address(guard)) == donation);
        assert(loan.allowance(address(guard), address(protocol)) == 0);
    }

    /// @dev With a protocol that is honest: to the unit, account by account, and no debt changes.
    function check_P1_AccountsAddUp(uint128 first, uint128 second, uint256 donation) public {
        _fixedBook();
        vm.assume(donation < 1 << 200);
        token.set(address(guard), donation);
        if (!_carriedOut(_rescue(2, first, 1, second, 0))) return;
        assert(_collateral(0) == 10 ether + uint256(first) + second);
        assert(_collateral(1) == 10 ether - uint256(second));
        assert(_collateral(2) == 10 ether - uint256(first));
        for (uint256 i; i < 3; ++i) {
            (, uint128 shares,) = protocol.position(ids[i], OWNER);
            assert(shares == (i == 0 ? 7e18 : i == 1 ? 3e18 : 0));
        }
        assert(token.balanceOf(address(guard)) == donation);
        assert(token.allowance(address(guard), address(protocol)) == 0);
        _assertSettingsStand();
    }

    /* P2 */

    /// @dev Everything else that the guard could ask for would be granted, and remembered.
    function check_P2_NothingButCollateralIsAskedFor(uint128 amount, bool isDonorInDebt) public {
        _fixedBook();
        if (!_carriedOut(_rescue(isDonorInDebt ? 1 : 2, amount, 0))) return;
        assert(token.balanceOf(OWNER) == 10 ether && token.allowance(OWNER, address(guard)) == 8 ether);
        assert(!protocol.wasAskedForMore() && !token.wasAskedForMore());
        for (uint256 i; i < 3; ++i) {
            (uint256 loans, uint128 debt,) = protocol.position(ids[i], OWNER);
            assert(loans == 0 && debt == (i == 0 ? 7e18 : i == 1 ? 3e18 : 0));
        }
    }

    /* P3, P4 */

    /// @dev At every price and for every position: both ends of a transfer.
    function check_P4_RecipientAndDonorEndWhereTheyMust(
        uint128 amount,
        uint128 wanted,
        uint128 collateral,
        uint128 shares,
        uint128 donorCollateral,
        uint128 price
    ) public {
        _fixedBook();
        protocol.open(ids[0], OWNER, collateral, shares);
        protocol.open(ids[1], OWNER, donorCollateral, 3e18);
        protocol.setPrice(price);
        uint256 before = guard.health(0);
        if (!_carriedOut(_rescue(1, amount, wanted))) return;
        uint256 afterwards = guard.health(0);
        assert(before < CEILING && before > LLTV);
        assert(afterwards >= before && afterwards >= MIN_AFTER && afterwards >= wanted && afterwards <= MAX_AFTER);
        assert(guard.health(1) >= HARD_FLOOR);
    }

    /// @dev The same at one price for given positions, where a solver also finds what a weaker guard would let through.
    function check_P4_AtOnePrice(uint128 amount, uint128 wanted) public {
        _fixedBook();
        uint256 before = guard.health(0);
        if (!_carriedOut(_rescue(1, amount, wanted))) return;
        uint256 afterwards = guard.health(0);
        assert(afterwards >= before && afterwards >= MIN_AFTER && afterwards >= wanted && afterwards <= MAX_AFTER);
        assert(guard.health(1) >= HARD_FLOOR);
    }

    /* P5 */

    /// @dev What moves is what is counted, and no more than there was room for.
    function check_P5_NoMoreThanTheCapMoves(uint128 first, uint128 second, uint128 cap) public {
        _fixedBook();
        IMarginGuard.Cap[] memory caps = new IMarginGuard.Cap[](1);
        caps[0] = IMarginGuard.Cap(address(token), cap, 1 days);
        vm.prank(OWNER);
        guard.setCaps(caps);
        if (!_carriedOut(_rescue(2, first, 1, second, 0))) return;
        assert(uint256(first) + second <= cap);
        assert(guard.remainingCap(address(token)) == cap - (uint256(first) + second));
    }

    /* P6 */

    /// @dev Any function that is no read, with any arguments, by anybody but owner, keeper and the guard itself.
    function check_P6_OthersChangeNothing(address caller) public {
        vm.assume(caller != OWNER && caller != KEEPER && caller != address(guard));
        if (!_calledWithAnything(caller)) return;
        _assertSettingsStand();
        assert(!guard.paused() && guard.lastSequence() == 0);
    }

    /// @dev The keeper can pause; what is the owner's stays the owner's. What rebalancing does is in the other proofs.
    function check_P6_TheKeeperChangesNoSetting() public {
        if (!_calledWithAnything(KEEPER)) return;
        _assertSettingsStand();
        assert(guard.lastSequence() == 0);
    }

    /// @dev What the interface does not show: the call that the guard makes to itself.
    function check_P6_NobodyElseExecutesARescue(address caller, bytes32 planId, uint128 amount) public {
        _fixedBook();
        vm.assume(caller != address(guard));
        vm.prank(caller);
        try IExecutesRescue(address(guard)).executeRescue(planId, _rescue(2, amount, 0)[0]) {
            assert(false);
        } catch {}
    }

    function check_P6_OnlyTheKeeperInTimeAndNotPaused(
        address caller,
        bool paused,
        uint64 sequence,
        uint256 deadline,
        uint64 time,
        uint128 amount
    ) public {
        _fixedBook();
        vm.warp(time);
        if (paused) {
            vm.prank(OWNER);
            guard.pause();
        }
        vm.prank(caller);
        try guard.rebalance(bytes32(uint256(sequence) << 192), deadline, _rescue(2, amount, 0)) {
            assert(caller == KEEPER && !paused && time <= deadline && sequence == 1);
        } catch {}
    }

    /* P8 */

    function check_P8_APlanTakesEffectAtMostOnce(bytes32 planId, uint128 first, uint128 second) public {
        _fixedBook();
        uint64 sequence = guard.lastSequence();
        vm.startPrank(KEEPER);
        try guard.rebalance(planId, block.timestamp, _rescue(2, first, 0)) {
            assert(guard.lastSequence() == sequence + 1);
            try guard.rebalance(planId, block.timestamp, _rescue(2, second, 0)) {
                assert(false);
            } catch {}
        } catch {
            assert(guard.lastSequence() == sequence);
        }
        vm.stopPrank();
    }

    /* NOT IN VAIN */

    /// @dev The proofs say something only if the rescues that they speak of can happen.
    function test_TheRescuesOfTheProofsHappen() public {
        _fixedBook();
        assertTrue(_carriedOut(_rescue(2, 1 ether, 1, 1 ether, 1.2e18)));
        assertEq(_collateral(0), 12 ether);
    }

    function test_TheHonestSortOfDoingAsItPleasesHappens() public {
        _fixedBook();
        token.set(address(guard), 5 ether);
        protocol.doAsYouPlease(AbstractProtocol.Mood(1 ether, 1 ether, 0, 1 ether, 1 ether));
        token.doAsYouPlease(1 ether, 1 ether);
        uint256 state = vm.snapshotState();
        assertTrue(_carriedOut(_rescue(2, 1 ether, 0)));
        vm.revertToState(state);
        assertTrue(_carriedOut(_rescueFromWallet(1 ether)));
        vm.revertToState(state);
        _sharesAreAssets();
        assertTrue(_carriedOut(_repaymentFromWallet(1 ether)));
    }

    function test_WhoIsAskedForMoreRemembersIt() public {
        (bool ok,) = address(protocol).call(abi.encodeWithSignature("setAuthorization(address,bool)", KEEPER, true));
        assertTrue(ok && protocol.wasAskedForMore());
    }

    /* HELPERS */

    /// @dev Account 0 at 10 * 0.86 / 7 = 1.228, account 1 at 2.87, account 2 without debt.
    function _fixedBook() private {
        protocol.open(ids[0], OWNER, 10 ether, 7e18);
        protocol.open(ids[1], OWNER, 10 ether, 3e18);
        protocol.open(ids[2], OWNER, 10 ether, 0);
        for (uint256 i; i < 3; ++i) {
            protocol.borrowed(ids[i], 100e18, 100e18);
        }
        token.set(OWNER, 10 ether);
        token.setAllowance(OWNER, address(guard), 8 ether);
        loan.set(OWNER, 10 ether);
        loan.setAllowance(OWNER, address(guard), 8 ether);
    }

    /// @dev In account 0's market a share of the debt is an asset, the virtual ones included; of a power of two of each, so
    /// that a solver need not divide.
    function _sharesAreAssets() private {
        protocol.borrowed(ids[0], 2 ** 67 - 1, 2 ** 67 - 1e6);
    }

    function _collateral(uint256 i) private view returns (uint256 collateral) {
        (,, collateral) = protocol.position(ids[i], OWNER);
    }

    function _rescue(uint16 from, uint128 amount, uint128 wanted) private pure returns (IMarginGuard.Rescue[] memory) {
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](1);
        transfers[0] = IMarginGuard.Transfer(IMarginGuard.Kind.Native, from, 0, 0, amount);
        return _batch(transfers, wanted);
    }

    function _rescue(uint16 from, uint128 amount, uint16 from2, uint128 amount2, uint128 wanted)
        private
        pure
        returns (IMarginGuard.Rescue[] memory)
    {
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](2);
        transfers[0] = IMarginGuard.Transfer(IMarginGuard.Kind.Native, from, 0, 0, amount);
        transfers[1] = IMarginGuard.Transfer(IMarginGuard.Kind.Native, from2, 0, 0, amount2);
        return _batch(transfers, wanted);
    }

    function _rescueFromWallet(uint128 amount) private pure returns (IMarginGuard.Rescue[] memory) {
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](1);
        transfers[0] = IMarginGuard.Transfer(IMarginGuard.Kind.Cross, 3, 0, 0, amount);
        return _batch(transfers, 0);
    }

    function _repaymentFromWallet(uint128 amount) private pure returns (IMarginGuard.Rescue[] memory) {
        IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](1);
        transfers[0] = IMarginGuard.Transfer(IMarginGuard.Kind.Repay, 3, 1, 1, amount);
        return _batch(transfers, 0);
    }

    function _batch(IMarginGuard.Transfer[] memory transfers, uint128 wanted)
        private
        pure
        returns (IMarginGuard.Rescue[] memory batch)
    {
        batch = new IMarginGuard.Rescue[](1);
        batch[0] = IMarginGuard.Rescue(0, wanted, 600_000, transfers);
    }

    function _carriedOut(IMarginGuard.Rescue[] memory batch) private returns (bool) {
        vm.prank(KEEPER);
        try guard.rebalance(bytes32(uint256(1) << 192), block.timestamp, batch) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev Not `health` and not the keeper's `rebalance`: of an account that is any number halmos cannot read the record.
    function _calledWithAnything(address caller) private returns (bool ok) {
        bytes memory data = SVM.createCalldata("IMarginGuard");
        bytes4 selector = bytes4(data);
        vm.assume(selector != IMarginGuard.health.selector);
        vm.assume(caller != KEEPER || selector != IMarginGuard.rebalance.selector);
        vm.prank(caller);
        (ok,) = address(guard).call(data);
    }

    function _assertSettingsStand() private view {
        assert(guard.keeper() == KEEPER && guard.accountCount() == 4);
        (uint128 amount, uint32 window) = guard.cap(address(token));
        assert(amount == 1_000 ether && window == 1 days);
        for (uint16 i; i < 4; ++i) {
            IMarginGuard.Account memory account = guard.account(i);
            assert(!account.retired && account.joined && account.holder == OWNER);
            assert(account.assets.length == 2 && account.assets[0].underlying == address(token));
            assert(account.assets[1].underlying == address(loan));
            if (i == 3) continue;
            assert(account.target == address(protocol) && account.key == ids[i]);
            assert(account.policy.hardFloor == HARD_FLOOR && account.policy.minAfter == MIN_AFTER);
            assert(account.policy.rescueCeiling == CEILING && account.policy.maxAfter == MAX_AFTER);
        }
    }
}
