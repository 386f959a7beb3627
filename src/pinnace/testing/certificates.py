"""The certificates of clusters in this process: made once for all of them, since making them costs more than all else."""

import atexit
import datetime
import functools
import os
import pathlib
import shutil
import tempfile

from pinnace.assemble import pki, places, settings

HOST = "127.0.0.1"


def folder(prefix: str) -> pathlib.Path:
    """A new empty folder; in memory where the machine has room for that."""
    shared = pathlib.Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of this user alone
    return pathlib.Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=shared if shared.is_dir() else None))


@functools.cache
def made() -> pathlib.Path:
    """The folder of the certificates, laid out as `pki.ensure` does; every name in them leads to this machine."""
    base = folder("pinnace-testing-pki-")
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    where = places.of(base)
    pki.ensure(where, identity(0), datetime.datetime.now(datetime.UTC))
    return where.pki


def identity(port: int) -> settings.Cluster:
    return settings.Cluster(
        name="pinnace-testing",
        id="testing",
        port=port,
        node=True,
        node_name="node-1",
        node_ip=HOST,
        kubelet_port=0,
        pod_cidr="10.42.0.0/16",
        service_cidr="10.43.0.0/16",
    )
