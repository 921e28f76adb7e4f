"""The guard's own code weakened, one line at a time."""

from typing import Final

from scripts.guard_mutants.mutant import ACCOUNTS, CAP, GUARD, TOKEN, Mutant, for_anybody

OF_GUARD: Final = (
    # Who, when, which plan
    Mutant("P6", "anybody rebalances", GUARD, "if (msg.sender != keeper) revert CallerIsNotKeeper();", safety="caller"),
    Mutant("P6", "rebalances while paused", GUARD, "if (paused) revert GuardIsPaused();", safety="pause"),
    Mutant(
        "P6",
        "no deadline",
        GUARD,
        "if (block.timestamp > deadline) revert DeadlinePassed(deadline);",
        safety="deadline",
    ),
    Mutant("P6", "deadline off by one", GUARD, "block.timestamp > deadline", "block.timestamp >= deadline"),
    Mutant("P6", "deadline a second late", GUARD, "block.timestamp > deadline", "block.timestamp > deadline + 1"),
    for_anybody(GUARD, "function setCaps(Cap[] calldata caps)"),
    for_anybody(GUARD, "function setKeeper(address newKeeper)"),
    for_anybody(GUARD, "function unpause()"),
    for_anybody(GUARD, "function sweep(address token)"),
    for_anybody(ACCOUNTS, "function retire(uint16[] calldata indexes)"),
    for_anybody(ACCOUNTS, "function setPolicy(uint16 index, Policy calldata policy)"),
    Mutant(
        "P6",
        "enrol: anybody may",
        ACCOUNTS,
        "function enrol(Enrolment[] calldata enrolments) external onlyOwner",
        "function enrol(Enrolment[] calldata enrolments) external",
    ),
    Mutant(
        "P6",
        "pause: anybody may",
        GUARD,
        "if (msg.sender != owner && msg.sender != keeper) revert CallerIsNotOwnerOrKeeper();",
    ),
    Mutant(
        "P6",
        "the owner cannot pause",
        GUARD,
        "msg.sender != owner && msg.sender != keeper",
        "msg.sender != keeper",
    ),
    Mutant(
        "P6",
        "the keeper cannot pause",
        GUARD,
        "msg.sender != owner && msg.sender != keeper",
        "msg.sender != owner",
    ),
    Mutant("P6", "pausing does nothing", GUARD, "paused = true;", ""),
    Mutant("P6", "unpausing does nothing", GUARD, "paused = false;", ""),
    Mutant("P6", "the keeper stays", GUARD, "keeper = newKeeper;", ""),
    Mutant(
        "P1", "what is swept goes to the keeper", GUARD, "token.send(owner, amount);", "token.send(keeper, amount);"
    ),
    Mutant("P8", "any sequence", GUARD, "if (sequence != lastSequence + 1)", "if (false)", safety="sequence"),
    Mutant("P8", "a plan may come again", GUARD, "sequence != lastSequence + 1", "sequence < lastSequence"),
    Mutant("P8", "sequences may be skipped", GUARD, "sequence != lastSequence + 1", "sequence <= lastSequence"),
    Mutant("P8", "the sequence is not used up", GUARD, "lastSequence = sequence;", ""),
    Mutant("P8", "the digest counts too", GUARD, "uint64(uint256(planId) >> 192)", "uint64(uint256(planId) >> 191)"),
    # A batch
    Mutant("P8", "an empty plan", GUARD, "if (rescues.length == 0) revert NoRescues();", ""),
    Mutant("P7", "any number of rescues", GUARD, "if (rescues.length > MAX_RESCUES)", "if (false)"),
    Mutant("P7", "one rescue fewer", GUARD, "rescues.length > MAX_RESCUES", "rescues.length >= MAX_RESCUES"),
    Mutant("P8", "a plan of failures is used up", GUARD, "if (!anyOk) revert NothingRescued(results);", ""),
    Mutant("P7", "the last rescue decides", GUARD, "anyOk = anyOk || results[i].ok;", "anyOk = results[i].ok;"),
    Mutant("P7", "one failure fails all", GUARD, "result.reason = answer;", "revert Reentered();"),
    Mutant(
        "P7",
        "gas is not made sure of",
        GUARD,
        "if (gasBefore < needed) revert GasTooLow(index, needed);",
        safety="gas for each rescue",
    ),
    Mutant("P7", "the 63/64 rule forgotten", GUARD, "uint256(rescue.gas) * 64 / 63", "uint256(rescue.gas)"),
    Mutant("P7", "no gas to finish with", GUARD, " + FINISH_GAS", ""),
    Mutant("P7", "a rescue may take all gas", GUARD, "call(gasGiven,", "call(gas(),"),
    Mutant(
        "P7", "revert data of any length", GUARD, "if gt(size, MAX_REASON) { size := MAX_REASON }", "", "bounded reason"
    ),
    Mutant(
        "P6",
        "anybody rescues",
        GUARD,
        "if (msg.sender != address(this)) revert CallerIsNotGuard();",
        "",
        "self-call only",
    ),
    Mutant("P7", "the lock is never shut", GUARD, "_entered = true;", "", "re-entrancy lock"),
    Mutant("P7", "the lock is never opened", GUARD, "_entered = false;", ""),
    Mutant(
        "P7",
        "no lock on rebalance",
        GUARD,
        "        external\n        nonReentrant\n",
        "        external\n",
    ),
    Mutant("P7", "no lock on sweep", GUARD, "onlyOwner nonReentrant", "onlyOwner"),
    # A rescue
    Mutant("P4", "a rescue of nothing", GUARD, "if (transfers.length == 0) revert NoTransfers();", ""),
    Mutant("P7", "any number of transfers", GUARD, "if (transfers.length > MAX_TRANSFERS)", "if (false)"),
    Mutant("P7", "one transfer fewer", GUARD, "transfers.length > MAX_TRANSFERS", "transfers.length >= MAX_TRANSFERS"),
    Mutant("S", "a retired account receives", GUARD, "_unretired(rescue.to)", "_known(rescue.to)"),
    Mutant("S", "a retired account gives", GUARD, "_unretired(transfer.from)", "_known(transfer.from)"),
    Mutant("S", "receives without joining", GUARD, "_requireJoined(recipient);", "", "recipient takes part"),
    Mutant("S", "gives without joining", GUARD, "_requireJoined(donor);", "", "donor takes part"),
    Mutant(
        "P4",
        "an account without debt receives",
        GUARD,
        "if (ratio == NO_DEBT) revert RecipientHasNoDebt(index);",
    ),
    Mutant(
        "P4",
        "no ceiling",
        GUARD,
        "if (ratio >= recipient.policy.rescueCeiling)",
        "if (false)",
        "ceiling",
    ),
    Mutant("P4", "ceiling off by one", GUARD, "ratio >= recipient", "ratio > recipient"),
    Mutant(
        "P9",
        "pays the lenders' loss",
        GUARD,
        "if (ratio <= standing.breakEven)",
        "if (false)",
        "worth more than it owes",
    ),
    Mutant("P9", "worth just what it owes", GUARD, "ratio <= standing", "ratio < standing"),
    Mutant(
        "P9", "no maximum after", GUARD, "if (healthAfter > recipient.policy.maxAfter)", "if (false)", "maximum after"
    ),
    Mutant("P9", "maximum off by one", GUARD, "healthAfter > recipient", "healthAfter >= recipient"),
    Mutant("P4", "no minimum after", GUARD, "if (healthAfter < minimum)", "if (false)", "minimum after"),
    Mutant("P4", "minimum off by one", GUARD, "healthAfter < minimum", "healthAfter <= minimum"),
    Mutant("P4", "may end worse", GUARD, "rescue.minHealthAfter), healthBefore)", "rescue.minHealthAfter), 0)"),
    Mutant("P4", "the keeper's minimum ignored", GUARD, "minAfter, rescue.minHealthAfter)", "minAfter, 0)"),
    Mutant("P4", "the owner's minimum ignored", GUARD, "_max(recipient.policy.minAfter,", "_max(0,"),
    Mutant("P4", "the smaller of the minima", GUARD, "return x > y ? x : y;", "return x < y ? x : y;"),
    Mutant(
        "P4",
        "health after is read before",
        GUARD,
        "        _read(standing, recipient);\n        if (standing.isOwed) {",
        """        standing.health = recipient.policy.rescueCeiling;
        standing.booked = standing.isOwed ? before - total : before + total;
        if (standing.isOwed) {""",
        "recipient's health after",
    ),
    Mutant(
        "P4",
        "interest forgotten",
        GUARD,
        "if (a.protocol == Protocol.Morpho) IMorpho(a.target).accrueInterest(a.market);",
        "",
        "accrued interest",
    ),
    Mutant(
        "P1",
        "the credit is not looked at",
        GUARD,
        "if (!_isNear(standing.booked, before + total, (next - first) * _rounding(recipient, standing.asset)))",
        "if (false)",
        safety="recipient was credited",
    ),
    Mutant(
        "P1",
        "less may be credited",
        GUARD,
        "if (!_isNear(standing.booked, before + total, (next - first) * _rounding(recipient, standing.asset)))",
        "if (standing.booked > before + total)",
    ),
    Mutant(
        "P1",
        "more may be credited",
        GUARD,
        "if (!_isNear(standing.booked, before + total, (next - first) * _rounding(recipient, standing.asset)))",
        "if (standing.booked < before + total)",
    ),
    Mutant("P1", "a rounding for each is refused", GUARD, "(next - first) * _rounding(recipient, standing.asset)", "0"),
    Mutant(
        "P1",
        "the repayment is not looked at",
        GUARD,
        "if (!_isNear(standing.booked + total, before, ROUNDING))",
        "if (false)",
    ),
    Mutant("P1", "roundings are refused", GUARD, "x > y ? x - y <= within : y - x <= within", "x == y"),
    Mutant("P1", "more than roundings pass", GUARD, "ROUNDING = 10;", "ROUNDING = 1e6;"),
    # A transfer
    Mutant("P1", "less may arrive", GUARD, "if (received != gathered)", "if (received > gathered)"),
    Mutant("P1", "more may arrive", GUARD, "if (received != gathered)", "if (received < gathered)"),
    Mutant(
        "P1",
        "what arrives is not looked at",
        GUARD,
        """            uint256 received = underlying.ownBalance() - balanceBefore;
            if (received != gathered) revert ReceivedAmountDiffers(underlying, gathered, received);
""",
        safety="amount received is exact",
    ),
    Mutant("P1", "the balance may fall", TOKEN, "afterwards != before", "afterwards > before"),
    Mutant("P1", "the balance may rise", TOKEN, "afterwards != before", "afterwards < before"),
    Mutant(
        "P1",
        "the balance is not looked at",
        GUARD,
        "        underlying.requireBalance(balanceBefore);\n",
        safety="guard's balance unchanged",
    ),
    Mutant(
        "P1",
        "less is supplied",
        GUARD,
        "_supply(recipient, standing.asset, gathered);",
        "_supply(recipient, standing.asset, gathered - 1);",
    ),
    Mutant("P1", "only the last is supplied", GUARD, "gathered += transfer.amount;", "gathered = transfer.amount;"),
    Mutant(
        "P1",
        "asset of the recipient ignored",
        GUARD,
        "return one.toAsset == other.toAsset && ",
        "return ",
    ),
    Mutant(
        "P1", "repaid with what was put in", GUARD, " && (one.kind == Kind.Repay) == (other.kind == Kind.Repay)", ""
    ),
    Mutant(
        "P1",
        "repaid as collateral",
        GUARD,
        "if (standing.isOwed) _repay(recipient, standing.asset, gathered);\n        else if",
        "if",
    ),
    Mutant("P1", "from and to swapped", GUARD, "_withdraw(donor, left", "_withdraw(recipient, left"),
    Mutant(
        "P1",
        "the debit is not looked at",
        GUARD,
        "if (!_isNear(left.booked + transfer.amount, heldBefore, _rounding(donor, left.asset)))",
        "if (false)",
        safety="donor was debited",
    ),
    Mutant(
        "P1",
        "less may be debited",
        GUARD,
        "if (!_isNear(left.booked + transfer.amount, heldBefore, _rounding(donor, left.asset)))",
        "if (left.booked + transfer.amount < heldBefore)",
    ),
    Mutant(
        "P1",
        "more may be debited",
        GUARD,
        "if (!_isNear(left.booked + transfer.amount, heldBefore, _rounding(donor, left.asset)))",
        "if (left.booked + transfer.amount > heldBefore)",
    ),
    Mutant(
        "P3",
        "no hard floor",
        GUARD,
        """        if (left.health < donor.policy.hardFloor) {
            revert DonorBelowHardFloor(donor.index, left.health, donor.policy.hardFloor);
        }
""",
        safety="hard floor of each donor",
    ),
    Mutant(
        "P3",
        "hard floor off by one",
        GUARD,
        "left.health < donor.policy.hardFloor",
        "left.health <= donor.policy.hardFloor",
    ),
    Mutant("P3", "the recipient's floor", GUARD, "left.health < donor.policy", "left.health < recipient.policy"),
    Mutant(
        "P3",
        "the recipient's health",
        GUARD,
        "_read(left, donor);",
        "_read(left, recipient);",
    ),
    Mutant("P5", "no cap", GUARD, "if (!_caps[underlying].spend(transfer.amount))", "if (false)", "rolling cap"),
    Mutant("P5", "half counts", GUARD, ".spend(transfer.amount)", ".spend(transfer.amount / 2)"),
    Mutant("P1", "gives to itself", GUARD, "if (donor.index == recipient.index)", "if (false)"),
    Mutant("P1", "moves nothing", GUARD, "if (transfer.amount == 0) revert AmountIsZero();", ""),
    Mutant("P1", "any kind", GUARD, "if (transfer.kind != kind)", "if (false)"),
    Mutant("P1", "kinds swapped", GUARD, "Kind.Native : Kind.Cross", "Kind.Cross : Kind.Native"),
    Mutant(
        "P1", "any token", GUARD, "if (source.underlying != standing.asset.underlying)", "if (false)", "same underlying"
    ),
    Mutant("P1", "asset off by one", GUARD, "asset >= a.assets.length", "asset > a.assets.length"),
    # The rolling cap
    Mutant("P5", "cap off by one, too low", CAP, "amount > _remaining(now_)", "amount >= _remaining(now_)"),
    Mutant("P5", "cap off by one, too high", CAP, "amount > _remaining(now_)", "amount > _remaining(now_) + 1"),
    Mutant("P5", "spends are not counted", CAP, "now_.current += amount;", ""),
    Mutant("P5", "the epoch before is forgotten", CAP, "now_.epoch + 1 ? now_.current : 0", "now_.epoch + 1 ? 0 : 0"),
    Mutant(
        "P5", "the epoch before does not count", CAP, "uint256(now_.previous) + now_.current", "uint256(now_.current)"
    ),
    Mutant("P5", "nothing is ever free again", CAP, "? now_.current : 0", "? now_.current : now_.previous"),
    Mutant("P5", "window off by one", CAP, "block.timestamp / window", "block.timestamp / (window - 1)"),
    Mutant("P5", "half a window", CAP, "block.timestamp / window", "2 * block.timestamp / window"),
    Mutant("P5", "another window refunds", CAP, "(0, now_.previous + now_.current)", "(0, 0)"),
    Mutant(
        "P5", "another window refunds the epoch before", CAP, "(0, now_.previous + now_.current)", "(0, now_.current)"
    ),
    Mutant("P5", "another window counts old epochs", CAP, "if (window != now_.window)", "if (now_.window == 0)"),
    # Accounts
    Mutant("S", "retiring does nothing", ACCOUNTS, "_enrolled[indexes[i]].retired = true;", ""),
    Mutant("S", "never again after retiring", ACCOUNTS, "delete _live[_identity(facts)];", ""),
    Mutant("S", "retires twice", ACCOUNTS, "_unretired(indexes[i])", "_known(indexes[i])"),
    Mutant("S", "enrolled twice", ACCOUNTS, "if (_live[identity] != 0)", "if (false)"),
    Mutant(
        "S", "one account per target", ACCOUNTS, "abi.encode(a.holder, a.target, a.key)", "abi.encode(a.target, a.key)"
    ),
    Mutant("S", "accounts without end", ACCOUNTS, "if (accountCount == MAX_ACCOUNTS)", "if (false)"),
    Mutant("S", "policy in any order", ACCOUNTS, "_requireInOrder(a.protocol, a.policy);", ""),
    Mutant("S", "a floor on the line", ACCOUNTS, "1e18 < p.hardFloor", "1e18 <= p.hardFloor"),
    Mutant("S", "a floor above the minimum", ACCOUNTS, "&& p.hardFloor <= p.minAfter ", ""),
    Mutant("S", "a minimum above the ceiling", ACCOUNTS, " && p.minAfter <= p.rescueCeiling", ""),
    Mutant("S", "a ceiling above the maximum", ACCOUNTS, "p.rescueCeiling <= p.maxAfter", "true"),
    Mutant("S", "a wallet with a maximum", ACCOUNTS, " && p.maxAfter == 0", ""),
    Mutant("S", "everybody takes part", ACCOUNTS, "holder == owner || _joined[holder]", "holder != address(0)"),
    Mutant("P6", "leaving does nothing", ACCOUNTS, "_joined[msg.sender] = false;", ""),
    # Tokens
    Mutant("P7", "a failed call is done", TOKEN, "!ok || ", "", "token calls"),
    Mutant("P7", "no token is a token", TOKEN, "token.code.length == 0 || ", ""),
    Mutant("P7", "false is done", TOKEN, "(answer.length != 0 && !abi.decode(answer, (bool)))", "false"),
    Mutant(
        "P1",
        "allowance left",
        TOKEN,
        """        uint256 left = IERC20(token).allowance(address(this), spender);
        if (left != 0) revert AllowanceLeft(token, spender, left);
""",
        safety="allowance back to zero",
    ),
    Mutant("P1", "pulled past the guard", TOKEN, "(from, to, amount)", "(from, from, amount)"),
)
