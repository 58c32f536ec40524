"""The importance-weighted bound."""

from typing import Literal

from pydantic.dataclasses import dataclass
from torch import Tensor

from musigma.objectives.divergences import log_mean_exp
from musigma.objectives.draw import Draw
from musigma.objectives.objective import Loss, Objective, common_terms
from workbench.errors import ConfigError
from workbench.ranges import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class IWAE(Objective):
    """Minimises −log (1/K) Σ_k w_k with w = p(x|z) p(z) / q(z|x); K = 1 is the ELBO.

    Burda, Grosse and Salakhutdinov 2016, equation 8. The reported `iwae` is the bound.

    Args:
        samples: K, the draws of z for each image.
        gradient: `standard`, or `doubly_reparameterized`, an unbiased estimate of the same
            gradient for the encoder whose signal does not vanish as K grows (IWAE-DReG: Tucker
            et al. 2019).
    """

    samples: Count = 5
    gradient: Literal["standard", "doubly_reparameterized"] = "standard"

    @property
    def has_hooks(self) -> bool:
        """True for the doubly reparameterized gradient."""
        return self.gradient == "doubly_reparameterized"

    def __call__(self, draw: Draw, step: int) -> Loss:
        """−log mean w, averaged over the batch.

        Raises:
            ConfigError: if the model has penalties, and the gradient of z is weighed anew.
        """
        terms = common_terms(draw)
        if self.gradient == "doubly_reparameterized":
            if draw.penalties:
                raise ConfigError(
                    "gradient=doubly_reparameterized weighs anew all that flows back through z, "
                    f"and so that of the model's {', '.join(draw.penalties)} too: take "
                    "gradient=standard"
                )
            log_posterior = draw.posterior.detach().log_prob(draw.z)
            log_w = draw.log_likelihood + draw.log_prior - log_posterior
            loss = _doubly_reparameterized(log_w, draw.z)
        else:
            log_w = draw.log_weights()
            loss = -log_mean_exp(log_w).mean()
        terms["iwae"] = log_mean_exp(log_w)
        return Loss(loss, terms, {})


def _doubly_reparameterized(log_w: Tensor, z: Tensor) -> Tensor:
    """The bound's value, with gradients Σ w̃ ∂log w for the decoder and Σ w̃² ∂log w for z."""
    weights = log_w.detach().softmax(0)
    if z.requires_grad:
        # What flows back through z has been weighed by w̃ once; here it is weighed again.
        z.register_hook(lambda gradient: weights.unsqueeze(-1) * gradient)
    surrogate = -(weights * log_w).sum(0).mean()
    value = -log_mean_exp(log_w.detach()).mean()
    return surrogate + (value - surrogate).detach()
