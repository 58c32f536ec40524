"""The conditional VAE against closed forms for each label, and in every command."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from torch.utils.data import DataLoader, TensorDataset

from extras import needs
from measuring import check_integrated
from musigma.commands.density import _integrals
from musigma.commands.evaluate import evaluate
from musigma.commands.export import DECODE as DECODE_FILE
from musigma.commands.export import ENCODE, export_run
from musigma.commands.predict import predict
from musigma.data import TensorLoader
from musigma.evaluation import importance_estimate, quadrature_estimate
from musigma.evaluation.conditions import LabelledImages
from musigma.evaluation.encoding import encoded
from musigma.loading import load_run
from musigma.models import MLP, Network
from musigma.models.conditional import ConditionalVAE
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO, IWAE
from musigma.objectives.likelihoods import Gaussian, Laplace, Likelihood
from oracles import PIXELS, SHAPE, LinearGaussian, quiet_trainer
from stacking import SMOOTH, check_stacked
from workbench.config.build import build_data, build_module
from workbench.errors import ConfigError, DataError, RunError
from workbench.sweeps.collect import collect
from workbench.sweeps.compare import compare
from workbench.training.run import run

pytestmark = pytest.mark.slow

CONDITIONAL = "model=conditional_vae"
CLASSES = 3


class LinearGaussianOfLabel:
    """x = W z + b_y + σ ε: p(x|y) is Gaussian, and p(x) a mixture of these over equal labels.

    Expected values are by torch.distributions and linear algebra, without any code of musigma.
    """

    def __init__(self, d: int = 2, count: int = 120) -> None:
        base = LinearGaussian(d)
        generator = torch.Generator().manual_seed(7)
        self.d, self.w, self.sigma = d, base.w, base.sigma
        self.b = base.b + torch.randn(CLASSES, PIXELS, generator=generator, dtype=torch.float64)
        self.y = torch.randint(0, CLASSES, (count,), generator=generator)
        z = torch.randn(count, d, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, PIXELS, generator=generator, dtype=torch.float64)
        self.flat = z @ self.w.T + self.b[self.y] + self.sigma * noise
        self.x = self.flat.reshape(-1, *SHAPE)

    @property
    def images(self) -> LabelledImages:
        return LabelledImages(self.x, self.y)

    def p_of_x_given_y(self) -> MultivariateNormal:
        """p(x|y) for every y."""
        eye = torch.eye(PIXELS, dtype=torch.float64)
        return MultivariateNormal(self.b, self.w @ self.w.T + self.sigma**2 * eye)

    def log_p(self, y: torch.Tensor) -> torch.Tensor:
        """log p(x|y) of every image, with these labels."""
        return self.p_of_x_given_y().log_prob(self.flat.unsqueeze(1))[torch.arange(len(y)), y]

    def log_p_of_mixture(self) -> torch.Tensor:
        """log p(x) = log Σ_y p(y) p(x|y) of every image."""
        labels = Categorical(torch.ones(CLASSES, dtype=torch.float64))
        return MixtureSameFamily(labels, self.p_of_x_given_y()).log_prob(self.flat)

    def posterior(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean and standard deviation of p(z|x, y)."""
        m = self.w.T @ self.w + self.sigma**2 * torch.eye(self.d, dtype=torch.float64)
        mean = (self.flat - self.b[self.y]) @ self.w @ torch.linalg.inv(m)
        return mean, self.sigma * torch.linalg.inv(m).diagonal().sqrt().expand_as(mean)

    def model(self) -> ConditionalVAE:
        """musigma's model with these weights and the true posterior."""
        settings = {"classes": CLASSES, "latent_dim": self.d, "image_shape": SHAPE}
        model = ConditionalVAE(MLP((), ()), Gaussian(self.sigma), **settings).double()
        m = self.w.T @ self.w + self.sigma**2 * torch.eye(self.d, dtype=torch.float64)
        gain = torch.linalg.inv(m) @ self.w.T
        with torch.no_grad():
            model.head.mu.weight.copy_(torch.cat([gain, -gain @ self.b.T], 1))
            model.head.mu.bias.zero_()
            model.head.raw_std.weight.zero_()
            model.head.raw_std.bias.copy_((self.posterior()[1][0] - 1e-6).expm1().log())
            model.decoder[0].weight.copy_(torch.cat([self.w, self.b.T], 1))
            model.decoder[0].bias.zero_()
        return model.eval()


