"""Synthesize Kami: `python -m infra.app -c env=dev [-c bundle=false] [-o FOLDER]`, as with CDK's own tool.

Needs neither a network (once dependencies are bundled) nor credentials. Exits with 1 when cdk-nag objects.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.settings import ENVIRONMENTS
from infra.stack import Kami


def synthesize(env: str, bundle: bool, outdir: Path) -> Path:
    """Write the environment's assembly to `outdir`, unchecked, and say where its template is."""
    app = _app({"env": env, "bundle": str(bundle).lower()}, outdir)
    app.synth()
    return outdir / f"kami-{env}.template.json"


def _app(context: Mapping[str, str], outdir: Path | None) -> App:
    """The app; CDK's own tool, when it runs this, says in the process's environment what is in `context` here."""
    app = App(context=dict(context), outdir=str(outdir) if outdir else None, analytics_reporting=False)
    settings = ENVIRONMENTS[app.node.get_context("env")]
    Kami(app, settings, bundle=app.node.try_get_context("bundle") != "false")
    return app


def main() -> None:
    """Synthesize what the command line asks for, and check it."""
    parser = argparse.ArgumentParser(prog="infra.app", description=__doc__)
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    app = _app(dict(entry.split("=", 1) for entry in arguments.context), arguments.output)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as refusal:
        raise SystemExit(str(refusal)) from None


if __name__ == "__main__":
    main()
