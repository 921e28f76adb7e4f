// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Stands at the address of an oracle on a fork and answers what that oracle answers, times a factor; only for rehearsals.
/// @notice What is asked for a price, as Chainlink's aggregators, Aave's price sources and Morpho's oracles are, is scaled,
/// and its round is of this second. All else is answered by the code that was there before, in this contract's storage.
/// @dev It is not deployed but written: its code to the oracle's address, the code that was there to another address, and two
/// words of storage where no compiler puts any.
contract ScaledOracle {
    /// @dev keccak256("margin keeper: original") and keccak256("margin keeper: factor").
    bytes32 internal constant ORIGINAL = 0x481ea1ecd5ab5566a42bc625bf2bf1bcea1ef32c4966fee0a47ca6601323e985;
    bytes32 internal constant FACTOR = 0x46fe8edeb00b97f7a37c433690893665f793b94b709c83df062c0c978dbb2401;
    int256 internal constant WAD = 1e18;

    bytes4 internal constant PRICE = bytes4(keccak256("price()"));
    bytes4 internal constant LATEST_ANSWER = bytes4(keccak256("latestAnswer()"));
    bytes4 internal constant LATEST_ROUND_DATA = bytes4(keccak256("latestRoundData()"));
    bytes4 internal constant LATEST_TIMESTAMP = bytes4(keccak256("latestTimestamp()"));

    fallback(bytes calldata call) external payable returns (bytes memory) {
        bytes memory answer = _original(call);
        bytes4 selector = bytes4(call);
        if (selector == PRICE || selector == LATEST_ANSWER) return abi.encode(_scaled(abi.decode(answer, (int256))));
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
