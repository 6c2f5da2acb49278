"""Overrides, sweeps and flags; what is misspelt names what was meant."""

import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from robot_learning.cli.compose import compose, expand, groups, instantiate, run
from robot_learning.cli.main import main
from robot_learning.core.errors import ConfigError, UnknownName

ROOTS = ("collect", "train", "evaluate", "deploy", "teleoperate", "record")


def sweep(root, argv, function):
    return run(root, argv, function, description="What it does.", examples=(f"robot-learning {root} seed=1",))


@pytest.mark.parametrize("root", ROOTS)
def test_help_lists_groups_options_and_two_examples(root, capsys):
    assert main([root, "--help"]) == 0
    text = capsys.readouterr().out
    for group in groups(root):
        assert group.name in text
        assert group.chosen in group.options
        assert all(option in text for option in group.options)
    assert text.count(f"robot-learning {root} ") >= 2


def test_help_describes_what_the_overrides_choose(capsys):
    assert main(["train", "policy=gcbc", "--help"]) == 0
    assert "policy.network.attention_dropout" in capsys.readouterr().out


def test_overrides_choose_groups_and_set_values():
    config = compose("train", ["policy=gcbc_mlp", "policy.horizon=3", "data.stores=[a.zarr,b.zarr]", "seed=7"])
    assert config.policy._target_ == "robot_learning.policies.gcbc.GCBC"
    assert (config.policy.horizon, config.seed) == (3, 7)
    assert list(config.data.stores) == ["a.zarr", "b.zarr"]
    assert list(config.policy.observation_keys) == list(config.data.observation_keys)


def test_a_mapping_with_a_target_takes_the_place_of_the_whole_node():
    new = "{_target_: robot_learning.nn.pretrained.PretrainedEncoder, source: models/dinov2, mode: lora}"
    config = compose("train", [f"policy.vision.encoder={new}", "policy.vision.depth={static_rgb: static_depth}"])
    assert set(config.policy.vision.encoder) == {"_target_", "source", "mode"}
    assert config.policy.vision.depth == {"static_rgb": "static_depth"}
    assert config.policy.vision.shared is False
    adjusted = compose("train", ["policy.vision.encoder.rank=2", f"policy.vision.encoder={new}"])
    assert adjusted.policy.vision.encoder.rank == 2, "a key of the new target, whatever the order"
    reader = compose(
        "train", ["policy.language={_target_: robot_learning.nn.sentences.SentenceEncoder, source: models/minilm}"]
    )
    assert reader.policy.language.source == "models/minilm", "where nothing stood before"
    merged = compose("train", ["policy=beso", "policy.network={layers: 2}"])
    assert (merged.policy.network.layers, merged.policy.network.width) == (2, 240)


def test_one_task_of_a_suite_is_named_after_a_slash():
    config = compose("evaluate", ["task=play_table/open_drawer"])
    assert config == compose("evaluate", ["task=play_table", "task.tasks=[open_drawer]"])
    jobs = expand(["task=play_table/open_drawer,play_table/close_drawer"])
    assert [compose("collect", job).task.tasks for job in jobs] == [["open_drawer"], ["close_drawer"]]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=pusht/pusht", "unknown option of task 'pusht/pusht'; nearest: pusht"),
        ("task=play_tabel/open_drawer", "unknown option of task 'play_tabel/open_drawer'"),
        ("task=play_table/", "unknown option of task 'play_table/'; nearest: play_table"),
        ("task=play_table/a/b", None),
    ],
)
def test_a_slash_where_none_belongs_names_the_options(override, message):
    with pytest.raises(UnknownName, match=message):
        instantiate(compose("evaluate", [override]).task)


def test_an_argument_that_the_yaml_does_not_list_may_be_set():
    assert "freeze_past" not in compose("train").policy
    assert compose("train", ["policy.freeze_past=true"]).policy.freeze_past is True


