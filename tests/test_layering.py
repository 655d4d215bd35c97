"""Modules import each other in layers; the base installation needs no optional packages."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import higherhrnet
from tests.conftest import HIDE_PACKAGES, ModelFiles

PACKAGE = Path(higherhrnet.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

BASE = {"root", "poses", "config"}
"""The folders that all others may import."""

FOLDERS: dict[str, set[str]] = {
    "root": set(),
    "poses": {"root"},
    "config": {"root", "poses"},
    "io": {*BASE},
    "decoding": {*BASE},
    "tracking": {*BASE, "decoding"},
    "visualization": {*BASE, "io"},
    "synthetic": {*BASE, "io"},
    "graph": {*BASE, "io", "decoding"},
    "zoo": {*BASE, "io", "graph"},
    "network": {*BASE, "io", "graph"},
    "engines": {*BASE, "io", "graph", "zoo", "network"},
    "inference": {
        *BASE, "io", "decoding", "tracking", "visualization", "graph", "zoo", "network",
        "engines",
    },
    "evaluation": {*BASE, "io", "visualization", "inference"},
    "quantization": {*BASE, "io", "engines", "inference", "evaluation"},
    "reference": {*BASE, "network", "engines", "inference"},
    "serving": {*BASE, "io", "visualization", "inference"},
    "ray": {*BASE, "io", "inference"},
    "data": {*BASE, "io"},
    "training": {
        *BASE, "io", "visualization", "zoo", "network", "engines", "inference", "evaluation",
        "data", "decoding",
    },
}  # fmt: skip
"""The folders of the package, and the folders that each may import, also within functions. `root`
is the modules outside the folders."""

TOP: dict[str, set[str]] = {"bench": {"cli"}, "cli": set()}
"""The folders that may import everything, and the folders that may import them."""

EXCEPTIONS = {
    ("higherhrnet.__main__", "cli"),
    ("higherhrnet.poses.poses", "io"),  # `Poses` draws itself in notebooks
    ("higherhrnet.poses.poses", "visualization"),
}

OPTIONAL = {
    "torch": {"network", "reference", "data", "training"},
    "openvino": set(),
    "matplotlib": {"training"},
    "tensorboard": {"training"},
    "munkres": {"reference"},
    "fastapi": {"serving"},
    "prometheus_client": {"serving"},
    "pydantic": {"serving"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    "pyarrow": {"ray"},
    "ray": {"ray"},
    "scipy": set(),
    "PIL": set(),
    "pi_heif": set(),
    "pandas": set(),
    "supervision": set(),
}
"""The packages of the extras, and the folders that may import them outside of functions."""


@cache
def imported_names(source: str, *, deferred: bool) -> frozenset[str]:
    """The full names that Python code imports, except for annotations.

    Args:
        source: the code.
        deferred: also the imports within functions.
    """

    def statements(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not deferred:
                continue
            yield child
            yield from statements(child)

    names: set[str] = set()
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(names)


def imported_modules(module: str, *, deferred: bool) -> set[str]:
    """The modules of the package that a module imports."""
    names = imported_names(MODULES[module].read_text(encoding="utf-8"), deferred=deferred)
    own = {name for name in names if name.startswith("higherhrnet.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in own}


def folder_of(module: str) -> str:
    folder = module.split(".")[1] if "." in module else ""
    return folder if (PACKAGE / folder).is_dir() and folder else "root"


def test_imports_are_found_except_for_annotations() -> None:
    source = (
        "import a.b\n"
        "if TYPE_CHECKING:\n    import c\n"
        "class D:\n    from e import f\n    def g(self):\n        from h import i\n"
    )
    assert imported_names(source, deferred=False) == {"a.b", "e.f"}
    assert imported_names(source, deferred=True) == {"a.b", "e.f", "h.i"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imported_modules(module, deferred=False) - {module} for module in MODULES}
    assert graph["higherhrnet.poses.poses"] >= {"higherhrnet.poses.skeleton"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' ← '.join(error.args[1])}")


def test_the_table_of_folders_is_ordered() -> None:
    before: set[str] = set()
    for name, allowed in FOLDERS.items():
        assert allowed <= before, f"{name} may import only folders above it in the table"
        before.add(name)
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    missing = {"root", *folders} - TOP.keys() - before
    assert not missing, f"add to FOLDERS, with what they may import: {', '.join(missing)}"
    assert before == {"root", *folders} - TOP.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_import_only_from_the_folders_that_theirs_may_import(module: str) -> None:
    own = folder_of(module)
    imported = {folder_of(name) for name in imported_modules(module, deferred=True)} - {own}
    imported -= {name for importer, name in EXCEPTIONS if importer == module}
    allowed = FOLDERS.get(own, FOLDERS.keys()) | {top for top in TOP if own in TOP[top]}
    assert imported <= allowed, (
        f"{module} imports from {', '.join(sorted(imported - allowed))}; modules in {own} may "
        f"import from {', '.join(sorted(allowed)) or 'no other folder'} (FOLDERS)"
    )


@pytest.mark.parametrize("module", sorted(MODULES))
def test_optional_packages_are_imported_only_where_they_are_needed(module: str) -> None:
    names = imported_names(MODULES[module].read_text(encoding="utf-8"), deferred=False)
    # Modules that are imported only where the package is installed.
    separate = {
        "higherhrnet.engines.torch",
        "higherhrnet.inference.gpu",
        "higherhrnet.inference.gpu_pixels",
    }
    for package in {name.partition(".")[0] for name in names} & OPTIONAL.keys():
        allowed = OPTIONAL[package] | {"bench"}
        assert folder_of(module) in allowed or module in separate, (
            f"{module} imports {package}, which the base installation lacks; import it within the "
            f"function that needs it (OPTIONAL permits it in: {', '.join(sorted(allowed))})"
        )


def test_modules_are_public_and_import_no_private_names() -> None:
    for module in MODULES:
        name = module.rpartition(".")[2]
        assert not name.startswith("_") or name == "__main__", f"{module}: modules are public"
        for imported in imported_names(MODULES[module].read_text("utf-8"), deferred=True):
            last = imported.rpartition(".")[2]
            if imported.startswith("higherhrnet."):
                assert not last.startswith("_") or last == "__version__", (
                    f"{module} imports {imported}; give it a public name"
                )


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_importing_the_package_imports_no_dependencies() -> None:
    result = run_python(
        "import sys; before = set(sys.modules); import higherhrnet; "
        "print({name.split('.')[0] for name in set(sys.modules) - before})"
    )
    imported = ast.literal_eval(result.stdout)
    assert "higherhrnet" in imported
    assert not (imported - {"higherhrnet"}) - set(sys.stdlib_module_names)


def test_every_public_name_can_be_imported() -> None:
    pytest.importorskip("torch")
    assert set(dir(higherhrnet)) == set(higherhrnet.__all__)
    for name in higherhrnet.__all__:
        assert getattr(higherhrnet, name) is not None
    import_module("higherhrnet.visualization.poses")
    assert callable(higherhrnet.draw) and callable(higherhrnet.evaluate)
    with pytest.raises(AttributeError, match="nothing"):
        higherhrnet.nothing  # noqa: B018


def test_only_the_network_needs_torch() -> None:
    names = [name for name in higherhrnet.__all__ if name != "HigherHRNet"]
    result = run_python(
        HIDE_PACKAGES.format(names=[name for name in OPTIONAL])
        + f"import higherhrnet\nfor name in {names}: getattr(higherhrnet, name)"
    )
    assert result.returncode == 0, result.stderr


MAIN = "from higherhrnet.cli.main import main\nmain(sys.argv[1:])"


@pytest.mark.slow
def test_the_base_installation_predicts_and_evaluates(
    small_model: ModelFiles, tmp_path: Path
) -> None:
    code = HIDE_PACKAGES.format(names=[name for name in OPTIONAL]) + MAIN
    torch = pytest.importorskip("torch")
    from higherhrnet.network.higherhrnet import HigherHRNet

    authors_file = tmp_path / "w4_64.pth"
    torch.save(HigherHRNet(4).state_dict(), authors_file)

    def run(*arguments: object) -> None:
        result = run_python(code, *arguments)
        assert result.returncode == 0, result.stderr

    run("scenes", tmp_path / "set", "--count", 2, "--size", 64)
    images, annotations = tmp_path / "set" / "images", tmp_path / "set" / "annotations.json"
    run("predict", images, "--model", small_model.onnx, "--out", tmp_path / "out")
    run("evaluate", "--annotations", annotations, "--images", images, "--model", small_model.onnx)
    predictions = tmp_path / "out" / "predictions.json"
    run("evaluate", "--annotations", annotations, "--predictions", predictions)
    run("info", small_model.onnx)
    run("info", small_model.safetensors)
    run("export", small_model.safetensors, tmp_path / "exported.onnx")
    run("predict", images, "--model", tmp_path / "exported.onnx", "--out", tmp_path / "out2")
    run("convert", authors_file, tmp_path / "converted.onnx")
    run("info", tmp_path / "converted.onnx")


UNUSED_BY_PREDICT = {
    "faster_coco_eval", "http.client", "imagesize", "jinja2", "matplotlib", "numpy.ma", "onnx",
    "pandas", "PIL", "rich", "safetensors", "scipy", "tabulate", "torch", "typeguard",
    "urllib.request",
    *(f"higherhrnet.{folder}" for folder in FOLDERS.keys() - {
        "root", "poses", "config", "io", "decoding", "tracking", "visualization", "zoo", "engines",
        "inference",
    }),
    "higherhrnet.bench", "higherhrnet.cli.train", "higherhrnet.config.training",
    "higherhrnet.decoding.offsets", "higherhrnet.io.datasets", "higherhrnet.io.interchange.formats",
    "higherhrnet.io.remote", "higherhrnet.io.torch_file", "higherhrnet.io.video.mp4",
    "higherhrnet.io.video.video_reader", "higherhrnet.visualization.maps",
    "higherhrnet.zoo.published",
}  # fmt: skip
"""Modules that `predict` must not import for an image and an ONNX file with tags."""


def test_predict_imports_only_what_it_uses(tmp_path: Path) -> None:
    example = PACKAGE.parent / "examples"
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(sorted({UNUSED_BY_PREDICT} & sys.modules.keys())))\n{MAIN}"
    )
    arguments = ["--engine", "onnxruntime", "--out", tmp_path]
    arguments += ["--model", example / "drawn.onnx", example / "basketball1.png"]
    result = run_python(code, "predict", *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "missing", "message"),
    [
        (["serve"], "fastapi", 'serve needs fastapi: pip install "higherhrnet[serve]"'),
        (["serve"], "uvicorn", 'serve needs uvicorn: pip install "higherhrnet[serve]"'),
        (["serve"], "prometheus_client", "serve needs prometheus_client: pip install"),
        (["serve"], "python_multipart", "serve needs python_multipart: pip install"),
        (["predict-ray", "x"], "pyarrow", 'needs pyarrow: pip install "higherhrnet[ray]"'),
        (["check-data", "missing.json", "-o", "x"], "torch", "check-data --out needs torch: pip"),
        (["train", "coco-w32-512"], "tensorboard", 'pip install "higherhrnet[train]"'),
    ],
)
def test_commands_name_the_extra_that_they_need(
    arguments: list[str], missing: str, message: str
) -> None:
    pytest.importorskip(missing)
    result = run_python(HIDE_PACKAGES.format(names=[missing]) + MAIN, *arguments)
    assert result.returncode == 1
    assert message in result.stderr and result.stderr.count("\n") == 1
