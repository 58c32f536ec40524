"""The inverse autoregressive flow: a Gaussian, transformed by autoregressive steps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from musigma.models.posteriors.head import Head
from musigma.models.posteriors.normal import NormalHead, NormalPosterior
from musigma.models.posteriors.posterior import (
    EstimatedMoments,
    fixed_noise,
    with_detached_weights,
)
from musigma.models.precision import at_least_float32, full_precision
from workbench.ranges import Count, checked


class IAFPosterior(EstimatedMoments):
    """z = f(z₀; h(x)) with z₀ ~ N(m(x), s(x)²), and log q(z|x) = log q(z₀|x) − log |∂f/∂z₀|.

    Kingma et al. 2016, algorithm 1. A draw and its density take one pass through every step; the
    density of any other code takes d passes. `mu` and `std` are estimated, when first read, from
    draws with fixed noise.

    Args:
        start: N(m, s²), `[B, d]`.
        context: h, `[B, C]`.
        flow: f, `(z₀, h, False)` → z and log |∂f/∂z₀|; with True its inverse, from z to z₀.
        fixed: the fixed noise, `[S, d]`.
    """

    def __init__(
        self,
        start: NormalPosterior,
        context: Tensor,
        flow: Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]],
        fixed: Tensor,
    ) -> None:
        super().__init__(start, fixed)
        self._context, self._flow = context, flow

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        z, _ = self._flow(self._start.rsample(noise), self._context, False)
        return z

    def log_prob_at(self, noise: Tensor) -> Tensor:
        """Log q(z|x) of `rsample(noise)`, without inverting the flow."""
        _, log_det = self._flow(self._start.rsample(noise), self._context, False)
        return self._start.log_prob_at(noise) - log_det

    def log_prob(self, z: Tensor) -> Tensor:
        """Log q(z|x), `[..., B, d]` → `[..., B]`, in nats, by inverting the flow."""
        start, log_det = self._flow(z, self._context, True)
        return self._start.log_prob(start) - log_det

    def detach(self) -> "IAFPosterior":
        flow = with_detached_weights(self._flow)
        return IAFPosterior(self._start.detach(), self._context.detach(), flow, self._fixed)


class IAFHead(Head):
    """Features `[B, F]` → N(m, s²), transformed by an inverse autoregressive flow.

    Every step is z_j ← exp(a_j) z_j + b_j, where a_j and b_j depend on the dimensions before j and
    on the context; every second step reverses the order of dimensions. The paper's scale is a
    sigmoid, not an exponential (softly bounded below by 10⁻³). The steps are Zuko's, from the
    extra `flows`.

    Args:
        features: F.
        latent_dim: d; if it is 1, the posterior is a Gaussian whatever the steps.
        steps: the number of steps.
        hidden_sizes: widths of the masked network of each step.
        context_dim: C, the size of the context h(x).

    Raises:
        ImportError: if Zuko is not installed.
    """

    fixed: Tensor

    @checked
    def __init__(
        self,
        features: int,
        latent_dim: int,
        *,
        steps: Count = 2,
        hidden_sizes: Sequence[Count] = (128, 128),
        context_dim: Count = 64,
    ) -> None:
        super().__init__(latent_dim)
        self.start = NormalHead(features, latent_dim)
        self.context = nn.Linear(features, context_dim)
        self.flow = AutoregressiveSteps(latent_dim, context_dim, steps, hidden_sizes)
        self.register_buffer("fixed", fixed_noise(latent_dim), persistent=False)

    def forward(self, features: Tensor) -> IAFPosterior:
        context = at_least_float32(self.context(features))
        return IAFPosterior(self.start(features), context, self.flow, self.fixed)


class AutoregressiveSteps(nn.Module):
    """`steps` affine autoregressive transformations in a row."""

    def __init__(
        self, latent_dim: int, context_dim: int, steps: int, hidden_sizes: Sequence[int]
    ) -> None:
        super().__init__()
        try:
            from zuko.flows.autoregressive import MaskedAutoregressiveTransform
        except ModuleNotFoundError as error:
            raise ImportError(
                f"a flow needs the extra flows ({error}): pip install -e '.[flows]'"
            ) from error
        with torch.device("cpu"):  # Zuko cannot build its masks on the meta device
            order = torch.arange(latent_dim)
            transforms = [
                MaskedAutoregressiveTransform(
                    latent_dim,
                    context_dim,
                    order=order.flip(0) if number % 2 else order,
                    hidden_features=hidden_sizes,
                    activation=nn.ELU,
                )
                for number in range(steps)
            ]
        self.steps = nn.ModuleList(transforms).to(torch.get_default_device())

    def forward(self, z: Tensor, context: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Codes `[..., B, d]` after all steps or their inverses, and a log-determinant, `[..., B]`.

        It is log |∂f/∂z₀| of the forward steps in both directions.
        """
        log_det = torch.zeros_like(z[..., 0])
        with full_precision(z.device):
            for step in reversed(self.steps) if inverse else self.steps:
                transform = step(context)
                if inverse:
                    before = transform.inv(z)
                    log_det = log_det + transform.log_abs_det_jacobian(before, z)
                    z = before
                else:
                    z, step_log_det = transform.call_and_ladj(z)
                    log_det = log_det + step_log_det
        return z, log_det
