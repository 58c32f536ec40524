"""Modules that are trained as one take the steps that each takes alone, to float64 precision."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map

from hydra_plugins.workbench.stacked_launcher import StackedLauncher
from toy import Line
from workbench.errors import ConfigError
from workbench.stacked.graph import GraphedFunction
from workbench.stacked.leaves import rebuild, split
from workbench.stacked.member import SKIPPED_HOOKS, check_hooks
from workbench.stacked.stack import Stack, own_attributes
from workbench.stacked.training import check_unchanged


class Weighted(nn.Module):
    """A penalty on the weights of a line."""

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


def _modules_and_optimizers(weights, kind=torch.optim.Adam):
    torch.manual_seed(0)
    modules = [StackedLine(weight).double() for weight in weights]
    optimizers = [kind(m.parameters(), lr=0.1 * (i + 1)) for i, m in enumerate(modules)]
    return modules, optimizers


def _batch(count, size, seed):
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, count, size, 3, generator=generator, dtype=torch.float64)
    return (x, x.sum(-1, keepdim=True)), noise


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_each_stacked_module_takes_the_steps_it_takes_alone(kind):
    alone, alone_optimizers = _modules_and_optimizers([0.0, 0.5, 7.0], kind)
    modules, optimizers = _modules_and_optimizers([0.0, 0.5, 7.0], kind)
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


def test_a_batch_shared_by_all_modules_has_no_stack_dimension():
    modules, optimizers = _modules_and_optimizers([0.0, 1.0])
    stack = Stack(modules, optimizers, 10)
    (x, y), noise = _batch(1, 5, 0)
    losses, terms = stack.terms((x[0], y[0]), noise[0], 10, None)
    for i, module in enumerate(modules):
        loss, own, _ = module.terms((x[0], y[0]), noise[0], 10, 0)
        torch.testing.assert_close(losses[i], loss)
        torch.testing.assert_close(terms[i, 0], own["loss"])


def test_the_number_of_examples_can_differ_in_evaluation():
    stack = Stack(_modules_and_optimizers([1.0, 2.0])[0], [], 10)
    batch, noise = _batch(2, 5, 0)
    few, many = (stack.terms(batch, noise, size)[0] for size in (10, 1_000))
    assert (few > many).all()


class OwnScale(StackedLine):
    """A line with a parameter of the module itself, outside its submodules."""

    def __init__(self, weight):
        super().__init__(weight)
        self.scale = nn.Parameter(torch.ones(()))

    def terms(self, batch, noise, dataset_size, step):
        loss, terms, settings = super().terms(batch, noise, dataset_size, step)
        return self.scale * loss, terms, settings


def test_a_parameter_of_the_module_itself_is_trained():
    modules = [OwnScale(weight) for weight in (0.5, 1.0)]
    stack = Stack(modules, [torch.optim.SGD(m.parameters(), lr=0.1) for m in modules], 10)
    batch, noise = (tree_map(torch.Tensor.float, part) for part in _batch(2, 5, 0))
    stack.step(batch, noise)
    assert all(module.scale != 1 for module in modules)


class StepDependent(StackedLine):
    """A line whose loss depends on something that a stack does not know."""

    def __init__(self, factor):
        super().__init__(1.0)
        self.factor = factor

    def terms(self, batch, noise, dataset_size, step):
        loss, terms, settings = super().terms(batch, noise, dataset_size, step)
        return loss * self.factor(self, step), terms, settings


def _is_first(module, step):
    return 2.0 if step == 0 else 1.0


def _is_later(module, step):
    return 1.0 if step else 2.0


def _global_step(module, step):
    return 1.0 + module.global_step


@pytest.mark.parametrize("factor", [_is_first, _is_later, _global_step])
def test_a_loss_that_depends_on_the_step_is_not_stacked(factor):
    stack = Stack([StepDependent(factor), StepDependent(factor)], [], 10)
    batch, noise = (tree_map(torch.Tensor.float, part) for part in _batch(2, 5, 0))
    with pytest.raises(ConfigError, match="number of the step"):
        stack.terms(batch, noise, 10)


class Averaging(StackedLine):
    """A line whose step keeps a running mean of its losses."""

    def __init__(self):
        super().__init__(1.0)
        self.average = torch.zeros(())

    def terms(self, batch, noise, dataset_size, step):
        loss, terms, settings = super().terms(batch, noise, dataset_size, step)
        self.average = 0.9 * self.average + 0.1 * loss.detach()
        return loss + self.average, terms, settings


class InPlace(Averaging):
    def terms(self, batch, noise, dataset_size, step):
        loss, terms, settings = StackedLine.terms(self, batch, noise, dataset_size, step)
        self.average.add_(loss.detach())
        return loss + self.average, terms, settings


class Remembering(StackedLine):
    """A line whose step keeps a value that is always the same."""

    def __init__(self):
        super().__init__(1.0)
        self.kept = None

    def terms(self, batch, noise, dataset_size, step):
        self.kept = self.kept or "kept"
        return super().terms(batch, noise, dataset_size, step)


@pytest.mark.parametrize("kind", [Averaging, InPlace])
def test_a_step_that_changes_more_than_weights_is_not_stacked(kind):
    (x, y), noise = _batch(1, 5, 0)
    own = (x[0].float(), y[0].float()), noise[0].float(), 10, 0
    check_unchanged(Remembering(), own)
    with pytest.raises(ConfigError, match="more than its weights"):
        check_unchanged(kind(), own)


class OwnStep(StackedLine):
    def training_step(self, batch, batch_idx):
        return 2 * super().training_step(batch, batch_idx)


def test_a_subclass_that_overrides_a_step_or_hook_is_not_stacked():
    check_hooks(StackedLine(1.0), "terms", SKIPPED_HOOKS)  # defines `terms` and its steps itself
    with pytest.raises(ConfigError, match=r"OwnStep\.training_step"):
        check_hooks(OwnStep(1.0), "terms", SKIPPED_HOOKS)


def test_modules_that_differ_only_in_numbers_and_weights_can_be_stacked():
    alike = [split(own_attributes(StackedLine(weight)))[0] for weight in (0.5, 1.0)]
    others = [split(own_attributes(StackedLine(0.5, power)))[0] for power in (2, 3)]
    assert alike[0] == alike[1] == others[0]
    assert others[0] != others[1]


def test_training_settings_do_not_keep_modules_from_being_stacked():
    module, other = StackedLine(1.0), StackedLine(1.0)
    module.optimizer, other.seed, other.config = torch.optim.SGD, 3, {"name": "other"}
    assert split(own_attributes(module))[0] == split(own_attributes(other))[0]


def test_numbers_that_are_equal_in_one_module_may_differ_in_another():
    number = 1.5
    assert split([number, number])[0] == split([2.5, 3.5])[0]


def test_a_tensor_used_twice_is_split_and_rebuilt_as_one():
    tensor = torch.zeros(2)
    structure, leaves = split([tensor, tensor, 1.0])
    assert len(leaves) == 2
    first, second, number = rebuild(structure, [torch.ones(2), 3.0])
    assert first is second
    assert number == 3.0


def test_a_local_function_cannot_be_split():
    with pytest.raises(Exception, match="local"):
        split({"scale": lambda x: 2.0 * x})


def test_without_a_gpu_nothing_is_replayed_from_a_graph():
    seen = []
    function = GraphedFunction(lambda x: seen.append(copy.copy(x)), is_on=False)
    for i in range(5):
        function(torch.tensor(i))
    assert [int(x) for x in seen] == [0, 1, 2, 3, 4]


def test_the_stacked_launcher_refuses_a_search():
    with pytest.raises(ConfigError, match="for grids"):
        StackedLauncher(64).launch([["seed=0"]], 0)
