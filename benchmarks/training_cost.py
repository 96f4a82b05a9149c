"""Estimate the time of a training on several GPUs.

    python benchmarks/training_cost.py [PRESET ...] [--gpus 1 8 64] [--set train.batch_size=2048]

The operations of a training step and the bytes of its gradients are counted. Everything else is an
assumption: it is printed with the result, and an option replaces it by your own measurement. A step of n
GPUs takes

    max(operations / (n x rate), floor)  +  2 (n - 1) / n x gradient bytes / bandwidth

The floor is the time that a GPU needs to start the kernels of a step, however few objects the step has. The
second term is a ring all-reduce that does not overlap with the computation (in torch, most of it overlaps).
All GPUs share the batch of the preset.
"""

import argparse

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pix2spec.data.schema import DatasetInfo
from pix2spec.models.presets import load_preset
from pix2spec.paper.estimate import BATCH, example_step

GPU_RATE = 2e13  # operations a second that these networks reach on an NVIDIA A100 or H100 (assumed)
NODE = 8  # GPUs that share one machine


def flops_a_sample(model, inputs: dict) -> float:
    """Operations of one object in a training step, forward and backward."""
    # The counter does not see fused attention on a CPU, but it sees the plain one.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(**inputs).backward()
    return counter.get_total_flops() / BATCH


def step_seconds(flops: float, gradient_bytes: float, gpus: int, options) -> float:
    bandwidth = options.bandwidth if gpus <= NODE else options.network
    exchange = 2 * (gpus - 1) / gpus * gradient_bytes / bandwidth
    return max(flops / (gpus * options.rate), options.floor) + exchange


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="*", default=["paper-concat", "paper-xattn", "paper-contrastive"])
    parser.add_argument("--gpus", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--rate", type=float, default=GPU_RATE, help="operations a second of one GPU")
    parser.add_argument("--floor", type=float, default=0.03, help="least seconds of a step")
    parser.add_argument("--bandwidth", type=float, default=1e11, help="bytes a second between GPUs of a node")
    parser.add_argument("--network", type=float, default=1e10, help="bytes a second and GPU between nodes")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the preset")
    options = parser.parse_args()
    print(
        f"assumed: {options.rate:.3g} operations/s a GPU, floor {options.floor:g} s a step, "
        f"{options.bandwidth:.3g} bytes/s in a node of {NODE}, {options.network:.3g} between nodes"
    )
    info = DatasetInfo()
    for name in options.presets:
        preset = load_preset(name, options.set)
        if not hasattr(preset, "train") or preset.task == "factorised":
            raise SystemExit(f"{name}: its operations are not counted")
        model, inputs = example_step(preset, info)
        settings = preset.train
        samples = settings.steps * settings.batch_size
        flops = flops_a_sample(model, inputs) * samples
        gradient_bytes = 4 * sum(p.numel() for p in model.parameters())
        print(
            f"\n{name}: {settings.steps:,} steps x {settings.batch_size} = {samples / 1e6:.0f} M samples, "
            f"{flops / samples / 1e9:.1f} GFLOP a sample, {flops:.2e} in all, "
            f"{gradient_bytes / 1e6:.0f} MB of gradients"
        )
        alone = step_seconds(flops / settings.steps, gradient_bytes, 1, options)
        for gpus in options.gpus:
            if settings.batch_size % gpus:
                print(f"  {gpus:3d} GPUs: they cannot share a batch of {settings.batch_size} equally")
                continue
            step = step_seconds(flops / settings.steps, gradient_bytes, gpus, options)
            hours = step * settings.steps / 3600
            print(
                f"  {gpus:3d} GPUs: {step:.3f} s a step, {hours:6.1f} h, {hours * gpus:6.0f} GPU hours, "
                f"efficiency {alone / step / gpus:4.0%}, {settings.batch_size / step:6.0f} pairs/s to load"
            )


if __name__ == "__main__":
    main()
