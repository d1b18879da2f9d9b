"""A mixture on a line, drawn by flow matching and diffusion: distances to the truth by numbers of steps, and students.

The problem, its network and its training are those of ``tests/mixture.py``. Distances are Kolmogorov's and Smirnov's
over 10,000 draws, the larger of both labels; 0.014 is chance. ``error``: mean distance of draws from those of the
teacher in 128 Euler steps, noise by noise.

    python benchmarks/flow_mixture.py [--steps 1500]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mixture import decode, decoder, distance, train

from neuralcodecs.decoders import (
    DDIM,
    Cosine,
    Data,
    Embedded,
    Euler,
    FlowDecoder,
    Heun,
    LogitNormalTimes,
    Noise,
    Process,
    Rotation,
    Sampler,
)
from neuralcodecs.decoders.solvers import Solver

COUNTS = (1, 2, 4, 8, 16, 64)
PROCESSES = {
    "flow": (Process(), Euler()),
    "flow, logit-normal times": (Process(times=LogitNormalTimes()), Euler()),
    "v, cosine, DDIM": (Process(Cosine(), Rotation()), DDIM()),
    "noise, cosine, DDIM": (Process(Cosine(), Noise()), DDIM()),
    "data, cosine, DDIM": (Process(Cosine(), Data()), DDIM()),
}
STUDENTS = (
    ("steps up to .3, twice", ((0.0, 0.3), (0.0, 0.3)), Euler()),
    ("of 1/8, then of 1/4", ((0.125, 0.125), (0.25, 0.25)), Euler()),
    ("of 1/4, teacher by Heun", ((0.25, 0.25),), Heun()),
)
"""Spans of a student and of its own, and the teachers' solver."""


def row(name: str, learner: FlowDecoder) -> None:
    distances = (max(distance(learner, label, steps) for label in (0, 1)) for steps in COUNTS)
    print(f"{name:28}" + "".join(f"{value:8.4f}" for value in distances), flush=True)


def error(learner: FlowDecoder, teacher: FlowDecoder, steps: int) -> float:
    return float((decode(learner, 0, steps, 4000) - decode(teacher, 0, 128, 4000)).abs().mean())


def student(before: FlowDecoder, span: tuple[float, float], solver: Solver, steps: int) -> FlowDecoder:
    """Who goes in one step where the one before goes in two of the solver's."""
    made = decoder(sampler=Sampler(Euler(), Embedded()))
    made.load_state_dict(before.state_dict())
    before.sampler.solver = solver
    train(made, lambda x, z: made.follow(before, x, z, span, (1.0, 1.0)), steps, 1e-3)
    before.sampler.solver = Euler()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="of each training")
    options = parser.parse_args()
    print(f"{'distance at steps':28}" + "".join(f"{steps:8}" for steps in COUNTS))
    made = {}
    for name, (process, solver) in PROCESSES.items():
        made[name] = decoder(process, Sampler(solver))
        train(made[name], made[name].loss, options.steps)
        row(name, made[name])
    teacher = made["flow"]
    print("error: " + ", ".join(f"Euler {n} {error(teacher, teacher, n):.4f}" for n in (4, 8, 16, 32, 64)))
    teacher.sampler.solver = Heun()
    heun = {n: decode(teacher, 0, n, 4000) for n in (4, 8, 16, 32)}
    teacher.sampler.solver = Euler()
    truth = decode(teacher, 0, 128, 4000)
    print("error: " + ", ".join(f"Heun {n} {float((x - truth).abs().mean()):.4f}" for n, x in heun.items()))
    for name, spans, solver in STUDENTS:
        learned = teacher
        for span in spans:
            learned = student(learned, span, solver, options.steps // 2)
        row(name, learned)
        print(f"error: {name} in 4 {error(learned, teacher, 4):.4f}", flush=True)


if __name__ == "__main__":
    main()