# --- closed forms ------------------------------------------------------------------------------


def check_posterior():
    oracle = LinearGaussianOfLabel()
    loader = TensorLoader(*oracle.images, batch_size=50)
    found = encoded(oracle.model(), loader.images(), lambda x: x)
    torch.testing.assert_close((found.mu, found.std), oracle.posterior())


def check_weights():
    """With the true posterior every importance weight is p(x|y)."""
    oracle = LinearGaussianOfLabel()
    model = oracle.model().given(oracle.images)
    generator = torch.Generator().manual_seed(0)
    estimate = importance_estimate(model, oracle.x, samples=50, generator=generator)
    torch.testing.assert_close(estimate.log_p, oracle.log_p(oracle.y), rtol=0, atol=1e-6)
    torch.testing.assert_close(estimate.elbo, oracle.log_p(oracle.y), rtol=0, atol=1.5)


def check_quadrature():
    """Images of one label are integrated together, and come back in their own order."""
    oracle = LinearGaussianOfLabel()
    estimate = _integrals(oracle.model(), oracle.images)
    torch.testing.assert_close(estimate.log_p, oracle.log_p(oracle.y), rtol=0, atol=1e-3)


def check_training():
    """A Trainer reports log p(x|y) for batches `(x, y)`."""
    oracle = LinearGaussianOfLabel()
    module = AutoencoderModule(oracle.model(), IWAE(samples=5))
    loader = DataLoader(TensorDataset(*oracle.images), batch_size=50)
    quiet_trainer().test(module, loader, verbose=False)
    expected = oracle.log_p(oracle.y).mean().item()
    assert module.metrics("test")["iwae"] == pytest.approx(expected, abs=1e-6)


ORACLES = [check_posterior, check_weights, check_quadrature, check_training]


@pytest.mark.parametrize("oracle", ORACLES)
def test_oracles_hold(oracle):
    oracle()


def no_labels(monkeypatch):
    """The model gets no label: a row of zeros."""
    zeros = torch.zeros(CLASSES)
    monkeypatch.setattr(ConditionalVAE, "_given_labels", lambda m, y: m.conditioned(_labels=zeros))


def one_label(monkeypatch):
    """The model gets class 0 for every image."""
    given = ConditionalVAE._given_labels
    monkeypatch.setattr(ConditionalVAE, "_given_labels", lambda m, y: given(m, torch.zeros_like(y)))


def next_label(monkeypatch):
    """The model gets labels counted from 1 instead of 0."""
    given = ConditionalVAE._given_labels
    monkeypatch.setattr(ConditionalVAE, "_given_labels", lambda m, y: given(m, (y + 1) % CLASSES))


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("trap", [no_labels, one_label, next_label])
def test_missing_or_wrong_labels_are_caught_by_the_oracles(trap, oracle, monkeypatch):
    trap(monkeypatch)
    with pytest.raises(AssertionError):
        oracle()


def test_the_integral_is_given_the_labels():
    check_integrated(ConditionalVAE(MLP((16,), (16,)), Laplace(), classes=10))


def test_images_are_grouped_by_label_and_keep_their_rows(monkeypatch):
    """So an estimate that concatenates the groups without reordering would be caught."""
    oracle = LinearGaussianOfLabel()
    parts = [m for _, m in oracle.model().groups(oracle.images)]
    rows = [torch.as_tensor(r) for r, _ in oracle.model().groups(oracle.images)]
    assert torch.equal(torch.cat(rows).sort().values, torch.arange(len(oracle.x)))
    assert not torch.equal(torch.cat(rows), torch.arange(len(oracle.x)))
    assert len(parts) == CLASSES


