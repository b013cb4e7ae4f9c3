"""The README's five minutes, as pasted into a shell while `make up` runs; then Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from functions.store.keys import LOT
from infra.local.template import ROOT
from tests.running import DOWN_AFTER_S, Running, up

HEADING: Final = "## Five minutes"
BLOCKS: Final = 12
END_OF_BLOCK: Final = "=== end of block ==="
PASTED_AFTER_S: Final = 300
ITEMS_OF_A_MILLION_MAX: Final = 110
TAKEN: Final = ("sent", "delivered")


def blocks() -> list[str]:
    """What the README has a newcomer paste, block by block."""
    _, _, section = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"{HEADING}\n")
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


def processes() -> list[tuple[int, int, str]]:
    """Id, parent and command of all that runs here, but for what only waits to be noticed as dead."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = (line.split(None, 3) for line in listed.stdout.splitlines())
    return [(int(pid), int(ppid), args) for pid, ppid, stat, args in rows if "Z" not in stat]


def below(parent: int) -> dict[int, str]:
    """Every process that this one started, or one of those, with its command."""
    rows = processes()
    found = {parent: ""}
    for _ in rows:
        found |= {pid: args for pid, ppid, args in rows if ppid in found}
    del found[parent]
    return found


def interrupt(running: Running) -> tuple[int, str]:
    """Ctrl-C: the signal goes to all processes of the terminal. The exit code, and all that was printed."""
    os.killpg(running.process.pid, signal.SIGINT)
    return running.process.wait(DOWN_AFTER_S), running.log.read_text()


def pasted(folder: Path) -> list[str]:
    """What the shell prints for each block; the README's files in /tmp lie in the test's own folder."""
    bash = shutil.which("bash")
    assert bash
    script = "".join(f"{block}echo; echo '{END_OF_BLOCK}'\n" for block in blocks()).replace("/tmp/", f"{folder}/")
    for name, target in ((".venv", Path(sys.prefix)), ("functions", ROOT / "functions")):
        (folder / name).symlink_to(target)
    done = subprocess.run(
        [bash, "-s"], input=script, cwd=folder, capture_output=True, text=True, timeout=PASTED_AFTER_S, check=True
    )
    assert done.stderr == ""
    return done.stdout.split(END_OF_BLOCK)[:-1]


def documents(printed: str) -> list[Any]:
    """The JSON documents that were printed, each on a line of its own."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{") and line.endswith("}")]


def replies(printed: str) -> list[tuple[int, dict[str, str], Any]]:
    """Status, headers and body of each reply that was printed with `curl -i`."""
    found = []
    for reply in re.split(r"^(?=HTTP/)", printed, flags=re.MULTILINE)[1:]:
        head, _, body = reply.replace("\r\n", "\n").partition("\n\n")
        status, *lines = head.splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        found.append((int(status.split()[1]), headers, json.loads(body.strip())))
    return found


def test_the_readme_holds_what_it_promises_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    assert len(blocks()) == BLOCKS
    with up(tmp_path) as running:
        helpers, campaign, batch, stock, till, gift, sms, carriers, recall, history, customer, record = pasted(tmp_path)
        assert helpers.strip() == ""

        (made,) = documents(campaign)
        assert made["face_value"] == {"amount_minor": 5000, "currency": "CNY"}

        (million,) = documents(batch)
        assert (million["status"], million["counts"]) == ("completed", {"generated": 1_000_000})
        assert len(running.items(LOT)) <= ITEMS_OF_A_MILLION_MAX

        activation, revealed, counted = documents(stock)[-3:]
        assert (activation["activated"], activation["status"]) == (100, "completed")
        assert len({line["code"] for line in revealed["data"]}) == 4
        assert counted["counts"] == {"active": 100, "generated": 999_900}

        verification = documents(till)[0]
        assert (verification["redeemable"], verification["balance_minor"]) == (True, 5000)
        first, again, other = replies(till)
        assert (first[0], again[0], other[0]) == (201, 201, 409)
        assert "idempotency-replayed" not in first[1]
        assert again[1]["idempotency-replayed"] == "true"
        assert again[2] == first[2]
        assert other[2]["key"] == "already_redeemed"

        *_, redeemed, left, reversal, refusal, restored = documents(gift)
        assert (redeemed["amount_minor"], redeemed["balance_minor"], left["balance_minor"]) == (2000, 3000, 3000)
        assert (reversal["amount_minor"], reversal["balance_minor"]) == (2000, 5000)
        assert refusal["key"] == "already_reversed"
        assert (restored["balance_minor"], restored["redeemable"]) == (5000, True)

        phone, messages = documents(sms)
        assert len(phone["data"]) == 3
        assert [attempt["outcome"] in TAKEN for attempt in messages["data"][0]["attempts"]] == [True]

        _, _, through_the_other, _, _, none_yet, _, _, arrived, told = documents(carriers)
        assert [len(each["data"]) for each in (through_the_other, none_yet, arrived)] == [1, 0, 1]
        assert told["status"] in TAKEN
        assert {attempt["outcome"] for attempt in told["attempts"][:-1]} == {"failed"}
        assert len(told["story"]) > len(told["attempts"])
        assert all(line["what"]["zh"] and line["what"]["en"] for line in told["story"])

        ordered, refused, report = documents(recall)
        assert ordered["status"] == "in_progress"
        assert (refused["redeemable"], refused["status"]) == (False, "void")
        assert (report["status"], report["selected"], report["recovered"]) == ("completed", 1_000_000, 999_997)
        assert (report["skipped"]["by_reason"], len(report["skipped"]["data"])) == ({"redeemed": 3}, 3)

        (card,) = documents(history)
        assert [line["event"] for line in card["data"]] == [
            "generated",
            "activated",
            "revealed",
            "redeemed",
            "recalled",
        ]

        claim, wallet, shown, hold, capture, wallet_after = documents(customer)
        assert [each["serial"] for each in wallet["data"]] == [claim["serial"]]
        assert (wallet["data"][0]["status"], wallet["data"][0]["balance_minor"]) == ("claimed", 5000)
        assert shown["payload"].startswith(f"KQ1.{claim['serial']}.")
        assert (hold["status"], hold["amount_minor"], hold["available_minor"]) == ("open", 3000, 2000)
        assert (capture["amount_minor"], capture["hold"]) == (2500, hold["id"])
        assert [each["balance_minor"] for each in wallet_after["data"]] == [2500]

        (entries,) = documents(record)
        assert [entry["type"] for entry in entries["data"]] == ["lot.recalled"]
        intact, altered = record.strip().splitlines()[-2:]
        assert intact.startswith("INTACT")
        assert re.match("ALTERED  chain .*, entry [0-9]+: changed", altered)

        started = below(running.process.pid)
        assert started
        code, words = interrupt(running)
        assert (code, "Traceback" in words) == (0, False), words
        alive = {pid for pid, _, _ in processes()}
        assert {pid: args for pid, args in started.items() if pid in alive} == {}
        assert not (tmp_path / ".kami" / "local.json").exists()
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", urlsplit(str(running.known["api_url"])).port))
