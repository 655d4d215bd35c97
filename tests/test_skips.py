"""Tests that are skipped without permission fail where FAIL_ON_SKIP is set."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
CONFTEST = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
TESTS = """
import pytest

@pytest.mark.skipif(True, reason="needs ../shared")
def test_permitted(): ...

@pytest.mark.skipif(True, reason="Chromium is not installed")
def test_mark(): ...

def test_in_the_test():
    pytest.skip("out of luck")

@pytest.fixture
def skipping():
    pytest.importorskip("no_such_package")

def test_in_a_fixture(skipping): ...

@pytest.mark.xfail
def test_expected_failure():
    assert False

def test_passing(): ...
"""


def test_only_permitted_skips_pass(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_functions=TESTS)
    monkeypatch.delenv("FAIL_ON_SKIP", raising=False)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, skipped=4, xfailed=1)
    assert result.ret == 0
    monkeypatch.setenv("FAIL_ON_SKIP", "1")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert outcomes["skipped"] == outcomes["passed"] == outcomes["xfailed"] == 1
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 3
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*out of luck*", "*PERMITTED_SKIPS*"])


@pytest.mark.slow
def test_tests_and_modules_that_are_skipped_fail_in_processes_of_xdist(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        test_module="import pytest\npytest.importorskip('no_such_package')", test_other=TESTS
    )
    monkeypatch.setenv("FAIL_ON_SKIP", "1")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "1")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*test_module.py*no_such_package*"])
    pytester.path.joinpath("test_module.py").unlink()
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "1")
    assert result.parseoutcomes()["skipped"] == 1 and result.ret == 1
    result.stdout.fnmatch_lines(["*out of luck*", "*PERMITTED_SKIPS*"])
