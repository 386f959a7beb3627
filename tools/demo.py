"""`make demo`: a cluster with the sample application on it, as a user would set it up by hand; each step is a command shown as it runs."""

import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHOP = ROOT / "examples" / "shop"
IMAGES = ROOT / "build" / "images"
ANSWER_SECONDS = 60.0


def main() -> None:
    began = time.monotonic()
    run("up")
    run("image", "build-base", "-f", str(SHOP / "images.yaml"), "-o", str(IMAGES))
    run("image", "load", *(str(archive) for archive in sorted(IMAGES.glob("*.tar"))))
    run("kubectl", "apply", "-f", str(SHOP / "manifests"))
    run("kubectl", "-n", "shop", "rollout", "status", "statefulset/db", "--timeout=180s")
    run("kubectl", "-n", "shop", "wait", "--for=condition=complete", "job/load", "--timeout=180s")
    for name in ("api", "web"):
        run("kubectl", "-n", "shop", "rollout", "status", f"deployment/{name}", "--timeout=180s")
    service = json.loads(pinnace("kubectl", "-n", "shop", "get", "service", "web", "-o", "json", capture=True))
    url = f"http://127.0.0.1:{service['spec']['ports'][0]['nodePort']}/"
    wait_answer(url)
    up = json.loads(pinnace("up", "--output", "json", "--quiet", capture=True))
    print(
        f"\nThe sample application answers after {time.monotonic() - began:.0f} s. The cluster stays up; `make demo-down` ends it.\n"
    )
    print(f"application: {url}")
    print(f"kubeconfig:  {up['kubeconfig']}")
    print(f"context:     {up['context']}")


def run(*arguments: str) -> None:
    print(f"$ pinnace {' '.join(shown(argument) for argument in arguments)}", file=sys.stderr, flush=True)
    pinnace(*arguments)


def pinnace(*arguments: str, capture: bool = False) -> str:
    command = [sys.executable, "-m", "pinnace.cli.main", *arguments]
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE if capture else None)
    if done.returncode != 0:
        sys.exit(
            f"demo: `pinnace {' '.join(arguments)}` failed; `pinnace status` and the files in its logs folder say more"
        )
    return done.stdout or ""


def shown(argument: str) -> str:
    path = pathlib.Path(argument)
    return str(path.relative_to(ROOT)) if path.is_absolute() and path.is_relative_to(ROOT) else argument


def wait_answer(url: str) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"demo: {url} does not answer: {error}")
            time.sleep(0.2)


if __name__ == "__main__":
    main()
