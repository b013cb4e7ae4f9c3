"""Re-apply to a restored table what the record knows and the table does not, before the API opens.

Reads the sealed entries from the record's bucket, and what happened after the last seal from files (JSON lines:
entries, events, or events as the bus archived them). Everything is a conditional write; a second run finds nothing.

Credentials, region and endpoint are AWS's own: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and so on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from botocore.exceptions import BotoCoreError, ClientError

from functions.domain.errors import Refusal
from functions.domain.record import Entry, entry_of
from functions.domain.times import epoch
from functions.edge import clock
from functions.store import bus, persons, record, seals, table
from functions.store.table import Conflict
from infra import clients, restoring

OUTPUTS: Final = {
    seals.RECORD_BUCKET: "RecordBucket",
    persons.PERSON_SECRET_ARN: "PersonSecretArn",
    bus.BUS_NAME: "BusName",
}
"""Variable → the stack's output that it is taken from, unless all are set."""
Json = dict[str, Any]
app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)


def events(lines: Iterable[str]) -> Iterator[Json]:
    """The events of JSON lines: entries of the record, events as the bus carries them, or their details."""
    for line in filter(str.strip, lines):
        read: Json = json.loads(line)
        yield read.get("event") or read.get("detail") or read


def sealed(since: int) -> Iterator[Entry]:
    """The entries that were sealed since then."""
    for name, at in seals.in_bucket(seals.ENTRIES):
        if at >= since:
            yield from map(entry_of, seals.content(name).splitlines())


@app.command()
def restore(
    since: Annotated[str, typer.Option(help="Some time before the moment that was restored to; RFC 3339.")],
    incarnation: Annotated[int, typer.Option(help="The one that is raised to (settings.py).", min=2)],
    env: Annotated[str | None, typer.Option(help="Its stack is kami-ENV.")] = None,
    table_name: Annotated[str | None, typer.Option("--table", help="The restored table.")] = None,
    local: Annotated[bool, typer.Option("--local", help="The local cloud that `make up` started.")] = False,
    kept_days: Annotated[int, typer.Option(help="So long the table keeps the record (settings.py).")] = 180,
    files: Annotated[
        list[Path] | None, typer.Option("--events", help="What happened after the last seal; may be given repeatedly.")
    ] = None,
) -> None:
    """Re-apply what was lost and print what it was."""
    deployment = clients.Deployment(env, table_name, local)
    deployment.enter()
    if env is not None or local or not OUTPUTS.keys() <= os.environ.keys():
        found_outputs = _outputs(env, local)
        os.environ |= {variable: found_outputs[name] for variable, name in OUTPUTS.items()}
    os.environ |= {
        record.RECORD_KEPT_DAYS: str(kept_days),
        record.TABLE_INCARNATION: str(incarnation),
    }
    began, by = time.monotonic(), deployment.engineer()
    entries = [*sealed(epoch(since))]
    done = restoring.put_record_back(entries, by)
    later = [event for path in files or [] for event in events(path.read_text().splitlines())]
    done["events put on record"] = record.append(later, clock.now())
    found = [*(entry.event for entry in entries), *later]
    done = +(done + restoring.apply(found, incarnation, by))
    took_s = time.monotonic() - began
    print(f"{len(found):,} events read in {took_s:,.1f} s ({len(found) / max(took_s, 0.001):,.0f} a second);")
    print(f"lost and re-applied to {os.environ[table.TABLE_NAME]}:")
    for what, count in sorted(done.items()):
        print(f"  {count:>9,}  {what}")
    if not done:
        print("          nothing")
    if done[restoring.LOST_LOTS] and done[restoring.GOING_ON]:
        print("Lots of batches that were under way are made again: run this a second time when that is done.")


def _outputs(env: str | None, local: bool) -> dict[str, str]:
    return clients.enter_local_cloud()["outputs"] if local else clients.outputs_of(f"kami-{env or clients.ENV_DEFAULT}")


def main() -> None:
    """Run; what fails is a sentence and exit code 1, and the next run goes on from there."""
    try:
        app(prog_name="infra.restore")
    except (Conflict, Refusal):
        raise SystemExit("Somebody else writes to the table: close the API, then run this again.") from None
    except (seals.Broken, ValueError) as error:
        raise SystemExit(f"The table and the bucket are not of one record: {error}.") from None
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"AWS: {error}") from None


if __name__ == "__main__":
    main()
