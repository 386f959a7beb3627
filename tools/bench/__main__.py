"""`make bench`: measures this build on this machine and prints the rows of docs/performance.md.

    python tools/bench [--seconds 5] [--rows P1,P2,…] [--markdown]

Every cluster is started and ended by the benchmark itself, on loopback. Load comes from `wrk` (one thread) on the same machine:
its share of the two cores is part of every figure, as it is in the reference column (upstream Kubernetes 1.36 with etcd and
containerd on a machine of the same kind).
"""

import argparse
import shutil
import sys

import api_rows
import machine
import node_rows
import rows
import scheduling_rows
import service_rows
import watch_rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="length of each load")
    parser.add_argument("--rows", default="", help="only these, separated by commas")
    parser.add_argument("--markdown", action="store_true", help="a table for docs/performance.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("bench: wrk is missing: apt-get install -y wrk")
    wanted = set(filter(None, options.rows.split(",")))
    report = rows.Report(wanted, markdown=options.markdown)
    report.machine(machine.limits())
    if report.wants("P1", "P1b", "P2", "P3", "P8"):
        api_rows.measure(report, options.seconds)
    if report.wants("P4"):
        watch_rows.measure(report, options.seconds)
    if report.wants("P5"):
        scheduling_rows.measure(report)
    if report.wants("P6", "P7", "P8", "P9"):
        node_rows.measure(report)
    if report.wants("P10", "P11"):
        service_rows.measure(report, options.seconds)
    report.finish()


if __name__ == "__main__":
    main()
