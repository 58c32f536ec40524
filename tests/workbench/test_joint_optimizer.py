"""Several optimizers as one, with separate gradient clipping."""

import copy

import lightning as L
import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adam
from torch.optim.lr_scheduler import OneCycleLR

from workbench.errors import ConfigError
from workbench.module import ReportingModule
from workbench.optimizers.joint import JointOptimizer
from workbench.optimizers.parameter_groups import make_own_optimizers


def _parts():
    torch.manual_seed(0)
    a, b = nn.Linear(3, 2), nn.Linear(2, 1)
    return a, b, [Adam(a.parameters(), lr=0.1), SGD(b.parameters(), lr=0.5, momentum=0.9)]


def _steps(a, b, step, count):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        x = torch.randn(5, 3, generator=generator)
        loss = b(a(x).tanh()).square().sum()
        for part in (a, b):
            part.zero_grad()
        loss.backward()
        step()
    return [p.detach().clone() for p in (*a.parameters(), *b.parameters())]


def test_a_joint_step_equals_the_steps_of_its_parts():
    a, b, parts = _parts()
    apart = _steps(a, b, lambda: [part.step() for part in parts], 5)
    a, b, parts = _parts()
    together = _steps(a, b, JointOptimizer(parts).step, 5)
    assert all(torch.equal(*pair) for pair in zip(apart, together, strict=True))


def test_an_optimizer_that_evaluates_a_batch_again_is_refused_beside_others():
    a, b, (_, sgd) = _parts()
    joint = JointOptimizer([LBFGS(a.parameters()), sgd])
    with pytest.raises(ConfigError, match="optimizer: LBFGS evaluates a batch more than once"):
        _steps(a, b, lambda: joint.step(lambda: b(a(torch.ones(1, 3))).sum()), 2)


def test_a_joint_step_evaluates_the_batch_once():
    a, b, parts = _parts()
    calls = []
    _steps(a, b, lambda: JointOptimizer(parts).step(lambda: calls.append(1)), 3)
    assert len(calls) == 3


@pytest.mark.parametrize(("betas", "is_cycled"), [((0.9, 0.999), True), ((0.5, 0.9), False)])
def test_a_scheduler_cycles_the_momentum_only_if_all_parts_share_it(betas, is_cycled):
    a, b, _ = _parts()
    parts = [Adam(a.parameters(), lr=0.1), Adam(b.parameters(), lr=0.1, betas=betas)]
    settings = {"max_lr": 0.1, "total_steps": 10}
    if is_cycled:
        OneCycleLR(JointOptimizer(parts), **settings)
    else:
        with pytest.raises(ValueError, match="cycle_momentum"):
            OneCycleLR(JointOptimizer(parts), **settings)
        OneCycleLR(JointOptimizer(parts), cycle_momentum=False, **settings)
    assert (parts[1].param_groups[0]["betas"] != betas) == is_cycled


@pytest.mark.parametrize("way", ["state_dict", "deepcopy"])
def test_a_joint_optimizer_continues_from_its_state_or_a_copy(way):
    a, b, parts = _parts()
    whole = _steps(a, b, JointOptimizer(parts).step, 4)

    a, b, parts = _parts()
    first = JointOptimizer(parts)
    _steps(a, b, first.step, 2)
    if way == "deepcopy":
        a, b, second = copy.deepcopy((a, b, first))
    else:
        saved = copy.deepcopy((a.state_dict(), b.state_dict(), first.state_dict()))
        a, b, parts = _parts()
        second = JointOptimizer(parts)
        for part, state in zip((a, b, second), saved, strict=True):
            part.load_state_dict(state)
    # Continue with the third and fourth batch.
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randn(5, 3, generator=generator) for _ in range(4)][2:]
    for x in batches:
        second.zero_grad()
        b(a(x).tanh()).square().sum().backward()
        second.step()
    found = [*a.parameters(), *b.parameters()]
    assert all(torch.equal(*pair) for pair in zip(whole, found, strict=True))


@pytest.mark.parametrize(
    ("parts", "whose"),
    [
        (("b",), r"b\.weight is a weight of the rest and of b"),
        (("a", "b"), r"b\.weight is a weight of a and of b"),
        (("c", "c.d"), r"c\.d\.weight is a weight of c and of c\.d"),
    ],
)
def test_a_parameter_of_two_optimizers_is_refused(parts, whose):
    inner = nn.ModuleDict({"d": nn.Linear(2, 2)})
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "c": inner})
    module["b"].weight = module["a"].weight
    with pytest.raises(ConfigError, match=whose):
        make_own_optimizers(module, dict.fromkeys(parts, SGD))


def test_a_part_with_an_optimizer_and_no_weights_is_refused():
    with pytest.raises(ConfigError, match="critic has an optimizer of its own and no weights"):
        make_own_optimizers(nn.Sequential(nn.Linear(3, 2)), {"critic": Adam})


class _Two(ReportingModule):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.optimizer = lambda parameters: SGD(parameters, lr=1.0)
        for part in (self.a, self.b):
            nn.init.zeros_(part.weight)

    def learners(self):
        return {"b": lambda parameters: SGD(parameters, lr=1.0)}

    def training_step(self, batch, batch_idx):
        # Gradients of 30 and 400: clipped together, the first would be nearly 0.
        self.add("train", {"loss": torch.zeros(1)})
        return -30 * self.a.weight.sum() - 400 * self.b.weight.sum()


def test_the_gradients_of_each_optimizer_are_clipped_by_their_own_norm(tmp_path):
    module = _Two()
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=1,
        gradient_clip_val=2.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, torch.utils.data.DataLoader([0.0]))
    assert module.a.weight.item() == pytest.approx(2.0)
    assert module.b.weight.item() == pytest.approx(2.0)
