"""The machine a fit runs on: device, threads, memory, and Lightning's trainer there."""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import os
import sys
import warnings
from pathlib import Path

import lightning as L
import torch

from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.loop import processes
from talkingavatar.errors import UserError
from talkingavatar.splatting.cpu.launch import set_threads
from talkingavatar.training.shared import SharedSteps


def on_cpu(config: FitConfig) -> bool:
    """Whether the fit runs on the CPU.

    Raises:
        UserError: there is no such device, or there are fewer than asked for.
    """
    there = torch.cuda.is_available()
    if config.trainer.accelerator == "gpu" and not there:
        raise UserError("trainer.accelerator", "gpu, but no CUDA device", "a CUDA device", "use trainer=cpu")
    if config.trainer.accelerator == "cpu" or not there:
        return True
    if config.trainer.devices > (count := torch.cuda.device_count()):
        expected = f"at most {count}, as many GPUs as there are"
        raise UserError("trainer.devices", str(config.trainer.devices), expected, "lower it, or use trainer=cpu")
    return False


def prepare_torch(config: FitConfig) -> None:
    """Threads, precision, memory and quiet."""
    threads = cores(config)
    # Rasterising scales with cores; torch's operations here are too small to share out (30,000 rows of a few numbers).
    set_threads(threads)
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # losses and metrics square what convolutions give
    keep_freed_memory()
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")


def cores(config: FitConfig) -> int:
    """CPU threads of the run."""
    return config.trainer.threads or len(os.sched_getaffinity(0))


def keep_freed_memory() -> None:
    """Tell glibc to reuse large blocks: fresh pages for each step's pictures cost more than computing them."""
    if sys.platform == "linux" and (name := ctypes.util.find_library("c")):
        libc = ctypes.CDLL(name)
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)


def make_trainer(config: FitConfig, folder: Path, steps: int, callbacks: list[L.Callback]) -> L.Trainer:
    """
    Raises:
        UserError: as `on_cpu`.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    cpu = on_cpu(config)
    return L.Trainer(
        accelerator="cpu" if cpu else "gpu",
        devices=config.trainer.devices,
        num_nodes=config.trainer.nodes,
        strategy=SharedSteps() if config.trainer.processes > 1 else "auto",
        deterministic=cpu,
        max_steps=steps,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
        plugins=[processes.environment(config)],
    )
