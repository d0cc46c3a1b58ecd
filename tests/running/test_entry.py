import pytest

from risolve.errors import ParameterError
from risolve.running.entry import run


def fail_with(error: BaseException) -> None:
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


@pytest.mark.parametrize(
    ("interrupt", "said"),
    [
        (KeyboardInterrupt(), "stopped; run again to resume\n"),
        (KeyboardInterrupt("run again; parts holds the rest"), "stopped; run again; parts holds the rest\n"),
    ],
)
def test_ctrl_c_is_one_line_that_says_how_to_go_on(
    interrupt: KeyboardInterrupt, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: fail_with(interrupt))
    assert ended.value.code == 130
    assert capsys.readouterr().err == said
