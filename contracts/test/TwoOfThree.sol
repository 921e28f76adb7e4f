// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice A wallet of three signers in the manner of a Safe: it calls what two of them signed, in the order of its nonce.
contract TwoOfThree {
    address[3] private _signers;
    uint256 public nonce;

    error NotTwoSigners();

    constructor(address[3] memory signers) {
        _signers = signers;
    }

    function digest(address to, bytes calldata data) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), nonce, to, data));
    }

    /// @dev Reverts with what the call reverted with.
    function exec(address to, bytes calldata data, bytes[2] calldata signatures) external {
        bytes32 signed = digest(to, data);
        (address first, address second) = (_recover(signed, signatures[0]), _recover(signed, signatures[1]));
        if (first == second || !_isSigner(first) || !_isSigner(second)) revert NotTwoSigners();
        ++nonce;
        (bool ok, bytes memory why) = to.call(data);
        if (!ok) {
            assembly {
                revert(add(why, 32), mload(why))
            }
        }
    }

    function _recover(bytes32 signed, bytes calldata signature) private pure returns (address) {
        return ecrecover(signed, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
    }

    function _isSigner(address who) private view returns (bool) {
        return who != address(0) && (who == _signers[0] || who == _signers[1] || who == _signers[2]);
    }
}
