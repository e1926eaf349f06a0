"""Who may import whom (the layers of the design), read from the source, not from what happens to be loaded."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "streams", "trainer", "processors", "store", "demo", "deploy", "tests")
MAY_IMPORT = {
    "store": set(),
    "processors": {"store"},
    "trainer": {"processors", "store"},
    "streams": {"trainer", "processors", "store"},
    "api": {"trainer", "processors", "store"},
}
PROCESSORS_MAY_IMPORT_OF_STORE = {"store.records", "store.errors"}


def _imports(path: Path) -> set[str]:
    """Modules that a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
    return found


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_the_layers_below_it(package: str) -> None:
    assert _files(package), f"{package} has no files"
    for path in _files(package):
        ours = {name for name in _imports(path) if name.split(".")[0] in PACKAGES}
        beyond = {name for name in ours if name.split(".")[0] not in MAY_IMPORT[package] | {package}}
        assert not beyond, f"{path.relative_to(ROOT)} imports {sorted(beyond)}"


def test_processors_know_of_the_store_only_its_records_and_errors() -> None:
    for path in _files("processors"):
        ours = {name for name in _imports(path) if name.split(".")[0] == "store"}
        assert ours <= PROCESSORS_MAY_IMPORT_OF_STORE, f"{path.relative_to(ROOT)} imports {sorted(ours)}"


def test_records_know_nothing_of_any_broker() -> None:
    files = (ROOT / "store/records").glob("*.py")
    roots = {name.split(".")[0] for path in files for name in _imports(path)}
    assert roots >= {"pydantic"}
    assert not roots & {"faust", "aiokafka", "confluent_kafka"}
