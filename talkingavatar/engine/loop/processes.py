"""The processes that share the steps of a fit: which one this is, and how it finds the others.

One leads: it alone writes the run directory, logs and measures. The others follow it through the steps. The leading
one starts them on its machine, or `srun` or `torchrun` all of them on as many machines as there are.
"""

from __future__ import annotations

import os

from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from talkingavatar.config.schema import FitConfig
from talkingavatar.errors import UserError


def environment(config: FitConfig) -> ClusterEnvironment:
    """How the processes find each other.

    Raises:
        UserError: they were started in another number than configured, or several machines with nobody to start them.
    """
    started = _started_outside()
    if config.trainer.processes == 1 or started is None:
        if config.trainer.nodes > 1:
            expected = "processes started by srun or torchrun on each"
            raise UserError("trainer.nodes", f"{config.trainer.nodes} machines", expected, "start it with srun")
        # Never by chance SLURM's: Lightning's own requeue saves inside the signal handler, anywhere in a step.
        return LightningEnvironment()
    if started != config.trainer.processes:
        found = f"{config.trainer.nodes} x {config.trainer.devices}"
        expected = f"{started} processes in all, as srun or torchrun started"
        raise UserError("trainer.nodes x trainer.devices", found, expected, "let both agree")
    return SLURMEnvironment(auto_requeue=False) if "SLURM_STEP_NUM_TASKS" in os.environ else TorchElasticEnvironment()


def rank(config: FitConfig) -> int:
    """Number of this process among those of the run; 0 leads.

    Raises:
        UserError: as `environment`.
    """
    found = environment(config)
    return found.node_rank() * config.trainer.devices + found.local_rank() if config.trainer.processes > 1 else 0


def _started_outside() -> int | None:
    """Processes that somebody else started together with this one."""
    for name in ("SLURM_STEP_NUM_TASKS", "WORLD_SIZE" if TorchElasticEnvironment.detect() else ""):
        if (number := int(os.environ.get(name, 1))) > 1:
            return number
    return None