def test_averaged_over_labels_p_of_x_given_y_is_the_mixture():
    oracle = LinearGaussianOfLabel()
    model = oracle.model()
    of_each = [quadrature_estimate(view, oracle.x).log_p for view in model.views().values()]
    log_p = torch.stack(of_each).logsumexp(0) - math.log(CLASSES)
    torch.testing.assert_close(log_p, oracle.log_p_of_mixture(), rtol=0, atol=1e-3)
    # The label gains something, but no more than its entropy.
    gain = (oracle.log_p(oracle.y) - oracle.log_p_of_mixture()).mean().item()
    assert 0 < gain <= math.log(CLASSES)


def test_wrong_labels_lower_log_p_as_in_closed_form():
    oracle = LinearGaussianOfLabel()
    wrong = (oracle.y + 1) % CLASSES
    estimate = _integrals(oracle.model(), LabelledImages(oracle.x, wrong))
    torch.testing.assert_close(estimate.log_p, oracle.log_p(wrong), rtol=0, atol=1e-3)
    assert (oracle.log_p(oracle.y) - estimate.log_p).mean() > 3


def test_labels_beyond_the_models_classes_are_refused():
    oracle = LinearGaussianOfLabel()
    loader = TensorLoader(oracle.x, oracle.y + 1, batch_size=50)
    with pytest.raises(DataError, match="the label 3 is not one of the 3"):
        encoded(oracle.model(), loader.images(), lambda x: x)


# --- labels that are missing or wrong ----------------------------------------------------------


def test_encoding_or_decoding_without_labels_is_refused():
    model = LinearGaussianOfLabel().model()
    for use in (model.encode, model, AutoencoderModule(model, ELBO())):
        with pytest.raises(ConfigError, match=r"with model\.given\(batch\)"):
            use(torch.zeros(2, *SHAPE, dtype=torch.float64))
    with pytest.raises(ConfigError, match=r"one of model\.views\(\)"):
        model.decode(torch.zeros(2, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "have none"),
        (torch.tensor([0, 1, -1, 2]), "1 of 4 images have none"),
        (torch.tensor([0.0, 1.0, 2.0, 1.0]), "4 of 4 images have none"),
        (torch.tensor([0, 1, 2, 3]), "the label 3 is not one of the 3"),
    ],
)
@pytest.mark.parametrize("use", ["fit", "validate", "test", "predict"])
def test_a_loader_without_the_labels_is_refused_at_its_first_batch(y, message, use):
    model = LinearGaussianOfLabel().model()
    x = torch.zeros(4, *SHAPE, dtype=torch.float64)
    dataset = TensorDataset(x) if y is None else TensorDataset(x, y)
    loaders = [DataLoader(dataset, 4)] * (2 if use == "fit" else 1)
    trainer = quiet_trainer(max_epochs=1)
    with pytest.raises(DataError, match=message):
        getattr(trainer, use)(AutoencoderModule(model.train(), ELBO()), *loaders)


def test_predictions_use_the_labels_of_the_batch():
    oracle = LinearGaussianOfLabel()
    loader = DataLoader(TensorDataset(*oracle.images), batch_size=len(oracle.x))
    (found,) = quiet_trainer().predict(AutoencoderModule(oracle.model(), ELBO()), loader)
    mean, std = oracle.posterior()
    torch.testing.assert_close((found.mu, found.std), (mean, std))
    expected = (mean @ oracle.w.T + oracle.b[oracle.y]).reshape(oracle.x.shape)
    torch.testing.assert_close(found.x_mean, expected)


