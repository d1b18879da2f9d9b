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

COUNTS = (1, 2, 4, 8, 16, 64)
PROCESSES = {
    "flow": (Process(), Euler()),
    "flow, logit-normal times": (Process(times=LogitNormalTimes()), Euler()),
    "v, cosine, DDIM": (Process(Cosine(), Rotation()), DDIM()),
    "noise, cosine, DDIM": (Process(Cosine(), Noise()), DDIM()),
    "data, cosine, DDIM": (Process(Cosine(), Data()), DDIM()),
}


def row(name: str, learner: FlowDecoder) -> None:
    distances = (max(distance(learner, label, steps) for label in (0, 1)) for steps in COUNTS)
    print(f"{name:28}" + "".join(f"{value:8.4f}" for value in distances), flush=True)


def error(learner: FlowDecoder, teacher: FlowDecoder, steps: int) -> float:
    return float((decode(learner, 0, steps, 4000) - decode(teacher, 0, 128, 4000)).abs().mean())


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
    students = [teacher]
    for number in (1, 2):
        student, before = decoder(sampler=Sampler(Euler(), Embedded())), students[-1]
        student.load_state_dict(before.state_dict())
        train(student, lambda x, z, s=student, t=before: s.follow(t, x, z, 0.3, (1.0, 1.0)), options.steps // 2, 1e-3)
        row(f"flow, student {number}", student)
        students.append(student)
    print("error: " + ", ".join(f"Euler {n} {error(teacher, teacher, n):.4f}" for n in (4, 8, 16, 32, 64)))
    print("error: " + ", ".join(f"student {i} in 4 {error(s, teacher, 4):.4f}" for i, s in enumerate(students)))
    teacher.sampler.solver = Heun()
    heun = {n: decode(teacher, 0, n, 4000) for n in (4, 8, 16, 32)}
    teacher.sampler.solver = Euler()
    truth = decode(teacher, 0, 128, 4000)
    print("error: " + ", ".join(f"Heun {n} {float((x - truth).abs().mean()):.4f}" for n, x in heun.items()))


if __name__ == "__main__":
    main()
