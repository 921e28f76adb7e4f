// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Stands at the address of an oracle on a fork and answers what that oracle answers, times a factor; only for rehearsals.
/// @notice What is asked for a price, as Chainlink's aggregators, Aave's price sources and Morpho's oracles are, is scaled,
/// and its round is of this second. Oracles of Venus and Euler price many assets: there each has a factor of its own.
/// All else is answered by the code that was there before, in this contract's storage.
/// @dev It is not deployed but written: its code to the oracle's address, the code that was there to another address, and two
/// words of storage, and one more for each asset, where no compiler puts any. The factor of an asset that has none is 1.
contract ScaledOracle {
    /// @dev keccak256("margin keeper: original") and keccak256("margin keeper: factor").
    bytes32 internal constant ORIGINAL = 0x481ea1ecd5ab5566a42bc625bf2bf1bcea1ef32c4966fee0a47ca6601323e985;
    bytes32 internal constant FACTOR = 0x46fe8edeb00b97f7a37c433690893665f793b94b709c83df062c0c978dbb2401;
    int256 internal constant WAD = 1e18;

    bytes4 internal constant PRICE = bytes4(keccak256("price()"));
    bytes4 internal constant LATEST_ANSWER = bytes4(keccak256("latestAnswer()"));
    bytes4 internal constant LATEST_ROUND_DATA = bytes4(keccak256("latestRoundData()"));
    bytes4 internal constant LATEST_TIMESTAMP = bytes4(keccak256("latestTimestamp()"));

    bytes4 internal constant GET_UNDERLYING_PRICE = bytes4(keccak256("getUnderlyingPrice(address)"));
    bytes4 internal constant GET_QUOTE = bytes4(keccak256("getQuote(uint256,address,address)"));
    bytes4 internal constant GET_QUOTES = bytes4(keccak256("getQuotes(uint256,address,address)"));

    fallback(bytes calldata call) external payable returns (bytes memory) {
        bytes memory answer = _original(call);
        bytes4 selector = bytes4(call);
        if (selector == PRICE || selector == LATEST_ANSWER) return abi.encode(_scaled(abi.decode(answer, (int256))));
        if (selector == GET_UNDERLYING_PRICE) return _scaledOf(bytes32(call[4:36]), answer);
        if (selector == GET_QUOTE || selector == GET_QUOTES) return _scaledOf(bytes32(call[36:68]), answer);
        if (selector == LATEST_TIMESTAMP) return abi.encode(block.timestamp);
        if (selector != LATEST_ROUND_DATA) return answer;
        (uint80 round, int256 price,,, uint80 answeredIn) =
            abi.decode(answer, (uint80, int256, uint256, uint256, uint80));
        return abi.encode(round, _scaled(price), block.timestamp, block.timestamp, answeredIn);
    }

    function _scaled(int256 price) internal view returns (int256) {
        int256 factor;
        assembly ("memory-safe") {
            factor := sload(FACTOR)
        }
        return price * factor / WAD;
    }

    /// @dev Every word of the answer: a price, or what is bid and what is asked.
    function _scaledOf(bytes32 asset, bytes memory answer) internal view returns (bytes memory) {
        bytes32 slot = keccak256(abi.encode(FACTOR, asset));
        assembly ("memory-safe") {
            let factor := sload(slot)
            if factor {
                let end := add(answer, mload(answer))
                for { let at := add(answer, 32) } iszero(gt(at, end)) { at := add(at, 32) } {
                    mstore(at, div(mul(mload(at), factor), 1000000000000000000))
                }
            }
        }
        return answer;
    }

    function _original(bytes calldata call) internal returns (bytes memory) {
        address original;
        assembly ("memory-safe") {
            original := sload(ORIGINAL)
        }
        (bool success, bytes memory answer) = original.delegatecall(call);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }
}
