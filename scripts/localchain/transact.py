"""What every step of a deployment is made of: a person creates a contract, calls one, or is given tokens."""

from collections.abc import Mapping
from typing import Any

from scripts.localchain.abi import artefact, encode_call
from scripts.localchain.node import Node
from scripts.localchain.world import DEPLOYER, Person


def create(
    node: Node,
    name: str,
    arguments: bytes = b"",
    sender: str = DEPLOYER.address,
    *,
    libraries: Mapping[str, str] | None = None,
) -> str:
    """Deploys a compiled contract, linked with the libraries that it needs, and returns its address."""
    address = node.transact(sender, None, artefact(name).linked(libraries or {}) + arguments).contract
    assert address is not None
    return address


def send_as(node: Node, person: Person, to: str, signature: str, *arguments: Any) -> None:
    node.transact(person.address, to, encode_call(signature, *arguments))


def mint(node: Node, person: Person, token: str, amount: int, spender: str) -> None:
    """Gives tokens to a person who lets `spender` take them."""
    send_as(node, person, token, "mint(address,uint256)", person.address, amount)
    send_as(node, person, token, "approve(address,uint256)", spender, amount)
