// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title A Chainlink-type aggregator whose answer its owner sets; only for local chains.
contract TestFeed {
    struct Round {
        int256 answer;
        uint256 updatedAt;
    }

    uint8 public immutable decimals;
    address public immutable owner;
    uint256 public constant version = 1;

    string public description;
    uint80 public latestRound;
    mapping(uint80 id => Round) internal rounds;

    event AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt);

    error CallerIsNotOwner(address caller);
    error NoSuchRound(uint80 id);

    constructor(string memory description_, uint8 decimals_, int256 answer) {
        description = description_;
        decimals = decimals_;
        owner = msg.sender;
        _open(answer, block.timestamp);
    }

    function setAnswer(int256 answer) external {
        setRound(answer, block.timestamp);
    }

    /// @notice For feeds that stopped, or that report a nonsensical answer.
    function setRound(int256 answer, uint256 updatedAt) public {
        require(msg.sender == owner, CallerIsNotOwner(msg.sender));
        _open(answer, updatedAt);
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return getRoundData(latestRound);
    }

    function latestAnswer() external view returns (int256) {
        return rounds[latestRound].answer;
    }

    function latestTimestamp() external view returns (uint256) {
        return rounds[latestRound].updatedAt;
    }

    function getRoundData(uint80 id) public view returns (uint80, int256, uint256, uint256, uint80) {
        require(id != 0 && id <= latestRound, NoSuchRound(id));
        Round memory round = rounds[id];
        return (id, round.answer, round.updatedAt, round.updatedAt, id);
    }

    function _open(int256 answer, uint256 updatedAt) internal {
        rounds[++latestRound] = Round(answer, updatedAt);
        emit AnswerUpdated(answer, latestRound, updatedAt);
    }
}
