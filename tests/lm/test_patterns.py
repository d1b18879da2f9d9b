"""Patterns: every code once, exact inverses, the step counts of the papers, and no leak through a real transformer."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from neuralcodecs import CodecError
from neuralcodecs.lm import Delayed, Extent, Flat, Masked, Parallel, Passes, Pattern, Plan, Raster, Wavefront, ready

K, T = 4, 8
AUDIO = [Extent((T,), K)]
PICTURE = [Extent((5, 6), 2)]
SNAC = [Extent((3,), 1), Extent((6,), 1), Extent((12,), 1)]
TIMED = {
    "parallel": ready.parallel(),
    "delay": ready.delay(),
    "delays": ready.delay([0, 3, 3, 1]),
    "flat": ready.flat(),
    "partial": ready.partially_flat(K),
    "coarse": ready.coarse_first(K),
    "musiclm": ready.musiclm(K),
    "stack": ready.stack(),
    "stack and delay": ready.stack_and_delay(),
    "masked": ready.masked(3),
    "shuffled": ready.shuffled(1),
}
CASES = [(name, pattern, AUDIO) for name, pattern in TIMED.items()] + [
    ("raster", ready.flat(), PICTURE),
    ("wavefront", ready.wavefront(2), PICTURE),
    ("parallel wavefront", Pattern(Parallel(), Wavefront(2)), PICTURE),
    ("delayed wavefront", Pattern(Delayed(), Wavefront(3)), PICTURE),
    ("masked picture", ready.masked(4), PICTURE),
    ("interleaved streams", ready.flat(), SNAC),
    ("streams at once", ready.parallel(), SNAC),
]
PLANS = pytest.mark.parametrize("plan", [pytest.param(p.plan(extents), id=name) for name, p, extents in CASES])


def random_codes(plan: Plan, batch: int = 2, alphabet: int = 16) -> list[Tensor]:
    return [torch.randint(alphabet, (batch, e.levels, *e.grid)) for e in plan.extents]


@PLANS
def test_every_code_has_one_step_and_one_state(plan: Plan) -> None:
    wanted = {(s, p, q) for s, e in enumerate(plan.extents) for q in range(e.levels) for p in range(math.prod(e.grid))}
    listed = [tuple(c) for step in plan.steps for c in step]
    given = [tuple(plan.coordinates[code]) for state in plan.states for code in state.gives]
    assert len(listed) == len(given) == len(wanted) == plan.size
    assert set(listed) == set(given) == wanted
    assert all(plan.steps)


@PLANS
def test_build_and_flatten_have_inverses(plan: Plan) -> None:
    codes = random_codes(plan)
    built = plan.build(codes, 99)
    assert (built == 99).sum() == built.numel() - 2 * plan.size
    for back in (plan.revert(built), plan.unflatten(plan.flatten(codes))):
        assert all(torch.equal(a, b) for a, b in zip(codes, back, strict=True))


@PLANS
def test_sequence_order_is_step_order(plan: Plan) -> None:
    codes = [torch.arange(plan.size)[None].split([e.levels * math.prod(e.grid) for e in plan.extents], 1)]
    numbered = [part.reshape(1, e.levels, *e.grid) for part, e in zip(codes[0], plan.extents, strict=True)]
    listed = [c for step in plan.steps for c in step]
    assert [plan.coordinates[n] for n in plan.flatten(numbered)[0].tolist()] == listed


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("parallel", 8),
        ("delay", 11),
        ("flat", 32),
        ("partial", 16),
        ("coarse", 16),
        ("musiclm", 32),
        ("delays", 11),
        ("stack", 32),
        ("stack and delay", 11),
        ("masked", 3),
        ("shuffled", 32),
    ],
)
def test_step_counts_of_the_table(name: str, steps: int) -> None:
    assert TIMED[name].plan(AUDIO).count == steps


@pytest.mark.parametrize(("side", "window", "steps"), [(24, 16, 392), (24, 8, 208), (32, 16, 528), (32, 1, 63)])
def test_wavefront_takes_as_many_steps_as_zipar(side: int, window: int, steps: int) -> None:
    plan = ready.wavefront(window).plan([Extent((side, side), 1)])
    assert plan.count == steps == side + (side - 1) * window


def test_wavefront_knows_what_zipar_needs_and_a_wide_window_is_raster() -> None:
    plan = ready.wavefront(3).plan([Extent((4, 6), 1)])
    step = plan.step.view(4, 6)
    assert (step[:, 1:] > step[:, :-1]).all()
    for column in range(6):
        assert (step[1:, column] > step[:-1, min(column + 2, 5)]).all()
    wide = ready.wavefront(50).plan([Extent((4, 6), 1)])
    assert torch.equal(wide.step, ready.flat().plan([Extent((4, 6), 1)]).step)


def test_stack_keeps_one_entry_a_frame_and_permuted_frames_are_apart() -> None:
    assert TIMED["stack"].plan(AUDIO).cache == T
    assert TIMED["flat"].plan(AUDIO).cache == K * T
    plan = ready.stack_and_delay().plan([Extent((20,), K)])
    assert plan.cache == 20
    for step in plan.steps:
        frames = sorted(c.position for c in step)
        assert all(b - a > 1 for a, b in pairwise(frames))


def test_stack_sees_what_flat_sees_and_delay_sees_less() -> None:
    stack, flat, delay = (TIMED[n].plan(AUDIO) for n in ("stack", "flat", "delay"))
    for coordinate in flat.coordinates:
        assert stack.visible(coordinate) == flat.visible(coordinate)
        assert delay.visible(coordinate) == {
            c for step in delay.steps[: coordinate.position + coordinate.level] for c in step
        }
    assert len(flat.visible(flat.steps[-1][0])) == K * T - 1


def test_unequal_rates_interleave_as_snac_does() -> None:
    plan = ready.flat().plan(SNAC)
    assert [c.stream for step in plan.steps for c in step] == [0, 1, 2, 2, 1, 2, 2] * 3


class Network(nn.Module):
    """A two-layer Llama that follows a plan: embeddings of what a state takes summed, a head for each row."""

    def __init__(self, rows: int, alphabet: int = 16) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.embed = nn.Embedding(rows * alphabet + 1, 32)
        self.body = LlamaModel(
            LlamaConfig(vocab_size=8, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
        )
        self.head = nn.Linear(32, rows * alphabet)

    def forward(self, plan: Plan, codes: Tensor) -> Tensor:
        """Logits ``(codes, alphabet)`` of codes ``(size,)``, numbered as the plan numbers them."""
        ids = torch.cat([codes + plan.row * self.alphabet, torch.tensor([plan.rows * self.alphabet])])
        hidden = self.embed(ids[plan.inputs]).sum(1)[None]
        mask = torch.zeros(len(plan.states), len(plan.states)).masked_fill(~plan.mask(), -torch.inf)
        out = self.body(inputs_embeds=hidden, attention_mask=mask[None, None]).last_hidden_state[0]
        logits = self.head(out).view(len(plan.states), plan.rows, self.alphabet).transpose(0, 1).flatten(0, 1)
        return logits[plan.inverse]


@torch.no_grad()
@PLANS
def test_no_future_leaks_through_a_transformer_and_the_visible_arrives(plan: Plan) -> None:
    network = Network(plan.rows).eval()
    codes = torch.randint(16, (plan.size,))
    before = network(plan, codes)
    arrived = 0
    for code in torch.linspace(0, plan.size - 1, 9).long().tolist():
        coordinate = plan.coordinates[code]
        seen = torch.tensor([c in plan.visible(coordinate) for c in plan.coordinates])
        assert not (seen & (plan.step >= plan.step[code])).any()
        changed = torch.where(seen, codes, (codes + 1 + torch.randint(15, codes.shape)) % 16)
        torch.testing.assert_close(network(plan, changed)[code], before[code], rtol=0, atol=1e-5)
        if seen.any():
            changed = torch.where(seen, (codes + 1) % 16, codes)
            arrived += int((network(plan, changed)[code] - before[code]).abs().max() > 1e-3)
    assert arrived > 0 or all(not plan.visible(c) for c in plan.coordinates)


def test_what_cannot_be_arranged_is_refused() -> None:
    with pytest.raises(CodecError, match="3 rows, the codes have 4"):
        ready.delay([0, 1, 2]).plan(AUDIO)
    with pytest.raises(CodecError, match="fit a plan"):
        ready.flat().plan(AUDIO).flatten([torch.zeros(1, K, T + 1, dtype=torch.int64)])
    for make in (lambda: Wavefront(0), lambda: Masked(0), lambda: Delayed([-1])):
        with pytest.raises(CodecError):
            make()


def test_a_pattern_describes_itself() -> None:
    described = Pattern(Passes([0, 1], flat=True), Raster()).describe()
    assert described["init_args"]["arrangement"]["init_args"] == {"passes": [0, 1], "flat": True}
    assert Flat().describe()["class_path"] == "neuralcodecs.lm.orders.Flat"