def test_an_unchecked_wrong_label_decodes_to_nan(monkeypatch):
    """On devices where a check would have to wait, labels are not checked."""
    model = LinearGaussianOfLabel().model()
    monkeypatch.setattr(ConditionalVAE, "check", lambda self, y: None)
    z = torch.zeros(3, 2, dtype=torch.float64)
    decoded = model.given(LabelledImages(z, torch.tensor([-1, 1, 3]))).decode(z)
    assert decoded.flatten(1).isnan().all(1).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.classes=5"], "MNIST has 10 classes: the label 9 is not one of the 5"),
        (["data=tensor_file", "data.path=x.npz"], r"not known: set model\.classes"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(settings, message, compose_launch):
    config = compose_launch(CONDITIONAL, *settings).config
    with pytest.raises(ConfigError, match=message):
        build_module(config, build_data(config))


def test_the_number_of_classes_is_that_of_the_data(compose_launch):
    config = compose_launch(CONDITIONAL).config
    assert build_module(config, build_data(config)).model.classes == 10


class Binary(ConditionalVAE):
    """A model with a default number of classes."""

    def __init__(
        self, network: Network, likelihood: Likelihood, *, classes: int = 2, **settings: Any
    ) -> None:
        super().__init__(network, likelihood, classes=classes, **settings)


def test_unknown_classes_of_the_data_leave_a_model_its_default(compose_launch, monkeypatch):
    monkeypatch.setenv("MUSIGMA_TRUSTED", __name__)
    mine = f"model._target_={__name__}.Binary"
    unknown = compose_launch(CONDITIONAL, mine, "data=tensor_file", "data.path=x.npz").config
    assert build_module(unknown, build_data(unknown)).model.classes == 2
    known = compose_launch(CONDITIONAL, mine).config
    assert build_module(known, build_data(known)).model.classes == 10


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "of 162 images have none"),
        ([*[0, 1] * 99, 0, 2], "the label 2 is not one of the 2"),  # the last image
    ],
)
def test_data_with_missing_labels_are_refused_before_a_run_has_a_folder(
    labels, message, compose_launch, small, tmp_path
):
    images = np.random.default_rng(0).integers(0, 256, (200, 1, 8, 8), dtype=np.uint8)
    arrays = {"images": images} | ({} if labels is None else {"labels": np.array(labels)})
    if labels is not None:
        arrays |= {"test_images": images[:4], "test_labels": np.zeros(4, int)}
    np.savez(tmp_path / "images.npz", **arrays)
    launch = compose_launch(
        *(setting for setting in small if not setting.startswith("data.")),
        CONDITIONAL,
        "data=tensor_file",
        f"data.path={tmp_path}/images.npz",
        "data.image_shape=[1,8,8]",
        "model.classes=2",
    )
    with pytest.raises(DataError, match=message):
        run(launch)
    assert not list((tmp_path / "logs").rglob("config.yaml"))


# --- a run -------------------------------------------------------------------------------------


@pytest.fixture
def conditional(trained):
    return trained(CONDITIONAL, "model.latent_dim=3")


def test_an_interrupted_run_resumes_to_the_same_bits(resuming):
    resuming.check_same_bits(CONDITIONAL, place=(1, 2))


def test_its_evaluation_reports_log_p_of_x_given_y(conditional, without_plot_files, capsys):
    settings = {"checkpoint": "best", "images": 10, "samples": 50, "seed": 0}
    (metrics,) = evaluate([str(conditional.path)], conditional.path.parent, **settings)
    reported = conditional.read_metrics()["metrics"]
    assert metrics["distortion"]["mean"] == pytest.approx(reported["test/distortion"], rel=1e-5)
    assert metrics["evidence"] == "p(x|y)"
    assert metrics["classes"] == {}
    page = (conditional.path / "report.html").read_text().partition("Environment")[0]
    printed = " ".join(capsys.readouterr().out.split())  # unwrapped
    for text in (page, printed):
        assert "log p(x|y), importance weights" in text
        assert f"Probes of the codes are left out: {metrics['no_classes']}" in text
        assert "log p(x)" not in text.replace("log p(x|y)", "")
    assert "conditioned on the classes" in metrics["no_classes"]
    assert "; class 0." in page
    plots = {path.stem for path in (conditional.path / "figures").glob("*.png")}
    assert {"samples", "traversals", "interpolations", "reconstructions"} <= plots


