"""What a rule of the bus does with an event: moto keeps both, but knows neither `InputPath` nor dead letters.

Delivery happens within `PutEvents`; AWS takes about half a second for it.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from moto.events.models import Rule
from moto.sqs.models import sqs_backends

from infra.local.patterns import ABSENT, Matcher, matcher
from infra.local.template import ACCOUNT, REGION, TemplateError

INPUTS: Final = {"InputPath", "InputTransformer"}
TARGET: Final = {"Id", "Arn", "DeadLetterConfig", "RetryPolicy", *INPUTS}
SCHEDULED: Final = {"Id", "Arn", "DeadLetterConfig", "RetryPolicy", "Input"}
RATE: Final = re.compile(r"rate\(([1-9][0-9]*) (minutes?|hours?|days?)\)")
UNIT_S: Final = {"minute": 60, "hour": 3_600, "day": 86_400}
PLACEHOLDER: Final = re.compile(r"<([\w.-]+)>")
PATH: Final = re.compile(r"\$(\.[\w-]+)+")

Event = dict[str, Any]


def check_schedule(expression: str, target: dict[str, Any]) -> int:
    """Every how many seconds. Raises `TemplateError` for an expression or a target that is not understood here."""
    rate = RATE.fullmatch(expression)
    if rate is None or (int(rate[1]) == 1) == (rate[2].endswith("s")):
        raise TemplateError(f"schedule {expression}: only whole rates are known")
    if unknown := set(target) - SCHEDULED:
        raise TemplateError(f"schedule target: {sorted(unknown)} is not known to the local cloud")
    if not target["Arn"].startswith("arn:aws:sqs:"):
        raise TemplateError(f"schedule target {target['Arn']}: only queues are known")
    if not isinstance(target.get("Input"), str):
        raise TemplateError("schedule target: only a message that is always the same is known")
    return int(rate[1]) * UNIT_S[rate[2].rstrip("s")]


def fire(name: str, target: dict[str, Any]) -> None:
    """Put a schedule's message on its queue; where that is gone, the event goes to the dead letters."""
    try:
        _send(target["Arn"], target["Input"])
    except Exception as error:
        letters = target.get("DeadLetterConfig", {}).get("Arn")
        if letters:
            event = {
                "version": "0",
                "id": str(uuid.uuid4()),
                "detail-type": "Scheduled Event",
                "source": "aws.events",
                "account": ACCOUNT,
                "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "region": REGION,
                "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"],
                "detail": {},
            }
            _send(letters, json.dumps(event), {"ERROR_CODE": type(error).__name__, "ERROR_MESSAGE": str(error) or "-"})


def check_target(target: dict[str, Any]) -> None:
    """Raises `TemplateError` for a target that is not understood here."""
    if unknown := set(target) - TARGET:
        raise TemplateError(f"rule target: {sorted(unknown)} is not known to the local cloud")
    if not target["Arn"].startswith("arn:aws:sqs:"):
        raise TemplateError(f"rule target {target['Arn']}: only queues are known")
    transformer = target.get("InputTransformer", {})
    paths = [target["InputPath"]] if "InputPath" in target else list(transformer.get("InputPathsMap", {}).values())
    if bad := [path for path in paths if not PATH.fullmatch(path)]:
        raise TemplateError(f"rule target: the path {bad[0]} is not known to the local cloud")
    template = transformer.get("InputTemplate", "{}")
    names = set(PLACEHOLDER.findall(template))
    try:
        json.loads(PLACEHOLDER.sub("null", template))
    except ValueError:
        raise TemplateError(f"rule target: only JSON with whole values is known as template: {template}") from None
    if names != set(transformer.get("InputPathsMap", {})):
        raise TemplateError(f"rule target: the template {template} and its paths do not fit")


def find(event: Event, path: str) -> Any:
    """The value at `$.a.b`, or `ABSENT`."""
    value: Any = event
    for name in path.split(".")[1:]:
        value = value.get(name, ABSENT) if isinstance(value, dict) else ABSENT
    return value


def message(event: Event, target: dict[str, Any]) -> str:
    """The body that a target gets. Raises `LookupError` where the event lacks what it is made of."""
    if "InputPath" in target:
        return json.dumps(_present(event, target["InputPath"]), ensure_ascii=False)
    if transformer := target.get("InputTransformer"):
        paths = transformer.get("InputPathsMap", {})
        return PLACEHOLDER.sub(
            lambda match: json.dumps(_present(event, paths[match[1]]), ensure_ascii=False),
            transformer["InputTemplate"],
        )
    return json.dumps(event, ensure_ascii=False)


def _present(event: Event, path: str) -> Any:
    value = find(event, path)
    if value is ABSENT:
        raise LookupError(path)
    return value


def to_event(found: dict[str, Any]) -> Event:
    """An event of moto's in AWS's shape."""
    time = found["time"]
    at = time if isinstance(time, datetime) else datetime.fromtimestamp(float(time), UTC)
    return {
        "version": "0",
        "id": found["id"],
        "detail-type": found["detail-type"],
        "source": found["source"],
        "account": ACCOUNT,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": found.get("resources", []),
        "detail": found["detail"],
    }


@cache
def _matcher(pattern: str) -> Matcher:
    return matcher(json.loads(pattern))


def _send(queue_arn: str, body: str, attributes: dict[str, str] | None = None) -> None:
    named = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
    name = queue_arn.rpartition(":")[2]
    sqs_backends[ACCOUNT][REGION].send_message(queue_name=name, message_body=body, message_attributes=named)


def send_to_targets(rule: Rule, original_event: Any, transform_input: bool = True) -> None:
    """What stands in for moto's method of this name (moto_fixes.py): a message in each target's queue."""
    event = to_event(original_event)
    if rule.state != "ENABLED" or not _matcher(json.dumps(rule.event_pattern.get_pattern(), sort_keys=True))(event):
        return
    for target in rule.targets:
        try:
            _send(target["Arn"], message(event, target))
        except Exception as error:  # a queue that is gone, a value that is not there: AWS gives up in the end
            letters = target.get("DeadLetterConfig", {}).get("Arn")
            if letters:
                why = {"ERROR_CODE": type(error).__name__, "ERROR_MESSAGE": str(error) or "-"}
                _send(letters, json.dumps(event), {"RULE_ARN": rule.arn, "TARGET_ARN": target["Arn"], **why})
