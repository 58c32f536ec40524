"""Modules as one: the steps of each are its own, to the last digits of float64."""

import copy

import pytest
import torch
from torch import nn

from hydra_plugins.workbench.stacked_launcher import StackedLauncher
from toy import Line
from workbench.errors import ConfigError
from workbench.stacked.graph import Replayed
from workbench.stacked.leaves import put_together, take_apart
from workbench.stacked.stack import Stack, own_parts


class Weighted(nn.Module):
    """A penalty on the size of weights."""

    def __init__(self, weight):
        super().__init__()
        self.weight, self.power = weight, 2

    def forward(self, line):
        return self.weight * line.weight.abs().pow(self.power).sum()


class StackedLine(Line):
    def __init__(self, weight, power=2):
        super().__init__(nn.Linear(3, 1))
        self.penalty = Weighted(weight)
        self.penalty.power = power

    def terms(self, batch, noise, dataset_size, step):
        x, y = batch
        errors = (self.line(x + noise) - y).square().squeeze(1)
        return errors.mean() + self.penalty(self.line) / dataset_size, {"loss": errors}, {}


def _made(weights, kind=torch.optim.Adam):
    torch.manual_seed(0)
    modules = [StackedLine(weight).double() for weight in weights]
    optimizers = [kind(m.parameters(), lr=0.1 * (i + 1)) for i, m in enumerate(modules)]
    return modules, optimizers


def _batch(count, size, seed):
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, count, size, 3, generator=generator, dtype=torch.float64)
    return (x, x.sum(-1, keepdim=True)), noise


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_each_module_takes_its_own_steps(kind):
    alone, alone_optimizers = _made([0.0, 0.5, 7.0], kind)
    modules, optimizers = _made([0.0, 0.5, 7.0], kind)
    stack = Stack(modules, optimizers, 10)
    sums = 0
    for step, size in enumerate((4, 4, 4, 3)):
        batch, noise = _batch(3, size, step)
        stack.step(batch, noise)
        of_step = []
        for i, (module, optimizer) in enumerate(zip(alone, alone_optimizers, strict=True)):
            own = tuple(part[i] for part in batch)
            loss, terms, _ = module.terms(own, noise[i], 10, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            of_step.append(terms["loss"].sum()[None])
        sums = sums + torch.stack(of_step)
    for module, other in zip(modules, alone, strict=True):
        torch.testing.assert_close(module.state_dict(), other.state_dict(), rtol=0, atol=1e-13)
    torch.testing.assert_close(stack.sums, sums.detach(), rtol=1e-13, atol=0)
    assert stack.names == ("loss",)


def test_batches_that_are_the_same_for_all_lack_a_dimension():
    modules, optimizers = _made([0.0, 1.0])
    stack = Stack(modules, optimizers, 10)
    (x, y), noise = _batch(1, 5, 0)
    losses, terms = stack.terms((x[0], y[0]), noise[0], None)
    for i, module in enumerate(modules):
        loss, own, _ = module.terms((x[0], y[0]), noise[0], 10, 0)
        torch.testing.assert_close(losses[i], loss)
        torch.testing.assert_close(terms[i, 0], own["loss"])


def test_what_differs_in_numbers_and_weights_alone_is_alike():
    alike = [take_apart(own_parts(StackedLine(weight)))[0] for weight in (0.5, 1.0)]
    others = [take_apart(own_parts(StackedLine(0.5, power)))[0] for power in (2, 3)]
    assert alike[0] == alike[1] == others[0]
    assert others[0] != others[1]


def test_settings_of_training_are_no_parts_of_a_model():
    module, other = StackedLine(1.0), StackedLine(1.0)
    module.optimizer, other.seed, other.config = torch.optim.SGD, 3, {"name": "other"}
    assert take_apart(own_parts(module))[0] == take_apart(own_parts(other))[0]


def test_numbers_that_are_equal_in_one_and_differ_in_another_are_alike():
    number = 1.5
    assert take_apart([number, number])[0] == take_apart([2.5, 3.5])[0]


def test_a_tensor_in_two_places_stays_one():
    tensor = torch.zeros(2)
    rest, leaves = take_apart([tensor, tensor, 1.0])
    assert len(leaves) == 2
    first, second, number = put_together(rest, [torch.ones(2), 3.0])
    assert first is second
    assert number == 3.0


def test_a_function_within_a_function_cannot_be_taken_apart():
    with pytest.raises(Exception, match="local"):
        take_apart({"scale": lambda x: 2.0 * x})


def test_without_a_gpu_a_function_is_called_each_time():
    seen = []
    function = Replayed(lambda x: seen.append(copy.copy(x)), is_on=False)
    for i in range(5):
        function(torch.tensor(i))
    assert [int(x) for x in seen] == [0, 1, 2, 3, 4]


def test_a_search_has_other_launchers():
    with pytest.raises(ConfigError, match="for grids"):
        StackedLauncher(64).launch([["seed=0"]], 0)
