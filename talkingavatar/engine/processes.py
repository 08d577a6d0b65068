"""The processes that share the steps of a fit: which one this is, and how it finds the others.

One leads: it alone writes the run directory, logs and measures. The others follow it through the steps. The leading
one starts them on its machine, or `srun` or `torchrun` all of them on as many machines as there are.
"""

from __future__ import annotations

import os

import torch
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


def check_devices(config: FitConfig, on_cpu: bool) -> None:
    """
    Raises:
        UserError: more processes than GPUs.
    """
    if not on_cpu and config.trainer.devices > torch.cuda.device_count():
        expected = f"at most {torch.cuda.device_count()}, as many GPUs as there are"
        raise UserError("trainer.devices", str(config.trainer.devices), expected, "lower it, or use trainer=cpu")


def _started_outside() -> int | None:
    """Processes that somebody else started together with this one."""
    for name in ("SLURM_STEP_NUM_TASKS", "WORLD_SIZE" if TorchElasticEnvironment.detect() else ""):
        if (number := int(os.environ.get(name, 1))) > 1:
            return number
    return None
