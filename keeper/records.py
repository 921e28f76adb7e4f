"""Policy and history as JSON and back, so that the journal can re-run a decision offline to the same plan."""

import json
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from keeper.core.data_fee import DataFee
from keeper.core.plan import History, InFlight, Lane, LastRescue, PriceSeen
from keeper.core.policy import DonorsOrder, Policy, PriceLimits, SubaccountPolicy
from keeper.core.snapshot import Horizon, SubaccountId
from keeper.core.units import Address

_SUBACCOUNT_POLICY = TypeAdapter(SubaccountPolicy)


def policy_to_json(policy: Policy) -> str:
    document = {
        "subaccounts": {str(id): asdict(settings) for id, settings in policy.subaccounts.items()},
        "last_stand": policy.last_stand,
        "inclusion": asdict(policy.inclusion),
        "amount_margin_bps": policy.amount_margin_bps,
        "cooldown_seconds": policy.cooldown_seconds,
        "min_benefit_multiple": policy.min_benefit_multiple,
        "donors_order": policy.donors_order.value,
        "volatility_min_bps": policy.volatility_min_bps,
        "prices": asdict(policy.prices),
    }
    return json.dumps(document)


def policy_from_json(text: str) -> Policy:
    document: dict[str, Any] = json.loads(text)
    return Policy(
        {
            SubaccountId.parse(id): _SUBACCOUNT_POLICY.validate_python(settings)
            for id, settings in document["subaccounts"].items()
        },
        document["last_stand"],
        Horizon(**document["inclusion"]),
        document["amount_margin_bps"],
        document["cooldown_seconds"],
        document["min_benefit_multiple"],
        # Who gave was chosen by gas alone when it was not yet written down.
        DonorsOrder(document.get("donors_order", DonorsOrder.LEAST_GAS.value)),
        document.get("volatility_min_bps", 0),
        PriceLimits(**document.get("prices", {})),
    )


def history_to_json(history: History) -> str:
    in_flight = history.in_flight
    document = {
        "last_rescues": {str(id): asdict(last) for id, last in history.last_rescues.items()},
        "in_flight": None
        if in_flight is None
        else {
            "plan_id": in_flight.plan_id,
            "lane": in_flight.lane.value,
            "recipients": sorted(str(id) for id in in_flight.recipients),
            "may_be_replaced": in_flight.may_be_replaced,
            "is_stuck": in_flight.is_stuck,
        },
        "volatility_bps_per_day": dict(history.volatility_bps_per_day),
        "gas_price_wei": history.gas_price_wei,
        "data_fee": asdict(history.data_fee),
        "protect_only": history.protect_only,
        "base_fee_low_wei": history.base_fee_low_wei,
        "inclusion_delay_seconds": history.inclusion_delay_seconds,
        "waiting_since": {str(id): at for id, at in history.waiting_since.items()},
        "prices": [[str(id), token, seen] for (id, token), seen in history.prices.items()],
        "last_said": [[str(id), token, price] for (id, token), price in history.last_said.items()],
    }
    return json.dumps(document)


def history_from_json(text: str) -> History:
    document: dict[str, Any] = json.loads(text)
    in_flight: dict[str, Any] | None = document["in_flight"]
    return History(
        {SubaccountId.parse(id): LastRescue(**last) for id, last in document["last_rescues"].items()},
        None
        if in_flight is None
        else InFlight(
            in_flight["plan_id"],
            Lane(in_flight["lane"]),
            frozenset(SubaccountId.parse(id) for id in in_flight["recipients"]),
            in_flight.get("may_be_replaced", False),
            in_flight.get("is_stuck", False),
        ),
        document["volatility_bps_per_day"],
        document["gas_price_wei"],
        DataFee(**document.get("data_fee", {})),
        document["protect_only"],
        document.get("base_fee_low_wei", 0),
        document.get("inclusion_delay_seconds", 0),
        {SubaccountId.parse(id): at for id, at in document.get("waiting_since", {}).items()},
        {
            (SubaccountId.parse(id), Address(token)): tuple(PriceSeen(*one) for one in seen)
            for id, token, seen in document.get("prices", ())
        },
        {(SubaccountId.parse(id), Address(token)): price for id, token, price in document.get("last_said", ())},
    )
