"""What generative decoders are for: the distribution is learned, solvers converge, few steps can be distilled."""

import itertools

import pytest
from mixture import decode, decoder, distance, train

from neuralcodecs.decoders import FlowDecoder
from neuralcodecs.decoders.process import Cosine, Data, Noise, Process, Rotation
from neuralcodecs.decoders.solvers import DDIM, Embedded, Euler, Heun, Sampler


@pytest.fixture(scope="module")
def teacher() -> FlowDecoder:
    made = decoder()
    train(made, made.loss, 1200)
    return made


def error(learner: FlowDecoder, truth: FlowDecoder, steps: int, solver: Euler | Heun | None = None) -> float:
    """Mean distance of draws in few steps from those in 128, noise by noise."""
    learner.sampler.solver = solver or Euler()
    few = decode(learner, 0, steps, 2000)
    truth.sampler.solver = Euler()
    return float((few - decode(truth, 0, 128, 2000)).abs().mean())


def test_the_marginals_are_learned(teacher: FlowDecoder) -> None:
    teacher.sampler.solver = Euler()
    assert distance(teacher, 0, 64) < 0.03 and distance(teacher, 1, 64) < 0.03  # 0.014 is chance for 10,000 draws
    assert distance(teacher, 0, 1) > 0.3  # one straight step cannot split a cloud in two


def test_euler_is_of_first_order_and_heun_better(teacher: FlowDecoder) -> None:
    errors = [error(teacher, teacher, steps) for steps in (4, 8, 16, 32)]
    assert all(after < 0.65 * before for before, after in itertools.pairwise(errors))
    assert error(teacher, teacher, 8, Heun()) < error(teacher, teacher, 16)


@pytest.mark.slow
def test_a_student_takes_four_steps_for_sixteen(teacher: FlowDecoder) -> None:
    student = decoder(sampler=Sampler(Euler(), Embedded()))
    student.load_state_dict(teacher.state_dict())
    teacher.sampler.solver = Heun()  # two steps of second order are worth more than two of Euler's
    train(student, lambda x, z: student.follow(teacher, x, z, (0.25, 0.25), (1.0, 1.0)), 400, 1e-3)
    assert error(student, teacher, 4) < error(teacher, teacher, 16)
    assert distance(student, 0, 4) < 1.1 * distance(teacher, 0, 16)


@pytest.mark.slow
@pytest.mark.parametrize("prediction", [Rotation(), Noise(), Data()], ids=lambda p: type(p).__name__)
def test_diffusion_learns_the_marginals_too(prediction: Rotation | Noise | Data) -> None:
    made = decoder(Process(Cosine(), prediction), Sampler(DDIM()))
    train(made, made.loss, 1500)
    assert distance(made, 0, 64) < 0.05 and distance(made, 1, 64) < 0.05
