"""Runs every command of an installed higherhrnet once: python tools/smoke_test.py.

Run it outside of the repository, with the Python of the environment in which the package is
installed. Commands that need an extra which is missing must end with the error that names it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

EXTRAS = {
    "train": ("train", "tensorboard"),
    "serve": ("serve", "fastapi"),
    "predict-ray": ("ray", "ray"),
}
"""The commands that need an extra: its name, and one of its packages."""
PROGRAM = str(Path(sys.executable).with_name("higherhrnet"))
"""The program beside the Python of the environment; Windows adds `.exe`."""


def run(folder: Path, *arguments: str) -> str:
    """Runs a command, prints it and returns its output; exits if the command fails.

    Args:
        folder: the working directory.
        arguments: the command and its arguments. An extra that it needs may be missing.
    """
    print("higherhrnet", *arguments, flush=True)
    command = [PROGRAM, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=folder)
    extra, package = EXTRAS.get(arguments[0], ("", ""))
    if package and find_spec(package) is None:
        if result.returncode != 1 or f'pip install "higherhrnet[{extra}]"' not in result.stderr:
            sys.exit(f"expected an error that names the extra, got: {result.stderr}")
        print(f"  {result.stderr.strip()}")
    elif result.returncode != 0:
        sys.exit(f"exit code {result.returncode}: {result.stderr}")
    return result.stdout


def serve(folder: Path) -> None:
    """Sends an image to the service, if its packages are installed."""
    if find_spec(EXTRAS["serve"][1]) is None:
        run(folder, "serve")
        return
    print("higherhrnet serve --port 0", flush=True)
    with subprocess.Popen([PROGRAM, "serve", "--port", "0"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().decode().strip()
            image = next((folder / "drawn" / "images").iterdir()).read_bytes()
            headers = {"Content-Type": "image/png"}
            request = urllib.request.Request(f"{address}/poses", image, headers)
            with urllib.request.urlopen(request, timeout=60) as response:
                print(f"  {len(json.load(response)['annotations'])} people")
        finally:
            process.kill()


def main() -> None:
    """Runs the commands; the last line is the size of the installed package."""
    import higherhrnet

    package = Path(higherhrnet.__file__).parent
    if (package.parent / "pyproject.toml").is_file():
        sys.exit("the package is that of the repository; run this in another folder")
    with TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        truth, images = "drawn/annotations.json", "drawn/images"
        run(folder, "--version")
        run(folder, "scenes", "drawn", "--count", "2", "--size", "256")
        run(folder, "check-data", truth)
        run(folder, "predict", images, "--out", "poses", "--fast", "--save", "coco", "openpose")
        people = json.loads((folder / "poses" / "predictions.json").read_text(encoding="utf-8"))
        if not people:
            sys.exit("the bundled model found nobody")
        run(folder, "evaluate", "--annotations", truth, "--images", images, "--fast")
        run(folder, "info", "default")
        run(folder, "export", "default", "half.onnx", "--half")
        run(folder, "info", "half.onnx")
        run(folder, "export", "default", "int8.onnx", "--int8", "--calibrate", images)
        run(folder, "bench", "--runs", "1", "--sizes", "64", "--people", "1", "--no-flip")
        run(folder, "models")
        run(folder, "convert", "--help")  # the weights that it converts are not installed
        run(folder, "download", "--help")  # needs the network
        run(folder, "predict-ray", images, "--out", "shards", "--fast")
        tiny = "--model.width", "4", "--input.size", "64", "--epochs", "1", "--batch-size", "1"
        data = "--train", truth, "--out", "run", "--device", "cpu"
        run(folder, "train", "coco-w32-512", *data, *tiny)
        serve(folder)
    size = sum(path.stat().st_size for path in package.rglob("*") if path.suffix != ".pyc")
    print(f"every command works; the package has {size / 1e6:.1f} MB, including the weights")


if __name__ == "__main__":
    main()
