// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

import {IMarginGuard} from "../../src/interfaces/IMarginGuard.sol";
import {Measures} from "./Measures.sol";

/// @notice Batches as a thief makes them up: mostly something that could be right, sometimes anything.
abstract contract Batches is Measures {
    /// @dev Mostly the neediest account, a donor of the same underlying, an amount that helps.
    function _anyBatch(Books memory books) internal returns (IMarginGuard.Rescue[] memory batch) {
        batch = new IMarginGuard.Rescue[](1 + _draw(3));
        for (uint256 i; i < batch.length; ++i) {
            uint256 to =
                _onceIn(3) ? _draw(PLACES) : _onceIn(4) ? OWNER_AAVE + _draw(PLACES - OWNER_AAVE) : _neediest(books);
            IMarginGuard.Transfer[] memory transfers = new IMarginGuard.Transfer[](1 + _draw(3));
            for (uint256 j; j < transfers.length; ++j) {
                transfers[j] = _anyTransfer(books, to, transfers.length);
            }
            uint128 wanted = uint128(_onceIn(4) ? 1e18 + _draw(0.5e18) : 0);
            batch[i] = IMarginGuard.Rescue(_indexOf(to), wanted, 5 * RESCUE_GAS, transfers);
        }
    }

    function _anyTransfer(Books memory books, uint256 to, uint256 parts)
        private
        returns (IMarginGuard.Transfer memory transfer)
    {
        bool repays = _draw(3) == 0;
        transfer.toAsset = _anyAsset(books, to, repays);
        uint256 token = places[to].tokens[transfer.toAsset];
        uint256 from = _draw(PLACES);
        for (uint256 i; i < 12 && (from == to || books.holdings[from][token] == 0 || from == STRANGER); ++i) {
            from = _draw(PLACES);
        }
        transfer.from = _indexOf(from);
        transfer.fromAsset = _assetOf(from, token);
        transfer.kind = repays
            ? IMarginGuard.Kind.Repay
            : places[from].protocol == places[to].protocol ? IMarginGuard.Kind.Native : IMarginGuard.Kind.Cross;
        uint256 amount = _anyAmount(books, to, token, repays, parts);
        if (_onceIn(24)) transfer.kind = IMarginGuard.Kind(_draw(3));
        if (_onceIn(24)) transfer.fromAsset = uint8(_draw(5));
        if (_onceIn(24)) transfer.toAsset = uint8(_draw(3));
        if (_onceIn(24)) amount = [uint256(0), type(uint128).max, books.holdings[from][token], 1][_draw(4)];
        transfer.amount = uint128(amount);
    }

    /// @return The one that the account owes most of, or any that it can hold.
    function _anyAsset(Books memory books, uint256 to, bool repays) private returns (uint8) {
        if (_isOnMorpho(to)) return repays ? 1 : 0;
        if (repays && !_isWallet(to)) return books.debts[to][USDC] == 0 ? 0 : 1;
        return uint8(_draw(places[to].tokens.length));
    }

    function _assetOf(uint256 place, uint256 token) private view returns (uint8 asset) {
        while (asset + 1 < places[place].tokens.length && places[place].tokens[asset] != token) ++asset;
    }

    /// @dev Mostly about what brings the account to its minimum, in so many parts.
    function _anyAmount(Books memory books, uint256 to, uint256 token, bool repays, uint256 parts)
        private
        returns (uint256)
    {
        (uint256 health, uint256 minAfter) = (books.healths[to], places[to].policy.minAfter);
        if (health == 0 || health >= minAfter || _onceIn(4)) return _fromDollars(token, _draw(6_000e18));
        uint256 missing = _owes(books, to) * (minAfter - health) / (repays ? minAfter : _weight(to, token));
        return _fromDollars(token, missing) * (90 + _draw(60)) / 100 / parts + _draw(3);
    }

    function _indexOf(uint256 place) private returns (uint16) {
        return _onceIn(24) ? uint16(_draw(guard.accountCount() + 1)) : places[place].index;
    }

    function _neediest(Books memory books) internal pure returns (uint256 place) {
        for (uint256 i; i < PLACES; ++i) {
            if (i != STRANGER && books.healths[i] < books.healths[place]) place = i;
        }
    }
}
