import pytest

from stages.artifacts.entry import run
from stages.artifacts.errors import ParameterError


def fail_with(error: Exception) -> None:
    raise error


def test_expected_error_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: fail_with(ParameterError("params.yaml:3: array:\n  law,   numbers")))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: params.yaml:3: array: law, numbers\n"


def test_a_verb_can_expect_more() -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: fail_with(ArithmeticError("loss is nan")), ArithmeticError)
    assert ended.value.code == 2


def test_a_fault_of_the_code_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: fail_with(ZeroDivisionError()))