def test_panels_show_samples_of_each_class(run_here, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        "musigma.plots.latent.image_figure",
        lambda images, title, **names: shown.update({title: (images, names)}) or _no_figure(),
    )
    run_here(
        CONDITIONAL,
        "+callbacks.latent_panel={_target_: musigma.callbacks.LatentPanel, images: 20}",
        "trainer.max_epochs=1",
    )
    images, names = shown["Decoded draws from the prior"]
    assert names["rows"] == [f"class {label}" for label in range(10)]
    assert images.shape[:2] == (10, 10)
    assert not torch.equal(images[0], images[1])


def _no_figure():
    from workbench.plots.style import new_figure

    return new_figure(1, 1)


def test_samples_are_of_one_label_or_of_each_in_turn(conditional, tmp_path):
    def sampled(name, **settings):
        path = tmp_path / f"{name}.png"
        _predict(conditional, "sample", output=str(path), **settings)
        return np.asarray(Image.open(path))

    each = sampled("each", count=30)
    assert each.shape[:2] == (3 * 29 + 1, 10 * 29 + 1)  # a column for each class
    seven = sampled("seven", count=30, label=7)
    assert not np.array_equal(seven, sampled("one", count=30, label=1))
    # The eighth draw is of class 7 in both.
    columns = (seven.shape[1] - 1) // 29
    row, column = divmod(7, columns)
    tile = seven[row * 29 : row * 29 + 29, column * 29 : column * 29 + 29]
    assert np.array_equal(tile, each[:29, 7 * 29 : 8 * 29])


def _predict(folder, task, **settings):
    given = {"checkpoint": "best", "input": "test", **settings}
    return predict(task, str(folder.path), folder.path.parent, **given)


def test_predicted_codes_are_decoded_with_their_own_or_another_label(conditional, tmp_path):
    model, data, _ = load_run(conditional.path)
    data.setup("test")
    x, y = data.test_dataloader().images().tensors()
    codes = _predict(conditional, "encode")
    with np.load(codes) as found:
        given = model.given(LabelledImages(x, y))
        with torch.no_grad():
            mu = given.encode(x).mu
        np.testing.assert_allclose(found["mu"], mu, atol=1e-6)
        np.testing.assert_array_equal(found["label"], y)

    def decoded(**label):
        path = tmp_path / f"{len(list(tmp_path.glob('*.npz')))}.npz"
        _predict(conditional, "decode", input=str(codes), output=str(path), **label)
        return torch.from_numpy(np.load(path)["x"])

    with torch.no_grad():
        shown = data.normalization.shown
        as_they_are = shown(model.likelihood.mean(given.decode(mu)))
        as_sevens = shown(model.likelihood.mean(model.views()["class 7"].decode(mu)))
    torch.testing.assert_close(decoded(), as_they_are, atol=1e-5, rtol=0)
    torch.testing.assert_close(decoded(label=7), as_sevens, atol=1e-5, rtol=0)


def test_images_from_a_folder_need_a_label(conditional, tmp_path):
    folder = tmp_path / "others"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    for task in ("encode", "reconstruct", "traverse"):
        with pytest.raises(DataError, match=r"no labels, and this model needs them: set label"):
            _predict(conditional, task, input=str(folder))
        path = _predict(conditional, task, input=str(folder), label=3)
        assert path.exists()
    images = {"x": np.stack([pixels[None]] * 2) / np.float32(255), "label": np.array([3, 5])}
    np.savez(tmp_path / "labelled.npz", **images)
    with np.load(_predict(conditional, "encode", input=str(tmp_path / "labelled.npz"))) as found:
        assert found["label"].tolist() == [3, 5]
        assert not np.allclose(found["mu"][0], found["mu"][1])


