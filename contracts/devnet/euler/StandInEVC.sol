// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

interface IController {
    function checkAccountStatus(address account, address[] calldata collaterals) external view returns (bytes4);
}

/// @title A stand-in for Euler's Ethereum Vault Connector, which no package registry has; only for tests and local chains.
/// @notice Sub-accounts, collaterals and controllers, operators, lockdown, and calls whose account checks come at the end:
/// under the names of the real one, and as it is documented and was recorded.
/// @dev Left out: permits and nonces, value, simulations, checks of vaults, setting all of an operator's accounts at
/// once, reordering of collaterals, and all events but that of a call. An account is checked by a static call, so nothing can enter meanwhile.
contract StandInEVC {
    struct BatchItem {
        address targetContract;
        address onBehalfOfAccount;
        uint256 value;
        bytes data;
    }

    /// @notice How many collaterals an account can have, and how many accounts one call or batch can have checked.
    uint256 public constant SET_MAX_ELEMENTS = 10;

    bool public transient areChecksDeferred;
    address private transient _onBehalfOf;
    address[] private _toCheck;

    mapping(bytes19 prefix => address) private _owners;
    mapping(bytes19 prefix => bool) public isLockdownMode;
    mapping(bytes19 prefix => mapping(address operator => uint256 bitField)) public getOperator;
    mapping(address account => address[]) private _collaterals;
    mapping(address account => address[]) private _controllers;
    mapping(address account => uint256) public getLastAccountStatusCheckTimestamp;

    event CallWithContext(
        address indexed caller,
        bytes19 indexed onBehalfOfAddressPrefix,
        address onBehalfOfAccount,
        address indexed targetContract,
        bytes4 selector
    );

    error EVC_NotAuthorized();
    error EVC_LockdownMode();
    error EVC_InvalidAddress();
    error EVC_InvalidValue();
    error EVC_InvalidOperatorStatus();
    error EVC_ControllerViolation();
    error EVC_OnBehalfOfAccountNotAuthenticated();
    error EVC_EmptyError();
    error TooManyElements();

    modifier onlyOwnerOrOperator(address account) {
        _authenticate(account, true, true);
        _;
    }

    modifier onlyController(address account) {
        if (_controllers[account].length != 1) revert EVC_ControllerViolation();
        if (_controllers[account][0] != msg.sender) revert EVC_NotAuthorized();
        _;
    }

    /* OWNERS AND OPERATORS */

    function getAddressPrefix(address account) public pure returns (bytes19) {
        return bytes19(uint152(uint160(account) >> 8));
    }

    /// @notice Whoever first acted for one of the 256 accounts as its owner; zero before.
    function getAccountOwner(address account) public view returns (address) {
        return _owners[getAddressPrefix(account)];
    }

    function haveCommonOwner(address account, address other) public pure returns (bool) {
        return uint160(account) ^ uint160(other) < 256;
    }

    function isAccountOperatorAuthorized(address account, address operator) public view returns (bool) {
        address owner = getAccountOwner(account);
        return owner != address(0) && getOperator[getAddressPrefix(account)][operator] & _bit(owner, account) != 0;
    }

    /// @notice By the owner, or by the operator for itself.
    function setAccountOperator(address account, address operator, bool authorized) external {
        _authenticate(account, true, false);
        address owner = getAccountOwner(account);
        if (msg.sender != owner && msg.sender != operator) revert EVC_NotAuthorized();
        if (operator == address(this) || haveCommonOwner(owner, operator)) revert EVC_InvalidAddress();
        if (isAccountOperatorAuthorized(account, operator) == authorized) revert EVC_InvalidOperatorStatus();
        getOperator[getAddressPrefix(account)][operator] ^= _bit(owner, account);
    }

    /// @notice In lockdown the connector lets nobody act for the owner's accounts; allowances of shares are not its matter.
    function setLockdownMode(bytes19 prefix, bool enabled) external {
        _authenticate(address(uint160(uint152(prefix)) << 8), false, false);
        if (!enabled && areChecksDeferred) revert EVC_NotAuthorized();
        isLockdownMode[prefix] = enabled;
    }

    /* COLLATERALS AND CONTROLLERS */

    function getCollaterals(address account) external view returns (address[] memory) {
        return _collaterals[account];
    }

    function getControllers(address account) external view returns (address[] memory) {
        return _controllers[account];
    }

    function isCollateralEnabled(address account, address vault) public view returns (bool) {
        return _contains(_collaterals[account], vault);
    }

    function isControllerEnabled(address account, address vault) public view returns (bool) {
        return _contains(_controllers[account], vault);
    }

    function enableCollateral(address account, address vault) external onlyOwnerOrOperator(account) {
        _insert(_collaterals[account], vault);
        requireAccountStatusCheck(account);
    }

    function disableCollateral(address account, address vault) external onlyOwnerOrOperator(account) {
        _remove(_collaterals[account], vault);
        requireAccountStatusCheck(account);
    }

    /// @dev A controller decides what may leave the account, and may take its collateral.
    function enableController(address account, address vault) external onlyOwnerOrOperator(account) {
        _insert(_controllers[account], vault);
        requireAccountStatusCheck(account);
    }

    /// @notice Only a controller lets an account go.
    function disableController(address account) external {
        _remove(_controllers[account], msg.sender);
        requireAccountStatusCheck(account);
    }

    /* CALLS */

    /// @notice Calls a contract for an account; a contract that names itself, as a vault does, speaks for its own caller.
    function call(address targetContract, address onBehalfOfAccount, uint256 value, bytes calldata data)
        external
        returns (bytes memory result)
    {
        bool isInner = _defer();
        result = _callAuthenticated(targetContract, onBehalfOfAccount, value, data);
        if (!isInner) _checkAll();
    }

    function batch(BatchItem[] calldata items) external {
        bool isInner = _defer();
        for (uint256 i; i < items.length; ++i) {
            _callAuthenticated(items[i].targetContract, items[i].onBehalfOfAccount, items[i].value, items[i].data);
        }
        if (!isInner) _checkAll();
    }

    /// @notice Lets an account's controller take its collateral: a liquidation.
    function controlCollateral(address targetCollateral, address onBehalfOfAccount, uint256 value, bytes calldata data)
        external
        onlyController(onBehalfOfAccount)
        returns (bytes memory result)
    {
        if (!isCollateralEnabled(onBehalfOfAccount, targetCollateral)) revert EVC_NotAuthorized();
        bool isInner = _defer();
        result = _callFor(targetCollateral, onBehalfOfAccount, value, data);
        if (!isInner) _checkAll();
    }

    /// @notice For the called contract: which account the call is for, and whether that one has this controller.
    function getCurrentOnBehalfOfAccount(address controllerToCheck)
        external
        view
        returns (address onBehalfOfAccount, bool controllerEnabled)
    {
        onBehalfOfAccount = _onBehalfOf;
        if (onBehalfOfAccount == address(0)) revert EVC_OnBehalfOfAccountNotAuthenticated();
        controllerEnabled = isControllerEnabled(onBehalfOfAccount, controllerToCheck);
    }

    /* CHECKS */

    function isAccountStatusCheckDeferred(address account) external view returns (bool) {
        return _contains(_toCheck, account);
    }

    /// @notice Once at the end of the outermost call, or at once where there is none.
    function requireAccountStatusCheck(address account) public {
        if (areChecksDeferred) _insert(_toCheck, account);
        else _check(account);
    }

    function forgiveAccountStatusCheck(address account) external onlyController(account) {
        _remove(_toCheck, account);
    }

    /* INTERNAL */

    function _defer() private returns (bool isInner) {
        isInner = areChecksDeferred;
        areChecksDeferred = true;
    }

    function _checkAll() private {
        areChecksDeferred = false;
        address[] memory accounts = _toCheck;
        delete _toCheck;
        for (uint256 i; i < accounts.length; ++i) {
            _check(accounts[i]);
        }
    }

    function _check(address account) private {
        address[] memory controllers = _controllers[account];
        if (controllers.length == 0) return;
        if (controllers.length > 1) revert EVC_ControllerViolation();
        bytes4 answer = IController(controllers[0]).checkAccountStatus(account, _collaterals[account]);
        if (answer != IController.checkAccountStatus.selector) revert EVC_EmptyError();
        getLastAccountStatusCheckTimestamp[account] = block.timestamp;
    }

    function _callAuthenticated(address target, address account, uint256 value, bytes calldata data)
        private
        returns (bytes memory)
    {
        if (target == address(this)) {
            if (account != address(0)) revert EVC_InvalidAddress();
            (bool ok, bytes memory result) = address(this).delegatecall(data); // the sender stays who it is
            return _returned(ok, result);
        }
        if (target != msg.sender) _authenticate(account, true, true);
        return _callFor(target, account, value, data);
    }

    function _callFor(address target, address account, uint256 value, bytes calldata data)
        private
        returns (bytes memory)
    {
        if (value != 0) revert EVC_InvalidValue();
        address before = _onBehalfOf;
        _onBehalfOf = account;
        emit CallWithContext(msg.sender, getAddressPrefix(account), account, target, bytes4(data));
        (bool ok, bytes memory result) = target.call(data);
        _onBehalfOf = before;
        return _returned(ok, result);
    }

    function _returned(bool ok, bytes memory result) private pure returns (bytes memory) {
        if (ok) return result;
        if (result.length == 0) revert EVC_EmptyError();
        assembly ("memory-safe") {
            revert(add(result, 32), mload(result))
        }
    }

    function _authenticate(address account, bool allowOperator, bool heedLockdown) private {
        bytes19 prefix = getAddressPrefix(account);
        if (heedLockdown && isLockdownMode[prefix]) revert EVC_LockdownMode();
        if (_owners[prefix] == address(0) && haveCommonOwner(account, msg.sender)) _owners[prefix] = msg.sender;
        if (msg.sender == _owners[prefix]) return;
        if (!allowOperator || !isAccountOperatorAuthorized(account, msg.sender)) revert EVC_NotAuthorized();
    }

    function _bit(address owner, address account) private pure returns (uint256) {
        return 1 << (uint160(owner) ^ uint160(account));
    }

    function _contains(address[] storage set, address element) private view returns (bool) {
        for (uint256 i; i < set.length; ++i) {
            if (set[i] == element) return true;
        }
        return false;
    }

    function _insert(address[] storage set, address element) private {
        if (_contains(set, element)) return;
        if (set.length == SET_MAX_ELEMENTS) revert TooManyElements();
        set.push(element);
    }

    /// @dev The last one takes the place, as in the real set.
    function _remove(address[] storage set, address element) private {
        for (uint256 i; i < set.length; ++i) {
            if (set[i] != element) continue;
            set[i] = set[set.length - 1];
            set.pop();
            return;
        }
    }
}
