"""Objectives of generative decoders: what moves, what is refused when the task is built, a student and its teacher."""

from functools import partial
from pathlib import Path

import pytest
import torch
from generative import SMALL, flow_picture_codec
from image_networks import cnn_codec, picture
from tiny import tiny_task
from torch import Tensor

from neuralcodecs import CodecError
from neuralcodecs.decoders import FlowDecoder
from neuralcodecs.decoders.solvers import Embedded, Sampler
from neuralcodecs.decoders.space import CodecSpace
from neuralcodecs.sampling import Sampled
from neuralcodecs.training import CodecTask, Denoise, Distill, Optimization, Reconstruct, Stage
from neuralcodecs.training.objectives import Objective

ADAM = Optimization(partial(torch.optim.Adam, lr=1e-3))
STUDENT = partial(FlowDecoder, **SMALL | {"sampler": Sampler(guidance=Embedded(), steps=4)})


def moved(task: CodecTask, steps: int = 2) -> set[str]:
    """The parts of the codec that training steps change; they leave no term but those of the decoder and quantizer."""
    task.train()
    codec, before = task.codec, {k: v.clone() for k, v in task.codec.state_dict().items()}
    optimizer = task.configure_optimizers()
    for _ in range(steps):
        terms, output, _ = task.objective(codec, picture(16, 16, batch=2), 2)
        assert not any(term.on_output for term in terms.values())
        optimizer.zero_grad()
        task.combination(terms, output).backward()
        optimizer.step()
    return {k.split(".")[0] for k, v in codec.state_dict().items() if not torch.equal(v, before[k])}


def test_the_encoder_learns_with_the_decoder_or_is_frozen() -> None:
    weights = {"commitment": 0.02, "token_entropy": 0.0, "codebook_entropy": 0.0}
    assert moved(CodecTask(flow_picture_codec(), Denoise(weights), ADAM)) == {"encoder", "decoder"}
    stage = Stage(freeze=("encoder", "quantizer"))
    assert moved(CodecTask(flow_picture_codec(), Denoise(weights), ADAM, stage=stage)) == {"decoder"}


@pytest.mark.parametrize(
    ("generative", "objective", "adversarial", "frozen", "message"),
    [
        (True, Reconstruct(), False, (), "FlowDecoder draws from many: use Denoise"),
        (True, Reconstruct(), True, (), "FlowDecoder draws from many: use Denoise"),
        (False, Denoise(), False, (), "CNNDecoder is deterministic, and Denoise trains generative decoders"),
        (True, Denoise(), True, (), "Denoise decodes none: leave the adversary out"),
        (True, Denoise(), False, ("decoder",), "the stage freezes it: take it out of freeze"),
    ],
)
def test_combinations_without_sense_are_refused_when_the_task_is_built(
    generative: bool, objective: Objective, adversarial: bool, frozen: tuple, message: str
) -> None:
    codec = flow_picture_codec() if generative else cnn_codec()
    adversary = tiny_task().adversary if adversarial else None
    with pytest.raises(CodecError, match=message):
        CodecTask(codec, objective, ADAM, adversary, stage=Stage(freeze=frozen))


def test_a_weight_that_names_no_loss_is_refused() -> None:
    with pytest.raises(CodecError, match=r"quantization weights \['nothing'\] name no loss"):
        Denoise({"nothing": 1.0})(flow_picture_codec(), picture(16, 16), 2)


def test_a_student_starts_as_its_teacher_and_follows_it(tmp_path: Path) -> None:
    teacher = flow_picture_codec()
    teacher.save_pretrained(tmp_path)
    stage = Stage(freeze=("encoder", "quantizer"), load_from=str(tmp_path))
    task = CodecTask(flow_picture_codec(STUDENT, seed=1), Distill(str(tmp_path)), ADAM, stage=stage)
    assert moved(task) == {"decoder"}
    assert not any("outside" in name for name in task.state_dict())
    for (name, after), before in zip(
        task.objective.outside.network.state_dict().items(), teacher.decoder.state_dict().values(), strict=True
    ):
        assert torch.equal(after, before), name


class Elsewhere(Sampled):
    """A teacher that goes three units per unit of time, and says which times it was asked for."""

    def lead(self, latents: Tensor, x: Tensor, times: Tensor, guidance: Tensor) -> Tensor:
        self.times, self.guidance = times, guidance
        return x + 3 * (times[-1] - times[0]).view(-1, 1, 1, 1)


def test_a_student_is_told_the_mean_velocity_of_two_steps_of_its_teacher() -> None:
    fresh = FlowDecoder(8, 3, (4, 4), SMALL["network"], SMALL["conditioner"])  # its velocity is 0
    teacher, latents = Elsewhere(), torch.randn(64, 8, 4, 4)
    signal = torch.randn(64, 3, 16, 16)
    loss = fresh.follow(teacher, signal, latents, (0.0, 0.3), (1.0, 3.0))["distillation"]
    assert float(loss.detach()) == pytest.approx(9.0, rel=1e-3)
    start, middle, end = teacher.times
    torch.testing.assert_close(end - middle, middle - start)
    assert (start >= 0).all() and (end <= 1).all() and 0.2 < (end - start).max() <= 0.3
    assert 1 <= teacher.guidance.min() < 1.3 and 2.7 < teacher.guidance.max() <= 3
    fresh.follow(teacher, signal, latents, (0.25, 0.25), (1.0, 1.0))
    torch.testing.assert_close(teacher.times[-1] - teacher.times[0], torch.full((64,), 0.25))


def test_students_of_other_codes_or_without_the_guidance_as_input_are_refused(tmp_path: Path) -> None:
    flow_picture_codec().save_pretrained(tmp_path)
    frozen = Stage(freeze=("encoder", "quantizer"), load_from=str(tmp_path))
    with pytest.raises(CodecError, match="give its sampler the guidance Embedded"):
        CodecTask(flow_picture_codec(), Distill(str(tmp_path)), ADAM, stage=frozen)
    CodecTask(flow_picture_codec(), Distill(str(tmp_path), guidance=(1.0, 1.0)), ADAM, stage=frozen)
    for stage in (Stage(load_from=str(tmp_path)), Stage(freeze=("encoder", "quantizer"))):
        with pytest.raises(CodecError, match="the codes are not those of the teacher"):
            CodecTask(flow_picture_codec(STUDENT, seed=1), Distill(str(tmp_path)), ADAM, stage=stage)


def test_a_stage_takes_the_space_from_its_own_run(tmp_path: Path) -> None:
    inner = cnn_codec()
    for parameter in inner.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    inner.save_pretrained(tmp_path)
    codec = flow_picture_codec(partial(FlowDecoder, **SMALL, space=partial(CodecSpace, codec=cnn_codec())))
    task = CodecTask(codec, Denoise(), ADAM, stage=Stage(modules={"decoder.space.codec": str(tmp_path)}))
    assert all(torch.equal(v, inner.state_dict()[k]) for k, v in codec.decoder.space.codec.state_dict().items())
    moved(task)
    assert all(torch.equal(v, inner.state_dict()[k]) for k, v in codec.decoder.space.codec.state_dict().items())
    with pytest.raises(CodecError, match=r"the codec has no module 'decoder\.nothing'"):
        Stage(modules={"decoder.nothing": str(tmp_path)}).prepare(codec)
