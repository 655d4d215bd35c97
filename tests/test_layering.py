"""Who may import whom, and what runs where torch is not."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import higherhrnet
from tests.conftest import WITHOUT, Model

PACKAGE = Path(higherhrnet.__file__).parent
GROUND = {
    "skeleton",
    "poses",
    "geometry",
    "config",
    "plain",
    "recipes",
    "annotations",
    "errors",
    "files",
}


def imports(path: Path, *, deferred: bool) -> set[str]:
    """Modules that a file imports, at its top or, if wanted, within its functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if deferred else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def own(found: set[str]) -> set[str]:
    """The parts of our package among the modules: `inference`, `skeleton` and so on."""
    return {name.split(".")[1] for name in found if name.startswith("higherhrnet.")}


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_rests_on_nothing_above_it(name: str) -> None:
    assert own(imports(PACKAGE / f"{name}.py", deferred=True)) <= GROUND


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("inference/*.py")), ids=lambda p: p.name)
def test_inference_needs_no_torch(path: Path) -> None:
    found = imports(path, deferred=path.name not in {"engine.py", "device.py"})
    assert not any(name.split(".")[0] in {"torch", "safetensors", "onnx"} for name in found)
    assert own(found) <= GROUND | {"inference", "zoo", "__version__"}


def test_nothing_imports_the_command_line() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__main__.py" and path.parent.name != "cli":
            assert "cli" not in own(imports(path, deferred=True)), path


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import higherhrnet; "
        "print({name.split('.')[0] for name in set(sys.modules) - before})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "torch", "onnxruntime", "tqdm"} & ast.literal_eval(ended.stdout)


def test_every_public_name_is_there() -> None:
    for name in higherhrnet.__all__:
        assert getattr(higherhrnet, name) is not None
    import_module("higherhrnet.visualization.poses")
    assert callable(higherhrnet.draw)  # the function, whatever has been imported
    with pytest.raises(AttributeError, match="nothing"):
        higherhrnet.nothing  # noqa: B018


def test_predict_and_evaluate_run_without_torch(lively: Model, tmp_path: Path) -> None:
    code = WITHOUT.format(names=["torch", "safetensors", "openvino", "onnx", "scipy"]) + (
        "from higherhrnet.cli.main import main\nmain(sys.argv[1:])"
    )

    def run(*arguments: object) -> None:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr

    run("scenes", tmp_path / "set", "--count", 2, "--size", 64)
    images, annotations = tmp_path / "set" / "images", tmp_path / "set" / "annotations.json"
    run("predict", images, "--model", lively.onnx, "--out", tmp_path / "out")
    run("evaluate", "--annotations", annotations, "--images", images, "--model", lively.onnx)
    found = tmp_path / "out" / "predictions.json"
    run("evaluate", "--annotations", annotations, "--predictions", found)
    run("info", lively.onnx)
    run("info", lively.safetensors)


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_serve_says_what_to_install(name: str, lively: Model) -> None:
    code = WITHOUT.format(names=[name]) + (
        "from higherhrnet.cli.main import main\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "serve", "--model", str(lively.onnx)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1 and f"serve needs {name}:" in ended.stderr
    assert 'pip install "higherhrnet[serve]"' in ended.stderr
