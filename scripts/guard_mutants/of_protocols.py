"""What differs by protocol weakened, one line at a time."""

from typing import Final

from scripts.guard_mutants.mutant import AAVE, ACCOUNTS, EULER, GUARD, MORPHO, SHARES, VENUS, Mutant

OF_PROTOCOLS: Final = (
    # Morpho
    Mutant(
        "P1",
        "allows one more",
        MORPHO,
        "market.collateralToken, address(morpho), amount);",
        "market.collateralToken, address(morpho), amount + 1);",
    ),
    Mutant("P1", "withdrawn to the holder", MORPHO, "amount, holder, address(this));", "amount, holder, holder);"),
    Mutant(
        "P1",
        "supplied to itself",
        MORPHO,
        "supplyCollateral(market, amount, holder,",
        "supplyCollateral(market, amount, address(this),",
    ),
    Mutant(
        "P2",
        "borrows on the way",
        MORPHO,
        'morpho.supplyCollateral(market, amount, holder, "");',
        """morpho.supplyCollateral(market, amount, holder, "");
        (bool ok,) = address(morpho).call(
            abi.encodeWithSignature(
                "borrow((address,address,address,address,uint256),uint256,uint256,address,address)",
                market, 1, 0, holder, address(this)
            )
        );
        require(ok);
""",
    ),
    Mutant(
        "P2",
        "permits somebody on the way",
        MORPHO,
        'morpho.supplyCollateral(market, amount, holder, "");',
        """morpho.supplyCollateral(market, amount, holder, "");
        (bool ok,) = address(morpho).call(abi.encodeWithSignature("setAuthorization(address,bool)", holder, true));
        require(ok);
""",
    ),
    Mutant("P1", "repays for itself", MORPHO, "amount, 0, holder,", "amount, 0, address(this),"),
    Mutant(
        "P1",
        "allows one more to repay",
        MORPHO,
        "market.loanToken, address(morpho), amount);",
        "market.loanToken, address(morpho), amount + 1);",
    ),
    Mutant("P3", "debt rounded down", MORPHO, "(x * y + (d - 1)) / d", "(x * y) / d"),
    Mutant("P3", "virtual shares forgotten", MORPHO, "totalBorrowShares + VIRTUAL_SHARES", "totalBorrowShares"),
    Mutant("P3", "lltv forgotten", MORPHO, "collateralValue * market.lltv / WAD", "collateralValue"),
    Mutant(
        "P3",
        "no collateral means no debt",
        MORPHO,
        "if (borrowShares == 0)",
        "if (borrowShares == 0 || collateral == 0)",
    ),
    Mutant("S", "another market's answer", MORPHO, "keccak256(abi.encode(market)) == id && ", ""),
    Mutant("S", "a market of nothing", MORPHO, " && market.collateralToken != address(0)", ""),
    # Aave
    Mutant("S", "any reserve", AAVE, "if (reserve.aTokenAddress == address(0))", "if (false)"),
    Mutant("S", "an Aave account with a key", ACCOUNTS, "} else if (enrolment.key != 0) {", "} else if (false) {", ""),
    Mutant(
        "P1", "aTokens to the guard", AAVE, "asset.form.pullTo(from, to, amount);", "asset.form.pull(from, amount);"
    ),
    Mutant("P1", "withdrawn to another", AAVE, "amount, address(this));", "amount, holder);"),
    Mutant("P1", "aTokens stay", AAVE, "Token.requireBalance(asset.form, before);", ""),
    Mutant("P1", "supplied to the guard", AAVE, "amount, holder, 0);", "amount, address(this), 0);"),
    Mutant(
        "P1",
        "allows the pool one more",
        AAVE,
        "approve(pool, amount);\n        IAavePool(pool).supply",
        "approve(pool, amount + 1);\n        IAavePool(pool).supply",
    ),
    Mutant(
        "P1",
        "allows the pool more to repay",
        AAVE,
        "approve(pool, amount);\n        IAavePool(pool).repay",
        "approve(pool, amount + 1);\n        IAavePool(pool).repay",
    ),
    Mutant("P1", "repays the guard's debt", AAVE, "VARIABLE_RATE, holder);", "VARIABLE_RATE, address(this));"),
    Mutant("P4", "what is new does not count", AAVE, "if (isApproved) IAavePool", "if (false) IAavePool"),
    Mutant(
        "P4",
        "dust keeps it from counting",
        AAVE,
        "Token.balance(asset.form, to) < amount",
        "Token.balance(asset.form, to) == 0",
    ),
    Mutant(
        "P4",
        "dust keeps a supply from counting",
        AAVE,
        "Token.balance(asset.form, holder) < amount",
        "Token.balance(asset.form, holder) == 0",
    ),
    Mutant(
        "P9",
        "breaks even a threshold lower",
        AAVE,
        "(threshold + 1) * FROM_BPS",
        "(threshold - 1) * FROM_BPS",
    ),
    Mutant("P1", "never native", GUARD, "!standing.isOwed && source.form == standing.asset.form", "false"),
    Mutant("P1", "always native", GUARD, "!standing.isOwed && source.form == standing.asset.form", "!standing.isOwed"),
    Mutant("P2", "a loan is given", GUARD, "if (source.form == address(0))", "if (false)"),
    Mutant("P1", "put in where it only is owed", GUARD, "} else if (into.form == address(0)) {", "} else if (false) {"),
    Mutant("P1", "repaid where nothing is owed", GUARD, "if (into.debt == address(0))", "if (false)"),
    # Euler
    Mutant("P7", "a vault of any connector", EULER, "if (IEulerVault(vault).EVC() != evc)", "if (evc == address(0))"),
    Mutant("P1", "more sub-accounts than there are", EULER, "if (uint256(key) > type(uint8).max)", "if (false)"),
    Mutant("P3", "believes unfinished batches", EULER, "if (IEVC(evc).areChecksDeferred())", "if (false)"),
    Mutant("P3", "believes any controller", EULER, "_requireAmong(assets, controllers[0]);", ""),
    Mutant(
        "P3", "judged at the borrow LTV", EULER, "accountLiquidity(account, true)", "accountLiquidity(account, false)"
    ),
    Mutant("P9", "breaks even at nothing", EULER, "if (ltv > highest) highest = ltv;", ""),
    Mutant(
        "P1",
        "withdrawn to the sub-account",
        EULER,
        "withdraw(amount, address(this), account);",
        "withdraw(amount, account, account);",
    ),
    Mutant("P1", "deposited for the guard", EULER, "deposit(amount, account);", "deposit(amount, address(this));"),
    Mutant("P1", "shares to the guard", EULER, "asset.form.pullTo(from, to,", "asset.form.pullTo(from, address(this),"),
    Mutant("P1", "as many shares as assets", EULER, "IEulerVault(asset.form).previewWithdraw(amount)", "amount"),
    Mutant("P1", "repays for nobody", EULER, "repay(amount, account);", "repay(amount, address(this));"),
    Mutant(
        "P1", "allows the vault one more", EULER, "approve(asset.form, amount);", "approve(asset.form, amount + 1);"
    ),
    Mutant(
        "P1",
        "allows the vault more to repay",
        EULER,
        "approve(asset.debt, amount);",
        "approve(asset.debt, amount + 1);",
    ),
    # Venus
    Mutant("P7", "a market of any pool", VENUS, "if (!isListed)", "if (false)"),
    Mutant("P3", "as old as its markets' books", VENUS, "IVToken(markets[i]).accrueInterest();"),
    Mutant("P3", "as old as its oracle's prices", VENUS, "IVenusComptroller(comptroller).updatePrices(holder);"),
    Mutant("P3", "a price of zero", VENUS, "if (price == 0) revert PriceIsZero(market);"),
    Mutant("P3", "judged at the collateral factor", VENUS, "(,, uint256 threshold) =", "(, uint256 threshold,) ="),
    Mutant(
        "P9",
        "breaks even at nothing, on Venus",
        VENUS,
        "breakEven = worth.weighted * WAD / worth.collateral + 1;",
        "breakEven = 0;",
    ),
    Mutant("P3", "health without an end", VENUS, "if (ratio > type(uint128).max) ratio = type(uint128).max;"),
    Mutant("P1", "vTokens stay in the guard", VENUS, "asset.form.requireBalance(tokensBefore);"),
    Mutant(
        "P1",
        "keeps what was redeemed beyond",
        VENUS,
        "if (received > amount) asset.underlying.send(holder, received - amount);",
    ),
    Mutant("P1", "vTokens worth less", VENUS, "(amount * WAD + (rate - 1)) / rate", "amount * WAD / rate"),
    Mutant(
        "P1",
        "an amount that is rounded away",
        VENUS,
        "if (amount < least) revert AmountTooFine(market, amount, least);",
    ),
    Mutant(
        "P1",
        "a supply that is rounded away",
        VENUS,
        "form, holder);\n        _tokensFor(asset.form, amount);",
        "form, holder);",
    ),
    Mutant("P1", "minted for the guard", VENUS, "mintBehalf(holder, amount);", "mintBehalf(address(this), amount);"),
    Mutant(
        "P1", "vTokens to the guard", VENUS, "asset.form.pullTo(from, to,", "asset.form.pullTo(from, address(this),"
    ),
    Mutant("P1", "sent where it backs nothing", VENUS, "_requireEntered(comptroller, asset.form, to);"),
    Mutant("P1", "supplied where it backs nothing", VENUS, "_requireEntered(comptroller, asset.form, holder);"),
    Mutant(
        "P1",
        "repays the guard's own loan",
        VENUS,
        "repayBorrowBehalf(holder, amount);",
        "repayBorrowBehalf(address(this), amount);",
    ),
    Mutant(
        "P1", "allows the market one more", VENUS, "approve(asset.form, amount);", "approve(asset.form, amount + 1);"
    ),
    Mutant(
        "P1",
        "allows the market more to repay",
        VENUS,
        "approve(asset.debt, amount);",
        "approve(asset.debt, amount + 1);",
    ),
    Mutant("P1", "rounded by two vTokens", GUARD, "ROUNDING + Shares.grain", "ROUNDING + 2 * Shares.grain"),
    Mutant("P1", "what is owed is not looked at", SHARES, "booked = isOwed ?", "booked = !isOwed ?"),
)
