"""Bundling: made once, whole or not at all, and never without byte code where it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import bundle


@pytest.fixture(autouse=True)
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bundle, "BUNDLES", tmp_path / "bundles")
    return tmp_path / "bundles"


def test_without_the_deployed_python_production_is_refused_and_others_are_warned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setattr(bundle, "_candidates", lambda: iter([shim, tmp_path / "absent"]))

    assert bundle._compiler(required=False) is None
    assert "WARNING" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="Install one"):
        bundle._compiler(required=True)


def test_a_bundle_is_made_once_for_the_same_inputs() -> None:
    made: list[Path] = []

    first = bundle._once("x", None, [b"a", b"b"], made.append)
    assert bundle._once("x", None, [b"a", b"b"], made.append) == first
    assert bundle._once("x", None, [b"a", b"c"], made.append) != first
    assert bundle._once("x", Path("python"), [b"a", b"b"], made.append) != first
    assert len(made) == 3


def test_a_bundle_that_fails_half_way_is_not_taken_for_whole(bundles: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        bundle._once("x", None, [b"a"], fail)

    assert list(bundles.iterdir()) == []


def test_the_code_bundle_holds_the_package_itself_and_no_stray_byte_code() -> None:
    code = bundle._code(None)

    assert (code / "functions" / "edge" / "routes.py").is_file()
    assert not list(code.rglob("*.pyc"))
