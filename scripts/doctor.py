"""Check whether this machine is ready to train, and say what to do if it is not."""

import argparse
import sys

try:
    from musigma.project import PROJECT
    from workbench.doctor import report
except ModuleNotFoundError:
    sys.exit(f"musigma is not installed in {sys.executable}.\nTry: pip install -e '.[dev]'")

if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(report(PROJECT))