@pytest.mark.parametrize(
    ("override", "error", "nearest"),
    [
        ("polcy=beso", UnknownName, "policy"),
        ("policy=besoo", UnknownName, "beso"),
        ("polocy.horizon=3", UnknownName, "policy.horizon"),
        ("policy.horizn=3", UnknownName, "policy.horizon"),
        ("learner.learning_rat=1", UnknownName, "learner"),
        ("stpes=3", UnknownName, "steps"),
        ("policy.freeze_pst=true", UnknownName, "freeze_past"),
        ("steps=many", ConfigError, "steps: expected a whole number, got 'many'"),
        ("steps=true", ConfigError, "expected a whole number"),
        ("resume=3", ConfigError, "expected true or false"),
        ("data.stores=a.zarr", ConfigError, r"expected a list such as \[a, b\]"),
        ("data.stores", ConfigError, "expected key=value"),
        ("seed=0,1", ConfigError, "--multirun"),
        ("policy=beso,gcbc", ConfigError, "--multirun"),
    ],
)
def test_a_mistake_names_what_was_meant(override, error, nearest):
    with pytest.raises(error, match=nearest):
        compose("train", [override])


def test_a_mistake_is_one_line_and_status_2(capsys):
    assert main(["train", "policy=besso"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["train", "--hlep"]) == 2
    assert "--help" in capsys.readouterr().err
    assert main(["trian"]) == 2
    assert "train" in capsys.readouterr().err
    assert main(["nothing.like.it"]) == 2


def test_cfg_prints_the_composed_yaml(capsys):
    assert main(["train", "policy=beso", "seed=3", "--cfg"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert shown == OmegaConf.create(OmegaConf.to_container(compose("train", ["policy=beso", "seed=3"]), resolve=True))


def test_a_sweep_is_the_product_of_its_lists():
    jobs = expand(["policy=beso_mlp,gcbc_mlp", "seed=range(0,3)", "steps=5"])
    assert len({tuple(job) for job in jobs}) == 6
    assert all("steps=5" in job for job in jobs)


def test_multirun_gives_each_run_its_own_folder(capsys):
    seen = []
    assert (
        sweep("train", ["policy=beso_mlp,gcbc_mlp", "seed=4,5", "out=runs/x", "--multirun"], lambda c: seen.append(c) or 0) == 0
    )
    assert [config.out for config in seen] == [f"runs/x/{index}" for index in range(4)]
    assert [(config.policy._target_.rpartition(".")[2], config.seed) for config in seen] == [
        ("BESO", 4),
        ("BESO", 5),
        ("GCBC", 4),
        ("GCBC", 5),
    ]
    assert "[4/4]" in capsys.readouterr().out


def test_multirun_goes_on_after_a_failure_and_stops_at_ctrl_c(capsys):
    def fail_first(config):
        if config.seed == 0:
            raise ConfigError("no such store")
        seen.append(config.seed)
        return 130 if config.seed == 1 else 0

    seen = []
    assert sweep("train", ["seed=0,1,2", "-m"], fail_first) == 2
    assert seen == [1]
    assert "[1/3] failed: no such store" in capsys.readouterr().err


def test_a_config_may_not_name_foreign_code():
    with pytest.raises(ConfigError, match="expected a name below"):
        instantiate({"_target_": "os.system", "command": "true"})
    with pytest.raises(UnknownName, match="RandomActor"):
        instantiate({"_target_": "robot_learning.runtime.actors.RandomActr"})


def test_a_reader_that_has_read_enough_is_no_error():
    command = [sys.executable, "-u", "-m", "robot_learning.cli.main", "train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_pipe_that_breaks_elsewhere_is_an_error(monkeypatch):
    def fail(command, argv):
        raise BrokenPipeError("a worker died")

    monkeypatch.setattr(sys.modules["robot_learning.cli.main"], "_run", fail)
    with pytest.raises(BrokenPipeError):
        main(["train"])