@pytest.mark.parametrize(
    ("task", "settings", "error", "message"),
    [
        ("traverse", {"input": "prior"}, DataError, "the prior has no labels"),
        ("sample", {"label": 10}, DataError, "the label 10 is not one of the 10"),
        ("encode", {"label": 1}, ConfigError, "input=test have labels of their own"),
    ],
)
def test_missing_or_superfluous_labels_are_refused(conditional, task, settings, error, message):
    with pytest.raises(error, match=message):
        _predict(conditional, task, **settings)


def test_the_prior_is_traversed_for_a_label(conditional):
    images = []
    for label in (1, 7):
        with np.load(_predict(conditional, "traverse", input="prior", label=label)) as found:
            images.append(found["x"])
    assert images[0].shape == (3, 7, 1, 28, 28)
    assert not np.array_equal(*images)


def test_an_unconditional_model_takes_no_label(trained):
    with pytest.raises(ConfigError, match="label=3: this model is not conditioned on labels"):
        _predict(trained("model=vae"), "sample", label=3)


def test_its_export_takes_the_label_as_a_second_input(conditional, tmp_path):
    opened = load_run(conditional.path)
    lines = export_run(opened, tmp_path / "export")
    encode, decode = tmp_path / "export" / ENCODE, tmp_path / "export" / DECODE_FILE
    assert lines[encode].endswith("(x, y)")
    assert lines[decode].endswith("(z, y)")
    x, y = torch.randn(4, 1, 28, 28), torch.tensor([0, 3, 9, 10])
    mu, _ = torch.export.load(encode).module()(x, y)
    with torch.no_grad():
        expected = opened.model.given(LabelledImages(x[:3], y[:3])).encode(x[:3]).mu
    torch.testing.assert_close(mu[:3], expected)
    assert mu[3].isnan().all()
    again = load_run(tmp_path / "export").model.given(LabelledImages(x[:3], y[:3]))
    torch.testing.assert_close(again.encode(x[:3]).mu, expected)


@needs("onnxruntime")
@needs("onnxscript")
def test_its_onnx_export_takes_the_label_as_a_second_input(conditional, tmp_path):
    import onnxruntime

    opened = load_run(conditional.path)
    encode, _ = export_run(opened, tmp_path / "onnx", "onnx")
    x, y = torch.randn(3, 1, 28, 28), torch.tensor([0, 3, 9])
    session = onnxruntime.InferenceSession(str(encode))
    mu, _ = session.run(None, {"x": x.numpy(), "y": y.numpy()})
    with torch.no_grad():
        expected = opened.model.given(LabelledImages(x, y)).encode(x).mu
    np.testing.assert_allclose(mu, expected, atol=1e-4)


def test_a_report_does_not_compare_p_of_x_given_y_with_p_of_x(trained, tmp_path):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    for name in ("model=vae", CONDITIONAL):
        folder = trained(name)
        folder.path.rename(sweep / folder.path.name)
    for metric in ("test/elbo", "test/distortion", "test/rate", "test/loss", "test/l1"):
        compared = compare(collect(sweep), metric)
        assert len(compared.rankings) == 2, metric
        assert not compared.contested()
        assert set(compared.mixed(metric)) == {"log p(x)", "log p(x|y)"}


def test_a_run_trained_without_a_rate_has_no_samples(trained):
    folder = trained(CONDITIONAL, "model/objective=reconstruction")
    with pytest.raises(RunError, match="samples from the prior and its mean are meaningless"):
        _predict(folder, "sample", label=2)


@pytest.mark.slow
def test_stacked_runs_use_their_own_labels(jobs):
    common = ("model=conditional_vae", *SMOOTH[1:], "data.val_size=0")
    check_stacked(jobs, [(*common, "seed=0"), (*common, "seed=1")], 1e-4)
