"""What each of the processes of ``test_team.py`` runs: trainings one after the other, so that they start only once.

torchrun --nproc-per-node 2 -m tests.learning.two_processes STORE OUT DEVICE
"""

import math
import os
import shutil
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from robot_learning.core.errors import RobotLearningError
from robot_learning.learning import training
from robot_learning.learning.learner import Learner
from robot_learning.learning.recipe import Recipe
from robot_learning.learning.trainer import TrainerSettings
from robot_learning.learning.training import DataSettings, TrainResult, train_policy
from tests.policies import test_act_jepa, test_policies

QUIET = TrainerSettings(log_every=3, validate_every=5, save_every=5, tensorboard=False, progress="none")
STEPS = 10
PLAIN = test_policies.TestGCBCPerceptron().full_config(n_obs=1, horizon=1)
"""Its windows have no padding, and its loss draws nothing."""
_BESO = test_policies.TestBESOTransformer().full_config(goal_dropout=0.2)
NOISY = {**_BESO, "network": {**_BESO["network"], "dropout": 0.1}}
"""Noise, dropout of goals and activations, padded windows."""
JEPA = test_act_jepa.TestACTJEPAFromImages().full_config()
"""A slow copy of an encoder, images, a learning target in the future."""


def train(policy, store, out, steps=STEPS, *, accumulate=1, batch_size=8, **options) -> TrainResult:
    """Train in this process, or in all of them."""
    data = DataSettings([str(store)], goal_range=(1, 8), batch_size=batch_size, validation=0.25)
    recipe = Recipe(lr=1e-3, warmup=2, precision="fp32", ema=0.9, accumulate=accumulate)
    settings = {"settings": QUIET, "recipe": recipe, "device": "cpu", "seed": 3, **options}
    return train_policy(policy, data, out, steps=steps, **settings)


class KeptLearner(Learner):
    """A learner that can be looked at after training, and that lets process 1 meet with an accident."""

    newest: Learner
    accident = staticmethod(lambda step: None)

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        KeptLearner.newest = self

    def step(self, batch):
        metrics = super().step(batch)
        spoilt = KeptLearner.accident(self.step_count) if self.team.rank == 1 else None
        return metrics if spoilt is None else metrics | {"loss": spoilt}


def signal_at_five(step):
    if step == 5:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # a launcher may pass on what the process got already


def diverge_at_seven(step):
    return torch.tensor(math.nan) if step == 7 else None


def main(store: Path, out: Path, device: str) -> None:
    """Train all cases; each process leaves its weights and their average, or its error, beside the run."""
    training.Learner = KeptLearner

    def run(name, policy, folder=None, **options):
        try:
            result = train(policy, store, out / (folder or name), device=device, **options)
        except (RobotLearningError, SystemExit) as error:
            (out / f"{name}.{os.environ['RANK']}.error").write_text(f"{type(error).__name__}: {error}")
            return
        learner = KeptLearner.newest
        save_file(learner.policy.state_dict(), out / f"{name}.{learner.team.rank}.raw")
        save_file(learner.ema.weights, out / f"{name}.{learner.team.rank}.average")
        (out / f"{name}.{learner.team.rank}.steps").write_text(f"{result.steps} {result.interrupted}")

    run("plain", PLAIN)
    run("noisy", NOISY, accumulate=2)
    run("jepa", JEPA)
    KeptLearner.accident = staticmethod(signal_at_five)
    run("stopped", PLAIN)
    if KeptLearner.newest.team.leads:
        shutil.copytree(out / "stopped", out / "halfway", symlinks=True)
    KeptLearner.accident = staticmethod(diverge_at_seven)
    run("diverged", PLAIN)
    KeptLearner.accident = staticmethod(lambda step: None)
    run("resumed", PLAIN, "stopped", resume=True)
    run("again", PLAIN, "plain")
    run("odd", PLAIN, batch_size=7)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
