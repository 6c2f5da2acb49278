"""The quickstart, shortened, ends with a summary and a report; from state and from cameras."""

import json

import pytest

from robot_learning.cli.main import main


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--images"]], ids=["state", "images"])
def test_it_runs_to_its_end(tmp_path, options):
    out = tmp_path / "quickstart"
    assert main(["quickstart", "--out", str(out), "--minutes", "1", "--steps", "6", "--per-task", "1", *options]) == 0
    summary = json.loads((out / "summary.json").read_text())
    for policy in ("beso", "gcbc", "random"):
        assert 0.0 <= summary[policy]["interval"][0] <= summary[policy]["mean_success"] <= summary[policy]["interval"][1] <= 1.0
        assert len(summary[policy]["tasks"]) == 18
    assert {"collect", "train", "evaluate", "deploy", "total"} <= set(summary["seconds"])
    page = (out / "report/index.html").read_text()
    assert "robot-learning train policy=beso_mlp" in page


def test_it_does_not_write_over_another_run(tmp_path, capsys):
    (tmp_path / "play.zarr").mkdir()
    assert main(["quickstart", "--out", str(tmp_path)]) == 2
    assert "holds a quickstart already" in capsys.readouterr().err
